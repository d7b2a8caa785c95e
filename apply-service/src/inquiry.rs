//! Questions about what a target holds for people, and their answers: the same whether the lane is asked or the topics
//! are read because nobody runs the target.
//!
//! Nothing is decided here: plans come from `logic::plan`, links and records as they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use usher_contract::{TargetName, UserKey};

use crate::{
    logic::{
        lane::Links,
        link::{Link, LinkState},
        notification::{Notice, NoticeState, Onboarding},
        origins::origins,
        plan::{Plan, Question, Remote, plan as decide},
        policy::TargetPolicy,
        target_record::{FirstSyncReport, HeldSet, TargetRecord, moved_in_words},
    },
    users::Users,
};

/// Questions that a lane has not got to yet; more and the asker is told to come back.
const QUESTIONS_MAX: usize = 32;

/// A plan as people and programs see it. Names of attributes, never values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanView {
    /// The verb.
    pub(crate) action: String,
    /// The account that it acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// What would be written.
    #[serde(default)]
    pub(crate) changed: Vec<String>,
    /// Where each of these comes from: field, row of the policy, version of the message.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sources: BTreeMap<String, String>,
    /// Groups to join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) join: Vec<String>,
    /// Groups to leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) leave: Vec<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reasons: Vec<String>,
    /// Refused by our own rules: the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// When the answer may change although nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_change: Option<Timestamp>,
    /// All of it in one line.
    pub(crate) line: String,
}

impl PlanView {
    fn of(plan: &Plan, question: &Question<'_>) -> Self {
        Self {
            sources: origins(question, plan),
            action: plan.action.as_str().to_owned(),
            account: plan.account.as_ref().map(ToString::to_string),
            changed: plan.changed.iter().map(ToString::to_string).collect(),
            join: plan.group_changes.join.clone(),
            leave: plan.group_changes.leave.clone(),
            reasons: plan.reasons.clone(),
            refused: plan.refusal.as_ref().map(|refusal| refusal.code.clone()),
            next_change: plan.next_change,
            line: plan.to_string(),
        }
    }
}

/// One person at one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PersonHere {
    /// What is known there: hashes, never values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Link>,
    /// What would be done, before a look at the target; absent when there is no state of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanView>,
    /// The groups that the account is in, as far as is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<String>,
    /// How far a new user is in, as the target said it last: `invited`, `activated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) onboarding: Option<Onboarding>,
    /// Who was or is to be told of the account, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notices: Vec<String>,
    /// Something is outstanding or under way.
    pub(crate) pending: bool,
    /// How it stands, in words.
    pub(crate) state: String,
    /// The last error, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_try: Option<Timestamp>,
}

/// Somebody whom the guard keeps back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldMember {
    /// Who.
    pub(crate) user: UserKey,
    /// What was not carried out.
    pub(crate) action: String,
    /// Since when.
    pub(crate) at: Timestamp,
    /// Why it is wanted now, in words; empty when it is not any more.
    pub(crate) reasons: Vec<String>,
}

/// A held set with who is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldView {
    /// To approve it by.
    pub(crate) id: String,
    /// How many are in it.
    pub(crate) members: usize,
    /// The set.
    #[serde(flatten)]
    pub(crate) set: HeldSet,
    /// Who, at most as many as asked for, in the order of their keys.
    pub(crate) people: Vec<HeldMember>,
    /// The key to go on after; absent when that was everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<UserKey>,
}

/// Everything that waits for an operator at a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldHere {
    /// The sets, oldest first.
    pub(crate) sets: Vec<HeldView>,
    /// The report of a first sync that waits; it is approved as `first-sync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_sync: Option<FirstSyncReport>,
    /// The address or tenant is another one than that of the links; it is approved as `moved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved: Option<MovedView>,
}

/// Links of another application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MovedView {
    /// Since when.
    pub(crate) since: Timestamp,
    /// How many they are.
    pub(crate) links: usize,
    /// What that means, in words.
    pub(crate) words: String,
}

/// Which part of what is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldPage {
    /// Only this set.
    pub(crate) set: Option<String>,
    /// Only members behind this one.
    pub(crate) after: Option<UserKey>,
    /// At most so many members of each set.
    pub(crate) limit: usize,
}

/// A question to a lane.
#[derive(Debug)]
pub(crate) enum Inquiry {
    /// How somebody stands.
    Person(UserKey, oneshot::Sender<PersonHere>),
    /// Who is held.
    Held(HeldPage, oneshot::Sender<HeldHere>),
    /// What would be done with these people under this policy.
    Plans(
        Vec<UserKey>,
        Arc<TargetPolicy>,
        oneshot::Sender<Vec<(UserKey, PlanView)>>,
    ),
}

