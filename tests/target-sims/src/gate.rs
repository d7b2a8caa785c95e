//! A gate: requests that are kept at one place until the test lets them on, so that something can happen just then.

use tokio::sync::watch;

use crate::fault::FaultScope;

/// Where a request is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has arrived and will take effect, even if its client has gone by then: as in a server whose queue is long.
    BeforeEffect,
    /// It has taken effect, and its answer is kept back. Ends when the client gives up.
    AfterEffect,
}

/// The one gate of a simulator; open at first.
#[derive(Debug, Default)]
pub(crate) struct Gate(Option<Closed>);

#[derive(Debug)]
struct Closed {
    moment: Moment,
    scope: FaultScope,
    caught: usize,
    opened: watch::Sender<bool>,
}

/// A request that was caught.
#[derive(Debug)]
pub(crate) struct Caught {
    pub(crate) moment: Moment,
    opened: watch::Receiver<bool>,
}

impl Gate {
    pub(crate) fn close(&mut self, moment: Moment, scope: FaultScope) {
        self.open();
        self.0 = Some(Closed {
            moment,
            scope,
            caught: 0,
            opened: watch::Sender::new(false),
        });
    }

    /// Lets everybody on who was caught; from now on nobody is.
    pub(crate) fn open(&mut self) {
        if let Some(closed) = self.0.take() {
            closed.opened.send_replace(true);
        }
    }

    /// How many were caught since the gate was closed.
    pub(crate) fn caught(&self) -> usize {
        self.0.as_ref().map_or(0, |closed| closed.caught)
    }

    /// Whether this request is caught; counts it.
    pub(crate) fn pass(&mut self, method: &str, path: &str, write: bool) -> Option<Caught> {
        let closed = self
            .0
            .as_mut()
            .filter(|closed| closed.scope.meets(method, path, write))?;
        closed.caught += 1;
        Some(Caught {
            moment: closed.moment,
            opened: closed.opened.subscribe(),
        })
    }
}

impl Caught {
    pub(crate) async fn let_on(mut self) {
        // A gate that is dropped with its simulator keeps nobody.
        let _ = self.opened.wait_for(|opened| *opened).await;
    }
}
