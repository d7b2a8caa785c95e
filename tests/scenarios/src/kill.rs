//! What the kill matrix of apply-service is made of: cells, the points at which they are frozen, replicas, and a judge.
//!
//! A *cell* is a target with people of its own. All cells of a stage hash to one partition, so one replica owns them all:
//! each can be frozen at another point of its work, and one signal strikes them all.

mod cell;
mod judge;
mod people;
mod point;
mod stage;

pub use cell::Cell;
pub use judge::{Commit, Write, judge};
pub use people::{Group, Round};
pub use point::{Point, Step};
pub use stage::{Replica, Signal, Stage};
