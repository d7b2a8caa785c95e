//! Who runs a target: the step machine of taking it over and handing it back.
//!
//! ```text
//! unassigned ─assigned▶ fencing ─fenced▶ restoring ─restored▶ waiting ─lease over▶ active ─revoked▶ draining ─drained▶ unassigned
//!                          ▲ │ failed, lost (not to a successor)    └──── handed back: no wait ────┘
//!                          └─┴ backing off            lost to a successor ▶ dropped ─still assigned▶ fencing
//! ```
//!
//! **Invariant**: the lane is active only after a fence and a restore that followed this assignment, and only after a
//! predecessor that did not hand back can no longer have a request under way.
//!
//! What it deliberately leaves out: how the producer fences and what the lane does. Assumption: the shell drops a fence
//! or restore that is under way when it is told [`Effect::Drop`], so answers of an earlier assignment never arrive.

use std::time::Duration;

use jiff::Timestamp;

use super::{retry::after, target_record::TargetRecord};

/// A write starts only within this time after the owner's last successful commit began. Larger tolerates slower
/// brokers and makes take-overs after a crash slower.
pub const WRITE_STARTS_WITHIN: Duration = Duration::from_secs(5);
/// A write has ended, well or not, within this time after the same commit: the sender drops it. Bounds the request
/// time-out of every target.
pub const WRITE_ENDS_WITHIN: Duration = Duration::from_secs(15);
/// How long a successor waits, counted from its own fence, for a predecessor that did not hand back. The predecessor's
/// last successful commit began before that fence, so nothing of it is under way any more.
pub const LEASE: Duration = WRITE_ENDS_WITHIN.saturating_add(DROPPED_REQUESTS);
/// What a server may take to end a request whose connection has been closed. That is all there is to wait for when the
/// predecessor is this process itself.
const DROPPED_REQUESTS: Duration = Duration::from_secs(1);
/// How long somebody who was fenced stays out while the group still assigns the target. A predecessor whose fence comes
/// late (its thread runs on for up to 30 s after the group has taken the target from it) fences the present owner, and
/// nobody would ever run the target again. Longer than that, and than the group needs to tell a stopped owner that it is
/// none any more: whoever is still assigned by then is the one. Smaller: two owners may fence each other in turn.
const DROPPED_FOR: Duration = Duration::from_secs(35);
/// The pause after a failed take-over.
const BACK_OFF: Duration = Duration::from_secs(2);

/// Where a target stands in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Another process has it, or nobody.
    Unassigned,
    /// Making earlier owners unable to commit.
    Fencing,
    /// Reading links and record to the end; fenced at this time.
    Restoring(Timestamp),
    /// A predecessor's request may still be under way until then.
    Waiting(Timestamp),
    /// The lane runs.
    Active,
    /// Finishing what is under way; whether the target was assigned again meanwhile.
    Draining(bool),
    /// The take-over failed and is tried again then.
    BackingOff(Timestamp),
    /// Another one has taken over although the group has not said so yet. Should it never say so, it was a late fence of
    /// a predecessor: the target is taken over again then.
    Dropped(Timestamp),
}

impl State {
    /// The word of status and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Fencing => "fencing",
            Self::Restoring(_) => "restoring",
            Self::Waiting(_) => "waiting",
            Self::Active => "active",
            Self::Draining(_) => "draining",
            Self::BackingOff(_) => "backing-off",
            Self::Dropped(_) => "dropped",
        }
    }
}

/// Who had the target before, as its record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predecessor {
    /// It has handed the target back, or there was none.
    HandedBack,
    /// This very process, which has lost it: its requests were dropped before it fenced again.
    Ourselves,
    /// Another one, or one whose record cannot be read: it may still be writing.
    Another,
}

