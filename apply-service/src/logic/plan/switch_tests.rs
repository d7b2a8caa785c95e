//! One switch per verb, in every path that leads to it; and who does not belong although their account is kept.

use serde_json::json;
use usher_contract::Known;

use super::{
    tests::{ask, linked, off},
    *,
};
use crate::logic::{
    guard::Budget,
    policy::Disposition,
    source::SourceField,
    testing::{Change, at, group_rules, person, policy, seen, user_key},
};

fn active() -> AttributePath {
    AttributePath("active".to_owned())
}

fn intent(target: &TargetPolicy) -> Link {
    Link {
        create_intent: true,
        ..Link::unlinked(1, target.hash)
    }
}

/// The account that a lost create of person 1 has made.
fn ours() -> Remote {
    Remote::Found(vec![Seen {
        external_id: Some(user_key(1).user.to_string()),
        ..seen("r1", 1)
    }])
}

fn is_off(remote: Remote) -> Remote {
    let Remote::Found(mut found) = remote else {
        return remote;
    };
    found[0].active = Some(false);
    Remote::Found(found)
}

/// What comes after the plan was carried out.
fn then(plan: &Plan, before: Option<&Link>, change: &UserChange, target: &TargetPolicy) -> Plan {
    let account = plan.account.clone().unwrap();
    let link = link_after(plan, before, &account, None, change, target, at(20));
    ask(change, Some(&link), &Remote::NotLooked, target)
}

#[test]
fn a_lost_account_of_a_leaver_is_linked_and_left_on_where_nothing_is_switched_off() {
    let mut target = policy();
    target.features.deactivate = false;
    let (left, intent) = (person(1).inactive(), intent(&target));
    let plan = ask(&left, Some(&intent), &ours(), &target);
    assert_eq!((plan.action, plan.values.len(), plan.active), (Action::Adopt, 0, true));
    assert!(plan.to_string().contains("features.deactivate is off"), "{plan}");
    let next = then(&plan, Some(&intent), &left, &target);
    assert_eq!((next.action, next.reported), (Action::Skip, true), "{next}");
    // One that is off already needs no switch.
    let plan = ask(&left, Some(&intent), &is_off(ours()), &target);
    assert_eq!((plan.action, plan.active), (Action::Adopt, false), "{plan}");
}

#[test]
fn a_lost_account_that_the_policy_keeps_is_known_all_the_same() {
    let mut target = policy();
    target.lifecycle.inactive = Disposition::Keep;
    let (left, intent) = (person(1).inactive(), intent(&target));
    let look = ask(&left, Some(&intent), &Remote::NotLooked, &target);
    assert_eq!(
        (look.action, look.active),
        (Action::Look, true),
        "nobody is to be got out"
    );
    let plan = ask(&left, Some(&intent), &ours(), &target);
    assert_eq!((plan.action, plan.values.len(), plan.active), (Action::Adopt, 0, true));
    let next = then(&plan, Some(&intent), &left, &target);
    assert_eq!(
        (next.action, next.kept),
        (Action::Update, true),
        "its name follows: {next}"
    );
    assert!(!next.values.contains_key(&active()), "{next}");
    let none = ask(&left, Some(&intent), &Remote::Absent, &target);
    assert_eq!(none.action, Action::Noop, "{none}");
}

#[test]
fn a_lost_account_of_somebody_out_of_scope_is_a_conclusion() {
    let mut target = policy();
    target.lifecycle.unlisted = Disposition::Deactivate;
    target.lifecycle.frozen = Disposition::Keep;
    let intent = intent(&target);
    let budget = |change: &UserChange| {
        let plan = ask(change, Some(&intent), &ours(), &target);
        assert_eq!(plan.action, Action::Deactivate, "{plan}");
        plan.budget()
    };
    let mut unlisted = person(1);
    unlisted.user.listed = Known::Value(false);
    assert_eq!(budget(&unlisted), Some(Budget::InferredRemovals));
    assert_eq!(budget(&person(1).version(2).inactive()), Some(Budget::StatedRemovals));
}

#[test]
fn an_account_that_is_off_is_taken_over_and_left_off_where_nothing_is_switched_on() {
    for (reactivates, values) in [(true, true), (false, false)] {
        let mut target = policy();
        target.matching.adopt_inactive = true;
        target.features.reactivate = reactivates;
        let plan = ask(&person(1), None, &is_off(Remote::Found(vec![seen("r1", 1)])), &target);
        assert_eq!(plan.action, Action::Adopt, "{plan}");
        assert_eq!((plan.values.contains_key(&active()), plan.active), (values, values));
        let next = then(&plan, None, &person(1), &target);
        let expected = if reactivates { Action::Noop } else { Action::Skip };
        assert_eq!((next.action, next.reported), (expected, !reactivates), "{next}");
        if !reactivates {
            for plan in [&plan, &next] {
                assert!(plan.to_string().contains("features.reactivate is off"), "{plan}");
            }
        }
        // What a target does not show is not known to be off.
        let mut silent = seen("r1", 1);
        silent.active = None;
        let plan = ask(&person(1), None, &Remote::Found(vec![silent]), &target);
        assert_eq!(
            (plan.values.contains_key(&active()), plan.active),
            (values, true),
            "{plan}"
        );
    }
}

