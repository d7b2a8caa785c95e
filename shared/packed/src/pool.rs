//! Repeating values, kept once: departments, titles, groups, permission sets.
//!
//! Every use is counted, and a value without uses is forgotten at once: the pool never holds more than the people who
//! are in the table say. Its numbers are used again, so that they stay short.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use usher_contract::RecordId;

/// The pool.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    entries: Vec<Entry>,
    /// Places of `entries` that hold nothing.
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
}

#[derive(Debug, Clone)]
struct Entry {
    bytes: Box<[u8]>,
    /// The record id that the value begins with, if it does: computed once, because everybody is in groups.
    id: Option<RecordId>,
    /// A use takes a byte of memory or more, so four billion of them do not fit.
    uses: u32,
}

impl Pool {
    /// One more use of this value; gives its number.
    ///
    /// # Panics
    /// With four billion values, which do not fit in memory.
    pub fn take(&mut self, bytes: &[u8]) -> u32 {
        let Self {
            entries,
            free,
            index,
            hasher,
        } = self;
        let hash = hasher.hash_one(bytes);
        if let Some(number) = index.find(hash, |number| *entries[*number as usize].bytes == *bytes) {
            entries[*number as usize].uses += 1;
            return *number;
        }
        let id = bytes.get(..15).and_then(|id| std::str::from_utf8(id).ok());
        let entry = Entry {
            bytes: bytes.into(),
            id: id.and_then(|id| RecordId::try_new(id).ok()),
            uses: 1,
        };
        let number = match free.pop() {
            Some(number) => {
                entries[number as usize] = entry;
                number
            }
            None => {
                entries.push(entry);
                u32::try_from(entries.len() - 1).expect("**Invariant**: each entry is in use, and uses fit 32 bits")
            }
        };
        index.insert_unique(hash, number, |number| {
            hasher.hash_one(&*entries[*number as usize].bytes)
        });
        number
    }

    /// As [`Pool::take`], where the value is likely to be that of a number which is in use.
    pub(crate) fn take_like(&mut self, bytes: &[u8], likely: Option<u32>) -> u32 {
        match likely.filter(|number| self.get(*number) == bytes) {
            Some(number) => {
                self.entries[number as usize].uses += 1;
                number
            }
            None => self.take(bytes),
        }
    }

    /// One use less.
    pub fn give_back(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        entry.id = None;
        let bytes = std::mem::take(&mut entry.bytes);
        if let Ok(found) = self
            .index
            .find_entry(self.hasher.hash_one(&*bytes), |found| *found == number)
        {
            found.remove();
        }
        self.free.push(number);
    }

    /// The value of a number that is in use.
    #[must_use]
    pub fn get(&self, number: u32) -> &[u8] {
        &self.entries[number as usize].bytes
    }

    /// The record id that the value of a number in use begins with.
    pub(crate) fn id(&self, number: u32) -> Option<RecordId> {
        self.entries[number as usize].id
    }

    /// How many values are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no value is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_uses_is_forgotten_and_its_number_used_again() {
        let mut pool = Pool::default();
        let (sales, again) = (pool.take(b"Sales"), pool.take(b"Sales"));
        assert_eq!((sales, pool.len()), (again, 1));
        pool.give_back(sales);
        assert_eq!((pool.get(sales), pool.len()), (&b"Sales"[..], 1));
        pool.give_back(sales);
        assert_eq!(pool.len(), 0);
        let legal = pool.take(b"Legal");
        assert_eq!((legal, pool.get(legal)), (sales, &b"Legal"[..]));
    }

    #[test]
    fn what_is_likely_is_taken_only_when_it_is_the_value() {
        let mut pool = Pool::default();
        let (sales, legal) = (pool.take(b"Sales"), pool.take(b"Legal"));
        assert_eq!(pool.take_like(b"Sales", Some(sales)), sales);
        assert_eq!(pool.take_like(b"Sales", Some(legal)), sales);
        assert_eq!(pool.take_like(b"Legal", None), legal);
        for number in [sales, sales, sales, legal] {
            pool.give_back(number);
        }
        assert_eq!(
            (pool.len(), pool.get(legal)),
            (1, &b"Legal"[..]),
            "every use is counted"
        );
    }

    #[test]
    fn changing_values_do_not_make_the_pool_grow() {
        let mut pool = Pool::default();
        let mut last = pool.take(b"0");
        for number in 1..10_000 {
            let next = pool.take(number.to_string().as_bytes());
            pool.give_back(last);
            last = next;
        }
        assert_eq!((pool.len(), pool.entries.len()), (1, 2));
    }
}
