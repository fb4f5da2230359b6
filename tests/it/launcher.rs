//! The launcher as a library: a confined guestbook, called through its sturdy ref, killed and called
//! again.

use std::path::Path;
use std::time::Duration;

use vat::launch::build::Builder;
use vat::launch::launcher::{Launcher, Options};
use vat::launch::manifest::{self, Source};
use vat::launch::places::Places;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Peers};
use vat::power::ChildState;
use vat::sturdy::{Identity, Seed, reference_file};
use vat::{Ref, Vat};
use vat_examples::guestbook::GuestbookRef;

use crate::harness::{Ensemble, run};

async fn enliven(driver: &Driver, path: &Path) -> Ref {
    let sturdy = reference_file::read(path).unwrap();
    let identity = Identity::from_seed(&Seed::generate().unwrap());
    let credentials = Credentials::new(&identity).unwrap();
    let peers = Peers::new(
        driver.clone(),
        credentials,
        None,
        Dialing::ambient_network(),
    );
    peers.enliven(&sturdy).await.unwrap().reference
}

#[test]
fn a_killed_guestbook_comes_back_behind_the_same_reference() {
    let ensemble = Ensemble::new();
    let path = ensemble.guestbook_manifest("");
    let places = Places::at(&ensemble.path("run/vat"), &ensemble.path("state/vat"));
    let (manifest, _) = manifest::check(&path, &places).into_result().unwrap();
    let Source::Cargo(target) = &manifest.children[0].program.source else {
        panic!("{manifest:?}")
    };
    let builder = Builder::new(env!("CARGO"));
    let program = builder.build(target, |_| {}).unwrap();
    let options = Options {
        programs: vec![program],
        args: Vec::new(),
        refs: Some(ensemble.path("refs")),
        allow_weak: false,
        once: false,
    };
    run(async move {
        let launcher = Launcher::prepare(manifest, &places, options).await.unwrap();
        let running = launcher.clone();
        let run = tokio::task::spawn_local(async move { running.run().await });
        assert_eq!(
            launcher.ready().await,
            ChildState::Running,
            "{:?}",
            launcher.children()
        );

        let driver = Driver::new(Vat::new("caller"));
        let cap = ensemble.path("refs/guestbook.cap");
        let book = GuestbookRef::from(enliven(&driver, &cap).await);
        assert_eq!(book.sign("Ann", "hello").await.unwrap(), 1);
        assert_eq!(book.sign("Bob", "hi").await.unwrap(), 2);

        let pid = i32::try_from(launcher.children()[0].pid).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(
            book.page(0, 10).await.unwrap_err().kind(),
            vat::ErrorKind::Disconnected
        );
        let book = GuestbookRef::from(enliven(&driver, &cap).await);
        let names: Vec<String> = book
            .page(0, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["Ann", "Bob"]);
        assert_eq!(launcher.children()[0].restarts, 1);

        launcher.stop();
        let outcome = tokio::time::timeout(Duration::from_secs(10), run).await;
        assert_eq!(outcome.unwrap().unwrap().to_string(), "stopped");
    });
}
