//! What a message says besides the person, as bytes behind the packed person, and back.

use std::collections::BTreeMap;

use serde_json::Value;
use usher_contract::{Approval, Cause, ChangeKind, Origin, User, UserChange};
use usher_packed::bytes::{Reader, moment, owned, put_number, put_signed, put_text, put_timestamp, put_value};

/// A message without its person.
#[derive(Debug)]
pub(super) struct About {
    pub(super) kind: ChangeKind,
    pub(super) changed: Vec<String>,
    pub(super) before: Option<BTreeMap<String, Value>>,
    pub(super) cause: Cause,
}

/// In the order of their numbers here, which no other process sees.
const KINDS: [ChangeKind; 11] = [
    ChangeKind::Discovered,
    ChangeKind::Created,
    ChangeKind::Updated,
    ChangeKind::Deactivated,
    ChangeKind::Reactivated,
    ChangeKind::Frozen,
    ChangeKind::Unfrozen,
    ChangeKind::Unlisted,
    ChangeKind::Listed,
    ChangeKind::Removed,
    ChangeKind::Restored,
];
const ORIGINS: [Origin; 5] = [
    Origin::ChangeEvent,
    Origin::Report,
    Origin::Query,
    Origin::Recheck,
    Origin::Reimport,
];

const COMMITTED_AT: u64 = 1;
const READ_AT: u64 = 1 << 1;
const RECORDED_AT: u64 = 1 << 2;
const COMMIT_NUMBER: u64 = 1 << 3;
const TRANSACTION_KEY: u64 = 1 << 4;
const CHANGED_BY: u64 = 1 << 5;
const APPROVAL: u64 = 1 << 6;
const BEFORE: u64 = 1 << 7;
/// The commit number is a number: nine bytes for nineteen digits.
const COUNTED: u64 = 1 << 8;

/// The place of something in its list. That the list has it, a test proves.
fn place<T: PartialEq>(list: &[T], wanted: &T) -> u8 {
    let place = list.iter().position(|known| known == wanted).unwrap_or_default();
    u8::try_from(place).unwrap_or_default()
}

