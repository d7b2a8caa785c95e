//! People who have left and whose accounts are not off yet, longer than they should be: an alarm, not an action.
//!
//! What keeps them does not matter: a target that does not answer, a refusal, the guard, a pause. Since when is the time of
//! the state that says so as this process first saw it; a later edit of somebody who has left does not start over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use usher_contract::{Known, UserChange, UserKey};

use super::{
    lane::Links,
    link::{Link, LinkState},
    plan::{Action, Question, Remote, plan},
    policy::{Mode, TargetPolicy},
    retry::elapsed,
};

/// Who has left and is not out, and since when.
#[derive(Debug, Default)]
pub struct Leavers(BTreeMap<UserKey, Timestamp>);

impl Leavers {
    /// Looks at everybody with an account that may be on, or that may have been made when an answer was lost, and with
    /// something outstanding (`pending`, or as the link says).
    /// How many are not out for longer than `bound`.
    pub fn overdue(
        &mut self,
        links: &Links,
        target: &TargetPolicy,
        state: impl Fn(&UserKey) -> Option<Arc<UserChange>>,
        pending: impl Fn(&UserKey) -> bool,
        bound: Duration,
        now: Timestamp,
    ) -> usize {
        if target.mode != Mode::Enforce {
            self.0.clear();
            return 0;
        }
        let before = std::mem::take(&mut self.0);
        for (user, glance) in links.glances() {
            if !glance.may_be_on() || (glance.is_settled() && !pending(user)) {
                continue;
            }
            let Some(change) = state(user) else {
                continue;
            };
            let link = links.get(user);
            if !glance.is_linked()
                && matches!(
                    &link,
                    Some(Link {
                        state: LinkState::Skipped { .. },
                        ..
                    })
                )
            {
                // What was found is not ours, or is left on as the policy says: told by its own outcome.
                continue;
            }
            let wanted = plan(&Question {
                change: &change,
                link: link.as_ref(),
                remote: &Remote::NotLooked,
                target,
                accounts: links,
                // Leavers are told by their own record.
                people: &(),
                reimported_at: None,
                // Also what was refused: they are still in.
                again: true,
                now,
            });
            // Stated leavers: those who are gone or inactive however it was found out, and whom a date or a freeze switches off.
            // A create whose answer was lost is looked for first.
            let out = wanted.action == Action::Deactivate || (wanted.action == Action::Look && !wanted.active);
            if out && (has_left(&change) || !wanted.inferred) {
                let said = if has_left(&change) {
                    change.cause.committed_at.unwrap_or(change.cause.observed_at)
                } else {
                    // Their day came after the message: it counts from when it was first seen to have come.
                    now
                };
                let since = before.get(user).map_or(said, |known| said.min(*known));
                self.0.insert(*user, since);
            }
        }
        self.0.values().filter(|since| elapsed(**since, now) >= bound).count()
    }
}

fn has_left(change: &UserChange) -> bool {
    change.user.removed || change.user.active == Known::Value(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::{
        account::RemoteId,
        testing::{Change, at, person, policy, user_key},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn links(state: LinkState, active: bool) -> Links {
        let mut links = Links::default();
        let link = Link {
            remote_id: Some(RemoteId("r1".into())),
            active: Some(active),
            state,
            ..Link::unlinked(1, policy().hash)
        };
        links.put(user_key(1), Some(link));
        links
    }

    fn rejected() -> LinkState {
        LinkState::Rejected {
            desired: policy().hash,
            code: "x".into(),
            approved: None,
            reason: "y".into(),
            at: at(1),
        }
    }

    #[test]
    fn a_leaver_who_is_refused_is_overdue_after_the_bound_and_an_edit_does_not_start_over() {
        let (links, mut leavers) = (links(rejected(), true), Leavers::default());
        let mut look = |change: UserChange, now: i64| {
            let change = Arc::new(change);
            leavers.overdue(
                &links,
                &policy(),
                |_| Some(Arc::clone(&change)),
                |_| false,
                HOUR,
                at(now),
            )
        };
        assert_eq!(look(person(1).inactive(), 3599), 0);
        assert_eq!(look(person(1).inactive(), 3600), 1);
        let mut edited = person(1).inactive().version(9);
        edited.cause.committed_at = Some(at(3500));
        assert_eq!(look(edited, 3601), 1);
        assert_eq!(look(person(1).version(10), 3602), 0, "came back");
    }

    #[test]
    fn a_leaver_whose_account_may_have_been_made_is_overdue_until_it_is_found_out() {
        let left = Arc::new(person(1).inactive());
        let look = |link: Link, pending: bool| {
            let mut links = Links::default();
            links.put(user_key(1), Some(link));
            Leavers::default().overdue(
                &links,
                &policy(),
                |_| Some(Arc::clone(&left)),
                |_| pending,
                HOUR,
                at(7200),
            )
        };
        let intended = Link {
            create_intent: true,
            ..Link::unlinked(1, policy().hash)
        };
        assert_eq!(look(intended.clone(), true), 1, "waits to be looked for");
        let refused = Link {
            state: rejected(),
            ..intended.clone()
        };
        assert_eq!(look(refused, false), 1, "several match, say");
        let not_ours = LinkState::Skipped {
            desired: policy().hash,
            reason: "does not carry our key".into(),
            at: at(1),
        };
        let left_alone = Link {
            state: not_ours,
            ..intended
        };
        assert_eq!(look(left_alone, true), 0);
        assert_eq!(look(Link::unlinked(1, policy().hash), true), 0, "there was never one");
    }

    #[test]
    fn whoever_is_frozen_counts_from_when_it_was_seen_where_that_switches_off() {
        let (links, mut leavers) = (links(rejected(), true), Leavers::default());
        let mut frozen = person(1);
        frozen.user.frozen = Known::Value(true);
        let frozen = Arc::new(frozen);
        let mut acting = policy();
        acting.lifecycle.frozen = crate::logic::policy::Disposition::Deactivate;
        let mut look = |policy: &TargetPolicy, now: i64| {
            leavers.overdue(&links, policy, |_| Some(Arc::clone(&frozen)), |_| false, HOUR, at(now))
        };
        assert_eq!(look(&acting, 7200), 0, "seen now");
        assert_eq!(look(&acting, 7200 + 3599), 0);
        assert_eq!(look(&acting, 7200 + 3600), 1);
        assert_eq!(look(&policy(), 7200 + 3700), 0, "kept");
    }

    #[test]
    fn who_is_out_or_has_nothing_outstanding_is_not_overdue() {
        let left = Arc::new(person(1).inactive());
        let count = |links: &Links, pending: bool, policy: &TargetPolicy| {
            Leavers::default().overdue(links, policy, |_| Some(Arc::clone(&left)), |_| pending, HOUR, at(7200))
        };
        assert_eq!(count(&links(rejected(), false), true, &policy()), 0, "is out");
        assert_eq!(count(&links(LinkState::Settled, true), true, &policy()), 1, "waits");
        assert_eq!(
            count(&links(LinkState::Settled, true), false, &policy()),
            0,
            "not fed yet"
        );
        let observed = TargetPolicy {
            mode: Mode::Observe,
            ..policy()
        };
        assert_eq!(
            count(&links(rejected(), true), true, &observed),
            0,
            "nobody is to be out"
        );
    }
}
