//! What three-party handoff needs of the network: a vat that says who it is, and connections to
//! vats to which others introduce it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use captp::{Exception, VatKey};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Peers, Reached};
use crate::core::{Dial, Vat};
use crate::sturdy::{Address, Identity, VatId, random};

/// Lets the engine sign what it gives away. Counts for connections that are attached afterwards.
pub(super) fn identify(vat: &Vat, identity: &Identity, session: u64, addresses: &[Address]) {
    let key = VatKey(*identity.id().as_bytes());
    let addresses = addresses.iter().map(Address::to_string).collect();
    let identity = captp::Identity::new(key, session, Rc::new(identity.clone()));
    vat.engine(|engine| engine.set_identity(identity.with_addresses(addresses)));
}

/// A number that no life of a vat has used. Without it references are given on through this vat, as
/// by any that hands nothing over.
pub(crate) fn new_session() -> Option<u64> {
    let mut session = [0; 8];
    match random::fill(&mut session) {
        Ok(()) => Some(u64::from_le_bytes(session)),
        Err(error) => {
            tracing::warn!(err = %error, "no random number for handing references over");
            None
        }
    }
}

/// The engine's time, and who waits for it to pass.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    alarm: RefCell<Option<Alarm>>,
}

/// What need not be earlier.
const SOON: Duration = Duration::from_millis(10);

/// A task that wakes the driver.
#[derive(Debug)]
struct Alarm {
    due: Duration,
    task: AbortHandle,
}

impl Clock {
    /// The time of this vat, from now on.
    pub(super) fn of(vat: &Vat) -> Self {
        let began = Instant::now();
        vat.on_time(Rc::new(move || began.elapsed()));
        Self {
            began,
            alarm: RefCell::default(),
        }
    }

    /// Tells the engine the time, and whoever asks.
    pub(super) fn tick(&self, vat: &Vat) -> Instant {
        let now = Instant::now();
        let passed = now.duration_since(self.began);
        self.alarm.borrow_mut().take_if(|alarm| alarm.due <= passed);
        vat.handle_time(passed);
        now
    }

    /// When something of the vat is due, wakes the driver then.
    pub(super) fn arm(&self, vat: &Vat, wake: &Arc<Notify>) {
        // The engine may want to know the time soon, as it does when calls have begun to wait. There
        // may be a round for each call, and that need not be an alarm for each.
        let engine = vat.engine(|engine| engine.deadline());
        let engine = engine.map(|due| due.max(self.began.elapsed() + SOON));
        if let Some(due) = [engine, vat.next_timer()].into_iter().flatten().min() {
            self.wake_at(due, wake);
        }
    }

    /// Of several times, the earliest counts; the driver asks again then.
    fn wake_at(&self, due: Duration, wake: &Arc<Notify>) {
        let mut alarm = self.alarm.borrow_mut();
        if alarm.as_ref().is_some_and(|alarm| alarm.due <= due) {
            return;
        }
        let Some(until) = self.began.checked_add(due) else {
            return; // never
        };
        let wake = wake.clone();
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep_until(until).await;
            wake.notify_one();
        });
        let task = task.abort_handle();
        if let Some(later) = alarm.replace(Alarm { due, task }) {
            later.task.abort();
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.get_mut() {
            alarm.task.abort();
        }
    }
}

/// Makes the connections that the engine asks for.
pub(super) fn answer_dials(vat: &Vat, wake: &Arc<Notify>) {
    for dial in vat.take_dials() {
        match vat.netlayer().and_then(Peers::from_netlayer) {
            Some(peers) => {
                let wake = wake.clone();
                tokio::task::spawn_local(async move { connect(&peers, dial, &wake).await });
            }
            None => refuse(vat, &dial, "this vat is not on a network"),
        }
    }
}

async fn connect(peers: &Peers, dial: Dial, wake: &Notify) {
    let vat = peers.vat();
    let Ok(id) = VatId::from_bytes(dial.introduction.exporter().0) else {
        refuse(vat, &dial, "its key is not one that a vat can have");
        return wake.notify_one();
    };
    let addresses = dial.addresses.iter().filter_map(|text| text.parse().ok());
    let addresses: Vec<Address> = addresses.collect();
    let dialing = peers.dialing_after(&dial.introduction);
    match peers.connect_by(id, &addresses, &dialing).await {
        Ok(Reached::Peer(connection)) => {
            tracing::debug!(vat = %id, conn = %connection.id(), "introduced");
            vat.engine(|engine| engine.dialed(dial.request, Ok(connection.id())));
        }
        Ok(Reached::Myself) => refuse(vat, &dial, "it is this vat itself"),
        Err(error) => refuse(vat, &dial, &error.to_string()),
    }
    wake.notify_one();
}

/// The reference goes on through whoever gave it.
fn refuse(vat: &Vat, dial: &Dial, why: &str) {
    tracing::debug!(vat = ?dial.introduction.exporter(), err = %why, "no connection to who hosts a given reference");
    let reason = Exception::failed(why);
    vat.engine(|engine| engine.dialed(dial.request, Err(reason)));
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn of_several_times_the_earliest_wakes_the_driver() {
        let test = async {
            let (clock, wake) = (Clock::of(&Vat::new("a")), Arc::new(Notify::new()));
            let millis = Duration::from_millis;
            clock.wake_at(millis(10_000), &wake);
            clock.wake_at(millis(50), &wake);
            clock.wake_at(millis(20_000), &wake);
            timeout(millis(2_000), wake.notified()).await.unwrap();
            assert!(clock.began.elapsed() >= millis(50));
            // It wakes once; what is due later is asked for anew.
            let again = timeout(millis(100), wake.notified());
            assert!(again.await.is_err());
            clock.tick(&Vat::new("a"));
            clock.wake_at(millis(200), &wake);
            timeout(millis(2_000), wake.notified()).await.unwrap();
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn what_is_never_due_wakes_nobody_and_hides_nothing() {
        let test = async {
            let vat = Vat::new("a");
            let (clock, wake) = (Clock::of(&vat), Arc::new(Notify::new()));
            clock.wake_at(Duration::MAX, &wake);
            clock.wake_at(Duration::from_millis(50), &wake);
            let woken = timeout(Duration::from_secs(2), wake.notified());
            woken.await.unwrap();
        };
        LocalSet::new().run_until(test).await;
    }
}
