//! The one place that reads the clock. Rules take time as an argument.

use std::time::{Instant, SystemTime};

use jiff::Timestamp;

/// Now, UTC.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shell reads the clock here and nowhere else"
    )]
    let now = SystemTime::now();
    // **Invariant**: the system clock of a running machine is within jiff's years -9999 to 9999.
    Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Now on the clock that never jumps; it goes on while the process is stopped.
#[must_use]
pub fn monotonic() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shell reads the clock here and nowhere else"
    )]
    Instant::now()
}
