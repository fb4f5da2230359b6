//! Methods that stop when their caller in another vat gives the call up: `#[cancellable]` ones, while
//! they wait.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use captp::{AnswerToken, ConnId};

use super::promise::cancelled;
use super::task::TaskId;
use super::time::TimerId;
use super::turn::Work;
use super::vat::Shared;
use crate::error::Error;

/// The cancellable methods that wait, by the call that they answer.
#[derive(Default)]
pub(crate) struct Cancellable(RefCell<BTreeMap<CallId, Waiting>>);

/// Which call of which connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(ConnId, u64);

struct Waiting {
    task: TaskId,
    /// When the caller's time is up, should it not say so.
    timer: Option<TimerId>,
}

impl CallId {
    pub(crate) const fn of(call: &AnswerToken) -> Self {
        Self(call.connection(), call.serial())
    }
}

impl Shared {
    /// The method that answers this call waits as this task.
    pub(crate) fn watch_call(
        self: &Rc<Self>,
        call: CallId,
        task: TaskId,
        deadline: Option<Duration>,
    ) {
        let timer = deadline.map(|deadline| {
            let left = deadline.saturating_sub(self.now());
            self.set_timer(left, Box::new(TimeIsUp(call)))
        });
        let waiting = Waiting { task, timer };
        self.cancellable.0.borrow_mut().insert(call, waiting);
    }

    /// The method has ended.
    pub(crate) fn unwatch_call(&self, call: CallId) -> Option<TaskId> {
        let Waiting { task, timer } = self.cancellable.0.borrow_mut().remove(&call)?;
        drop(timer.and_then(|timer| self.cancel_timer(timer)));
        Some(task)
    }

    /// The caller has given the call up.
    pub(crate) fn call_cancelled(self: &Rc<Self>, call: CallId, reason: Error) {
        if let Some(task) = self.unwatch_call(call) {
            self.break_task(task, reason);
        }
    }

    /// Nobody waits for answers on this connection any more.
    pub(crate) fn callers_gone(self: &Rc<Self>, conn: ConnId) {
        let calls: Vec<CallId> = {
            let waiting = self.cancellable.0.borrow();
            let of_conn = waiting.range(CallId(conn, 0)..=CallId(conn, u64::MAX));
            of_conn.map(|(call, _)| *call).collect()
        };
        for call in calls {
            self.call_cancelled(call, cancelled());
        }
    }
}

/// The caller has said how long it waits.
struct TimeIsUp(CallId);

impl Work for TimeIsUp {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        vat.call_cancelled(self.0, time_is_up());
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// What a call is answered with whose caller does not wait any more.
pub(crate) fn time_is_up() -> Error {
    Error::new(
        crate::error::ErrorKind::TimedOut,
        "the caller's time was up; the call may have run",
    )
}