/// What is known at a target.
pub(crate) struct Known<'a> {
    pub(crate) links: &'a Links,
    pub(crate) record: Option<&'a TargetRecord>,
    pub(crate) users: &'a Users,
    pub(crate) policy: &'a TargetPolicy,
    pub(crate) now: Timestamp,
}

impl Known<'_> {
    /// Answers. Whoever asked may have gone away.
    pub(crate) fn answer(&self, inquiry: Inquiry, pending: impl Fn(&UserKey) -> bool) {
        match inquiry {
            Inquiry::Person(user, answer) => {
                let _ = answer.send(self.person(user, pending(&user)));
            }
            Inquiry::Held(page, answer) => {
                let _ = answer.send(self.held(&page));
            }
            Inquiry::Plans(users, policy, answer) => {
                let known = Known {
                    policy: &policy,
                    ..*self
                };
                let _ = answer.send(known.plans(&users));
            }
        }
    }

    fn plan(&self, user: &UserKey) -> Option<PlanView> {
        let change = self.users.get(user)?;
        let moved = self.record.is_some_and(|record| record.is_moved(self.policy)) && self.links.bound() > 0;
        // Of another application nothing is known: that is how it would begin there.
        let link = self
            .links
            .get(user)
            .map(|link| if moved { link.given_away() } else { link });
        let target = self.policy.remembering(self.record);
        let question = Question {
            change: &change,
            link: link.as_ref(),
            remote: &Remote::NotLooked,
            target: &target,
            accounts: self.links,
            people: self.users,
            reimported_at: self.record.and_then(|record| record.reimported_at),
            again: false,
            now: self.now,
        };
        let mut plan = decide(&question);
        if moved {
            plan.reasons.insert(0, moved_in_words(self.links.bound()));
        }
        Some(PlanView::of(&plan, &question))
    }

    /// How somebody stands.
    pub(crate) fn person(&self, user: UserKey, pending: bool) -> PersonHere {
        let link = self.links.get(&user);
        let plan = self.plan(&user);
        let (mut last_error, mut next_try) = (None, None);
        let state = match link.as_ref().map(|link| (&link.state, &link.remote_id)) {
            None => "nothing is known here".to_owned(),
            Some((LinkState::Settled, Some(account))) => format!("linked to account {account}"),
            Some((LinkState::Settled, None)) => "has no account".to_owned(),
            Some((
                LinkState::Retrying {
                    attempts,
                    next_try: next,
                    code,
                    ..
                },
                _,
            )) => {
                last_error = Some(code.clone());
                next_try = Some(*next);
                format!("tried {attempts} times, next try at {next}")
            }
            Some((LinkState::Rejected { code, reason, at, .. }, _)) => {
                last_error = Some(format!("{code}: {reason}"));
                format!("refused since {at}; tried again when something changes, at the reconcile, or by redrive")
            }
            Some((LinkState::Held { set, action, at, .. }, _)) => format!("{action} is held in {set} since {at}"),
            Some((LinkState::Skipped { reason, at, .. }, _)) => format!("left alone since {at}: {reason}"),
        };
        PersonHere {
            onboarding: link.as_ref().and_then(|link| link.onboarding),
            notices: link.iter().flat_map(|link| &link.notices).map(told).collect(),
            link,
            plan,
            groups: self.links.groups.of(&user),
            pending,
            state,
            last_error,
            next_try,
        }
    }

    /// What waits for an operator.
    pub(crate) fn held(&self, page: &HeldPage) -> HeldHere {
        let Some(record) = self.record else {
            return HeldHere::default();
        };
        let mut members: BTreeMap<String, Vec<HeldMember>> = BTreeMap::new();
        if !record.held.is_empty() {
            for (user, _) in self.links.glances().filter(|(_, glance)| !glance.is_settled()) {
                if let Some(LinkState::Held { set, action, at, .. }) = self.links.get(user).map(|link| link.state)
                    && page.set.as_ref().is_none_or(|asked| *asked == set)
                    && page.after.is_none_or(|after| *user > after)
                {
                    members.entry(set).or_default().push(HeldMember {
                        user: *user,
                        action,
                        at,
                        reasons: Vec::new(),
                    });
                }
            }
        }
        for (user, group, set) in self.links.groups.held() {
            if let Some((id, held)) = record.held.get_key_value(set)
                && page.set.as_ref().is_none_or(|asked| asked == set)
                && page.after.is_none_or(|after| user > after)
            {
                members.entry(id.clone()).or_default().push(HeldMember {
                    user,
                    action: format!("leave group {group}"),
                    at: held.at,
                    reasons: Vec::new(),
                });
            }
        }
        let wanted = record
            .held
            .iter()
            .filter(|(id, _)| page.set.as_ref().is_none_or(|asked| asked == *id));
        let mut sets: Vec<HeldView> = wanted
            .map(|(id, set)| {
                let mut people = members.remove(id.as_str()).unwrap_or_default();
                people.sort_by_key(|member| member.user);
                let more = people.len() > page.limit;
                people.truncate(page.limit);
                for member in &mut people {
                    let Some(plan) = self.plan(&member.user) else { continue };
                    if let Some(group) = member.action.strip_prefix("leave group ") {
                        if plan.leave.iter().any(|left| left == group) {
                            member.reasons = vec!["not in it at the source any more".to_owned()];
                        }
                    } else if plan.action == member.action {
                        member.reasons = plan.reasons;
                    }
                }
                HeldView {
                    id: id.clone(),
                    members: self.links.held_in(id) + self.links.groups.held_in(id),
                    set: set.clone(),
                    next: people.last().map(|member| member.user).filter(|_| more),
                    people,
                }
            })
            .collect();
        sets.sort_by_key(|view| view.set.at);
        HeldHere {
            sets,
            first_sync: record.first_sync.clone().filter(|_| record.first_sync_waits),
            moved: record.moved_since.map(|since| MovedView {
                since,
                links: self.links.linked(),
                words: moved_in_words(self.links.bound()),
            }),
        }
    }

    /// What would be done with these people. Who is not known is left out.
    pub(crate) fn plans(&self, users: &[UserKey]) -> Vec<(UserKey, PlanView)> {
        users
            .iter()
            .filter_map(|user| Some((*user, self.plan(user)?)))
            .collect()
    }
}

