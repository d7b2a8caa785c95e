//! A link as bytes, and back: exact. One allocation per person, and of an attribute little more than its hash.
//!
//! ```text
//! flags · account · number of the paths · version · configuration · 16 bytes per attribute · what few links have
//! ```
//!
//! Nothing of this is ever written out; records on the topic are JSON.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::StateHash;
use usher_packed::bytes::{Reader, owned, put_number, put_text, put_timestamp, put_value, text};

use super::{FORMAT, Link, LinkState, Written, WrittenAttributes};
use crate::logic::{
    account::{AttributePath, AttributeValues, RemoteId},
    assignments::Assigned,
    notification::{Notice, Onboarding},
};

const ACCOUNT: u64 = 1;
const ACTIVE_KNOWN: u64 = 1 << 1;
const ACTIVE: u64 = 1 << 2;
const INTENT: u64 = 1 << 3;
const INFERRED: u64 = 1 << 4;
const RELEASED: u64 = 1 << 5;
const PERSON: u64 = 1 << 6;
const CHANGED_AT: u64 = 1 << 7;
const REMOVED_AT: u64 = 1 << 8;
const LEFT_AT: u64 = 1 << 9;
const ACTIVE_SINCE: u64 = 1 << 10;
const ASSIGNMENT: u64 = 1 << 11;
const VALUES: u64 = 1 << 12;
/// Of some attribute more is known than its hash.
const DETAILS: u64 = 1 << 13;
/// Not settled, or somebody was told of the account.
const REST: u64 = 1 << 14;
/// Another format than the present one.
const FORMAT_SAID: u64 = 1 << 15;
const SAID: u64 = 1 << 16;
/// Settings of an assignment are among the attributes.
const GIVEN: u64 = 1 << 17;

const RETURNED: u8 = 1;
const DOUBTED: u8 = 2;

const INTACT: &str = "**Invariant**: packed bytes are read as they were written";

/// What few links have, in a form that is slow and never wrong.
#[derive(Serialize, Deserialize)]
struct Rest {
    state: LinkState,
    notices: Vec<Notice>,
    onboarding: Option<Onboarding>,
}

/// Lists of paths that links have, each once, counted.
#[derive(Debug, Default)]
pub struct Shapes {
    entries: Vec<(Arc<Vec<AttributePath>>, u32)>,
    free: Vec<u32>,
    index: HashMap<Arc<Vec<AttributePath>>, u32>,
    /// The last one taken: most often it is the next one as well.
    last: u32,
}

impl Shapes {
    fn take(&mut self, paths: &Arc<Vec<AttributePath>>) -> u32 {
        let likely = self.entries.get(self.last as usize);
        let same = likely.is_some_and(|(known, uses)| *uses > 0 && (Arc::ptr_eq(known, paths) || known == paths));
        let number = match self.index.get(paths).filter(|_| !same) {
            _ if same => self.last,
            Some(number) => *number,
            None => {
                let entry = (Arc::clone(paths), 0);
                let number = if let Some(number) = self.free.pop() {
                    self.entries[number as usize] = entry;
                    number
                } else {
                    self.entries.push(entry);
                    u32::try_from(self.entries.len() - 1).expect("**Invariant**: not more shapes than links")
                };
                self.index.insert(Arc::clone(paths), number);
                number
            }
        };
        self.entries[number as usize].1 += 1;
        self.last = number;
        number
    }

    fn give_back(&mut self, number: u32) {
        let (paths, uses) = &mut self.entries[number as usize];
        *uses -= 1;
        if *uses == 0 {
            let paths = std::mem::take(paths);
            self.index.remove(&paths);
            self.free.push(number);
        }
    }

    fn get(&self, number: u32) -> &Arc<Vec<AttributePath>> {
        &self.entries[number as usize].0
    }

    /// How many lists are in use.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.index.len()
    }
}

