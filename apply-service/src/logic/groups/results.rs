//! What comes of answers about groups: what is known afterwards, and what is said about it.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use usher_contract::UserKey;

use super::{
    GroupNo, Groups,
    record::{Membership, Removal, Standing},
    rules::{GroupRules, folded},
    work::Task,
};
use crate::{
    connector::{Failure, Refusal},
    logic::{
        account::{RemoteGroup, RemoteId},
        lane::Answer,
        policy::Retry,
        retry::{after, delay},
    },
};

/// A group that cannot be found, made or changed is tried again so long after. Shorter: more requests for nothing;
/// longer: whoever repairs it waits longer, unless they order `reconcile`.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How long after a change the group is read: changes in quick succession share a reading.
const READ_AFTER: Duration = Duration::from_secs(10);
/// So many tries of one step of a group; then it is an operator's.
const TRIES_MAX: u32 = 8;
/// How often somebody is added who is not there afterwards. The application may cut long lists short.
const ADDED_MAX: u8 = 3;

/// The connector's word for a request that is too large.
const TOO_LARGE: &str = "http-413";
/// The connector's word for "the credentials do not allow it": of groups that concerns all members.
const FORBIDDEN: &str = "http-403";

/// What has happened to a group or to somebody's membership.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A group of the name was there.
    Found,
    /// We have made it.
    Made,
    /// It has another name.
    Renamed {
        /// The name before.
        from: String,
    },
    /// The target does not have it any longer.
    Gone,
    /// Nothing can be done about it.
    Refused(Refusal),
    /// It does not show its members.
    Unshown,
    /// Somebody has joined.
    Joined(UserKey, u64),
    /// Somebody has left.
    Left(UserKey, u64),
    /// The target refuses somebody.
    NotJoined(UserKey, u64, Refusal),
    /// The target does not let somebody go.
    NotLeft(UserKey, u64, Refusal),
}

/// A piece of news.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// The group's name.
    pub group: String,
    /// What.
    pub what: What,
}

/// What is known around an answer.
pub struct Ending<'a> {
    /// The rules.
    pub rules: &'a GroupRules,
    /// How tries are spaced.
    pub retry: &'a Retry,
    /// How often a group is read.
    pub every: Duration,
    /// Whose account this is.
    pub holder: &'a dyn Fn(&RemoteId) -> Option<UserKey>,
    /// The time.
    pub now: Timestamp,
    /// In `[0, 1)`.
    pub random: f64,
}

impl Groups {
    /// What was under way did not get so far, for a reason that is not the group's. It may have had its effect.
    pub fn put_back(&mut self, no: GroupNo, now: Timestamp) {
        let group = self.group_mut(no);
        match group.task.take() {
            Some(Task::Create) => group.looked = false,
            Some(Task::Change { .. }) => group.read_due = Some(after(now, READ_AFTER)),
            _ => {}
        }
        self.ready.insert(no);
    }

