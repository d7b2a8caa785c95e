//! What is not the same in two states of a person, told from their bytes.
//!
//! Guarantee: whatever is not named is the same value in both. The reverse does not hold: some names are given because the bytes
//! do not tell. Whoever leaves something out because of an answer relies on the guarantee alone.

use usher_contract::{FieldSet, User};

use super::{
    bytes::Reader,
    pack::{EMPTY, Loose, OTHER, UNKNOWN},
    pool::Pool,
    unpack::{number_of, parts},
};

/// See the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differences {
    /// Which of [`User::FIELDS`].
    pub fields: FieldSet,
    /// Custom fields, any.
    pub custom: bool,
    /// Whether the person is removed.
    pub removed: bool,
}

impl Differences {
    /// Everything may be another.
    pub const EVERYTHING: Self = Self {
        fields: FieldSet::ALL,
        custom: true,
        removed: true,
    };
    /// Nothing is.
    pub const NONE: Self = Self {
        fields: FieldSet::NONE,
        custom: false,
        removed: false,
    };

    /// What differs in one or the other: from the first of three states to the last.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            fields: self.fields.union(other.fields),
            custom: self.custom | other.custom,
            removed: self.removed | other.removed,
        }
    }
}

/// How a field is packed; see [`Loose::of`].
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A text with its length in front.
    Text,
    /// The same, or what it adds to the log-in name.
    Like,
    /// The same, or nothing.
    FullName,
    /// A value of the pool.
    Shared,
    /// So many of them.
    List,
    /// Nothing but the tag.
    Flag,
    /// So many bytes.
    Bytes(usize),
    /// Two numbers.
    Moment,
}

/// In the order of [`User::FIELDS`], which is that of packing. A property holds it against the fields themselves.
const KINDS: [Kind; User::FIELDS.len()] = [
    Kind::Text,
    Kind::Like,
    Kind::Text,
    Kind::Text,
    Kind::FullName,
    Kind::Shared,
    Kind::Shared,
    Kind::Shared,
    Kind::Shared,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Flag,
    Kind::Flag,
    Kind::Flag,
    Kind::Shared,
    Kind::Shared,
    Kind::Shared,
    Kind::Shared,
    Kind::Shared,
    Kind::Like,
    Kind::Bytes(15),
    Kind::Shared,
    Kind::Shared,
    Kind::List,
    Kind::List,
    Kind::Bytes(4),
    Kind::Moment,
    Kind::Moment,
];

const USERNAME: usize = 0;
const EMAIL: usize = 1;
const GIVEN_NAME: usize = 2;
const FAMILY_NAME: usize = 3;
const DISPLAY_NAME: usize = 4;
const FEDERATION_ID: usize = 21;

/// Where the shared values of a state stand.
enum Values<'a> {
    /// One after the other, each with its length in front.
    Own(Reader<'a>),
    /// As numbers in the pool.
    Pooled(Reader<'a>, &'a Pool),
}

/// A packed person, read field by field.
struct Fields<'a> {
    values: Values<'a>,
    tags: u64,
    flags: u8,
    rest: Reader<'a>,
}

impl<'a> Fields<'a> {
    fn value(&mut self) -> &'a [u8] {
        match &mut self.values {
            Values::Own(values) => values.text(),
            Values::Pooled(numbers, pool) => pool.get(number_of(numbers)),
        }
    }
    fn tag(&mut self) -> u64 {
        let tag = self.tags & 3;
        self.tags >>= 2;
        tag
    }
    /// The bytes that `read` goes over.
    fn over(&mut self, read: impl FnOnce(&mut Reader<'a>)) -> &'a [u8] {
        let all = self.rest.0;
        read(&mut self.rest);
        &all[..all.len() - self.rest.0.len()]
    }
    /// What a field with this tag keeps in the rest.
    fn own(&mut self, kind: Kind, tag: u64) -> &'a [u8] {
        if matches!(tag, UNKNOWN | EMPTY) {
            return &[];
        }
        match (kind, tag) {
            (Kind::Flag | Kind::Shared, _) | (Kind::FullName, OTHER) => &[],
            (Kind::Like, OTHER) => self.over(|rest| {
                rest.number();
                rest.text();
            }),
            (Kind::Text | Kind::Like | Kind::FullName, _) => self.rest.text(),
            (Kind::List, _) => self.over(|rest| {
                rest.number();
            }),
            (Kind::Bytes(count), _) => self.rest.bytes(count),
            (Kind::Moment, _) => self.over(|rest| {
                rest.number();
                rest.number();
            }),
        }
    }
    /// How many values of the pool a field with this tag has.
    fn values_of(kind: Kind, tag: u64, own: &[u8]) -> usize {
        match kind {
            _ if matches!(tag, UNKNOWN | EMPTY) => 0,
            Kind::Shared => 1,
            Kind::List => Reader(own).count(),
            Kind::Text | Kind::Like | Kind::FullName | Kind::Flag | Kind::Bytes(_) | Kind::Moment => 0,
        }
    }
}

/// Whether the next values of both are the same, `one` and `other` of them.
fn same_values(new: &mut Fields<'_>, old: &mut Fields<'_>, one: usize, other: usize) -> bool {
    let mut same = one == other;
    for place in 0..one.max(other) {
        let left = (place < one).then(|| new.value());
        let right = (place < other).then(|| old.value());
        same &= left == right;
    }
    same
}

impl Loose {
    /// What is not the same in the state that these bytes of [`Loose::settle`] are.
    #[must_use]
    pub fn differences(&self, before: &[u8], pool: &Pool) -> Differences {
        let (numbers, _, tags, flags, rest) = parts(before);
        let mut old = Fields {
            values: Values::Pooled(numbers, pool),
            tags,
            flags,
            rest,
        };
        let mut new = Fields {
            values: Values::Own(Reader(&self.shared)),
            tags: self.tags,
            flags: self.flags,
            rest: Reader(&self.rest),
        };
        if !same_values(&mut new, &mut old, 1, 1) {
            // Another organization is another person.
            return Differences::EVERYTHING;
        }
        let mut found = [false; KINDS.len()];
        for (kind, found) in KINDS.into_iter().zip(&mut found) {
            let (one, other) = (new.tag(), old.tag());
            let (left, right) = (new.own(kind, one), old.own(kind, other));
            let (many, as_many) = (
                Fields::values_of(kind, one, left),
                Fields::values_of(kind, other, right),
            );
            *found = !same_values(&mut new, &mut old, many, as_many) || one != other || left != right;
        }
        // What these hold is what they add to another field.
        if found[USERNAME] {
            (found[EMAIL], found[FEDERATION_ID]) = (true, true);
        }
        found[DISPLAY_NAME] |= found[GIVEN_NAME] || found[FAMILY_NAME];
        let (one, other) = (new.rest.count(), old.rest.count());
        let names = same_values(&mut new, &mut old, one, other);
        let values = |fields: &mut Fields<'_>, count: usize| (count > 0).then(|| fields.rest.text().to_vec());
        let custom = !names || values(&mut new, one) != values(&mut old, other);
        let places = found.iter().enumerate().filter(|(_, differs)| **differs);
        Differences {
            fields: places.fold(FieldSet::NONE, |set, (place, _)| set.union(FieldSet::at(place))),
            custom,
            removed: new.flags != old.flags,
        }
    }
}
