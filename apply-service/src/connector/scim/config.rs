//! What a SCIM target is told apart by, as data: a dialect is a file with these keys.
//!
//! Every default is the widest common denominator of the servers that were tried or documented; discovery and answers refine what is
//! left on `auto`. Address, credentials and time limits belong to the sender (`connector::http`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path::{Path, Vocabulary};

/// Settings of one SCIM target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ScimConfig {
    /// The vendor whose known differences stand below these keys; `apply-service dialects` lists them. Default none.
    pub dialect: Option<String>,
    /// Where the accounts are, below the base URL. Default `/Users`; path segments may be case-sensitive.
    pub users_path: String,
    /// Whether `check` asks for the target's ServiceProviderConfig. Default `auto`.
    pub discovery: Discovery,
    /// How changes are encoded. Default `auto`: PATCH with a path per operation, PUT when the target has no PATCH.
    pub patch: PatchMode,
    /// Whether look-ups may use `filter`. Default `auto`: used, and an empty result is believed only once the filter
    /// has been proven on an existing account.
    pub filter: FilterMode,
    /// The attributes that the target can filter by, as `userName` or `emails`; others are looked up in a listing without asking
    /// for a filter first. Default none named: each is tried.
    pub filter_by: Vec<String>,
    /// How a value of a multi-valued attribute is looked up. Default `dotted`.
    pub multi_valued_lookup: MultiValuedLookup,
    /// What is tried when a look-up by the exact value is empty. Default `thenLower`.
    pub lookup_case: LookupCase,
    /// Whether the target stores `externalId` and finds it again. Default true.
    pub external_id: bool,
    /// Accounts per page, 1-1000; default 100. The target's own maximum counts as well. Larger means fewer requests
    /// and larger answers.
    pub page_size: u32,
    /// How lists are paged. Default `auto`: by cursor where the target offers it, else by index.
    pub paging: Paging,
    /// Pages after which a listing is given up, at least 1; default 2000. It bounds what a target that pages without
    /// end can cost.
    pub scan_pages_max: u32,
    /// For how long a listing stands in for look-ups at a target without usable filter; default 600 seconds. Longer
    /// means fewer listings and more conflicts with accounts that others made meanwhile.
    pub listing_max_age_seconds: u32,
    /// Whether writes carry `If-Match`. Default `auto`: when the target says that it supports versions and one was
    /// seen. An ETag header alone proves nothing.
    pub etag: EtagMode,
    /// Write `Add`, `Remove`, `Replace` in every PATCH instead of small letters, as Entra ID does; of groups alone:
    /// `groups.capitalOperations`. Default false.
    pub capital_operations: bool,
    /// Write `active` by a PATCH of its own although everything else goes by PUT; only with `patch: put`. Default false.
    pub active_by_patch: bool,
    /// Send `active` as the text "True" or "False" instead of a boolean. Default false.
    pub active_as_string: bool,
    /// Send the manager as bare text instead of an object with `value`. Default false.
    pub manager_as_string: bool,
    /// Mark the work e-mail as primary when no e-mail is. Default true.
    pub primary_email: bool,
    /// Read `active` back when the answer to a write did not show it. Default true: some targets ignore it silently.
    pub verify_active: bool,
    /// Read the account back after every write, whatever the answer showed: some targets echo what they were sent and keep
    /// something else. What they really hold is then recorded, and a value that was not taken is written again at most twice
    /// before it counts as refused. Default false: it doubles the requests.
    pub verify_writes: bool,
    /// URNs of further schemas whose attributes are mapped. Default none.
    pub extension_schemas: Vec<String>,
    /// Attributes that the target has at the top level besides the standard ones. Default none.
    pub extra_attributes: Vec<String>,
    /// The connection check asks `/Me` whose account the credentials belong to, and fails when nobody says. Follows from
    /// `protect.owner` of the policy.
    #[serde(skip)]
    pub ask_owner: bool,
    /// How groups are handled.
    pub groups: GroupDialect,
    /// Requests per second, where the application counts requests. Default: no limit but the operations of `pace`.
    pub requests_per_second: Option<f64>,
    /// The longest wait that a `Retry-After` may ask for; default 3600 seconds. A longer one is cut.
    pub retry_after_max_seconds: u32,
    /// What a target says, in lower case, that answers 400 without a type when an account exists already.
    pub exists_phrases: Vec<String>,
    /// What the path of the base URL ends with at this application, as `/services/scim/v2`. Default anything.
    pub base_url_path: Option<String>,
    /// What DELETE of an account does there. Default `deletes`.
    pub delete: DeleteMeans,
    /// What a user name looks like, judged before it is sent. Default `any`.
    pub user_name_form: UserNameForm,
    /// Where user names are unique. Default `here`.
    pub user_names_unique: UserNamesUnique,
    /// Added to a user name that is taken where we cannot see, as `.usher`; then it is tried once more. Default none: such a
    /// person is refused until somebody gives another name. Only with `userNamesUnique: everywhere`.
    pub user_name_suffix: Option<String>,
    /// The `meta.resourceType` that accounts have, where it is shown. Something else under the same address is no account.
    /// Default anything.
    pub resource_type: Option<String>,
    /// Attributes whose values must be among those that the application lists. Default none.
    pub catalogues: Vec<Catalogue>,
    /// The application's own call, outside SCIM, that sends its activation or password-reset mail. Default none: SCIM knows of
    /// no such mail. Nobody is sent one unless `features.invite` is on and an operator orders it.
    pub invite: Option<InviteCall>,
}