    /// A step of a group has ended.
    pub fn ended(&mut self, no: GroupNo, result: Result<Answer, Failure>, ending: &Ending<'_>) -> Vec<News> {
        self.ready.insert(no);
        let Some(task) = self.group_mut(no).task.take() else {
            return Vec::new();
        };
        let mut news = Vec::new();
        let done = match (&task, result) {
            (_, Ok(Answer::Absent)) => {
                self.gone(no, &mut news);
                true
            }
            (Task::Find, Ok(Answer::Groups(found))) => {
                self.found(no, &found, ending, &mut news);
                false
            }
            (Task::FindNewName(name), Ok(Answer::Groups(found))) => {
                let own = self.group(no).record.id.clone();
                let free =
                    pick(&found, name).is_ok_and(|group| group.is_none_or(|group| Some(&group.id) == own.as_ref()));
                if free {
                    if let Some(rename) = &mut self.group_mut(no).rename {
                        rename.looked = true;
                    }
                } else {
                    // Somebody has made it there: that is the group of this name from now on.
                    self.leave_name(no);
                }
                true
            }
            (Task::Create, Ok(Answer::Group(id))) => {
                let group = self.group_mut(no);
                (group.record.id, group.record.made) = (Some(id), true);
                (group.fresh, group.record.read_at) = (true, None);
                self.settled_id(no);
                self.tell(no, What::Made, &mut news);
                true
            }
            (Task::Create, Ok(Answer::Conflict(refusal))) => {
                self.again_later(no, &refusal, None, ending, &mut news);
                false
            }
            (Task::Rename(name), Ok(Answer::Group(_))) => {
                let from = self.group(no).record.name.clone();
                self.rename(no, name.clone());
                self.tell(no, What::Renamed { from }, &mut news);
                true
            }
            (Task::Rename(name), Ok(Answer::Conflict(refusal)) | Err(Failure::Reject(refusal))) => {
                let group = self.group_mut(no);
                (group.rename, group.rename_refused) = (None, Some(name.clone()));
                self.tell(no, What::Refused(refusal), &mut news);
                true
            }
            (Task::Change { add, remove, counted }, Ok(Answer::Changed)) => {
                self.changed(no, add, remove, *counted, ending, &mut news);
                true
            }
            (Task::Read, Ok(Answer::Members(members))) => {
                self.read(no, members, ending, &mut news);
                true
            }
            (Task::Change { add, remove, .. }, Err(Failure::Reject(refusal))) if refusal.code != FORBIDDEN => {
                self.not_changed(no, add, remove, refusal, ending, &mut news);
                true
            }
            (Task::Read, Err(Failure::Reject(_))) => {
                self.unshown(no, ending, &mut news);
                true
            }
            (_, Err(Failure::Reject(refusal))) => {
                self.refused(no, refusal, ending, &mut news);
                false
            }
            (_, Err(Failure::Retry(refusal, asked))) => {
                if matches!(task, Task::Change { .. }) {
                    self.group_mut(no).read_due = Some(after(ending.now, READ_AFTER));
                }
                self.again_later(no, &refusal, asked, ending, &mut news);
                if task == Task::Read && self.group(no).record.refused.is_some() {
                    // Too large to be read, or too slow: memberships go on without.
                    self.unshown(no, ending, &mut news);
                }
                false
            }
            (_, Ok(_) | Err(Failure::Halt(_))) => {
                self.put_back(no, ending.now);
                false
            }
        };
        if done {
            let group = self.group_mut(no);
            (group.attempts, group.next_try) = (0, None);
            if group.record.refused.take().is_some() {
                self.dirty_groups.insert(no);
            }
        }
        news
    }

    fn tell(&self, no: GroupNo, what: What, news: &mut Vec<News>) {
        let group = self.group(no).record.name.clone();
        news.push(News { group, what });
    }

    fn settled_id(&mut self, no: GroupNo) {
        let group = self.group_mut(no);
        (group.record.creating, group.looked) = (false, false);
        (group.attempts, group.next_try, group.record.refused) = (0, None, None);
        self.dirty_groups.insert(no);
    }

    /// A look-up by the name has ended.
    fn found(&mut self, no: GroupNo, found: &[RemoteGroup], ending: &Ending<'_>, news: &mut Vec<News>) {
        let name = self.group(no).record.name.clone();
        match pick(found, &name) {
            Ok(Some(group)) => {
                let id = group.id.clone();
                let group = self.group_mut(no);
                // After a create whose answer was lost it is the one that we have made.
                (group.record.id, group.record.made) = (Some(id), group.record.creating);
                (group.fresh, group.record.read_at) = (false, None);
                let what = if group.record.made { What::Made } else { What::Found };
                self.settled_id(no);
                self.tell(no, what, news);
            }
            Ok(None) if ending.rules.create => self.group_mut(no).looked = true,
            Ok(None) => {
                let refusal = Refusal {
                    code: "group-missing".to_owned(),
                    reason: format!("there is no group {name}, and groups.create is off"),
                };
                self.refused(no, refusal, ending, news);
            }
            Err(many) => {
                let refusal = Refusal {
                    code: "group-ambiguous".to_owned(),
                    reason: format!("{many} groups are called {name}; give one of them another name"),
                };
                self.refused(no, refusal, ending, news);
            }
        }
    }

    fn refused(&mut self, no: GroupNo, refusal: Refusal, ending: &Ending<'_>, news: &mut Vec<News>) {
        if self.refuse(no, &refusal.code, refusal.reason.clone(), ending.now, LOOK_AGAIN) {
            self.tell(no, What::Refused(refusal), news);
        }
    }

