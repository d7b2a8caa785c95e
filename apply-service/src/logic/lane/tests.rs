//! The lane against a target in memory, with a clock of its own: no I/O, every order of answers under control.

mod accounts;
mod assigning;
mod completeness;
mod drifting;
mod guarding;
mod leaving;
mod order;
mod scope;
mod world;
