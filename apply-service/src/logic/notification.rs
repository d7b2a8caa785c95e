//! Notification: who is told of a new account, with what, and when it is tried again. Also invitations, which are the
//! target's own mails and are owed in the same way.
//!
//! What is owed is a part of the link (`notice`), so it is durable with the account that it speaks of and a crash loses
//! none. It holds ids alone: texts are made of the present state when they are sent (`message`).
//!
//! Deliberately left out: when in the life of a person it happens (`lane::notifying`), and all that sends
//! (`crate::notifier`).

mod message;
mod notice;
mod rules;

pub use self::{
    message::{Letter, Mail, NoAddress, Text, address, bundled, event_of, single_line},
    notice::{Channel, Notice, NoticeKind, NoticeState, Onboarding, notice_id},
    rules::{Audience, Notify, captures, on_create},
};

use std::time::Duration;

use crate::connector::Refusal;

/// What is handed to the sender.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// A mail to one person.
    Mail(Mail),
    /// A message to an endpoint of the service's configuration.
    Webhook {
        /// Its name there.
        endpoint: String,
        /// The same for every repetition (`webhook-id`).
        id: String,
        /// The event.
        body: serde_json::Value,
    },
}

/// Why something did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// This one is refused for good: no such recipient.
    Refused(Refusal),
    /// This one not now: a mailbox that is full, a recipient that is deferred.
    Later(Refusal),
    /// Nobody's: the server is away, refuses the log-in, or wants to be asked later; not before the given time when there
    /// is one.
    Down(Refusal, Option<Duration>),
    /// Not sent, because the owner's last commit is too long ago. Nobody is to blame.
    LeaseOver,
}