    fn again_later(
        &mut self,
        no: GroupNo,
        refusal: &Refusal,
        asked: Option<Duration>,
        ending: &Ending<'_>,
        news: &mut Vec<News>,
    ) {
        let group = self.group_mut(no);
        group.attempts += 1;
        group.looked = false;
        if group.attempts >= TRIES_MAX {
            return self.refused(no, refusal.clone(), ending, news);
        }
        let at = after(ending.now, delay(ending.retry, group.attempts, asked, ending.random));
        group.next_try = Some(at);
        self.due.insert((at, no));
    }

    /// The source's group goes by its new name to the group that has it already.
    fn leave_name(&mut self, no: GroupNo) {
        let Some(rename) = self.group_mut(no).rename.take() else {
            return;
        };
        let key = super::record::GroupKey::of(&rename.to, |key| self.by_key.contains_key(key));
        let other = self.add(key, super::blank(rename.to.clone()), false);
        self.by_name.insert(folded(&rename.to), other);
        self.give_up_sources(no);
        self.refeed.extend(self.wanting(no));
    }

    fn changed(
        &mut self,
        no: GroupNo,
        add: &[UserKey],
        remove: &[UserKey],
        counted: bool,
        ending: &Ending<'_>,
        news: &mut Vec<News>,
    ) {
        for user in add {
            let version = self.people.get(user).map_or(0, super::Person::version);
            let before = self
                .people
                .get(user)
                .and_then(|person| person.held(no))
                .cloned()
                .unwrap_or_default();
            let joined = Membership {
                is: Standing::In,
                held: None,
                ..before
            };
            self.put(*user, no, Some(joined));
            self.tell(no, What::Joined(*user, version), news);
        }
        for user in remove {
            let version = self.people.get(user).map_or(0, super::Person::version);
            self.put(*user, no, None);
            self.tell(no, What::Left(*user, version), news);
        }
        for user in add.iter().chain(remove) {
            self.review(*user, ending.rules);
        }
        let group = self.group_mut(no);
        if counted && !remove.is_empty() {
            let count = remove.len() as u64;
            group.record.removed.push(Removal { at: ending.now, count });
        }
        group.limit = group.limit.saturating_mul(2);
        group.fresh = false;
        if ending.rules.abilities.read {
            group.read_due = Some(after(ending.now, READ_AFTER));
            group.record.read_at = group.record.read_at.or(Some(ending.now));
        } else {
            group.record.unread = false;
        }
        self.dirty_groups.insert(no);
    }

    /// Some member of the change is refused, or it was too large: half of it is tried, down to the one.
    fn not_changed(
        &mut self,
        no: GroupNo,
        add: &[UserKey],
        remove: &[UserKey],
        refusal: Refusal,
        ending: &Ending<'_>,
        news: &mut Vec<News>,
    ) {
        let group = self.group_mut(no);
        let many = add.len() + remove.len();
        group.read_due = Some(after(ending.now, READ_AFTER));
        if many > 1 {
            group.limit = many / 2;
            if refusal.code == TOO_LARGE {
                group.ceiling = many / 2;
            }
            return;
        }
        group.limit = usize::MAX;
        for (user, is) in add
            .iter()
            .map(|user| (*user, Standing::Refused))
            .chain(remove.iter().map(|user| (*user, Standing::Stuck)))
        {
            let version = self.people.get(&user).map_or(0, super::Person::version);
            let before = self
                .people
                .get(&user)
                .and_then(|person| person.held(no))
                .cloned()
                .unwrap_or_default();
            self.put(user, no, Some(Membership { is, ..before }));
            let what = match is {
                Standing::Refused => What::NotJoined(user, version, refusal.clone()),
                _ => What::NotLeft(user, version, refusal.clone()),
            };
            self.tell(no, what, news);
            self.review_stuck(user, no, ending.rules);
        }
    }

    fn review_stuck(&mut self, user: UserKey, no: GroupNo, rules: &GroupRules) {
        self.review(user, rules);
        // What is refused stands on no list, whatever else does.
        let group = self.group_mut(no);
        group.joins.remove(&user);
        group.leaves.remove(&user);
    }

