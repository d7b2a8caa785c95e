//! From a person to the attributes of the account: which value each attribute should have, or why none is decided.
//!
//! What is unknown or refers to somebody who is not there yet is left out; it is never written as blank.

use serde_json::Value;
use usher_contract::{Known, User, UserKey};
use usher_filter::People;

use super::{
    account::{AttributePath, RemoteId},
    gate::with_primary_domain,
    policy::{AttributeRule, TargetPolicy, ValueMap, ValueSource, WhenBlank, Write},
    source::{SourceField, is_blank},
    template::Template,
};

/// The other people, as far as rows look at them.
#[derive(Clone, Copy)]
pub struct Others<'a> {
    /// The account that somebody has at this target.
    pub account_of: &'a dyn Fn(&UserKey) -> Option<RemoteId>,
    /// Whether somebody's account at this target is known to hold this value.
    pub holds: &'a dyn Fn(&UserKey, &Value) -> bool,
    /// Everybody's newest state: what managers hold.
    pub people: &'a dyn People,
}

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
    /// The template does not work for this person; why, in words.
    Failed(String),
}

/// Everything an account should hold besides `active` and our key, in the order of the target's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped<'a>(Vec<(&'a AttributePath, Wanted, Write)>);

impl<'a> Mapped<'a> {
    /// Each attribute, with what it should hold and when that is written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a AttributePath, &Wanted, Write)> {
        self.0.iter().map(|(path, wanted, write)| (*path, wanted, *write))
    }
    /// Adds rows that are not everybody's: settings of an assignment.
    pub fn add(&mut self, user: &User, target: &TargetPolicy, rows: &'a [AttributeRule], others: Others<'_>) {
        let user = &*with_primary_domain(user, &target.gate);
        self.0.extend(rows.iter().map(|rule| row(user, rule, target, others)));
    }
    /// Adds that an attribute is to hold nothing.
    pub fn clear(&mut self, path: &'a AttributePath) {
        self.0.push((path, Wanted::Clear, Write::Always));
    }
    /// What one attribute should hold.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Wanted> {
        self.0
            .iter()
            .find_map(|(own, wanted, _)| (own.0 == path).then_some(wanted))
    }
}

/// Maps a person by the target's rows.
pub fn map<'a>(user: &User, target: &'a TargetPolicy, others: Others<'_>) -> Mapped<'a> {
    let user = &*with_primary_domain(user, &target.gate);
    let rows = target.attributes.iter();
    Mapped(rows.map(|rule| row(user, rule, target, others)).collect())
}

fn row<'a>(
    user: &User,
    rule: &'a AttributeRule,
    target: &TargetPolicy,
    others: Others<'_>,
) -> (&'a AttributePath, Wanted, Write) {
    (&rule.path, wanted(user, rule, target, others), rule.write)
}

/// The value that a row gives for a person; `None` when it gives none, or it is not decided.
#[must_use]
pub fn value_of(user: &User, rule: &AttributeRule, target: &TargetPolicy) -> Option<Value> {
    let user = &*with_primary_domain(user, &target.gate);
    let nobody = Others {
        account_of: &|_| None,
        holds: &|_, _| false,
        people: &(),
    };
    match wanted(user, rule, target, nobody) {
        Wanted::Value(value) => Some(value),
        _ => None,
    }
}

