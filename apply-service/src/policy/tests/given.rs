//! Which attributes count as given by settings, and which edits of an assignment its hash tells.

use serde_json::Value;
use usher_contract::UserChange;

use super::*;
use crate::logic::{
    account::{AttributePath, RemoteId},
    link::Link,
    plan::{Plan, Question, Remote, link_after, plan},
    testing::{Change, Nobody, at, person},
};

fn of(preset: &str, more: &str) -> TargetPolicy {
    let text = format!(
        "target: gong\npreset: {preset}\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
         connection: {{ baseUrl: 'https://gong.example/scim/v2', auth: {{ bearerTokenFile: /secrets/gong }} }}\n{more}\n"
    );
    let policy = read(&[("gong.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
    (*policy.targets.values().next().unwrap().policy).clone()
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

/// Somebody's link after their account was made under a policy.
fn made(target: &TargetPolicy) -> (Plan, Link) {
    let plan = asked(&person(1), None, target);
    let link = link_after(&plan, None, &RemoteId("r1".into()), None, &person(1), target, at(11));
    (plan, link)
}

#[test]
fn a_row_of_everybody_that_is_dropped_is_left_alone_also_where_settings_lie() {
    const OWN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:organization";
    let policy = |rows: &str, set: &str| {
        of(
            "scim",
            &format!(
                "settings: {{ more: {{ attribute: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:{{key}}' }}, \
                 all: {{ attribute: '{{key}}' }} }}\nattributes: {{ {rows} }}\nset: {{ {set} }}"
            ),
        )
    };
    let rows = format!("'{OWN}': {{ constant: x }}, nickName: {{ constant: Countess }}");
    let before = policy(&rows, "more: { costCenter: c }, all: { userType: Employee }");
    let (plan, link) = made(&before);
    assert!(plan.values.contains_key(&AttributePath(OWN.to_owned())), "{plan}");
    let again = asked(&person(1).version(2), Some(&link), &before);
    assert!(again.values.is_empty(), "no key and no switch: {:?}", again.values);
    let mut after = policy("", "all: { userType: Employee }");
    after.assignments[0].apply_on_change = true;
    let plan = asked(&person(1).version(2), Some(&link), &after);
    let cleared: Vec<(&str, &Value)> = plan
        .values
        .iter()
        .map(|(path, value)| (path.0.as_str(), value))
        .collect();
    let cost_center = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter";
    assert_eq!(cleared, [(cost_center, &Value::Null)], "the setting alone");
}

#[test]
fn the_key_and_the_switch_of_an_account_are_never_taken_back() {
    let (_, mut link) = made(&of("scim", ""));
    // Whatever a record says.
    for (_, written) in link.written.iter_mut() {
        written.given = true;
    }
    let target = of(
        "scim",
        "settings: { seats: { attribute: nickName } }\nset: { seats: x }",
    );
    let target = TargetPolicy {
        attributes: Vec::new(),
        ..target
    };
    let back = crate::logic::assignments::taken_back(&target.assignments[0], &link, &target);
    let names: Vec<&str> = back.iter().map(|path| path.0.as_str()).collect();
    for never in ["externalId", "active", "userName", "emails[type eq \"work\"].value"] {
        assert!(
            link.written.named(never).is_some() && !names.contains(&never),
            "{never}: {names:?}"
        );
    }
    assert!(names.contains(&"title"), "{names:?}");
}

#[test]
fn everything_that_decides_what_is_written_is_an_edit() {
    let hash = |more: &str| {
        let target = of(
            "gong",
            &format!(
                "assignments:\n  - {{ name: a, filter: all, set: {{ seats: [gong], workspaces: {{ Main: {{ {more} }} }} }} }}"
            ),
        );
        target.assignments[0].settings
    };
    let plain = hash("from: title");
    assert_eq!(plain, hash("from: title, whenBlank: clear"), "as it is anyway");
    assert_ne!(plain, hash("from: title, whenBlank: keep"));
    assert_ne!(plain, hash("from: department"));
    let updates = |updates: &str| {
        let target = of(
            "gong",
            &format!("assignments:\n  - {{ name: a, filter: all, updates: {updates}, set: {{ seats: [gong] }} }}"),
        );
        target.assignments
    };
    let (automatic, manual) = (updates("automatic"), updates("manual"));
    assert_ne!(automatic[0].settings, manual[0].settings);
    // Manual ones that become automatic ones: what was set by hand is not written over at once.
    let target = |assignments: &[crate::logic::assignments::Assignment]| TargetPolicy {
        assignments: assignments.to_vec(),
        ..of("gong", "")
    };
    let (_, link) = made(&target(&manual));
    let mut edited = target(&automatic);
    edited.assignments[0].since = Some(at(12));
    let waits = asked(&person(1), Some(&link), &edited);
    assert!(
        waits.values.is_empty() && waits.to_string().contains("they wait"),
        "{waits}"
    );
    let mut changed = person(1).version(2);
    changed.cause.observed_at = at(13);
    let plan = asked(&changed, Some(&link), &edited);
    assert_eq!(plan.values.len(), 1, "ours again: {plan}");
}

#[test]
fn what_no_account_can_be_without_is_said_when_it_is_not_given_and_never_taken_back() {
    const PROFILE: &str = "entitlements[type eq \"Profile\"].value";
    let policy = |assignments: &str| {
        let text = format!(
            "target: hub\npreset: salesforce\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
             connection: {{ baseUrl: 'https://hub.my.salesforce.com/services/scim/v2', auth: {{ bearerTokenFile: /secrets/hub }} }}\n{assignments}\n"
        );
        let policy = read(&[("hub.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
        let target = (*policy.targets.values().next().unwrap().policy).clone();
        let said = policy.warnings.into_iter().filter(|warning| warning.contains(PROFILE));
        (target, said.collect::<Vec<_>>())
    };
    let seller = "  - { name: a, filter: \"Title = 'AE'\", set: { profile: 00e000000000001AAA } }";
    let (with, none) = policy(&format!(
        "assignments:\n{seller}\n  - {{ name: b, filter: all, set: {{ profile: X }} }}"
    ));
    assert_eq!(none, Vec::<String>::new());
    for sub in ["value", "display"] {
        let row = format!("'entitlements[type eq \"Profile\"].{sub}': {{ constant: X }}");
        let (_, none) = policy(&format!(
            "attributes: {{ {row} }}\nsettings: {{ other: {{ attribute: nickName }} }}\nset: {{ other: x }}"
        ));
        assert_eq!(none, Vec::<String>::new(), "everybody has one");
    }
    let (without, said) = policy(&format!("assignments:\n{seller}\n  - {{ name: b, filter: all }}"));
    assert_eq!(said.len(), 1, "{said:#?}");
    let shown = said[0].starts_with("hub.yaml:") && said[0].contains("assignments.1.name: gives no");
    assert!(shown, "{}", said[0]);
    let (_, said) = policy("set: {}");
    assert!(said[0].contains(": set: gives no"), "{said:#?}");
    // Somebody who moves to it keeps theirs, and everything else is written.
    let (plan, link) = made(&with);
    assert!(plan.values.contains_key(&AttributePath(PROFILE.to_owned())), "{plan}");
    let moved = asked(&person(1).version(2).titled("SE"), Some(&link), &without);
    let names: Vec<&str> = moved.values.keys().map(|path| path.0.as_str()).collect();
    assert_eq!(names, ["title"], "{moved}");
    // Nor is it cleared when the field that says it is blank.
    let from = "set: { profile: { from: custom.Profile__c } }";
    let blank = policy(from).0.assignments[0].rows[0].when_blank;
    assert_eq!(blank, WhenBlank::Keep);
    let (clear, _) = policy(&from.replace(" } }", ", whenBlank: clear } }"));
    assert_eq!(clear.assignments[0].rows[0].when_blank, WhenBlank::Clear);
}
