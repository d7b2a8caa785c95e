//! The decision itself, as one path from scope to the difference.

use jiff::Timestamp;
use serde_json::{Value, json};
use usher_contract::{Known as Published, Origin, StateHash, UserKey};

use super::{
    Action, Plan, Question, Remote,
    difference::{Difference, Known, difference, hash},
};
use crate::{
    connector::Refusal,
    logic::{
        account::{AttributePath, RemoteId},
        assignments::{Assignment, Membership, Push, membership, taken_back},
        gate::{Passage, gate},
        groups::rules::{GroupChanges, WantedGroups},
        lifecycle::{Cause, Standing, standing},
        link::{Link, LinkState},
        map::{Mapped, Others, Wanted, map},
        matching::{Seen, pick},
        policy::{ACTIVE, Disposition, EXTERNAL_ID, USER_NAME, WORK_EMAIL, is_identifier},
        retry::after,
        scope::{Belonging, in_sources},
        source::is_blank,
        termination::Judgement,
    },
};

const AS_IT_SHOULD_BE: &str = "everything is as it should be";

/// Decides. Guarantees: no write where an unknown field would decide; nobody inactive is created; a linked person who
/// fails the gate is left alone; only attributes that differ from what was written are written.
#[must_use]
pub fn plan(q: &Question<'_>) -> Plan {
    let user = &q.change.user;
    let key = user.key();
    let mut plan = Plan {
        action: Action::Noop,
        account: q.link.and_then(|link| link.remote_id.clone()),
        values: [].into(),
        changed: Vec::new(),
        equal: Vec::new(),
        active: true,
        reasons: Vec::new(),
        refusal: None,
        reported: false,
        missing: Vec::new(),
        desired: q.target.hash,
        next_change: None::<Timestamp>,
        takes_from: None,
        claimed_by: None,
        assignment: None,
        remark: None,
        kept: false,
        inferred: false,
        groups: None,
        group_changes: Default::default(),
    };
    if !in_sources(user, q.target) {
        return plan.because(
            Action::Skip,
            format!("organization {} is not among the target's sources", key.org),
        );
    }
    let termination = q.target.lifecycle.termination.as_ref();
    let terminated = termination.map_or(Judgement::None, |rule| rule.judge(q.change, q.link, q.now));
    let mut standing = standing(user, &q.target.lifecycle, &terminated);
    let mut member = Membership::Without;
    // Why a rule of scope leaves somebody out, or what it would have to know.
    let mut detail = String::new();
    if standing == Standing::Present {
        let (belonging, next) = q.target.scope.judge(user, q.people, q.now);
        plan.next_change = next;
        match terminated {
            Judgement::At(moment) => plan.next_change = Some(next.map_or(moment, |next| next.min(moment))),
            Judgement::Stale(back) => {
                let date = termination.map(|rule| rule.field.read(user));
                plan.remark = Some(StateHash::of_value(&json!([date, back])));
                plan.reasons.push(format!(
                    "the termination date is of before {back}, when they came back: it does not count"
                ));
            }
            Judgement::None | Judgement::Over | Judgement::Unknown => {}
        }
        match belonging {
            Belonging::In => match membership(user, q.target, q.people, q.now) {
                Ok((found, next)) => {
                    plan.next_change = plan.next_change.into_iter().chain(next).min();
                    member = found;
                }
                Err(fields) => {
                    standing = Standing::Unknown("assignments");
                    detail = fields.join(" and ");
                }
            },
            Belonging::Out(why) => {
                standing = Standing::Gone(Cause::OutOfScope, q.target.lifecycle.out_of_scope);
                detail = why;
            }
            Belonging::Unknown(fields) => {
                standing = Standing::Unknown("scope");
                detail = fields.join(" and ");
            }
        }
    }
    if let (Standing::Gone(Cause::Frozen | Cause::Unlisted, _), Judgement::At(moment)) = (standing, &terminated) {
        // That cause comes before theirs.
        plan.next_change = Some(*moment);
    }
    if member == Membership::None {
        standing = Standing::Gone(Cause::OutOfScope, q.target.lifecycle.out_of_scope);
        detail = "no assignment matches".to_owned();
    }
    let account_of = |key: &UserKey| q.accounts.account_of(key);
    let others = Others {
        account_of: &account_of,
        holds: &|key, value| q.accounts.holds(key, value),
        people: q.people,
    };
    let mut mapped = map(user, q.target, others);
    if let (Membership::Of(assignment), Standing::Present) = (member, standing) {
        settings(q, assignment, &mut mapped, &mut plan);
    }
    if standing == Standing::Present
        && let Some(access) = q.target.scope.access_of(user)
    {
        mapped.add(user, q.target, &access.rows, others);
        plan.reasons.push(access.in_words());
    }
    plan.missing = mapped
        .iter()
        .filter_map(|(_, wanted, _)| {
            if let Wanted::Pending(key) = wanted {
                Some(*key)
            } else {
                None
            }
        })
        .collect();
    if is_protected(q, &mapped, plan.account.as_ref().map(|id| id.0.as_str())) {
        plan.reported = true;
        plan.missing.clear();
        plan.desired = desired_hash(q, standing, &mapped);
        return plan.because(Action::Skip, "the account is protected: it is never written".to_owned());
    }
    let mut plan = match standing {
        Standing::Unknown(_) if !detail.is_empty() => plan.because(Action::Wait, format!("{detail} unknown")),
        Standing::Unknown(field) => plan.because(Action::Wait, format!("{field} unknown")),
        Standing::Gone(cause, disposition) => {
            let mut plan = gone(q, plan, cause, disposition, &mapped);
            if !detail.is_empty() {
                plan.reasons.push(detail);
            }
            plan
        }
        Standing::Present => present(q, plan, &key, &mapped),
    };
    set_groups(q, &mut plan, standing, member);
    if !matches!(plan.action, Action::Noop | Action::SetGroups | Action::Wait) {
        // Of most people nothing is wanted that they do not have: for them alone it would cost as much as everything else.
        plan.desired = desired_hash(q, standing, &mapped);
    }
    hold_refused(q, plan)
}

