//! Everything that decides, as plain functions and step machines.
//!
//! Deliberately without async, clock, randomness, files or network: time and random numbers are arguments, what has to
//! be done comes back as values. Preview, start-up, reconcile and a live message all go through the same [`plan`].

pub mod account;
pub mod addresses;
pub mod assignments;
pub mod command;
pub mod drift;
pub mod first_sync;
pub mod gate;
pub mod groups;
pub mod guard;
pub mod lane;
pub mod leavers;
pub mod lifecycle;
pub mod link;
pub mod map;
pub mod matching;
pub mod notification;
pub mod origins;
pub mod ownership;
pub mod plan;
pub mod policy;
pub mod read_back;
pub mod retry;
pub mod scope;
pub mod source;
pub mod target_record;
pub mod template;
pub mod termination;
pub mod uses;

#[cfg(test)]
pub(crate) mod testing;
