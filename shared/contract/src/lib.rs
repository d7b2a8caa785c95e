//! The published messages of Usher: what subscribers of the topics may depend on.
//!
//! This crate is **pure**: no clock, no randomness, no I/O. It holds the shapes, their canonical form and the
//! CloudEvents headers. How a message comes to be is the services' business.
//!
//! # Glossary
//!
//! * **user change**: the normalized full state of one Salesforce user, as published on the `user-change` topic.
//! * **known / unknown**: a key that is present, even as `null` or `[]`, is *known*; an absent key is *unknown*
//!   (not readable, not in the report, the poll failed). See [`Known`].
//! * **version**: rises by exactly 1 per user among committed messages. A jump seen later is compaction.
//! * **kind**: what happened in one word. Subscribers treat a kind that they do not know as `updated`.
//! * **cause**: which observation of the source led to the message, and when it was committed there.
//! * **outcome**: the recorded result of one action on one target.
//! * **dead letter**: something refused, with the reason; never the only copy of a person's state.
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod canonical;
pub mod cloud_event;
pub mod dead_letter;
pub mod id;
pub mod known;
pub mod outcome;
pub mod schema;
pub mod trace;
pub mod user;
pub mod user_change;
pub mod webhook;

pub use canonical::StateHash;
pub use cloud_event::CloudEvent;
pub use dead_letter::{ChangeDeadLetter, CutPayload, EventDeadLetter};
pub use id::{IdError, OrgId, RecordId, TargetName, UserId, UserKey};
pub use known::Known;
pub use outcome::{Outcome, OutcomeResult};
pub use trace::TraceContext;
pub use user::{FieldSet, GroupRef, NamedRef, Source, User};
pub use user_change::{Approval, Cause, ChangeKind, Origin, UserChange};
pub use webhook::{AccountCreated, AccountCreatedData};