/// In which groups the account is to be. Whoever is left as they are keeps their groups as well.
fn set_groups(q: &Question<'_>, plan: &mut Plan, standing: Standing, member: Membership<'_>) {
    let Some(rules) = q.target.groups.as_ref().or(q.target.groups_off.as_ref()) else {
        return;
    };
    let assignment = match member {
        Membership::Of(assignment) => Some(assignment.name.as_str()),
        Membership::Without | Membership::None => None,
    };
    let wanted = match standing {
        Standing::Present if !matches!(plan.action, Action::Skip | Action::Wait) => {
            rules.wanted(&q.change.user, assignment)
        }
        Standing::Gone(_, Disposition::Deactivate) if rules.remove_leavers && plan.account.is_some() => {
            WantedGroups::default()
        }
        _ => return,
    };
    if q.target.groups.is_none() {
        let changes = q.accounts.group_changes(&q.change.user.key(), &wanted, rules);
        return groups_not_done(plan, &changes);
    }
    plan.group_changes = q.accounts.group_changes(&q.change.user.key(), &wanted, rules);
    for source in &wanted.unknown {
        plan.reasons
            .push(format!("{source} unknown: nobody leaves a group because of it"));
    }
    if plan.action == Action::Noop && !plan.group_changes.is_empty() {
        plan.action = Action::SetGroups;
    }
    plan.groups = Some(wanted);
}

/// Groups are switched off: what would be done is said. The account itself is looked after as ever.
fn groups_not_done(plan: &mut Plan, changes: &GroupChanges) {
    if changes.is_empty() {
        return;
    }
    let words: Vec<String> = changes.in_words().collect();
    let words = format!("{}; not done because features.groups is off", words.join(", "));
    plan.remark = Some(StateHash::of_value(&json!([plan.remark, words])));
    plan.reasons.retain(|reason| reason != AS_IT_SHOULD_BE);
    plan.reasons.push(words);
}

/// The settings of an assignment as further attributes, where they are to be pushed.
fn settings<'a>(q: &Question<'a>, assignment: &'a Assignment, mapped: &mut Mapped<'a>, plan: &mut Plan) {
    let account_of = |key: &UserKey| q.accounts.account_of(key);
    let others = Others {
        account_of: &account_of,
        holds: &|key, value| q.accounts.holds(key, value),
        people: q.people,
    };
    let linked = q.link.filter(|link| link.remote_id.is_some());
    let push = linked.map_or(Push::All, |link| {
        assignment.push(link, q.change.cause.observed_at, q.reimported_at)
    });
    let before = linked.and_then(|link| link.assignment.as_ref());
    match push {
        Push::All => {
            mapped.add(&q.change.user, q.target, &assignment.rows, others);
            let gone = linked.map_or_else(Vec::new, |link| taken_back(assignment, link, q.target));
            gone.into_iter().for_each(|path| mapped.clear(path));
            plan.assignment = Some(assignment.assigned(before, q.now));
        }
        Push::Nothing => plan.assignment = Some(assignment.assigned(before, q.now)),
        Push::Waits => plan.reasons.push(format!(
            "the settings of {} have changed: they wait for a change of the person or a reconcile by an operator",
            assignment.name
        )),
    }
    plan.reasons.extend(assignment.pending.iter().cloned());
}

