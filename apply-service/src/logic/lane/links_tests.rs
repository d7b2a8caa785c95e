//! The packed links are a map by person and by account.

use proptest::{collection, option, prelude::*};

use super::*;
use crate::logic::{link::packed::tests::link, testing::user_key};

/// The same with plain maps.
#[derive(Default)]
struct Truth {
    links: HashMap<UserKey, Link>,
    holders: HashMap<RemoteId, UserKey>,
}

impl Truth {
    fn put(&mut self, user: UserKey, link: Option<Link>) {
        let before = self.links.remove(&user).and_then(|link| link.remote_id);
        if let Some(link) = link {
            if let Some(account) = &link.remote_id {
                self.holders.insert(account.clone(), user);
            }
            self.links.insert(user, link);
        }
        let after = self.links.get(&user).and_then(|link| link.remote_id.as_ref());
        if let Some(before) = before
            && after != Some(&before)
            && self.holders.get(&before) == Some(&user)
        {
            self.holders.remove(&before);
        }
    }
}

/// Accounts that people take from each other.
fn contested(link: Link, account: Option<u8>) -> Link {
    Link {
        remote_id: account.map(|account| RemoteId(format!("r{account}"))),
        ..link
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn links_are_a_map(acts in collection::vec((0..6_u32, option::weighted(0.8, (link(), option::of(0..4_u8)))), 1..40)) {
        let (mut links, mut truth) = (Links::default(), Truth::default());
        for (user, link) in acts {
            let link = link.map(|(link, account)| contested(link, account));
            links.put(user_key(user), link.clone());
            truth.put(user_key(user), link);
            for account in (0..4).map(|account| RemoteId(format!("r{account}"))) {
                prop_assert_eq!(links.held_by(&account), truth.holders.get(&account).copied());
            }
            for user in (0..6).map(user_key) {
                let known = truth.links.get(&user);
                prop_assert_eq!(&links.get(&user), &known.cloned());
                prop_assert_eq!(links.account_of(&user), known.and_then(|link| link.remote_id.clone()));
                prop_assert_eq!(links.version(&user), known.map(|link| link.user_version));
                prop_assert_eq!(links.glance(&user), known.map(Glance::of));
            }
            prop_assert_eq!(links.iter().count(), truth.links.len());
            prop_assert!(links.iter().all(|(user, link)| truth.links[user] == link));
            for state in ["settled", "retrying", "rejected", "skipped", "held"] {
                let count = truth.links.values().filter(|link| word(&link.state) == state).count();
                prop_assert_eq!(links.in_state(state), count);
            }
            let mut held = HashMap::<&String, usize>::new();
            for link in truth.links.values() {
                if let LinkState::Held { set, .. } = &link.state {
                    *held.entry(set).or_default() += 1;
                }
            }
            prop_assert_eq!(links.held.len(), held.len());
            prop_assert!(held.into_iter().all(|(set, count)| links.held_in(set) == count));
        }
    }
}

fn linked(account: &str) -> Option<Link> {
    let link = Link::unlinked(1, StateHash::of_text("c"));
    Some(Link {
        remote_id: Some(RemoteId(account.to_owned())),
        active: Some(true),
        ..link
    })
}

#[test]
fn a_row_takes_64_bytes_beside_its_link() {
    assert_eq!(size_of::<Row>(), 64);
}

#[test]
fn whoever_rests_is_stirred_by_another_link_and_by_an_account_that_moves() {
    let (mut links, [one, two]) = (Links::default(), [1, 2].map(user_key));
    links.put(one, linked("r1"));
    assert!(!links.rests(&one), "nobody has looked yet");
    links.rest(&one);
    links.put(two, linked("r2"));
    assert!(
        links.rests(&one),
        "a new account of somebody else is told to those who wait for it"
    );
    links.put(two, linked("r3"));
    assert!(!links.rests(&one), "their manager may have another account");
    links.rest(&one);
    links.put(two, None);
    assert!(!links.rests(&one));
    links.rest(&one);
    links.put(one, linked("r1"));
    assert!(!links.rests(&one), "the link is another one");
    links.rest(&one);
    links.stir(&one);
    assert!(!links.rests(&one));
    links.rest(&two);
    assert!(!links.rests(&two), "nothing is known of them");
}

#[test]
fn who_may_be_on_is_awaited_until_they_were_fed() {
    let mut links = Links::default();
    for n in 1..=3 {
        links.put(user_key(n), linked(&format!("r{n}")));
    }
    let off = linked("r4").map(|link| Link {
        active: Some(false),
        ..link
    });
    links.put(user_key(4), off);
    links.await_everybody();
    links.was_fed(&user_key(1));
    // What is recorded of somebody is not that they were fed.
    links.put(user_key(2), None);
    links.put(user_key(3), linked("r3"));
    assert_eq!(links.take_awaited(), [user_key(3)]);
    assert!(links.take_awaited().is_empty());
}
