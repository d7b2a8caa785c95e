//! Seats that fields of the source decide about, and seats that are taken back.

use serde_json::{Value, json};
use usher_contract::{Known, UserChange};

use super::*;
use crate::logic::{
    account::RemoteId,
    link::Link,
    plan::{Plan, Question, Remote, link_after, plan},
    testing::{Change, Nobody, at, person},
};

fn gong(set: &str) -> Result<TargetPolicy, Vec<String>> {
    let text = format!(
        "target: gong\npreset: gong\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
         connection: {{ baseUrl: 'https://gong.example/scim/v2', auth: {{ bearerTokenFile: /secrets/gong }} }}\n{set}\n"
    );
    let policy = read(&[("gong.yaml", &text)]).map_err(|error| error.0)?;
    Ok((*policy.targets.values().next().unwrap().policy).clone())
}

fn asked(change: &UserChange, link: Option<&Link>, target: &TargetPolicy) -> Plan {
    plan(&Question {
        change,
        link,
        remote: &Remote::Absent,
        target,
        accounts: &Nobody,
        people: &(),
        reimported_at: None,
        again: false,
        now: at(10),
    })
}

fn with(fields: &[(&str, Value)]) -> UserChange {
    let mut change = person(1);
    for (name, value) in fields {
        change.user.custom.insert((*name).to_owned(), value.clone());
    }
    change
}

/// The seats that a plan writes: granted, or taken back.
fn seats(plan: &Plan) -> Vec<(&str, &Value)> {
    plan.values
        .iter()
        .filter(|(path, _)| path.0.starts_with("entitlements[type eq "))
        .map(|(path, value)| (path.0.split('"').nth(1).unwrap(), value))
        .collect()
}

#[test]
fn one_field_lists_the_seats_or_each_seat_has_a_field() {
    let granted = json!("granted");
    let listed =
        gong("set: { seats: { from: [custom.Seats__c, custom.Old__c], items: [gong, engage, \"it's one\"] } }")
            .unwrap();
    for (value, old, expected) in [
        (json!("gong"), Value::Null, &["gong"][..]),
        (json!(" Engage ;GONG;gong"), Value::Null, &["engage", "gong"]),
        (json!("forecast, It's One"), Value::Null, &["it's one"]),
        (json!("gongs;engage-not"), Value::Null, &[]),
        (Value::Null, json!("engage"), &["engage"]),
        (json!(" "), Value::Null, &[]),
    ] {
        let made = asked(&with(&[("Seats__c", value.clone()), ("Old__c", old)]), None, &listed);
        let expected: Vec<(&str, &Value)> = expected.iter().map(|seat| (*seat, &granted)).collect();
        assert_eq!(seats(&made), expected, "{value}: {made}");
    }
    let each = gong(
        "set: { seats: { gong: { from: custom.Gong__c }, engage: { from: custom.Engage__c }, forecast: true, x: false } }",
    );
    let each = each.unwrap();
    for (on, expected) in [
        (json!(true), &["forecast", "gong"][..]),
        (json!("Yes"), &["forecast", "gong"]),
        (json!(false), &["forecast"]),
        (json!("no"), &["forecast"]),
    ] {
        let made = asked(
            &with(&[("Gong__c", on.clone()), ("Engage__c", Value::Null)]),
            None,
            &each,
        );
        let expected: Vec<(&str, &Value)> = expected.iter().map(|seat| (*seat, &granted)).collect();
        assert_eq!(seats(&made), expected, "{on}: {made}");
    }
    // What cannot be read grants nothing and takes nothing.
    let made = asked(&with(&[("Engage__c", json!(true))]), None, &each);
    assert_eq!(seats(&made), [("engage", &granted), ("forecast", &granted)]);
}

#[test]
fn a_seat_that_the_field_does_not_grant_any_more_is_taken_back() {
    let target = gong("set: { seats: { from: custom.Seats__c, items: [gong, engage] } }").unwrap();
    let before = with(&[("Seats__c", json!("gong;engage"))]);
    let made = asked(&before, None, &target);
    let link = link_after(&made, None, &RemoteId("r1".into()), None, &before, &target, at(11));
    let after = with(&[("Seats__c", json!("engage"))]).version(2);
    assert_eq!(seats(&asked(&after, Some(&link), &target)), [("gong", &Value::Null)]);
    assert_eq!(
        seats(&asked(&person(1).version(2), Some(&link), &target)),
        [],
        "unknown takes nothing"
    );
}