/// What was refused stays refused until what is wanted changes (the configuration is part of its hash).
fn hold_refused(q: &Question<'_>, mut plan: Plan) -> Plan {
    if let Some(LinkState::Rejected {
        desired, code, reason, ..
    }) = q.link.map(|link| &link.state)
        && plan.action.acts()
        && *desired == plan.desired
        && !q.again
    {
        plan.action = Action::Skip;
        plan.reasons = vec![format!("refused before and nothing has changed: {reason} ({code})")];
        plan.values.clear();
        plan.changed.clear();
    }
    plan
}

fn desired_hash(q: &Question<'_>, standing: Standing, mapped: &Mapped<'_>) -> StateHash {
    let standing = match standing {
        Standing::Present => "present",
        Standing::Gone(_, Disposition::Deactivate) => "off",
        Standing::Gone(_, Disposition::Keep) => "kept",
        Standing::Unknown(_) => "unknown",
    };
    let values: serde_json::Map<String, Value> = mapped
        .iter()
        .map(|(path, wanted, _)| {
            let value = match wanted {
                Wanted::Value(value) => json!({ "is": value }),
                Wanted::Clear => Value::Null,
                Wanted::Leave => json!("leave"),
                Wanted::Skip => json!("skip"),
                Wanted::Unknown(_) => json!("unknown"),
                Wanted::Pending(_) => json!("pending"),
                Wanted::Failed(_) => json!("failed"),
            };
            (path.0.clone(), value)
        })
        .collect();
    StateHash::of_value(&json!({ "configuration": q.target.hash, "standing": standing, "values": values }))
}

/// Somebody who is not to have an account. One who has none gets none.
fn gone(q: &Question<'_>, mut plan: Plan, cause: Cause, disposition: Disposition, mapped: &Mapped<'_>) -> Plan {
    plan.active = false;
    // References to others are no reason to touch the account of somebody who has left.
    plan.missing.clear();
    let key = q.change.user.key();
    let Some(link) = q.link.filter(|link| link.remote_id.is_some()) else {
        return match q.link.filter(|link| link.create_intent) {
            Some(link) => lost_create(q, plan, &key, link, (cause, disposition), mapped),
            None => plan.because(Action::Noop, format!("{}; there is no account", cause.in_words())),
        };
    };
    let differing = difference(mapped, Known::Link(link), is_identifier);
    match disposition {
        Disposition::Keep => {
            plan.active = link.active.unwrap_or(true);
            plan.kept = plan.active;
            plan.reasons.push(format!(
                "{}; the account is kept because lifecycle.{} is keep",
                cause.in_words(),
                cause.key()
            ));
            update(q, plan, differing)
        }
        Disposition::Deactivate if link.active == Some(false) => {
            let due = link.removed_at.zip(q.target.lifecycle.delete_after);
            let due = due.map(|(off, time)| after(off, time));
            if due.is_some_and(|due| due <= q.now) {
                plan.inferred = link.removal_inferred;
                let why = format!("{}; the account was switched off long enough ago", cause.in_words());
                return plan.because(Action::Delete, why);
            }
            plan.next_change = plan.next_change.into_iter().chain(due).min();
            plan.reasons.push(format!("{}; the account is off", cause.in_words()));
            update(q, plan, differing)
        }
        Disposition::Deactivate if !q.target.features.deactivate => {
            plan.reported = true;
            plan.because(
                Action::Skip,
                format!("{}; not done because features.deactivate is off", cause.in_words()),
            )
        }
        Disposition::Deactivate => {
            // Nothing but `active`: a write is all or nothing (RFC 7644 section 3.5.2), and an identifier that the
            // target refuses would keep somebody in who has left. Identifiers follow, as an update of the account
            // that is off.
            plan.set(ACTIVE, Value::Bool(false));
            plan.inferred = is_inferred(q, cause, link);
            plan.because(Action::Deactivate, cause.in_words().to_owned())
        }
    }
}

