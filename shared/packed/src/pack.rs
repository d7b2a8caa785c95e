//! A person as bytes: exact, and small where people are alike.
//!
//! ```text
//! how many uses · numbers of values in the pool … · tags, 2 bits per field · flags · the rest of each field in order · what was appended
//! ```
//!
//! What repeats from person to person is a number in the [`Pool`]; these stand in front, so that giving them back needs
//! no knowledge of the fields. Texts that follow from others (a full name, an address equal to the log-in name) are
//! not kept twice.

use usher_contract::{Known, Source, User};

use super::{
    bytes::{Reader, put_date, put_id, put_number, put_text, put_timestamp, put_value},
    pool::Pool,
    unpack::{composed, number_of},
    view::{Reference, Text, View},
};

/// What is known about a field. The fourth tag is the field's own: `true`, or "follows from another field".
pub(crate) const UNKNOWN: u64 = 0;
pub(crate) const EMPTY: u64 = 1;
pub(crate) const VALUE: u64 = 2;
pub(crate) const OTHER: u64 = 3;

/// The tags of all fields are one number.
const _: () = assert!(User::FIELDS.len() <= 32);

pub(crate) const REMOVED: u8 = 1;

/// A packed person whose shared values are not in a pool yet: what one thread makes and another keeps.
#[derive(Debug)]
pub struct Loose {
    pub(crate) uses: u64,
    /// Shared values, each with its length in front.
    pub(crate) shared: Vec<u8>,
    pub(crate) tags: u64,
    pub(crate) flags: u8,
    pub(crate) rest: Vec<u8>,
    /// How many fields have a tag.
    fields: u32,
}

impl Loose {
    /// Packs a person. The id is left to the caller: it is the key.
    #[must_use]
    pub fn of(view: &View<'_>) -> Self {
        let mut packer = Self {
            uses: 0,
            shared: Vec::with_capacity(512),
            tags: 0,
            flags: match view.source {
                Source::Salesforce => u8::from(view.removed) * REMOVED,
            },
            rest: Vec::with_capacity(384),
            fields: 0,
        };
        packer.share(view.org_id.as_str().as_bytes());
        let login = view.username.value().map_or("", Text::as_str);
        packer.text(&view.username);
        packer.text_like(&view.email, login);
        packer.text(&view.given_name);
        packer.text(&view.family_name);
        packer.full_name(&view.display_name, &view.given_name, &view.family_name);
        for text in [&view.title, &view.department, &view.division, &view.company] {
            packer.shared_text(text);
        }
        for text in [&view.employee_number, &view.phone, &view.mobile_phone, &view.extension] {
            packer.text(text);
        }
        for flag in [&view.active, &view.frozen, &view.listed] {
            packer.flag(flag);
        }
        for text in [
            &view.time_zone,
            &view.locale,
            &view.locale_key,
            &view.language,
            &view.user_type,
        ] {
            packer.shared_text(text);
        }
        packer.text_like(&view.federation_id, login);
        packer.known(&view.manager_id, |packer, id| put_id(&mut packer.rest, id.as_str()));
        packer.known(&view.profile, Self::reference);
        packer.known(&view.role, Self::reference);
        packer.known(&view.groups, |packer, groups| packer.references(groups));
        packer.known(&view.permission_sets, |packer, sets| packer.references(sets));
        packer.known(&view.termination_date, |packer, day| put_date(&mut packer.rest, *day));
        packer.known(&view.created_at, |packer, at| put_timestamp(&mut packer.rest, *at));
        packer.known(&view.modified_at, |packer, at| put_timestamp(&mut packer.rest, *at));
        put_number(&mut packer.rest, view.custom.len() as u64);
        if !view.custom.is_empty() {
            // With its length in front: it is compared without being read.
            let mut values = Vec::new();
            for (name, value) in &view.custom {
                packer.share(name.as_str().as_bytes());
                put_value(&mut values, value);
            }
            put_text(&mut packer.rest, &values);
        }
        packer
    }

