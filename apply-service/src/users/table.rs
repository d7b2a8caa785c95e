//! Everybody's newest state, packed: a row of fixed size and one allocation per person, unpacked when it is asked for.
//!
//! Messages are read and packed on the reading threads; the table only puts shared values into its pool. By the way it tells what
//! differs from the state before, so that whoever uses none of it need not look.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;
use serde::Deserialize;
use serde_json::Value;
use usher_contract::{Cause, ChangeKind, UserChange, UserKey};
use usher_packed::{Differences, Loose, Pool, View, give_back, unpack};

use super::{Malformed, about::About};

/// A message, read and packed.
pub(super) struct Packed {
    key: UserKey,
    version: u64,
    state: Loose,
}

impl Packed {
    /// The value of a record of this key.
    pub(super) fn of_message(key: UserKey, value: &[u8]) -> Result<Self, Malformed> {
        /// A `UserChange` whose texts stay where they are.
        #[derive(Deserialize)]
        struct Message<'a> {
            version: u64,
            #[serde(borrow)]
            user: View<'a>,
            kind: ChangeKind,
            #[serde(default)]
            changed: Vec<String>,
            #[serde(default)]
            before: Option<BTreeMap<String, Value>>,
            cause: Cause,
        }
        // As text: bytes would be checked string by string.
        let text = std::str::from_utf8(value).map_err(|_| Malformed::Content)?;
        let message: Message<'_> = serde_json::from_str(text).map_err(|_| Malformed::Content)?;
        if UserKey::new(message.user.org_id, message.user.id) != key {
            return Err(Malformed::OtherKey);
        }
        let mut state = Loose::of(&message.user);
        let about = About {
            kind: message.kind,
            changed: message.changed,
            before: message.before,
            cause: message.cause,
        };
        about.put(state.tail());
        Ok(Self {
            key,
            version: message.version,
            state,
        })
    }
}

impl fmt::Debug for Packed {
    /// Whose, not what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.version, self.key)
    }
}

#[derive(Debug)]
struct Row {
    state: Box<[u8]>,
    version: u64,
    key: UserKey,
}

/// Everybody.
#[derive(Default)]
pub(super) struct Table {
    /// In no order. Whoever is removed leaves the place to the last one.
    rows: Vec<Row>,
    /// Places in `rows` by person.
    index: HashTable<u32>,
    hasher: RandomState,
    pool: Pool,
    scratch: Vec<u8>,
}

impl Table {
    fn place(&self, key: &UserKey) -> Option<usize> {
        let found = self.index.find(self.hasher.hash_one(key), |place| {
            self.rows[*place as usize].key == *key
        });
        found.map(|place| *place as usize)
    }

    /// The newest state of a person, unpacked.
    pub(super) fn get(&self, key: &UserKey) -> Option<UserChange> {
        let row = &self.rows[self.place(key)?];
        let (user, rest) = unpack(key.user, &row.state, &self.pool);
        Some(About::of(rest).with(row.version, user))
    }

