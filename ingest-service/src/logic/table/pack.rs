//! A person as bytes, and back: exact, and small where people are alike.
//!
//! ```text
//! how many uses · numbers of values in the pool … · tags, 2 bits per field · flags · the rest of each field in order
//! ```
//!
//! What repeats from person to person is a number in the [`Pool`]; these stand in front, so that giving them back needs
//! no knowledge of the fields. Texts that follow from others (a full name, an address equal to the log-in name) are
//! not kept twice.

use usher_contract::{GroupRef, Known, NamedRef, OrgId, Source, User, UserId};

use super::{
    bytes::{Reader, owned, put_date, put_id, put_number, put_text, put_timestamp, put_value},
    intern::Pool,
    view::{Reference, Text, View},
};

/// What is known about a field. The fourth tag is the field's own: `true`, or "follows from another field".
const UNKNOWN: u64 = 0;
const EMPTY: u64 = 1;
const VALUE: u64 = 2;
const OTHER: u64 = 3;

/// The tags of all fields are one number.
const _: () = assert!(User::FIELDS.len() <= 32);

const REMOVED: u8 = 1;

const INTACT: &str = "**Invariant**: packed bytes are read as they were written";

/// A packed person whose shared values are not in a pool yet: what one thread makes and another keeps.
#[derive(Debug)]
pub(super) struct Loose {
    uses: u64,
    /// Shared values, each with its length in front.
    shared: Vec<u8>,
    tags: u64,
    flags: u8,
    rest: Vec<u8>,
    /// How many fields have a tag.
    fields: u32,
}

