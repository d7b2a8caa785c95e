//! Every subset of causes, with every setting, over every kind of link: the first cause in the order of the policy decides.
//! What is expected is written apart from the rules.

use usher_contract::Known;
use usher_filter::{Fields, Filter};

use super::*;
use crate::logic::{
    policy::Disposition,
    scope::Scope,
    source::SourceField,
    termination::Termination,
    testing::{Nobody, at, person, policy},
};

/// In the order of the policy.
const CAUSES: [&str; 6] = ["removed", "inactive", "terminated", "frozen", "unlisted", "outOfScope"];
const WORDS: [&str; 6] = [
    "removed from the source",
    "inactive in the source",
    "the termination date has come",
    "frozen in the source",
    "missing from the last complete report",
    "out of scope",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Nothing,
    Intent,
    On,
    Off,
    Uncertain,
}

fn link(kind: Kind) -> Option<Link> {
    let made = ask(&person(1), None, &Remote::Absent, &policy());
    let linked = |active| Link {
        active,
        ..link_after(&made, None, &RemoteId("r1".into()), None, &person(1), &policy(), at(5))
    };
    match kind {
        Kind::Nothing => None,
        Kind::Intent => Some(Link {
            create_intent: true,
            ..Link::unlinked(1, policy().hash)
        }),
        Kind::On => Some(linked(Some(true))),
        Kind::Off => Some(linked(Some(false))),
        Kind::Uncertain => Some(linked(None)),
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

#[test]
fn every_subset_of_causes_over_every_link_and_setting() {
    let has = |mask: u8, place: usize| mask & (1 << place) != 0;
    let mut seen = std::collections::BTreeSet::new();
    for kind in [Kind::Nothing, Kind::Intent, Kind::On, Kind::Off, Kind::Uncertain] {
        let link = link(kind);
        for holding in 0..1_u8 << CAUSES.len() {
            for kept in 0..1_u8 << CAUSES.len() {
                let mut change = person(1);
                let user = &mut change.user;
                user.removed = has(holding, 0);
                user.active = Known::Value(!has(holding, 1));
                // The tests' day is 15 January 2027.
                let date = if has(holding, 2) { "2027-01-14" } else { "2027-02-14" };
                user.termination_date = Known::Value(date.parse().unwrap());
                user.frozen = Known::Value(has(holding, 3));
                user.listed = Known::Value(!has(holding, 4));
                let filter = if has(holding, 5) {
                    "Title = 'CEO'"
                } else {
                    "Title = 'AE'"
                };
                let mut target = TargetPolicy {
                    scope: Scope {
                        filter: Some(Filter::parse(filter, &Fields::default()).unwrap()),
                        ..Scope::default()
                    },
                    ..policy()
                };
                let setting = |place| {
                    if has(kept, place) {
                        Disposition::Keep
                    } else {
                        Disposition::Deactivate
                    }
                };
                let lifecycle = &mut target.lifecycle;
                lifecycle.removed = setting(0);
                lifecycle.inactive = setting(1);
                lifecycle.terminated = setting(2);
                lifecycle.frozen = setting(3);
                lifecycle.unlisted = setting(4);
                lifecycle.out_of_scope = setting(5);
                lifecycle.termination = Some(Termination {
                    field: SourceField::named("terminationDate").unwrap(),
                    end_of_day: true,
                    zone: None,
                    fallback: jiff::tz::TimeZone::UTC,
                });
                let plan = ask(&change, link.as_ref(), &Remote::NotLooked, &target);
                let first = (0..CAUSES.len()).find(|place| has(holding, *place));
                let keeps = first.is_some_and(|place| has(kept, place));
                let expected = match (kind, first, keeps) {
                    (Kind::Nothing, None, _) => Action::Look,
                    (Kind::On, None, _) => Action::Noop,
                    (Kind::Off | Kind::Uncertain, None, _) => Action::Reactivate,
                    // An account may have been made whose answer was lost.
                    (Kind::Intent, _, _) => Action::Look,
                    (Kind::On | Kind::Uncertain, Some(_), false) => Action::Deactivate,
                    (Kind::Nothing | Kind::Off, Some(_), _) | (_, Some(_), true) => Action::Noop,
                };
                let about = format!("{kind:?} {holding:06b} {kept:06b}: {plan}");
                assert_eq!(plan.action, expected, "{about}");
                if let Some(place) = first {
                    assert!(plan.to_string().contains(WORDS[place]), "{about}");
                    // An account that a lost answer may have left is kept once it is found.
                    assert!(!plan.active || plan.kept || keeps && kind == Kind::Intent, "{about}");
                }
                if keeps && matches!(kind, Kind::On) {
                    let key = format!("lifecycle.{} is keep", CAUSES[first.unwrap()]);
                    assert!(plan.kept && plan.to_string().contains(&key), "{about}");
                }
                // Stated: removed (by a change event), inactive, terminated, frozen. Concluded: unlisted, out of scope.
                if expected == Action::Deactivate {
                    assert_eq!(plan.inferred, first >= Some(4), "{about}");
                }
                // Nothing is written but that the account is on or off.
                let written: Vec<&str> = plan.values.keys().map(|path| path.0.as_str()).collect();
                let switched = matches!(expected, Action::Deactivate | Action::Reactivate);
                assert_eq!(written, if switched { &["active"][..] } else { &[] }, "{about}");
                seen.insert((format!("{kind:?}"), first, keeps));
            }
        }
    }
    assert_eq!(seen.len(), 5 * (1 + 6 * 2), "every cause has decided in every way");
}
