//! The packed table holds what was put into it, and nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use proptest::{collection, option, prelude::*};
use usher_packed::arbitrary::{moment, user, user_id};

use super::*;

prop_compose! {
    fn head()(
        version in any::<u64>(),
        (committed_at, read_at) in (option::of(moment()), option::of(moment())),
        (touched, seen, removed) in (any::<u64>(), any::<u32>(), any::<bool>()),
    ) -> Head {
        Head { version, committed_at, read_at, touched, seen, removed, ..Head::default() }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Insert(Box<Published>),
    Remove(UserId),
    UpdateHead(UserId, Head),
    SeeEveryone(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (user(), head()).prop_map(|(user, head)| Act::Insert(Box::new(Published::new(user, head)))),
        2 => user_id().prop_map(Act::Remove),
        2 => (user_id(), head()).prop_map(|(id, head)| Act::UpdateHead(id, head)),
        1 => any::<u32>().prop_map(Act::SeeEveryone),
    ]
}

proptest! {
    #[test]
    fn a_message_is_packed_as_the_user_in_it(user in user(), head in head()) {
        let person = Published::new(user, head);
        let change = serde_json::json!({
            "version": head.version,
            "kind": "updated",
            "changed": ["email"],
            "user": person.user,
            "cause": {"origin": "query", "observedAt": Timestamp::UNIX_EPOCH, "committedAt": head.committed_at, "readAt": head.read_at},
        });
        let message = serde_json::to_vec(&change).unwrap();
        let restored = Published::restored(serde_json::from_slice(&message).unwrap());
        let mut table = Table::default();
        table.put(Packed::of_message(person.user.key(), &message).unwrap());
        prop_assert_eq!(table.get(person.user.id), Some(restored));
        let other = UserKey::new(person.user.org_id, UserId::try_new("005ZZZZZZZZZZZZ").unwrap());
        prop_assert!(Packed::of_message(other, &message).is_none());
    }
}

proptest! {
    // Each case draws some twenty people.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_table_is_a_map(acts in collection::vec(act(), 1..40)) {
        let (mut table, mut map) = (Table::default(), HashMap::<UserId, Published>::new());
        for act in acts {
            match act {
                Act::Insert(person) => {
                    table.insert(person.user.id, (*person).clone());
                    map.insert(person.user.id, *person);
                }
                Act::Remove(id) => {
                    table.remove(id);
                    map.remove(&id);
                }
                Act::UpdateHead(id, head) => {
                    table.update_head(id, |found| *found = head);
                    map.entry(id).and_modify(|person| person.head = head);
                }
                Act::SeeEveryone(number) => {
                    table.update_heads(|_, head| head.seen = number);
                    map.values_mut().for_each(|person| person.head.seen = number);
                }
            }
        }
        prop_assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
        let present = map.values().filter(|person| !person.head.removed).count();
        prop_assert_eq!(table.present(), present);
        let heads: HashMap<UserId, Head> = table.heads().collect();
        prop_assert_eq!(heads.len(), map.len());
        for (id, person) in &map {
            prop_assert_eq!(heads[id], person.head);
            prop_assert_eq!(table.head(*id), Some(person.head));
            prop_assert_eq!(&table.get(*id), &Some(person.clone()));
        }
        for id in map.into_keys() {
            table.remove(id);
        }
        prop_assert_eq!((table.len(), table.index.len(), table.pool.len()), (0, 0, 0));
        prop_assert_eq!(table.present(), 0);
    }
}
