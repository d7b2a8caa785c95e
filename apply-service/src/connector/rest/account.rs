//! Accounts in answers: where they are, their ids, their attributes.

use serde_json::Value;

use super::{
    classify::unexpected,
    config::Verb,
    description::{Call, Description},
    template::plain,
};
use crate::{
    connector::Refusal,
    logic::{
        account::{AttributePath, RemoteAccount, RemoteId},
        notification::Onboarding,
        policy::{ACTIVE, EXTERNAL_ID, USER_NAME},
    },
};

impl Description {
    /// The accounts of an answer; none where the place is null or an empty list. `asked` is the id that was asked for.
    ///
    /// # Errors
    /// The place is not there, or something there is no account: then nothing follows from the rest either.
    pub(crate) fn accounts(
        &self,
        call: &Call,
        body: &Value,
        asked: Option<&str>,
    ) -> Result<Vec<RemoteAccount>, Refusal> {
        let Some(path) = &call.accounts else {
            return Ok(Vec::new());
        };
        let found = path.query(body).all();
        if found.is_empty() {
            return Err(unexpected(
                call.verb,
                "without the place where the accounts should be; check `accounts` and baseUrl",
            ));
        }
        let mut accounts = Vec::new();
        for value in found {
            let items = match value {
                Value::Null => &[],
                Value::Array(items) => items.as_slice(),
                other => std::slice::from_ref(other),
            };
            for item in items {
                accounts.push(self.account(call.verb, item, asked)?);
            }
        }
        Ok(accounts)
    }

    fn account(&self, verb: Verb, held: &Value, asked: Option<&str>) -> Result<RemoteAccount, Refusal> {
        let asked = asked.filter(|_| self.config.account.asked_id).map(str::to_owned);
        let id = text_at(&self.id, held)
            .or(asked)
            .ok_or_else(|| unexpected(verb, "not a list of accounts with ids; check account.id"))?;
        let text = |name: &str| match self.read(held, name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        Ok(RemoteAccount {
            id: RemoteId(id),
            external_id: text(EXTERNAL_ID).filter(|id| !id.trim().is_empty()),
            user_name: text(USER_NAME),
            active: self.read(held, ACTIVE).and_then(|value| value.as_bool()),
            etag: None,
            resource: held.clone(),
        })
    }

    /// The value of an attribute; `None` when it is not shown.
    pub(crate) fn read(&self, held: &Value, name: &str) -> Option<Value> {
        let field = self.fields.get(name)?;
        let value = field.read.as_ref()?.query(held).first()?;
        if name == ACTIVE {
            let word = plain(value).to_lowercase();
            let on = field.on.contains(&word);
            return (on || field.off.contains(&word)).then_some(Value::Bool(on));
        }
        Some(match value {
            Value::Number(_) | Value::Bool(_) if !field.raw => Value::String(plain(value)),
            other => other.clone(),
        })
    }

    /// How far a new user is in; `None` when the account does not say it in a word that is known.
    pub(crate) fn onboarding(&self, held: &Value) -> Option<Onboarding> {
        let rule = self.onboarding.as_ref()?;
        let word = plain(rule.read.query(held).first()?).to_lowercase();
        if rule.activated.contains(&word) {
            Some(Onboarding::Activated)
        } else {
            rule.invited.contains(&word).then_some(Onboarding::Invited)
        }
    }

    /// Whether an account holds a value; `None` when it does not show it. Our key has one spelling, names have many.
    pub(crate) fn holds(&self, account: &RemoteAccount, path: &AttributePath, value: &str) -> Option<bool> {
        let held = self.read(&account.resource, &path.0)?;
        let held = plain(&held);
        Some(if path.0 == EXTERNAL_ID {
            held == value
        } else {
            held.trim().to_lowercase() == value.trim().to_lowercase()
        })
    }

    /// Whether an account is the one that was asked for. Where people type the id, its case does not count.
    pub(crate) fn is_asked(&self, id: &RemoteId, asked: &RemoteId) -> bool {
        id == asked || (self.config.account.asked_id && id.0.to_lowercase() == asked.0.to_lowercase())
    }

    /// The id that the answer to a create gives.
    pub(crate) fn made_id(call: &Call, body: &Value) -> Option<RemoteId> {
        text_at(call.id.as_ref()?, body).map(RemoteId)
    }
}

/// The text at a path: ids are text, whatever the application writes them as.
pub(crate) fn text_at(path: &serde_json_path::JsonPath, held: &Value) -> Option<String> {
    match path.query(held).first()? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        number @ Value::Number(_) => Some(number.to_string()),
        _ => None,
    }
}