impl Predecessor {
    /// As the record of the target says, seen from the run `run`.
    #[must_use]
    pub fn of(record: Option<&TargetRecord>, run: &str) -> Self {
        match record {
            Some(record) if record.released => Self::HandedBack,
            Some(record) if record.owner_run.as_deref() == Some(run) => Self::Ourselves,
            Some(_) => Self::Another,
            None => Self::HandedBack,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The group gives us the target.
    Assigned,
    /// The group takes it away, or the service shuts down.
    Revoked,
    /// No earlier owner can commit any more.
    Fenced,
    /// Fence or restore failed.
    Failed,
    /// Links and record are read, and with them who had the target before.
    Restored(Predecessor),
    /// The lane has finished and marked the target as handed back.
    Drained,
    /// A commit failed; whether because a successor has fenced us.
    Lost {
        /// To a successor.
        fenced: bool,
    },
    /// Time has passed.
    Tick,
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Take over the transactional id.
    Fence,
    /// Read links and record to their end.
    Restore,
    /// Start the lane.
    Activate,
    /// Let the lane finish and hand back.
    Drain,
    /// Drop lane, producer and whatever is under way, now.
    Drop,
    /// The group need not wait any longer.
    Release,
}

/// Takes one step. An input that does not fit the state changes nothing.
#[must_use]
pub fn step(state: State, input: Input, now: Timestamp) -> (State, Vec<Effect>) {
    use Effect as E;
    use State as S;
    match (state, input) {
        (S::Unassigned, Input::Assigned) => (S::Fencing, vec![E::Fence]),
        (S::Fencing, Input::Fenced) => (S::Restoring(now), vec![E::Restore]),
        (S::Restoring(_), Input::Restored(Predecessor::HandedBack)) => (S::Active, vec![E::Activate]),
        (S::Restoring(fenced_at), Input::Restored(predecessor)) => {
            let ours = predecessor == Predecessor::Ourselves;
            let until = after(fenced_at, if ours { DROPPED_REQUESTS } else { LEASE });
            if now >= until {
                (S::Active, vec![E::Activate])
            } else {
                (S::Waiting(until), vec![])
            }
        }
        (S::Waiting(until), Input::Tick) if now >= until => (S::Active, vec![E::Activate]),
        (S::BackingOff(until), Input::Tick) if now >= until => (S::Fencing, vec![E::Fence]),
        (S::Fencing | S::Restoring(_), Input::Failed) => (S::BackingOff(after(now, BACK_OFF)), vec![E::Drop]),

        (S::Active, Input::Revoked) => (S::Draining(false), vec![E::Drain]),
        (S::Draining(_), Input::Assigned) => (S::Draining(true), vec![]),
        (S::Draining(true), Input::Revoked) => (S::Draining(false), vec![]),
        (S::Draining(false), Input::Drained | Input::Lost { .. }) => (S::Unassigned, vec![E::Drop, E::Release]),
        (S::Draining(true), Input::Drained | Input::Lost { .. }) => (S::Fencing, vec![E::Drop, E::Release, E::Fence]),

        (S::Active, Input::Lost { fenced: true }) => (S::Dropped(after(now, DROPPED_FOR)), vec![E::Drop]),
        (S::Active, Input::Lost { fenced: false }) => (S::BackingOff(after(now, BACK_OFF)), vec![E::Drop]),
        (S::Dropped(until), Input::Tick) if now >= until => (S::Fencing, vec![E::Fence]),
        (S::Dropped(_), Input::Assigned) => (S::Fencing, vec![E::Fence]),
        (
            S::Fencing | S::Restoring(_) | S::Waiting(_) | S::BackingOff(_) | S::Dropped(_) | S::Unassigned,
            Input::Revoked,
        ) => (S::Unassigned, vec![E::Drop, E::Release]),

        (state, _) => (state, vec![]),
    }
}

/// When time alone changes something.
#[must_use]
pub fn next_wake(state: State) -> Option<Timestamp> {
    match state {
        State::Waiting(until) | State::BackingOff(until) | State::Dropped(until) => Some(until),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::at;

    const INPUTS: [Input; 11] = [
        Input::Assigned,
        Input::Revoked,
        Input::Fenced,
        Input::Failed,
        Input::Restored(Predecessor::HandedBack),
        Input::Restored(Predecessor::Ourselves),
        Input::Restored(Predecessor::Another),
        Input::Drained,
        Input::Lost { fenced: true },
        Input::Lost { fenced: false },
        Input::Tick,
    ];

    /// What an observer of the effects knows.
    #[derive(Debug, Clone, Copy, Default)]
    struct Seen {
        fence_asked: bool,
        fenced_at: Option<i64>,
        restored: bool,
        must_wait: i64,
        active: bool,
        draining: bool,
        dropped_at: Option<i64>,
    }

    fn explore(state: State, seen: Seen, clock: i64, depth: usize) {
        if depth == 0 {
            return;
        }
        for (input, passed) in INPUTS.into_iter().flat_map(|input| [(input, 0), (input, 11)]) {
            let clock = clock + passed;
            let (mut seen, now) = (seen, at(clock));
            let (next, effects) = step(state, input, now);
            match (state, input) {
                (State::Fencing, Input::Fenced) => seen.fenced_at = Some(clock),
                (State::Restoring(_), Input::Restored(predecessor)) => {
                    seen.restored = true;
                    seen.must_wait = match predecessor {
                        Predecessor::HandedBack => 0,
                        Predecessor::Ourselves => 1,
                        Predecessor::Another => 16,
                    };
                }
                _ => {}
            }
            for effect in &effects {
                match effect {
                    Effect::Fence => {
                        if let (Some(since), Input::Tick) = (seen.dropped_at, input) {
                            assert!(clock - since >= 35, "fenced back after {} s", clock - since);
                        }
                        seen = Seen {
                            fence_asked: true,
                            ..Seen::default()
                        }
                    }
                    Effect::Restore => assert!(seen.fence_asked && seen.fenced_at.is_some()),
                    Effect::Activate => {
                        assert!(
                            seen.fenced_at.is_some() && seen.restored,
                            "active without fence and restore"
                        );
                        let waited = clock - seen.fenced_at.unwrap();
                        assert!(waited >= seen.must_wait, "active {waited} s after the fence");
                        assert!(!seen.active);
                        seen.active = true;
                    }
                    Effect::Drain => {
                        assert!(seen.active && !seen.draining);
                        seen.draining = true;
                    }
                    Effect::Drop => {
                        let fenced = matches!((state, input), (State::Active, Input::Lost { fenced: true }));
                        seen = Seen {
                            dropped_at: fenced.then_some(clock),
                            ..Seen::default()
                        };
                    }
                    Effect::Release => assert!(!seen.active, "released with a running lane"),
                }
            }
            assert_eq!(
                matches!(next, State::Active | State::Draining(_)),
                seen.active,
                "{state:?} {input:?} {next:?}"
            );
            if input == Input::Revoked {
                assert!(next != State::Active, "active after a revocation");
                assert!(seen.draining || effects.contains(&Effect::Release) || matches!(next, State::Draining(_)));
            }
            // What changes nothing is not followed; time passes in ticks.
            if next != state || !effects.is_empty() || (input == Input::Tick && passed > 0) {
                explore(next, seen, clock, depth - 1);
            }
        }
    }

    #[test]
    fn no_short_sequence_of_inputs_activates_without_fence_restore_and_lease() {
        explore(State::Unassigned, Seen::default(), 0, 8);
    }

    #[test]
    fn an_undisturbed_take_over_and_hand_back() {
        let mut state = State::Unassigned;
        let mut effects = Vec::new();
        for (input, time) in [
            (Input::Assigned, 0),
            (Input::Fenced, 1),
            (Input::Restored(Predecessor::Another), 2),
            (Input::Tick, 16),
            (Input::Tick, 17),
            (Input::Revoked, 30),
            (Input::Drained, 31),
        ] {
            let (next, more) = step(state, input, at(time));
            state = next;
            effects.extend(more);
        }
        assert_eq!(state, State::Unassigned);
        use Effect::{Activate, Drain, Drop, Fence, Release, Restore};
        assert_eq!(effects, [Fence, Restore, Activate, Drain, Drop, Release]);
    }

    #[test]
    fn a_fenced_owner_stays_out_until_it_is_assigned_again_or_has_waited() {
        let (dropped, effects) = step(State::Active, Input::Lost { fenced: true }, at(0));
        assert_eq!(
            (dropped, effects, next_wake(dropped)),
            (State::Dropped(at(35)), vec![Effect::Drop], Some(at(35)))
        );
        assert_eq!(step(dropped, Input::Tick, at(34)), (dropped, vec![]));
        let (state, _) = step(dropped, Input::Revoked, at(34));
        assert_eq!(
            step(state, Input::Assigned, at(34)),
            (State::Fencing, vec![Effect::Fence])
        );
        // Still assigned: what fenced us was no successor.
        assert_eq!(
            step(dropped, Input::Tick, at(35)),
            (State::Fencing, vec![Effect::Fence])
        );
    }

    #[test]
    fn only_a_record_of_the_same_run_is_our_own() {
        let seen = |run: Option<&str>, released: bool| {
            let record = TargetRecord {
                owner_run: run.map(str::to_owned),
                released,
                ..TargetRecord::new("a", "enforce", at(1))
            };
            Predecessor::of(Some(&record), "ours")
        };
        assert_eq!(Predecessor::of(None, "ours"), Predecessor::HandedBack);
        assert_eq!(seen(Some("ours"), true), Predecessor::HandedBack);
        assert_eq!(seen(Some("ours"), false), Predecessor::Ourselves);
        assert_eq!(seen(Some("theirs"), false), Predecessor::Another);
        // The same address after a restart, or a record of an older version.
        assert_eq!(seen(None, false), Predecessor::Another);
    }
}