fn wanted(user: &User, rule: &AttributeRule, target: &TargetPolicy, others: Others<'_>) -> Wanted {
    let seen_as = |user: &User| with_primary_domain(user, &target.gate).into_owned();
    let read = |field: &SourceField| field.read_among(user, others.people, &seen_as);
    let found = match found(user, rule, &read) {
        Found::Unknown(field) => return Wanted::Unknown(field.to_string()),
        Found::Failed(why) => return Wanted::Failed(why),
        Found::Value(_, SourceOf::Field(SourceField::Manager)) => return reference(user, others.account_of),
        // As a reference it names an account: one that is there, under this name already.
        Found::Value(value, SourceOf::Field(SourceField::OfManager(_))) if refers_to_manager(&rule.path) => {
            let Some(manager) = user.manager_id.value() else {
                return Wanted::Leave;
            };
            let key = UserKey::new(user.org_id, *manager);
            if !(others.holds)(&key, &value) {
                return Wanted::Pending(key);
            }
            translated(value, &rule.values)
        }
        Found::Value(value, _) => translated(value, &rule.values),
        Found::Blank => rule.values.default.clone(),
    };
    match (found, rule.when_blank) {
        (Some(value), _) => match rule.kind.fit(value) {
            Some(value) => Wanted::Value(value),
            // Without the value: it may be personal.
            None => Wanted::Failed(format!(
                "`{}` is true or false at the target, the source says neither",
                rule.path
            )),
        },
        (None, WhenBlank::Keep) => Wanted::Leave,
        (None, WhenBlank::Clear) => Wanted::Clear,
        (None, WhenBlank::Skip) => Wanted::Skip,
    }
}

/// What the sources of a row say.
enum Found<'a> {
    Value(Value, SourceOf<'a>),
    Blank,
    Unknown(&'a SourceField),
    Failed(String),
}

/// Which of them it was.
enum SourceOf<'a> {
    Field(&'a SourceField),
    Constant,
    Template(&'a Template),
}

fn found<'a>(user: &User, rule: &'a AttributeRule, read: &dyn Fn(&SourceField) -> Known<Value>) -> Found<'a> {
    let fields = match &rule.source {
        ValueSource::Constant(value) => return Found::Value(value.clone(), SourceOf::Constant),
        ValueSource::Template(template) => {
            return match template.render(user) {
                Ok(Ok(text)) if text.is_empty() => Found::Blank,
                Ok(Ok(text)) => Found::Value(Value::String(text), SourceOf::Template(template)),
                Ok(Err(field)) => Found::Unknown(field),
                Err(why) => Found::Failed(why),
            };
        }
        ValueSource::From(fields) => fields,
    };
    for field in fields {
        match read(field) {
            // A later source must not stand in for one that nobody could read.
            Known::Unknown => return Found::Unknown(field),
            Known::Empty => {}
            Known::Value(value) if is_blank(&value) => {}
            Known::Value(Value::String(text)) => {
                let trimmed = text.trim();
                let text = if trimmed.len() == text.len() {
                    text
                } else {
                    trimmed.to_owned()
                };
                return Found::Value(Value::String(text), SourceOf::Field(field));
            }
            Known::Value(value) => return Found::Value(value, SourceOf::Field(field)),
        }
    }
    Found::Blank
}

/// The target's word for a value; `None` counts as blank.
fn translated(value: Value, map: &ValueMap) -> Option<Value> {
    if map.values.is_empty() {
        return Some(value);
    }
    let word = match &value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string().to_lowercase(),
    };
    map.values.get(&word).or(map.default.as_ref()).cloned()
}

/// Where the value of a row comes from for this person, in words and without values. `read` gives the fields, those of the
/// manager as well where the people are at hand.
#[must_use]
pub fn origin(user: &User, rule: &AttributeRule, read: &dyn Fn(&SourceField) -> Known<Value>) -> String {
    let mapped = if rule.values.values.is_empty() {
        ""
    } else {
        ", through the map"
    };
    let blank = if rule.values.default.is_some() {
        "default, all sources are blank"
    } else {
        "all sources are blank"
    };
    let source = match found(user, rule, read) {
        Found::Value(_, SourceOf::Field(field)) => format!("{field}{mapped}"),
        Found::Value(_, SourceOf::Constant) => "constant".to_owned(),
        Found::Value(_, SourceOf::Template(template)) => {
            let fields: Vec<String> = template.fields().iter().map(ToString::to_string).collect();
            format!("template over {}{mapped}", fields.join(", "))
        }
        Found::Blank => blank.to_owned(),
        Found::Unknown(field) => format!("{field} is unknown"),
        Found::Failed(why) => format!("the template {why}"),
    };
    format!("{source}; row {}", rule.row)
}

