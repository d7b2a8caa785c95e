//! Links as lines of JSON: out of the topic, and back into one after it was lost or on another cluster.
//!
//! An import writes with the transactional id of the target, so whoever runs it can commit nothing any more from that
//! moment and, once it notices, reads everything anew. It is refused while a target is at work: paused, handed back, off, or never run are
//! the states in which nobody writes at the target meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicU64},
};

use serde::{Deserialize, Serialize};
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    clock,
    kafka::{KafkaConfig, OutRecord, TransactionBatch, TransactionalProducer},
    shutdown::chain,
};

use crate::{
    link_table,
    logic::{
        account::RemoteId,
        link::{self, Link, LinkState, record_key},
        ownership::LEASE,
        plan::Accounts,
        target_record::TargetRecord,
    },
    topics,
};

/// Links of one transaction.
const BATCH_LINKS: usize = 1000;
/// Problems that are shown; the rest is counted.
const PROBLEMS_MAX: usize = 20;

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// The target that it was of.
    pub(crate) target: TargetName,
    /// Whose.
    pub(crate) user: UserKey,
    /// What was known.
    pub(crate) link: Link,
}

/// Why somebody may import, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nobody writes at the target.
    Quiet,
    /// It is paused or off, and not handed back: as a successor, wait out what may be under way.
    AfterLease,
}

/// Reads lines for a target; lines of other targets are passed over, so that one export of all serves each.
///
/// # Errors
/// Every problem, with its line.
pub(crate) fn parse(text: &str, target: &TargetName) -> Result<BTreeMap<UserKey, Link>, String> {
    let (mut links, mut holders) = (BTreeMap::new(), BTreeMap::<RemoteId, UserKey>::new());
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = number + 1;
        let line: Line = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(error) => {
                problems.push(format!(
                    "line {number}: not a link as `links export` writes it: {error}"
                ));
                continue;
            }
        };
        if line.target != *target {
            continue;
        }
        if line.link.format > link::FORMAT {
            problems.push(format!("line {number}: written by a later version"));
        }
        if let Some(account) = &line.link.remote_id
            && let Some(other) = holders.insert(account.clone(), line.user)
            && other != line.user
        {
            problems.push(format!("line {number}: account {account} is {other}'s already"));
        }
        if links.insert(line.user, fresh(line.link)).is_some() {
            problems.push(format!("line {number}: {} has a line already", line.user));
        }
    }
    match problems.len() {
        0 if links.is_empty() => Err(format!("there is no link of {target} in it")),
        0 => Ok(links),
        count => {
            problems.truncate(PROBLEMS_MAX);
            if count > problems.len() {
                problems.push(format!("... and {} more", count - problems.len()));
            }
            Err(problems.join("\n"))
        }
    }
}

/// What of a link is true elsewhere: the account and what it holds. Versions count from one on a new topic, sets, releases
/// and next tries belong to the record and the time that they come from.
fn fresh(link: Link) -> Link {
    let state = match link.state {
        LinkState::Held { .. } | LinkState::Retrying { .. } => LinkState::Settled,
        LinkState::Rejected {
            desired,
            code,
            reason,
            at,
            approved: _,
        } => LinkState::Rejected {
            desired,
            code,
            reason,
            at,
            approved: None,
        },
        state @ (LinkState::Settled | LinkState::Skipped { .. }) => state,
    };
    Link {
        format: link::FORMAT,
        user_version: 0,
        state,
        ..link
    }
}

fn standing(record: Option<&TargetRecord>, is_off: bool) -> Result<Standing, String> {
    match record {
        None => Ok(Standing::Quiet),
        Some(record) if record.released => Ok(Standing::Quiet),
        Some(record) if record.paused.is_some() || is_off => Ok(Standing::AfterLease),
        Some(record) => Err(format!(
            "the target is run by {}: pause it first, or stop the service; if that one died without handing back, set \
             the target's mode to off",
            if record.owner.is_empty() {
                "somebody"
            } else {
                &record.owner
            }
        )),
    }
}

