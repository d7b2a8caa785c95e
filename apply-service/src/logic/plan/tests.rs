//! `plan` by table (desired x link x remote), and its properties.

use proptest::prelude::*;
use serde_json::json;
use usher_contract::Known;

use super::*;
use crate::logic::{
    link::LinkState,
    policy::{Disposition, Features},
    testing::{Change, Held, Nobody, at, person, policy, seen, user_key},
};

pub(super) fn ask(change: &UserChange, link: Option<&Link>, remote: &Remote, target: &TargetPolicy) -> Plan {
    plan(&Question {
        change,
        link,
        remote,
        target,
        accounts: &Nobody,
        people: &(),
        reimported_at: None,
        again: false,
        now: at(10),
    })
}

/// The link of a person after the account was made or taken over.
pub(super) fn linked(change: &UserChange, target: &TargetPolicy) -> Link {
    let made = ask(change, None, &Remote::Absent, target);
    assert_eq!(made.action, Action::Create, "{made}");
    link_after(&made, None, &RemoteId("r1".into()), None, change, target, at(11))
}

pub(super) fn off(change: &UserChange, target: &TargetPolicy) -> Link {
    let link = linked(change, target);
    let left = change.clone().inactive();
    let plan = ask(&left, Some(&link), &Remote::NotLooked, target);
    link_after(&plan, Some(&link), &RemoteId("r1".into()), None, &left, target, at(12))
}

#[test]
fn desired_by_link_by_remote() {
    let target = policy();
    let (ada, link, off) = (person(1), linked(&person(1), &target), off(&person(1), &target));
    let intent = Link {
        create_intent: true,
        ..Link::unlinked(1, target.hash)
    };
    let gone = ada.clone().inactive();
    let mut removed = ada.clone();
    removed.user.removed = true;
    let mut unknown = ada.clone();
    unknown.user.active = Known::Unknown;
    let (ours, theirs) = (
        seen("r1", 1),
        Seen {
            external_id: Some(user_key(2).user.to_string()),
            ..seen("r1", 1)
        },
    );
    let found = |accounts: &[Seen]| Remote::Found(accounts.to_vec());
    let switched_off = Seen {
        active: Some(false),
        ..seen("r1", 1)
    };
    let ours_on = Seen {
        external_id: Some(user_key(1).user.to_string()),
        ..seen("r1", 1)
    };
    let ours_off = Seen {
        external_id: Some(user_key(1).user.to_string()),
        ..switched_off.clone()
    };
    use Action::{Adopt, Create, Deactivate, Look, Noop, Reactivate, Skip, Update, Wait};
    #[rustfmt::skip]
    let table = [
        (&ada,     None,          Remote::NotLooked,                   Look,       "not linked"),
        (&ada,     None,          Remote::Absent,                      Create,     "no account exists"),
        (&ada,     None,          found(std::slice::from_ref(&ours)),              Adopt,      "an account exists"),
        (&ada,     None,          found(&[theirs]),                    Skip,       "carries the external id"),
        (&ada,     None,          found(&[ours.clone(), seen("r2", 1)]), Skip,     "several accounts match"),
        (&ada,     None,          found(std::slice::from_ref(&switched_off)), Skip, "switched off"),
        (&ada,     None,          found(std::slice::from_ref(&ours_off)), Adopt,   "found by our key"),
        (&ada,     Some(&intent), Remote::NotLooked,                   Look,       "not linked"),
        (&ada,     Some(&link),   Remote::NotLooked,                   Noop,       "as it should be"),
        (&ada,     Some(&off),    Remote::NotLooked,                   Reactivate, "the account is off"),
        (&ada.clone().titled("CEO"), Some(&link), Remote::NotLooked,   Update,     "differs"),
        (&gone,    None,          Remote::NotLooked,                   Noop,       "there is no account"),
        (&gone,    None,          found(std::slice::from_ref(&ours)),              Noop,       "there is no account"),
        (&gone,    Some(&intent), Remote::NotLooked,                   Look,       "an account was being made"),
        (&gone,    Some(&intent), Remote::Absent,                      Noop,       "left no account"),
        (&gone,    Some(&intent), found(std::slice::from_ref(&ours_on)), Deactivate, "an account was being made"),
        (&gone,    Some(&intent), found(&[ours]),                      Skip,       "does not carry our key"),
        (&gone,    Some(&intent), found(&[ours_off]),                  Adopt,      "its account is off"),
        (&ada,     Some(&intent), found(&[switched_off]),              Skip,       "switched off"),
        (&gone,    Some(&link),   Remote::NotLooked,                   Deactivate, "inactive in the source"),
        (&gone,    Some(&off),    Remote::NotLooked,                   Noop,       "the account is off"),
        (&removed, Some(&link),   Remote::NotLooked,                   Deactivate, "removed from the source"),
        (&removed, Some(&off),    Remote::NotLooked,                   Noop,       "removed from the source"),
        (&unknown, Some(&link),   Remote::NotLooked,                   Wait,       "active unknown"),
        (&unknown, None,          Remote::Absent,                      Wait,       "active unknown"),
    ];
    for (change, link, remote, action, reason) in table {
        let plan = ask(change, link, &remote, &target);
        assert_eq!(plan.action, action, "{plan} of {remote:?}");
        assert!(plan.to_string().contains(reason), "{plan} should say: {reason}");
        assert_eq!(
            plan.values.is_empty(),
            !matches!(action, Create | Adopt | Update | Deactivate | Reactivate),
            "{plan}"
        );
    }
}

