//! Where each attribute of a plan comes from: the row that gave it, the field of the source, the version of the message.
//! Names, never values.

use std::collections::BTreeMap;

use super::{
    account::AttributePath,
    assignments::{Membership, membership},
    gate::with_primary_domain,
    map::origin,
    plan::{Plan, Question},
    policy::{ACTIVE, AttributeRule, EXTERNAL_ID, ValueSource},
    source::SourceField,
};

/// Each attribute that a plan writes, in words.
#[must_use]
pub fn origins(q: &Question<'_>, plan: &Plan) -> BTreeMap<String, String> {
    let user = &q.change.user;
    let assignment = match membership(user, q.target, q.people, q.now) {
        Ok((Membership::Of(assignment), _)) => Some(assignment),
        Ok((Membership::Without | Membership::None, _)) | Err(_) => None,
    };
    let access = q.target.scope.access_of(user);
    let of = |path: &AttributePath| {
        let everybody = q.target.attributes.iter().find(|rule| rule.path == *path);
        let log_in = access.and_then(|access| access.rows.iter().find(|rule| rule.path == *path));
        let setting = assignment.and_then(|assignment| assignment.rows.iter().find(|rule| rule.path == *path));
        match (everybody.or(log_in), setting, assignment) {
            (Some(rule), ..) => said(q, rule),
            (None, Some(rule), Some(assignment)) if !assignment.name.is_empty() => {
                format!("{}; assignment {}", said(q, rule), assignment.name)
            }
            (None, Some(rule), _) => said(q, rule),
            (None, None, _) if path.0 == ACTIVE => "the life cycle".to_owned(),
            (None, None, _) if path.0 == EXTERNAL_ID => "the person's key".to_owned(),
            (None, None, Some(assignment)) if !assignment.name.is_empty() => {
                format!("taken back: assignment {} does not give it", assignment.name)
            }
            (None, None, _) => "taken back: no setting gives it any more".to_owned(),
        }
    };
    plan.changed
        .iter()
        .map(|path| (path.to_string(), format!("{}; message {}", of(path), q.change.version)))
        .collect()
}

fn said(q: &Question<'_>, rule: &AttributeRule) -> String {
    let user = &q.change.user;
    let seen_as = |user: &usher_contract::User| with_primary_domain(user, &q.target.gate).into_owned();
    let own = seen_as(user);
    let said = origin(&own, rule, &|field| field.read_among(&own, q.people, &seen_as));
    let converts = q.target.gate.convert_to.is_some() && own.email != user.email && reads_email(rule);
    if converts {
        format!("{said}; in the primary domain")
    } else {
        said
    }
}

