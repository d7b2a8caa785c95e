//! Who gets which e-mail address where addresses are converted to the primary domain: two people may become one.
//!
//! Addresses are kept as hashes: a million people cost some sixty bytes each, and only where a target converts.

use std::collections::HashMap;

use jiff::Timestamp;
use usher_contract::{Known, StateHash, User, UserChange, UserKey};
use usher_filter::People;

use super::{
    assignments::{Membership, membership},
    gate::{Passage, gate, with_primary_domain},
    lifecycle::{Standing, standing},
    link::Link,
    policy::TargetPolicy,
    scope::{Belonging, in_sources},
    termination::Judgement,
};

/// Addresses and the people who would have them.
#[derive(Debug, Default)]
pub struct Addresses {
    by_person: HashMap<UserKey, Held>,
    people: HashMap<StateHash, Vec<UserKey>>,
}

/// What somebody would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    address: StateHash,
    /// When they leave, where that is known beforehand.
    until: Option<Timestamp>,
}

impl Addresses {
    /// Takes the newest state of a person; gives everybody whose answer changes by it, except the person.
    pub fn note(
        &mut self,
        change: &UserChange,
        link: Option<&Link>,
        target: &TargetPolicy,
        people: &dyn People,
        now: Timestamp,
    ) -> Vec<UserKey> {
        self.put(change.user.key(), held(change, link, target, people, now))
    }

    /// There is no state of this person (any more).
    pub fn forget(&mut self, user: UserKey) -> Vec<UserKey> {
        self.put(user, None)
    }

    /// Somebody else who would have the same address, and when that ends, as far as it is known; of several the lowest key, so
    /// that the answer does not depend on who came first.
    #[must_use]
    pub fn sharing(&self, user: &UserKey, now: Timestamp) -> Option<(UserKey, Option<Timestamp>)> {
        let address = self.by_person.get(user)?.address;
        let others = self.people.get(&address)?.iter().filter(|other| *other != user);
        let until = |other: &UserKey| self.by_person.get(other).and_then(|held| held.until);
        others
            .map(|other| (*other, until(other)))
            .filter(|(_, until)| until.is_none_or(|until| now < until))
            .min()
    }

    fn put(&mut self, user: UserKey, held: Option<Held>) -> Vec<UserKey> {
        let before = match held {
            Some(held) => self.by_person.insert(user, held),
            None => self.by_person.remove(&user),
        };
        if before == held {
            return Vec::new();
        }
        let mut touched = Vec::new();
        if let Some(Held { address, .. }) = before
            && let Some(people) = self.people.get_mut(&address)
        {
            people.retain(|other| *other != user);
            touched.extend(people.iter().copied());
            if people.is_empty() {
                self.people.remove(&address);
            }
        }
        if let Some(Held { address, .. }) = held {
            let people = self.people.entry(address).or_default();
            touched.extend(people.iter().copied());
            people.push(user);
        }
        touched.sort();
        touched.dedup();
        touched
    }
}

/// The address that a person would have; nobody who is not to have an account takes one from others: who has left, is out of
/// scope, or lacks what a new account needs. (What somebody's account *holds* nobody else gets: `matching`.)
fn held(
    change: &UserChange,
    link: Option<&Link>,
    target: &TargetPolicy,
    people: &dyn People,
    now: Timestamp,
) -> Option<Held> {
    target.gate.convert_to.as_ref()?;
    let user = &change.user;
    let termination = target.lifecycle.termination.as_ref();
    let terminated = termination.map_or(Judgement::None, |rule| rule.judge(change, link, now));
    let linked = link.is_some_and(|link| link.remote_id.is_some());
    let belongs = in_sources(user, target)
        && standing(user, &target.lifecycle, &terminated) == Standing::Present
        && target.scope.judge(user, people, now).0 == Belonging::In
        && !matches!(membership(user, target, people, now), Ok((Membership::None, _)))
        && (linked || !matches!(gate(user, &target.gate), Passage::Closed(_)));
    if !belongs {
        return None;
    }
    let until = match terminated {
        Judgement::At(moment) => Some(moment),
        Judgement::None | Judgement::Over | Judgement::Stale(_) | Judgement::Unknown => None,
    };
    Some(Held {
        address: address(user, target)?,
        until,
    })
}

