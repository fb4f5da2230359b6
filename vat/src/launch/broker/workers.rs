//! Worker threads for what may block: files, so far.
//!
//! Work is queued on [`Lane`]s. The jobs of one lane run in the order in which they were queued,
//! one at a time; different lanes run side by side and take turns, so that a long queue on one
//! does not hold up the others. The number of threads and of queued jobs is bounded: beyond it
//! [`Lane::run`] refuses at once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::oneshot;

/// How many threads, and how many jobs may wait.
#[derive(Clone, Copy, Debug)]
pub struct WorkerLimits {
    /// Threads. Default 4.
    pub threads: NonZero<usize>,
    /// Jobs that wait or run, over all lanes. Default 4,096.
    pub jobs: usize,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            threads: NonZero::new(4).unwrap_or(NonZero::<usize>::MIN),
            jobs: 4096,
        }
    }
}

/// A small pool of threads. Clones are the same pool; its threads end when the last clone and the
/// last lane are gone and what was queued has run.
#[derive(Clone)]
pub struct Workers {
    handle: Arc<Handle>,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started.
    pub fn start(limits: WorkerLimits) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            max_jobs: limits.jobs,
            next_lane: AtomicU64::new(0),
        });
        let handle = Arc::new(Handle {
            shared: Arc::clone(&shared),
        });
        for n in 0..limits.threads.get() {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("worker {n}"))
                .spawn(move || shared.work())?;
        }
        Ok(Self { handle })
    }

    /// A new, empty lane.
    pub fn lane(&self) -> Lane {
        let id = self.handle.shared.next_lane.fetch_add(1, Ordering::Relaxed);
        Lane {
            workers: self.clone(),
            id,
        }
    }

    /// Jobs that wait or run now.
    pub fn jobs(&self) -> usize {
        self.handle.shared.lock().jobs
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("jobs", &self.jobs())
            .finish_non_exhaustive()
    }
}

/// A queue whose jobs run in order, one at a time. Clones are the same lane.
#[derive(Clone, Debug)]
pub struct Lane {
    workers: Workers,
    id: u64,
}

impl Lane {
    /// Queues a job.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] if as many jobs as are allowed wait already; the job is dropped.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Job<T>, Overloaded> {
        let (send, receive) = oneshot::channel();
        // Nobody may wait for the result any more; that is not the job's concern.
        let work = Box::new(move || drop(send.send(job())));
        self.workers.handle.shared.queue(self.id, work)?;
        Ok(Job { receive })
    }
}

/// The result of a queued job, as a future for any executor.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the job runs all the same.
#[derive(Debug)]
#[must_use = "a job's failure is only seen by who awaits it"]
pub struct Job<T> {
    receive: oneshot::Receiver<T>,
}

impl<T> Future for Job<T> {
    type Output = Result<T, JobLost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receive).poll(cx).map_err(|_| JobLost)
    }
}

/// Too many jobs wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much work is waiting; try again later")]
pub struct Overloaded;

/// The job panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job failed in the middle (a bug: its panic is in the log)")]
pub struct JobLost;

type Work = Box<dyn FnOnce() + Send>;

/// Ends the threads when the last user of the pool goes.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    max_jobs: usize,
    next_lane: AtomicU64,
}

#[derive(Default)]
struct State {
    /// What waits on each lane. A lane is in here exactly while it is in `ready` or one of its
    /// jobs runs, so no second worker takes it up.
    lanes: BTreeMap<u64, VecDeque<Work>>,
    /// Lanes with work that nobody does yet, in turn.
    ready: VecDeque<u64>,
    /// Jobs that wait or run.
    jobs: usize,
    closed: bool,
}

impl Shared {
    /// The state stays consistent if a thread panics: nothing panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, lane: u64, work: Work) -> Result<(), Overloaded> {
        let mut state = self.lock();
        if state.jobs >= self.max_jobs {
            return Err(Overloaded);
        }
        state.jobs += 1;
        if let Some(waiting) = state.lanes.get_mut(&lane) {
            waiting.push_back(work);
            return Ok(());
        }
        state.lanes.insert(lane, VecDeque::from([work]));
        state.ready.push_back(lane);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn work(&self) {
        while let Some((lane, work)) = self.next() {
            // A panic has been reported by the hook; the job's future breaks.
            let _panicked = catch_unwind(AssertUnwindSafe(work));
            self.done(lane);
        }
    }

