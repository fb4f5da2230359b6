//! The shop's gateway: the only one of its programs that customers reach.

use vat::power::LogSinkRef;
use vat::prelude::*;
use vat_examples::shop::{Gateway, GatewayRef, Good, Receipt, WorkerRef};

/// What the manifest must grant.
#[derive(vat::Powers)]
struct Granted {
    worker: WorkerRef,
    log: LogSinkRef,
}

#[derive(Clone, vat::Object)]
struct Counter {
    worker: WorkerRef,
    log: LogSinkRef,
    customers: u64,
}

impl Gateway for Counter {
    fn goods(&self, _turn: &Turn) -> Result<Promise<Vec<Good>>> {
        // The worker's answer is the customer's; nobody waits for it here.
        Ok(self.worker.goods())
    }

    fn checkout(&mut self, _turn: &Turn, item: String, count: u64) -> Result<Promise<Receipt>> {
        self.customers += 1;
        let text = format!("customer {} wants {count} of {item}", self.customers);
        self.log.info(text).detach();
        Ok(self.worker.sell(item, count))
    }
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<GatewayRef> {
    let Granted { worker, log } = granted;
    let counter = Counter {
        worker,
        log,
        customers: 0,
    };
    Ok(GatewayRef::new(cx, counter))
}