/// Whether a removal is concluded rather than said: by an absence, or by a configuration that has changed under a person
/// who has not.
fn is_inferred(q: &Question<'_>, cause: Cause, link: &Link) -> bool {
    let concluded = match cause {
        Cause::Unlisted | Cause::OutOfScope => true,
        Cause::Removed => matches!(q.change.cause.origin, Origin::Report | Origin::Query),
        Cause::Inactive | Cause::Terminated | Cause::Frozen => false,
    };
    let unchanged = match (cause, q.target.since, &q.target.lifecycle.termination) {
        // A day that comes is the source's word, however long ago the policy was edited.
        (Cause::Terminated, Some(since), Some(rule)) => {
            q.change.cause.observed_at <= since && rule.judge(q.change, Some(link), since) == Judgement::Over
        }
        _ => link.user_version == q.change.version,
    };
    concluded || (link.configuration != q.target.hash && unchanged)
}

/// A create or a take-over whose answer was lost, and the person has left since: the account must not stay. Where the
/// policy keeps it, it is known all the same: who leaves for another cause later must not leave it behind.
fn lost_create(
    q: &Question<'_>,
    mut plan: Plan,
    key: &UserKey,
    link: &Link,
    (cause, disposition): (Cause, Disposition),
    mapped: &Mapped<'_>,
) -> Plan {
    let why = format!("{}; an account was being made or taken over", cause.in_words());
    plan.active = disposition == Disposition::Keep;
    let found = match q.remote {
        Remote::NotLooked => return plan.because(Action::Look, why),
        Remote::Absent => return plan.because(Action::Noop, format!("{why} and left no account")),
        Remote::Found(found) => found,
    };
    // What matches by its attributes only was there before, where the target keeps our key: nobody switches that off.
    let keeps = q.target.matching.keeps_external_ids;
    let mine: Vec<Seen> = found
        .iter()
        .filter(|account| !keeps || account.is_of(key))
        .cloned()
        .collect();
    if mine.is_empty() && !found.is_empty() {
        plan.reported = true;
        return plan.because(
            Action::Skip,
            format!("{why}; an account matches and does not carry our key: it is left alone"),
        );
    }
    match pick(key, &mine, true, q.accounts) {
        // Ours: linked whatever its state, so that somebody who comes back gets it back.
        Ok(Some(account)) => {
            plan.account = Some(account.id.clone());
            let differing = difference(mapped, Known::Account(account), is_identifier);
            if account.active == Some(false) {
                plan.active = false;
                if q.target.features.update {
                    plan.write(differing);
                }
                return plan.because(Action::Adopt, format!("{why}; its account is off"));
            }
            plan.equal.extend(differing.1);
            let stays = match (disposition, q.target.features.deactivate) {
                (Disposition::Keep, _) => Some(format!("lifecycle.{} is keep", cause.key())),
                (Disposition::Deactivate, false) => Some("features.deactivate is off".to_owned()),
                (Disposition::Deactivate, true) => None,
            };
            if let Some(setting) = stays {
                plan.active = true;
                return plan.because(Action::Adopt, format!("{why}; its account stays on because {setting}"));
            }
            plan.inferred = is_inferred(q, cause, link);
            plan.set(ACTIVE, Value::Bool(false));
            plan.because(Action::Deactivate, why)
        }
        Ok(None) => plan.because(Action::Noop, format!("{why} and left no account")),
        Err(refusal) => plan.refused(refusal),
    }
}