impl About {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let Self {
            kind,
            changed,
            before,
            cause,
        } = self;
        let Cause {
            origin,
            committed_at,
            observed_at,
            read_at,
            recorded_at,
            commit_number,
            transaction_key,
            changed_by,
            approval,
        } = cause;
        let counted = commit_number.as_deref().and_then(|text| {
            let number: u64 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        });
        let flags = [
            (committed_at.is_some(), COMMITTED_AT),
            (read_at.is_some(), READ_AT),
            (recorded_at.is_some(), RECORDED_AT),
            (commit_number.is_some(), COMMIT_NUMBER),
            (transaction_key.is_some(), TRANSACTION_KEY),
            (changed_by.is_some(), CHANGED_BY),
            (approval.is_some(), APPROVAL),
            (before.is_some(), BEFORE),
            (counted.is_some(), COUNTED),
        ];
        put_number(out, flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum());
        out.push(place(&KINDS, kind));
        out.push(place(&ORIGINS, origin));
        put_number(out, changed.len() as u64);
        for name in changed {
            // Names of fields as their places, from 1; others as they are.
            match User::FIELDS.iter().position(|field| field == name) {
                Some(place) => put_number(out, place as u64 + 1),
                None => {
                    put_number(out, 0);
                    put_text(out, name.as_bytes());
                }
            }
        }
        put_timestamp(out, *observed_at);
        for at in [committed_at, read_at, recorded_at].into_iter().flatten() {
            // Mostly within a day of each other.
            put_signed(out, at.as_second() - observed_at.as_second());
            put_signed(out, at.subsec_nanosecond().into());
        }
        match (counted, commit_number) {
            (Some(number), _) => put_number(out, number),
            (None, Some(text)) => put_text(out, text.as_bytes()),
            (None, None) => {}
        }
        for text in [transaction_key, changed_by].into_iter().flatten() {
            put_text(out, text.as_bytes());
        }
        if let Some(Approval { actor, reason, at }) = approval {
            put_text(out, actor.as_bytes());
            put_text(out, reason.as_bytes());
            put_timestamp(out, *at);
        }
        if let Some(before) = before {
            put_number(out, before.len() as u64);
            for (name, value) in before {
                put_text(out, name.as_bytes());
                put_value(out, value);
            }
        }
    }

    pub(super) fn of(mut reader: Reader<'_>) -> Self {
        let flags = reader.number();
        let has = |flag: u64| flags & flag != 0;
        let (kind, origin) = (KINDS[usize::from(reader.byte())], ORIGINS[usize::from(reader.byte())]);
        let changed = (0..reader.count())
            .map(|_| match reader.count() {
                0 => owned(reader.text()),
                place => User::FIELDS[place - 1].to_owned(),
            })
            .collect();
        let observed_at = reader.timestamp();
        let [committed_at, read_at, recorded_at] = [COMMITTED_AT, READ_AT, RECORDED_AT].map(|flag| {
            has(flag).then(|| {
                let (second, nanosecond) = (observed_at.as_second() + reader.signed(), reader.signed());
                moment(second, nanosecond)
            })
        });
        let commit_number = match (has(COUNTED), has(COMMIT_NUMBER)) {
            (true, _) => Some(reader.number().to_string()),
            (false, true) => Some(owned(reader.text())),
            (false, false) => None,
        };
        let [transaction_key, changed_by] =
            [TRANSACTION_KEY, CHANGED_BY].map(|flag| has(flag).then(|| owned(reader.text())));
        let approval = has(APPROVAL).then(|| Approval {
            actor: owned(reader.text()),
            reason: owned(reader.text()),
            at: reader.timestamp(),
        });
        let before = has(BEFORE).then(|| {
            (0..reader.count())
                .map(|_| (owned(reader.text()), reader.value()))
                .collect()
        });
        Self {
            kind,
            changed,
            before,
            cause: Cause {
                origin,
                committed_at,
                observed_at,
                read_at,
                recorded_at,
                commit_number,
                transaction_key,
                changed_by,
                approval,
            },
        }
    }

    /// The whole message again.
    pub(super) fn with(self, version: u64, user: User) -> UserChange {
        let Self {
            kind,
            changed,
            before,
            cause,
        } = self;
        UserChange {
            version,
            kind,
            changed,
            before,
            user,
            cause,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::{collection, option, prelude::*};
    use usher_packed::arbitrary::{self, json, user};

    use super::*;

    fn text() -> impl Strategy<Value = Option<String>> {
        option::of(prop_oneof![
            any::<String>(),
            any::<u64>().prop_map(|number| number.to_string()),
            Just("007".to_owned()),
        ])
    }

    prop_compose! {
        /// Any message.
        pub(in crate::users) fn change()(
            (version, user) in (any::<u64>(), user()),
            (kind, origin) in (prop::sample::select(KINDS.to_vec()), prop::sample::select(ORIGINS.to_vec())),
            changed in collection::vec(prop_oneof![
                prop::sample::select(User::FIELDS.to_vec()).prop_map(str::to_owned),
                any::<String>(),
            ], 0..4),
            before in option::of(collection::btree_map(any::<String>(), json(), 0..3)),
            (observed_at, committed_at, read_at, recorded_at) in
                (arbitrary::moment(), option::of(arbitrary::moment()), option::of(arbitrary::moment()), option::of(arbitrary::moment())),
            (commit_number, transaction_key, changed_by) in (text(), text(), text()),
            approval in option::of((any::<String>(), any::<String>(), arbitrary::moment())),
        ) -> UserChange {
            let approval = approval.map(|(actor, reason, at)| Approval { actor, reason, at });
            let cause = Cause {
                origin, committed_at, observed_at, read_at, recorded_at, commit_number, transaction_key, changed_by, approval,
            };
            UserChange { version, kind, changed, before, user, cause }
        }
    }

    #[test]
    fn every_kind_and_every_origin_has_a_number_of_its_own() {
        for (number, kind) in KINDS.iter().enumerate() {
            assert_eq!(usize::from(place(&KINDS, kind)), number);
            // A kind that is added later does not compile until it has a number.
            match kind {
                ChangeKind::Discovered
                | ChangeKind::Created
                | ChangeKind::Updated
                | ChangeKind::Deactivated
                | ChangeKind::Reactivated
                | ChangeKind::Frozen
                | ChangeKind::Unfrozen
                | ChangeKind::Unlisted
                | ChangeKind::Listed
                | ChangeKind::Removed
                | ChangeKind::Restored => {}
            }
        }
        for (number, origin) in ORIGINS.iter().enumerate() {
            assert_eq!(usize::from(place(&ORIGINS, origin)), number);
            match origin {
                Origin::ChangeEvent | Origin::Report | Origin::Query | Origin::Recheck | Origin::Reimport => {}
            }
        }
    }
}
