//! What is known after a plan was carried out.

use jiff::Timestamp;
use usher_contract::{StateHash, UserChange};

use super::{Action, Plan};
use crate::logic::{
    account::RemoteId,
    assignments::{forget_manual, note_given},
    link::{Link, LinkState, Written},
    matching::Seen,
    policy::TargetPolicy,
    termination::remembered,
};

/// The link after success. `shown` is the account as the target showed it afterwards, when it did.
///
/// Guarantee: the same person planned again over this link is a Noop. The exception is a Deactivate, which writes
/// nothing but `active`: identifiers that differ follow as one Update.
#[must_use]
pub fn link_after(
    plan: &Plan,
    before: Option<&Link>,
    account: &RemoteId,
    shown: Option<&Seen>,
    change: &UserChange,
    target: &TargetPolicy,
    now: Timestamp,
) -> Link {
    let mut link = before
        .cloned()
        .unwrap_or_else(|| Link::unlinked(change.version, target.hash));
    if link.remote_id.as_ref() != Some(account) {
        // Of an account that was being made stays known which settings the request whose answer was lost may have given.
        let given = link.written.iter().filter(|(_, written)| written.given);
        let maybe = given.filter(|_| link.remote_id.is_none());
        link.written = maybe.map(|(path, written)| (path.clone(), written.clone())).collect();
        link.values.clear();
        link.remote_id = Some(account.clone());
    }
    if target.keeps_values {
        // Of an account that moves to another record only what differs is in the plan; the account shows the rest.
        let shown = shown.into_iter().flat_map(|seen| &seen.values);
        let values = shown.chain(&plan.values);
        link.values
            .extend(values.map(|(path, value)| (path.clone(), value.clone())));
        link.values.retain(|_, value| !value.is_null());
    }
    for (path, hash) in &plan.equal {
        let written = Written::now(*hash, None, link.written.get(path));
        link.written.insert(path.clone(), written);
    }
    for (path, value) in &plan.values {
        let hash = StateHash::of_value(value);
        let returned = shown
            .and_then(|seen| seen.values.get(path))
            .map(StateHash::of_value)
            .filter(|returned| *returned != hash);
        let written = Written::now(hash, returned, link.written.get(path));
        link.written.insert(path.clone(), written);
    }
    note_given(&mut link, target);
    (link.left_at, link.active_since) = remembered(before, change);
    link.said = plan.remark;
    if let Some(assigned) = &plan.assignment {
        link.assignment = Some(assigned.clone());
        forget_manual(&mut link, target);
    }
    link.active = Some(plan.active);
    link.create_intent = false;
    link.user_version = change.version;
    link.configuration = target.hash;
    link.state = LinkState::Settled;
    if !plan.values.is_empty() {
        link.changed_at = Some(now);
        link.released = false;
    }
    if plan.action == Action::Deactivate {
        link.removed_at = Some(now);
        link.removal_inferred = plan.inferred;
    }
    link
}
