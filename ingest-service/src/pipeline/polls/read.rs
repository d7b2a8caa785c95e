//! Reading a round of polls by query, one query at a time. What an answer means: `logic/polls.rs`.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tracing::info;
use usher_contract::UserId;

use super::{Failure, Outcome, Read};
use crate::{
    logic::{
        polls::{self, GroupPoll, PermissionSetPoll, PollKind},
        population::IDS_PER_QUERY_MAX,
        quota::{Means, Permit, Purpose},
        writer::Polled,
    },
    pipeline::Parts,
    salesforce::error::ApiError,
};

pub(super) async fn read_round(parts: Parts, due: Vec<PollKind>, frozen: Vec<UserId>) -> Outcome {
    let mut read = Vec::new();
    for kind in due {
        let result = match kind {
            PollKind::Frozen => read_frozen(&parts, &frozen).await,
            PollKind::Groups => read_groups(&parts).await,
            PollKind::PermissionSets => read_permission_sets(&parts).await,
            PollKind::Names => read_names(&parts).await,
        };
        let result = result.map_err(|error| error.failure(kind));
        if let Ok(read) = &result {
            info!(poll = kind.label(), rows = read.rows, "a poll is read");
        }
        read.push((kind, result));
    }
    Outcome(read)
}

/// What went wrong while reading.
enum ReadError {
    Api(ApiError),
    /// The answer is not what was asked for, in words.
    Answer(String),
}

impl From<ApiError> for ReadError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl ReadError {
    fn failure(self, kind: PollKind) -> Failure {
        match self {
            // The general hints are about users; here another permission is missing.
            Self::Api(ApiError::Operator { what, code, .. }) => Failure {
                reason: format!("Salesforce refuses {what}: {code}; {}", kind.hint()),
                wait: Duration::from_secs(60),
            },
            Self::Api(error) => Failure {
                reason: error.to_string(),
                wait: error.wait(),
            },
            Self::Answer(reason) => Failure {
                reason,
                wait: Duration::from_secs(60),
            },
        }
    }
}

/// A long poll must not eat up the reserve that was untouched when it began.
fn spare(parts: &Parts) -> Result<(), ReadError> {
    match parts.rest.quota().allows(Purpose::Poll, Means::Requests) {
        Permit::Wait(why) => Err(ReadError::Answer(why)),
        Permit::Go | Permit::Warn(_) | Permit::Stretch(..) => Ok(()),
    }
}

/// Reads all pages of a query. Gives when the first was read, and how many rows there were.
async fn rows(
    parts: &Parts,
    what: &str,
    soql: &str,
    mut take: impl FnMut(&[Value]) -> Result<(), String> + Send,
) -> Result<(Timestamp, usize), ReadError> {
    spare(parts)?;
    let mut page = parts.rest.query(what, soql).await?;
    let (at, mut count) = (page.at, 0);
    loop {
        count += page.records.len();
        take(&page.records)
            .map_err(|why| ReadError::Answer(format!("{what} gave an answer that cannot be read: {why}")))?;
        match page.next {
            Some(next) => {
                spare(parts)?;
                page = parts.rest.query_more(what, &next).await?;
            }
            None => return Ok((at, count)),
        }
    }
}

async fn read_frozen(parts: &Parts, published: &[UserId]) -> Result<Read, ReadError> {
    let what = "reading frozen log-ins";
    let count = parts
        .rest
        .get(what, &parts.rest.path("query"), &[("q", polls::COUNT_LOGINS)])
        .await?;
    if count.body["totalSize"].as_u64() == Some(0) {
        return Err(ReadError::Answer(format!(
            "no log-in can be seen; {}",
            PollKind::Frozen.hint()
        )));
    }
    let mut frozen = HashSet::new();
    let (read_at, count) = rows(parts, what, polls::FROZEN, |rows| {
        frozen.extend(polls::logins(rows)?.into_iter().map(|(user, _)| user));
        Ok(())
    })
    .await?;
    // Whoever is missing may be thawed, or may not be seen any more: asked directly, and believed only if seen.
    let mut unseen = 0;
    for users in polls::not_in(&frozen, published).chunks(IDS_PER_QUERY_MAX) {
        let mut seen = HashMap::new();
        rows(parts, what, &polls::query_logins(users), |rows| {
            seen.extend(polls::logins(rows)?);
            Ok(())
        })
        .await?;
        for user in users {
            unseen += usize::from(!seen.contains_key(user));
            if seen.get(user).copied().unwrap_or(true) {
                frozen.insert(*user);
            }
        }
    }
    let problem = (unseen > 0).then(|| {
        format!(
            "{unseen} people who are published as frozen cannot be seen and stay frozen; {}",
            PollKind::Frozen.hint()
        )
    });
    Ok(Read {
        polled: Polled::Frozen(frozen),
        read_at,
        rows: count,
        problem,
        note: None,
    })
}

async fn read_groups(parts: &Parts) -> Result<Read, ReadError> {
    let what = "reading the members of groups";
    let mut poll = GroupPoll::default();
    let (read_at, count) = rows(parts, what, polls::MEMBERS, |rows| poll.members(rows)).await?;
    rows(parts, what, polls::PUBLIC, |rows| poll.public(rows)).await?;
    for groups in poll.unknown().chunks(IDS_PER_QUERY_MAX) {
        rows(parts, what, &GroupPoll::query_others(groups), |rows| poll.others(rows)).await?;
    }
    if poll.needs_roles() {
        rows(parts, what, polls::ROLES, |rows| poll.roles(rows)).await?;
        for roles in poll.covered().chunks(IDS_PER_QUERY_MAX) {
            rows(parts, what, &GroupPoll::query_holders(roles), |rows| poll.holders(rows)).await?;
        }
    }
    let (lists, left_out) = poll.finish();
    let left_out: Vec<String> = left_out
        .into_iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let note = (!left_out.is_empty()).then(|| {
        format!(
            "public groups hold members of kinds that are not followed ({}); whoever is in a group only through these is not shown in it",
            left_out.join(", ")
        )
    });
    Ok(Read {
        polled: Polled::Groups(lists),
        read_at,
        rows: count,
        problem: None,
        note,
    })
}

async fn read_permission_sets(parts: &Parts) -> Result<Read, ReadError> {
    let what = "reading the assignments of permission sets";
    let mut poll = PermissionSetPoll::default();
    let (read_at, count) = match rows(parts, what, polls::ASSIGNMENTS, |rows| poll.assignments(rows)).await {
        // The field came with a later version of the API: without it nothing says that an assignment has lapsed.
        Err(ReadError::Api(ApiError::Operator { code, .. })) if code == "INVALID_FIELD" => {
            rows(parts, what, polls::ASSIGNMENTS_PLAIN, |rows| poll.assignments(rows)).await?
        }
        other => other?,
    };
    rows(parts, what, polls::PERMISSION_SETS, |rows| poll.sets(rows)).await?;
    Ok(Read {
        polled: Polled::PermissionSets(poll.finish()),
        read_at,
        rows: count,
        problem: None,
        note: None,
    })
}

async fn read_names(parts: &Parts) -> Result<Read, ReadError> {
    let what = "reading the names of profiles and roles";
    let mut names = HashMap::new();
    let mut take = |rows: &[Value]| {
        names.extend(polls::names(rows)?);
        Ok(())
    };
    let (read_at, profiles) = rows(parts, what, polls::PROFILES, &mut take).await?;
    let (_, roles) = rows(parts, what, polls::ROLES, &mut take).await?;
    Ok(Read {
        polled: Polled::Names(names),
        read_at,
        rows: profiles + roles,
        problem: None,
        note: None,
    })
}
