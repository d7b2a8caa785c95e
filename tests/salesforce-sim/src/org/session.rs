//! Sessions behind access tokens, and refresh tokens.
//!
//! Tokens have the vendor's look, `00D...!AQ...`, and no lifetime that the client is told: a session ends when unused for
//! long, or when it is revoked. Leaves out the grants (`rest/oauth.rs`).

use std::{collections::HashMap, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};

use crate::random;

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: Arc<str>,
    pub(crate) issued_ms: i64,
    last_used_ms: i64,
}

#[derive(Debug)]
pub(crate) struct Sessions {
    org15: String,
    timeout_ms: i64,
    by_token: HashMap<String, Session>,
    refresh: HashMap<String, Arc<str>>,
    rng: StdRng,
}

impl Sessions {
    pub(crate) fn new(org_id: &str, seed: u64, timeout: Duration) -> Self {
        Self {
            org15: crate::id::short(org_id).to_owned(),
            timeout_ms: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX / 4),
            by_token: HashMap::new(),
            refresh: HashMap::new(),
            rng: StdRng::seed_from_u64(seed ^ 0x7e55_1015),
        }
    }

    pub(crate) fn open(&mut self, user: Arc<str>, now_ms: i64) -> String {
        let token = format!("{}!AQ{}", self.org15, random::token(&mut self.rng, 92));
        self.by_token.insert(
            token.clone(),
            Session {
                user,
                issued_ms: now_ms,
                last_used_ms: now_ms,
            },
        );
        token
    }

    /// The live session of a token; use extends it.
    pub(crate) fn touch(&mut self, token: &str, now_ms: i64) -> Option<Session> {
        let session = self.by_token.get_mut(token)?;
        if session.last_used_ms + self.timeout_ms <= now_ms {
            self.by_token.remove(token);
            return None;
        }
        session.last_used_ms = now_ms;
        Some(session.clone())
    }

    /// The session without extending it, for introspection; with the time of its end.
    pub(crate) fn peek(&self, token: &str, now_ms: i64) -> Option<(Session, i64)> {
        let session = self.by_token.get(token)?;
        let end = session.last_used_ms + self.timeout_ms;
        (end > now_ms).then(|| (session.clone(), end))
    }

    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        self.by_token.remove(token).is_some() | self.refresh.remove(token).is_some()
    }

    pub(crate) fn revoke_all(&mut self) {
        self.by_token.clear();
    }

    pub(crate) fn issue_refresh(&mut self, user: Arc<str>) -> String {
        let token = format!("5Aep861{}", random::token(&mut self.rng, 60));
        self.refresh.insert(token.clone(), user);
        token
    }

    pub(crate) fn user_of_refresh(&self, token: &str) -> Option<Arc<str>> {
        self.refresh.get(token).cloned()
    }
}
