//! Who gets which e-mail address where addresses are converted to the primary domain: two people may become one.
//!
//! Addresses are kept as hashes: a million people cost some sixty bytes each, and only where a target converts.

use std::collections::HashMap;

use jiff::Timestamp;
use usher_contract::{Known, StateHash, User, UserKey};
use usher_filter::People;

use super::{
    gate::with_primary_domain,
    lifecycle::{Standing, standing},
    policy::TargetPolicy,
    scope::{Belonging, in_sources},
    termination::Judgement,
};

/// Addresses and the people who would have them.
#[derive(Debug, Default)]
pub struct Addresses {
    by_person: HashMap<UserKey, StateHash>,
    people: HashMap<StateHash, Vec<UserKey>>,
}

impl Addresses {
    /// Takes the newest state of a person; gives everybody whose answer changes by it, except the person.
    pub fn note(&mut self, user: &User, target: &TargetPolicy, people: &dyn People, now: Timestamp) -> Vec<UserKey> {
        self.put(user.key(), address(user, target, people, now))
    }

    /// There is no state of this person (any more).
    pub fn forget(&mut self, user: UserKey) -> Vec<UserKey> {
        self.put(user, None)
    }

    /// Somebody else who would have the same address; the lowest key, so that the answer does not depend on who came first.
    #[must_use]
    pub fn sharing(&self, user: &UserKey) -> Option<UserKey> {
        let address = self.by_person.get(user)?;
        self.people
            .get(address)?
            .iter()
            .filter(|other| *other != user)
            .min()
            .copied()
    }

    fn put(&mut self, user: UserKey, address: Option<StateHash>) -> Vec<UserKey> {
        let before = match address {
            Some(address) => self.by_person.insert(user, address),
            None => self.by_person.remove(&user),
        };
        if before == address {
            return Vec::new();
        }
        let mut touched = Vec::new();
        if let Some(before) = before
            && let Some(people) = self.people.get_mut(&before)
        {
            people.retain(|other| *other != user);
            touched.extend(people.iter().copied());
            if people.is_empty() {
                self.people.remove(&before);
            }
        }
        if let Some(address) = address {
            let people = self.people.entry(address).or_default();
            touched.extend(people.iter().copied());
            people.push(user);
        }
        touched
    }
}

/// The address that a person would have; nobody who is not to have an account takes one from others.
fn address(user: &User, target: &TargetPolicy, people: &dyn People, now: Timestamp) -> Option<StateHash> {
    target.gate.convert_to.as_ref()?;
    let belongs = in_sources(user, target)
        && standing(user, &target.lifecycle, &Judgement::None) == Standing::Present
        && target.scope.judge(user, people, now).0 == Belonging::In;
    if !belongs {
        return None;
    }
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
        testing::{Change, at, person, policy, user_key},
    };

    fn note(addresses: &mut Addresses, user: &User, target: &TargetPolicy) -> Vec<UserKey> {
        addresses.note(user, target, &Everybody::default(), at(0))
    }

    fn with_email(n: u32, email: &str) -> User {
        let mut user = person(n).user;
        user.email = Known::Value(email.to_owned());
        user
    }

    #[test]
    fn two_people_who_become_one_address_know_of_each_other_until_one_has_another() {
        let mut target = policy();
        target.gate.convert_to = Some("acme.com".into());
        let (mut addresses, one, two) = (Addresses::default(), user_key(1), user_key(2));
        assert_eq!(note(&mut addresses, &with_email(1, "Ada@old.example"), &target), []);
        assert_eq!(addresses.sharing(&one), None);
        assert_eq!(note(&mut addresses, &with_email(2, "ada@ACME.com"), &target), [one]);
        assert_eq!(
            (addresses.sharing(&one), addresses.sharing(&two)),
            (Some(two), Some(one))
        );
        // The same again is no news.
        assert_eq!(note(&mut addresses, &with_email(2, "ada@acme.com "), &target), []);
        assert_eq!(note(&mut addresses, &with_email(2, "ada.b@acme.com"), &target), [one]);
        assert_eq!(addresses.sharing(&one), None);
        note(&mut addresses, &with_email(2, "ada@acme.com"), &target);
        assert_eq!(addresses.forget(two), [one]);
        // Whoever has left takes no address from anybody.
        let mut left = person(2).inactive().user;
        left.email = Known::Value("ada@acme.com".to_owned());
        assert_eq!(note(&mut addresses, &left, &target), []);
        assert_eq!(addresses.sharing(&one), None);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_converted() {
        let mut addresses = Addresses::default();
        note(&mut addresses, &with_email(1, "ada@acme.com"), &policy());
        note(&mut addresses, &with_email(2, "ada@acme.com"), &policy());
        assert!(addresses.people.is_empty() && addresses.sharing(&user_key(1)).is_none());
    }
}