    fn next(&self) -> Option<(u64, Work)> {
        let mut state = self.lock();
        loop {
            if let Some(lane) = state.ready.pop_front() {
                let work = state.lanes.get_mut(&lane).and_then(VecDeque::pop_front);
                if let Some(work) = work {
                    return Some((lane, work));
                }
            } else if state.closed {
                return None;
            } else {
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn done(&self, lane: u64) {
        let mut state = self.lock();
        state.jobs -= 1;
        if state.lanes.get(&lane).is_some_and(VecDeque::is_empty) {
            state.lanes.remove(&lane);
        } else {
            state.ready.push_back(lane);
            drop(state);
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Barrier, mpsc};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    fn workers(threads: usize, jobs: usize) -> Workers {
        let threads = NonZero::new(threads).unwrap();
        Workers::start(WorkerLimits { threads, jobs }).unwrap()
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn jobs_of_one_lane_run_in_order_one_at_a_time() {
        let lane = workers(4, 10_000).lane();
        let running = Arc::new(AtomicUsize::new(0));
        let log = Arc::new(Mutex::new(Vec::new()));
        let jobs: Vec<_> = (0..2000)
            .map(|n| {
                let (running, log) = (Arc::clone(&running), Arc::clone(&log));
                let job = move || {
                    assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                    log.lock().unwrap().push(n);
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                lane.run(job).unwrap()
            })
            .collect();
        assert!(wait(join_all(jobs)).iter().all(Result::is_ok));
        assert_eq!(*log.lock().unwrap(), (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn lanes_run_side_by_side() {
        let workers = workers(2, 10);
        let both = Arc::new(Barrier::new(2));
        let jobs: Vec<_> = (0..2)
            .map(|_| {
                let both = Arc::clone(&both);
                workers.lane().run(move || both.wait().is_leader()).unwrap()
            })
            .collect();
        let leaders = wait(join_all(jobs))
            .into_iter()
            .filter(|won| *won == Ok(true))
            .count();
        assert_eq!(leaders, 1);
    }

    #[test]
    fn a_long_queue_does_not_hold_up_another_lane() {
        let workers = workers(1, 1000);
        let (busy, idle) = (workers.lane(), workers.lane());
        let (open, gate) = mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |word: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(word)
        };
        let first = busy.run(move || gate.recv().is_ok()).unwrap();
        let queued: Vec<_> = (0..100).map(|_| busy.run(note("busy")).unwrap()).collect();
        let other = idle.run(note("idle")).unwrap();
        open.send(()).unwrap();
        assert_eq!(wait(first), Ok(true));
        wait(other).unwrap();
        wait(join_all(queued));
        let order = order.lock().unwrap();
        assert!(order.iter().position(|word| *word == "idle").unwrap() <= 1);
    }

    #[test]
    fn beyond_the_limit_jobs_are_refused_and_later_accepted() {
        let workers = workers(1, 2);
        let lane = workers.lane();
        let (open, gate) = mpsc::channel::<()>();
        let first = lane.run(move || gate.recv().is_ok()).unwrap();
        let second = lane.run(|| 2).unwrap();
        assert_eq!(lane.run(|| 3).unwrap_err(), Overloaded);
        assert_eq!(workers.lane().run(|| 3).unwrap_err(), Overloaded);
        open.send(()).unwrap();
        assert_eq!((wait(first), wait(second)), (Ok(true), Ok(2)));
        while workers.jobs() > 0 {
            thread::yield_now();
        }
        assert_eq!(wait(lane.run(|| 4).unwrap()), Ok(4));
    }

    #[test]
    fn a_panic_breaks_only_its_own_job() {
        let lane = workers(1, 10).lane();
        let broken = lane
            .run(|| std::panic::resume_unwind(Box::new("on purpose")))
            .unwrap();
        let next = lane.run(|| 5).unwrap();
        assert_eq!(wait(broken), Err::<(), _>(JobLost));
        assert_eq!(wait(next), Ok(5));
    }

    #[test]
    fn queued_jobs_run_and_threads_end_when_the_pool_is_dropped() {
        let workers = workers(2, 10);
        let lane = workers.lane();
        let (alive, ended) = mpsc::channel::<()>();
        let slow = lane
            .run(|| thread::sleep(Duration::from_millis(20)))
            .unwrap();
        let last = lane.run(move || drop(alive)).unwrap();
        let weak = Arc::downgrade(&workers.handle.shared);
        drop((workers, lane));
        wait(async { (slow.await.unwrap(), last.await.unwrap()) });
        assert!(ended.recv().is_err());
        while weak.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_dropped_future_does_not_stop_its_job() {
        let lane = workers(1, 10).lane();
        let (send, receive) = mpsc::channel();
        drop(lane.run(move || send.send(7).unwrap()).unwrap());
        assert_eq!(receive.recv_timeout(Duration::from_secs(10)), Ok(7));
    }
}
