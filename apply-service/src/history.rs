//! Outcomes as they were recorded: read from the topic for a question, bounded, newest first.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{Outcome, OutcomeResult, TargetName, UserKey};
use usher_runtime::kafka::{KafkaConfig, Partitions, Record, TopicError, TopicMode, Window, partition_of, read_window};

use crate::topics;

/// Outcomes looked at for one answer. Larger: rare ones of long ago are found; smaller: less is read per question.
const LOOKED_AT_MAX: i64 = 200_000;
const LOOK_WITHIN: Duration = Duration::from_secs(20);
/// How much later than it speaks of an outcome may have been written.
const WRITTEN_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// Which outcomes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// About this person.
    pub(crate) user: Option<UserKey>,
    /// At this target.
    pub(crate) target: Option<TargetName>,
    /// That ended so.
    pub(crate) result: Option<OutcomeResult>,
    /// With this verb.
    pub(crate) action: Option<String>,
    /// Not before.
    pub(crate) from: Option<Timestamp>,
    /// Before.
    pub(crate) to: Option<Timestamp>,
    /// Behind this one, as [`Page::next`] says.
    pub(crate) after: Option<Place>,
    /// At most.
    pub(crate) limit: usize,
}

/// The place of an outcome in the order of an answer: newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(std::cmp::Reverse<Timestamp>, String);

impl Place {
    fn of(outcome: &Outcome) -> Self {
        Self(std::cmp::Reverse(outcome.at), outcome.id.clone())
    }
    /// As [`Page::next`] has it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('|')?;
        Some(Self(std::cmp::Reverse(at.parse().ok()?), id.to_owned()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}|{}", self.0.0, self.1)
    }
}

/// Some of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    /// Newest first.
    pub(crate) outcomes: Vec<Outcome>,
    /// For `after`; absent when there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Not everything in the time asked for was looked at, because it is too much: narrow it with from and to.
    pub(crate) cut: bool,
}

impl Filter {
    fn takes(&self, outcome: &Outcome) -> bool {
        self.user.is_none_or(|user| outcome.user == Some(user))
            && self.target.as_ref().is_none_or(|target| *target == outcome.target)
            && self.result.is_none_or(|result| result == outcome.result)
            && self.action.as_ref().is_none_or(|action| *action == outcome.action)
            && self.from.is_none_or(|from| outcome.at >= from)
            && self.to.is_none_or(|to| outcome.at < to)
            && self.after.as_ref().is_none_or(|after| Place::of(outcome) > *after)
    }

    /// Adds an outcome and keeps the newest, one more than a page.
    fn fold(&self, found: &mut BTreeMap<Place, Outcome>, outcome: Outcome) {
        if self.takes(&outcome) {
            found.insert(Place::of(&outcome), outcome);
            if found.len() > self.limit + 1 {
                found.pop_last();
            }
        }
    }
}

/// Reads a page.
///
/// # Errors
/// When the broker does not answer.
pub(crate) async fn read(kafka: &KafkaConfig, filter: Filter) -> Result<Page, TopicError> {
    let partitions = match filter.user {
        // Outcomes of a person lie where their key puts them, among as many partitions as we make.
        Some(user) if kafka.topics == TopicMode::Manage => Partitions::Only(vec![partition_of(
            user.to_string().as_bytes(),
            topics::OUTCOME_PARTITIONS,
        )]),
        _ => Partitions::All,
    };
    let to = match (filter.to, &filter.after) {
        (Some(to), Some(after)) => Some(to.min(after.0.0)),
        (to, after) => to.or(after.as_ref().map(|after| after.0.0)),
    };
    let window = Window {
        partitions,
        from: filter.from,
        to: to.and_then(|to| to.checked_add(WRITTEN_WITHIN).ok()),
        records_max: LOOKED_AT_MAX,
        within: LOOK_WITHIN,
    };
    let limit = filter.limit;
    let step = move |found: &mut BTreeMap<Place, Outcome>, record: Record| {
        let outcome = record.value.and_then(|value| serde_json::from_slice(&value).ok());
        if let Some(outcome) = outcome {
            filter.fold(found, outcome);
        }
    };
    let topic = kafka.topic(topics::OUTCOME);
    let (found, cut) = read_window(kafka, &topic, window, BTreeMap::new(), step).await?;
    let more = found.len() > limit;
    let outcomes: Vec<Outcome> = found.into_values().take(limit).collect();
    let next = outcomes.last().filter(|_| more).map(|last| Place::of(last).to_string());
    Ok(Page { outcomes, next, cut })
}