/// Writes links of a target. How many.
///
/// # Errors
/// Why nothing, or not everything, was written, in words.
pub(crate) async fn import(
    kafka: &KafkaConfig,
    target: &TargetName,
    is_off: bool,
    links: BTreeMap<UserKey, Link>,
) -> Result<usize, String> {
    topics::all(kafka).ensure().await.map_err(|error| chain(&error))?;
    // Looked at first without touching anybody.
    let records = link_table::read_records(kafka).await.map_err(|error| chain(&error))?;
    standing(records.get(target), is_off)?;
    let id = format!("{}apply.{target}", kafka.prefix);
    let producer = TransactionalProducer::fence(kafka, &id)
        .await
        .map_err(|error| chain(&error))?;
    let (producer, fenced) = (Arc::new(producer), clock::monotonic());
    let restored = link_table::restore(kafka, &producer, target, &AtomicU64::new(0)).await;
    let restored = restored.map_err(|error| chain(&error))?;
    // Once more: from here on nobody else can change it.
    let record = restored.record.as_ref();
    if standing(record, is_off)? == Standing::AfterLease {
        tokio::time::sleep(LEASE.saturating_sub(clock::monotonic().duration_since(fenced))).await;
    }
    let taken: BTreeSet<String> = links
        .iter()
        .filter_map(|(user, link)| {
            let account = link.remote_id.as_ref()?;
            let holder = restored.links.holder(account)?;
            // Whoever holds it now and is imported as well gets the account that the line says.
            (holder != *user && !links.contains_key(&holder)).then(|| format!("account {account} is held by {holder}"))
        })
        .collect();
    if !taken.is_empty() {
        let some: Vec<&str> = taken.iter().take(PROBLEMS_MAX).map(String::as_str).collect();
        return Err(format!("{}; nothing was written", some.join("\n")));
    }
    let partition = topics::partition_of_target(target);
    let records: Vec<OutRecord> = links
        .iter()
        .map(|(user, link)| OutRecord {
            topic: kafka.topic(topics::LINK),
            key: record_key(target, user).into_bytes(),
            value: Some(serde_json::to_vec(link).unwrap_or_default()),
            headers: vec![],
            partition: Some(partition),
        })
        .collect();
    let mut written = 0;
    for batch in records.chunks(BATCH_LINKS) {
        let transaction = TransactionBatch {
            changes: batch.to_vec(),
            bookkeeping: vec![],
        };
        producer
            .commit(transaction)
            .await
            .map_err(|error| format!("{}; {written} links are written, begin again", chain(&error)))?;
        written += batch.len();
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        link_table::testing_record,
        logic::{
            guard::Budget,
            link::Release,
            testing::{at, policy, user_key},
        },
    };
    use usher_contract::Approval;

    fn line(n: u32, account: &str) -> Line {
        Line {
            target: policy().name,
            user: user_key(n),
            link: Link {
                remote_id: Some(RemoteId(account.to_owned())),
                state: LinkState::Held {
                    set: "s".into(),
                    budget: Budget::Changes,
                    action: "update".into(),
                    at: at(0),
                },
                ..Link::unlinked(17, policy().hash)
            },
        }
    }

    fn text(lines: &[Line]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        lines.join("\n")
    }

    #[test]
    fn links_lose_what_is_only_true_where_they_come_from() {
        let links = parse(&text(&[line(1, "a"), line(2, "b")]), &policy().name).unwrap();
        assert_eq!(links.len(), 2);
        let one = &links[&user_key(1)];
        assert_eq!((one.user_version, &one.state), (0, &LinkState::Settled));
        assert_eq!(one.remote_id, Some(RemoteId("a".into())));

        let refused = |approved| LinkState::Rejected {
            desired: policy().hash,
            code: "http-400".into(),
            reason: "because".into(),
            at: at(0),
            approved,
        };
        let mut released = line(1, "a");
        released.link.state = refused(Some(Release {
            what: policy().hash,
            by: Approval {
                actor: "ada".into(),
                reason: "r".into(),
                at: at(0),
            },
        }));
        let links = parse(&text(&[released]), &policy().name).unwrap();
        assert_eq!(
            links[&user_key(1)].state,
            refused(None),
            "an operator released it there"
        );
    }

    #[test]
    fn every_problem_is_named_by_its_line() {
        let text = format!("{}\n{{\n", text(&[line(1, "a"), line(2, "a"), line(1, "c")]));
        let problems = parse(&text, &policy().name).unwrap_err();
        for words in ["line 2: account a is", "line 3: ", "line 4: not a link"] {
            assert!(problems.contains(words), "{problems}");
        }
        let other = TargetName::try_new("other").unwrap();
        assert!(
            parse(&super::tests::text(&[line(1, "a")]), &other)
                .unwrap_err()
                .contains("no link of other")
        );
    }

    #[test]
    fn a_target_at_work_is_not_imported_into() {
        let mut record = testing_record();
        record.owner = "10.0.0.1:8082".into();
        let words = standing(Some(&record), false).unwrap_err();
        assert!(words.contains("10.0.0.1:8082"), "{words}");
        assert_eq!(standing(None, false), Ok(Standing::Quiet));
        assert_eq!(standing(Some(&record), true), Ok(Standing::AfterLease), "off");
        record.paused = Some(Approval {
            actor: "ada".into(),
            reason: "r".into(),
            at: at(100),
        });
        assert_eq!(standing(Some(&record), false), Ok(Standing::AfterLease));
        record.released = true;
        assert_eq!(standing(Some(&record), false), Ok(Standing::Quiet));
    }
}