/// See [`ScimConfig::invite`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InviteCall {
    /// How it is asked.
    pub method: InviteMethod,
    /// A path from the host of the base URL, with `{id}` for the account's id, as `/api/users/{id}/invitation`.
    pub path: String,
}

/// See [`InviteCall::method`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum InviteMethod {
    /// POST, without a body.
    Post,
    /// PUT, without a body.
    Put,
    /// DELETE, as of a password.
    Delete,
}

/// See [`ScimConfig::delete`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeleteMeans {
    /// The account is gone.
    Deletes,
    /// The account is switched off and stays: nobody is ever deleted, and `active` is written instead.
    Deactivates,
}

/// See [`ScimConfig::user_name_form`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UserNameForm {
    /// Any text.
    Any,
    /// As an e-mail address.
    Email,
}

/// See [`ScimConfig::user_names_unique`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UserNamesUnique {
    /// Within the target: whoever holds a name can be found.
    Here,
    /// Over all tenants of the vendor: a name may be taken by an account that nobody here sees.
    Everywhere,
}

/// A list of the application's own, and the attribute that takes values out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Catalogue {
    /// The multi-valued attribute, as `entitlements`.
    pub attribute: String,
    /// Where the list is, below the base URL, as `/Entitlements`.
    pub path: String,
    /// A kind of which every account has exactly one. Default none.
    #[serde(default)]
    pub exactly_one: Option<Kind>,
    /// How an entry is looked up. Default `filter`.
    #[serde(default)]
    pub lookup: CatalogueLookup,
    /// A list with so many entries counts as cut off; default 200.
    #[serde(default = "list_max")]
    pub list_max: u32,
    /// Whether elements are sent with their `type`. Default true.
    #[serde(default = "yes")]
    pub send_type: bool,
}

/// A kind of entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kind {
    /// Its name in `type`.
    pub name: String,
    /// What the ids of this kind begin with, where entries do not show their `type`. Default nothing.
    #[serde(default)]
    pub id_prefix: Option<String>,
}

/// See [`Catalogue::lookup`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CatalogueLookup {
    /// By a filter; an empty result counts only once the filter is proven on an entry of the list.
    #[default]
    Filter,
    /// In the whole list.
    List,
}

fn list_max() -> u32 {
    200
}

fn yes() -> bool {
    true
}

/// How a target handles groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupDialect {
    /// Where the groups are, below the base URL. Default `/Groups`.
    pub path: String,
    /// Members that one PATCH adds and removes, together, 1-1000; default 100. Known ceilings are far above (Miro: 8,000
    /// members or 800,000 bytes) or by the hour (GitHub: 1,000 per group). A target that answers 413 gets half of it.
    pub members_max: usize,
    /// How a member is removed. Default `valuePath`, the other form when it is refused.
    pub remove: RemoveMember,
    /// Whether a group that is read shows its members. Default true; false: what was written is believed.
    pub shows_members: bool,
    /// Write `Add`, `Remove`, `Replace` instead of small letters, as Entra ID does. Default false.
    pub capital_operations: bool,
}

impl Default for GroupDialect {
    fn default() -> Self {
        Self {
            path: "/Groups".to_owned(),
            members_max: 100,
            remove: RemoveMember::ValuePath,
            shows_members: true,
            capital_operations: false,
        }
    }
}

