//! The description of an application's HTTP interface, as data: a preset, or `connection.rest` of a target's file.
//!
//! Texts are templates (`template`): `{{ values.userName }}`, `{{ account.id }}`, `{{ key }}`, `{{ page.number }}`,
//! `{{ settings.x }}`, `{{ now_ms }}`; in headers and bodies also `{{ secret.x }}`. Paths into answers are JSONPath
//! (RFC 9535). What a key means is said here; what is wrong with one is found by `description`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use usher_runtime::secret::SecretRef;

use super::secret_places;

/// The description of one application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestConfig {
    /// Values that templates read as `settings.<name>`: what differs between tenants, or is not known for sure.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
    /// Where the secrets are that headers and bodies read as `secret.<name>`: the path of a file, or `{ file: … }`, or
    /// `{ env: … }` with the name of an environment variable. Read when a request is sent.
    #[serde(default, deserialize_with = "secret_places::deserialize")]
    #[schemars(schema_with = "secret_places::schema")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// One operation at a time: the application does not like concurrent requests. Default false.
    #[serde(default)]
    pub serial: bool,
    /// Requests per second, where the application counts requests. Default: no limit but the operations of `pace`.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
    /// The longest wait that a `Retry-After` may ask for; default 3600 seconds. A longer one is cut.
    #[serde(default = "retry_after_max_seconds")]
    pub retry_after_max_seconds: u32,
    /// For how long a listing stands in for look-ups; default 600 seconds. Longer means fewer listings and more
    /// conflicts with accounts that others made meanwhile.
    #[serde(default = "listing_max_age_seconds")]
    pub listing_max_age_seconds: u32,
    /// Pages after which a listing is given up; default 2000.
    #[serde(default = "pages_max")]
    pub pages_max: u32,
    /// What the content type of a success has to contain; default `json`. Empty: whatever can be read as JSON.
    #[serde(default = "answer_type")]
    pub answer_type: String,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Entries of every body.
    #[serde(default)]
    pub body: BTreeMap<String, String>,
    /// What answers mean, in order, before the usual meanings of statuses. Those of an operation come first.
    #[serde(default)]
    pub answers: Vec<Pattern>,
    /// What an account looks like.
    pub account: Account,
    /// What can be asked for.
    pub operations: Operations,
    /// Groups, where the application has calls for them.
    #[serde(default)]
    pub groups: Option<Groups>,
}

/// Groups: what they look like, and their calls. Templates read `group.id`, `group.name`, `member.id`, and `members` (the
/// ids, as a list). `list`, `find` and `members` may have `paging`, as the list of accounts; without it an answer holds everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Groups {
    /// Where the id of a group is.
    pub id: String,
    /// Where its name is.
    pub name: String,
    /// Where the id of an account is within an entry of `members`; default `$`: the entry is the id.
    #[serde(default = "whole")]
    pub member: String,
    /// Members of one call, where its templates read `members`; default 100.
    #[serde(default = "members_max")]
    pub members_max: usize,
    /// All groups; `entries` says where they are.
    #[serde(default)]
    pub list: Option<OperationConfig>,
    /// Groups by name. What it does not find is looked for in the list, unless `provesAbsence`.
    #[serde(default)]
    pub find: Option<OperationConfig>,
    /// A new group; `id` or `entries` says where its id is.
    #[serde(default)]
    pub create: Option<OperationConfig>,
    /// Gives a group another name.
    #[serde(default)]
    pub rename: Option<OperationConfig>,
    /// Who is in a group; `entries` says where they are.
    #[serde(default)]
    pub members: Option<OperationConfig>,
    /// Adds members. Whoever is one already is no mistake: a pattern `exists`.
    #[serde(default)]
    pub add: Option<OperationConfig>,
    /// Takes members out. Whoever is none is no mistake: a pattern `absent`.
    #[serde(default)]
    pub remove: Option<OperationConfig>,
}