/// Packs a person. The identity is left to the caller: it is the key.
pub(super) fn pack(view: &View<'_>) -> Loose {
    let mut packer = Loose {
        uses: 0,
        shared: Vec::with_capacity(512),
        tags: 0,
        flags: match view.source {
            Source::Salesforce => u8::from(view.removed) * REMOVED,
        },
        rest: Vec::with_capacity(256),
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
    packer.known(&view.profile, Loose::reference);
    packer.known(&view.role, Loose::reference);
    packer.known(&view.groups, |packer, groups| packer.references(groups));
    packer.known(&view.permission_sets, |packer, sets| packer.references(sets));
    packer.known(&view.termination_date, |packer, day| put_date(&mut packer.rest, *day));
    packer.known(&view.created_at, |packer, at| put_timestamp(&mut packer.rest, *at));
    packer.known(&view.modified_at, |packer, at| put_timestamp(&mut packer.rest, *at));
    put_number(&mut packer.rest, view.custom.len() as u64);
    for (name, value) in &view.custom {
        packer.share(name.as_str().as_bytes());
        put_value(&mut packer.rest, value);
    }
    packer
}

/// The person that was packed.
pub(super) fn unpack(id: UserId, packed: &[u8], pool: &Pool) -> User {
    let mut reader = Unpacker::new(packed, pool);
    let org_id = OrgId::try_new(&owned(reader.shared())).expect(INTACT);
    let username = reader.text();
    let login = username.value().map_or("", String::as_str).to_owned();
    let email = reader.text_like(&login);
    let (given_name, family_name) = (reader.text(), reader.text());
    let display_name = reader.known_or(
        |reader| owned(reader.rest.text()),
        |_| composed(given_name.value().cloned(), family_name.value().cloned()).expect(INTACT),
    );
    let [title, department, division, company] = reader.shared_texts();
    let [employee_number, phone, mobile_phone, extension] = std::array::from_fn(|_| reader.text());
    let [active, frozen, listed] = std::array::from_fn(|_| reader.known_or(|_| false, |_| true));
    let [time_zone, locale, locale_key, language, user_type] = reader.shared_texts();
    User {
        id,
        org_id,
        source: Source::Salesforce,
        removed: reader.flags & REMOVED != 0,
        username,
        email,
        given_name,
        family_name,
        display_name,
        title,
        department,
        division,
        company,
        employee_number,
        phone,
        mobile_phone,
        extension,
        active,
        frozen,
        listed,
        time_zone,
        locale,
        locale_key,
        language,
        user_type,
        federation_id: reader.text_like(&login),
        manager_id: reader.known(|reader| UserId::try_new(reader.rest.id().as_str()).expect(INTACT)),
        profile: reader.known(Unpacker::named),
        role: reader.known(Unpacker::named),
        groups: reader.known(|reader| (0..reader.rest.count()).map(|_| reader.group()).collect()),
        permission_sets: reader.known(|reader| (0..reader.rest.count()).map(|_| reader.named()).collect()),
        termination_date: reader.known(|reader| reader.rest.date()),
        created_at: reader.known(|reader| reader.rest.timestamp()),
        modified_at: reader.known(|reader| reader.rest.timestamp()),
        custom: (0..reader.rest.count())
            .map(|_| (owned(reader.shared()), reader.rest.value()))
            .collect(),
    }
}

/// The packed person is gone: what it used of the pool is given back.
pub(super) fn give_back(packed: &[u8], pool: &mut Pool) {
    let mut numbers = Reader(packed);
    for _ in 0..numbers.count() {
        pool.give_back(number_of(&mut numbers));
    }
}

fn number_of(numbers: &mut Reader<'_>) -> u32 {
    u32::try_from(numbers.number()).expect(INTACT)
}

/// The full name as it follows from its parts; the table only saves it when it is this.
fn composed(given: Option<String>, family: Option<String>) -> Option<String> {
    match (given, family) {
        (Some(given), Some(family)) => Some(given + " " + &family),
        (one, other) => one.or(other),
    }
}

impl Loose {
    /// Puts the shared values into the pool. `scratch` is any vector, taken to be used again.
    pub(super) fn settle(&self, pool: &mut Pool, scratch: &mut Vec<u8>) -> Box<[u8]> {
        scratch.clear();
        put_number(scratch, self.uses);
        let mut shared = Reader(&self.shared);
        for _ in 0..self.uses {
            put_number(scratch, pool.take(shared.text()).into());
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
        let text = |text: &Known<Text<'_>>| text.value().map(|text| text.as_str().to_owned());
        if full.value().is_some() && text(full) == composed(text(given), text(family)) {
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

struct Unpacker<'a> {
    pool: &'a Pool,
    numbers: Reader<'a>,
    tags: u64,
    flags: u8,
    rest: Reader<'a>,
}

impl<'a> Unpacker<'a> {
    fn new(packed: &'a [u8], pool: &'a Pool) -> Self {
        let mut reader = Reader(packed);
        let uses = reader.count();
        let numbers = reader;
        for _ in 0..uses {
            reader.number();
        }
        let (tags, flags) = (reader.fixed(), reader.byte());
        Self {
            pool,
            numbers,
            tags,
            flags,
            rest: reader,
        }
    }
    fn shared(&mut self) -> &'a [u8] {
        self.pool.get(number_of(&mut self.numbers))
    }
    fn known_or<T>(&mut self, value: impl FnOnce(&mut Self) -> T, other: impl FnOnce(&mut Self) -> T) -> Known<T> {
        let tag = self.tags & 3;
        self.tags >>= 2;
        match tag {
            UNKNOWN => Known::Unknown,
            EMPTY => Known::Empty,
            VALUE => Known::Value(value(self)),
            _ => Known::Value(other(self)),
        }
    }
    fn known<T>(&mut self, value: impl Fn(&mut Self) -> T) -> Known<T> {
        self.known_or(&value, &value)
    }
    fn text(&mut self) -> Known<String> {
        self.known(|reader| owned(reader.rest.text()))
    }
    fn shared_texts<const N: usize>(&mut self) -> [Known<String>; N] {
        std::array::from_fn(|_| self.known(|reader| owned(reader.shared())))
    }
    fn text_like(&mut self, like: &str) -> Known<String> {
        self.known_or(
            |reader| owned(reader.rest.text()),
            |reader| {
                let common = reader.rest.count();
                // The cut may lie within a character: only the whole is text.
                owned(&[&like.as_bytes()[..common], reader.rest.text()].concat())
            },
        )
    }
    fn reference(&mut self) -> (NamedRef, bool) {
        let mut bytes = Reader(self.shared());
        let (id, known) = (bytes.id(), bytes.byte());
        let name = match known >> 1 {
            0 => Known::Unknown,
            1 => Known::Empty,
            _ => Known::Value(owned(bytes.0)),
        };
        (NamedRef { id, name }, known & 1 == 1)
    }
    fn named(&mut self) -> NamedRef {
        self.reference().0
    }
    fn group(&mut self) -> GroupRef {
        let (NamedRef { id, name }, direct) = self.reference();
        GroupRef { id, name, direct }
    }
}
