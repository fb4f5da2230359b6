//! Several programs under one launcher talk to each other over socket pairs of their own: also while
//! the launcher, or who introduced them, is stopped.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;
use vat::Vat;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Peers};
use vat::prelude::*;
use vat::sturdy::{Identity, Seed, reference_file};
use vat_tests::{KeeperRef, TallyRef};

use crate::harness::{Ensemble, eventually, run, workspace};

/// One that owns a tally, one that was given it, one whose friend that one is, and one to which the
/// launcher gives what it was given.
struct Four {
    ensemble: Ensemble,
}

impl Four {
    fn up(strategy: &str) -> Self {
        let mut ensemble = Ensemble::new();
        let cargo = format!(
            "cargo = {{ folder = {:?}, package = \"vat-tests\", bin = \"keeper\" }}\n\
             expose = {{ keeper = \"vat-tests::Keeper\", tally = \"vat-tests::Tally\" }}\n",
            workspace()
        );
        let text = format!(
            "manifest = 1\n[vat]\nname = \"four\"\n[supervisor]\nstrategy = \"{strategy}\"\n\
             [children.owner]\n{cargo}\
             [children.keeper]\n{cargo}use = {{ tally = \"vat-tests::Tally\" }}\n\
             [children.keeper.grants]\ntally = \"children.owner.tally\"\n\
             [children.other]\n{cargo}use = {{ friend = \"vat-tests::Keeper\" }}\n\
             [children.other.grants]\nfriend = \"children.keeper.keeper\"\n\
             [children.heir]\n{cargo}use = {{ tally = \"vat-tests::Tally\" }}\n\
             [children.heir.grants]\ntally = \"children.keeper.tally\"\n\
             [expose.heir]\nfrom = \"children.heir.keeper\"\n\
             [expose.keeper]\nfrom = \"children.keeper.keeper\"\n\
             [expose.other]\nfrom = \"children.other.keeper\"\n\
             [expose.tally]\nfrom = \"children.owner.tally\"\n"
        );
        let path = ensemble.path("four.vat.toml");
        std::fs::write(&path, text).unwrap();
        ensemble.started("four");
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
                let path = format!("four/{child}");
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

/// Longer than a call takes, and shorter than anything gives up.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn siblings_go_on_while_their_launcher_and_who_introduced_them_are_stopped() {
    let four = Four::up("one_for_one");
    run(async {
        let caller = Caller::new();
        let keeper = KeeperRef::from(caller.enliven(four.reference("keeper")).await);
        let other = KeeperRef::from(caller.enliven(four.reference("other")).await);
        let tally = TallyRef::from(caller.enliven(four.reference("tally")).await);
        // The launcher introduced the keeper to the owner of the tally.
        assert_eq!(keeper.add(1).await.unwrap(), 1);
        let launcher = four.process("launcher").stopped();
        assert_eq!(timeout(SOON, keeper.add(1)).await.unwrap().unwrap(), 2);
        drop(launcher);
        // The keeper introduces the other one.
        other.borrow().await.unwrap();
        assert_eq!(other.add(1).await.unwrap(), 3);
        // The launcher has passed on what the keeper gave it.
        let heir = KeeperRef::from(caller.enliven(four.reference("heir")).await);
        assert_eq!(heir.add(0).await.unwrap(), 3);
        let stopped = ["launcher", "keeper"].map(|name| four.process(name));
        let stopped = stopped.map(Process::stopped);
        assert_eq!(timeout(SOON, other.add(1)).await.unwrap().unwrap(), 4);
        assert_eq!(timeout(SOON, tally.add(1)).await.unwrap().unwrap(), 5);
        assert_eq!(timeout(SOON, heir.add(1)).await.unwrap().unwrap(), 6);
        drop(stopped);
        assert_eq!(keeper.add(1).await.unwrap(), 7);
    });
}

#[test]
fn siblings_that_are_started_anew_meet_again() {
    let four = Four::up("rest_for_one");
    let first = ["owner", "keeper"].map(|name| four.process(name));
    kill_process(first[0].0, Signal::KILL).unwrap();
    eventually("all run again", || {
        let status = four.ensemble.json(&["ps", "--json"]);
        let children = status["children"].as_array().unwrap();
        let up = |child: &serde_json::Value| child["state"] == "running" && child["restarts"] == 1;
        children.iter().all(up).then_some(())
    });
    run(async {
        let caller = Caller::new();
        let keeper = KeeperRef::from(caller.enliven(four.reference("keeper")).await);
        assert_eq!(keeper.add(1).await.unwrap(), 1);
        let launcher = four.process("launcher").stopped();
        assert_eq!(timeout(SOON, keeper.add(1)).await.unwrap().unwrap(), 2);
        drop(launcher);
    });
}

#[test]
fn a_reference_that_was_not_used_breaks_with_its_host() {
    let four = Four::up("one_for_one");
    let first = four.process("keeper");
    run(async {
        let caller = Caller::new();
        let other = KeeperRef::from(caller.enliven(four.reference("other")).await);
        kill_process(first.0, Signal::KILL).unwrap();
        eventually("it runs again", || {
            let status = four.ensemble.json(&["ps", "--json"]);
            let children = status["children"].as_array().unwrap();
            let again = |child: &serde_json::Value| child["restarts"] == 1;
            let up = |child: &&serde_json::Value| again(child) && child["state"] == "running";
            children.iter().any(|child| up(&child)).then_some(())
        });
        // Its new life is not asked for what the old one gave.
        let lost = timeout(SOON, other.borrow()).await.unwrap().unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Disconnected, "{lost}");
        // What it gives anew is reached.
        let keeper = KeeperRef::from(caller.enliven(four.reference("keeper")).await);
        assert_eq!(keeper.add(1).await.unwrap(), 1);
    });
}
