//! Changing an account: PATCH, or PUT after reading (RFC 7644 sections 3.5.1 and 3.5.2).
//!
//! Every refusal with a known way round it gets exactly one further try: a value filter that meets nothing becomes a
//! whole array, a path that is not understood another encoding, a missing PATCH a PUT, a stale version a new read.
//! After such a read only real differences are sent, so an operation that the target refuses although nothing would
//! change does not block the others. Guarantee: a request is never repeated unchanged.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Shared, build,
    classify::{Fallback, Meaning, Purpose, not_scim},
    config::PatchMode,
    listing::ListPage,
    patch::{self, Style},
    path::Path,
    render::{self, Start},
    resource,
};
use crate::{
    connector::{Exchange, Failure, HttpAnswer, Refusal, Reply, Request, Step},
    logic::account::{RemoteAccount, RemoteId},
};

/// The exchange of `Operation::Update`.
#[derive(Debug)]
pub(crate) struct Update {
    shared: Arc<Shared>,
    id: RemoteId,
    values: Vec<(Path, Value)>,
    etag: Option<String>,
    put: bool,
    /// What is written by PUT after `active` was written by PATCH.
    rest: Vec<(Path, Value)>,
    /// The `active` that was written before the rest.
    before: Option<bool>,
    style: Style,
    /// The account as read by this exchange.
    current: Option<RemoteAccount>,
    tried: Tried,
    last: Option<Request>,
    /// A write was sent, and whether it took effect is not known.
    uncertain: bool,
    stage: Stage,
}

/// Which ways round were used.
#[derive(Debug, Default)]
struct Tried {
    version: bool,
    no_target: bool,
    path: bool,
    mutability: bool,
    media_type: bool,
    /// The refusal that the account is being read for.
    because: Option<Refusal>,
}

/// Why an account was not read.
enum Unread {
    Absent,
    Failed(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    Writing,
    /// Reading back what was taken.
    Confirming,
    /// Asking for the list, because the account is said to be gone.
    Proving,
}

impl Drop for Update {
    /// A write that names the account and has no certain end may have changed what it is found by: a listing from before
    /// must not answer for it.
    fn drop(&mut self) {
        let names = |(path, _): &(Path, Value)| path.schema.is_none() && path.attribute == "externalId";
        if self.uncertain && self.values.iter().any(names) {
            self.shared.learn(|abilities| abilities.index = None);
        }
    }
}

impl Update {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId, values: Vec<(Path, Value)>, etag: Option<String>) -> Self {
        let (mut put, style, versions) = shared.view(|abilities| {
            let config = &shared.config;
            (
                abilities.uses_put(config),
                abilities.patch_style(config),
                abilities.versions(config),
            )
        });
        let etag = etag.filter(|_| versions);
        // A leaver is off before anything else about them is written.
        let apart = put && shared.config.active_by_patch && values.iter().any(|(path, _)| is_active(path));
        let (values, rest) = match apart {
            true => values.into_iter().partition(|(path, _)| is_active(path)),
            false => (values, Vec::new()),
        };
        put &= !apart;
        let (tried, current) = (Tried::default(), None);
        Self {
            shared,
            id,
            values,
            etag,
            put,
            rest,
            before: None,
            style,
            current,
            tried,
            last: None,
            uncertain: false,
            stage: Stage::Reading,
        }
    }

    fn begin(&mut self) -> Step {
        if self.values.is_empty() {
            return self.done(None);
        }
        if self.put || self.style.needs_current(&self.values) {
            self.read(Stage::Reading)
        } else {
            self.write()
        }
    }

    fn read(&mut self, stage: Stage) -> Step {
        match render::account_path(&self.shared.config, &self.id) {
            Ok(path) => {
                self.stage = stage;
                Step::Send(render::get(path))
            }
            Err(refusal) => reject(refusal),
        }
    }

    fn write(&mut self) -> Step {
        let config = &self.shared.config;
        let current = self.current.as_ref().map(|account| &account.resource);
        let (method, body) = match (self.put, current) {
            (true, None) => return self.read(Stage::Reading),
            (true, Some(held)) if patch::changes(&self.values, held).is_empty() => ("PUT", None),
            (true, Some(held)) => ("PUT", Some(build::replacement(held, &self.values, config))),
            (false, _) => ("PATCH", patch::body(&self.values, current, self.style, config)),
        };
        // The account holds everything already.
        let Some(body) = body else {
            return match self.before {
                Some(_) => self.confirm(self.current.clone()),
                None => self.done(self.current.clone()),
            };
        };
        let path = match render::account_path(config, &self.id) {
            Ok(path) => path,
            Err(refusal) => return reject(refusal),
        };
        let etag = self.etag.as_deref();
        let request = self
            .shared
            .view(|abilities| render::write(method, path, Some(body), etag, abilities));
        self.stage = Stage::Writing;
        self.uncertain = true;
        self.last = Some(request.clone());
        Step::Send(request)
    }