#[test]
fn without_external_ids_at_the_target_an_intent_makes_the_match_ours() {
    let mut target = policy();
    target.matching.keeps_external_ids = false;
    let intent = Link {
        create_intent: true,
        ..Link::unlinked(1, target.hash)
    };
    let found = |active| {
        Remote::Found(vec![Seen {
            active: Some(active),
            ..seen("r1", 1)
        }])
    };
    let plan = ask(&person(1).inactive(), Some(&intent), &found(true), &target);
    assert_eq!(plan.action, Action::Deactivate, "{plan}");
    let plan = ask(&person(1), Some(&intent), &found(false), &target);
    assert_eq!(plan.action, Action::Adopt, "{plan}");
}

#[test]
fn only_what_differs_is_written() {
    let target = policy();
    let link = linked(&person(1), &target);
    let plan = ask(&person(1).titled("CEO"), Some(&link), &Remote::NotLooked, &target);
    assert_eq!(plan.values, [(AttributePath("title".into()), json!("CEO"))].into());
    assert_eq!(
        plan.to_string(),
        "update account r1 [title]: differs from what was written"
    );
}

#[test]
fn an_account_is_made_with_what_the_person_has_and_nothing_else() {
    let target = policy();
    let mut basic = person(1);
    basic.user.title = Known::Empty;
    let plan = ask(&basic, None, &Remote::Absent, &target);
    assert_eq!(plan.action, Action::Create, "{plan}");
    let names: Vec<&str> = plan.values.keys().map(|path| path.0.as_str()).collect();
    assert_eq!(names, ["active", "externalId", "name.familyName", "userName"]);
}

#[test]
fn a_linked_person_who_fails_the_gate_is_left_alone_and_reported() {
    let target = policy();
    let link = linked(&person(1), &target);
    let mut blanked = person(1).titled("CEO");
    blanked.user.family_name = Known::Empty;
    let plan = ask(&blanked, Some(&link), &Remote::NotLooked, &target);
    assert_eq!((plan.action, plan.reported), (Action::Skip, true));
    assert!(plan.to_string().contains("familyName is blank"), "{plan}");
    blanked.user.family_name = Known::Unknown;
    assert_eq!(
        ask(&blanked, Some(&link), &Remote::NotLooked, &target).action,
        Action::Wait
    );
    // Leaving is not held up by the gate.
    assert_eq!(
        ask(&blanked.inactive(), Some(&link), &Remote::NotLooked, &target).action,
        Action::Deactivate
    );
}

#[test]
fn an_unknown_attribute_is_left_out_and_written_once_it_is_known() {
    let target = policy();
    let mut unread = person(1);
    unread.user.title = Known::Unknown;
    let link = linked(&unread, &target);
    assert_eq!(
        ask(&unread, Some(&link), &Remote::NotLooked, &target).action,
        Action::Noop
    );
    let plan = ask(&person(1).titled("AE"), Some(&link), &Remote::NotLooked, &target);
    assert_eq!(plan.values, [(AttributePath("title".into()), json!("AE"))].into());
}

#[test]
fn identifiers_flow_to_accounts_that_are_off() {
    let target = policy();
    let off = off(&person(1), &target);
    let plan = ask(
        &person(1).inactive().named("ada.old@acme.example").titled("x"),
        Some(&off),
        &Remote::NotLooked,
        &target,
    );
    assert_eq!(plan.action, Action::Update);
    assert_eq!(
        plan.values,
        [(AttributePath("userName".into()), json!("ada.old@acme.example"))].into()
    );
}

