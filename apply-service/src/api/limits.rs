//! How often one client may change something.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Requests at once: one for each of many targets is a normal thing to do.
const BURST: u32 = 60;
/// One more after so long.
const REFILL: Duration = Duration::from_secs(1);
/// Clients that are remembered; a quiet one needs no memory.
const CLIENTS_MAX: usize = 1000;

/// What each client has left.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<String, (u32, Instant)>>);

impl Limits {
    /// Takes one request of a client.
    ///
    /// # Errors
    /// After how many seconds the next one is welcome.
    pub(super) fn take(&self, client: &str, now: Instant) -> Result<(), u64> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() > CLIENTS_MAX {
            clients.retain(|_, (_, since)| now.duration_since(*since) < REFILL * BURST);
        }
        let (left, since) = clients.entry(client.to_owned()).or_insert((BURST, now));
        let refills = u32::try_from(now.duration_since(*since).as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        *left = left.saturating_add(refills).min(BURST);
        *since = if *left == BURST { now } else { *since + REFILL * refills };
        if *left == 0 {
            return Err(REFILL.as_secs().max(1));
        }
        *left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_a_second_and_others_are_not_kept_waiting() {
        let (limits, start) = (Limits::default(), usher_runtime::clock::monotonic());
        for _ in 0..BURST {
            limits.take("ada", start).unwrap();
        }
        assert_eq!(limits.take("ada", start), Err(1));
        limits.take("bob", start).unwrap();
        let later = start + Duration::from_millis(1500);
        limits.take("ada", later).unwrap();
        assert_eq!(limits.take("ada", later), Err(1));
        limits.take("ada", start + Duration::from_secs(2)).unwrap();
    }
}