/// Somebody who is to have an account.
fn present(q: &Question<'_>, mut plan: Plan, key: &UserKey, mapped: &Mapped<'_>) -> Plan {
    let linked = q.link.filter(|link| link.remote_id.is_some());
    match gate(&q.change.user, &q.target.gate) {
        Passage::Unknown(field) => return plan.because(Action::Wait, format!("{field} unknown")),
        Passage::Closed(mut reasons) => {
            if linked.is_some() {
                reasons.push("the account stays as it is".to_owned());
            }
            plan.reasons = reasons;
            plan.action = Action::Skip;
            plan.reported = true;
            return plan;
        }
        Passage::Open => {}
    }
    if let Some((other, until)) = q.accounts.sharing_address(key, q.now) {
        plan.reported = true;
        plan.next_change = plan.next_change.into_iter().chain(until).min();
        return plan.because(
            Action::Skip,
            format!("in the primary domain the e-mail address would be that of {other}, too: neither is written"),
        );
    }
    if let Some(path) = mapped
        .iter()
        .find_map(|(path, wanted, _)| (*wanted == Wanted::Skip).then_some(path))
    {
        plan.reported = true;
        return plan.because(
            Action::Skip,
            format!("the sources of {path} are blank and whenBlank is skip"),
        );
    }
    if let Some((path, why)) = mapped.iter().find_map(|(path, wanted, _)| match wanted {
        Wanted::Failed(why) => Some((path, why)),
        _ => None,
    }) {
        plan.reported = true;
        return plan.because(Action::Skip, format!("the template of {path} {why}"));
    }
    let Some(link) = linked else {
        return unlinked(q, plan, key, mapped);
    };
    let mut differing = difference(mapped, Known::Link(link), |_| true);
    if !link.holds(EXTERNAL_ID, StateHash::of_string(key.user.as_str())) {
        differing
            .0
            .push((path(EXTERNAL_ID), Value::String(key.user.to_string())));
    }
    if link.active != Some(true) {
        if !q.target.features.reactivate {
            plan.active = false;
            let words = "active again; not done because features.reactivate is off".to_owned();
            differing.0.retain(|(path, _)| is_identifier(path));
            if link.active == Some(false) && q.target.features.update && differs(&differing) {
                // As everywhere: the old name would block its successor.
                plan.reasons.push(words);
                return update(q, plan, differing);
            }
            plan.reported = true;
            return plan.because(Action::Skip, words);
        }
        if q.target.features.update {
            plan.write(differing);
        }
        plan.set(ACTIVE, Value::Bool(true));
        let known = if link.active.is_some() {
            "the account is off"
        } else {
            "whether the account is on is not certain"
        };
        return plan.because(Action::Reactivate, format!("active in the source, {known}"));
    }
    update(q, plan, differing)
}

/// Somebody who should have an account and has none that we know of: look first.
fn unlinked(q: &Question<'_>, mut plan: Plan, key: &UserKey, mapped: &Mapped<'_>) -> Plan {
    match mapped.get(USER_NAME) {
        Some(Wanted::Unknown(field)) => {
            return plan.because(Action::Wait, format!("{field} unknown"));
        }
        Some(Wanted::Value(_)) => {}
        _ => {
            plan.reported = true;
            return plan.because(Action::Skip, "there is no value for userName".to_owned());
        }
    }
    let found: &[Seen] = match q.remote {
        Remote::NotLooked => return plan.because(Action::Look, "active and not linked".to_owned()),
        Remote::Absent => &[],
        Remote::Found(found) => found,
    };
    // An account from a create of ours whose answer was lost is ours, whatever state it was brought into since. Where
    // the target keeps our key, the account shows it; without it, it is somebody's who was there before.
    let ours = q.link.is_some_and(|link| link.create_intent)
        && !q.target.matching.keeps_external_ids
        && found.iter().all(|account| !account.is_foreign(key));
    if let [account] = found
        && let Some(holder) = q.accounts.holder(&account.id).filter(|holder| holder != key)
    {
        plan.claimed_by = Some(holder);
        if let Some(person) = person_hash(q)
            && q.accounts.may_relink(&holder, person)
        {
            return relink(q, plan, key, mapped, account, holder);
        }
    }
    let account = match pick(key, found, q.target.matching.adopt_inactive || ours, q.accounts) {
        Ok(account) => account,
        Err(refusal) => return plan.refused(refusal),
    };
    let Some(account) = account else {
        if !q.target.features.create {
            plan.reported = true;
            return plan.because(
                Action::Skip,
                "no account; not made because features.create is off".to_owned(),
            );
        }
        plan.write(difference(mapped, Known::Nothing, |_| true));
        plan.set(EXTERNAL_ID, Value::String(key.user.to_string()));
        plan.set(ACTIVE, Value::Bool(true));
        return plan.because(Action::Create, "active and no account exists".to_owned());
    };
    plan.account = Some(account.id.clone());
    if q.target.features.update {
        plan.write(difference(mapped, Known::Account(account), |_| true));
    }
    if account.is_of(key) {
        plan.equal
            .push((path(EXTERNAL_ID), hash(&Value::String(key.user.to_string()))));
    } else {
        plan.set(EXTERNAL_ID, Value::String(key.user.to_string()));
    }
    switch_on(q, &mut plan, account);
    let by = if account.is_of(key) {
        "by our key"
    } else {
        "by its attributes"
    };
    plan.because(Action::Adopt, format!("an account exists, found {by}"))
}