#[test]
fn the_name_of_somebody_who_is_not_switched_on_again_follows_all_the_same() {
    let mut target = policy();
    target.features.reactivate = false;
    let link = off(&person(1), &target);
    let renamed = person(1).named("new@acme.example").titled("x");
    let plan = ask(&renamed, Some(&link), &Remote::NotLooked, &target);
    let names: Vec<&str> = plan.changed.iter().map(|path| path.0.as_str()).collect();
    assert_eq!(
        (plan.action, names, plan.active),
        (Action::Update, vec!["userName"], false)
    );
    let next = then(&plan, Some(&link), &renamed, &target);
    assert_eq!((next.action, next.reported), (Action::Skip, true), "{next}");
    target.features.update = false;
    let plan = ask(&renamed, Some(&link), &Remote::NotLooked, &target);
    assert_eq!((plan.action, plan.reported), (Action::Skip, true), "{plan}");
}

/// Everything is held by the second person, who is the first one's earlier record.
struct Earlier;
impl Accounts for Earlier {
    fn holder(&self, _: &RemoteId) -> Option<UserKey> {
        Some(user_key(2))
    }
    fn account_of(&self, _: &UserKey) -> Option<RemoteId> {
        None
    }
    fn may_relink(&self, _: &UserKey, _: StateHash) -> bool {
        true
    }
}

#[test]
fn an_account_moves_to_a_new_record_and_stays_off_where_nothing_is_switched_on() {
    let mut target = policy();
    target.matching.person = SourceField::named("employeeNumber");
    let mut change = person(1);
    change.user.employee_number = Known::Value("1815".to_owned());
    for on in [true, false] {
        target.features.reactivate = on;
        let plan = plan(&Question {
            change: &change,
            link: None,
            remote: &is_off(Remote::Found(vec![seen("r1", 1)])),
            target: &target,
            accounts: &Earlier,
            people: &(),
            reimported_at: None,
            again: false,
            now: at(10),
        });
        assert_eq!(
            (plan.action, plan.takes_from),
            (Action::Relink, Some(user_key(2))),
            "{plan}"
        );
        assert_eq!((plan.values.contains_key(&active()), plan.active), (on, on), "{plan}");
    }
}

#[test]
fn groups_that_are_switched_off_are_reported_beside_whatever_else_is_done() {
    let target = TargetPolicy {
        groups_off: Some(group_rules()),
        ..policy()
    };
    let mut change = person(1);
    change.user.groups =
        serde_json::from_value(json!([{ "id": "00G000000000001", "name": "EMEA", "direct": true }])).unwrap();
    let link = linked(&change, &target);
    let words = "join group EMEA; not done because features.groups is off";
    let alone = ask(&change, Some(&link), &Remote::NotLooked, &target);
    assert_eq!((alone.action, alone.remark.is_some()), (Action::Noop, true), "{alone}");
    assert_eq!(alone.reasons, [words]);
    let with = ask(&change.clone().titled("B"), Some(&link), &Remote::NotLooked, &target);
    assert_eq!(with.action, Action::Update, "{with}");
    assert!(with.reasons.iter().any(|reason| reason == words), "{with}");
    change.user.groups = Known::Value(vec![]);
    let nothing = ask(&change, Some(&link), &Remote::NotLooked, &target);
    assert_eq!((nothing.action, nothing.remark), (Action::Noop, None), "{nothing}");
}

#[test]
fn whoever_is_frozen_or_unlisted_gets_nothing_and_keeps_what_they_have() {
    let target = policy();
    let (on, off) = (linked(&person(1), &target), off(&person(1), &target));
    let mut frozen = person(1).titled("x");
    frozen.user.frozen = Known::Value(true);
    let mut unlisted = person(1).titled("x");
    unlisted.user.listed = Known::Value(false);
    for (change, words) in [
        (&frozen, "lifecycle.frozen is keep"),
        (&unlisted, "lifecycle.unlisted is keep"),
    ] {
        let none = ask(change, None, &Remote::NotLooked, &target);
        assert_eq!(none.action, Action::Noop, "nobody is made: {none}");
        let kept = ask(change, Some(&on), &Remote::NotLooked, &target);
        assert_eq!((kept.action, kept.kept), (Action::Noop, true), "{kept}");
        assert!(kept.to_string().contains(words), "{kept}");
        let stays = ask(change, Some(&off), &Remote::NotLooked, &target);
        assert_eq!(
            (stays.action, stays.kept),
            (Action::Noop, false),
            "nobody is switched on: {stays}"
        );
        let renamed = change.clone().named("new@acme.example");
        let update = ask(&renamed, Some(&on), &Remote::NotLooked, &target);
        let names: Vec<&str> = update.changed.iter().map(|path| path.0.as_str()).collect();
        assert_eq!(
            (update.action, names),
            (Action::Update, vec!["userName"]),
            "identifiers follow"
        );
    }
}

#[test]
fn a_date_to_come_wakes_whoever_is_frozen_until_then() {
    let mut target = policy();
    target.lifecycle.termination = Some(crate::logic::termination::Termination {
        field: SourceField::named("custom.End__c").unwrap(),
        end_of_day: false,
        zone: Some(jiff::tz::TimeZone::UTC),
        fallback: jiff::tz::TimeZone::UTC,
    });
    let link = linked(&person(1), &policy());
    let mut frozen = person(1);
    frozen.user.frozen = Known::Value(true);
    let day = at(3 * 86_400).to_zoned(jiff::tz::TimeZone::UTC).date();
    frozen.user.custom.insert("End__c".to_owned(), json!(day.to_string()));
    let plan = ask(&frozen, Some(&link), &Remote::NotLooked, &target);
    assert!(plan.kept, "{plan}");
    let moment = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    assert_eq!(plan.next_change, Some(moment));
}
