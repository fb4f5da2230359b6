//! What a child knows of its life before anything of it runs.

use tempfile::TempDir;

use super::super::broker::log::{Log, LogLimits};
use super::super::manifest::tests::static_program;
use super::*;
use crate::Vat;

fn child(home: &TempDir) -> Child {
    let log = Log::open(home.path(), LogLimits::default()).unwrap();
    let program = home.path().join("program");
    std::fs::write(&program, static_program()).unwrap();
    let plan = ChildPlan {
        name: "ledger".to_owned(),
        path: "shop/ledger".to_owned(),
        program: SealedProgram::load(&program).unwrap(),
        require: Level::L2,
        allow_weak: false,
        seed: Seed::from_bytes([1; 32]),
        supplies: Vec::new(),
        store: None,
        args: Vec::new(),
        exposes: BTreeMap::new(),
        start_within: Duration::from_secs(10),
        output: log.source("shop/ledger"),
        echo: false,
    };
    let launcher = Identity::from_seed(&Seed::from_bytes([2; 32]));
    let siblings = Rc::new(Introducer::new(launcher, 0));
    let driver = Driver::new(Vat::new("launcher"));
    Child::new(driver, siblings, plan, watch::Sender::new(()))
}

#[tokio::test]
async fn a_life_that_has_begun_hears_that_it_is_to_end_before_it_runs() {
    let test = async {
        let home = TempDir::new().unwrap();
        let child = child(&home);
        let mut orders = child.begin();
        child.terminate(Terminate::Ask, true);
        assert!(matches!(orders.0.try_recv(), Ok(Terminate::Ask)));
        assert_eq!(child.state(), ChildState::Stopping);
    };
    tokio::task::LocalSet::new().run_until(test).await;
}
