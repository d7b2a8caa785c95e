//! The published state of everyone, as the writer holds it in memory.
//!
//! What is asked of many people at once (who is removed, who was touched, who was seen) stands in the [`Head`]; the
//! whole person is unpacked only for the one that an observation concerns.

use std::collections::HashMap;

use jiff::Timestamp;
use usher_contract::{Known, User, UserChange, UserId};

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

/// Everyone.
#[derive(Debug, Clone, Default)]
pub struct Table(HashMap<UserId, Published>);

impl Table {
    /// The person, unpacked.
    #[must_use]
    pub fn get(&self, id: UserId) -> Option<Published> {
        self.0.get(&id).cloned()
    }
    /// What is known about the person.
    #[must_use]
    pub fn head(&self, id: UserId) -> Option<Head> {
        self.0.get(&id).map(|person| person.head)
    }
    /// Changes what is known about a person who is there.
    pub fn update_head(&mut self, id: UserId, change: impl FnOnce(&mut Head)) {
        if let Some(person) = self.0.get_mut(&id) {
            change(&mut person.head);
        }
    }
    /// Changes what is known about everyone.
    pub fn update_heads(&mut self, mut change: impl FnMut(UserId, &mut Head)) {
        for (id, person) in &mut self.0 {
            change(*id, &mut person.head);
        }
    }
    /// Puts the person in the place of what was there.
    pub fn insert(&mut self, id: UserId, person: Published) {
        self.0.insert(id, person);
    }
    /// Forgets the person.
    pub fn remove(&mut self, id: UserId) {
        self.0.remove(&id);
    }
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What is known about everyone, in no order.
    pub fn heads(&self) -> impl Iterator<Item = (UserId, Head)> + '_ {
        self.0.iter().map(|(id, person)| (*id, person.head))
    }
}
