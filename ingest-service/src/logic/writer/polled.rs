//! Polls: what change events never say (groups, permission sets, frozen state, names), attached to the people.
//!
//! A complete poll says something about everybody who is published: who is not in its answer has nothing. Who differs
//! is found in the heads; only these people are unpacked, a few per step, so that neither the stream nor the memory
//! notices a poll about everybody. Names stand in no head: when one has changed, and once after a restart, everybody is
//! looked at in the same small steps.
//!
//! Only polls speak about these fields, so the newest poll wins. A poll has not read the user's record: it moves neither
//! `read_at` of the head nor `touched` (ordering rules 1 and 2).
//!
//! An answer that takes everything from many people at once looks like a permission that was withdrawn. It is not
//! believed until an operator says so, however often it is repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use usher_contract::{GroupRef, Known, NamedRef, Origin, RecordId, User, UserId};

use super::{Head, Published, Timestamp, Writer, debts::read_cause};
use crate::logic::polls::{Lists, PollKind, empty_mark};

/// People unpacked per step: some milliseconds. Larger: steps block the stream; smaller: a renamed role takes longer.
const LOOKED_AT_PER_STEP: usize = 2_000;
/// Messages per step, so that they share transactions with the stream.
const STAGED_PER_STEP: usize = 200;
/// Fewer people than this may lose everything without being asked about, as long as the answer is not empty.
const LOSERS_AT_LEAST: usize = 5;

/// What a complete poll says about everyone.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// Whose log-in is frozen; nobody else's is.
    Frozen(HashSet<UserId>),
    /// Who is in which groups; nobody else is in any.
    Groups(Lists<GroupRef>),
    /// Who has which permission sets; nobody else has any.
    PermissionSets(Lists<NamedRef>),
    /// Names of profiles and roles.
    Names(HashMap<RecordId, String>),
}

impl Polled {
    /// What was polled.
    #[must_use]
    pub fn kind(&self) -> PollKind {
        match self {
            Self::Frozen(_) => PollKind::Frozen,
            Self::Groups(_) => PollKind::Groups,
            Self::PermissionSets(_) => PollKind::PermissionSets,
            Self::Names(_) => PollKind::Names,
        }
    }
}

/// The answer to one poll of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Poll {
    /// What it says about everyone.
    pub polled: Polled,
    /// When it was asked for, by the source's clock.
    pub read_at: Timestamp,
    /// An operator has confirmed that it may take everything from many.
    pub accept_loss: bool,
}

/// A name and the newest read that gave it.
#[derive(Debug)]
struct Name {
    text: String,
    read_at: Timestamp,
}

/// A round that is being worked off.
#[derive(Debug)]
struct Round {
    frozen: Option<HashSet<UserId>>,
    groups: Option<Lists<GroupRef>>,
    permission_sets: Option<Lists<NamedRef>>,
    /// Names that the holders do not all have yet.
    names: BTreeMap<RecordId, String>,
    read_at: Timestamp,
    people: Vec<UserId>,
}

/// What the writer knows about polls.
#[derive(Debug, Default)]
pub(super) struct Polls {
    wanted: BTreeSet<PollKind>,
    /// Polls that somebody published waits for.
    waiting: BTreeSet<PollKind>,
    /// Published since the round began that is being read: it may not know them. `None`: none is being read.
    newcomers: Option<HashSet<UserId>>,
    round: Option<Round>,
    doubts: BTreeMap<PollKind, String>,
    /// Names behind ids of profiles and roles, learnt from polls and reads.
    names: HashMap<RecordId, Name>,
    /// Names that every holder has; an id is absent when that is not known.
    attached: HashMap<RecordId, String>,
}

impl Writer {
    /// Says which polls there will be. Everybody who is published and of whom one of them is not known waits for it.
    pub fn expect_polls(&mut self, wanted: BTreeSet<PollKind>) {
        self.polls.waiting = wanted
            .iter()
            .copied()
            .filter(|kind| {
                self.published.heads().any(|(_, head)| match kind {
                    PollKind::Frozen => !head.removed && head.frozen.is_none(),
                    PollKind::Groups => !head.removed && head.groups == 0,
                    PollKind::PermissionSets => !head.removed && head.permission_sets == 0,
                    PollKind::Names => false,
                })
            })
            .collect();
        self.polls.wanted = wanted;
    }

    /// Polls that somebody waits for who was published, or came back, after the last one.
    #[must_use]
    pub fn unpolled(&self) -> &BTreeSet<PollKind> {
        &self.polls.waiting
    }

    /// Whether a round of polls is still being worked off: the next one begins after it.
    #[must_use]
    pub fn attaching(&self) -> bool {
        self.polls.round.is_some()
    }

