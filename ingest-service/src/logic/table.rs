//! The published state of everyone, as the writer holds it in memory.
//!
//! What is asked of many people at once (who is removed, who was touched, who was seen) stands in the [`Head`]; the
//! whole person is unpacked only for the one that an observation concerns.
//!
//! Made for a million people: a person is a row of fixed size and one allocation of packed bytes. Values that repeat are
//! kept once and counted (`usher_packed`). `benches/README.md` says how many bytes that makes.

mod row;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;
use jiff::Timestamp;
use serde::Deserialize;
use usher_contract::{Known, User, UserChange, UserId, UserKey};
use usher_packed::{Loose, Pool, View, give_back, unpack};

use self::row::{Key, Row};
use super::polls::mark;

/// What is known about a person without unpacking the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Version of the last message.
    pub version: u64,
    /// Commit of the last merged event, by the source's clock.
    pub committed_at: Option<Timestamp>,
    /// The newest read that confirmed or gave the state, by the source's clock.
    pub read_at: Option<Timestamp>,
    /// When an event last touched the person, in inputs of this writer; 0 when restored.
    pub touched: u64,
    /// The last survey that had the person, by its number; 0 for none.
    pub seen: u32,
    /// Whether the person is removed. Follows the state.
    pub removed: bool,
    /// Whether the person is known to be active. Follows the state.
    pub active: bool,
    /// Whether the person is known not to be listed. Follows the state.
    pub unlisted: bool,
    /// Whether the log-in is frozen, when that is known. Follows the state.
    pub frozen: Option<bool>,
    /// The groups as a number, so that a poll finds who differs without unpacking anybody; 0: unknown. Follows the state.
    pub groups: u64,
    /// The permission sets, likewise. Follows the state.
    pub permission_sets: u64,
}

/// The last state of one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The state.
    pub user: User,
    /// What is known about it.
    pub head: Head,
}

impl Published {
    /// A state and its head; what follows from the state is filled in.
    #[must_use]
    pub fn new(user: User, head: Head) -> Self {
        let head = Head {
            removed: user.removed,
            active: user.active == Known::Value(true),
            unlisted: user.listed == Known::Value(false),
            frozen: user.frozen.value().copied(),
            groups: mark(&user.groups),
            permission_sets: mark(&user.permission_sets),
            ..head
        };
        Self { user, head }
    }

    /// As read back from the topic.
    #[must_use]
    pub fn restored(change: UserChange) -> Self {
        let head = Head {
            version: change.version,
            committed_at: change.cause.committed_at,
            read_at: change.cause.read_at,
            ..Head::default()
        };
        Self::new(change.user, head)
    }
}

/// The last state of one person as the table keeps it: made from a message on whatever thread reads it, kept by the
/// table's own.
#[derive(Debug)]
pub struct Packed {
    id: UserId,
    head: Head,
    state: Loose,
}

impl Packed {
    /// From a state.
    #[must_use]
    pub fn new(person: &Published) -> Self {
        Self::of_view(&View::of(&person.user), person.head)
    }

    /// From the value of a message of the topic; `None` when that is not a user change of this key.
    #[must_use]
    pub fn of_message(key: UserKey, value: &[u8]) -> Option<Self> {
        /// Of a `UserChange`, what the table keeps.
        #[derive(Deserialize)]
        struct Message<'a> {
            version: u64,
            #[serde(borrow)]
            user: View<'a>,
            cause: Times,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Times {
            #[serde(default)]
            committed_at: Option<Timestamp>,
            #[serde(default)]
            read_at: Option<Timestamp>,
        }
        // As text: bytes would be checked string by string.
        let text = std::str::from_utf8(value).ok()?;
        let Message { version, user, cause } = serde_json::from_str(text).ok()?;
        if UserKey::new(user.org_id, user.id) != key {
            return None;
        }
        let head = Head {
            version,
            committed_at: cause.committed_at,
            read_at: cause.read_at,
            ..Head::default()
        };
        Some(Self::of_view(&user, head))
    }

    fn of_view(view: &View<'_>, head: Head) -> Self {
        Self {
            id: view.id,
            head: Head {
                removed: view.removed,
                active: view.active == Known::Value(true),
                unlisted: view.listed == Known::Value(false),
                frozen: view.frozen.value().copied(),
                groups: mark(&view.groups()),
                permission_sets: mark(&view.permission_sets()),
                ..head
            },
            state: Loose::of(view),
        }
    }
}