    /// Where something of the caller's own may be appended: [`crate::unpack()`] gives it back.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.rest
    }

    /// Puts the shared values into the pool. `before` is the state that this one replaces, for speed only: its uses are still to be
    /// given back. `scratch` is any vector, taken to be used again.
    pub fn settle(&self, before: Option<&[u8]>, pool: &mut Pool, scratch: &mut Vec<u8>) -> Box<[u8]> {
        scratch.clear();
        put_number(scratch, self.uses);
        let mut before = before.map(Reader);
        let mut left = before.as_mut().map_or(0, Reader::count);
        let mut shared = Reader(&self.shared);
        for _ in 0..self.uses {
            let likely = before.as_mut().filter(|_| left > 0).map(number_of);
            left = left.saturating_sub(1);
            put_number(scratch, pool.take_like(shared.text(), likely).into());
        }
        scratch.extend(self.tags.to_le_bytes());
        scratch.push(self.flags);
        scratch.extend_from_slice(&self.rest);
        scratch.as_slice().into()
    }

    fn tag(&mut self, tag: u64) {
        self.tags |= tag << (2 * self.fields);
        self.fields += 1;
    }
    fn share(&mut self, bytes: &[u8]) {
        put_text(&mut self.shared, bytes);
        self.uses += 1;
    }
    fn known<T>(&mut self, value: &Known<T>, put: impl FnOnce(&mut Self, &T)) {
        self.tag(match value {
            Known::Unknown => UNKNOWN,
            Known::Empty => EMPTY,
            Known::Value(_) => VALUE,
        });
        if let Known::Value(value) = value {
            put(self, value);
        }
    }
    fn text(&mut self, text: &Known<Text<'_>>) {
        self.known(text, |packer, text| {
            put_text(&mut packer.rest, text.as_str().as_bytes())
        });
    }
    fn shared_text(&mut self, text: &Known<Text<'_>>) {
        self.known(text, |packer, text| packer.share(text.as_str().as_bytes()));
    }
    fn full_name(&mut self, full: &Known<Text<'_>>, given: &Known<Text<'_>>, family: &Known<Text<'_>>) {
        let follows = full.value().is_some_and(|full| {
            composed(given.value().map(Text::as_str), family.value().map(Text::as_str)).is(full.as_str())
        });
        if follows {
            self.tag(OTHER);
        } else {
            self.text(full);
        }
    }
    /// Only what does not agree with the beginning of `like`.
    fn text_like(&mut self, text: &Known<Text<'_>>, like: &str) {
        let value = text.value().map_or(&[][..], |text| text.as_str().as_bytes());
        let common = value
            .iter()
            .zip(like.as_bytes())
            .take_while(|(one, other)| one == other)
            .count();
        if common == 0 {
            self.text(text);
        } else {
            self.tag(OTHER);
            put_number(&mut self.rest, common as u64);
            put_text(&mut self.rest, &value[common..]);
        }
    }
    fn flag(&mut self, flag: &Known<bool>) {
        self.tag(match flag {
            Known::Unknown => UNKNOWN,
            Known::Empty => EMPTY,
            Known::Value(false) => VALUE,
            Known::Value(true) => OTHER,
        });
    }
    fn references(&mut self, references: &[Reference<'_>]) {
        put_number(&mut self.rest, references.len() as u64);
        references.iter().for_each(|reference| self.reference(reference));
    }
    /// Id, what is known of the name and whether direct, name.
    fn reference(&mut self, reference: &Reference<'_>) {
        let (known, name) = match &reference.name {
            Known::Unknown => (0, ""),
            Known::Empty => (2, ""),
            Known::Value(name) => (4, name.as_str()),
        };
        put_number(&mut self.shared, 16 + name.len() as u64);
        put_id(&mut self.shared, reference.id.as_str());
        self.shared.push(known | u8::from(reference.direct));
        self.shared.extend_from_slice(name.as_bytes());
        self.uses += 1;
    }
}
