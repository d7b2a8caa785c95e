//! The lane against a target in memory, with a clock of its own: no I/O, every order of answers under control.

mod accounts;
mod assigning;
mod completeness;
mod drifting;
mod grouping;
mod guarding;
mod inviting;
mod leaving;
mod notifying;
mod order;
mod reading_back;
mod scope;
mod spent;
mod unaffected;
mod world;
