//! Cause x link x setting: who is out of scope, and every other cause before it.

use usher_contract::Known;
use usher_filter::{Fields, Filter};

use super::*;
use crate::logic::{
    policy::Disposition,
    scope::Scope,
    testing::{Nobody, at, person, policy, seen, user_key},
};

fn filtered(filter: &str) -> TargetPolicy {
    TargetPolicy {
        scope: Scope {
            filter: Some(Filter::parse(filter, &Fields::default()).unwrap()),
            ..Scope::default()
        },
        ..policy()
    }
}

fn ask(change: &UserChange, link: Option<&Link>, remote: &Remote, target: &TargetPolicy) -> Plan {
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

/// The link of somebody who has an account that is on, or off.
fn linked(active: bool) -> Link {
    let made = ask(&person(1), None, &Remote::Absent, &policy());
    let link = link_after(&made, None, &RemoteId("r1".into()), None, &person(1), &policy(), at(11));
    Link {
        active: Some(active),
        ..link
    }
}

#[test]
fn out_of_scope_by_link_by_setting() {
    use Action::{Deactivate, Look, Noop, Reactivate, Skip, Wait};
    let (on, off) = (linked(true), linked(false));
    let intent = Link {
        create_intent: true,
        ..Link::unlinked(1, policy().hash)
    };
    let (inside, outside, open) = ("Title = 'AE'", "Title = 'CEO'", "Phone = '1'");
    use Disposition::{Deactivate as Off, Keep};
    #[rustfmt::skip]
    let table = [
        (inside,  None,          Off,  Look,       "active and not linked"),
        (inside,  Some(&on),     Off,  Noop,       "as it should be"),
        (inside,  Some(&off),    Off,  Reactivate, "the account is off"),
        (inside,  Some(&on),     Keep, Noop,       "as it should be"),
        (outside, None,          Off,  Noop,       "out of scope; there is no account; scope.filter does not hold"),
        (outside, None,          Keep, Noop,       "out of scope; there is no account"),
        (outside, Some(&on),     Off,  Deactivate, "out of scope; scope.filter does not hold"),
        (outside, Some(&off),    Off,  Noop,       "out of scope; the account is off"),
        (outside, Some(&on),     Keep, Noop,       "the account is kept because lifecycle.outOfScope is keep"),
        (outside, Some(&off),    Keep, Noop,       "the account is kept"),
        (outside, Some(&intent), Off,  Look,       "out of scope; an account was being made"),
        (outside, Some(&intent), Keep, Look,       "out of scope; an account was being made"),
        (open,    None,          Off,  Wait,       "phone unknown"),
        (open,    Some(&on),     Off,  Wait,       "phone unknown"),
        (open,    Some(&off),    Off,  Wait,       "phone unknown"),
        (open,    Some(&intent), Off,  Wait,       "phone unknown"),
        (open,    Some(&on),     Keep, Wait,       "phone unknown"),
    ];
    for (filter, link, setting, action, reason) in table {
        let mut target = filtered(filter);
        target.lifecycle.out_of_scope = setting;
        let plan = ask(&person(1), link, &Remote::NotLooked, &target);
        assert_eq!(plan.action, action, "{filter} {link:?} {setting:?}: {plan}");
        assert!(plan.to_string().contains(reason), "{plan} should say: {reason}");
        assert_eq!(
            plan.values.is_empty(),
            !matches!(action, Deactivate | Reactivate),
            "{plan}"
        );
        assert_eq!(plan.inferred, action == Deactivate, "{plan}");
    }
    let mut kept = filtered(outside);
    kept.features.deactivate = false;
    let plan = ask(&person(1), Some(&on), &Remote::NotLooked, &kept);
    assert_eq!((plan.action, plan.reported), (Skip, true), "{plan}");
}

/// Every subset of causes, each switched to deactivate or keep: the first in the order of the policy decides.
#[test]
fn the_first_cause_decides_whatever_comes_after_it() {
    let causes = ["removed", "inactive", "frozen", "unlisted", "outOfScope"];
    for holding in 0..1_u8 << causes.len() {
        for kept in 0..1_u8 << causes.len() {
            let has = |mask: u8, place: usize| mask & (1 << place) != 0;
            let mut change = person(1);
            change.user.removed = has(holding, 0);
            change.user.active = Known::Value(!has(holding, 1));
            change.user.frozen = Known::Value(has(holding, 2));
            change.user.listed = Known::Value(!has(holding, 3));
            let mut target = filtered(if has(holding, 4) {
                "Title = 'CEO'"
            } else {
                "Title = 'AE'"
            });
            let setting = |place| {
                if has(kept, place) {
                    Disposition::Keep
                } else {
                    Disposition::Deactivate
                }
            };
            target.lifecycle.removed = setting(0);
            target.lifecycle.inactive = setting(1);
            target.lifecycle.frozen = setting(2);
            target.lifecycle.unlisted = setting(3);
            target.lifecycle.out_of_scope = setting(4);
            let first = (0..causes.len()).find(|place| has(holding, *place));
            let plan = ask(&change, Some(&linked(true)), &Remote::NotLooked, &target);
            let (action, key) = match first {
                None => (Action::Noop, None),
                Some(place) if has(kept, place) => (Action::Noop, Some(causes[place])),
                Some(_) => (Action::Deactivate, None),
            };
            assert_eq!(plan.action, action, "{holding:05b} {kept:05b}: {plan}");
            if let Some(key) = key {
                assert!(plan.to_string().contains(&format!("lifecycle.{key} is keep")), "{plan}");
            }
            if action == Action::Deactivate {
                // Told by the source: removed, inactive, frozen. Concluded: unlisted, outOfScope.
                assert_eq!(plan.inferred, first >= Some(3), "{holding:05b}: {plan}");
                let budget = if plan.inferred {
                    Budget::InferredRemovals
                } else {
                    Budget::StatedRemovals
                };
                assert_eq!(plan.budget(), Some(budget));
            }
        }
    }
}

#[test]
fn a_leaver_leaves_also_when_the_filter_could_not_be_judged() {
    let mut change = person(1);
    change.user.active = Known::Value(false);
    let plan = ask(
        &change,
        Some(&linked(true)),
        &Remote::NotLooked,
        &filtered("Phone = '1'"),
    );
    assert_eq!((plan.action, plan.inferred), (Action::Deactivate, false), "{plan}");
    let plan = ask(
        &change,
        Some(&linked(true)),
        &Remote::NotLooked,
        &filtered("IsActive = true"),
    );
    assert!(plan.to_string().contains("inactive in the source"), "{plan}");
    assert!(!plan.inferred, "{plan}");
}

#[test]
fn somebody_out_of_scope_gets_no_account_whatever_was_found() {
    for remote in [Remote::Absent, Remote::Found(vec![seen("r1", 1)])] {
        let plan = ask(&person(1), None, &remote, &filtered("Title = 'CEO'"));
        assert_eq!(plan.action, Action::Noop, "{plan}");
    }
}

#[test]
fn a_plan_says_when_time_alone_may_change_it() {
    let mut change = person(1);
    change.user.termination_date = Known::Value("2027-01-20".parse().unwrap());
    let target = filtered("terminationDate >= TODAY");
    let next = Some("2027-01-21T00:00:00Z".parse().unwrap());
    for (link, action) in [(None, Action::Look), (Some(linked(true)), Action::Noop)] {
        let plan = ask(&change, link.as_ref(), &Remote::NotLooked, &target);
        assert_eq!((plan.action, plan.next_change), (action, next), "{plan}");
    }
    let zoned = TargetPolicy {
        scope: Scope {
            zone: jiff::tz::TimeZone::get("America/New_York").unwrap(),
            ..target.scope.clone()
        },
        ..target
    };
    let plan = ask(&change, None, &Remote::NotLooked, &zoned);
    assert_eq!(plan.next_change, Some("2027-01-21T05:00:00Z".parse().unwrap()));
    change.user.active = Known::Value(false);
    assert_eq!(ask(&change, None, &Remote::NotLooked, &zoned).next_change, None);
}

#[test]
fn a_manager_is_found_in_the_table() {
    struct One(usher_contract::User);
    impl People for One {
        fn look(&self, key: UserKey, then: &mut dyn FnMut(&usher_contract::User)) {
            if key == self.0.key() {
                then(&self.0);
            }
        }
    }
    let (link, target) = (linked(true), filtered("Manager.Title = 'CEO'"));
    let mut report = person(1);
    report.user.manager_id = Known::Value(user_key(2).user);
    let with = |people: &dyn People| {
        plan(&Question {
            change: &report,
            link: Some(&link),
            remote: &Remote::NotLooked,
            target: &target,
            accounts: &Nobody,
            people,
            reimported_at: None,
            again: false,
            now: at(10),
        })
    };
    assert!(with(&()).to_string().contains("manager unknown"));
    let mut boss = person(2).user;
    assert_eq!(with(&One(boss.clone())).action, Action::Deactivate);
    boss.title = Known::Value("CEO".to_owned());
    assert_eq!(with(&One(boss)).action, Action::Noop);
}
