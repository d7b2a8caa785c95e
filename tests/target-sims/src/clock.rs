//! The one place of this crate that reads the clock.

use std::time::{Instant, SystemTime};

#[expect(
    clippy::disallowed_methods,
    reason = "request times are what this simulator measures"
)]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "request times are what this simulator measures"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time for `meta`, with milliseconds, as most servers write it.
#[expect(clippy::disallowed_methods, reason = "a server stamps its resources")]
pub(crate) fn stamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