#[test]
fn leaving_writes_nothing_but_active_and_identifiers_follow() {
    let target = policy();
    let link = linked(&person(1), &target);
    let left = person(1).version(2).named("gone@acme.example").titled("x").inactive();
    let plan = ask(&left, Some(&link), &Remote::NotLooked, &target);
    assert_eq!(plan.action, Action::Deactivate);
    assert_eq!(plan.values, [(AttributePath("active".into()), json!(false))].into());
    let link = link_after(&plan, Some(&link), &RemoteId("r1".into()), None, &left, &target, at(12));
    let plan = ask(&left, Some(&link), &Remote::NotLooked, &target);
    assert_eq!(plan.action, Action::Update);
    assert_eq!(
        plan.values,
        [(AttributePath("userName".into()), json!("gone@acme.example"))].into()
    );
    let intent = Link {
        create_intent: true,
        ..Link::unlinked(1, target.hash)
    };
    let found = Remote::Found(vec![Seen {
        external_id: Some(user_key(1).user.to_string()),
        ..seen("r1", 1)
    }]);
    let plan = ask(&left, Some(&intent), &found, &target);
    assert_eq!(plan.values, [(AttributePath("active".into()), json!(false))].into());
}

#[test]
fn a_claimed_account_is_refused_with_both_names() {
    let (target, ada) = (policy(), person(1));
    let remote = Remote::Found(vec![seen("r1", 1)]);
    let question = Question {
        change: &ada,
        link: None,
        remote: &remote,
        target: &target,
        accounts: &Held("r1", user_key(2)),
        people: &(),
        reimported_at: None,
        again: false,
        now: at(0),
    };
    let plan = plan(&question);
    let refusal = plan.refusal.clone().unwrap();
    assert_eq!(refusal.code, "match-claimed");
    for key in [user_key(1), user_key(2)] {
        assert!(refusal.reason.contains(&key.to_string()), "{refusal}");
    }
}

#[test]
fn what_was_refused_waits_for_a_change() {
    let target = policy();
    let ada = person(1);
    let desired = ask(&ada, None, &Remote::NotLooked, &target).desired;
    let state = LinkState::Rejected {
        desired,
        code: "http-400".into(),
        approved: None,
        reason: "no".into(),
        at: at(0),
    };
    let link = Link {
        state,
        ..Link::unlinked(1, target.hash)
    };
    let plan_now = ask(&ada, Some(&link), &Remote::NotLooked, &target);
    assert_eq!(
        (plan_now.action, plan_now.reported),
        (Action::Skip, false),
        "{plan_now}"
    );
    assert_eq!(
        ask(&ada.clone().titled("x"), Some(&link), &Remote::NotLooked, &target).action,
        Action::Look
    );
    let mut other = target.clone();
    other.hash = StateHash::of_text("policy 2");
    assert_eq!(ask(&ada, Some(&link), &Remote::NotLooked, &other).action, Action::Look);
    let question = Question {
        change: &ada,
        link: Some(&link),
        remote: &Remote::NotLooked,
        target: &target,
        accounts: &Nobody,
        people: &(),
        reimported_at: None,
        again: true,
        now: at(0),
    };
    assert_eq!(plan(&question).action, Action::Look);
}

#[test]
fn switches_that_are_off_are_reported_not_done() {
    let on = Features {
        create: true,
        update: true,
        deactivate: true,
        reactivate: true,
        delete: true,
        invite: false,
    };
    let target = policy();
    let (link, off_link) = (linked(&person(1), &target), off(&person(1), &target));
    let with = |features| TargetPolicy { features, ..policy() };
    #[rustfmt::skip]
    let table = [
        (Features { create: false, ..on },     person(1),             None,            Remote::Absent),
        (Features { update: false, ..on },     person(1).titled("x"), Some(&link),     Remote::NotLooked),
        (Features { deactivate: false, ..on }, person(1).inactive(),  Some(&link),     Remote::NotLooked),
        (Features { reactivate: false, ..on }, person(1),             Some(&off_link), Remote::NotLooked),
    ];
    for (features, change, link, remote) in table {
        let plan = ask(&change, link, &remote, &with(features));
        assert_eq!(
            (plan.action, plan.reported, plan.values.len()),
            (Action::Skip, true, 0),
            "{plan}"
        );
    }
}

