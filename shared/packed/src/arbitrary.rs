//! Drawn people for properties: every field unknown, empty or anything that its type can hold.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "for tests only")]

use jiff::{Timestamp, civil::Date};
use proptest::{array, collection, prelude::*};
use serde_json::{Number, Value};
use usher_contract::{GroupRef, Known, NamedRef, OrgId, RecordId, User, UserId, UserKey};

fn known<T: Clone + std::fmt::Debug + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Known<T>> {
    prop_oneof![
        1 => Just(Known::Unknown),
        1 => Just(Known::Empty),
        4 => value.prop_map(Known::Value),
    ]
    .boxed()
}

/// Short and long, plain and odd; some of them often, so that people share them and fields resemble each other.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        4 => prop::sample::select(vec!["", "a", "é", "ê", "Sales", "Sales EMEA", "ada@acme.example", "ada@acme.example.dev"])
            .prop_map(str::to_owned),
        3 => "[a-c]{0,4}",
        2 => any::<String>(),
        1 => "\\PC{100,400}",
    ]
    .boxed()
}

fn id(prefix: &'static str) -> impl Strategy<Value = RecordId> {
    prop_oneof![2 => "0{9}[0-1a]{3}", 1 => "[0-9A-Za-z]{12}"]
        .prop_map(move |rest| RecordId::try_new(&format!("{prefix}{rest}")).unwrap())
}
/// A user id; often one of a few.
pub fn user_id() -> impl Strategy<Value = UserId> {
    id("005").prop_map(|id| UserId::try_new(id.as_str()).unwrap())
}

/// Any moment to the nanosecond.
pub fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond())
            .prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap()),
        (0..2_000_000_000_i64).prop_map(|second| Timestamp::from_second(second).unwrap()),
        prop::sample::select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]),
    ]
}

fn day() -> impl Strategy<Value = Date> {
    (-9999..=9999_i16, 1..=12_i8, 1..=28_i8).prop_map(|(year, month, day)| Date::new(year, month, day).unwrap())
}

fn named(prefix: &'static str) -> impl Strategy<Value = NamedRef> {
    (id(prefix), known(text())).prop_map(|(id, name)| NamedRef { id, name })
}

fn group() -> impl Strategy<Value = GroupRef> {
    (id("00G"), known(text()), any::<bool>()).prop_map(|(id, name, direct)| GroupRef { id, name, direct })
}

/// Any JSON.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::btree_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    /// Anybody.
    pub fn user()(
        (user, org, source_removed) in (user_id(), id("00D"), any::<bool>()),
        texts in array::uniform20(known(text())),
        (composed, like_login) in (any::<bool>(), any::<bool>()),
        [active, frozen, listed] in array::uniform3(known(any::<bool>())),
        (manager_id, profile, role) in (known(user_id()), known(named("00e")), known(named("00E"))),
        groups in known(collection::vec(group(), 0..40)),
        permission_sets in known(collection::vec(named("0PS"), 0..40)),
        (termination_date, created_at, modified_at) in (known(day()), known(moment()), known(moment())),
        custom in collection::btree_map(text(), json(), 0..5),
    ) -> User {
        let [username, email, given_name, family_name, display_name, title, department, division, company, employee_number,
            phone, mobile_phone, extension, time_zone, locale, locale_key, language, user_type, federation_id, suffix] = texts;
        let display_name = match (&given_name, &family_name) {
            (Known::Value(given), Known::Value(family)) if composed => Known::Value(format!("{given} {family}")),
            _ => display_name,
        };
        let email = match (&username, suffix) {
            (Known::Value(login), Known::Value(suffix)) if like_login => Known::Value(format!("{login}{suffix}")),
            _ => email,
        };
        User {
            removed: source_removed,
            username, email, given_name, family_name, display_name, title, department, division, company, employee_number,
            phone, mobile_phone, extension, active, frozen, listed, time_zone, locale, locale_key, language, user_type,
            federation_id, manager_id, profile, role, groups, permission_sets, termination_date, created_at, modified_at,
            custom,
            ..User::unknown(UserKey::new(OrgId::try_new(org.as_str()).unwrap(), user))
        }
    }
}

/// Two states of one person: alike, different in a few fields, or in all.
pub fn two_states() -> impl Strategy<Value = (User, User)> {
    (user(), user(), 0..5).prop_map(move |(one, other, how)| {
        let mut next = one.clone();
        match how {
            0 => {}
            1 => {
                next.department = other.department;
                next.modified_at = other.modified_at;
            }
            2 => {
                let kept = next.custom.into_iter().skip(1);
                next.custom = kept.chain(other.custom.into_iter().take(1)).collect();
            }
            3 => next.modified_at = other.modified_at,
            _ => {
                next = User {
                    id: one.id,
                    org_id: one.org_id,
                    ..other
                }
            }
        }
        (one, next)
    })
}