/// An account that was found is on afterwards, where that may be done.
fn switch_on(q: &Question<'_>, plan: &mut Plan, account: &Seen) {
    match (account.active, q.target.features.reactivate) {
        // A target that does not say is told: `active` may be unassigned there (RFC 7643 section 4.1.1 leaves its meaning open).
        (Some(false) | None, true) => plan.set(ACTIVE, Value::Bool(true)),
        (Some(false), false) => {
            plan.active = false;
            let words = "it is off and is not switched on because features.reactivate is off";
            plan.reasons.push(words.to_owned());
        }
        (Some(true), _) | (None, false) => {}
    }
}

/// The value that tells that two user records are one person; `None` when it is blank or unknown.
#[must_use]
pub fn person_hash(q: &Question<'_>) -> Option<StateHash> {
    match q.target.matching.person.as_ref()?.read(&q.change.user) {
        Published::Value(value) if !is_blank(&value) => Some(hash(&value)),
        _ => None,
    }
}

/// The account moves from an earlier record of the same person, who has left, to this one.
fn relink(
    q: &Question<'_>,
    mut plan: Plan,
    key: &UserKey,
    mapped: &Mapped<'_>,
    account: &Seen,
    holder: UserKey,
) -> Plan {
    plan.account = Some(account.id.clone());
    plan.takes_from = Some(holder);
    if q.target.features.update {
        plan.write(difference(mapped, Known::Account(account), |_| true));
    }
    plan.set(EXTERNAL_ID, Value::String(key.user.to_string()));
    switch_on(q, &mut plan, account);
    plan.because(
        Action::Relink,
        format!("the account of {holder}, an earlier record of the same person, who has left"),
    )
}

/// Whether an account must never be written.
fn is_protected(q: &Question<'_>, mapped: &Mapped<'_>, account: Option<&str>) -> bool {
    let protected = &q.target.protected;
    if protected.is_empty() {
        return false;
    }
    let named = [USER_NAME, WORK_EMAIL]
        .into_iter()
        .filter_map(|name| match mapped.get(name) {
            Some(Wanted::Value(Value::String(text))) => Some(text.to_lowercase()),
            _ => None,
        });
    account
        .map(str::to_lowercase)
        .into_iter()
        .chain(named)
        .any(|name| protected.contains(&name))
}

fn differs(differing: &Difference) -> bool {
    !differing.0.is_empty()
}

fn update(q: &Question<'_>, mut plan: Plan, differing: Difference) -> Plan {
    if !differs(&differing) {
        plan.action = Action::Noop;
        if plan.reasons.is_empty() {
            plan.reasons.push(AS_IT_SHOULD_BE.to_owned());
        }
        return plan;
    }
    if !q.target.features.update {
        plan.reported = true;
        let names: Vec<String> = differing.0.iter().map(|(path, _)| path.0.clone()).collect();
        return plan.because(
            Action::Skip,
            format!(
                "{} differ; not written because features.update is off",
                names.join(", ")
            ),
        );
    }
    plan.write(differing);
    plan.because(Action::Update, "differs from what was written".to_owned())
}

fn path(name: &str) -> AttributePath {
    AttributePath(name.to_owned())
}

impl Plan {
    fn because(mut self, action: Action, reason: String) -> Self {
        self.action = action;
        self.reasons.push(reason);
        self
    }
    fn refused(self, refusal: Refusal) -> Self {
        let mut plan = self.because(Action::Skip, refusal.reason.clone());
        plan.refusal = Some(refusal);
        plan
    }
    fn write(&mut self, differing: Difference) {
        for (path, value) in differing.0 {
            self.changed.push(path.clone());
            self.values.insert(path, value);
        }
        self.equal.extend(differing.1);
    }
    fn set(&mut self, name: &str, value: Value) {
        self.changed.push(path(name));
        self.values.insert(path(name), value);
    }
    /// The account that the plan is about.
    #[must_use]
    pub fn account(&self) -> Option<&RemoteId> {
        self.account.as_ref()
    }
}
