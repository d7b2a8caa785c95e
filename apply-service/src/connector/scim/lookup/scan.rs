//! The other half of a look-up: reading the whole list, proving filters with what it shows, answering from its index.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Find, HITS, Hits, Key, Stage, failed, found, halt};
use crate::{
    connector::{
        Failure, HttpAnswer, Refusal, Step,
        scim::{
            PageProblem,
            abilities::Trust,
            classify::{Meaning, Purpose, not_scim},
            etag_header,
            index::Index,
            listing::{ListPage, Progress, incomplete},
            path::Path,
            render::{self, Start},
            resource,
        },
    },
    logic::account::{RemoteAccount, RemoteId},
};

#[derive(Debug)]
pub(super) struct Scan {
    progress: Progress,
    index: Index,
    start: Start,
    proof_tried: bool,
    restarted: bool,
}

#[derive(Debug)]
pub(super) struct Proof {
    key: usize,
    value: String,
    /// Taken from a page read just now, so that a filter which does not find it is blind.
    fresh: bool,
}

impl Find {
    /// Answers from the index, or makes one. Before an old index answers, one small request tells the target's
    /// time: a connector may have rested while another process owned the target and wrote to it.
    pub(super) fn by_list(&mut self) -> Step {
        let has_index = self.shared.view(|abilities| abilities.index.is_some());
        if !has_index || !self.may_be_old {
            return self.start_scan();
        }
        self.stage = Stage::Time;
        let config = &self.shared.config;
        Step::Send(render::list(config, None, &Start::First, 1))
    }

    pub(super) fn take_time(&mut self, answer: &HttpAnswer) -> Step {
        match self.shared.classify(Purpose::List, answer) {
            Meaning::Success(_) => {}
            Meaning::Fallback(..) => return self.start_scan(),
            other => return failed(other),
        }
        let (keys, paths) = (&self.keys, self.paths());
        let age = self.shared.config.listing_max_age_seconds;
        // Taken in one go: another exchange may forget the index at any moment.
        let candidates = self.shared.learn(|abilities| {
            let now = abilities.target_time;
            let index = abilities.index.as_mut()?;
            index.serves(&paths, now, age).then(|| candidates(index, keys))
        });
        match candidates {
            Some(queue) => self.ask_candidate(queue, Vec::new(), None),
            None => self.start_scan(),
        }
    }

    fn paths(&self) -> Vec<Path> {
        self.keys.iter().map(|key| key.path.clone()).collect()
    }

    fn start_scan(&mut self) -> Step {
        let asked = self.paths();
        let paths = self.shared.learn(|abilities| abilities.learn_lookup_paths(&asked));
        self.ask_page(Scan {
            progress: Progress::default(),
            index: Index::new(paths),
            start: Start::First,
            proof_tried: false,
            restarted: false,
        })
    }

    fn ask_page(&mut self, mut scan: Scan) -> Step {
        let config = &self.shared.config;
        let (by_cursor, count) = self
            .shared
            .view(|abilities| (abilities.starts_with_cursor(config), abilities.page_size(config)));
        scan.start = scan.progress.start(by_cursor);
        let request = render::list(config, None, &scan.start, count);
        self.stage = Stage::Page(scan);
        Step::Send(request)
    }

    pub(super) fn take_page(&mut self, mut scan: Scan, answer: &HttpAnswer) -> Step {
        let page = match self.shared.list_page(&scan.start, answer) {
            Ok(page) => page,
            Err(PageProblem::Again) => return self.ask_page(scan),
            // An expired cursor: once more from the first page (RFC 9865 section 2.1).
            Err(PageProblem::Refused(_)) if !scan.restarted && matches!(scan.start, Start::Cursor(_)) => {
                scan.progress = Progress::default();
                scan.restarted = true;
                return self.ask_page(scan);
            }
            Err(PageProblem::Refused(refusal)) => return halt(refusal),
            Err(PageProblem::Failed(failure)) => return Step::Done(Err(failure)),
        };
        scan.index.begins(self.shared.view(|abilities| abilities.target_time));
        let pages_max = self.shared.config.scan_pages_max;
        let (new, more) = scan.progress.take_of(&scan.start, &page, pages_max);
        if new {
            for account in page
                .resources
                .iter()
                .filter_map(|held| self.shared.account(held.clone(), None))
            {
                scan.index.put(&account.id, &account.resource);
            }
        }
        if more {
            return if scan.proof_tried {
                self.ask_page(scan)
            } else {
                self.try_proof(scan, &page)
            };
        }
        if scan.progress.is_cut(pages_max) {
            return halt(Refusal {
                code: "list-too-long".to_owned(),
                reason: format!(
                    "looking up an account: filters are not usable and the list did not end after {pages_max} pages; \
                     set `filter: trusted` if the target's filters work, or raise scanPagesMax"
                ),
            });
        }
        if scan.progress.is_short(&page) {
            return Step::Done(Err(Failure::Retry(incomplete(&scan.progress, &page), None)));
        }
        let queue = candidates(&scan.index, &self.keys);
        self.shared.learn(|abilities| abilities.index = Some(scan.index));
        self.ask_candidate(queue, Vec::new(), None)
    }