/// Packs a link. `scratch` is any vector, taken to be used again.
pub fn pack(link: &Link, shapes: &mut Shapes, scratch: &mut Vec<u8>) -> Box<[u8]> {
    // Every field by name: one that is added later does not compile until it is packed.
    let Link {
        format,
        remote_id,
        active,
        person,
        written,
        values,
        create_intent,
        user_version,
        configuration,
        state,
        changed_at,
        removed_at,
        left_at,
        active_since,
        said,
        assignment,
        removal_inferred,
        notices,
        onboarding,
        released,
    } = link;
    let detailed = |written: &Written| written.returned.is_some() || written.doubted || written.corrections > 0;
    let details = written.values().iter().any(detailed);
    let given = || written.values().iter().enumerate().filter(|(_, written)| written.given);
    let rest = *state != LinkState::Settled || !notices.is_empty() || onboarding.is_some();
    let flags = [
        (remote_id.is_some(), ACCOUNT),
        (active.is_some(), ACTIVE_KNOWN),
        (*active == Some(true), ACTIVE),
        (*create_intent, INTENT),
        (*removal_inferred, INFERRED),
        (*released, RELEASED),
        (person.is_some(), PERSON),
        (changed_at.is_some(), CHANGED_AT),
        (removed_at.is_some(), REMOVED_AT),
        (left_at.is_some(), LEFT_AT),
        (active_since.is_some(), ACTIVE_SINCE),
        (assignment.is_some(), ASSIGNMENT),
        (!values.is_empty(), VALUES),
        (details, DETAILS),
        (rest, REST),
        (*format != FORMAT, FORMAT_SAID),
        (said.is_some(), SAID),
        (given().next().is_some(), GIVEN),
    ];
    let out = scratch;
    out.clear();
    put_number(out, flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum());
    if let Some(account) = remote_id {
        put_text(out, account.0.as_bytes());
    }
    put_number(out, shapes.take(written.paths()).into());
    put_number(out, *user_version);
    out.extend(configuration.to_bytes());
    for written in written.values() {
        out.extend(written.hash.to_bytes());
    }
    if details {
        for Written {
            hash: _,
            returned,
            doubted,
            corrections,
            given: _,
        } in written.values()
        {
            out.push((u8::from(returned.is_some()) * RETURNED) | (u8::from(*doubted) * DOUBTED));
            out.push(*corrections);
            out.extend(returned.iter().flat_map(|returned| returned.to_bytes()));
        }
    }
    if given().next().is_some() {
        put_number(out, given().count() as u64);
        given().for_each(|(place, _)| put_number(out, place as u64));
    }
    out.extend(person.iter().chain(said).flat_map(|hash| hash.to_bytes()));
    for at in [changed_at, removed_at, left_at, active_since].into_iter().flatten() {
        put_timestamp(out, *at);
    }
    if let Some(Assigned { name, settings, at }) = assignment {
        put_text(out, name.as_bytes());
        out.extend(settings.to_bytes());
        put_timestamp(out, *at);
    }
    if !values.is_empty() {
        put_number(out, values.len() as u64);
        for (path, value) in values {
            put_text(out, path.0.as_bytes());
            put_value(out, value);
        }
    }
    if rest {
        let rest = Rest {
            state: state.clone(),
            notices: notices.clone(),
            onboarding: *onboarding,
        };
        out.extend(serde_json::to_vec(&rest).expect("**Invariant**: links are JSON"));
    }
    if *format != FORMAT {
        // Behind everything else, and its length is known.
        out.extend(format.to_le_bytes());
    }
    out.as_slice().into()
}

