//! People as few bytes, and back: what both services keep of everybody in memory.
//!
//! A person is one allocation of some two hundred bytes. Values that repeat from person to person (departments, groups, permission
//! sets) stand once in a [`Pool`] and are counted. Two states can be told apart without unpacking either. Nothing of this is ever
//! written out: the form may change with every version.
//!
//! ```text
//! message ─View─▶ Loose ─settle─▶ bytes + Pool ─unpack─▶ User
//!       on any thread │               on the table's own
//!                     └─ differences from the bytes that are there
//! ```
//!
//! What it deliberately leaves out: whose bytes these are. The key, and what else a service knows of somebody, are rows of its own
//! table.
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(any(test, feature = "arbitrary"))]
pub mod arbitrary;
pub mod bytes;
mod differences;
mod pack;
mod pool;
mod unpack;
mod view;

pub use differences::Differences;
pub use pack::Loose;
pub use pool::Pool;
pub use unpack::{give_back, unpack};
pub use view::{Reference, Text, View};

#[cfg(test)]
mod tests;
