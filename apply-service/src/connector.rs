//! Connectors: how the operations of a plan become requests of one application, and answers become verdicts.
//!
//! A connector is **pure**. An [`Exchange`] is a step machine: the sender hands it the last answer and it says which
//! request comes next or how the operation ended. So look-ups, read-modify-write and one automatic fallback are
//! decided by the connector, and all I/O is in [`http`]. Capabilities learnt from answers are kept in the connector.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde_json::Value;

use crate::logic::{
    account::{AttributePath, AttributeValues, RemoteAccount, RemoteGroup, RemoteId},
    groups::rules::GroupAbilities,
    notification::Onboarding,
    policy::ValueKind,
};

mod answer;
pub mod http;
pub mod lease;
pub mod rest;
pub mod roster;
pub mod scim;
pub mod webhook;

/// One thing to do at a target, fully decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// A harmless call that proves address and credentials, and discovers what the target can do.
    Check,
    /// Accounts that may belong to a person: by our external id, then by each attribute in turn.
    Find {
        /// `<userId18>` as kept in the target's external id.
        external_id: String,
        /// Further attributes to look by, in order (`userName`, `emails[type eq "work"].value`).
        by: Vec<(AttributePath, String)>,
    },
    /// One account by the target's id: [`Reply::Found`] with that one, or [`Reply::Absent`].
    Read(RemoteId),
    /// One page of all accounts.
    List {
        /// `None` for the first page, else the cursor of the page before.
        cursor: Option<String>,
    },
    /// The same as another interface of the application shows them (`connection.readBack`), with ids of its own.
    ReadBack {
        /// As of `List`.
        cursor: Option<String>,
    },
    /// A new account. The look-up has been done.
    Create {
        /// What to write, `active` and `externalId` included.
        values: AttributeValues,
    },
    /// Write the given attributes of an account, nothing else. Includes `active` for deactivate and reactivate.
    Update {
        /// Which account.
        id: RemoteId,
        /// What to write; null clears.
        values: AttributeValues,
        /// For a conditional write, when known and supported.
        etag: Option<String>,
    },
    /// Have the target send its own activation or password-reset mail. No password is asked for or taken back.
    Invite(RemoteId),
    /// Remove the account for good. Only ever made when policy and preset both allow it.
    Delete(RemoteId),
    /// Groups of a name, whatever its case: [`Reply::Groups`].
    FindGroup {
        /// The name.
        name: String,
    },
    /// A new group without members. The look-up has been done.
    CreateGroup {
        /// Its name.
        name: String,
    },
    /// Give a group another name.
    RenameGroup {
        /// Which group.
        id: RemoteId,
        /// The new name.
        name: String,
    },
    /// Who is in a group: [`Reply::Members`].
    ReadGroup(RemoteId),
    /// Add accounts to a group and take others out, all or nothing where the target can; whoever is in it already, or is
    /// not in it, is no mistake. Everybody else stays.
    ChangeMembers {
        /// Which group.
        id: RemoteId,
        /// Who is added.
        add: Vec<RemoteId>,
        /// Who is taken out.
        remove: Vec<RemoteId>,
        /// How many are taken to be in it: a target that can only replace all of them is not believed to have none.
        known: usize,
    },
}

impl Operation {
    /// Whether it changes anything at the target: such a request starts only under a valid lease.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::Check | Self::Find { .. } | Self::Read(_) | Self::List { .. } | Self::ReadBack { .. } => false,
            Self::FindGroup { .. } | Self::ReadGroup(_) => false,
            Self::Create { .. } | Self::Update { .. } | Self::Delete(_) | Self::Invite(_) => true,
            Self::CreateGroup { .. } | Self::RenameGroup { .. } | Self::ChangeMembers { .. } => true,
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The target answers; what it can do in words, for `check`.
    Checked(Vec<String>),
    /// As `Checked`, and the names of the account that the credentials belong to: id, user name, e-mail addresses.
    CheckedAs(Vec<String>, Vec<String>),
    /// Verified hits of a look-up (may be several); empty only when absence is proven.
    Found(Vec<RemoteAccount>),
    /// A page of the list.
    Page {
        /// The accounts of the page.
        accounts: Vec<RemoteAccount>,
        /// Where the next page starts; `None` after the last.
        next: Option<String>,
    },
    /// Created or written; the account as the target holds it now, when it says.
    Written {
        /// The target's id.
        id: RemoteId,
        /// The account after the write, when the target showed it.
        account: Option<RemoteAccount>,
    },
    /// Deleted, or gone already.
    Deleted,
    /// Taken over: an invitation, a message of a webhook.
    Taken,
    /// The target does not (any longer) have this account or group.
    Absent,
    /// Groups of the name; empty only when there is none.
    Groups(Vec<RemoteGroup>),
    /// A group was made, or has its new name.
    GroupWritten(RemoteId),
    /// Who is in the group; `None` when the target does not show it.
    Members(Option<Vec<RemoteId>>),
    /// Members were changed.
    Changed,
    /// On a create: such an account or group exists although the look-up did not find it. On an update: another account
    /// holds a value that must be unique. Look up again and decide; never repeat unchanged.
    Conflict(Refusal),
}

/// Why an operation did not succeed and what that means. See `logic::classify`.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Try this person again, not before the given time when there is one.
    Retry(Refusal, Option<Duration>),
    /// This person is refused until something changes.
    Reject(Refusal),
    /// The target as a whole does not work: credentials, address, maintenance.
    Halt(Refusal),
}