/// The link that was packed.
pub fn unpack(packed: &[u8], shapes: &Shapes) -> Link {
    let mut reader = Reader(packed);
    let flags = reader.number();
    let has = |flag: u64| flags & flag != 0;
    let format = if has(FORMAT_SAID) {
        let (before, format) = reader.0.split_at(reader.0.len() - 4);
        reader.0 = before;
        u32::from_le_bytes(format.try_into().expect(INTACT))
    } else {
        FORMAT
    };
    let remote_id = has(ACCOUNT).then(|| RemoteId(owned(reader.text())));
    let paths = shapes.get(shape(&mut reader));
    let user_version = reader.number();
    let configuration = hash(&mut reader);
    let mut written: Vec<Written> = (0..paths.len())
        .map(|_| Written {
            hash: hash(&mut reader),
            returned: None,
            doubted: false,
            corrections: 0,
            given: false,
        })
        .collect();
    if has(DETAILS) {
        for written in &mut written {
            let details = reader.byte();
            written.doubted = details & DOUBTED != 0;
            written.corrections = reader.byte();
            written.returned = (details & RETURNED != 0).then(|| hash(&mut reader));
        }
    }
    if has(GIVEN) {
        for _ in 0..reader.count() {
            let place = usize::try_from(reader.number()).expect(INTACT);
            written.get_mut(place).expect(INTACT).given = true;
        }
    }
    let person = has(PERSON).then(|| hash(&mut reader));
    let said = has(SAID).then(|| hash(&mut reader));
    let mut at = |flag: u64| -> Option<Timestamp> { has(flag).then(|| reader.timestamp()) };
    let [changed_at, removed_at, left_at, active_since] = [CHANGED_AT, REMOVED_AT, LEFT_AT, ACTIVE_SINCE].map(&mut at);
    let assignment = has(ASSIGNMENT).then(|| Assigned {
        name: owned(reader.text()),
        settings: hash(&mut reader),
        at: reader.timestamp(),
    });
    let values: AttributeValues = if has(VALUES) {
        (0..reader.count())
            .map(|_| (AttributePath(owned(reader.text())), reader.value()))
            .collect()
    } else {
        AttributeValues::new()
    };
    let rest = has(REST).then(|| serde_json::from_slice::<Rest>(reader.0).expect(INTACT));
    let (state, notices, onboarding) = rest.map_or((LinkState::Settled, Vec::new(), None), |rest| {
        (rest.state, rest.notices, rest.onboarding)
    });
    Link {
        format,
        remote_id,
        active: has(ACTIVE_KNOWN).then(|| has(ACTIVE)),
        person,
        written: WrittenAttributes::over(Arc::clone(paths), written),
        values,
        create_intent: has(INTENT),
        user_version,
        configuration,
        state,
        changed_at,
        removed_at,
        left_at,
        active_since,
        said,
        assignment,
        removal_inferred: has(INFERRED),
        notices,
        onboarding,
        released: has(RELEASED),
    }
}

/// The account alone.
pub fn account(packed: &[u8]) -> Option<&str> {
    let mut reader = Reader(packed);
    (reader.number() & ACCOUNT != 0).then(|| text(reader.text()))
}

/// The version of the state that was acted on, alone.
pub fn user_version(packed: &[u8]) -> u64 {
    let mut reader = Reader(packed);
    if reader.number() & ACCOUNT != 0 {
        reader.text();
    }
    shape(&mut reader);
    reader.number()
}

/// The packed link is gone: its paths are given back.
pub fn give_back(packed: &[u8], shapes: &mut Shapes) {
    let mut reader = Reader(packed);
    if reader.number() & ACCOUNT != 0 {
        reader.text();
    }
    shapes.give_back(shape(&mut reader));
}

fn shape(reader: &mut Reader<'_>) -> u32 {
    u32::try_from(reader.number()).expect(INTACT)
}

