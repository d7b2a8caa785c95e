//! Each application of the mission from Salesforce to its accounts: a simulated org, both services as processes on a real
//! Kafka, the preset exactly as `init` writes it with its blanks filled in, and a simulator that keeps the vendor's rules.
//!
//! Every scenario has a first sync over accounts that are there already, an approval, hires, edits, a leaver who comes back,
//! apply-service killed in the middle, and what the vendor refuses. At the end the application holds what it should, with
//! one account for each person; nothing that was refused was asked again and again; and the vendor's pace was kept.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod gong;
mod miniorange;
mod miniorange_scim;
mod salesforce;
mod skyprep;
mod spinify;
mod world;
