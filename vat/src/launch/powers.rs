//! What fills the slots of a child: found once, put together at each of its starts.
//!
//! What a sibling exposes dies with the sibling's process. So a child gets what the sibling's
//! *present* life exposes, and waits for a sibling that is not ready. A child that runs on when its
//! sibling dies holds broken references until it is started again itself: `rest_for_one` does that.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::child::Child;
use super::manifest::SlotName;
use crate::power::{ChildState, Grant};
use crate::prelude::*;

/// What fills one slot.
pub(crate) struct Supply {
    slot: SlotName,
    source: Supplier,
}

enum Supplier {
    /// Found when the launcher started.
    Opened { interface: u64, power: Ref },
    /// What another child exposes.
    Sibling {
        sibling: Rc<Child>,
        expose: SlotName,
    },
}

impl Supply {
    pub(crate) fn opened(slot: SlotName, interface: u64, power: Ref) -> Self {
        let source = Supplier::Opened { interface, power };
        Self { slot, source }
    }

    pub(crate) fn of_sibling(slot: SlotName, sibling: Rc<Child>, expose: SlotName) -> Self {
        let source = Supplier::Sibling { sibling, expose };
        Self { slot, source }
    }

    /// The power as it is now; a sibling that is not ready may take until `deadline`, `within` from
    /// the beginning of the start.
    async fn grant(&self, deadline: Instant, within: Duration) -> Result<Grant, Unsupplied> {
        let slot = self.slot.to_string();
        let (sibling, expose) = match &self.source {
            Supplier::Opened { interface, power } => {
                return Ok(Grant {
                    slot,
                    interface: *interface,
                    power: power.clone(),
                });
            }
            Supplier::Sibling { sibling, expose } => (sibling, expose),
        };
        let missing = |why| Unsupplied {
            slot: self.slot.clone(),
            route: format!("children.{}.{expose}", sibling.name()),
            sibling: sibling.path().to_owned(),
            state: sibling.state(),
            why,
        };
        match tokio::time::timeout_at(deadline, sibling.settled()).await {
            Ok(ChildState::Running) => {}
            Ok(_) => return Err(missing(Why::NeverAgain)),
            Err(_) => return Err(missing(Why::NotWithin(within))),
        }
        let exposed = sibling.exposed_now(expose.as_str());
        let exposed = exposed.ok_or_else(|| missing(Why::NotExposed))?;
        Ok(Grant {
            slot,
            interface: exposed.interface,
            power: exposed.reference,
        })
    }
}

/// All powers for one start, in the order of the routes.
///
/// # Cancel safety
/// Dropping the future changes nothing.
pub(super) async fn assemble(
    supplies: &[Supply],
    within: Duration,
) -> Result<Vec<Grant>, Unsupplied> {
    let deadline = Instant::now() + within;
    let mut grants = Vec::new();
    for supply in supplies {
        grants.push(supply.grant(deadline, within).await?);
    }
    Ok(grants)
}

/// A slot that could not be filled, and what was waited for.
#[derive(Debug)]
pub(super) struct Unsupplied {
    slot: SlotName,
    route: String,
    sibling: String,
    state: ChildState,
    why: Why,
}

#[derive(Debug)]
enum Why {
    NotWithin(Duration),
    NeverAgain,
    NotExposed,
}

impl fmt::Display for Unsupplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            slot,
            route,
            sibling,
            state,
            why,
        } = self;
        write!(f, "slot {slot} ({route}): {sibling} ")?;
        match why {
            Why::NotWithin(limit) => {
                write!(f, "is not ready within {limit:?}; it {}", doing(*state))
            }
            Why::NeverAgain => write!(f, "{} and is not started again", doing(*state)),
            Why::NotExposed => f.write_str("does not expose it"),
        }
    }
}

fn doing(state: ChildState) -> &'static str {
    match state {
        ChildState::Starting => "is starting",
        ChildState::Running => "is running",
        ChildState::Waiting => "is waiting",
        ChildState::Stopping => "is stopping",
        ChildState::Ended => "has ended",
        ChildState::GaveUp => "was given up",
    }
}
