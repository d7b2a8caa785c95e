//! The lane against a target in memory, with a clock of its own: no I/O, every order of answers under control.

mod accounts;
mod apart;
mod assigning;
mod completeness;
mod drifting;
mod elsewhere;
mod endless;
mod grouping;
mod guarding;
mod halting;
mod inviting;
mod leaving;
mod notifying;
mod options;
mod order;
mod over_restarts;
mod pacing;
mod policies;
mod reading_back;
mod reconciling;
mod scope;
mod settings;
mod spent;
mod telling;
mod unaffected;
mod world;