    /// Who is in the group was read.
    fn read(&mut self, no: GroupNo, members: Option<Vec<RemoteId>>, ending: &Ending<'_>, news: &mut Vec<News>) {
        let Some(members) = members else {
            return self.unshown(no, ending, news);
        };
        let there: HashSet<UserKey> = members.iter().filter_map(|account| (ending.holder)(account)).collect();
        let concerned = |person: &super::Person| {
            let wanted = person.want.as_ref().is_some_and(|want| want.groups.contains(&no));
            wanted || person.held(no).is_some()
        };
        let mut users: Vec<UserKey> = self
            .people
            .iter()
            .filter(|(_, person)| concerned(person))
            .map(|(user, _)| *user)
            .collect();
        users.extend(
            there
                .iter()
                .filter(|user| self.people.get(user).is_some_and(|person| !concerned(person))),
        );
        users.sort_unstable();
        for user in users {
            let Some(person) = self.people.get(&user) else { continue };
            let held = person.held(no).cloned();
            let wanted = person.want.as_ref().is_some_and(|want| want.groups.contains(&no));
            let next = match (there.contains(&user), held.clone()) {
                // A member, whoever has added them.
                (true, held) => {
                    let held = held.unwrap_or_default();
                    let is = if held.is == Standing::Stuck {
                        held.is
                    } else {
                        Standing::In
                    };
                    Some(Membership { is, tries: 0, ..held })
                }
                (false, Some(held)) if held.is == Standing::Refused => Some(held),
                (false, Some(held)) if wanted => {
                    let tries = held.tries.saturating_add(1);
                    let is = if tries > ADDED_MAX {
                        Standing::Refused
                    } else {
                        Standing::Doubted
                    };
                    if is == Standing::Refused {
                        let refusal = Refusal {
                            code: "member-not-taken".to_owned(),
                            reason: format!(
                                "the target took them {ADDED_MAX} times and does not show them as a member"
                            ),
                        };
                        self.tell(no, What::NotJoined(user, self.version(&user), refusal), news);
                    }
                    Some(Membership { is, tries, held: None })
                }
                (false, _) => None,
            };
            if next != held {
                self.put(user, no, next);
            }
            self.review(user, ending.rules);
        }
        self.was_read(no, ending);
    }

    fn version(&self, user: &UserKey) -> u64 {
        self.people.get(user).map_or(0, super::Person::version)
    }

    fn was_read(&mut self, no: GroupNo, ending: &Ending<'_>) {
        let group = self.group_mut(no);
        group.record.read_at = Some(ending.now);
        group.record.unread = false;
        group.fresh = false;
        group.read_due = Some(after(ending.now, ending.every));
        self.dirty_groups.insert(no);
    }

    /// The group does not say who is in it: what was done is believed.
    fn unshown(&mut self, no: GroupNo, ending: &Ending<'_>, news: &mut Vec<News>) {
        self.was_read(no, ending);
        let group = self.group_mut(no);
        (group.next_try, group.attempts) = (None, 0);
        if !std::mem::replace(&mut group.unshown, true) {
            self.tell(no, What::Unshown, news);
        }
    }

    /// The target does not have it any longer: nobody is in it. Whoever is to be is added to the one that is found or
    /// made next.
    fn gone(&mut self, no: GroupNo, news: &mut Vec<News>) {
        let members: Vec<UserKey> = self
            .people
            .iter()
            .filter(|(_, person)| person.held(no).is_some())
            .map(|(user, _)| *user)
            .collect();
        let group = self.group_mut(no);
        group.record.id = None;
        (group.record.made, group.record.creating, group.record.unread) = (false, false, false);
        (group.record.read_at, group.read_due, group.looked) = (None, None, false);
        for user in members {
            self.put(user, no, None);
            let wanted = self.people.get(&user).and_then(|person| person.want.as_ref());
            let wanted = wanted.is_some_and(|want| want.groups.contains(&no));
            let group = self.group_mut(no);
            group.leaves.remove(&user);
            if wanted {
                group.joins.insert(user);
            }
        }
        self.dirty_groups.insert(no);
        self.tell(no, What::Gone, news);
    }
}

/// The group of this name: the only one, or the only one in this very case. `Err`: how many there are.
fn pick<'a>(found: &'a [RemoteGroup], name: &str) -> Result<Option<&'a RemoteGroup>, usize> {
    let same = || found.iter().filter(|group| folded(&group.name) == folded(name));
    let exact = || found.iter().filter(|group| group.name == name);
    match (same().count(), exact().count()) {
        (0, _) => Ok(None),
        (1, _) => Ok(same().next()),
        (_, 1) => Ok(exact().next()),
        (many, _) => Err(many),
    }
}
