//! From a person to the attributes of the account: which value each attribute should have, or why none is decided.
//!
//! What is unknown or refers to somebody who is not there yet is left out; it is never written as blank.

use serde_json::Value;
use usher_contract::{Known, User, UserKey};

use super::{
    account::{AttributePath, RemoteId},
    policy::{AttributeRule, TargetPolicy, ValueSource, WhenBlank, Write},
    source::{SourceField, is_blank},
};

/// What one attribute should hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// This value.
    Value(Value),
    /// Nothing.
    Clear,
    /// Whatever is there: the source is blank and the policy keeps.
    Leave,
    /// Not decided: this source field is unknown.
    Unknown(String),
    /// Not decided yet: that person has no account here.
    Pending(UserKey),
    /// The source is blank and the policy then leaves the person alone.
    Skip,
}

/// Everything an account should hold besides `active` and our key, in the order of the target's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped<'a>(Vec<(&'a AttributeRule, Wanted)>);

impl<'a> Mapped<'a> {
    /// Each attribute, with what it should hold and when that is written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a AttributePath, &Wanted, Write)> {
        self.0.iter().map(|(rule, wanted)| (&rule.path, wanted, rule.write))
    }
    /// What one attribute should hold.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Wanted> {
        self.0
            .iter()
            .find_map(|(rule, wanted)| (rule.path.0 == path).then_some(wanted))
    }
}

/// Maps a person by the target's rows. `account_of` tells the account that somebody has at this target.
pub fn map<'a>(user: &User, target: &'a TargetPolicy, account_of: &dyn Fn(&UserKey) -> Option<RemoteId>) -> Mapped<'a> {
    let rows = target.attributes.iter();
    Mapped(rows.map(|rule| (rule, wanted(user, rule, account_of))).collect())
}

fn wanted(user: &User, rule: &AttributeRule, account_of: &dyn Fn(&UserKey) -> Option<RemoteId>) -> Wanted {
    let fields = match &rule.source {
        ValueSource::Constant(value) => return Wanted::Value(value.clone()),
        ValueSource::From(fields) => fields,
    };
    for field in fields {
        match field.read(user) {
            // A later source must not stand in for one that nobody could read.
            Known::Unknown => return Wanted::Unknown(field.to_string()),
            Known::Empty => {}
            Known::Value(value) if is_blank(&value) => {}
            Known::Value(_) if matches!(field, SourceField::Manager) => {
                return reference(user, account_of);
            }
            Known::Value(Value::String(text)) => {
                let trimmed = text.trim();
                return Wanted::Value(Value::String(if trimmed.len() == text.len() {
                    text
                } else {
                    trimmed.to_owned()
                }));
            }
            Known::Value(value) => return Wanted::Value(value),
        }
    }
    match rule.when_blank {
        WhenBlank::Keep => Wanted::Leave,
        WhenBlank::Clear => Wanted::Clear,
        WhenBlank::Skip => Wanted::Skip,
    }
}

fn reference(user: &User, account_of: &dyn Fn(&UserKey) -> Option<RemoteId>) -> Wanted {
    let Some(manager) = user.manager_id.value() else {
        return Wanted::Leave;
    };
    let key = UserKey::new(user.org_id, *manager);
    account_of(&key).map_or(Wanted::Pending(key), |id| Wanted::Value(Value::String(id.0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logic::testing::{person, policy, row, user_key};

    fn one(user: &User, rule: AttributeRule) -> Wanted {
        let mut target = policy();
        target.attributes = vec![rule];
        map(user, &target, &|_| None).iter().next().unwrap().1.clone()
    }

    #[test]
    fn a_blank_source_falls_to_the_next() {
        let mut user = person(1).user;
        user.custom.insert("Job__c".into(), json!("Engineer"));
        for blank in [Known::Empty, Known::Value(String::new()), Known::Value(" \t".into())] {
            user.title = blank;
            assert_eq!(
                one(&user, row("title", &["title", "custom.Job__c"])),
                Wanted::Value(json!("Engineer"))
            );
        }
        user.title = Known::Value(" AE ".into());
        assert_eq!(
            one(&user, row("title", &["title", "custom.Job__c"])),
            Wanted::Value(json!("AE"))
        );
    }

    #[test]
    fn an_unknown_source_is_not_replaced_by_the_next() {
        let mut user = person(1).user;
        user.title = Known::Unknown;
        assert_eq!(
            one(&user, row("title", &["title", "email"])),
            Wanted::Unknown("title".into())
        );
    }

    #[test]
    fn blank_everywhere_does_what_the_row_says() {
        let mut user = person(1).user;
        user.title = Known::Empty;
        for (when_blank, expected) in [
            (WhenBlank::Keep, Wanted::Leave),
            (WhenBlank::Clear, Wanted::Clear),
            (WhenBlank::Skip, Wanted::Skip),
        ] {
            assert_eq!(
                one(
                    &user,
                    AttributeRule {
                        when_blank,
                        ..row("title", &["title"])
                    }
                ),
                expected
            );
        }
    }

    #[test]
    fn a_manager_without_an_account_is_left_out_until_there_is_one() {
        let mut user = person(1).user;
        user.manager_id = Known::Value(user_key(2).user);
        assert_eq!(
            one(&user, row("manager.value", &["manager"])),
            Wanted::Pending(user_key(2))
        );
        let mut target = policy();
        target.attributes = vec![row("manager.value", &["manager"])];
        let mapped = map(&user, &target, &|_| Some(RemoteId("r2".into())));
        assert_eq!(mapped.get("manager.value"), Some(&Wanted::Value(json!("r2"))));
    }
}
