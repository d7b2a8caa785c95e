//! Finding accounts, and proving that there are none (RFC 7644 section 3.4.2.2).
//!
//! Guarantees:
//! - Every account reported was looked at: a server that ignores `filter` returns everyone.
//! - An empty result is reported only when absence is proven: every filter used found an account that was known to
//!   exist, or the complete list was read. Servers answer 200 and nothing for filters that they do not understand
//!   (observed on scimmy 1.3.5: unknown attributes, extension attributes, other case).
//!
//! A target without usable filters is listed once ([`scan`]); the index serves later look-ups for a bounded time,
//! and each hit is read again. Exchanges that run at the same time may list at the same time, once each.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Shared,
    abilities::Trust,
    classify::{Fallback, Meaning, Purpose, not_scim},
    config::{LookupCase, MultiValuedLookup},
    filter::Filter,
    listing::ListPage,
    path::Path,
    render::{self, Start},
    resource,
};
use crate::{
    connector::{Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::account::{RemoteAccount, RemoteId},
};

mod scan;

use scan::{Proof, Scan};

/// Hits asked for by one filter. Two would tell "ambiguous"; some more tell which. It also bounds what a server that
/// ignores the filter sends.
const HITS: u32 = 10;

/// A value to find an account by.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) path: Path,
    pub(crate) value: String,
}

/// The exchange of `Operation::Find`.
#[derive(Debug)]
pub(crate) struct Find {
    shared: Arc<Shared>,
    keys: Vec<Key>,
    /// Keys whose filter found nothing and is not proven.
    unproven: Vec<usize>,
    /// Whether an old listing may answer.
    may_be_old: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Start,
    /// Waiting for the hits of a filter by a key; in lower case; in the other form for multi-valued attributes.
    Filter {
        key: usize,
        lower: bool,
        other_form: bool,
    },
    /// Waiting for any answer that tells the target's time.
    Time,
    /// Waiting for a page of all accounts.
    Page(Scan),
    /// Waiting for the hits of a filter that must find an account known to exist.
    Proof {
        scan: Scan,
        proofs: VecDeque<Proof>,
    },
    /// Waiting for an account that the index names.
    Candidate {
        queue: VecDeque<(usize, RemoteId)>,
        found: Vec<RemoteAccount>,
    },
}

/// What the hits of a filter say.
enum Hits {
    Match(Vec<RemoteAccount>),
    Nothing,
    /// It returned what was not asked for.
    Ignored,
}

impl Find {
    pub(crate) fn new(shared: Arc<Shared>, keys: Vec<Key>) -> Self {
        Self {
            shared,
            keys,
            unproven: Vec::new(),
            may_be_old: true,
            stage: Stage::Start,
        }
    }

    /// A look-up that must see what happened a moment ago.
    pub(crate) fn fresh(shared: Arc<Shared>, keys: Vec<Key>) -> Self {
        Self {
            may_be_old: false,
            ..Self::new(shared, keys)
        }
    }

    fn start(&mut self) -> Step {
        let unusable = |key: &Key| self.shared.view(|a| a.trust(&key.path, &self.shared.config)) == Trust::Unusable;
        if self.keys.is_empty() {
            return found(Vec::new());
        }
        // Keys are tried in order of strength: a weaker one must not decide because a stronger one cannot be asked.
        if self.keys.iter().any(unusable) {
            self.by_list()
        } else {
            self.ask_filter(0, false, false)
        }
    }

    fn ask_filter(&mut self, key: usize, lower: bool, other_form: bool) -> Step {
        let Key { path, value } = &self.keys[key];
        let value = if lower { value.to_lowercase() } else { value.clone() };
        let filter = self.filter(path, &value, other_form);
        self.stage = Stage::Filter { key, lower, other_form };
        Step::Send(render::list(&self.shared.config, Some(&filter), &Start::First, HITS))
    }

    fn filter(&self, path: &Path, value: &str, other_form: bool) -> Filter {
        if !path.is_multi() {
            return Filter::equal(path.to_string(), value);
        }
        let configured = self.shared.config.multi_valued_lookup == MultiValuedLookup::Dotted;
        let learnt = self.shared.view(|abilities| abilities.other_lookup_form);
        let sub = path.sub.as_deref().unwrap_or("value");
        if configured ^ learnt ^ other_form {
            return Filter::equal(format!("{}.{sub}", path.attribute_name()), value);
        }
        let equal = Filter::equal(sub, value);
        let inner = match &path.filter {
            Some(condition) => condition.clone().and(equal),
            None => equal,
        };
        Filter::Element {
            attribute: path.attribute_name(),
            filter: Box::new(inner),
        }
    }