/// A notice in words.
fn told(notice: &Notice) -> String {
    let what = notice.kind.in_words();
    match &notice.state {
        NoticeState::Intended => format!("{what}: when the account is there"),
        NoticeState::Owed { since, attempts: 0, .. } => format!("{what}: owed since {since}"),
        NoticeState::Owed {
            since,
            attempts,
            next_try,
            code,
        } => format!(
            "{what}: owed since {since}, tried {attempts} times ({}), next try at {next_try}",
            code.as_deref().unwrap_or("no code")
        ),
        NoticeState::Sent { at } => format!("{what}: sent at {at}"),
        NoticeState::Failed { at, code } => format!("{what}: given up at {at} ({code}); redrive sends it again"),
    }
}

/// The lanes that run in this process, to be asked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes(Arc<Mutex<BTreeMap<TargetName, mpsc::Sender<Inquiry>>>>);

/// Takes a lane out of the list when it ends.
#[derive(Debug)]
pub(crate) struct Listed {
    lanes: Lanes,
    target: TargetName,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.lanes.lock().remove(&self.target);
    }
}

impl Lanes {
    /// A lane begins: what it is asked.
    pub(crate) fn open(&self, target: &TargetName) -> (Listed, mpsc::Receiver<Inquiry>) {
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        self.lock().insert(target.clone(), sender);
        let listed = Listed {
            lanes: self.clone(),
            target: target.clone(),
        };
        (listed, receiver)
    }

    /// Whether the target runs in this process.
    pub(crate) fn runs(&self, target: &TargetName) -> bool {
        self.lock().contains_key(target)
    }

    /// The lane's answer; `None` when it does not run here, or has ended or too much to do.
    pub(crate) async fn ask<T>(
        &self,
        target: &TargetName,
        question: impl FnOnce(oneshot::Sender<T>) -> Inquiry,
    ) -> Option<T> {
        let lane = self.lock().get(target).cloned()?;
        let (answer, answered) = oneshot::channel();
        lane.try_send(question(answer)).ok()?;
        answered.await.ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TargetName, mpsc::Sender<Inquiry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        logic::{
            guard::Budget,
            testing::{Change, at, person, policy, user_key},
        },
        metrics::Metrics,
    };
    use usher_runtime::kafka::Record;

