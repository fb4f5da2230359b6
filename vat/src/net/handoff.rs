//! What three-party handoff needs of the network: a vat that says who it is, and connections to
//! vats to which others introduce it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use captp::{Exception, VatKey};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Peers, Reached};
use crate::core::{Dial, Vat};
use crate::sturdy::{Address, Identity, VatId, random};

/// Lets the engine sign what it gives away. Counts for connections that are attached afterwards.
pub(super) fn identify(vat: &Vat, identity: &Identity, addresses: &[Address]) {
    let mut session = [0; 8];
    if let Err(error) = random::fill(&mut session) {
        // Without it references are given on through this vat, as by any that hands nothing over.
        return tracing::warn!(err = %error, "no random number for handing references over");
    }
    let key = VatKey(*identity.id().as_bytes());
    let addresses = addresses.iter().map(Address::to_string).collect();
    let identity =
        captp::Identity::new(key, u64::from_le_bytes(session), Rc::new(identity.clone()));
    vat.engine(|engine| engine.set_identity(identity.with_addresses(addresses)));
}

/// The engine's time, and whether somebody waits for it to pass.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    armed: Rc<Cell<bool>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            armed: Rc::default(),
        }
    }

    /// Tells the engine the time; when something of it ends by time, wakes the driver then.
    pub(super) fn tick(&self, vat: &Vat, wake: &Arc<Notify>) {
        let deadline = vat.engine(|engine| {
            engine.handle_time(self.began.elapsed());
            engine.deadline()
        });
        let Some(deadline) = deadline.filter(|_| !self.armed.replace(true)) else {
            return;
        };
        let (until, armed, wake) = (self.began + deadline, self.armed.clone(), wake.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until(until).await;
            armed.set(false);
            wake.notify_one();
        });
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
    let Ok(id) = VatId::from_bytes(dial.vat.0) else {
        refuse(vat, &dial, "its key is not one that a vat can have");
        return wake.notify_one();
    };
    let addresses = dial.addresses.iter().filter_map(|text| text.parse().ok());
    let addresses: Vec<Address> = addresses.collect();
    match peers.connect(id, &addresses).await {
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
    tracing::debug!(vat = ?dial.vat, err = %why, "no connection to who hosts a given reference");
    let reason = Exception::failed(why);
    vat.engine(|engine| engine.dialed(dial.request, Err(reason)));
}
