//! The person that was packed, and what it used of the pool given back.

use usher_contract::{GroupRef, Known, NamedRef, OrgId, Source, User, UserId};

use super::{
    bytes::{INTACT, Reader, owned, text},
    pack::{EMPTY, REMOVED, UNKNOWN, VALUE},
    pool::Pool,
};

/// The person that was packed, and what was appended.
///
/// # Panics
/// When these are not bytes of [`crate::Loose::settle`] with this pool.
#[must_use]
pub fn unpack<'a>(id: UserId, packed: &'a [u8], pool: &'a Pool) -> (User, Reader<'a>) {
    let mut reader = Unpacker::new(packed, pool);
    let org_id = OrgId::try_new(text(reader.shared())).expect(INTACT);
    let username = reader.text();
    let login = username.value().map_or("", String::as_str);
    let email = reader.text_like(login);
    let (given_name, family_name) = (reader.text(), reader.text());
    let display_name = reader.known_or(
        |reader| owned(reader.rest.text()),
        |_| {
            composed(
                given_name.value().map(String::as_str),
                family_name.value().map(String::as_str),
            )
            .whole()
        },
    );
    let [title, department, division, company] = reader.shared_texts();
    let [employee_number, phone, mobile_phone, extension] = std::array::from_fn(|_| reader.text());
    let [active, frozen, listed] = std::array::from_fn(|_| reader.known_or(|_| false, |_| true));
    let [time_zone, locale, locale_key, language, user_type] = reader.shared_texts();
    let federation_id = reader.text_like(login);
    let user = User {
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
        federation_id,
        manager_id: reader.known(|reader| UserId::try_new(reader.rest.short_id()).expect(INTACT)),
        profile: reader.known(Unpacker::named),
        role: reader.known(Unpacker::named),
        groups: reader.known(|reader| (0..reader.rest.count()).map(|_| reader.group()).collect()),
        permission_sets: reader.known(|reader| (0..reader.rest.count()).map(|_| reader.named()).collect()),
        termination_date: reader.known(|reader| reader.rest.date()),
        created_at: reader.known(|reader| reader.rest.timestamp()),
        modified_at: reader.known(|reader| reader.rest.timestamp()),
        custom: match reader.rest.count() {
            0 => Default::default(),
            count => {
                let mut values = Reader(reader.rest.text());
                (0..count).map(|_| (owned(reader.shared()), values.value())).collect()
            }
        },
    };
    (user, reader.rest)
}

/// The packed person is gone: what it used of the pool is given back.
pub fn give_back(packed: &[u8], pool: &mut Pool) {
    let mut numbers = Reader(packed);
    for _ in 0..numbers.count() {
        pool.give_back(number_of(&mut numbers));
    }
}

pub(crate) fn number_of(numbers: &mut Reader<'_>) -> u32 {
    u32::try_from(numbers.number()).expect(INTACT)
}

/// The full name as it follows from its parts; only saved where it is this.
pub(crate) struct Composed<'a>(Option<&'a str>, Option<&'a str>);

pub(crate) fn composed<'a>(given: Option<&'a str>, family: Option<&'a str>) -> Composed<'a> {
    Composed(given, family)
}

impl Composed<'_> {
    pub(crate) fn is(&self, full: &str) -> bool {
        match (self.0, self.1) {
            (Some(given), Some(family)) => full
                .strip_prefix(given)
                .and_then(|rest| rest.strip_prefix(' '))
                .is_some_and(|rest| rest == family),
            (one, other) => one.or(other) == Some(full),
        }
    }
    fn whole(&self) -> String {
        match (self.0, self.1) {
            (Some(given), Some(family)) => [given, family].join(" "),
            (one, other) => one.or(other).expect(INTACT).to_owned(),
        }
    }
}

struct Unpacker<'a> {
    pool: &'a Pool,
    numbers: Reader<'a>,
    tags: u64,
    flags: u8,
    rest: Reader<'a>,
}

/// The parts of a packed person: numbers, how many, tags, flags, rest.
pub(crate) fn parts(packed: &[u8]) -> (Reader<'_>, usize, u64, u8, Reader<'_>) {
    let mut reader = Reader(packed);
    let uses = reader.count();
    let numbers = reader;
    for _ in 0..uses {
        reader.number();
    }
    let (tags, flags) = (reader.fixed(), reader.byte());
    (numbers, uses, tags, flags, reader)
}

impl<'a> Unpacker<'a> {
    fn new(packed: &'a [u8], pool: &'a Pool) -> Self {
        let (numbers, _, tags, flags, rest) = parts(packed);
        Self {
            pool,
            numbers,
            tags,
            flags,
            rest,
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
                let more = reader.rest.text();
                match like.get(..common) {
                    Some(common) => [common, text(more)].concat(),
                    // The cut lies within a character: only the whole is text.
                    None => owned(&[&like.as_bytes()[..common], more].concat()),
                }
            },
        )
    }
    fn reference(&mut self) -> (NamedRef, bool) {
        let number = number_of(&mut self.numbers);
        let id = self.pool.id(number).expect(INTACT);
        let bytes = self.pool.get(number);
        let (known, name) = (bytes[15], &bytes[16..]);
        let name = match known >> 1 {
            0 => Known::Unknown,
            1 => Known::Empty,
            _ => Known::Value(owned(name)),
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
