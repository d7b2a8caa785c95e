//! Creating an account, with the certainty that a lost answer does not make a second one.
//!
//! A request whose effect is unknown is never repeated here: the account is looked up first, and only what carries
//! our key counts as ours. Where the application keeps no key, the planner looks again and knows its intent.

use std::{sync::Arc, time::Duration};

use super::{Meaning, Shared, config::Verb, description::Description, failed, find::Find, lacking, named_values};
use crate::{
    connector::{CREATE_UNCLEAR, Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::{
        account::{AttributePath, AttributeValues, RemoteAccount},
        policy::{EXTERNAL_ID, USER_NAME},
    },
};

/// The exchange of `Operation::Create`.
#[derive(Debug)]
pub(crate) struct Create {
    shared: Arc<Shared>,
    values: AttributeValues,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is under way: nothing was sent, or its answer is known.
    Idle,
    Posting,
    Looking {
        find: Box<Find>,
        /// Whether the target said that it made the account.
        made: bool,
        refusal: Refusal,
        wait: Option<Duration>,
    },
}

impl Drop for Create {
    /// Whoever stops waiting for the answer does not know whether the account was made: a listing from before must not
    /// say that it was not.
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Posting) {
            self.shared.forget();
        }
    }
}

impl Create {
    pub(crate) fn new(shared: Arc<Shared>, values: AttributeValues) -> Self {
        Self {
            shared,
            values,
            stage: Stage::Idle,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        let value = self.values.get(&AttributePath(name.to_owned()))?;
        value.as_str().map(str::to_owned)
    }

    fn take_answer(&mut self, answer: &HttpAnswer) -> Step {
        let shared = Arc::clone(&self.shared);
        let Some(call) = shared.call(Verb::Create) else {
            return lacking("create");
        };
        let body = match shared.classify(call, answer) {
            Meaning::Success(body) => body,
            Meaning::Unclear(refusal, wait) => return self.look(false, refusal, wait),
            Meaning::Exists(refusal) => {
                // It exists although the listing did not show it: the next look-up must not use that listing.
                shared.forget();
                return Step::Done(Ok(Reply::Conflict(refusal)));
            }
            other => return failed(other),
        };
        let shown = shared.description.accounts(call, &body, None);
        let shown = shown.ok().and_then(|mut accounts| accounts.pop());
        match (shown, Description::made_id(call, &body)) {
            (Some(account), _) => self.written(account),
            (None, Some(id)) => {
                if let Some(index) = shared.lock().index.as_mut() {
                    index.note(&id, &self.values);
                }
                Step::Done(Ok(Reply::Written { id, account: None }))
            }
            (None, None) => self.look(true, invisible(), None),
        }
    }

    fn look(&mut self, made: bool, refusal: Refusal, wait: Option<Duration>) -> Step {
        // A listing from before cannot know the account.
        self.shared.forget();
        let by = self
            .text(USER_NAME)
            .map(|name| (AttributePath(USER_NAME.to_owned()), name));
        let mut find = Box::new(Find::new(
            Arc::clone(&self.shared),
            self.text(EXTERNAL_ID).unwrap_or_default(),
            by.into_iter().collect(),
            false,
        ));
        let step = find.step(None);
        self.stage = Stage::Looking {
            find,
            made,
            refusal,
            wait,
        };
        self.looked(step)
    }

    fn looked(&mut self, step: Step) -> Step {
        let Stage::Looking {
            made, refusal, wait, ..
        } = &self.stage
        else {
            return step;
        };
        match step {
            Step::Send(_) | Step::Complete(_) => step,
            Step::Done(Ok(Reply::Found(mut accounts))) => match (accounts.len(), accounts.pop()) {
                (1, Some(account)) if self.is_ours(&account, *made) => self.written(account),
                (0, _) => Step::Done(Err(Failure::Retry(refusal.clone(), *wait))),
                // Somebody else's, or not to be told apart: the planner looks again and decides.
                _ => Step::Done(Ok(Reply::Conflict(Refusal {
                    code: CREATE_UNCLEAR.to_owned(),
                    reason: format!("{}; an account is there that does not carry our key", refusal.reason),
                }))),
            },
            Step::Done(Err(Failure::Halt(halt))) => Step::Done(Err(Failure::Halt(halt))),
            Step::Done(_) => Step::Done(Err(Failure::Retry(refusal.clone(), *wait))),
        }
    }

    /// Our key proves it. Without a key the account is ours only when the target said that it made one.
    fn is_ours(&self, account: &RemoteAccount, made: bool) -> bool {
        match (&account.external_id, self.text(EXTERNAL_ID)) {
            (Some(held), Some(ours)) if self.shared.description.keeps_external_ids() => *held == ours,
            _ => made,
        }
    }

    fn written(&self, account: RemoteAccount) -> Step {
        if let Some(index) = self.shared.lock().index.as_mut() {
            index.put(&self.shared.description, account.clone());
        }
        Step::Done(Ok(Reply::Written {
            id: account.id.clone(),
            account: Some(account),
        }))
    }
}

impl Exchange for Create {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            let shared = Arc::clone(&self.shared);
            let Some(call) = shared.call(Verb::Create) else {
                return lacking("create");
            };
            let step = shared.send(call, &[("values", named_values(&self.values))], &self.values);
            if matches!(step, Step::Complete(_)) {
                self.stage = Stage::Posting;
            }
            return step;
        };
        match &mut self.stage {
            Stage::Idle | Stage::Posting => {
                self.stage = Stage::Idle;
                self.take_answer(&answer)
            }
            Stage::Looking { find, .. } => {
                let step = find.step(Some(answer));
                self.looked(step)
            }
        }
    }
}

fn invisible() -> Refusal {
    Refusal {
        code: "created-not-visible".to_owned(),
        reason: "creating the account: the target said that it was made, gave no id, and does not show it yet"
            .to_owned(),
    }
}
