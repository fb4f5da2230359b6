//! The main job: a confined, supervised guestbook that is killed again and again and loses nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Ensemble, eventually, texts};

#[test]
fn a_reference_file_keeps_working_when_the_vat_and_the_launcher_were_restarted() {
    let mut ensemble = Ensemble::new();
    let cap = ensemble.up();
    let before = std::fs::read(&cap).unwrap();
    assert_eq!(
        ensemble.ok(&["call", "guestbook.cap", "sign", "name=Ann", "text=hello"]),
        "1\n"
    );

    kill(&ensemble);
    assert_eq!(
        ensemble.ok(&["call", "guestbook.cap", "sign", "name=Bob", "text=hi"]),
        "2\n"
    );

    ensemble.ok(&["down", "guestbook", "--yes"]);
    ensemble.fails(6, &["call", "guestbook.cap", "page"]);
    ensemble.up();
    assert_eq!(
        std::fs::read(&cap).unwrap(),
        before,
        "the reference is the same"
    );
    let page = ensemble.json(&["call", "guestbook.cap", "page", "--json"]);
    let names: Vec<_> = page["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["name"])
        .collect();
    assert_eq!(names, ["Ann", "Bob"]);
    let status = ensemble.json(&["ps", "--json"]);
    let child = &status["children"][0];
    assert!(
        ["L2", "L3"].contains(&child["confinement"].as_str().unwrap()),
        "{child}"
    );
}

/// Three processes sign while the vat is killed 100 times, twice a second at most.
#[test]
fn every_acknowledged_entry_is_there_once_after_100_kills() {
    let mut ensemble = Ensemble::new();
    ensemble.up();
    let ensemble = &ensemble;
    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        for signer in ["Ann", "Bob", "Cyd"] {
            let (acknowledged, done) = (acknowledged.clone(), done.clone());
            scope.spawn(move || sign_until(ensemble, signer, &done, &acknowledged));
        }
        for _ in 0..100 {
            kill(ensemble);
            std::thread::sleep(Duration::from_millis(500));
        }
        done.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.lock().unwrap();
    assert!(
        acknowledged.len() >= 100,
        "only {} were acknowledged",
        acknowledged.len()
    );
    let page = ensemble.json(&["call", "guestbook.cap", "page", "--json"]);
    let entries = page["result"].as_array().unwrap();
    let text = |entry: &serde_json::Value| entry["text"].as_str().unwrap().to_owned();
    for (number, signed) in acknowledged.iter() {
        let index = usize::try_from(number - 1).unwrap();
        assert_eq!(&text(&entries[index]), signed, "entry {number}");
    }
    let mut all: Vec<String> = entries.iter().map(text).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "an entry is there twice");
    let restarts = ensemble.json(&["ps", "--json"])["children"][0]["restarts"]
        .as_u64()
        .unwrap();
    assert!(restarts >= 100, "restarts: {restarts}");
}

/// Signs one entry after the other; what was answered is remembered with its number.
fn sign_until(
    ensemble: &Ensemble,
    signer: &str,
    done: &AtomicBool,
    acknowledged: &Mutex<BTreeMap<u64, String>>,
) {
    for n in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let text = format!("{signer}-{n}");
        let arguments = [
            "call",
            "guestbook.cap",
            "sign",
            &format!("name={signer}"),
            &format!("text={text}"),
        ];
        let output = ensemble.run(&arguments);
        let (stdout, stderr) = texts(&output);
        match output.status.code() {
            Some(0) => {
                let number = stdout.trim().parse().unwrap();
                let other = acknowledged.lock().unwrap().insert(number, text);
                assert_eq!(other, None, "number {number} was given twice");
            }
            Some(6) => {}
            code => panic!("{code:?}: {stdout}{stderr}"),
        }
    }
}

/// Kills the guestbook's present process and waits until that process is gone.
fn kill(ensemble: &Ensemble) {
    let pid = eventually("there is a process to kill", || {
        Some(ensemble.pid()).filter(|pid| *pid != 0)
    });
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    eventually("the process is gone", || {
        rustix::process::test_kill_process(pid)
            .is_err()
            .then_some(())
    });
}

#[test]
fn a_program_that_crashes_at_once_is_given_up_and_the_command_says_so() {
    let ensemble = Ensemble::new();
    let manifest = ensemble.path("false.vat.toml");
    let text = format!(
        "manifest = 1\n[vat]\nname = \"crasher\"\n[program]\n\
         cargo = {{ folder = {:?}, package = \"vat-tests\", bin = \"crasher\" }}\n\
         [supervisor]\nbackoff = {{ initial = \"1ms\", max = \"1ms\" }}\n",
        crate::harness::workspace()
    );
    std::fs::write(&manifest, text).unwrap();
    let stderr = ensemble.fails(12, &["up", manifest.to_str().unwrap()]);
    assert!(
        stderr.contains("gave up on crasher: more than 3 restarts"),
        "{stderr}"
    );
}
