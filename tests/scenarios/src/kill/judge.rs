//! The judge: from the target's record of requests and the committed records of its owners, what was not allowed.
//!
//! It knows the rules of the lease from ARCHITECTURE.md, and none of the code that keeps them.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::people::State;

/// A write starts within this after the beginning of its owner's last commit.
const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// From the check of the lease to the target's note of the arrival, on a busy machine.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// No earlier than this after the last commit of an owner that did not hand back does another one commit its first record.
const LEASE: Duration = Duration::from_secs(15);

/// A write as the target saw it.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which replica, by its credential.
    pub by: String,
    /// The person's external id.
    pub person: String,
    pub started_at: SystemTime,
    /// `None` when it had no effect.
    pub executed_at: Option<SystemTime>,
    /// What it says about title and activity.
    pub title: Option<String>,
    pub active: Option<bool>,
}

/// A committed record of an owner.
#[derive(Debug, Clone)]
pub struct Commit {
    pub by: String,
    pub begun_at: SystemTime,
    pub released: bool,
}

/// Everything that was not allowed, in words. `writes` in order of arrival, `commits` in order of offset.
pub fn judge(writes: &[Write], commits: &[Commit], told: &BTreeMap<String, Vec<State>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for write in writes {
        complaints.extend(outside_lease(write, commits));
        let overtaken = |later: &&Write| later.by != write.by && later.started_at > write.started_at;
        if let (Some(executed_at), Some(later)) = (write.executed_at, writes.iter().find(overtaken))
            && executed_at > later.started_at
        {
            let (by, person) = (&write.by, &write.person);
            complaints.push(format!(
                "a write of {by} about {person} took effect after the first of {}",
                later.by
            ));
        }
    }
    for pair in commits.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let apart = after.begun_at.duration_since(before.begun_at).unwrap_or_default();
        if before.by != after.by && !before.released && apart < LEASE {
            complaints.push(format!(
                "{} commits {apart:?} after {}, which had not handed back",
                after.by, before.by
            ));
        }
    }
    for (person, states) in told {
        complaints.extend(out_of_order(person, states, writes));
    }
    complaints
}

fn outside_lease(write: &Write, commits: &[Commit]) -> Option<String> {
    let (by, person) = (&write.by, &write.person);
    let last = commits.iter().rfind(|commit| commit.begun_at <= write.started_at);
    let Some(last) = last else {
        return Some(format!("{by} writes about {person} before anybody's first commit"));
    };
    if last.by != *by {
        let own = commits
            .iter()
            .rfind(|commit| commit.by == *by && commit.begun_at <= write.started_at);
        let age = own.map(|own| write.started_at.duration_since(own.begun_at).unwrap_or_default());
        let owner = &last.by;
        return Some(format!(
            "{by} writes about {person}, {age:?} after its last commit, while {owner} is the owner"
        ));
    }
    let age = write.started_at.duration_since(last.begun_at).unwrap_or_default();
    (age > STARTS_WITHIN + ON_THE_WAY).then(|| format!("{by} writes about {person} {age:?} after its last commit"))
}

/// Writes about a person, in the order of their effects, follow the order of versions: each says what some version says that
/// is no older than what the write before said.
fn out_of_order(person: &str, states: &[State], writes: &[Write]) -> Option<String> {
    let mut effects: Vec<&Write> = writes
        .iter()
        .filter(|write| write.person == person && write.executed_at.is_some())
        .collect();
    effects.sort_by_key(|write| write.executed_at);
    let mut reached = 0;
    for write in effects {
        // Who leaves is switched off and nothing else: a replacement repeats the title that the account had.
        let off = write.active == Some(false);
        let fits = |state: &State| {
            let title_fits = off || write.title.as_ref().is_none_or(|title| *title == state.title);
            title_fits && write.active.is_none_or(|active| active == state.active)
        };
        match states[reached..].iter().position(fits) {
            Some(further) => reached += further,
            None => return Some(format!("{} writes {write:?} after version {}", write.by, reached + 1)),
        }
    }
    None
}

/// What the body of a SCIM write says about an attribute: in a whole resource, in an operation with a path, or in one without.
pub(super) fn said<'a>(body: &'a Value, attribute: &str) -> Option<&'a Value> {
    let operations = body["Operations"].as_array();
    let in_operation = operations.into_iter().flatten().find_map(|operation| {
        if operation["path"].as_str() == Some(attribute) {
            operation.get("value")
        } else {
            operation["value"].get(attribute)
        }
    });
    in_operation.or_else(|| body.get(attribute))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1_000.0 + seconds)
    }

    fn write(by: &str, started: f64, executed: f64, title: &str) -> Write {
        Write {
            by: by.to_owned(),
            person: "ada".to_owned(),
            started_at: at(started),
            executed_at: Some(at(executed)),
            title: Some(title.to_owned()),
            active: None,
        }
    }

    fn commit(by: &str, begun: f64, released: bool) -> Commit {
        Commit {
            by: by.to_owned(),
            begun_at: at(begun),
            released,
        }
    }

    fn complaints(writes: &[Write], commits: &[Commit]) -> usize {
        let states = ["a", "b", "a", "c"].map(|title| State {
            title: title.to_owned(),
            active: true,
        });
        judge(writes, commits, &[("ada".to_owned(), states.to_vec())].into()).len()
    }

    #[test]
    fn a_take_over_that_waits_is_allowed() {
        let commits = [
            commit("one", 0.0, false),
            commit("two", 17.0, true),
            commit("three", 18.0, false),
        ];
        let writes = [
            write("one", 1.0, 12.0, "a"),
            write("two", 17.5, 17.6, "b"),
            write("three", 18.5, 18.6, "a"),
        ];
        assert_eq!(complaints(&writes, &commits), 0);
    }

    #[test]
    fn each_rule_is_kept_apart() {
        let (one, two) = (commit("one", 0.0, false), commit("two", 17.0, false));
        let both = [one.clone(), two];
        for (what, writes, commits) in [
            (
                "before any commit",
                vec![write("one", -1.0, 0.0, "a")],
                vec![one.clone()],
            ),
            (
                "too long after it",
                vec![write("one", 8.0, 8.1, "a")],
                vec![one.clone()],
            ),
            (
                "by somebody deposed",
                vec![write("one", 18.0, 18.1, "a")],
                both.to_vec(),
            ),
            (
                "late",
                vec![write("one", 1.0, 18.0, "c"), write("two", 17.5, 17.6, "a")],
                both.to_vec(),
            ),
            (
                "backwards",
                vec![write("one", 1.0, 1.1, "c"), write("one", 1.2, 1.3, "b")],
                vec![one.clone()],
            ),
            ("too early", vec![], vec![one.clone(), commit("two", 14.0, false)]),
        ] {
            assert_eq!(complaints(&writes, &commits), 1, "{what}");
        }
    }

    #[test]
    fn attributes_are_found_in_every_form_of_a_body() {
        for body in [
            json!({ "title": "a" }),
            json!({ "Operations": [{ "op": "replace", "path": "title", "value": "a" }] }),
            json!({ "Operations": [{ "op": "replace", "value": { "title": "a" } }] }),
        ] {
            assert_eq!(said(&body, "title"), Some(&json!("a")));
            assert_eq!(said(&body, "active"), None);
        }
    }
}