    fn take_filter(&mut self, key: usize, lower: bool, other_form: bool, answer: &HttpAnswer) -> Step {
        let path = self.keys[key].path.clone();
        let value = self.keys[key].value.clone();
        let page = match self.shared.classify(Purpose::Search, answer) {
            Meaning::Success(body) => match body.as_ref().and_then(ListPage::parse) {
                Some(page) => page,
                None => return halt(not_scim(Purpose::Search, "a SCIM list of accounts")),
            },
            Meaning::Absent(_) => ListPage {
                resources: Vec::new(),
                total: Some(0),
                next_cursor: None,
            },
            Meaning::Fallback(..) if path.is_multi() && !other_form => {
                return self.ask_filter(key, lower, true);
            }
            Meaning::Fallback(..) => return self.give_up_filter(&path),
            other => return failed(other),
        };
        if other_form {
            self.shared.learn(|abilities| abilities.other_lookup_form ^= true);
        }
        match self.judge(&page, &path, &value) {
            Hits::Match(accounts) => {
                if proves(&path, &value, &accounts) {
                    self.shared
                        .learn(|abilities| abilities.learn_trust(&path, Trust::Proven));
                }
                found(accounts)
            }
            Hits::Ignored => self.give_up_filter(&path),
            Hits::Nothing => {
                let folded = value.to_lowercase();
                let fold = self.shared.config.lookup_case == LookupCase::ThenLower && !path.is_case_exact();
                if fold && !lower && folded != value {
                    return self.ask_filter(key, true, false);
                }
                if self
                    .shared
                    .view(|abilities| abilities.trust(&path, &self.shared.config))
                    != Trust::Proven
                {
                    self.unproven.push(key);
                }
                if key + 1 < self.keys.len() {
                    return self.ask_filter(key + 1, false, false);
                }
                if self.unproven.is_empty() {
                    found(Vec::new())
                } else {
                    self.by_list()
                }
            }
        }
    }

    fn give_up_filter(&mut self, path: &Path) -> Step {
        self.shared
            .learn(|abilities| abilities.learn_trust(path, Trust::Unusable));
        self.by_list()
    }

    /// Looks at each hit. A hit that holds the value in another element (a home address for a work one) is the
    /// filter working and still not the account asked for.
    fn judge(&self, page: &ListPage, path: &Path, value: &str) -> Hits {
        if page.resources.is_empty() {
            return if page.total.unwrap_or(0) == 0 {
                Hits::Nothing
            } else {
                Hits::Ignored
            };
        }
        let anywhere = Path {
            filter: None,
            ..path.clone()
        };
        let mut accounts = Vec::new();
        for hit in &page.resources {
            if resource::holds(hit, path, value) {
                match self.shared.account(hit.clone(), None) {
                    Some(account) => accounts.push(account),
                    None => return Hits::Ignored,
                }
            } else if path.filter.is_none() || !resource::holds(hit, &anywhere, value) {
                return Hits::Ignored;
            }
        }
        if accounts.is_empty() {
            Hits::Nothing
        } else {
            Hits::Match(accounts)
        }
    }
}

impl Exchange for Find {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return self.start();
        };
        match std::mem::replace(&mut self.stage, Stage::Start) {
            Stage::Start => self.start(),
            Stage::Filter { key, lower, other_form } => self.take_filter(key, lower, other_form, &answer),
            Stage::Time => self.take_time(&answer),
            Stage::Page(scan) => self.take_page(scan, &answer),
            Stage::Proof { scan, proofs } => self.take_proof(scan, proofs, &answer),
            Stage::Candidate { queue, found } => self.take_candidate(queue, found, &answer),
        }
    }
}

/// Whether these hits show that the filter finds what it should: by the case rule of the attribute, so for most
/// attributes a hit in the very case that was asked for shows too little.
fn proves(path: &Path, asked: &str, hits: &[RemoteAccount]) -> bool {
    let in_other_case = |hit: &RemoteAccount| {
        let held = resource::read_all(&hit.resource, path);
        !held.iter().any(|value| {
            value
                .as_str()
                .is_some_and(|value| value == asked || value == asked.to_lowercase())
        })
    };
    path.is_case_exact() || hits.iter().any(in_other_case)
}

fn found(accounts: Vec<RemoteAccount>) -> Step {
    Step::Done(Ok(Reply::Found(accounts)))
}

fn halt(refusal: Refusal) -> Step {
    Step::Done(Err(Failure::Halt(refusal)))
}

/// A look-up changes nothing, so whatever is unclear is tried again.
fn failed(meaning: Meaning) -> Step {
    Step::Done(Err(match meaning {
        Meaning::Failed(failure) => failure,
        Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
        Meaning::Accepted(refusal) | Meaning::Exists(refusal) | Meaning::Version(refusal) => {
            Failure::Retry(refusal, None)
        }
        Meaning::Absent(refusal) | Meaning::Fallback(Fallback::Capability, refusal) => Failure::Halt(refusal),
        Meaning::Fallback(_, refusal) => Failure::Reject(refusal),
        Meaning::Success(_) => Failure::Halt(not_scim(Purpose::Search, "a SCIM answer")),
    }))
}