#[test]
fn somebody_kept_is_not_written_except_for_identifiers() {
    let mut target = policy();
    target.lifecycle.inactive = Disposition::Keep;
    let link = linked(&person(1), &target);
    let plan = ask(
        &person(1).inactive().titled("x"),
        Some(&link),
        &Remote::NotLooked,
        &target,
    );
    assert_eq!(plan.action, Action::Noop);
    assert!(
        plan.to_string().contains("lifecycle.inactive is keep") && plan.kept,
        "{plan}"
    );
}

#[test]
fn people_of_other_organizations_never_reach_the_target() {
    let mut target = policy();
    target.sources = ["00D000000000002EAA".parse().unwrap()].into();
    let plan = ask(&person(1), None, &Remote::Absent, &target);
    assert_eq!((plan.action, plan.reported), (Action::Skip, false));
}

fn any_text() -> impl Strategy<Value = Known<String>> {
    prop_oneof![
        Just(Known::Unknown),
        Just(Known::Empty),
        Just(Known::Value(" ".to_owned())),
        "[a-c]{1,2}".prop_map(Known::Value)
    ]
}

prop_compose! {
    fn any_change()(title in any_text(), family in any_text(), name in "[a-c]{1,2}", active in any::<bool>(), removed in any::<bool>()) -> UserChange {
        let mut change = person(1).named(&name);
        change.user.title = title;
        change.user.family_name = family;
        change.user.active = Known::Value(active);
        change.user.removed = removed;
        change
    }
}

proptest! {
    /// The same path over a life of several states: after each plan was carried out, there is nothing left to do.
    #[test]
    fn plan_after_apply_is_noop(life in proptest::collection::vec(any_change(), 1..6)) {
        let target = policy();
        let mut link: Option<Link> = None;
        for (step, change) in life.into_iter().enumerate() {
            let change = change.version(step as u64 + 1);
            let mut plan = ask(&change, link.as_ref(), &Remote::NotLooked, &target);
            if plan.action == Action::Look {
                plan = ask(&change, link.as_ref(), &Remote::Absent, &target);
            }
            if plan.action.acts() {
                let id = plan.account.clone().unwrap_or_else(|| RemoteId("r1".into()));
                link = Some(link_after(&plan, link.as_ref(), &id, None, &change, &target, at(20)));
                let mut again = ask(&change, link.as_ref(), &Remote::NotLooked, &target);
                if plan.action == Action::Deactivate && again.action == Action::Update {
                    // The names of somebody who has left follow once the account is off.
                    link = Some(link_after(&again, link.as_ref(), &id, None, &change, &target, at(21)));
                    again = ask(&change, link.as_ref(), &Remote::NotLooked, &target);
                }
                prop_assert_eq!(again.action, Action::Noop, "{} then {}", plan, again);
            } else {
                prop_assert!(plan.values.is_empty());
            }
        }
    }

    /// Names and states of a plan are shown, values are not.
    #[test]
    fn a_plan_in_words_shows_no_value(change in any_change()) {
        let mut change = change;
        change.user.family_name = Known::Value("Zzyzx".into());
        let plan = ask(&change, None, &Remote::Absent, &policy());
        prop_assert!(!plan.to_string().contains("Zzyzx"));
    }
}

#[test]
fn a_link_keeps_values_where_the_target_does_and_what_only_the_answer_shows() {
    let mut target = policy();
    assert_eq!(linked(&person(1), &target).values, [].into());
    target.keeps_values = true;
    let link = linked(&person(1), &target);
    assert_eq!(link.values[&AttributePath("userName".into())], "u1@acme.example");
    // The row of an earlier record: what is equal is not written, and known all the same.
    let title = AttributePath("title".to_owned());
    let row = Seen {
        values: [
            (title.clone(), json!("Poet")),
            (AttributePath("gone".into()), json!(null)),
        ]
        .into(),
        ..seen("r9", 1)
    };
    let plan = Plan {
        values: [(AttributePath("externalId".into()), json!("x"))].into(),
        ..ask(&person(1), Some(&link), &Remote::NotLooked, &target)
    };
    let moved = link_after(&plan, Some(&link), &row.id, Some(&row), &person(1), &target, at(12));
    let names: Vec<&str> = moved.values.keys().map(|path| path.0.as_str()).collect();
    assert_eq!(
        (names, &moved.values[&title]),
        (vec!["externalId", "title"], &json!("Poet"))
    );
    assert_eq!(moved.given_away().values, [].into());
}