    /// Before reading on, tries to prove the filters with accounts of the first page: usually that saves the rest.
    fn try_proof(&mut self, mut scan: Scan, page: &ListPage) -> Step {
        scan.proof_tried = true;
        let unusable = |key: &Key| self.shared.view(|a| a.trust(&key.path, &self.shared.config)) == Trust::Unusable;
        if self.keys.iter().any(unusable) {
            return self.ask_page(scan);
        }
        let mut proofs = VecDeque::new();
        for key in self.unproven.iter().copied() {
            let path = &self.keys[key].path;
            let fresh = page.resources.iter().find_map(|held| {
                resource::read_all(held, path)
                    .into_iter()
                    .find_map(Value::as_str)
                    .filter(|value| !value.is_empty())
            });
            let known = self.shared.view(|abilities| abilities.sample(path).cloned());
            match (fresh, known) {
                (Some(value), _) => proofs.push_back(Proof {
                    key,
                    value: value.to_owned(),
                    fresh: true,
                }),
                (None, Some(value)) => proofs.push_back(Proof {
                    key,
                    value,
                    fresh: false,
                }),
                // Nobody to prove it with: the list is read to its end.
                (None, None) => return self.ask_page(scan),
            }
        }
        self.ask_proof(scan, proofs)
    }

    fn ask_proof(&mut self, scan: Scan, proofs: VecDeque<Proof>) -> Step {
        let Some(proof) = proofs.front() else {
            return found(Vec::new());
        };
        let path = &self.keys[proof.key].path;
        // In the other case: a server that compares by case (observed on scimmy 1.3.5 for userName) would miss
        // accounts that differ from the asked value in nothing else.
        let value = if path.is_case_exact() {
            proof.value.clone()
        } else {
            swap_case(&proof.value)
        };
        let filter = self.filter(path, &value, false);
        let request = render::list(&self.shared.config, Some(&filter), &Start::First, HITS);
        self.stage = Stage::Proof { scan, proofs };
        Step::Send(request)
    }

    pub(super) fn take_proof(&mut self, scan: Scan, mut proofs: VecDeque<Proof>, answer: &HttpAnswer) -> Step {
        let Some(proof) = proofs.pop_front() else {
            return self.ask_page(scan);
        };
        let path = self.keys[proof.key].path.clone();
        let proven = match self.shared.classify(Purpose::Search, answer) {
            Meaning::Success(body) => body
                .as_ref()
                .and_then(ListPage::parse)
                .is_some_and(|page| matches!(self.judge(&page, &path, &proof.value), Hits::Match(_))),
            Meaning::Absent(_) | Meaning::Fallback(..) => false,
            other => return failed(other),
        };
        self.shared.learn(|abilities| match (proven, proof.fresh) {
            (true, _) => abilities.learn_trust(&path, Trust::Proven),
            (false, true) => abilities.learn_trust(&path, Trust::Unusable),
            (false, false) => abilities.forget_sample(&path),
        });
        if proven {
            self.ask_proof(scan, proofs)
        } else {
            self.ask_page(scan)
        }
    }

    fn ask_candidate(
        &mut self,
        queue: VecDeque<(usize, RemoteId)>,
        hits: Vec<RemoteAccount>,
        last_key: Option<usize>,
    ) -> Step {
        let Some((key, id)) = queue.front() else {
            return found(hits);
        };
        // A stronger key has found somebody: weaker ones are not asked.
        if !hits.is_empty() && last_key != Some(*key) {
            return found(hits);
        }
        let path = match render::account_path(&self.shared.config, id) {
            Ok(path) => path,
            Err(refusal) => return Step::Done(Err(Failure::Reject(refusal))),
        };
        self.stage = Stage::Candidate { queue, found: hits };
        Step::Send(render::get(path))
    }

    pub(super) fn take_candidate(
        &mut self,
        mut queue: VecDeque<(usize, RemoteId)>,
        mut hits: Vec<RemoteAccount>,
        answer: &HttpAnswer,
    ) -> Step {
        let Some((number, id)) = queue.pop_front() else {
            return found(hits);
        };
        match self.shared.classify(Purpose::Read, answer) {
            Meaning::Success(Some(body)) => {
                let Some(account) = self.shared.account(body, etag_header(answer)) else {
                    return halt(not_scim(Purpose::Read, "a SCIM account"));
                };
                self.shared
                    .learn(|abilities| abilities.note_account(&account.id, &account.resource));
                let key = &self.keys[number];
                if resource::holds(&account.resource, &key.path, &key.value) {
                    hits.push(account);
                }
            }
            Meaning::Absent(_) => self.shared.learn(|abilities| abilities.note_gone(&id)),
            Meaning::Success(None) => return halt(not_scim(Purpose::Read, "a SCIM account")),
            other => return failed(other),
        }
        self.ask_candidate(queue, hits, Some(number))
    }
}

/// The accounts that may be meant, strongest key first.
fn candidates(index: &Index, keys: &[Key]) -> VecDeque<(usize, RemoteId)> {
    let of = |(number, key): (usize, &Key)| {
        let ids = index.candidates(&key.path, &key.value);
        ids.into_iter().take(HITS as usize).map(move |id| (number, id))
    };
    keys.iter().enumerate().flat_map(of).collect()
}

/// ASCII only: the case of other letters has no inverse.
fn swap_case(text: &str) -> String {
    let swap = |c: char| {
        if c.is_ascii_lowercase() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    };
    text.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_swapped_where_it_can_be_swapped_back() {
        assert_eq!(swap_case("Ada+1@Acme.é"), "aDA+1@aCME.é");
        assert_eq!(swap_case(&swap_case("Straße")), "Straße");
    }
}
