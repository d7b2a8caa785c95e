//! What the benches share: invented people, a fast SCIM application, a plain load generator, and the service in this process.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod generator;
pub(crate) mod links;
pub(crate) mod people;
pub(crate) mod service;
pub(crate) mod sink;

use std::time::{Duration, Instant};

/// As in the service's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longer than any step of a bench takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits for a condition; panics with `what` when it does not come.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The value below which `part` of the times lie, in milliseconds.
pub(crate) fn quantile_ms(times: &[Duration], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len());
    sorted[place - 1].as_secs_f64() * 1e3
}