/// See [`GroupDialect::remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RemoveMember {
    /// `remove` of `members[value eq "…"]` (RFC 7644 section 3.5.2.2).
    ValuePath,
    /// `remove` of `members` with the members as value (Entra ID, AWS).
    Value,
}

/// See [`ScimConfig::discovery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Discovery {
    /// Ask; carry on without when the target does not say.
    Auto,
    /// Do not ask.
    Never,
}

/// See [`ScimConfig::patch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PatchMode {
    /// PATCH with paths until the target says that it has no PATCH, then PUT.
    Auto,
    /// PATCH, one operation per path.
    Path,
    /// PATCH, one replace operation holding an object (Salesforce's and GitHub's examples).
    Pathless,
    /// PUT of the whole account after reading it.
    Put,
}

/// See [`ScimConfig::filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FilterMode {
    /// Used, and proven before an empty result is believed.
    Auto,
    /// Used and believed.
    Trusted,
    /// Not used: the whole list is read instead.
    None,
}

/// See [`ScimConfig::multi_valued_lookup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MultiValuedLookup {
    /// `emails.value eq "…"`, the other form when it is refused.
    Dotted,
    /// `emails[type eq "work" and value eq "…"]`, the other form when it is refused.
    ValuePath,
}

/// See [`ScimConfig::lookup_case`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LookupCase {
    /// The exact value, then in lower case: some servers fold what they store and still compare by case.
    ThenLower,
    /// Only the exact value.
    Exact,
}

/// See [`ScimConfig::paging`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Paging {
    /// By cursor where the target offers it, else by index.
    Auto,
    /// `startIndex` and `count` (RFC 7644 section 3.4.2.4).
    Index,
    /// `cursor` and `count` (RFC 9865).
    Cursor,
}

/// See [`ScimConfig::etag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EtagMode {
    /// When the target declares versions.
    Auto,
    /// Never.
    Never,
}

impl Default for ScimConfig {
    fn default() -> Self {
        Self {
            dialect: None,
            users_path: "/Users".to_owned(),
            discovery: Discovery::Auto,
            patch: PatchMode::Auto,
            filter: FilterMode::Auto,
            filter_by: Vec::new(),
            multi_valued_lookup: MultiValuedLookup::Dotted,
            lookup_case: LookupCase::ThenLower,
            external_id: true,
            page_size: 100,
            paging: Paging::Auto,
            scan_pages_max: 2000,
            listing_max_age_seconds: 600,
            etag: EtagMode::Auto,
            capital_operations: false,
            active_by_patch: false,
            active_as_string: false,
            manager_as_string: false,
            primary_email: true,
            verify_active: true,
            verify_writes: false,
            extension_schemas: Vec::new(),
            extra_attributes: Vec::new(),
            ask_owner: false,
            groups: GroupDialect::default(),
            requests_per_second: None,
            retry_after_max_seconds: 3600,
            exists_phrases: [
                "already exists",
                "already in use",
                "already taken",
                "already been taken",
                "duplicate",
            ]
            .map(str::to_owned)
            .to_vec(),
            base_url_path: None,
            delete: DeleteMeans::Deletes,
            user_name_form: UserNameForm::Any,
            user_names_unique: UserNamesUnique::Here,
            user_name_suffix: None,
            resource_type: None,
            catalogues: Vec::new(),
            invite: None,
        }
    }
}

