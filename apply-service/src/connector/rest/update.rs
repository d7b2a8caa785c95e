//! Changing an account: switching it on or off where that is a call of its own, then the other attributes.
//!
//! Off comes first, so that an attribute that is refused keeps nobody in who has left; on comes first as well, because
//! some applications write nothing to accounts that are off. Every call is safe to repeat: an operation that failed
//! half way is done again as a whole.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};

use super::{
    Meaning, Shared,
    config::{Clear, Verb},
    failed, named_values,
};
use crate::{
    connector::{Exchange, HttpAnswer, Reply, Step},
    logic::{
        account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
        policy::ACTIVE,
    },
};

/// The exchange of `Operation::Update`.
#[derive(Debug)]
pub(crate) struct Update {
    shared: Arc<Shared>,
    id: RemoteId,
    values: AttributeValues,
    calls: VecDeque<Verb>,
    shown: Option<RemoteAccount>,
    under_way: bool,
}

impl Drop for Update {
    /// A write without a certain end may have changed what the account is found by.
    fn drop(&mut self) {
        if self.under_way {
            self.shared.forget();
        }
    }
}

impl Update {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId, values: AttributeValues) -> Self {
        let mut calls = VecDeque::new();
        let own_call = match values.get(&AttributePath(ACTIVE.to_owned())) {
            Some(Value::Bool(true)) => Some(Verb::Reactivate),
            Some(Value::Bool(false)) => Some(Verb::Deactivate),
            _ => None,
        };
        let own_call = own_call.filter(|verb| shared.call(*verb).is_some());
        calls.extend(own_call);
        let is_sent = |path: &AttributePath, value: &Value| {
            let field = shared.description.fields.get(&path.0);
            field.is_some_and(|field| {
                field.send.is_some() && !field.create_only && !(value.is_null() && field.clear == Clear::Never)
            })
        };
        let values: AttributeValues = values
            .into_iter()
            .filter(|(path, value)| !(path.0 == ACTIVE && own_call.is_some()) && is_sent(path, value))
            .collect();
        if !values.is_empty() && shared.call(Verb::Update).is_some() {
            calls.push_back(Verb::Update);
        }
        Self {
            shared,
            id,
            values,
            calls,
            shown: None,
            under_way: false,
        }
    }

    fn next(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let Some(call) = self.calls.front().and_then(|verb| shared.call(*verb)) else {
            return self.written();
        };
        let account = ("account", json!({ "id": self.id.0 }));
        let step = if call.verb == Verb::Update {
            shared.send(call, &[account, ("values", named_values(&self.values))], &self.values)
        } else {
            shared.send(call, &[account], &AttributeValues::new())
        };
        self.under_way = matches!(step, Step::Complete(_));
        step
    }

    fn written(&mut self) -> Step {
        if let Some(index) = self.shared.lock().index.as_mut() {
            index.note(&self.id, &self.values);
        }
        Step::Done(Ok(Reply::Written {
            id: self.id.clone(),
            account: self.shown.take(),
        }))
    }
}

impl Exchange for Update {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let shared = Arc::clone(&self.shared);
        let call = self.calls.front().and_then(|verb| shared.call(*verb));
        let (Some(answer), Some(call)) = (answer, call) else {
            return self.next();
        };
        self.under_way = false;
        match shared.classify(call, &answer) {
            Meaning::Success(body) => {
                let shown = shared.description.accounts(call, &body, Some(&self.id.0)).ok();
                self.shown = shown.and_then(|accounts| {
                    accounts
                        .into_iter()
                        .find(|account| shared.description.is_asked(&account.id, &self.id))
                });
                self.calls.pop_front();
                self.next()
            }
            Meaning::Absent => {
                shared.forget();
                Step::Done(Ok(Reply::Absent))
            }
            Meaning::Exists(refusal) => {
                shared.forget();
                Step::Done(Ok(Reply::Conflict(refusal)))
            }
            other @ (Meaning::Unclear(..) | Meaning::Failed(_)) => {
                shared.forget();
                failed(other)
            }
        }
    }
}
