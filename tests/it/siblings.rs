//! Several programs under one launcher talk to each other over socket pairs of their own: also while
//! the launcher, or who introduced them, is stopped.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::LocalSet;
use tokio::time::timeout;
use vat::Vat;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Peers};
use vat::prelude::*;
use vat::sturdy::{Identity, Seed, reference_file};
use vat_tests::{KeeperRef, TallyRef};

use crate::harness::{Ensemble, eventually, workspace};

/// One that owns a tally, one that was given it, and one whose friend that one is.
struct Three {
    ensemble: Ensemble,
}

impl Three {
    fn up(strategy: &str) -> Self {
        let mut ensemble = Ensemble::new();
        let cargo = format!(
            "cargo = {{ folder = {:?}, package = \"vat-tests\", bin = \"keeper\" }}\n\
             expose = {{ keeper = \"vat-tests::Keeper\", tally = \"vat-tests::Tally\" }}\n",
            workspace()
        );
        let text = format!(
            "manifest = 1\n[vat]\nname = \"three\"\n[supervisor]\nstrategy = \"{strategy}\"\n\
             [children.owner]\n{cargo}\
             [children.keeper]\n{cargo}use = {{ tally = \"vat-tests::Tally\" }}\n\
             [children.keeper.grants]\ntally = \"children.owner.tally\"\n\
             [children.other]\n{cargo}use = {{ friend = \"vat-tests::Keeper\" }}\n\
             [children.other.grants]\nfriend = \"children.keeper.keeper\"\n\
             [expose.keeper]\nfrom = \"children.keeper.keeper\"\n\
             [expose.other]\nfrom = \"children.other.keeper\"\n\
             [expose.tally]\nfrom = \"children.owner.tally\"\n"
        );
        let path = ensemble.path("three.vat.toml");
        std::fs::write(&path, text).unwrap();
        ensemble.started("three");
        ensemble.ok(&["up", "-d", path.to_str().unwrap()]);
        Self { ensemble }
    }

    fn reference(&self, name: &str) -> PathBuf {
        self.ensemble.path(&format!("refs/{name}.cap"))
    }

    /// The process of a child, or of the launcher.
    fn process(&self, name: &str) -> Process {
        let status = self.ensemble.json(&["ps", "--json"]);
        let pid = match name {
            "launcher" => &status["pid"],
            child => {
                let children = status["children"].as_array().unwrap();
                let path = format!("three/{child}");
                let found = children.iter().find(|child| child["path"] == *path);
                &found.unwrap()["pid"]
            }
        };
        let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
        Process(Pid::from_raw(pid).unwrap())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Process(Pid);

impl Process {
    /// It does nothing until the guard is dropped.
    fn stopped(self) -> Stopped {
        kill_process(self.0, Signal::STOP).unwrap();
        Stopped(self)
    }
}

struct Stopped(Process);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0.0, Signal::CONT); // it may be gone
    }
}

/// Somebody outside of the ensemble.
struct Caller {
    driver: Driver,
}

impl Caller {
    fn new() -> Self {
        let driver = Driver::new(Vat::new("caller"));
        Self { driver }
    }

    async fn enliven(&self, path: PathBuf) -> Ref {
        let identity = Identity::from_seed(&Seed::generate().unwrap());
        let credentials = Credentials::new(&identity).unwrap();
        let dialing = Dialing::ambient_network();
        let peers = Peers::new(self.driver.clone(), credentials, None, dialing);
        let sturdy = reference_file::read(&path).unwrap();
        peers.enliven(&sturdy).await.unwrap().reference
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { timeout(Duration::from_secs(60), test).await };
    LocalSet::new().block_on(&runtime, limited).unwrap();
}

/// Longer than a call takes, and shorter than anything gives up.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn siblings_go_on_while_their_launcher_and_who_introduced_them_are_stopped() {
    let three = Three::up("one_for_one");
    run(async {
        let caller = Caller::new();
        let keeper = KeeperRef::from(caller.enliven(three.reference("keeper")).await);
        let other = KeeperRef::from(caller.enliven(three.reference("other")).await);
        let tally = TallyRef::from(caller.enliven(three.reference("tally")).await);
        // The launcher introduced the keeper to the owner of the tally.
        assert_eq!(keeper.add(1).await.unwrap(), 1);
        let launcher = three.process("launcher").stopped();
        assert_eq!(timeout(SOON, keeper.add(1)).await.unwrap().unwrap(), 2);
        drop(launcher);
        // The keeper introduces the other one.
        other.borrow_from_friend().await.unwrap();
        assert_eq!(other.add(1).await.unwrap(), 3);
        let stopped = ["launcher", "keeper"].map(|name| three.process(name));
        let stopped = stopped.map(Process::stopped);
        assert_eq!(timeout(SOON, other.add(1)).await.unwrap().unwrap(), 4);
        assert_eq!(timeout(SOON, tally.add(1)).await.unwrap().unwrap(), 5);
        drop(stopped);
        assert_eq!(keeper.add(1).await.unwrap(), 6);
    });
}

#[test]
fn siblings_that_are_started_anew_meet_again() {
    let three = Three::up("rest_for_one");
    let first = ["owner", "keeper", "other"].map(|name| three.process(name));
    kill_process(first[0].0, Signal::KILL).unwrap();
    eventually("all three run again", || {
        let status = three.ensemble.json(&["ps", "--json"]);
        let children = status["children"].as_array().unwrap();
        let up = |child: &serde_json::Value| child["state"] == "running" && child["restarts"] == 1;
        children.iter().all(up).then_some(())
    });
    run(async {
        let caller = Caller::new();
        let keeper = KeeperRef::from(caller.enliven(three.reference("keeper")).await);
        assert_eq!(keeper.add(1).await.unwrap(), 1);
        let launcher = three.process("launcher").stopped();
        assert_eq!(timeout(SOON, keeper.add(1)).await.unwrap().unwrap(), 2);
        drop(launcher);
    });
}
