//! The desk of one list: takes operations on rows, and writes the whole list when it is complete and due.
//!
//! Guarantees:
//! * An operation is done when the file that carries it is durably at its place, and not before.
//! * The list is complete or not written: everybody has been fed and nobody is on the way (`Completeness`).
//! * Only an owner with a valid lease writes; it asks for a commit when the last one is too old.
//! * What failed is told to everybody whose row was in it, as a failure of the target.
//!
//! [`Desk::run`] is the writer. It is a part of the lane's own future and ends with it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};
use tracing::{info, warn};
use usher_contract::{TargetName, UserKey};

use super::{
    book::{Book, refusal},
    columns::{Read, cells},
    config::{RosterConfig, Undecided},
    debounce::Debounce,
    place::{Gate, Place, PlaceError, now},
    publish::{Known, Limits, Published, Unpublished, look, publish},
    render::{key_column, key_of, listed, render},
    shrink::Shrunk,
};
use crate::{
    connector::{Failure, Operation, Refusal, Reply, lease::Lease},
    logic::{
        account::{RemoteAccount, RemoteId},
        guard::{Budget, Guard},
        lane::{Completeness, Links},
        link::Link,
        policy::{ACTIVE, EXTERNAL_ID, USER_NAME},
    },
};

/// The lane's word for a write that was not sent for want of a lease: nobody is to blame, and it is planned again.
const LEASE_OVER: &str = "lease-expired";
/// The code of a list that has lost too much.
pub(super) const SHRINKS: &str = "list-shrinks";
/// How long the writer rests after a failure that no operation carries back to the lane.
const REST: Duration = Duration::from_secs(30);
/// A commit that was asked for comes within moments; asked again after this, in case the request was lost.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// So often a write that met the end of its lease is begun anew.
const LEASES: u32 = 5;

type Done = Result<Reply, Failure>;

/// One operation that waits for the file.
struct Pending {
    operation: Operation,
    reply: oneshot::Sender<Done>,
}

#[derive(Default)]
struct State {
    book: Book,
    pending: Vec<Pending>,
    debounce: Debounce,
    completeness: Completeness,
    /// Nothing is written before.
    rests_until: Option<Instant>,
    /// What the last check has refused, and how much was allowed then.
    shrunk: Option<(Refusal, u64)>,
}

/// What the writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing until something happens.
    Idle,
    /// Nothing before then.
    Wait(Instant),
    Publish,
    /// The target is handed back and the list is not complete: whoever waits is planned anew by the successor.
    GiveBack,
}

impl State {
    /// Whether the list is complete with so many operations at hand.
    fn may_write(&self, at_hand: usize, config: &RosterConfig) -> bool {
        let complete = self.completeness;
        // What the lane has handed out and has not arrived here would be missing.
        let arrived = at_hand >= complete.writes;
        complete.whole && arrived && (complete.undecided == 0 || config.undecided == Undecided::AsBefore)
    }

    fn next(&self, config: &RosterConfig, now: Instant) -> Next {
        let whole = self.may_write(self.pending.len(), config);
        if self.completeness.draining {
            return match (self.pending.is_empty(), whole) {
                (true, _) => Next::Idle,
                (false, true) => Next::Publish,
                (false, false) => Next::GiveBack,
            };
        }
        let due = self.debounce.due(config.quiet, config.at_most).filter(|_| whole);
        match due.map(|due| self.rests_until.map_or(due, |rest| due.max(rest))) {
            None => Next::Idle,
            Some(due) if due > now => Next::Wait(due),
            Some(_) => Next::Publish,
        }
    }
}

/// See the module.
pub struct Desk {
    target: TargetName,
    config: Arc<RosterConfig>,
    guard: Guard,
    place: Box<dyn Place>,
    state: Mutex<State>,
    known: AsyncMutex<Option<Known>>,
    /// Something happened that the writer should look at.
    woken: Notify,
    /// The writer wants a young commit.
    wants: Notify,
}

impl Desk {
    pub(super) fn new(target: TargetName, config: Arc<RosterConfig>, guard: Guard, place: Box<dyn Place>) -> Self {
        Self {
            target,
            config,
            guard,
            place,
            state: Mutex::default(),
            known: AsyncMutex::new(None),
            woken: Notify::new(),
            wants: Notify::new(),
        }
    }