impl ScimConfig {
    /// Everything that is wrong, in words; empty when nothing is.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, path, example) in [
            ("usersPath", &self.users_path, "/Users"),
            ("groups.path", &self.groups.path, "/Groups"),
        ] {
            if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', ' ']) || path.contains("..") {
                wrong.push(format!(
                    "{key} `{path}`: it starts with `/` and is a plain path, as `{example}`"
                ));
            }
        }
        if !(1..=1000).contains(&self.groups.members_max) {
            wrong.push(format!("groups.membersMax {}: 1 to 1000", self.groups.members_max));
        }
        if !(1..=1000).contains(&self.page_size) {
            wrong.push(format!("pageSize {}: 1 to 1000", self.page_size));
        }
        if self
            .requests_per_second
            .is_some_and(|rate| !(rate.is_finite() && (0.01..=10_000.0).contains(&rate)))
        {
            wrong.push("requestsPerSecond: must be between 0.01 and 10000".to_owned());
        }
        if self.scan_pages_max == 0 {
            wrong.push("scanPagesMax 0: at least 1".to_owned());
        }
        for name in &self.filter_by {
            if let Err(why) = Path::parse(name, &self.vocabulary()) {
                wrong.push(format!("filterBy `{name}`: {why}"));
            }
        }
        if self.active_by_patch && self.patch != PatchMode::Put {
            wrong.push("activeByPatch: only with patch: put".to_owned());
        }
        for urn in &self.extension_schemas {
            if !urn.to_ascii_lowercase().starts_with("urn:") || urn.ends_with(':') {
                wrong.push(format!(
                    "extensionSchemas `{urn}`: a schema URN, as `urn:example:schemas:2.0:User`"
                ));
            }
        }
        let plain = |path: &str| path.starts_with('/') && !path.ends_with('/') && !path.contains(['?', '#', ' ']);
        if let Some(path) = self.base_url_path.as_ref().filter(|path| !plain(path)) {
            wrong.push(format!(
                "baseUrlPath `{path}`: it starts with `/` and is a plain path, as `/scim/v2`"
            ));
        }
        if let Some(InviteCall { path, .. }) = &self.invite
            && !(plain(path) && !path.contains("..") && path.matches("/{id}").count() == 1)
        {
            wrong.push(format!(
                "invite.path `{path}`: a plain path from the host on with one `{{id}}`, as `/api/users/{{id}}/invitation`"
            ));
        }
        if let Some(suffix) = &self.user_name_suffix {
            let sound = suffix.len() > 1 && !suffix.contains(char::is_whitespace);
            if !sound
                || (self.user_name_form == UserNameForm::Email && (!suffix.starts_with('.') || suffix.contains('@')))
            {
                wrong.push(format!("userNameSuffix `{suffix}`: something like `.usher`"));
            }
            if self.user_names_unique == UserNamesUnique::Here {
                wrong.push("userNameSuffix: has no effect without userNamesUnique: everywhere".to_owned());
            }
        }
        for catalogue in &self.catalogues {
            let multi = Path::parse(&catalogue.attribute, &self.vocabulary()).is_ok_and(|path| path.is_multi());
            if !multi || catalogue.attribute.contains(['[', '.']) {
                wrong.push(format!(
                    "catalogues `{}`: the name of an attribute that holds several values, as `entitlements`",
                    catalogue.attribute
                ));
            }
            if !plain(&catalogue.path) || catalogue.list_max == 0 {
                wrong.push(format!(
                    "catalogues `{}`: a plain path such as `/Entitlements`, and listMax from 1 on",
                    catalogue.path
                ));
            }
        }
        wrong
    }

    /// The names that paths may use at this target.
    pub(crate) fn vocabulary(&self) -> Vocabulary {
        Vocabulary {
            extensions: self.extension_schemas.clone(),
            extra: self.extra_attributes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        let config: ScimConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, ScimConfig::default());
        assert!(config.validate().is_empty());
    }

    #[test]
    fn a_dialect_is_data() {
        let config: ScimConfig = serde_json::from_str(
            r#"{"patch": "pathless", "filter": "trusted", "paging": "index", "etag": "never", "lookupCase": "exact",
                "multiValuedLookup": "valuePath", "discovery": "never", "activeAsString": true}"#,
        )
        .unwrap();
        assert_eq!(config.patch, PatchMode::Pathless);
        assert_eq!(config.multi_valued_lookup, MultiValuedLookup::ValuePath);
        let unknown = serde_json::from_str::<ScimConfig>(r#"{"patchs": "put"}"#).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `patchs`"));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let config = ScimConfig {
            users_path: "Users/".to_owned(),
            page_size: 0,
            scan_pages_max: 0,
            requests_per_second: Some(0.0),
            extension_schemas: vec!["gong".to_owned()],
            filter_by: vec!["emails[".to_owned()],
            active_by_patch: true,
            base_url_path: Some("scim/".to_owned()),
            invite: Some(InviteCall {
                method: InviteMethod::Post,
                path: "/users/invitation".to_owned(),
            }),
            user_name_suffix: Some(" ".to_owned()),
            catalogues: vec![Catalogue {
                attribute: "title".to_owned(),
                path: "Titles".to_owned(),
                exactly_one: None,
                lookup: CatalogueLookup::List,
                list_max: 0,
                send_type: true,
            }],
            groups: GroupDialect {
                path: "Groups".to_owned(),
                members_max: 0,
                ..GroupDialect::default()
            },
            ..ScimConfig::default()
        };
        assert_eq!(config.validate().len(), 15, "{:#?}", config.validate());
    }
}
