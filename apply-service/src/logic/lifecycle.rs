//! Whether a person is to have an account, and if not, for which cause. First that holds wins: removed, inactive,
//! terminated, frozen, unlisted; after these, in `scope.rs`, outOfScope.

use usher_contract::{Known, User};

use super::{
    policy::{Disposition, Lifecycle},
    termination::Judgement,
};

/// Why somebody is not to have an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Gone from the source or outside the population.
    Removed,
    /// Inactive in the source.
    Inactive,
    /// The termination date has come.
    Terminated,
    /// Log-in frozen in the source.
    Frozen,
    /// Missing from the last complete report.
    Unlisted,
    /// Not of those for whom the target is.
    OutOfScope,
}

impl Cause {
    /// The cause in words.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Removed => "removed from the source",
            Self::Inactive => "inactive in the source",
            Self::Terminated => "the termination date has come",
            Self::Frozen => "frozen in the source",
            Self::Unlisted => "missing from the last complete report",
            Self::OutOfScope => "out of scope",
        }
    }
    /// The key of the policy file that decides about it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Inactive => "inactive",
            Self::Terminated => "terminated",
            Self::Frozen => "frozen",
            Self::Unlisted => "unlisted",
            Self::OutOfScope => "outOfScope",
        }
    }
}

/// What the source says about a person having accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// To have an account.
    Present,
    /// Not to have one: why, and what becomes of one that is there.
    Gone(Cause, Disposition),
    /// A field that would decide is unknown.
    Unknown(&'static str),
}

/// Guarantee: an unknown field decides nothing. Where frozen or unlisted people keep their accounts, not knowing of it
/// means that they are not: an org whose frozen state or report is not read would stop everybody.
#[must_use]
pub fn standing(user: &User, lifecycle: &Lifecycle, terminated: &Judgement) -> Standing {
    if user.removed {
        return Standing::Gone(Cause::Removed, lifecycle.removed);
    }
    match user.active {
        Known::Value(false) => return Standing::Gone(Cause::Inactive, lifecycle.inactive),
        // An empty checkbox does not exist at the source; whoever wrote null could not tell.
        Known::Unknown | Known::Empty => return Standing::Unknown("active"),
        Known::Value(true) => {}
    }
    match terminated {
        Judgement::Over => return Standing::Gone(Cause::Terminated, lifecycle.terminated),
        Judgement::Unknown if lifecycle.terminated == Disposition::Deactivate => {
            return Standing::Unknown("the termination date");
        }
        Judgement::None | Judgement::At(_) | Judgement::Stale(_) | Judgement::Unknown => {}
    }
    let further = [
        ("frozen", &user.frozen, true, lifecycle.frozen, Cause::Frozen),
        ("listed", &user.listed, false, lifecycle.unlisted, Cause::Unlisted),
    ];
    for (field, value, holds, disposition, cause) in further {
        match value {
            Known::Value(value) if *value == holds => return Standing::Gone(cause, disposition),
            Known::Value(_) => {}
            Known::Unknown | Known::Empty if disposition == Disposition::Keep => {}
            Known::Unknown | Known::Empty => return Standing::Unknown(field),
        }
    }
    Standing::Present
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::person;

    const ALL: Lifecycle = Lifecycle {
        removed: Disposition::Deactivate,
        inactive: Disposition::Deactivate,
        frozen: Disposition::Deactivate,
        unlisted: Disposition::Deactivate,
        out_of_scope: Disposition::Deactivate,
        terminated: Disposition::Deactivate,
        termination: None,
        delete_after: None,
    };

    fn stands(user: &User, lifecycle: &Lifecycle) -> Standing {
        standing(user, lifecycle, &Judgement::None)
    }

    #[test]
    fn the_first_cause_wins() {
        let mut user = person(1).user;
        user.frozen = Known::Value(false);
        user.listed = Known::Value(true);
        assert_eq!(stands(&user, &ALL), Standing::Present);
        user.listed = Known::Value(false);
        assert_eq!(
            stands(&user, &ALL),
            Standing::Gone(Cause::Unlisted, Disposition::Deactivate)
        );
        user.frozen = Known::Value(true);
        assert_eq!(
            stands(&user, &ALL),
            Standing::Gone(Cause::Frozen, Disposition::Deactivate)
        );
        assert_eq!(
            standing(&user, &ALL, &Judgement::Over),
            Standing::Gone(Cause::Terminated, Disposition::Deactivate)
        );
        user.active = Known::Value(false);
        assert_eq!(
            standing(&user, &ALL, &Judgement::Over),
            Standing::Gone(Cause::Inactive, Disposition::Deactivate)
        );
        user.removed = true;
        assert_eq!(
            stands(&user, &ALL),
            Standing::Gone(Cause::Removed, Disposition::Deactivate)
        );
    }

    #[test]
    fn an_unknown_field_decides_nothing() {
        let mut user = person(1).user;
        user.listed = Known::Value(true);
        user.frozen = Known::Unknown;
        assert_eq!(stands(&user, &ALL), Standing::Unknown("frozen"));
        assert_eq!(
            stands(
                &user,
                &Lifecycle {
                    frozen: Disposition::Keep,
                    ..ALL
                }
            ),
            Standing::Present
        );
        user.active = Known::Unknown;
        assert_eq!(stands(&user, &ALL), Standing::Unknown("active"));
        user.removed = true;
        assert_eq!(
            stands(&user, &ALL),
            Standing::Gone(Cause::Removed, Disposition::Deactivate)
        );
    }

    #[test]
    fn whoever_is_frozen_or_unlisted_and_kept_does_not_belong_either() {
        let keeping = Lifecycle {
            frozen: Disposition::Keep,
            unlisted: Disposition::Keep,
            ..ALL
        };
        let mut user = person(1).user;
        assert_eq!(stands(&user, &keeping), Standing::Present, "neither is known");
        user.listed = Known::Value(false);
        let unlisted = Standing::Gone(Cause::Unlisted, Disposition::Keep);
        assert_eq!(stands(&user, &keeping), unlisted);
        user.frozen = Known::Value(true);
        assert_eq!(
            stands(&user, &keeping),
            Standing::Gone(Cause::Frozen, Disposition::Keep)
        );
        user.active = Known::Value(false);
        assert_eq!(
            stands(&user, &keeping),
            Standing::Gone(Cause::Inactive, Disposition::Deactivate)
        );
    }

    #[test]
    fn a_termination_date_that_cannot_be_read_decides_nothing_unless_the_account_is_kept() {
        let mut user = person(1).user;
        (user.frozen, user.listed) = (Known::Value(false), Known::Value(true));
        assert_eq!(
            standing(&user, &ALL, &Judgement::Unknown),
            Standing::Unknown("the termination date")
        );
        let keeping = Lifecycle {
            terminated: Disposition::Keep,
            ..ALL
        };
        assert_eq!(standing(&user, &keeping, &Judgement::Unknown), Standing::Present);
        assert_eq!(
            standing(&user, &keeping, &Judgement::Over),
            Standing::Gone(Cause::Terminated, Disposition::Keep)
        );
        assert_eq!(
            standing(&user, &ALL, &Judgement::Stale(crate::logic::testing::at(0))),
            Standing::Present
        );
    }
}