/// Whether an attribute refers to the manager (RFC 7643 section 4.3), other than one that only shows something of theirs.
fn refers_to_manager(path: &AttributePath) -> bool {
    let name = path.0.rsplit(':').next().unwrap_or_default();
    name.eq_ignore_ascii_case("manager") || name.eq_ignore_ascii_case("manager.value")
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
    use crate::logic::{
        policy::ValueKind,
        testing::{person, policy, row, user_key},
    };

    fn one(user: &User, rule: AttributeRule) -> Wanted {
        let mut target = policy();
        target.attributes = vec![rule];
        map(user, &target, NOBODY).iter().next().unwrap().1.clone()
    }

    const NOBODY: Others<'_> = Others {
        account_of: &|_| None,
        holds: &|_, _| false,
        people: &(),
    };

    /// One other person.
    struct One(User);
    impl People for One {
        fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
            if key == self.0.key() {
                then(&self.0);
            }
        }
    }

    #[test]
    fn what_a_manager_holds_is_read_where_the_manager_is_known_and_left_alone_where_not() {
        let mut target = policy();
        let mut rule = row("managerMail", &["givenName"]);
        rule.source = ValueSource::From(vec![SourceField::mapped("manager.email").unwrap()]);
        target.attributes = vec![rule];
        let mut user = person(1).user;
        let boss = person(2).user;
        let email = Wanted::Value(serde_json::to_value(&boss.email).unwrap());
        let with = |user: &User, target: &TargetPolicy, people: &dyn People| {
            let others = Others { people, ..NOBODY };
            map(user, target, others).iter().next().unwrap().1.clone()
        };
        let people = One(boss.clone());
        let unknown = || Wanted::Unknown("manager.email".to_owned());
        user.manager_id = Known::Unknown;
        assert_eq!(with(&user, &target, &people), unknown());
        // Not on the topic (yet): never written as blank.
        user.manager_id = Known::Value(user_key(2).user);
        assert_eq!(with(&user, &target, &()), unknown());
        assert_eq!(with(&user, &target, &people), email);
        let mut blank = boss.clone();
        blank.email = Known::Empty;
        assert_eq!(with(&user, &target, &One(blank)), Wanted::Clear);
        user.manager_id = Known::Empty;
        assert_eq!(with(&user, &target, &people), Wanted::Clear, "nobody is a blank source");
        // The manager's address as the application has it.
        user.manager_id = Known::Value(user_key(2).user);
        target.gate.domains = vec!["other.example".to_owned(), "acme.example".to_owned()];
        target.gate.convert_to = Some("other.example".to_owned());
        assert_eq!(with(&user, &target, &people), Wanted::Value(json!("u2@other.example")));
        let read = |field: &SourceField| field.read_among(&user, &people, &User::clone);
        let said = origin(&user, &target.attributes[0], &read);
        assert!(said.starts_with("manager.email; row"), "{said}");
        let said = origin(&user, &target.attributes[0], &|field| field.read(&user));
        assert!(said.starts_with("manager.email is unknown; row"), "{said}");
    }

    #[test]
    fn a_manager_is_named_by_an_address_once_the_managers_account_has_it() {
        let mut target = policy();
        let path = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";
        let mut rule = row(path, &["givenName"]);
        rule.source = ValueSource::From(vec![SourceField::mapped("manager.email").unwrap()]);
        target.attributes = vec![rule];
        let mut user = person(1).user;
        user.manager_id = Known::Value(user_key(2).user);
        let people = One(person(2).user);
        for (held, expected) in [
            ("old@acme.example", Wanted::Pending(user_key(2))),
            ("u2@acme.example", Wanted::Value(json!("u2@acme.example"))),
        ] {
            let others = Others {
                holds: &|key, value| *key == user_key(2) && value == held,
                people: &people,
                ..NOBODY
            };
            assert_eq!(map(&user, &target, others).get(path), Some(&expected));
        }
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
    fn values_are_written_as_the_target_holds_them() {
        let mut user = person(1).user;
        let of = |user: &mut usher_contract::User, kind, value: Value| {
            user.custom.insert("Field__c".into(), value);
            one(
                user,
                AttributeRule {
                    kind,
                    ..row("title", &["custom.Field__c"])
                },
            )
        };
        for (kind, value, expected) in [
            (ValueKind::Any, json!(7), json!(7)),
            (ValueKind::Text, json!(7), json!("7")),
            (ValueKind::Text, json!(true), json!("true")),
            (ValueKind::Text, json!("x"), json!("x")),
            (ValueKind::Boolean, json!("Yes"), json!(true)),
            (ValueKind::Boolean, json!(0), json!(false)),
            (ValueKind::Boolean, json!(true), json!(true)),
        ] {
            assert_eq!(of(&mut user, kind, value), Wanted::Value(expected));
        }
        for wrong in [json!("maybe"), json!(2)] {
            let failed = of(&mut user, ValueKind::Boolean, wrong);
            assert!(matches!(failed, Wanted::Failed(_)), "{failed:?}");
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
        let others = Others {
            account_of: &|_| Some(RemoteId("r2".into())),
            ..NOBODY
        };
        let mapped = map(&user, &target, others);
        assert_eq!(mapped.get("manager.value"), Some(&Wanted::Value(json!("r2"))));
    }

    #[test]
    fn values_are_translated_and_what_is_not_in_the_map_is_the_default_or_blank() {
        let mut user = person(1).user;
        let mut rule = row("userType", &["department"]);
        rule.values.values = [("sales".to_owned(), json!("seller")), ("true".to_owned(), json!(1))].into();
        for (department, default, expected) in [
            (Known::Value("Sales".to_owned()), None, Wanted::Value(json!("seller"))),
            (Known::Value("Legal".to_owned()), None, Wanted::Clear),
            (
                Known::Value("Legal".to_owned()),
                Some(json!("other")),
                Wanted::Value(json!("other")),
            ),
            (Known::Empty, Some(json!("other")), Wanted::Value(json!("other"))),
            (Known::Empty, None, Wanted::Clear),
            (
                Known::Unknown,
                Some(json!("other")),
                Wanted::Unknown("department".into()),
            ),
        ] {
            user.department = department.clone();
            rule.values.default = default.clone();
            assert_eq!(one(&user, rule.clone()), expected, "{department:?} {default:?}");
        }
        let mut flag = row("userType", &["active"]);
        flag.values = rule.values;
        assert_eq!(one(&user, flag), Wanted::Value(json!(1)), "other values by their text");
    }

    #[test]
    fn a_template_is_a_source_like_others() {
        let mut user = person(1).user;
        user.title = Known::Empty;
        user.department = Known::Value("Sales".into());
        let rule = |text: &str| AttributeRule {
            source: ValueSource::Template(Template::parse(text).unwrap()),
            ..row("title", &["title"])
        };
        assert_eq!(
            one(&user, rule("{{ department | upper }}")),
            Wanted::Value(json!("SALES"))
        );
        assert_eq!(one(&user, rule(" {{ title }} ")), Wanted::Clear, "blank");
        let failing = one(&user, rule("{{ department | date_format('%Y') }}"));
        assert!(matches!(failing, Wanted::Failed(_)), "{failing:?}");
        user.department = Known::Unknown;
        assert_eq!(
            one(&user, rule("{{ department }}")),
            Wanted::Unknown("department".into())
        );
    }

    #[test]
    fn where_a_value_comes_from_is_said_without_it() {
        let mut user = person(1).user;
        user.title = Known::Empty;
        user.department = Known::Value("Sales".into());
        let mut rule = row("title", &["title", "department"]);
        rule.row = "policy/gong.yaml:12".into();
        let said = |rule: &AttributeRule| origin(&user, rule, &|field| field.read(&user));
        assert_eq!(said(&rule), "department; row policy/gong.yaml:12");
        rule.source = ValueSource::Template(Template::parse("{{ department }} {{ title }}").unwrap());
        assert_eq!(said(&rule), "template over department, title; row policy/gong.yaml:12");
    }
}
