//! Erasing: a tombstone on the topic and a suppression record in one transaction, and nobody comes back by accident.

use thiserror::Error;

use super::{Approval, Debtor, Owed, Suppression, Timestamp, UserId, Writer};
use crate::logic::record::FORMAT;

/// Why a person is not erased, or not brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotErased {
    /// Erasing would not end the access: subscribers keep what they have.
    #[error(
        "the person is active, or nobody knows; deactivate the user in Salesforce first, so that every application is told"
    )]
    Active,
    /// Nobody of that id was ever published.
    #[error("nobody with this id is published")]
    Unknown,
    /// It has been done.
    #[error("the person is erased already")]
    Already,
    /// There is nothing to lift.
    #[error("the person is not erased")]
    NotSuppressed,
}

impl Writer {
    /// Whether this person may be erased.
    ///
    /// # Errors
    /// [`NotErased`].
    pub fn may_erase(&self, user: UserId) -> Result<(), NotErased> {
        if self.suppressed.contains_key(&user) {
            return Err(NotErased::Already);
        }
        let person = self.person(user).ok_or(NotErased::Unknown)?;
        let gone = person.user.removed || person.user.active == super::Known::Value(false);
        if gone { Ok(()) } else { Err(NotErased::Active) }
    }

    /// Whether the suppression of this person may be lifted.
    ///
    /// # Errors
    /// [`NotErased`].
    pub fn may_lift(&self, user: UserId) -> Result<(), NotErased> {
        if self.suppressed.contains_key(&user) {
            Ok(())
        } else {
            Err(NotErased::NotSuppressed)
        }
    }

    pub(super) fn erase(&mut self, user: UserId, by: Approval) {
        if self.may_erase(user).is_err() {
            return;
        }
        let version = self.head(user).map_or(0, |head| head.version);
        let suppression = Suppression {
            format: FORMAT,
            version,
            by,
            lifted: None,
        };
        self.pay(Debtor::User(user));
        // Other absentees may have waited for the read of this one.
        self.deciding = true;
        self.let_go(user);
        // At once, or a suppression that is lifted before the commit would find nothing to publish. A commit that fails
        // ends this writer, so memory may be ahead of the topics.
        self.overlay.remove(&user);
        self.published.remove(user);
        let batch = self.batch();
        batch.erased.insert(user);
        batch.suppressed.insert(user, Some(suppression.clone()));
        self.suppressed.insert(user, suppression);
        // Gone at once: a lift that comes before the commit must find nobody to compare with, or nothing would be published
        // behind the tombstone. A commit that fails ends this writer, so nothing is lost by it.
        self.overlay.remove(&user);
        self.published.remove(user);
    }

    pub(super) fn lift(&mut self, user: UserId, by: Approval, now: Timestamp) {
        let Some(suppression) = self.suppressed.remove(&user) else {
            return;
        };
        self.lifted.insert(user, suppression.version);
        let record = Suppression {
            lifted: Some(by),
            ..suppression
        };
        self.batch().suppressed.insert(user, Some(record));
        self.owe(Debtor::User(user), Owed::new(now, "no longer suppressed"));
        self.debts.hurry(user);
    }

    /// Whether observations of this person are left alone; counts them.
    pub(super) fn is_suppressed(&mut self, user: UserId) -> bool {
        let suppressed = self.suppressed.contains_key(&user);
        self.counts.suppressed += u64::from(suppressed);
        suppressed
    }
}