#[test]
fn a_seat_that_was_taken_out_of_the_policy_is_taken_back_with_the_next_change_of_the_person() {
    let of = |assignments: &str| gong(&format!("assignments:\n{assignments}")).unwrap();
    let sellers = |seats: &str| {
        of(&format!(
            "  - {{ name: sellers, filter: all, set: {{ seats: [{seats}], workspaces: {{ Main: Member }} }} }}"
        ))
    };
    let edited_to = |seats: &str| {
        let mut edited = sellers(seats);
        edited.assignments[0].since = Some(at(12));
        edited
    };
    let changed = |version: u64| {
        let mut change = person(1).version(version);
        change.cause.observed_at = at(13);
        change
    };
    let target = sellers("gong, engage");
    let made = asked(&person(1), None, &target);
    let link = link_after(&made, None, &RemoteId("r1".into()), None, &person(1), &target, at(11));
    // No assignment of the policy names the seat any more.
    let edited = edited_to("gong");
    assert_eq!(seats(&asked(&person(1), Some(&link), &edited)), [], "an edit waits");
    let taken = asked(&changed(2), Some(&link), &edited);
    assert_eq!(seats(&taken), [("engage", &Value::Null)], "{taken}");
    // Done, it is done.
    let after = link_after(
        &taken,
        Some(&link),
        &RemoteId("r1".into()),
        None,
        &changed(2),
        &edited,
        at(14),
    );
    assert!(asked(&changed(3), Some(&after), &edited).values.is_empty());
    // Nor does the assignment that gave it have to be there any more.
    let renamed = of("  - { name: everybody, filter: all, set: { seats: [gong] } }");
    let moved = asked(&person(1), Some(&link), &renamed);
    let taken: Vec<(&str, &Value)> = moved
        .values
        .iter()
        .map(|(path, value)| (path.0.as_str(), value))
        .collect();
    assert_eq!(
        taken,
        [
            ("entitlements[type eq \"engage\"].value", &Value::Null),
            ("roles[type eq \"Main\"].value", &Value::Null)
        ],
        "{moved}"
    );
    // Without its seat a setting waits: what the account holds is left until the seat is granted again.
    let waiting = edited_to("engage");
    let waits = asked(&changed(2), Some(&link), &waiting);
    assert_eq!(
        waits.values.keys().map(|path| path.0.as_str()).collect::<Vec<_>>(),
        ["entitlements[type eq \"gong\"].value"],
        "{waits}"
    );
    // What the rows of everybody write is no setting, also when the row is dropped.
    let dropped = gong("attributes: { title: { drop: true } }\nassignments:\n  - { name: sellers, filter: all, set: { seats: [gong, engage], workspaces: { Main: Member } } }").unwrap();
    assert!(asked(&changed(2), Some(&link), &dropped).values.is_empty());
}

#[test]
fn what_managers_decide_is_not_taken_back() {
    let of = |capture: &str| {
        gong(&format!(
            "organization: {{ managersControlCapture: true }}\nassignments:\n  - {{ name: a, filter: \"Title = 'AE'\", set: {{ \
             seats: [gong]{capture} }} }}\n  - {{ name: b, filter: all, set: {{ seats: [gong] }} }}"
        ))
        .unwrap()
    };
    let target = of(", dataCapture: { calls: \"on\" }");
    let made = asked(&person(1), None, &target);
    let calls = |plan: &Plan| plan.values.iter().any(|(path, _)| path.0.ends_with(":calls"));
    assert!(calls(&made), "{made}");
    let link = link_after(&made, None, &RemoteId("r1".into()), None, &person(1), &target, at(11));
    let mut moved = person(1).version(2);
    moved.user.title = Known::Value("SE".to_owned());
    for target in [&target, &of("")] {
        assert!(!calls(&asked(&moved, Some(&link), target)), "a move");
        assert!(!calls(&asked(&person(1).version(2), Some(&link), target)), "an edit");
    }
}

#[test]
fn seats_in_no_known_form_are_refused_and_other_settings_know_which_seats_there_may_be() {
    for (set, words) in [
        ("{ seats: gong }", "must be a list of texts"),
        ("{ seats: { from: custom.Seats__c } }", "must be a list of texts"),
        ("{ seats: { items: [gong] } }", "must be a list of texts"),
        (
            "{ seats: { from: custom.Seats__c, items: gong } }",
            "must be a list of texts",
        ),
        ("{ seats: { gong: yes please } }", "must be a list of texts"),
        ("{ seats: { from: seatz, items: [gong] } }", "unknown field `seatz`"),
        ("{ seats: { gong: { from: seatz } } }", "unknown field `seatz`"),
    ] {
        let found = gong(&format!("set: {set}")).unwrap_err();
        let said = |problem: &String| problem.contains(words) && problem.contains("gong.yaml:");
        assert!(found.iter().any(said), "{set}: {found:#?}");
    }
    let pending = |seats: &str| {
        let target = gong(&format!("set: {{ seats: {seats}, workspaces: {{ Main: Member }} }}")).unwrap();
        target.assignments[0].pending.len()
    };
    assert_eq!(pending("{ gong: { from: custom.Gong__c } }"), 0);
    assert_eq!(pending("{ from: custom.Seats__c, items: [gong] }"), 0);
    assert_eq!(pending("{ from: custom.Seats__c, items: [engage] }"), 1);
    assert_eq!(pending("{ gong: false, engage: true }"), 1);
}
