//! Links as the service leaves them behind: made by the same `plan` that will find nothing to do over them.

use apply_service::logic::{
    account::RemoteId,
    lane::Links,
    link::Link,
    plan::{Question, Remote, link_after, plan},
    policy::TargetPolicy,
};
use jiff::Timestamp;
use usher_contract::UserChange;

/// A moment after everything that the invented people did.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_791_100_000).expect("a time")
}

/// The link of somebody for whom an account was made.
pub(crate) fn linked(change: &UserChange, target: &TargetPolicy, others: &Links) -> Link {
    let created = plan(&Question {
        change,
        link: None,
        remote: &Remote::Absent,
        target,
        accounts: others,
        people: &(),
        reimported_at: None,
        again: false,
        now: now(),
    });
    let account = RemoteId(change.user.id.to_string());
    let mut link = link_after(&created, None, &account, None, change, target, now());
    link.released = true;
    link
}