/// Whether the address is among what a row looks at.
fn reads_email(rule: &AttributeRule) -> bool {
    let email = SourceField::named("email");
    let is = |field: &SourceField| Some(field) == email.as_ref();
    match &rule.source {
        ValueSource::From(fields) => fields.iter().any(is),
        ValueSource::Template(template) => template.fields().iter().any(is),
        ValueSource::Constant(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use usher_contract::{Known, StateHash, UserChange};
    use usher_filter::{Fields, Filter};

    use super::*;
    use crate::logic::{
        account::RemoteId,
        assignments::Assignment,
        link::Link,
        plan::{Remote, link_after, plan},
        policy::TargetPolicy,
        scope::{Access, Members},
        testing::{Change, Nobody, Table, at, person, policy, row, user_key},
    };

    fn asked<'a>(
        change: &'a UserChange,
        link: Option<&'a Link>,
        target: &'a TargetPolicy,
        people: &'a Table,
    ) -> Question<'a> {
        Question {
            change,
            link,
            remote: &Remote::Absent,
            target,
            accounts: &Nobody,
            people,
            reimported_at: None,
            again: false,
            now: at(10),
        }
    }

    fn setting(line: u32, value: &str) -> AttributeRule {
        AttributeRule {
            source: ValueSource::Constant(json!(value)),
            row: format!("policy/gong.yaml:{line}"),
            ..row("license", &["title"])
        }
    }

    fn assignment(name: &str, department: &str, rows: Vec<AttributeRule>) -> Assignment {
        Assignment {
            name: name.to_owned(),
            filter: Some(Filter::parse(&format!("Department = '{department}'"), &Fields::default()).unwrap()),
            manual: false,
            apply_on_change: false,
            settings: StateHash::of_text(&format!("{rows:?}")),
            rows,
            waiting: [].into(),
            since: None,
            capture: [].into(),
            pending: vec![],
        }
    }

    /// Two assignments that write one attribute, an access policy, a manager's field, an address that is converted.
    fn target() -> TargetPolicy {
        let mut target = policy();
        target.gate.convert_to = Some("acme.com".into());
        target
            .attributes
            .push(row("emails[type eq \"work\"].value", &["email"]));
        let mut of_manager = row("managerMail", &["title"]);
        of_manager.source = ValueSource::From(vec![SourceField::mapped("manager.email").unwrap()]);
        target.attributes.push(of_manager);
        target.assignments = vec![
            assignment("sellers", "Sales", vec![setting(10, "pro")]),
            assignment("support", "Support", vec![setting(20, "basic")]),
            assignment("legal", "Legal", vec![]),
        ];
        let login = AttributeRule {
            row: "policy/gong.yaml:30".into(),
            source: ValueSource::Constant(json!("password")),
            ..row("login", &["title"])
        };
        target.scope.access = ["Other", "Everybody"]
            .map(|group| Access {
                name: group.to_owned(),
                group: group.to_owned(),
                login: None,
                members: Members::of(group),
                rows: vec![AttributeRule {
                    row: if group == "Other" {
                        "wrong".into()
                    } else {
                        login.row.clone()
                    },
                    ..login.clone()
                }],
            })
            .into();
        target
    }

    fn member(version: u64, department: &str) -> UserChange {
        let mut change = person(1).version(version);
        change.user.department = Known::Value(department.to_owned());
        change.user.manager_id = Known::Value(user_key(2).user);
        change.user.groups = Known::Value(vec![usher_contract::GroupRef {
            id: "00G000000000001".parse().unwrap(),
            name: Known::Value("everybody".into()),
            direct: true,
        }]);
        change
    }

    #[test]
    fn each_attribute_names_the_row_that_gave_it_the_field_and_the_message() {
        let (target, people) = (target(), Table::default());
        people.put(person(2).user);
        let change = member(7, "Support");
        let question = asked(&change, None, &target, &people);
        let made = plan(&question);
        let said = origins(&question, &made);
        let written: Vec<&str> = made.changed.iter().map(|path| path.0.as_str()).collect();
        assert_eq!(said.len(), written.len(), "{said:#?}");
        for (path, expected) in [
            (
                "license",
                "constant; row policy/gong.yaml:20; assignment support; message 7",
            ),
            ("login", "constant; row policy/gong.yaml:30; message 7"),
            ("title", "title; row test; message 7"),
            ("managerMail", "manager.email; row test; message 7"),
            (
                "emails[type eq \"work\"].value",
                "email; row test; in the primary domain; message 7",
            ),
            ("userName", "username; row test; message 7"),
            ("active", "the life cycle; message 7"),
            ("externalId", "the person's key; message 7"),
        ] {
            assert_eq!(said.get(path).map(String::as_str), Some(expected), "{path}");
        }
        // What a move takes back came from no row.
        let link = link_after(&made, None, &RemoteId("r1".into()), None, &change, &target, at(11));
        let moved = member(8, "Legal");
        let question = asked(&moved, Some(&link), &target, &people);
        let said = origins(&question, &plan(&question));
        assert_eq!(
            said.get("license").map(String::as_str),
            Some("taken back: assignment legal does not give it; message 8")
        );
    }

    #[test]
    fn a_manager_of_whom_nothing_is_known_is_said_to_be() {
        let (target, people) = (target(), Table::default());
        let change = member(7, "Support");
        let question = asked(&change, None, &target, &people);
        let rule = &target
            .attributes
            .iter()
            .find(|rule| rule.path.0 == "managerMail")
            .unwrap();
        assert_eq!(said(&question, rule), "manager.email is unknown; row test");
    }
}
