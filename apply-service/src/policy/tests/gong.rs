//! What the preset `gong` does without further configuration, and what assignments say there.

use serde_json::{Value, json};
use usher_contract::Known;

use super::*;
use crate::logic::{
    gate::{Passage, gate},
    plan::{Action, Plan, Question, Remote, plan},
    testing::{Nobody, at, person},
};

fn gong(more: &str) -> TargetPolicy {
    let text = format!(
        "target: gong\npreset: gong\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
         connection: {{ baseUrl: 'https://gong.example/scim/v2', auth: {{ bearerTokenFile: /secrets/gong }} }}\n{more}"
    );
    let policy = read(&[("gong.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
    (*policy.targets.values().next().unwrap().policy).clone()
}

/// What is done for somebody of whom everything is known and who has no account.
fn made(target: &TargetPolicy) -> Plan {
    let mut change = person(1);
    let user = &mut change.user;
    for (field, value) in [
        (&mut user.title, "AE"),
        (&mut user.phone, "(865) 365-1900"),
        (&mut user.extension, "3437"),
        (&mut user.mobile_phone, "540.946.4600"),
        (&mut user.time_zone, "Europe/Berlin"),
        (&mut user.locale, "de-DE"),
    ] {
        *field = Known::Value(value.to_owned());
    }
    user.manager_id = Known::Empty;
    plan(&Question {
        change: &change,
        link: None,
        remote: &Remote::Absent,
        target,
        accounts: &Nobody,
        people: &(),
        reimported_at: None,
        again: false,
        now: at(10),
    })
}

#[test]
fn the_attributes_of_gong_need_no_further_configuration() {
    let plan = made(&gong(""));
    assert_eq!(plan.action, Action::Create, "{plan}");
    let values: serde_json::Map<String, Value> = plan
        .values
        .into_iter()
        .map(|(path, value)| (path.0, value))
        .filter(|(path, _)| path != "externalId")
        .collect();
    assert_eq!(
        Value::Object(values),
        json!({
            "userName": "u1@acme.example",
            "emails[type eq \"work\"].value": "u1@acme.example",
            "name.givenName": "Ada",
            "name.familyName": "Byron 1",
            "title": "AE",
            "phoneNumbers[type eq \"work\"].value": "(865) 365-1900 ext 3437",
            "phoneNumbers[type eq \"mobile\"].value": "540.946.4600",
            "active": true,
            "timezone": "Europe/Berlin",
            "locale": "de-DE",
        })
    );
}

#[test]
fn whoever_lacks_one_of_the_names_gets_no_account_at_gong() {
    let target = gong("");
    for blank in [Known::Empty, Known::Value(" ".to_owned())] {
        for first in [true, false] {
            let mut user = person(1).user;
            let (name, field) = if first {
                (&mut user.given_name, "givenName")
            } else {
                (&mut user.family_name, "familyName")
            };
            *name = blank.clone();
            let expected = Passage::Closed(vec![format!("{field} is blank and required")]);
            assert_eq!(gate(&user, &target.gate), expected);
        }
    }
    assert_eq!(gate(&person(1).user, &target.gate), Passage::Open);
}

#[test]
fn assignments_at_gong_give_seats_profiles_per_workspace_and_capture() {
    let target = gong(
        "assignments:\n  - { name: all, filter: all, set: { seats: [gong, engage], workspaces: { Main: Member, EMEA: Lead }, \
         dataCapture: { emailsImported: true } } }\n",
    );
    let plan = made(&target);
    let value = |path: &str| {
        plan.values
            .iter()
            .find(|(own, _)| own.0 == path)
            .map(|(_, value)| value)
    };
    for (path, expected) in [
        ("entitlements[type eq \"gong\"].value", json!("granted")),
        ("entitlements[type eq \"engage\"].value", json!("granted")),
        ("roles[type eq \"Main\"].value", json!("Member")),
        ("roles[type eq \"EMEA\"].value", json!("Lead")),
        (
            "urn:ietf:params:scim:schemas:extension:Gong:2.0:User:emailsImported",
            json!(true),
        ),
    ] {
        assert_eq!(value(path), Some(&expected), "{path}: {:?}", plan.values);
    }
    assert_eq!(target.assignments[0].capture.len(), 1);
}
