//! The oracle: what may be committed, and what must be there in the end. It knows the source's history and none of the
//! writer's rules.

use std::collections::{BTreeMap, BTreeSet};

use usher_contract::{Known, Origin, User, UserChange};

use super::{
    super::{Batch, HeldSet, UserId},
    source::{PEOPLE, Source, id},
};

/// What was last said about a person.
#[derive(Debug, Clone)]
struct Said {
    user: User,
    version: u64,
    /// The commit that the message rests on.
    number: usize,
    erased: bool,
}

/// Follows the committed history.
#[derive(Debug, Default)]
pub(super) struct Judge {
    said: BTreeMap<u32, Said>,
    /// The newest commit that a committed position has passed.
    pub(super) covered: usize,
    suppressed: BTreeSet<UserId>,
    /// People about whom something was seen since they were held that ends it.
    pub(super) released: BTreeSet<u32>,
    /// Who is kept back in the writer's memory, and how.
    kept: BTreeMap<u32, bool>,
    /// Messages in all.
    pub(super) messages: usize,
}

fn enabled(user: &User) -> bool {
    user.active == Known::Value(true) && !user.removed
}

fn age(value: &Known<String>) -> Option<usize> {
    value.value().map(|text| text.parse().unwrap())
}

/// How somebody is kept back: `Some(true)` for a removal.
fn held<'a>(mut sets: impl Iterator<Item = &'a HeldSet>, id: UserId) -> Option<bool> {
    sets.find_map(
        |set| match (set.removals.contains(&id), set.deactivations.contains(&id)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
    )
}

impl Judge {
    /// A batch has been committed; `sets` are those before it.
    pub(super) fn batch(&mut self, batch: &Batch, source: &Source, sets: &BTreeMap<String, HeldSet>) {
        // Lifted, published and erased again may all be in one batch.
        self.suppressed.retain(|user| !batch.suppressed.contains_key(user));
        for change in &batch.changes {
            self.message(change, source, sets);
        }
        for who in (1..=PEOPLE).filter(|who| batch.erased.contains(&id(*who))) {
            let said = self.said.get_mut(&who).expect("only who was published is erased");
            assert!(!enabled(&said.user), "{who} is erased while active");
            said.erased = true;
        }
        let made = batch
            .suppressed
            .iter()
            .filter(|(_, record)| record.as_ref().is_some_and(|record| record.lifted.is_none()));
        self.suppressed.extend(made.map(|(user, _)| *user));
        if let Some(position) = &batch.position.replay_id {
            self.covered = self.covered.max(position.parse().unwrap());
        }
    }

    /// The writer keeps these people back now: what was seen of those who are new among them does not count any more.
    pub(super) fn kept(&mut self, sets: &BTreeMap<String, HeldSet>) {
        for who in 1..=PEOPLE {
            let kept = held(sets.values(), id(who));
            let before = match kept {
                Some(kept) => self.kept.insert(who, kept),
                None => self.kept.remove(&who),
            };
            if kept.is_some() && kept != before {
                self.released.remove(&who);
            }
        }
    }

    fn message(&mut self, change: &UserChange, source: &Source, sets: &BTreeMap<String, HeldSet>) {
        self.messages += 1;
        let user = &change.user;
        let who = (1..=PEOPLE).find(|who| id(*who) == user.id).unwrap();
        let by_event = change.cause.origin == Origin::ChangeEvent;
        let number = if by_event {
            change.cause.commit_number.as_ref().unwrap().parse().unwrap()
        } else {
            source.number_at(change.cause.read_at.unwrap())
        };
        assert!(
            !by_event || number > self.covered,
            "{who}: event {number} was handled before"
        );
        let said = self.said.get(&who);
        let version = said.map_or(0, |said| said.version);
        assert_eq!(change.version, version + 1, "versions of {who} rise by one");
        assert!(!self.suppressed.contains(&user.id), "{who} is erased and comes back");
        if let Some(said) = said.filter(|said| !said.erased) {
            let mut same = user.clone();
            same.modified_at = said.user.modified_at.clone();
            assert_ne!(same, said.user, "nothing about {who} has changed");
            // Values carry the number of their commit: none may become older.
            assert!(age(&user.title) >= age(&said.user.title), "an older title of {who}");
            assert!(
                age(&user.department) >= age(&said.user.department),
                "an older department of {who}"
            );
        }
        // A turn must have happened: at or after the commit that the last message rests on.
        let since = said.map_or(0, |said| said.number);
        let before = said.map(|said| &said.user);
        if enabled(user) && before.is_none_or(|before| !enabled(before)) {
            assert!(
                source.ever_since(since, who, |person| person.enabled()),
                "{who} is enabled again although the source has not done it"
            );
        }
        if before.is_some_and(enabled) && !enabled(user) {
            assert!(
                source.ever_since(since, who, |person| !person.enabled()),
                "{who} is disabled although the source has not done it"
            );
        }
        let removed = before.is_some_and(|before| before.removed);
        if user.removed && !removed {
            assert!(
                source.ever_since(since, who, |person| !person.belongs()),
                "{who} is removed and was a member all the time"
            );
        }
        if removed && !user.removed || before.is_none() {
            assert!(
                source.ever_since(since, who, |person| person.belongs()),
                "{who} is published and was not a member"
            );
        }
        // What is kept back stays back: only an operator, an event or being seen otherwise ends it.
        let leaks = match held(sets.values(), user.id) {
            Some(true) => user.removed && !removed,
            Some(false) => before.is_some_and(enabled) && user.active == Known::Value(false),
            None => false,
        };
        assert!(
            !leaks || by_event || change.cause.approval.is_some() || self.released.contains(&who),
            "{who} is held and was published all the same"
        );
        let said = Said {
            user: user.clone(),
            version: change.version,
            number,
            erased: false,
        };
        self.said.insert(who, said);
    }

    /// Compares what is published with the source. `sure`: whose being a member is known.
    pub(super) fn verdict(
        &self,
        source: &Source,
        sets: &BTreeMap<String, HeldSet>,
        sure: impl Fn(u32) -> bool,
        listing: bool,
    ) {
        for (who, person) in source.people() {
            let user = id(*who);
            let kept = held(sets.values(), user);
            let published = self.said.get(who).filter(|said| !said.erased);
            if self.suppressed.contains(&user) {
                assert!(published.is_none(), "{who} is erased");
                continue;
            }
            if !sure(*who) {
                continue;
            }
            let Some(said) = published else {
                assert!(!person.belongs(), "{who} is not published");
                continue;
            };
            let user = &said.user;
            if !person.belongs() {
                assert!(user.removed || kept == Some(true), "{who} is not removed");
                continue;
            }
            assert!(!user.removed, "{who} is removed and belongs");
            if kept != Some(false) {
                assert_eq!(user.active, Known::Value(person.active), "active of {who}");
            }
            assert_eq!(age(&user.title), Some(person.title), "title of {who}");
            assert_eq!(age(&user.department), Some(person.department), "department of {who}");
            if listing {
                assert_eq!(user.listed, Known::Value(person.listed), "listed of {who}");
            }
        }
    }
}
