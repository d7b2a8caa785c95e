//! The source as a model: people, the log of commits, the stream with its retention, and what reads say at which moment.
//!
//! Every commit has a number: its index in the history, the commit number of its events, and the text of the values
//! that it writes. So each published value tells how old it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{ChangeEvent, ChangeType, Concerned, DecodeError, Header, RawUser, StreamEvent, Timestamp, UserId};
use crate::logic::change_event::Delta;

/// People of the org; the last two are not there in the beginning.
pub(super) const PEOPLE: u32 = 8;

/// Always a member: a snapshot without rows proves nothing, so the last one could never be removed.
const STAYS: u32 = 6;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_312_000 + seconds).unwrap()
}

pub(super) fn id(number: u32) -> UserId {
    UserId::try_new(&format!("005{number:012}")).unwrap()
}

/// One person.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Person {
    born: bool,
    exists: bool,
    member: bool,
    pub(super) active: bool,
    pub(super) title: usize,
    pub(super) department: usize,
    pub(super) listed: bool,
    pub(super) modstamp: i64,
}

impl Person {
    /// A member of the population.
    pub(super) fn belongs(&self) -> bool {
        self.exists && self.member
    }
    /// May use applications.
    pub(super) fn enabled(&self) -> bool {
        self.belongs() && self.active
    }
    pub(super) fn exists(&self) -> bool {
        self.exists
    }
    /// Exists, or has been deleted.
    pub(super) fn has_existed(&self) -> bool {
        self.born
    }
    /// What a read says; a report lacks a column.
    pub(super) fn row(&self, report: bool) -> RawUser {
        let mut row = json!({
            "FirstName": "Ada", "LastName": "Byron", "Email": "a@b",
            "Department": format!("{}", self.department),
            "IsActive": self.active,
        });
        if !report {
            row["Title"] = json!(format!("{}", self.title));
            row["UserType"] = json!(if self.member { "Standard" } else { "Guest" });
            row["LastModifiedDate"] = json!(at(self.modstamp).as_millisecond());
        }
        row.as_object().unwrap().clone()
    }
}

/// What a commit changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    Title,
    Department,
    Active(bool),
    /// By the type of the user, into or out of the population.
    Member(bool),
    Create,
    Delete,
    Undelete,
}

/// How the stream tells of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Told {
    Plainly,
    /// Only who.
    Gap,
    /// That something has happened.
    Overflow,
    Wildcard,
    /// An event that cannot be decoded, with and without its header.
    Broken,
    BrokenHeader,
    /// Not at all.
    Silently,
}

type People = BTreeMap<u32, Person>;

/// An event of the stream.
#[derive(Debug, Clone)]
pub(super) struct Logged {
    /// Equal for siblings; the number of the commit.
    pub(super) replay: usize,
    pub(super) who: Vec<u32>,
    pub(super) change: Change,
    pub(super) told: Told,
    event: Result<ChangeEvent, DecodeError>,
}

impl Logged {
    pub(super) fn received(&self) -> StreamEvent {
        StreamEvent {
            replay_id: self.replay.to_string(),
            schema_id: "s".into(),
            payload: String::new(),
            event: self.event.clone(),
        }
    }
}

/// The org.
#[derive(Debug)]
pub(super) struct Source {
    /// Its clock.
    pub(super) now: i64,
    history: Vec<(i64, People)>,
    pub(super) log: Vec<Logged>,
    /// What is older is no longer on the stream.
    pub(super) retained: usize,
    /// A custom channel: an event per record, and siblings share their replay id.
    siblings: bool,
    /// People of whom only a complete snapshot can tell whether they belong: nobody has named them.
    pub(super) vague: BTreeSet<u32>,
    /// People of whom nobody said that something changed: only a survey can find it.
    pub(super) silent: BTreeSet<u32>,
}

impl Source {
    pub(super) fn new(siblings: bool) -> Self {
        let people = (1..=PEOPLE).map(|who| {
            let there = who <= PEOPLE - 2;
            let person = Person {
                born: there,
                exists: there,
                member: true,
                active: who != 1,
                title: 0,
                department: 0,
                listed: true,
                modstamp: 0,
            };
            (who, person)
        });
        Self {
            now: 0,
            history: vec![(0, people.collect())],
            log: vec![],
            retained: 0,
            siblings,
            vague: BTreeSet::new(),
            silent: BTreeSet::new(),
        }
    }

    /// Everybody now.
    pub(super) fn people(&self) -> &People {
        &self.history.last().unwrap().1
    }
    /// The number of the last commit at a moment.
    pub(super) fn number_at(&self, moment: Timestamp) -> usize {
        self.history.iter().rposition(|(when, _)| at(*when) <= moment).unwrap()
    }
    /// Whether something held of a person at any time from a commit on.
    pub(super) fn ever_since(&self, number: usize, who: u32, holds: impl Fn(&Person) -> bool) -> bool {
        self.history[number..].iter().any(|(_, people)| holds(&people[&who]))
    }
    /// The report's filter is not the org's data: no event tells of it.
    pub(super) fn list(&mut self, who: u32, listed: bool) {
        let listed = listed || who == STAYS;
        self.history.last_mut().unwrap().1.get_mut(&who).unwrap().listed = listed;
    }