/// The code of a conflict on a create that leaves open whether an account was made.
pub(crate) const CREATE_UNCLEAR: &str = "create-unclear";

/// The code of a list that ended before the number of accounts that the target names.
pub(crate) const LIST_INCOMPLETE: &str = "list-incomplete";
/// The code of a page that the target does not give any more: the list has to be read from its first page.
pub(crate) const CURSOR_REFUSED: &str = "cursor-refused";

/// A reason with a stable code. Never holds personal values, bodies or secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, kebab-case: `http-401`, `scim-uniqueness`, `html-answer`, and those of [`http`].
    pub code: String,
    /// In words: what was attempted, what came, what to do.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code)
    }
}

/// A request to send. The sender adds the base URL, credentials, time limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Upper case.
    pub method: &'static str,
    /// Path below the base URL, encoded, with query; starts with `/`.
    pub path: String,
    /// The path counts from the host of the base URL and not from its end: for calls that a policy names beside the interface.
    pub from_host: bool,
    /// Additional headers.
    pub headers: Vec<(&'static str, String)>,
    /// JSON body.
    pub body: Option<Value>,
    /// Whether it changes anything at the target.
    pub write: bool,
}

/// A request that lacks what only the sender knows. So an exchange stays pure, and a secret never enters one.
pub trait Draft: fmt::Debug + Send + Sync {
    /// Whether it changes anything at the target.
    fn is_write(&self) -> bool;

    /// The request, complete.
    ///
    /// # Errors
    /// It cannot be sent as it is; the reason holds neither values nor secrets.
    fn complete(&self, moment: &Moment) -> Result<Completed, Refusal>;
}

/// What only the sender knows.
#[derive(Clone, Default)]
pub struct Moment {
    /// Milliseconds since 1970. One reading per request: a header and the hash in another one show the same time.
    pub now_ms: i64,
    /// Secrets by name.
    pub secrets: Arc<BTreeMap<String, String>>,
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment")
            .field("now_ms", &self.now_ms)
            .finish_non_exhaustive()
    }
}

/// A request with everything in it, secrets included: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Completed {
    /// Upper case.
    pub method: String,
    /// Path below the base URL, encoded, with query; starts with `/`.
    pub path: String,
    /// All headers but those of the credential.
    pub headers: Vec<(String, String)>,
    /// The body with its type.
    pub body: Option<(&'static str, Vec<u8>)>,
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpAnswer {
    /// An answer of any status.
    Response {
        /// Status code.
        status: u16,
        /// Names in lower case.
        headers: Vec<(String, String)>,
        /// At most the configured size; larger ones become [`HttpAnswer::Broken`].
        body: Vec<u8>,
    },
    /// Nothing was sent: the name did not resolve, the connection was refused, TLS failed, the lease had run out.
    NotSent(Refusal),
    /// Sent, but no complete answer: the effect is unknown.
    Broken(Refusal),
}

/// The next step of an exchange.
#[derive(Debug)]
pub enum Step {
    /// Send this and come back with the answer.
    Send(Request),
    /// Complete this, send it and come back with the answer.
    Complete(Box<dyn Draft>),
    /// It has ended.
    Done(Result<Reply, Failure>),
}

/// One operation under way.
pub trait Exchange: Send {
    /// Called first with `None`, then with the answer of each request, until it is done.
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step;
}

/// One kind of application.
pub trait Connector: Send + Sync {
    /// Starts an operation.
    fn begin(&self, operation: Operation) -> Box<dyn Exchange>;

    /// The value that an account holds at a path, for comparing what was written with what came back.
    /// `None` when the account does not show the attribute, `Some(Null)` when it shows it empty.
    fn read_attribute(&self, account: &RemoteAccount, path: &AttributePath) -> Option<Value>;

    /// How far a new user is in, where an account shows it.
    fn onboarding(&self, _account: &RemoteAccount) -> Option<Onboarding> {
        None
    }

    /// Checks an attribute path of the configuration; the error names what is wrong in words.
    ///
    /// # Errors
    /// The reason in words.
    fn check_path(&self, path: &str) -> Result<AttributePath, String>;

    /// Whether the connection check can find out whose account the credentials belong to.
    fn tells_owner(&self) -> bool {
        false
    }

    /// What the application holds at a path.
    fn kind(&self, _path: &AttributePath) -> ValueKind {
        ValueKind::Any
    }

    /// Whether an attribute cannot be changed any more once the account is there.
    fn only_with_new_accounts(&self, _path: &AttributePath) -> bool {
        false
    }

    /// Whether accounts show this attribute; nothing follows from the absence of one that they never do.
    fn shows(&self, _path: &AttributePath) -> bool {
        true
    }

    /// Whether accounts can be looked up by this attribute.
    fn looks_by(&self, path: &AttributePath) -> bool {
        self.shows(path)
    }

    /// What it cannot do at this target, by the words of the policy's `features`.
    fn lacks(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Attributes that no account can be without: to clear one is refused, and everything else in the same write with it.
    fn needs(&self) -> Vec<AttributePath> {
        Vec::new()
    }

    /// What it can do about groups; `None` when it cannot do anything.
    fn groups(&self) -> Option<GroupAbilities> {
        None
    }

    /// Forgets what was listed before: another process may have written since.
    fn forget_listing(&self) {}
}