fn hash(reader: &mut Reader<'_>) -> StateHash {
    StateHash::from_bytes(reader.array())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{collection, option, prelude::*};
    use usher_packed::arbitrary::{json, moment};

    use usher_contract::Approval;

    use super::*;
    use crate::logic::{
        guard::Budget,
        link::Release,
        notification::{NoticeKind, NoticeState},
        testing::user_key,
    };

    fn state_hash() -> impl Strategy<Value = StateHash> {
        any::<[u8; 16]>().prop_map(StateHash::from_bytes)
    }

    fn state() -> impl Strategy<Value = LinkState> {
        let release = |(what, actor, reason, at): (StateHash, String, String, Timestamp)| Release {
            what,
            by: Approval { actor, reason, at },
        };
        let released = || option::of((state_hash(), any::<String>(), any::<String>(), moment()).prop_map(release));
        let tried = (
            state_hash(),
            any::<u32>(),
            moment(),
            moment(),
            any::<String>(),
            released(),
        );
        let refused = (state_hash(), any::<String>(), any::<String>(), moment(), released());
        prop_oneof![
            3 => Just(LinkState::Settled),
            1 => tried.prop_map(|(desired, attempts, next_try, since, code, approved)| LinkState::Retrying {
                desired, attempts, next_try, since, code, approved,
            }),
            1 => refused.prop_map(|(desired, code, reason, at, approved)| LinkState::Rejected {
                desired, code, reason, at, approved,
            }),
            1 => (any::<String>(), moment()).prop_map(|(set, at)| LinkState::Held {
                set, budget: Budget::InferredRemovals, action: "deactivate".to_owned(), at,
            }),
            1 => (state_hash(), any::<String>(), moment())
                .prop_map(|(desired, reason, at)| LinkState::Skipped { desired, reason, at }),
        ]
    }

    fn written() -> impl Strategy<Value = WrittenAttributes> {
        let one = (
            state_hash(),
            option::of(state_hash()),
            any::<bool>(),
            any::<u8>(),
            any::<[bool; 2]>(),
        );
        let one = one.prop_map(|(hash, returned, doubted, corrections, [plain, given])| {
            if plain {
                return Written::now(hash, None, None);
            }
            Written {
                hash,
                returned,
                doubted,
                corrections,
                given,
            }
        });
        collection::btree_map("[a-d]{1,2}", one, 0..20).prop_map(|found| {
            found
                .into_iter()
                .map(|(path, written)| (AttributePath(path), written))
                .collect()
        })
    }

    fn notice() -> impl Strategy<Value = Notice> {
        (any::<String>(), moment(), any::<bool>()).prop_map(|(id, at, sent)| Notice {
            state: if sent {
                NoticeState::Sent { at }
            } else {
                NoticeState::Intended
            },
            ..Notice::intended(NoticeKind::Manager { manager: user_key(9) }, id, at)
        })
    }

    prop_compose! {
        /// Any link.
        pub(crate) fn link()(
            (format, user_version) in (prop_oneof![9 => Just(FORMAT), 1 => any::<u32>()], any::<u64>()),
            (account, active) in (option::of(any::<String>()), option::of(any::<bool>())),
            [person, said] in [option::of(state_hash()), option::of(state_hash())],
            written in written(),
            values in collection::btree_map("[a-d]{1,2}", json(), 0..3),
            [create_intent, removal_inferred, released] in any::<[bool; 3]>(),
            (configuration, state) in (state_hash(), state()),
            [changed_at, removed_at, left_at, active_since] in [option::of(moment()), option::of(moment()), option::of(moment()), option::of(moment())],
            assignment in option::of((any::<String>(), state_hash(), moment())),
            notices in collection::vec(notice(), 0..2),
            onboarding in option::of(Just(Onboarding::Invited)),
        ) -> Link {
            Link {
                format,
                remote_id: account.map(RemoteId),
                active,
                person,
                written,
                values: values.into_iter().map(|(path, value)| (AttributePath(path), value)).collect(),
                create_intent,
                user_version,
                configuration,
                state,
                changed_at,
                removed_at,
                left_at,
                active_since,
                said,
                assignment: assignment.map(|(name, settings, at)| Assigned { name, settings, at }),
                removal_inferred,
                notices,
                onboarding,
                released,
            }
        }
    }

    proptest! {
        #[test]
        fn a_link_is_unpacked_as_packed(one in link(), other in link()) {
            let (mut shapes, mut scratch) = (Shapes::default(), Vec::new());
            let packed: Vec<Box<[u8]>> = [&one, &other, &one].map(|link| pack(link, &mut shapes, &mut scratch)).into();
            for (packed, link) in packed.iter().zip([&one, &other, &one]) {
                prop_assert_eq!(&unpack(packed, &shapes), link);
                prop_assert_eq!(account(packed), link.remote_id.as_ref().map(|id| id.0.as_str()));
                prop_assert_eq!(user_version(packed), link.user_version);
            }
            prop_assert!(shapes.len() <= 2);
            for packed in &packed {
                give_back(packed, &mut shapes);
            }
            prop_assert_eq!(shapes.len(), 0);
        }
    }

    #[test]
    fn an_attribute_takes_sixteen_bytes() {
        let hash = StateHash::of_text("x");
        let (mut shapes, mut scratch) = (Shapes::default(), Vec::new());
        let mut link = Link {
            remote_id: Some(RemoteId("0".repeat(18))),
            active: Some(true),
            ..Link::unlinked(1, hash)
        };
        let bare = pack(&link, &mut shapes, &mut scratch).len();
        for n in 0..15 {
            let path = AttributePath(format!("urn:ietf:params:scim:schemas:core:2.0:User:{n}"));
            link.written.insert(path, Written::now(hash, None, None));
        }
        assert_eq!(pack(&link, &mut shapes, &mut scratch).len(), bare + 15 * 16);
        assert!(bare < 48, "{bare}");
    }
}