/// What an account looks like in answers and in bodies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Account {
    /// Where its id is. Numbers are taken as text, whatever their size.
    pub id: String,
    /// The id is the value that accounts are looked up by, and answers about one account need not repeat it.
    #[serde(default)]
    pub asked_id: bool,
    /// Its attributes, by the name that rows of `attributes` use. `externalId`: the field that keeps our key.
    /// `active`: whether it is switched on.
    pub fields: BTreeMap<String, Field>,
    /// Whether somebody has followed an invitation, where the application says so.
    #[serde(default)]
    pub onboarding: Option<OnboardingConfig>,
}

/// How far a new user is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OnboardingConfig {
    /// Where it is within the account.
    pub read: String,
    /// What an account shows whose user was invited and has not come yet; compared as text, in any case.
    #[serde(default)]
    pub invited: Vec<Value>,
    /// What an account shows whose user has come.
    #[serde(default)]
    pub activated: Vec<Value>,
}

/// One attribute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Field {
    /// Where it is within the account; without it the application does not show it.
    pub read: Option<String>,
    /// Its name in bodies with `sendFields`; dots lead into objects. May be a template over `settings`. Without it
    /// it is not written.
    pub send: Option<String>,
    /// Only with a new account: it cannot be changed later. Default false.
    pub create_only: bool,
    /// What clears it. Default `empty`.
    pub clear: Clear,
    /// Keep numbers and truth values as the application shows them; otherwise they are compared as text.
    pub raw: bool,
    /// Of `active`: what an account shows that is switched on. Default true, 1, "true", "active", "enabled", "yes".
    pub on: Vec<Value>,
    /// Of `active`: what one shows that is switched off. Default false, 0, "false", "inactive", "disabled", "no".
    pub off: Vec<Value>,
}

/// See [`Field::clear`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Clear {
    /// The empty text.
    #[default]
    Empty,
    /// JSON null; the empty text in a form.
    Null,
    /// Nothing does: a value stays until there is another one.
    Never,
}

/// What can be asked for. What is missing cannot be switched on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Operations {
    /// A harmless call that proves address and credentials. Without it the first page of the list is.
    pub check: Option<OperationConfig>,
    /// All accounts.
    pub list: Option<OperationConfig>,
    /// Look-ups by attribute. A value that has none is looked for in the list.
    pub find: BTreeMap<String, OperationConfig>,
    /// One account by id.
    pub read: Option<OperationConfig>,
    /// A new account.
    pub create: Option<OperationConfig>,
    /// Changes some attributes of an account.
    pub update: Option<OperationConfig>,
    /// Switches an account on, where that is a call of its own.
    pub reactivate: Option<OperationConfig>,
    /// Switches an account off, where that is a call of its own.
    pub deactivate: Option<OperationConfig>,
    /// Removes an account for good.
    pub delete: Option<OperationConfig>,
    /// Has the application send its own activation or password-reset mail. A call that answers with a password does not
    /// belong here: no password is ever carried.
    pub invite: Option<OperationConfig>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OperationConfig {
    /// Of HTTP.
    pub method: Method,
    /// Below `baseUrl`, with a leading slash. What a template puts in is encoded and stays within its segment.
    pub path: String,
    /// Parameters of the address. Secrets do not belong there: addresses are logged everywhere.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A body as of an HTML form. An entry that is undefined is left out.
    #[serde(default)]
    pub form: Option<BTreeMap<String, String>>,
    /// A JSON body; every text in it is a template. An entry that is undefined is left out.
    #[serde(default)]
    pub json: Option<Value>,
    /// The body also has the attributes that are to be written, under their `send` names. Default false.
    #[serde(default)]
    pub send_fields: bool,
    /// Where the answer has the account, or the list of accounts: the object or the array itself.
    #[serde(default)]
    pub accounts: Option<String>,
    /// Of calls about groups: where the answer has the group, the groups or the members.
    #[serde(default)]
    pub entries: Option<String>,
    /// Where the answer to a create has the id, when it does not show the account.
    #[serde(default)]
    pub id: Option<String>,
    /// Of a look-up: nothing found proves that there is nobody. Default false: the list is read before that is believed.
    #[serde(default)]
    pub proves_absence: bool,
    /// How the list is paged. Without it one answer has everybody.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// What answers to this call mean, in order.
    #[serde(default)]
    pub answers: Vec<Pattern>,
}

