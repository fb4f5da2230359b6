//! Several programs under one launcher: the shop of the examples, whose programs die and come back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vat::launch::broker::log::LogReader;

use crate::harness::{Ensemble, eventually, texts, workspace};

const PROGRAMS: [&str; 3] = ["shop/ledger", "shop/worker", "shop/gateway"];

/// The example's manifest, with these changes, in a directory of a test's own.
fn manifest(ensemble: &Ensemble, changes: &[(&str, &str)]) -> PathBuf {
    let text = std::fs::read_to_string(workspace().join("examples/shop/shop.vat.toml")).unwrap();
    let folder = format!("cargo  = {{ folder = {:?},", workspace());
    let mut text = text.replace("cargo  = {", &folder);
    for (old, new) in changes {
        assert!(text.contains(old), "the manifest has no {old:?}");
        text = text.replace(old, new);
    }
    let path = ensemble.path("shop.vat.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A shop that is up, supervised by this strategy.
fn shop(strategy: &str) -> Ensemble {
    shop_with(&[("\"rest_for_one\"", &format!("{strategy:?}"))])
}

fn shop_with(changes: &[(&str, &str)]) -> Ensemble {
    let ensemble = nothing_yet();
    let manifest = manifest(&ensemble, changes);
    ensemble.ok(&["up", "-d", manifest.to_str().unwrap()]);
    ensemble
}

/// Directories for a shop; it ends with the test, also where it should not have started.
fn nothing_yet() -> Ensemble {
    let mut ensemble = Ensemble::new();
    ensemble.started("shop");
    ensemble
}

/// The ledger is a program that never becomes ready; the worker waits for it as long as this.
fn waiting_for_the_ledger(ensemble: &Ensemble, timeout: &str) -> PathBuf {
    let package = "package = \"vat-examples\", bin = \"shop-ledger\" }";
    let sleeper = "package = \"vat-tests\", bin = \"sleeper\" }\nstart = { timeout = \"60s\" }";
    let slots = "use    = { ledger = \"shop::Ledger\" }";
    let worker = format!("{slots}\nstart  = {{ timeout = {timeout:?} }}");
    let log = "use    = { log = \"LogSink\" }\n";
    let grant = "[children.ledger.grants]\nlog = \"use.log\"\n";
    let changes = [(package, sleeper), (slots, &worker), (log, ""), (grant, "")];
    manifest(ensemble, &changes)
}

fn children(ensemble: &Ensemble) -> Vec<Value> {
    let status = ensemble.json(&["ps", "--json"]);
    status["children"].as_array().unwrap().clone()
}

/// The process of each program.
fn pids(ensemble: &Ensemble) -> BTreeMap<String, i64> {
    let children = children(ensemble);
    let pid = |child: &Value| (text(&child["path"]), child["pid"].as_i64().unwrap());
    children.iter().map(pid).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Kills the program's process, and waits until these are others than before and all are ready.
fn kill(ensemble: &Ensemble, program: &str, restarted: &[&str]) -> BTreeMap<String, i64> {
    let before = pids(ensemble);
    let pid = Pid::from_raw(i32::try_from(before[program]).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("everything is there again", || {
        let ready = |child: &Value| child["state"] == "running";
        let all_ready = children(ensemble).iter().all(ready);
        let now = pids(ensemble);
        let renewed = restarted.iter().all(|path| now[*path] != before[*path]);
        (all_ready && renewed).then_some(now)
    })
}

fn checkout(ensemble: &Ensemble) -> Value {
    let arguments = ["call", "gateway.cap", "checkout", "item=tea", "count=2"];
    ensemble.json(&[&arguments[..], &["--json"]].concat())["result"].clone()
}

/// What the launcher said, from the oldest to the newest record: of which program, and what.
fn remarks(ensemble: &Ensemble) -> Vec<(String, String)> {
    remarks_of(ensemble, "shop")
}

/// The same of an ensemble of another name.
fn remarks_of(ensemble: &Ensemble, name: &str) -> Vec<(String, String)> {
    let log = ensemble.path(&format!("state/vat/{name}/log"));
    let records = LogReader::oldest(&log).read().unwrap();
    let by_launcher = records
        .into_iter()
        .filter(|record| record.fields.get("by").is_some_and(|by| by == "launcher"));
    by_launcher
        .map(|record| (record.from, record.message))
        .collect()
}

#[test]
fn programs_use_each_other_through_the_routes_of_their_manifest() {
    let ensemble = shop("rest_for_one");
    assert_eq!(checkout(&ensemble)["cents"], 700);
    assert_eq!(checkout(&ensemble)["number"], 2);
    let refused = ensemble.fails(1, &["call", "gateway.cap", "checkout", "item=gold"]);
    assert!(refused.contains("there is no \"gold\""), "{refused}");

    let goods = ensemble.json(&["call", "gateway.cap", "goods", "--json"]);
    assert_eq!(goods["result"][2]["item"], "tea");

    let children = children(&ensemble);
    let paths: Vec<_> = children.iter().map(|child| text(&child["path"])).collect();
    assert_eq!(paths, PROGRAMS, "in start order");
    assert!(children.iter().all(|child| child["confinement"] != ""));
    let log = ensemble.ok(&["logs", "-n", "100"]);
    for line in [
        "shop/ledger: sale 2; 1400 cents taken",
        "shop/gateway/counter: customer 2 wants 2 of tea",
        "shop/worker: starts (attempt 0)",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
}

#[test]
fn rest_for_one_gives_those_that_started_later_a_reference_that_works() {
    let ensemble = shop("rest_for_one");
    assert_eq!(checkout(&ensemble)["number"], 1);
    let first = pids(&ensemble);
    let second = kill(&ensemble, "shop/ledger", &PROGRAMS);
    assert_eq!(checkout(&ensemble)["number"], 1, "another ledger");

    let third = kill(&ensemble, "shop/worker", &["shop/worker", "shop/gateway"]);
    assert_eq!(second["shop/ledger"], third["shop/ledger"]);
    assert_ne!(first["shop/ledger"], third["shop/ledger"]);
    assert_eq!(checkout(&ensemble)["number"], 2, "the same ledger");
    let restarts: Vec<_> = children(&ensemble)
        .iter()
        .map(|child| child["restarts"].as_u64().unwrap())
        .collect();
    assert_eq!(restarts, [1, 2, 2]);
}

#[test]
fn one_for_one_leaves_the_others_alone_and_their_references_broken() {
    let ensemble = shop("one_for_one");
    assert_eq!(checkout(&ensemble)["number"], 1);
    let before = pids(&ensemble);
    let after = kill(&ensemble, "shop/ledger", &["shop/ledger"]);
    for other in ["shop/worker", "shop/gateway"] {
        assert_eq!(before[other], after[other], "{other}");
    }
    // The worker's reference led to the process that was killed.
    ensemble.fails(6, &["call", "gateway.cap", "checkout", "item=tea"]);
    kill(&ensemble, "shop/worker", &["shop/worker"]);
    kill(&ensemble, "shop/gateway", &["shop/gateway"]);
    assert_eq!(checkout(&ensemble)["number"], 1);
}

#[test]
fn one_for_all_starts_all_again() {
    let ensemble = shop("one_for_all");
    assert_eq!(checkout(&ensemble)["number"], 1);
    kill(&ensemble, "shop/gateway", &PROGRAMS);
    assert_eq!(checkout(&ensemble)["number"], 1);
}

#[test]
fn a_program_whose_source_never_gets_ready_does_not_start_and_says_what_it_waited_for() {
    let ensemble = nothing_yet();
    let manifest = waiting_for_the_ledger(&ensemble, "1s");
    let stderr = ensemble.fails(125, &["up", "-d", manifest.to_str().unwrap()]);
    let reason = "shop/worker did not start: slot ledger (children.ledger.ledger): \
                  shop/ledger is not ready within 1s; it is starting";
    assert!(stderr.contains(reason), "{stderr}");
    let last_words = "shop/worker: did not start: slot ledger";
    assert!(stderr.contains(last_words), "{stderr}");
    ensemble.fails(3, &["ps"]);
}

#[test]
fn a_stop_ends_the_wait_for_a_source() {
    let ensemble = nothing_yet();
    let manifest = waiting_for_the_ledger(&ensemble, "60s");
    let arguments = ["up", manifest.to_str().unwrap()];
    let mut up = ensemble.vat(&arguments);
    let up = up.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let up = up.unwrap();
    let waits = ("shop/worker".to_owned(), "starts (attempt 0)".to_owned());
    let log = ensemble.path("state/vat/shop/log");
    eventually_built("the worker waits", || {
        (log.exists() && remarks(&ensemble).contains(&waits)).then_some(())
    });
    let asked = Instant::now();
    let pid = Pid::from_raw(i32::try_from(up.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = up.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{:?}", texts(&output));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    let told = ("shop/worker".to_owned(), NOT_WANTED.to_owned());
    assert!(
        remarks(&ensemble).contains(&told),
        "{:?}",
        remarks(&ensemble)
    );
}

/// A source that is ready only the first time, who is granted what it exposes, and one that has
/// nothing to do with either. They run, by this strategy.
fn source_that_falls_asleep(strategy: &str) -> Ensemble {
    let mut ensemble = Ensemble::new();
    let cargo = |bin: &str| {
        format!(
            "cargo = {{ folder = {:?}, package = \"vat-tests\", bin = {bin:?} }}\n",
            workspace()
        )
    };
    let (sleeper, keeper) = (cargo("sleeper"), cargo("keeper"));
    let wait = "start = { timeout = \"60s\" }\n";
    let text = format!(
        "manifest = 1\n[vat]\nname = \"asleep\"\n\
         [supervisor]\nstrategy = {strategy:?}\n\
         backoff = {{ initial = \"10ms\", max = \"10ms\" }}\n\
         intensity = {{ restarts = 100, within = \"60s\" }}\n\
         [use.home]\ntype = \"Directory\"\nrights = [\"read\", \"write\"]\n\
         [children.source]\n{sleeper}{wait}expose = {{ tally = \"vat-tests::Tally\" }}\n\
         use = {{ home = {{ type = \"Directory\", rights = [\"read\", \"write\"] }} }}\n\
         [children.source.grants]\nhome = \"use.home\"\n\
         [children.waits]\n{keeper}{wait}use = {{ tally = \"vat-tests::Tally\" }}\n\
         [children.waits.grants]\ntally = \"children.source.tally\"\n\
         [children.last]\n{keeper}stop = {{ grace = \"4s\" }}\n\
         [run.grants]\nhome = {{ dir = {:?}, rights = [\"read\", \"write\"] }}\n",
        ensemble.path("data")
    );
    let path = ensemble.path("asleep.vat.toml");
    std::fs::write(&path, text).unwrap();
    ensemble.started("asleep");
    ensemble.ok(&["up", "-d", path.to_str().unwrap()]);
    ensemble
}

fn signal(ensemble: &Ensemble, path: &str, signal: Signal) {
    let pid = i32::try_from(pids(ensemble)[path]).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// How often the launcher has said this of a program.
fn said(ensemble: &Ensemble, path: &str, message: &str) -> usize {
    let remarks = remarks_of(ensemble, "asleep");
    let same = |(from, said): &&(String, String)| from == path && said.contains(message);
    remarks.iter().filter(same).count()
}

const NOT_WANTED: &str = "did not start: it was told to end before it had its powers";

#[test]
fn whoever_waits_for_a_source_when_a_stop_begins_ends_before_its_turn_comes() {
    let ensemble = source_that_falls_asleep("one_for_one");
    signal(&ensemble, "asleep/source", Signal::KILL);
    eventually("the source starts again", || {
        (said(&ensemble, "asleep/source", "starts") == 2).then_some(())
    });
    signal(&ensemble, "asleep/waits", Signal::KILL);
    eventually("it waits", || {
        (said(&ensemble, "asleep/waits", "starts") == 2).then_some(())
    });
    // Whose turn is first takes all the time that it has.
    signal(&ensemble, "asleep/last", Signal::STOP);
    ensemble.ok(&["down", "asleep", "--yes"]);
    let remarks = remarks_of(&ensemble, "asleep");
    let at = |path: &str, message: &str| {
        let of = |(from, said): &(String, String)| from == path && said.contains(message);
        let at = remarks.iter().rposition(of);
        at.unwrap_or_else(|| panic!("{path}: {message}\n{remarks:#?}"))
    };
    let ended = at("asleep/waits", NOT_WANTED);
    assert!(ended < at("asleep/last", ""), "{remarks:#?}");
}

#[test]
fn a_restart_of_a_source_ends_the_wait_for_it() {
    let ensemble = source_that_falls_asleep("rest_for_one");
    for life in [2, 3] {
        signal(&ensemble, "asleep/source", Signal::KILL);
        eventually("both start again", || {
            let started = |path| said(&ensemble, path, "starts") == life;
            (started("asleep/source") && started("asleep/waits")).then_some(())
        });
    }
    assert_eq!(said(&ensemble, "asleep/waits", NOT_WANTED), 1);
}

/// As [`eventually`], for what comes after a build.
fn eventually_built<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn down_stops_in_reverse_order() {
    let ensemble = shop("one_for_one");
    let answer = ensemble.json(&["down", "shop", "--yes", "--json"]);
    assert_eq!(answer["stopped"].as_array().unwrap().len(), 3);
    let stopped: Vec<_> = remarks(&ensemble)
        .into_iter()
        .filter(|(_, message)| message == "stopped")
        .map(|(from, _)| from)
        .collect();
    assert_eq!(stopped, ["shop/gateway", "shop/worker", "shop/ledger"]);
}

#[test]
fn a_program_that_exposes_another_interface_than_its_manifest_says_is_given_up() {
    let ensemble = nothing_yet();
    let changes = [
        ("shop::Ledger", "shop::Diary"),
        (
            "strategy =",
            "intensity = { restarts = 0, within = \"1s\" }\nstrategy =",
        ),
    ];
    let manifest = manifest(&ensemble, &changes);
    let stderr = ensemble.fails(12, &["up", "-d", manifest.to_str().unwrap()]);
    let reason = "it exposes ledger as shop::Ledger; its manifest says shop::Diary";
    assert!(stderr.contains("gave up on shop/ledger"), "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
    assert!(
        !stderr.contains("shop/worker: "),
        "only its last words\n{stderr}"
    );
}

#[test]
fn an_ensemble_ends_with_the_last_program_that_is_not_started_again() {
    let changes = [("strategy = \"rest_for_one\"", "restart = \"temporary\"")];
    let ensemble = shop_with(&changes);
    let before = pids(&ensemble);
    for path in ["shop/worker", "shop/ledger"] {
        let pid = Pid::from_raw(i32::try_from(before[path]).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        eventually("it is shown as ended", || {
            let ended = |child: &Value| child["path"] == path && child["state"] == "ended";
            children(&ensemble).iter().any(ended).then_some(())
        });
    }
    assert_eq!(pids(&ensemble)["shop/gateway"], before["shop/gateway"]);
    let pid = Pid::from_raw(i32::try_from(before["shop/gateway"]).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("nothing runs any more", || {
        (ensemble.run(&["ps"]).status.code() == Some(3)).then_some(())
    });
}

#[test]
fn run_refuses_several_programs_and_says_what_to_type() {
    let ensemble = nothing_yet();
    let manifest = manifest(&ensemble, &[]);
    let stderr = ensemble.fails(2, &["run", manifest.to_str().unwrap()]);
    let up = format!("vat up {}", Path::display(&manifest));
    assert!(stderr.contains(&up), "{stderr}");
}