    /// Writes again after a fallback, unless that would be the same request.
    fn write_differently(&mut self, refusal: Refusal) -> Step {
        let before = self.last.take();
        match self.write() {
            Step::Send(now) if before.is_some_and(|old| old.method == now.method && old.body == now.body) => {
                reject(refusal)
            }
            step => step,
        }
    }

    fn take_read(&mut self, answer: &HttpAnswer) -> Step {
        let account = match self.account(answer) {
            Ok(account) => account,
            // Hidden since it was switched off: nothing more can be written.
            Err(Unread::Absent) if self.before == Some(false) => return self.done(None),
            Err(Unread::Absent) => return self.prove_absence(),
            Err(Unread::Failed(failure)) => return Step::Done(Err(failure)),
        };
        self.etag.clone_from(&account.etag);
        self.current = Some(account);
        match self.tried.because.take() {
            Some(refusal) => self.write_differently(refusal),
            None => self.write(),
        }
    }

    /// The account out of the answer to a read.
    fn account(&self, answer: &HttpAnswer) -> Result<RemoteAccount, Unread> {
        let failure = match self.shared.classify(Purpose::Read, answer) {
            Meaning::Success(body) => {
                let account = body.and_then(|body| self.shared.account(body, super::etag_header(answer)));
                match account.filter(|account| account.id == self.id) {
                    Some(account) => return Ok(account),
                    None => Failure::Reject(not_scim(Purpose::Read, "this SCIM account")),
                }
            }
            Meaning::Absent(_) => return Err(Unread::Absent),
            Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
            Meaning::Failed(failure) => failure,
            Meaning::Accepted(refusal)
            | Meaning::Exists(refusal)
            | Meaning::Version(refusal)
            | Meaning::Fallback(_, refusal) => Failure::Reject(refusal),
        };
        Err(Unread::Failed(failure))
    }

    fn take_write(&mut self, answer: &HttpAnswer) -> Step {
        let meaning = self.shared.classify(Purpose::Update, answer);
        // A success as well, until the values are noted in the listing.
        self.uncertain = matches!(
            meaning,
            Meaning::Success(_) | Meaning::Accepted(_) | Meaning::Unknown(..)
        );
        match meaning {
            Meaning::Success(_) if !self.rest.is_empty() => {
                self.before = self.wanted_active();
                self.values = std::mem::take(&mut self.rest);
                (self.put, self.current, self.etag, self.tried) = (true, None, None, Tried::default());
                self.read(Stage::Reading)
            }
            Meaning::Success(body) => {
                let account = body.and_then(|body| self.shared.account(body, super::etag_header(answer)));
                self.learn_style();
                self.confirm(account.filter(|account| account.id == self.id))
            }
            Meaning::Accepted(refusal) => Step::Done(Err(Failure::Retry(refusal, None))),
            Meaning::Absent(_) => self.prove_absence(),
            Meaning::Exists(refusal) => self.conflict(refusal),
            // RFC 7644 section 3.14: a new version is read, and the change made on it, once.
            Meaning::Version(_) if self.etag.is_some() && !self.tried.version => {
                self.tried.version = true;
                self.read(Stage::Reading)
            }
            Meaning::Version(refusal) if is_precondition(answer) => Step::Done(Err(Failure::Retry(refusal, None))),
            Meaning::Version(refusal) => self.conflict(refusal),
            Meaning::Fallback(fallback, refusal) => self.fall_back(fallback, refusal),
            Meaning::Unknown(refusal, wait) => Step::Done(Err(Failure::Retry(refusal, wait))),
            Meaning::Failed(failure) => Step::Done(Err(failure)),
        }
    }

    fn fall_back(&mut self, fallback: Fallback, refusal: Refusal) -> Step {
        let used = match fallback {
            // Removing what is not there is done (vendor documentation). Of several, one that is not there stops the others
            // (seen: SCIM-SDK 1.27.1), so what is there is read and removed.
            Fallback::NoTarget if matches!(&self.values[..], [(_, value)] if resource::is_unassigned(value)) => {
                return self.confirm(None);
            }
            Fallback::NoTarget => &mut self.tried.no_target,
            Fallback::Path => &mut self.tried.path,
            Fallback::Mutability => &mut self.tried.mutability,
            Fallback::MediaType => &mut self.tried.media_type,
            Fallback::Capability if !self.put && self.shared.config.patch == PatchMode::Auto => {
                self.shared.learn(|abilities| abilities.patch_refused = true);
                self.put = true;
                return self.write();
            }
            Fallback::Capability | Fallback::Query | Fallback::TooMany => return reject(refusal),
        };
        if self.put && fallback != Fallback::MediaType || std::mem::replace(used, true) {
            return reject(refusal);
        }
        match fallback {
            Fallback::NoTarget => self.style.whole_arrays = true,
            Fallback::Path => {
                self.style.whole_arrays = true;
                self.style.nested_extension = true;
            }
            Fallback::MediaType => {
                self.shared.learn(|abilities| abilities.plain_json = true);
                return self.write();
            }
            Fallback::Mutability | Fallback::Query | Fallback::TooMany | Fallback::Capability => {}
        }
        self.tried.because = Some(refusal);
        self.read(Stage::Reading)
    }

