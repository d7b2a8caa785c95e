//! A row of the table: the key, the head in its small form, the packed state.

use jiff::Timestamp;
use usher_contract::UserId;

use super::Head;

/// A user id without what every user id has: `005` in front, the check characters behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 12]);

impl Key {
    pub(super) fn of(id: UserId) -> Self {
        let mut key = [0; 12];
        key.copy_from_slice(&id.as_str().as_bytes()[3..15]);
        Self(key)
    }
    pub(super) fn user(self) -> UserId {
        let mut text = *b"005000000000000";
        text[3..].copy_from_slice(&self.0);
        let text = std::str::from_utf8(&text);
        let id = text.map(UserId::try_new);
        id.expect("**Invariant**: taken from a user id")
            .expect("**Invariant**: taken from a user id")
    }
}

/// A moment to the nanosecond in nine bytes; zero is none. Sixteen with padding otherwise, twice per person.
#[derive(Debug, Clone, Copy)]
struct Moment([u8; 9]);

/// Puts every moment that there can be above zero: the year -9999 is 2^68.2 nanoseconds before 1970.
const OFFSET: i128 = 1 << 70;

impl Moment {
    fn of(at: Option<Timestamp>) -> Self {
        let number = at.map_or(0, |at| at.as_nanosecond() + OFFSET);
        let mut bytes = [0; 9];
        bytes.copy_from_slice(&number.to_le_bytes()[..9]);
        Self(bytes)
    }
    fn timestamp(self) -> Option<Timestamp> {
        let mut bytes = [0; 16];
        bytes[..9].copy_from_slice(&self.0);
        let number = i128::from_le_bytes(bytes);
        (number != 0).then(|| Timestamp::from_nanosecond(number - OFFSET).expect("**Invariant**: made from a moment"))
    }
}

const REMOVED: u8 = 1;
const ACTIVE: u8 = 2;
const UNLISTED: u8 = 4;
const FROZEN_KNOWN: u8 = 8;
const FROZEN: u8 = 16;

/// One person.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) state: Box<[u8]>,
    version: u64,
    touched: u64,
    groups: u64,
    permission_sets: u64,
    seen: u32,
    pub(super) key: Key,
    committed_at: Moment,
    read_at: Moment,
    flags: u8,
}

impl Row {
    pub(super) fn new(key: Key, head: &Head, state: Box<[u8]>) -> Self {
        let mut row = Self {
            state,
            version: 0,
            touched: 0,
            groups: 0,
            permission_sets: 0,
            seen: 0,
            key,
            committed_at: Moment::of(None),
            read_at: Moment::of(None),
            flags: 0,
        };
        row.set_head(head);
        row
    }

    pub(super) fn is_removed(&self) -> bool {
        self.flags & REMOVED != 0
    }

    pub(super) fn head(&self) -> Head {
        Head {
            version: self.version,
            committed_at: self.committed_at.timestamp(),
            read_at: self.read_at.timestamp(),
            touched: self.touched,
            seen: self.seen,
            removed: self.is_removed(),
            active: self.flags & ACTIVE != 0,
            unlisted: self.flags & UNLISTED != 0,
            frozen: (self.flags & FROZEN_KNOWN != 0).then_some(self.flags & FROZEN != 0),
            groups: self.groups,
            permission_sets: self.permission_sets,
        }
    }

    pub(super) fn set_head(&mut self, head: &Head) {
        let Head {
            version,
            committed_at,
            read_at,
            touched,
            seen,
            removed,
            active,
            unlisted,
            frozen,
            groups,
            permission_sets,
        } = *head;
        let flag = |on: bool, flag: u8| u8::from(on) * flag;
        self.version = version;
        self.committed_at = Moment::of(committed_at);
        self.read_at = Moment::of(read_at);
        self.touched = touched;
        self.seen = seen;
        self.groups = groups;
        self.permission_sets = permission_sets;
        self.flags = flag(removed, REMOVED)
            | flag(active, ACTIVE)
            | flag(unlisted, UNLISTED)
            | flag(frozen.is_some(), FROZEN_KNOWN)
            | flag(frozen == Some(true), FROZEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_88_bytes_beside_its_state() {
        assert_eq!(size_of::<Row>(), 88);
    }

    #[test]
    fn the_first_and_the_last_moment_are_kept() {
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            assert_eq!(Moment::of(Some(at)).timestamp(), Some(at));
        }
        assert_eq!(Moment::of(None).timestamp(), None);
    }
}
