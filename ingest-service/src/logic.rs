//! What decides: plain functions and one step machine, without I/O, clock or randomness.
//!
//! `decode` (change_event, bitmap) ▶ `normalize` ▶ `diff` ▶ `writer`. Snapshots and re-reads enter at `normalize`.

pub mod bitmap;
pub mod bulk;
pub mod change_event;
pub mod classify;
pub mod diff;
pub mod field;
pub mod normalize;
pub mod pace;
pub mod place;
pub mod polls;
pub mod population;
pub mod progress;
pub mod quota;
pub mod record;
pub mod replay;
pub mod report;
pub mod schedule;
pub mod snapshot;
pub mod table;
pub mod writer;