    /// Its version.
    pub(super) fn version(&self, key: &UserKey) -> Option<u64> {
        self.place(key).map(|place| self.rows[place].version)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = UserKey> {
        self.rows.iter().map(|row| row.key)
    }

    /// Puts a newer state, and says what differs from the one before; `None` when it is not newer.
    pub(super) fn put(&mut self, message: &Packed) -> Option<Differences> {
        let (key, hash) = (message.key, self.hasher.hash_one(message.key));
        let known = self.place(&key);
        let Self {
            rows,
            index,
            hasher,
            pool,
            scratch,
        } = self;
        if let Some(place) = known {
            let row = &mut rows[place];
            if row.version >= message.version {
                return None;
            }
            let differing = message.state.differences(&row.state, pool);
            // The new state first: what both use stays in the pool.
            let state = message.state.settle(Some(&row.state), pool, scratch);
            let before = std::mem::replace(&mut row.state, state);
            give_back(&before, pool);
            row.version = message.version;
            return Some(differing);
        }
        let place = u32::try_from(rows.len()).expect("**Invariant**: four billion people do not fit in memory");
        let state = message.state.settle(None, pool, scratch);
        rows.push(Row {
            state,
            version: message.version,
            key,
        });
        index.insert_unique(hash, place, |place| hasher.hash_one(rows[*place as usize].key));
        Some(Differences::EVERYTHING)
    }

    /// Forgets a person. Whether there was one.
    pub(super) fn remove(&mut self, key: &UserKey) -> bool {
        let hash = self.hasher.hash_one(key);
        let Self {
            rows,
            index,
            hasher,
            pool,
            ..
        } = self;
        let Ok(found) = index.find_entry(hash, |place| rows[*place as usize].key == *key) else {
            return false;
        };
        let (place, _) = found.remove();
        let moved = rows.len() - 1;
        let gone = rows.swap_remove(place as usize);
        give_back(&gone.state, pool);
        // The last row has moved into the gap.
        if let Some(row) = rows.get(place as usize)
            && let Some(entry) = index.find_mut(hasher.hash_one(row.key), |place| *place as usize == moved)
        {
            *entry = place;
        }
        true
    }
}

impl fmt::Debug for Table {
    /// How many, not who.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("people", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection, prelude::*};
    use usher_contract::FieldSet;

    use super::{super::about::tests::change, *};
    use crate::logic::testing::{Change, person};

    fn packed(change: &UserChange) -> Packed {
        Packed::of_message(change.user.key(), &serde_json::to_vec(change).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn a_message_is_kept_as_it_is_read(change in change()) {
            let message = serde_json::to_vec(&change).unwrap();
            let read: UserChange = serde_json::from_slice(&message).unwrap();
            let mut table = Table::default();
            prop_assert_eq!(table.put(&packed(&change)), Some(Differences::EVERYTHING));
            prop_assert_eq!(table.get(&change.user.key()), Some(read));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_table_is_a_map_of_the_newest(acts in collection::vec((change(), 0..4_u64, any::<bool>()), 1..24)) {
            let (mut table, mut map) = (Table::default(), HashMap::<UserKey, UserChange>::new());
            for (mut change, version, removes) in acts {
                change.version = version;
                let key = change.user.key();
                if removes {
                    prop_assert_eq!(table.remove(&key), map.remove(&key).is_some());
                    continue;
                }
                // As JSON has it: numbers lose their last bit.
                let change: UserChange = serde_json::from_slice(&serde_json::to_vec(&change).unwrap()).unwrap();
                let newer = map.get(&key).is_none_or(|known| known.version < version);
                prop_assert_eq!(table.put(&packed(&change)).is_some(), newer);
                if newer {
                    map.insert(key, change);
                }
            }
            prop_assert_eq!(table.len(), map.len());
            for (key, change) in &map {
                prop_assert_eq!(table.version(key), Some(change.version));
                prop_assert_eq!(&table.get(key), &Some(change.clone()));
            }
            for key in table.keys().collect::<Vec<_>>() {
                prop_assert!(map.contains_key(&key) && table.remove(&key));
            }
            prop_assert_eq!((table.len(), table.index.len(), table.pool.len()), (0, 0, 0));
        }
    }

    #[test]
    fn what_differs_is_told_of_a_newer_state_only() {
        let mut table = Table::default();
        table.put(&packed(&person(1).version(3)));
        let titled = |version| person(1).version(version).titled("CEO");
        assert_eq!(table.put(&packed(&titled(3))), None);
        assert_eq!(table.put(&packed(&person(1).version(4))), Some(Differences::NONE));
        let title = Differences {
            fields: FieldSet::of(["title"]),
            ..Differences::NONE
        };
        assert_eq!(table.put(&packed(&titled(5))), Some(title));
        table.remove(&person(1).user.key());
        assert_eq!(table.put(&packed(&titled(1))), Some(Differences::EVERYTHING));
    }

    #[test]
    fn a_row_takes_64_bytes_beside_its_state() {
        assert_eq!(size_of::<Row>(), 64);
    }
}
