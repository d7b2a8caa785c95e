//! What is said about results: outcomes and dead letters, with deterministic ids. Names and words; values only where the policy
//! says so.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use usher_contract::{ChangeDeadLetter, Outcome, OutcomeResult, StateHash, TraceContext, UserChange, UserKey};

use super::Lane;
use crate::{
    connector::Refusal,
    logic::{link::LinkState, plan::Plan},
};

impl Lane {
    /// The number of the attempt at this wish, from 1; it survives restarts because the link counts.
    pub(super) fn attempt(&self, user: &UserKey, desired: StateHash) -> u32 {
        match self.links.get(user).map(|link| link.state) {
            Some(LinkState::Retrying {
                desired: tried,
                attempts,
                ..
            }) if tried == desired => attempts.saturating_add(1),
            _ => 1,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an outcome")]
    pub(super) fn outcome(
        &self,
        user: UserKey,
        plan: &Plan,
        change: &UserChange,
        result: OutcomeResult,
        refusal: Option<&Refusal>,
        attempt: u32,
        took: Duration,
        now: Timestamp,
    ) -> Outcome {
        let desired = plan.desired.to_string();
        let acted = !matches!(result, OutcomeResult::Held | OutcomeResult::Skipped);
        let released = self.released_by(&user, plan).filter(|_| acted);
        let why = released
            .as_ref()
            .map(|by| format!("released by an operator: {}", by.reason));
        Outcome {
            id: format!(
                "{}/{user}/{}/{}/{attempt}/{}/{}/{}",
                self.target.name,
                change.version,
                plan.action.as_str(),
                &desired[..8],
                // What is held and done later, or refused and tried again by an operator, counts its attempts anew.
                format!("{result:?}").to_lowercase(),
                now.as_millisecond()
            ),
            user: Some(user),
            target: self.target.name.clone(),
            action: plan.action.as_str().to_owned(),
            reasons: plan.reasons.iter().cloned().chain(why).collect(),
            changed: plan.changed.iter().map(ToString::to_string).collect(),
            values: self.recorded_values(plan),
            result,
            error_code: refusal.map(|refusal| refusal.code.clone()),
            error: refusal.map(|refusal| refusal.reason.clone()),
            attempt,
            latency_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            user_version: change.version,
            configuration: self.target.unit,
            at: now,
            trace_id: Some(TraceContext::of(change).trace_id),
            cause: Some(change.cause.clone()),
            actor: released.map(|by| by.actor),
        }
    }

    /// Of what is written, the values that the policy wants recorded.
    fn recorded_values(&self, plan: &Plan) -> BTreeMap<String, Value> {
        let recorded = plan
            .values
            .iter()
            .filter(|(path, _)| self.target.recorded.contains(*path));
        recorded
            .map(|(path, value)| (path.to_string(), value.clone()))
            .collect()
    }

    /// An outcome of no action at the target: what it is about, and in words.
    pub(super) fn remark(
        &self,
        id: String,
        action: &str,
        result: OutcomeResult,
        reasons: Vec<String>,
        now: Timestamp,
    ) -> Outcome {
        Outcome {
            id,
            user: None,
            target: self.target.name.clone(),
            action: action.to_owned(),
            reasons,
            changed: vec![],
            values: BTreeMap::new(),
            result,
            error_code: None,
            error: None,
            attempt: 1,
            latency_ms: 0,
            user_version: 0,
            configuration: self.target.unit,
            at: now,
            trace_id: None,
            cause: None,
            actor: None,
        }
    }

    pub(super) fn target_outcome(
        &self,
        action: &str,
        result: OutcomeResult,
        reasons: Vec<String>,
        refusal: Option<&Refusal>,
        now: Timestamp,
    ) -> Outcome {
        // Several may be told of one moment.
        let about = StateHash::of_text(&reasons.join("\n")).to_string();
        let id = format!("{}/{action}/{now}/{}", self.target.name, &about[..8]);
        Outcome {
            error_code: refusal.map(|refusal| refusal.code.clone()),
            error: refusal.map(|refusal| refusal.reason.clone()),
            ..self.remark(id, action, result, reasons, now)
        }
    }

    pub(super) fn dead_letter(
        &self,
        user: UserKey,
        change: &UserChange,
        refusal: &Refusal,
        now: Timestamp,
    ) -> ChangeDeadLetter {
        ChangeDeadLetter {
            user,
            target: self.target.name.clone(),
            user_version: change.version,
            code: refusal.code.clone(),
            reason: refusal.reason.clone(),
            at: now,
            cause: Some(change.cause.clone()),
        }
    }
}