    /// Why the last answer to this poll was not believed.
    #[must_use]
    pub fn poll_doubt(&self, kind: PollKind) -> Option<&str> {
        self.polls.doubts.get(&kind).map(String::as_str)
    }

    /// Who is published as frozen.
    #[must_use]
    pub fn frozen(&self) -> Vec<UserId> {
        self.heads()
            .filter(|(_, head)| head.frozen == Some(true) && !head.removed)
            .map(|(id, _)| id)
            .collect()
    }

    /// The newest heads of everybody.
    fn heads(&self) -> impl Iterator<Item = (UserId, Head)> + '_ {
        self.published
            .heads()
            .filter(|(id, _)| !self.overlay.contains_key(id))
            .chain(self.overlay.iter().map(|(id, person)| (*id, person.head)))
    }

    /// A round of polls begins: who is published from now on may be too new for it.
    pub(super) fn poll_began(&mut self) {
        self.polls.newcomers = Some(HashSet::new());
    }

    /// Somebody is staged: whoever is new, or back, waits for the polls.
    pub(super) fn note_unpolled(&mut self, last: Option<&Published>, next: &User) {
        if next.removed || last.is_some_and(|person| !person.head.removed) {
            return;
        }
        let polls = &mut self.polls;
        polls
            .waiting
            .extend(polls.wanted.iter().filter(|kind| **kind != PollKind::Names));
        if let Some(newcomers) = &mut polls.newcomers {
            newcomers.insert(next.id);
        }
    }

    /// The answers of a round. What failed is not among them, and changes nothing.
    pub(super) fn polled(&mut self, polls: Vec<Poll>) {
        let newcomers = self.polls.newcomers.take().unwrap_or_default();
        // A round that is not worked off is as good as never read: its people differ still.
        self.polls.round = None;
        let mut round = Round {
            frozen: None,
            groups: None,
            permission_sets: None,
            names: BTreeMap::new(),
            read_at: Timestamp::MIN,
            people: Vec::new(),
        };
        for poll in polls {
            let kind = poll.polled.kind();
            let doubt = match &poll.polled {
                Polled::Groups(lists) => {
                    let marked = |head: &Head| (head.groups, empty_mark::<GroupRef>());
                    self.doubt(lists.is_empty(), |id| lists.mark(id), marked)
                }
                Polled::PermissionSets(lists) => {
                    let marked = |head: &Head| (head.permission_sets, empty_mark::<NamedRef>());
                    self.doubt(lists.is_empty(), |id| lists.mark(id), marked)
                }
                Polled::Names(names) if names.is_empty() => Some("it names nothing".to_owned()),
                Polled::Frozen(_) | Polled::Names(_) => None,
            };
            if let Some(doubt) = doubt.filter(|_| !poll.accept_loss) {
                self.polls.doubts.insert(kind, doubt);
                continue;
            }
            self.polls.doubts.remove(&kind);
            if newcomers.is_empty() {
                self.polls.waiting.remove(&kind);
            }
            round.read_at = round.read_at.max(poll.read_at);
            match poll.polled {
                Polled::Frozen(frozen) => round.frozen = Some(frozen),
                Polled::Groups(lists) => round.groups = Some(lists),
                Polled::PermissionSets(lists) => round.permission_sets = Some(lists),
                Polled::Names(names) => round.names = self.renamed(names, poll.read_at),
            }
        }
        let differs = |id: UserId, head: &Head| {
            !round.names.is_empty()
                || round
                    .frozen
                    .as_ref()
                    .is_some_and(|frozen| head.frozen != Some(frozen.contains(&id)))
                || round.groups.as_ref().is_some_and(|lists| head.groups != lists.mark(id))
                || round
                    .permission_sets
                    .as_ref()
                    .is_some_and(|lists| head.permission_sets != lists.mark(id))
        };
        let people: Vec<UserId> = self
            .heads()
            .filter(|(id, head)| !head.removed && differs(*id, head) && !newcomers.contains(id))
            .map(|(id, _)| id)
            .collect();
        if !people.is_empty() || !round.names.is_empty() {
            round.people = people;
            self.polls.round = Some(round);
        }
    }

    /// Why an answer looks like lost access: it takes everything from everybody, or from more than half of those who had
    /// something. `marked` gives what is published and what nothing would be.
    fn doubt(
        &self,
        nothing: bool,
        next: impl Fn(UserId) -> u64,
        marked: impl Fn(&Head) -> (u64, u64),
    ) -> Option<String> {
        let (mut had, mut lost) = (0, 0);
        for (id, head) in self.heads().filter(|(_, head)| !head.removed) {
            let (published, empty) = marked(&head);
            if published != 0 && published != empty {
                had += 1;
                lost += usize::from(next(id) == empty);
            }
        }
        let suspicious = (nothing && lost > 0) || (lost >= LOSERS_AT_LEAST && lost * 2 > had);
        suspicious.then(|| {
            format!(
                "the answer has nothing for {lost} of the {had} people who had something, which looks like lost access; \
                 if it is right, run `ingest-service reimport --accept-size`"
            )
        })
    }

    /// The newest names, and among them those that the holders do not all have.
    fn renamed(&mut self, names: HashMap<RecordId, String>, read_at: Timestamp) -> BTreeMap<RecordId, String> {
        let mut renamed = BTreeMap::new();
        for (id, text) in names {
            let name = self.polls.names.entry(id).or_insert_with(|| Name {
                text: text.clone(),
                read_at,
            });
            if name.read_at <= read_at {
                *name = Name { text, read_at };
            }
            if self.polls.attached.get(&id) != Some(&name.text) {
                renamed.insert(id, name.text.clone());
            }
        }
        renamed
    }

    /// Works off a part of the round, unless the transactions are behind.
    pub(super) fn attach(&mut self, now: Timestamp) {
        if self.backlog() >= self.config.batch_records_max {
            return;
        }
        let Some(mut round) = self.polls.round.take() else {
            return;
        };
        let mut staged = 0;
        for _ in 0..LOOKED_AT_PER_STEP {
            if staged == STAGED_PER_STEP {
                break;
            }
            let Some(id) = round.people.pop() else { break };
            staged += usize::from(self.attach_to(&round, id, now));
        }
        if !round.people.is_empty() {
            self.polls.round = Some(round);
            return;
        }
        for (id, text) in round.names {
            // A read may have brought a newer name meanwhile: then the holders are looked at again.
            if self.polls.names.get(&id).is_some_and(|name| name.text == text) {
                self.polls.attached.insert(id, text);
            }
        }
    }

    fn attach_to(&mut self, round: &Round, id: UserId, now: Timestamp) -> bool {
        // Whoever is erased stays in the table until the tombstone is committed.
        if self.suppressed.contains_key(&id) {
            return false;
        }
        let Some(last) = self.person(id).filter(|person| !person.head.removed) else {
            return false;
        };
        let mut next = last.user.clone();
        if let Some(frozen) = &round.frozen {
            next.frozen = Known::Value(frozen.contains(&id));
        }
        if let Some(lists) = &round.groups {
            next.groups = Known::Value(lists.get(id).to_vec());
        }
        if let Some(lists) = &round.permission_sets {
            next.permission_sets = Known::Value(lists.get(id).to_vec());
        }
        if !round.names.is_empty() {
            for reference in [&mut next.profile, &mut next.role] {
                if let Known::Value(reference) = reference
                    && let Some(name) = self.polls.names.get(&reference.id)
                {
                    reference.name = Known::Value(name.text.clone());
                }
            }
        }
        let read_at = last.head.read_at;
        let cause = read_cause(Origin::Query, round.read_at, now);
        let staged = self.stage(Some(&last), next, cause, false, false);
        if staged {
            self.update_head(id, |head| head.read_at = read_at);
        }
        staged
    }

    /// Learns the names that a read brought, and corrects those that are known to be older.
    pub(super) fn learn_names(&mut self, user: &mut User, read_at: Timestamp) {
        for reference in [&mut user.profile, &mut user.role] {
            let Known::Value(NamedRef {
                id,
                name: Known::Value(text),
            }) = reference
            else {
                continue;
            };
            let polls = &mut self.polls;
            match polls.names.get_mut(id) {
                Some(known) if known.read_at > read_at => text.clone_from(&known.text),
                Some(known) if known.text == *text => known.read_at = read_at,
                _ => {
                    let text = text.clone();
                    // Whatever is polled next, the holders are looked at again.
                    polls.attached.remove(id);
                    polls.names.insert(*id, Name { text, read_at });
                }
            }
        }
    }

    /// Puts known names behind ids that came without. False when one is not known.
    pub(super) fn fill_names(&self, user: &mut User) -> bool {
        let fill = |reference: &mut Known<NamedRef>| match reference {
            Known::Value(reference) if reference.name.is_unknown() => match self.polls.names.get(&reference.id) {
                Some(name) => {
                    reference.name = Known::Value(name.text.clone());
                    true
                }
                None => false,
            },
            _ => true,
        };
        let profile = fill(&mut user.profile);
        fill(&mut user.role) && profile
    }
}