/// See [`OperationConfig::method`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the methods of HTTP")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// How a list is paged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Paging {
    /// What leads to the next page.
    pub style: PagingStyle,
    /// `page.size`; default 100.
    #[serde(default = "page_size")]
    pub size: u32,
    /// The number of the first page, or its offset; default 1 for pages, 0 for offsets.
    #[serde(default)]
    pub first: Option<u64>,
    /// Where the answer has the cursor of the next page (style `cursor`).
    #[serde(default)]
    pub next: Option<String>,
    /// Where the answer says how many accounts there are. Then a list that ends before is not believed.
    #[serde(default)]
    pub total: Option<String>,
}

/// See [`Paging::style`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PagingStyle {
    /// `page.number` rises by one.
    Page,
    /// `page.offset` rises by what was received.
    Offset,
    /// `page.cursor` is what the page before said.
    Cursor,
    /// The header `Link` with `rel="next"` (RFC 8288).
    Link,
}

/// A pattern over answers and what it means. Every condition that is given has to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pattern {
    /// What the answer means.
    pub is: Verdict,
    /// Only for these calls; default all.
    #[serde(default)]
    pub of: Vec<Verb>,
    /// Statuses: `404`, `4xx`, `500-599`. Default: 2xx and 4xx without 401, 403, 408, 425 and 429, which mean what they
    /// say whatever the body is.
    #[serde(default)]
    pub status: Option<OneOrMany>,
    /// What the content type contains.
    #[serde(default)]
    pub content_type: Option<String>,
    /// A header and what it has to be.
    #[serde(default)]
    pub header: Option<Condition>,
    /// Places of the body and what they have to be.
    #[serde(default)]
    pub body: Option<Conditions>,
    /// The code of the refusal, kebab-case; default by verdict.
    #[serde(default)]
    pub code: Option<String>,
    /// What to do about it, in words.
    #[serde(default)]
    pub hint: Option<String>,
}

/// One or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a status such as 404, 4xx or 500-599, or a list of such"
)]
pub enum OneOrMany {
    /// Any of them. First, because one value may be anything.
    Many(Vec<Value>),
    /// One.
    One(Value),
}

/// One or several conditions; all have to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected { at: \"$.status\", equals: … }, or a list of such")]
pub enum Conditions {
    /// One.
    One(Condition),
    /// All of them.
    All(Vec<Condition>),
}

/// What something has to be. One of `equals`, `in`, `matches`, `exists`, `says`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Condition {
    /// A JSONPath, or the name of a header.
    pub at: String,
    /// This value; compared as text.
    #[serde(default)]
    pub equals: Option<Value>,
    /// One of these.
    #[serde(default)]
    pub r#in: Option<Vec<Value>>,
    /// A regular expression that is found in it.
    #[serde(default)]
    pub matches: Option<String>,
    /// Whether it is there and not null.
    #[serde(default)]
    pub exists: Option<bool>,
    /// Whether it says something: an error that is blank, false, 0 or an empty list is none.
    #[serde(default)]
    pub says: Option<bool>,
    /// Capital letters count as small ones. Default false.
    #[serde(default)]
    pub ignore_case: bool,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Done. Where an operation has such a pattern, nothing else is done.
    Success,
    /// There is no such account.
    Absent,
    /// There is such an account already, or a value that must be unique is taken.
    Exists,
    /// Not done; later it may be.
    Retry,
    /// Perhaps done.
    Unclear,
    /// Not for this person.
    Reject,
    /// The application as a whole does not work.
    Halt,
}

/// The calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as the keys of `Operations` and `Groups`")]
pub enum Verb {
    Check,
    List,
    Find,
    Read,
    Create,
    Update,
    Reactivate,
    Deactivate,
    Delete,
    Invite,
    ListGroups,
    FindGroup,
    CreateGroup,
    RenameGroup,
    ReadMembers,
    AddMember,
    RemoveMember,
}

fn whole() -> String {
    "$".to_owned()
}

fn members_max() -> usize {
    100
}

fn retry_after_max_seconds() -> u32 {
    3600
}

fn listing_max_age_seconds() -> u32 {
    600
}

fn pages_max() -> u32 {
    2000
}

fn answer_type() -> String {
    "json".to_owned()
}

fn page_size() -> u32 {
    100
}