    fn users(people: &[usher_contract::UserChange]) -> Users {
        let (users, metrics) = (Users::default(), Metrics::new(&prometheus::Registry::new()).unwrap());
        let records: Vec<Record> = people
            .iter()
            .map(|change| Record {
                partition: 0,
                offset: 0,
                key: Some(change.user.key().to_string().into_bytes()),
                value: Some(serde_json::to_vec(change).unwrap()),
                headers: vec![],
            })
            .collect();
        users.take("t", &records, &metrics);
        users
    }

    fn held_link(n: u32, set: &str) -> Link {
        Link {
            remote_id: Some(crate::logic::account::RemoteId(format!("r{n}"))),
            active: Some(true),
            state: LinkState::Held {
                set: set.to_owned(),
                budget: Budget::StatedRemovals,
                action: "deactivate".to_owned(),
                at: at(5),
            },
            ..Link::unlinked(1, policy().hash)
        }
    }

    #[test]
    fn a_held_set_is_shown_page_by_page_with_why_each_is_wanted() {
        let mut links = Links::default();
        for n in 1..=3 {
            links.put(user_key(n), Some(held_link(n, "s1")));
        }
        let users = users(&[person(1).inactive(), person(2).inactive(), person(3)]);
        let mut record = crate::link_table::testing_record();
        let set = HeldSet {
            budget: Budget::StatedRemovals,
            reason: "too many".into(),
            at: at(5),
            open_until: at(5),
            approved: None,
        };
        record.held.insert("s1".into(), set.clone());
        record.held.insert("s0".into(), HeldSet { at: at(1), ..set });
        let policy = policy();
        let known = Known {
            links: &links,
            record: Some(&record),
            users: &users,
            policy: &policy,
            now: at(9),
        };
        let page = |after, limit| HeldPage {
            set: None,
            after,
            limit,
        };
        let first = known.held(&page(None, 2));
        let ids: Vec<&str> = first.sets.iter().map(|set| set.id.as_str()).collect();
        assert_eq!(ids, ["s0", "s1"], "oldest first");
        let set = &first.sets[1];
        assert_eq!((set.members, set.people.len(), set.next), (3, 2, Some(user_key(2))));
        assert_eq!(set.people[0].reasons, ["inactive in the source"]);
        let rest = known.held(&page(set.next, 2));
        assert_eq!(rest.sets[1].people.len(), 1);
        assert!(
            rest.sets[1].people[0].reasons.is_empty(),
            "came back: not wanted any more"
        );
        assert_eq!(rest.sets[1].next, None);
    }

    #[test]
    fn links_of_another_application_are_held_and_everybody_begins_anew_there() {
        let mut links = Links::default();
        let link = Link {
            state: LinkState::Settled,
            ..held_link(1, "s1")
        };
        links.put(user_key(1), Some(link));
        let users = users(&[person(1).inactive(), person(2)]);
        let mut record = crate::link_table::testing_record();
        let (policy, mut elsewhere) = (policy(), policy());
        record.tenant = Some(policy.tenant);
        elsewhere.tenant = usher_contract::StateHash::of_text("https://two.example");
        elsewhere.tenant_as_written = elsewhere.tenant;
        let moved_since = TargetRecord {
            moved_since: Some(at(3)),
            ..record.clone()
        };
        let page = HeldPage {
            limit: 10,
            ..HeldPage::default()
        };
        let known = |record, policy| Known {
            links: &links,
            record: Some(record),
            users: &users,
            policy,
            now: at(9),
        };
        let here = known(&record, &policy);
        assert_eq!(
            (here.held(&page).moved, here.plan(&user_key(1)).unwrap().action.as_str()),
            (None, "deactivate")
        );
        let plan = known(&record, &elsewhere).plan(&user_key(1)).unwrap();
        assert_eq!(plan.action, "noop", "{plan:?}");
        assert!(plan.reasons[0].contains("than that of the 1 links"), "{plan:?}");
        let moved = known(&moved_since, &elsewhere).held(&page).moved.unwrap();
        assert_eq!((moved.since, moved.links), (at(3), 1));
    }

    #[test]
    fn how_somebody_stands_is_said_in_words() {
        let mut links = Links::default();
        links.put(user_key(1), Some(held_link(1, "s1")));
        let (users, policy) = (users(&[person(1).inactive()]), policy());
        let known = Known {
            links: &links,
            record: None,
            users: &users,
            policy: &policy,
            now: at(9),
        };
        let here = known.person(user_key(1), false);
        assert!(
            here.state.starts_with("deactivate is held in s1 since"),
            "{}",
            here.state
        );
        let nobody = known.person(user_key(2), false);
        assert_eq!((nobody.plan, nobody.state.as_str()), (None, "nothing is known here"));
    }
}