    /// A transaction. `late`: seconds between writing and committing it.
    pub(super) fn commit(&mut self, who: &BTreeSet<u32>, change: Change, told: Told, late: i64) {
        let number = self.history.len();
        let mut people = self.people().clone();
        let mut touched = vec![];
        for who in who {
            let before = people[who].clone();
            let person = people.get_mut(who).unwrap();
            match change {
                Change::Create if !before.born => (person.born, person.exists, person.active) = (true, true, true),
                Change::Undelete if before.born => person.exists = true,
                _ if !before.exists => {}
                Change::Member(_) | Change::Delete if *who == STAYS => {}
                Change::Title => person.title = number,
                Change::Department => person.department = number,
                Change::Active(active) => person.active = active,
                Change::Member(member) => person.member = member,
                Change::Delete => person.exists = false,
                Change::Create | Change::Undelete => {}
            }
            if *person != before {
                person.modstamp = person.modstamp.max(self.now - late);
                touched.push(*who);
                self.told(*who, change, told);
            }
        }
        if touched.is_empty() {
            return;
        }
        self.history.push((self.now, people));
        if told == Told::Silently {
            return;
        }
        let named = matches!(told, Told::Plainly | Told::Gap | Told::BrokenHeader);
        let events: Vec<Vec<u32>> = if self.siblings && named {
            touched.into_iter().map(|who| vec![who]).collect()
        } else {
            vec![touched]
        };
        for who in events {
            let event = self.event(number, &who, change, told);
            self.log.push(Logged {
                replay: number,
                who,
                change,
                told,
                event,
            });
        }
    }

    /// Notes what nobody can know from how a change is told.
    pub(super) fn told(&mut self, who: u32, change: Change, told: Told) {
        let named = matches!(told, Told::Plainly | Told::Gap | Told::BrokenHeader);
        let belonging = !matches!(change, Change::Title | Change::Department | Change::Active(_));
        if named {
            return;
        }
        // Whatever is read because of such events finds who has left.
        let everyone = matches!(told, Told::Overflow | Told::Wildcard | Told::Broken);
        let found = everyone && matches!(change, Change::Member(_));
        if belonging && !found {
            self.vague.insert(who);
        }
        if told == Told::Silently {
            self.silent.insert(who);
        }
    }

    fn event(&self, number: usize, who: &[u32], change: Change, told: Told) -> Result<ChangeEvent, DecodeError> {
        let mut delta: Delta = match change {
            Change::Title => Delta::from([("Title".into(), json!(number.to_string()))]),
            Change::Department => Delta::from([("Department".into(), json!(number.to_string()))]),
            Change::Active(active) => Delta::from([("IsActive".into(), json!(active))]),
            Change::Member(member) => {
                let kind = if member { "Standard" } else { "Guest" };
                Delta::from([("UserType".into(), Value::from(kind))])
            }
            Change::Create | Change::Delete | Change::Undelete => Delta::new(),
        };
        let (change_type, reread) = match (told, change) {
            (Told::Gap, Change::Delete) => (ChangeType::GapDelete, Some("gap event of a deletion")),
            (Told::Gap, _) => (ChangeType::Gap, Some("gap event")),
            (Told::Overflow, _) => (ChangeType::Overflow, Some("gap overflow")),
            (_, Change::Create) => (ChangeType::Create, Some("created")),
            (_, Change::Undelete) => (ChangeType::Undelete, Some("undeleted")),
            (_, Change::Delete) => (ChangeType::Delete, None),
            _ => (ChangeType::Update, None),
        };
        if change_type == ChangeType::Update {
            delta.insert("LastModifiedDate".into(), json!(at(self.now).as_millisecond()));
        } else {
            delta.clear();
        }
        let everyone = matches!(told, Told::Overflow | Told::Wildcard);
        let header = Header {
            change_type,
            concerned: if everyone {
                Concerned::Everyone
            } else {
                Concerned::Users(who.iter().copied().map(id).collect())
            },
            committed_at: at(self.now),
            commit_number: i64::try_from(number).unwrap(),
            transaction_key: "tx".into(),
            commit_user: String::new(),
        };
        let broken = |header| DecodeError {
            reason: "broken".into(),
            header,
        };
        match told {
            Told::Broken => Err(broken(None)),
            Told::BrokenHeader => Err(broken(Some(Box::new(header)))),
            _ => Ok(ChangeEvent { header, delta, reread }),
        }
    }

    /// Where the stream goes on after a position; `None` when that is no longer there.
    pub(super) fn after(&self, replay_id: &str) -> Option<usize> {
        let replay: usize = replay_id.parse().unwrap();
        let index = self.log.iter().take_while(|event| event.replay <= replay).count();
        (index >= self.retained).then_some(index)
    }
}