    /// An encoding that a path refusal led to is used from now on. Meeting no element says nothing about the target.
    fn learn_style(&self) {
        if self.tried.path && !self.put {
            let style = Style {
                pathless: false,
                whole_arrays: true,
                nested_extension: true,
            };
            self.shared.learn(|abilities| abilities.style = style);
        }
    }

    /// Reads `active` back unless the answer shows it as written: some targets ignore it silently, and some answer a
    /// write with the account as it was before (vendor documentation). Everything, where the dialect says so.
    fn confirm(&mut self, account: Option<RemoteAccount>) -> Step {
        let wanted = self.wanted_active();
        let shown = account.as_ref().and_then(|account| account.active);
        let doubtful = wanted.is_some() && shown != wanted && self.shared.config.verify_active;
        if doubtful || self.shared.config.verify_writes {
            return self.read(Stage::Confirming);
        }
        self.done(account)
    }

    fn take_confirmation(&mut self, answer: &HttpAnswer) -> Step {
        let account = match self.account(answer) {
            Ok(account) => account,
            // Some targets hide an account once it is inactive (seen: Atlassian, GitHub organizations).
            Err(Unread::Absent) if self.wanted_active() == Some(false) => return self.done(None),
            Err(Unread::Absent) => return self.prove_absence(),
            // The write itself was taken: a refusal to show the account must not pass for a refusal of the write.
            Err(Unread::Failed(Failure::Reject(refusal))) => return Step::Done(Err(Failure::Retry(refusal, None))),
            Err(Unread::Failed(failure)) => return Step::Done(Err(failure)),
        };
        let wanted = self.wanted_active();
        if wanted.is_none() || account.active.is_none() || account.active == wanted {
            return self.done(Some(account));
        }
        Step::Done(Err(Failure::Retry(
            Refusal {
                code: "active-not-taken".to_owned(),
                reason: "writing the account: the target accepted the change of `active` and still shows the old state"
                    .to_owned(),
            },
            None,
        )))
    }

    /// A gateway, a moved tenant or a wrong base URL answer 404 to everything, and "gone" ends the work on a leaver. So
    /// it is believed only where the list of accounts is.
    fn prove_absence(&mut self) -> Step {
        self.stage = Stage::Proving;
        Step::Send(render::list(&self.shared.config, None, &Start::First, 1))
    }

    fn take_proof(&self, answer: &HttpAnswer) -> Step {
        let failure = match self.shared.classify(Purpose::List, answer) {
            Meaning::Success(body) if body.as_ref().and_then(ListPage::parse).is_some() => {
                self.shared.learn(|abilities| abilities.note_gone(&self.id));
                return Step::Done(Ok(Reply::Absent));
            }
            Meaning::Success(_) => Failure::Halt(not_scim(Purpose::List, "a SCIM list of accounts")),
            Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
            Meaning::Failed(failure) => failure,
            Meaning::Fallback(_, refusal)
            | Meaning::Absent(refusal)
            | Meaning::Accepted(refusal)
            | Meaning::Exists(refusal)
            | Meaning::Version(refusal) => Failure::Halt(refusal),
        };
        Step::Done(Err(failure))
    }

    fn wanted_active(&self) -> Option<bool> {
        let value = self.values.iter().find(|(path, _)| is_active(path));
        value.map_or(self.before, |(_, value)| resource::as_bool(value))
    }

    fn done(&mut self, account: Option<RemoteAccount>) -> Step {
        self.uncertain = false;
        self.shared.learn(|abilities| match &account {
            Some(account) => abilities.note_account(&account.id, &account.resource),
            None => abilities.note_values(&self.id, &self.values),
        });
        Step::Done(Ok(Reply::Written {
            id: self.id.clone(),
            account,
        }))
    }

    fn conflict(&self, refusal: Refusal) -> Step {
        self.shared.learn(|abilities| abilities.index = None);
        Step::Done(Ok(Reply::Conflict(refusal)))
    }
}

fn is_active(path: &Path) -> bool {
    path.schema.is_none() && path.attribute == "active"
}

impl Exchange for Update {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return self.begin();
        };
        match self.stage {
            Stage::Reading => self.take_read(&answer),
            Stage::Writing => self.take_write(&answer),
            Stage::Confirming => self.take_confirmation(&answer),
            Stage::Proving => self.take_proof(&answer),
        }
    }
}

fn reject(refusal: Refusal) -> Step {
    Step::Done(Err(Failure::Reject(refusal)))
}

pub(super) fn is_precondition(answer: &HttpAnswer) -> bool {
    matches!(answer, HttpAnswer::Response { status: 412, .. })
}