fn address(user: &User, target: &TargetPolicy) -> Option<StateHash> {
    match &with_primary_domain(user, &target.gate).email {
        Known::Value(email) if !email.trim().is_empty() => Some(StateHash::of_text(&email.trim().to_lowercase())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::{
        scope::Everybody,
        source::SourceField,
        termination::Termination,
        testing::{Change, at, person, policy, user_key},
    };

    fn note(addresses: &mut Addresses, change: &UserChange, target: &TargetPolicy) -> Vec<UserKey> {
        addresses.note(change, None, target, &Everybody::default(), at(0))
    }

    fn with_email(n: u32, email: &str) -> UserChange {
        let mut change = person(n);
        change.user.email = Known::Value(email.to_owned());
        change
    }

    fn other(addresses: &Addresses, user: &UserKey) -> Option<UserKey> {
        addresses.sharing(user, at(0)).map(|(other, _)| other)
    }

    #[test]
    fn two_people_who_become_one_address_know_of_each_other_until_one_has_another() {
        let mut target = policy();
        target.gate.convert_to = Some("acme.com".into());
        let (mut addresses, one, two) = (Addresses::default(), user_key(1), user_key(2));
        assert_eq!(note(&mut addresses, &with_email(1, "Ada@old.example"), &target), []);
        assert_eq!(other(&addresses, &one), None);
        assert_eq!(note(&mut addresses, &with_email(2, "ada@ACME.com"), &target), [one]);
        assert_eq!(
            (other(&addresses, &one), other(&addresses, &two)),
            (Some(two), Some(one))
        );
        // The same again is no news.
        assert_eq!(note(&mut addresses, &with_email(2, "ada@acme.com "), &target), []);
        assert_eq!(note(&mut addresses, &with_email(2, "ada.b@acme.com"), &target), [one]);
        assert_eq!(other(&addresses, &one), None);
        note(&mut addresses, &with_email(2, "ada@acme.com"), &target);
        assert_eq!(addresses.forget(two), [one]);
        // Whoever has left takes no address from anybody.
        assert_eq!(
            note(&mut addresses, &with_email(2, "ada@acme.com").inactive(), &target),
            []
        );
        assert_eq!(other(&addresses, &one), None);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_converted() {
        let mut addresses = Addresses::default();
        note(&mut addresses, &with_email(1, "ada@acme.com"), &policy());
        note(&mut addresses, &with_email(2, "ada@acme.com"), &policy());
        assert!(addresses.people.is_empty() && other(&addresses, &user_key(1)).is_none());
    }

    #[test]
    fn whoever_leaves_on_a_date_takes_the_address_until_then_and_nobody_who_gets_no_account_takes_one() {
        let mut target = policy();
        target.gate.convert_to = Some("acme.com".into());
        target.gate.require = vec![SourceField::named("givenName").unwrap()];
        target.lifecycle.termination = Some(Termination {
            field: SourceField::named("terminationDate").unwrap(),
            end_of_day: true,
            zone: None,
            fallback: jiff::tz::TimeZone::UTC,
        });
        let (one, two) = (user_key(1), user_key(2));
        let leaving = |day: &str| {
            let mut change = with_email(2, "ada@acme.com");
            change.user.termination_date = Known::Value(day.parse().unwrap());
            change
        };
        let mut addresses = Addresses::default();
        let mut staying = with_email(1, "Ada@old.example");
        staying.user.termination_date = Known::Empty;
        note(&mut addresses, &staying, &target);
        // The tests' time is 15 January 2027: gone since yesterday, although the source still says active.
        assert_eq!(note(&mut addresses, &leaving("2027-01-14"), &target), []);
        assert_eq!(other(&addresses, &one), None);
        note(&mut addresses, &leaving("2027-01-20"), &target);
        let end = "2027-01-21T00:00:00Z".parse().unwrap();
        assert_eq!(addresses.sharing(&one, at(0)), Some((two, Some(end))));
        assert_eq!(addresses.sharing(&one, end), None, "then they are gone");
        assert_eq!(addresses.sharing(&two, end), Some((one, None)));
        // The date is taken back: the answer of the other is another one.
        let mut back = leaving("2027-01-20");
        back.user.termination_date = Known::Empty;
        assert_eq!(note(&mut addresses, &back, &target), [one]);
        assert_eq!(addresses.sharing(&one, end), Some((two, None)));
        // Without an account, and without what a new one needs.
        back.user.given_name = Known::Empty;
        note(&mut addresses, &back, &target);
        assert_eq!(other(&addresses, &one), None);
        let linked = Link {
            remote_id: Some(crate::logic::account::RemoteId("r2".into())),
            ..Link::unlinked(1, target.hash)
        };
        addresses.note(&back, Some(&linked), &target, &(), at(0));
        assert_eq!(
            other(&addresses, &one),
            Some(two),
            "an account that is there is left alone"
        );
    }
}
