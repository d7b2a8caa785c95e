//! Trace context that is derived and not drawn: a repeated message has the same, and every outcome of a change can be
//! found under the trace of the message that led to it.
//!
//! Source: W3C Trace Context, Level 1, section 3.2 (`traceparent`: version, trace id, parent id, flags).

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::user_change::UserChange;

/// A trace and the span that is its parent for what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hexadecimal digits. All messages of one transaction at the source share it.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
}

impl TraceContext {
    /// Of the message about a change.
    #[must_use]
    pub fn of(change: &UserChange) -> Self {
        let id = format!("{}:{}", change.user.key(), change.version);
        let transaction = change.cause.transaction_key.as_deref().unwrap_or(&id);
        Self {
            trace_id: hex(&Sha256::digest(format!("{}/{transaction}", change.user.org_id))[..16]),
            span_id: span(&id),
        }
    }
}

impl fmt::Display for TraceContext {
    /// The header `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace_id, self.span_id)
    }
}

/// The span of something with an id, in whatever trace.
#[must_use]
pub fn span(id: &str) -> String {
    hex(&Sha256::digest(id)[..8])
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