    /// A panic elsewhere cannot have left it half written: every step replaces whole values.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new ownership begins with these links: nothing of an earlier one counts.
    pub fn begin(&self, links: &Links) {
        let mut book = Book::default();
        for (user, link) in links.iter() {
            book.note(*user, Some(&link));
        }
        let mut state = State {
            book,
            ..State::default()
        };
        // The file may be older than the links, of another format, or gone: it is compared once.
        state.debounce.changed(now());
        *self.state() = state;
        self.woken.notify_one();
    }

    /// These links are committed.
    pub fn committed(&self, links: &[(UserKey, Link)]) {
        let mut state = self.state();
        let mut changed = false;
        for (user, link) in links {
            changed |= state.book.note(*user, Some(link));
        }
        if changed {
            state.debounce.changed(now());
        }
        drop(state);
        self.woken.notify_one();
    }

    /// How complete the picture of the lane is.
    pub fn observe(&self, completeness: Completeness) {
        let mut state = self.state();
        if state.completeness != completeness {
            state.completeness = completeness;
            drop(state);
            self.woken.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn expect_writes(&self, writes: usize) {
        self.state().completeness.writes = writes;
    }

    /// Ends when a young commit is wanted.
    pub async fn wants_commit(&self) {
        self.wants.notified().await;
    }

    /// Carries out one operation. Writes wait for the file.
    pub async fn execute(&self, operation: Operation) -> Done {
        match operation {
            Operation::Check => self.check().await,
            Operation::Find { external_id, by } => Ok(Reply::Found(self.state().book.find(&external_id, &by))),
            Operation::Read(id) => {
                let state = self.state();
                let account = state.book.row(&id).map(|row| row.account(&id));
                Ok(account.map_or(Reply::Absent, |account| Reply::Found(vec![account])))
            }
            Operation::List { .. } | Operation::ReadBack { .. } => self.list().await,
            Operation::Create { .. } | Operation::Update { .. } | Operation::Delete(_) => self.write(operation).await,
            // The policy refuses `groups` and `invite` for a list; see `Connector::groups` and `Connector::lacks`.
            Operation::Invite(_)
            | Operation::FindGroup { .. }
            | Operation::CreateGroup { .. }
            | Operation::RenameGroup { .. }
            | Operation::ReadGroup(_)
            | Operation::ChangeMembers { .. } => Err(Failure::Reject(Refusal {
                code: "not-offered".to_owned(),
                reason: "a list has neither groups nor invitations".to_owned(),
            })),
        }
    }

    async fn write(&self, operation: Operation) -> Done {
        let (reply, done) = oneshot::channel();
        {
            let mut state = self.state();
            state.pending.push(Pending { operation, reply });
            state.debounce.changed(now());
        }
        self.woken.notify_one();
        // Without a writer nobody answers: the ownership has ended.
        done.await.unwrap_or_else(|_| Err(not_written()))
    }

    /// Writes the list whenever it is due. Never ends; dropped with the lane.
    pub async fn run(&self, lease: &Lease) {
        loop {
            let next = self.state().next(&self.config, now());
            match next {
                Next::Idle => self.woken.notified().await,
                Next::Wait(until) => tokio::select! {
                    () = tokio::time::sleep_until(until.into()) => {}
                    () = self.woken.notified() => {}
                },
                Next::GiveBack => {
                    for pending in mem::take(&mut self.state().pending) {
                        // Whoever does not wait any longer need not be told.
                        let _ = pending.reply.send(Err(not_written()));
                    }
                }
                Next::Publish => self.publish(lease).await,
            }
        }
    }

    async fn publish(&self, lease: &Lease) {
        let (operations, replies): (Vec<_>, Vec<_>) = {
            let mut state = self.state();
            state.debounce.taken();
            mem::take(&mut state.pending)
                .into_iter()
                .map(|pending| (pending.operation, pending.reply))
                .unzip()
        };
        match self.try_publish(&operations, lease).await {
            Ok((published, verdicts, rows)) => {
                if published == Published::Written {
                    info!(target.name = %self.target, rows, changes = operations.len(), "the list is written");
                }
                let mut state = self.state();
                state.shrunk = None;
                state.rests_until = None;
                // Notes may have come meanwhile: what was written is laid over them.
                state.book = mem::take(&mut state.book).stage(&operations, &self.config).book;
                drop(state);
                for (reply, verdict) in replies.into_iter().zip(verdicts) {
                    let _ = reply.send(verdict);
                }
            }
            Err(failure) => {
                let refusal = match &failure {
                    Failure::Halt(refusal) | Failure::Reject(refusal) | Failure::Retry(refusal, _) => refusal,
                };
                warn!(target.name = %self.target, code = refusal.code, reason = refusal.reason, "the list is not written");
                {
                    // Also without anybody who waits: links or columns have changed.
                    let mut state = self.state();
                    state.rests_until = Some(now() + REST);
                    state.debounce.changed(now());
                }
                for reply in replies {
                    let _ = reply.send(Err(failure.clone()));
                }
            }
        }
    }

    /// One write, over as many leases as it takes.
    async fn try_publish(
        &self,
        operations: &[Operation],
        lease: &Lease,
    ) -> Result<(Published, Vec<Done>, usize), Failure> {
        let (staged, allowed) = {
            let state = self.state();
            (
                state.book.stage(operations, &self.config),
                state.completeness.allowed_removals,
            )
        };
        let list = render(staged.book.rows(), &self.config).map_err(|unfit| {
            Failure::Halt(refusal(
                "roster-cell",
                &format!("the list cannot be written: {}", unfit.0),
            ))
        })?;
        let mut known = self.known.lock().await;
        let rows = list.rows;
        if operations.is_empty() && known.as_ref().is_some_and(|known| known.holds(&list.bytes)) {
            return Ok((Published::Unchanged, staged.replies, rows));
        }
        let off = self.guard.windows.is_empty();
        let limit = |rows: usize| self.guard.limit(Budget::InferredRemovals, rows).filter(|_| !off);
        let limits = Limits {
            limit: &limit,
            allowed,
            explained: &staged.explained,
        };
        let gate = Gate::new(lease.clone());
        for _ in 0..LEASES {
            self.lease(lease).await;
            let at_hand = operations.len() + self.state().pending.len();
            if !self.state().may_write(at_hand, &self.config) {
                // Paused, or more has come: what was asked for is asked again.
                break;
            }
            match publish(&*self.place, &self.config, &list, &limits, &mut known, &gate).await {
                Ok(published) => return Ok((published, staged.replies, rows)),
                Err(Unpublished::Place(PlaceError::LeaseOver)) => {}
                Err(Unpublished::Place(PlaceError::Failed(refusal))) => return Err(Failure::Halt(refusal)),
                Err(Unpublished::Place(PlaceError::Changed)) => break,
                Err(Unpublished::Shrunk(shrunk)) => {
                    let refusal = self.shrinks(shrunk);
                    self.state().shrunk = Some((refusal.clone(), allowed));
                    return Err(Failure::Halt(refusal));
                }
            }
        }
        Err(not_written())
    }

    /// Waits until a write may start, and asks for a commit as long as it may not.
    async fn lease(&self, lease: &Lease) {
        while !lease.may_start_write(now()) {
            self.wants.notify_one();
            tokio::select! {
                () = lease.renewed() => {}
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
        }
    }

    fn shrinks(&self, shrunk: Shrunk) -> Refusal {
        let Shrunk { lost, before, limit } = shrunk;
        let target = &self.target;
        let file = &self.config.file;
        refusal(
            SHRINKS,
            &format!(
                "the list would lose {lost} of the {before} rows of {file} that nobody has taken out, and {limit} may go: it is not \
                 written. When that is right: `allow {target} --removals {lost} …`, or move {file} away"
            ),
        )
    }

    /// Proves that the place can be written: a small file comes and goes beside the list.
    async fn check(&self) -> Done {
        let probe = format!("{}.usher-check", self.config.file);
        let halt = |error: PlaceError| match error {
            PlaceError::Failed(refusal) => Failure::Halt(refusal),
            PlaceError::Changed | PlaceError::LeaseOver => Failure::Retry(
                refusal("roster-contended", "somebody else is writing the same file"),
                None,
            ),
        };
        let (there, _) = look(&*self.place, &self.config).await.map_err(halt)?;
        let before = self.place.version(&probe).await.map_err(halt)?;
        let gate = Gate::new(Lease::unlimited());
        match self.place.replace(&probe, b"usher\r\n", before.as_ref(), &gate).await {
            // Another one is checking at this moment: what it can, we can.
            Ok(_) | Err(PlaceError::Changed) => {}
            Err(error) => return Err(halt(error)),
        }
        self.place.remove(&probe).await.map_err(halt)?;
        self.still_shrunk(&there)?;
        let file = &self.config.file;
        let has = match there.rows() {
            None => format!("{file} is not there yet"),
            Some(rows) => format!("{file} has {rows} rows"),
        };
        Ok(Reply::Checked(vec![
            format!("{} can be written", self.place.words()),
            has,
        ]))
    }

    /// As long as the file is there that the last check has refused to replace, and nothing more was allowed, the next try
    /// would end as the last one.
    fn still_shrunk(&self, there: &Known) -> Result<(), Failure> {
        let mut state = self.state();
        let allowed = state.completeness.allowed_removals;
        if there.version().is_some()
            && let Some((refusal, then)) = &state.shrunk
            && allowed <= *then
        {
            return Err(Failure::Halt(refusal.clone()));
        }
        state.shrunk = None;
        Ok(())
    }

    /// The rows of the file that is there: ours with the values that they have in it, and those of others.
    async fn list(&self) -> Done {
        let (there, rows) = look(&*self.place, &self.config).await.map_err(|error| match error {
            PlaceError::Failed(refusal) => Failure::Halt(refusal),
            PlaceError::Changed | PlaceError::LeaseOver => Failure::Retry(not_written_words(), None),
        })?;
        if there.is_foreign() {
            let words = format!(
                "{} has other columns than this list: {} lines",
                self.config.file,
                there.rows().unwrap_or(0)
            );
            return Err(Failure::Reject(refusal("roster-other-columns", &words)));
        }
        let state = self.state();
        Ok(Reply::Page {
            accounts: accounts(&state.book, rows, &self.config),
            next: None,
        })
    }
}

fn not_written_words() -> Refusal {
    refusal(
        LEASE_OVER,
        "not written: the target is handed back or the last commit is too long ago",
    )
}

fn not_written() -> Failure {
    Failure::Retry(not_written_words(), None)
}

/// What a file says of the rows of the book, and of others.
fn accounts(book: &Book, rows: Vec<Read>, config: &RosterConfig) -> Vec<RemoteAccount> {
    let key = key_column(config);
    let mut by_key: BTreeMap<String, (&RemoteId, Vec<serde_json::Value>)> = BTreeMap::new();
    let mut off: BTreeMap<&RemoteId, RemoteAccount> = BTreeMap::new();
    let mut accounts = Vec::new();
    for (id, row) in book.rows() {
        let Ok(cells) = cells(&row.values, row.on, config) else {
            continue;
        };
        if !listed(row, config) {
            // Not in the file, as it should be: off.
            off.insert(id, row.account(id));
        }
        if let Some(cell) = cells.get(key) {
            by_key.insert(key_of(cell), (id, cells));
        }
    }
    let key_name = config
        .columns
        .get(key)
        .map(|column| column.name.as_str())
        .unwrap_or_default();
    for (number, read) in rows.into_iter().enumerate() {
        let ours = read.get(key_name).and_then(|cell| by_key.get(&key_of(cell)));
        let account = match ours.and_then(|(id, cells)| Some((*id, cells, book.row(id)?))) {
            Some((id, cells, row)) => {
                let mut account = row.account(id);
                account.active = Some(true);
                for (column, cell) in config.columns.iter().zip(cells) {
                    let same = read.get(&column.name) == Some(cell);
                    if column.attribute == ACTIVE {
                        account.active = Some(if same { row.on } else { !row.on });
                    } else if !same && let Some(resource) = account.resource.as_object_mut() {
                        let shown = read.get(&column.name).cloned().unwrap_or_default();
                        resource.insert(column.attribute.clone(), shown);
                    }
                }
                off.remove(id);
                account
            }
            None => foreign(number, &read, config),
        };
        accounts.push(account);
    }
    accounts.extend(off.into_values());
    accounts
}

/// A row that is nobody's of whom we know.
fn foreign(number: usize, read: &Read, config: &RosterConfig) -> RemoteAccount {
    let of = |attribute: &str| {
        let column = config.columns.iter().find(|column| column.attribute == attribute)?;
        read.get(&column.name)?.as_str().map(str::to_owned)
    };
    let columns = config.columns.iter().filter(|column| column.attribute != ACTIVE);
    let values = columns.filter_map(|column| Some((column.attribute.clone(), read.get(&column.name)?.clone())));
    RemoteAccount {
        id: RemoteId(format!("row:{number}")),
        external_id: of(EXTERNAL_ID),
        user_name: of(USER_NAME),
        active: None,
        etag: None,
        resource: serde_json::Value::Object(values.collect()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the writer would do next, in words.
    pub(in super::super) fn at_each_moment(
        config: &RosterConfig,
        changed: &[Instant],
        completeness: Completeness,
        rests_until: Option<Instant>,
        now: Instant,
    ) -> String {
        let mut state = State {
            completeness,
            rests_until,
            ..State::default()
        };
        for moment in changed {
            state.debounce.changed(*moment);
        }
        format!("{:?}", state.next(config, now))
    }
}
