//! A bank in a process of its own that may be killed at any moment: its store is the file in the first
//! argument, its peer is at the other end of the socket pair that it has as standard input.

use std::os::fd::AsFd as _;
use std::path::Path;

use tokio::task::LocalSet;
use vat::Vat;
use vat::durable::Store;
use vat::net::Stream;
use vat::net::driver::{Attach, Driver};
use vat_examples::bank::{BankRef, Office};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("the path of its store")?;
    LocalSet::new().run_until(serve(Path::new(&path))).await
}

async fn serve(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let vat = Vat::new("teller");
    vat.attach_store(Store::at(path)?)?;
    let bank = vat.turn(|turn| {
        let office = turn.durable("office", |_| Office::default())?;
        Ok(BankRef::from(&office))
    })?;
    let driver = Driver::new(vat);
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let stream = Stream::from_socketpair(socket)?;
    let peer = driver.attach(stream, Attach::plain(Some(bank.into())));
    peer.gone().await;
    Ok(())
}