/// As CSV (RFC 4180), with a line of names. Every field is quoted.
pub(crate) fn csv(outcomes: &[Outcome]) -> String {
    let mut text =
        "at,target,user,action,result,errorCode,error,reasons,changed,attempt,latencyMs,userVersion,actor,id\r\n"
            .to_owned();
    for outcome in outcomes {
        let fields = [
            outcome.at.to_string(),
            outcome.target.to_string(),
            outcome.user.map(|user| user.to_string()).unwrap_or_default(),
            outcome.action.clone(),
            crate::metrics::result_word(outcome.result).to_owned(),
            outcome.error_code.clone().unwrap_or_default(),
            outcome.error.clone().unwrap_or_default(),
            outcome.reasons.join("; "),
            outcome.changed.join(" "),
            outcome.attempt.to_string(),
            outcome.latency_ms.to_string(),
            outcome.user_version.to_string(),
            outcome.actor.clone().unwrap_or_default(),
            outcome.id.clone(),
        ];
        let quoted: Vec<String> = fields.iter().map(|field| quote(field)).collect();
        text.push_str(&quoted.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A spreadsheet would take what begins like a formula for one.
fn quote(field: &str) -> String {
    let guard = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    format!("\"{guard}{}\"", field.replace('"', "\"\""))
}

/// The result that a word stands for.
pub(crate) fn result_of(word: &str) -> Option<OutcomeResult> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{at, policy, user_key};

    fn outcome(second: i64, id: &str) -> Outcome {
        Outcome {
            values: BTreeMap::new(),
            trace_id: None,
            id: id.to_owned(),
            user: Some(user_key(1)),
            target: policy().name,
            action: "update".into(),
            reasons: vec!["a \"b\"".into(), "c".into()],
            changed: vec!["title".into()],
            result: OutcomeResult::Done,
            error_code: None,
            error: None,
            attempt: 1,
            latency_ms: 3,
            user_version: 2,
            configuration: policy().hash,
            at: at(second),
            cause: None,
            actor: None,
        }
    }

    fn page(filter: &Filter, outcomes: &[Outcome]) -> Vec<String> {
        let mut found = BTreeMap::new();
        for outcome in outcomes {
            filter.fold(&mut found, outcome.clone());
        }
        found
            .into_values()
            .take(filter.limit)
            .map(|outcome| outcome.id)
            .collect()
    }

    #[test]
    fn pages_are_newest_first_and_go_on_without_repeating() {
        let all = [
            outcome(1, "a"),
            outcome(3, "c"),
            outcome(2, "b"),
            outcome(3, "d"),
            outcome(3, "c"),
        ];
        let mut filter = Filter {
            limit: 2,
            ..Filter::default()
        };
        assert_eq!(page(&filter, &all), ["c", "d"], "a repeated one is one");
        filter.after = Place::parse(&Place::of(&all[3]).to_string());
        assert_eq!(page(&filter, &all), ["b", "a"]);
        filter.from = Some(at(2));
        assert_eq!(page(&filter, &all), ["b"]);
    }

    #[test]
    fn filters_are_all_meant() {
        let filter = |change: fn(&mut Filter)| {
            let mut filter = Filter {
                limit: 9,
                ..Filter::default()
            };
            change(&mut filter);
            page(&filter, &[outcome(1, "a")]).len()
        };
        assert_eq!(filter(|_| ()), 1);
        assert_eq!(filter(|f| f.user = Some(user_key(2))), 0);
        assert_eq!(filter(|f| f.target = TargetName::try_new("other").ok()), 0);
        assert_eq!(filter(|f| f.result = result_of("rejected")), 0);
        assert_eq!(filter(|f| f.action = Some("create".into())), 0);
        assert_eq!(filter(|f| f.to = Some(at(1))), 0);
        assert_eq!(filter(|f| f.from = Some(at(2))), 0);
        assert_eq!(filter(|f| (f.from, f.to) = (Some(at(1)), Some(at(2)))), 1);
    }

    #[test]
    fn csv_is_quoted_and_holds_no_formula() {
        let mut one = outcome(1, "=1+1");
        one.error = Some("said \"no\", twice\n".into());
        let text = csv(&[one]);
        assert!(text.contains("\"said \"\"no\"\", twice\n\""), "{text}");
        assert!(text.ends_with("\"'=1+1\"\r\n"), "{text}");
    }
}