/// Everyone.
#[derive(Clone, Default)]
pub struct Table {
    /// Rows in no order. Whoever is removed leaves the place to the last one.
    rows: Vec<Row>,
    /// Places in `rows` by person.
    index: HashTable<u32>,
    /// How many of them are removed.
    removed: usize,
    hasher: RandomState,
    /// What repeats.
    pool: Pool,
    scratch: Vec<u8>,
}

impl Table {
    /// The person, unpacked.
    #[must_use]
    pub fn get(&self, id: UserId) -> Option<Published> {
        let row = &self.rows[self.place(Key::of(id))?];
        Some(Published {
            user: unpack(id, &row.state, &self.pool).0,
            head: row.head(),
        })
    }
    /// What is known about the person.
    #[must_use]
    pub fn head(&self, id: UserId) -> Option<Head> {
        self.place(Key::of(id)).map(|place| self.rows[place].head())
    }
    /// Changes what is known about a person who is there.
    pub fn update_head(&mut self, id: UserId, change: impl FnOnce(&mut Head)) {
        if let Some(place) = self.place(Key::of(id)) {
            let row = &mut self.rows[place];
            let mut head = row.head();
            self.removed -= usize::from(head.removed);
            change(&mut head);
            self.removed += usize::from(head.removed);
            row.set_head(&head);
        }
    }
    /// Changes what is known about everyone.
    pub fn update_heads(&mut self, mut change: impl FnMut(UserId, &mut Head)) {
        self.removed = 0;
        for row in &mut self.rows {
            let mut head = row.head();
            change(row.key.user(), &mut head);
            self.removed += usize::from(head.removed);
            row.set_head(&head);
        }
    }
    /// Puts the person in the place of what was there.
    pub fn insert(&mut self, id: UserId, person: Published) {
        let packed = Packed::new(&person);
        self.put(Packed { id, ..packed });
    }
    /// As [`Table::insert`], with the work of packing done already.
    pub fn put(&mut self, person: Packed) {
        let key = Key::of(person.id);
        let known = self.place(key);
        let before = known.map(|place| &*self.rows[place].state);
        // The new state first: what both use stays in the pool.
        let state = person.state.settle(before, &mut self.pool, &mut self.scratch);
        let row = Row::new(key, &person.head, state);
        self.removed += usize::from(row.is_removed());
        if let Some(place) = known {
            let last = std::mem::replace(&mut self.rows[place], row);
            self.removed -= usize::from(last.is_removed());
            give_back(&last.state, &mut self.pool);
            return;
        }
        let place = u32::try_from(self.rows.len()).expect("**Invariant**: four billion people do not fit in memory");
        self.rows.push(row);
        let Self {
            rows, index, hasher, ..
        } = self;
        index.insert_unique(hasher.hash_one(key), place, |place| {
            hasher.hash_one(rows[*place as usize].key)
        });
    }
    /// Forgets the person.
    pub fn remove(&mut self, id: UserId) {
        let key = Key::of(id);
        let Self {
            rows,
            index,
            hasher,
            pool,
            removed,
            ..
        } = self;
        let found = index.find_entry(hasher.hash_one(key), |place| rows[*place as usize].key == key);
        let Ok(found) = found else { return };
        let (place, _) = found.remove();
        let moved = rows.len() - 1;
        let gone = rows.swap_remove(place as usize);
        *removed -= usize::from(gone.is_removed());
        give_back(&gone.state, pool);
        // The last row has moved into the gap.
        if let Some(row) = rows.get(place as usize)
            && let Some(entry) = index.find_mut(hasher.hash_one(row.key), |place| *place as usize == moved)
        {
            *entry = place;
        }
    }
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// How many of them are not removed. Kept as a number: it is asked for at every look at a held set.
    #[must_use]
    pub fn present(&self) -> usize {
        self.rows.len() - self.removed
    }
    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// What is known about everyone, in no order.
    pub fn heads(&self) -> impl Iterator<Item = (UserId, Head)> + '_ {
        self.rows.iter().map(|row| (row.key.user(), row.head()))
    }

    fn place(&self, key: Key) -> Option<usize> {
        let found = self
            .index
            .find(self.hasher.hash_one(key), |place| self.rows[*place as usize].key == key);
        found.map(|place| *place as usize)
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
#[path = "table_tests.rs"]
mod tests;
