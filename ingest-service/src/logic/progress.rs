//! How fast a survey is and when it will probably end.

use jiff::{SignedDuration, Timestamp};

/// A guess from what has been read so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Rows per second since it began, one decimal.
    pub per_second: f64,
    /// When it will end at this rate; `None` while there are no rows, or no total to compare with.
    pub ends_at: Option<Timestamp>,
}

/// `expected`: how many rows there will be, as far as the source has said.
#[must_use]
pub fn estimate(began_at: Timestamp, rows: u64, expected: Option<u64>, now: Timestamp) -> Estimate {
    let elapsed = now.duration_since(began_at).as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "an estimate of far fewer than 2^52 rows")]
    let (read, left) = (
        rows as f64,
        expected.map(|expected| expected.saturating_sub(rows) as f64),
    );
    let rate = read / elapsed;
    let ends_at = left.filter(|_| rows > 0).and_then(|left| {
        let left = SignedDuration::try_from_secs_f64(left / rate).ok()?;
        now.checked_add(left).ok()
    });
    Estimate {
        per_second: (rate * 10.0).round() / 10.0,
        ends_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_per_row_as_what_was_read() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (rows, expected, now, per_second, ends_at) in [
            (0, Some(100), 10, 0.0, None),
            (50, Some(100), 10, 5.0, Some(at(20))),
            (50, None, 10, 5.0, None),
            // More than was expected: any moment now.
            (120, Some(100), 10, 12.0, Some(at(10))),
            // A clock that was set back.
            (1, Some(1), -5, 1000.0, Some(at(-5))),
        ] {
            let estimate = estimate(at(0), rows, expected, at(now));
            assert_eq!(
                (estimate.per_second, estimate.ends_at),
                (per_second, ends_at),
                "{rows} {expected:?}"
            );
        }
    }
}
