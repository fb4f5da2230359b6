//! pycapnp, the C++ implementation, in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;

use super::guestbook::has_pycapnp;
use super::ours::{Ours, PeerRef, within};
use super::transport::{
    Listening, OURS, Place, THEIRS, Transport, accepted, accepted_with, connected, run,
};
use crate::harness::{python, workspace};

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// The other side, with what it needs to know.
fn command(what: &str, place: &Place, directory: &Path) -> Command {
    let file = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut command = Command::new(python());
    command
        .arg(workspace().join("tests/python/peer.py"))
        .arg(workspace().join("tests/it/interop/peer.capnp"))
        .arg(what);
    match place {
        Place::Unix(path) => command.arg("unix").arg(path),
        Place::Tcp(port) => command
            .args(["tls", &port.to_string(), &OURS.id().to_string()])
            .args([
                file(
                    "trusted.pem",
                    pem("CERTIFICATE", OURS.credentials().certificate()),
                ),
                file(
                    "own.pem",
                    pem("CERTIFICATE", THEIRS.credentials().certificate()),
                ),
                file("own.key", pem("PRIVATE KEY", &THEIRS.key())),
            ]),
    };
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill()); // it may have ended
        drop(self.0.wait());
    }
}

impl Process {
    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().unwrap())
    }
}

/// Where nobody listens yet.
fn free_place(transport: Transport, directory: &Path) -> Place {
    match Listening::new(transport, directory).place() {
        Place::Unix(path) => {
            std::fs::remove_file(&path).unwrap();
            Place::Unix(path)
        }
        tcp @ Place::Tcp(_) => tcp,
    }
}

fn we_call(transport: Transport) {
    if !has_pycapnp() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = free_place(transport, directory.path());
    let serving = command("serve", &place, directory.path()).spawn().unwrap();
    let mut process = Process(serving);
    let mut line = String::new();
    process.stdout().read_line(&mut line).unwrap();
    assert_eq!(line, "listens\n");
    run(async {
        let ours = Ours::new();
        let connection = connected(&ours, &place).await;
        let peer = PeerRef::from(connection.bootstrap().unwrap());
        ours.call(&peer, false).await;
        ours.lose(peer, connection, || process.0.kill().unwrap())
            .await;
    });
}

/// What the script prints when it went through everything.
const ALL: &str = "calls\nreferences\npromises\nlate\nembargo\ncancel\nexceptions\nlarge\nmade\n\
                   kept\nleave\nleave\n";

fn they_call(transport: Transport) {
    if !has_pycapnp() {
        return;
    }
    for (last, expected) in [("", ALL), ("too-large", "too large: ")] {
        let directory = tempfile::tempdir().unwrap();
        let listening = Listening::new(transport, directory.path());
        let mut calling = command("call", &listening.place(), directory.path());
        let mut process = Process(calling.arg(last).spawn().unwrap());
        let mut stdout = process.stdout();
        run(async {
            let ours = Ours::new();
            let connection = accepted(&ours, listening.accept(), transport).await;
            connection.gone().await;
            within("the end", async {
                ours.has_objects(1).await;
                assert_eq!(ours.root.echo(1).await.unwrap(), 2);
            })
            .await;
        });
        let mut printed = String::new();
        stdout.read_to_string(&mut printed).unwrap();
        assert!(printed.starts_with(expected), "{printed}");
        assert!(process.0.wait().unwrap().success());
    }
}

/// A promise of ours that pycapnp has called becomes its own object, while those calls still wait
/// here: what it calls afterwards must not overtake them.
fn they_call_what_becomes_theirs(transport: Transport) {
    if !has_pycapnp() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let listening = Listening::new(transport, directory.path());
    let mut calling = command("call", &listening.place(), directory.path());
    let mut process = Process(calling.arg("embargo").spawn().unwrap());
    let mut stdout = process.stdout().lines().map(Result::unwrap);
    run(async {
        let ours = Ours::new();
        // Two calls at a time: others wait, and with them what was sent after them.
        let limits = captp::Limits::default().with_answers_soft(2);
        let connection = accepted_with(&ours, listening.accept(), transport, limits).await;
        ours.waits_for(1, 2).await;
        ours.settle_later();
        ours.waits_for(0, 2).await;
        assert_eq!(stdout.next().unwrap(), "it is ours");
        // Its Disembargo is here by now, and waits behind the calls.
        tokio::time::sleep(Duration::from_millis(200)).await;
        ours.root.settle(ours.root.clone()).await.unwrap();
        connection.gone().await;
    });
    let rest: Vec<String> = stdout.collect();
    assert_eq!(rest, ["in order"]);
    assert!(process.0.wait().unwrap().success());
}

#[test]
fn what_pycapnp_calls_when_a_promise_is_its_own_waits_for_its_earlier_calls() {
    they_call_what_becomes_theirs(Transport::Unix);
}

#[test]
fn what_pycapnp_calls_when_a_promise_is_its_own_waits_for_its_earlier_calls_over_tls() {
    they_call_what_becomes_theirs(Transport::Tls);
}

#[test]
fn we_call_pycapnp_over_a_unix_socket() {
    we_call(Transport::Unix);
}

#[test]
fn we_call_pycapnp_over_tls() {
    we_call(Transport::Tls);
}

#[test]
fn pycapnp_calls_us_over_a_unix_socket() {
    they_call(Transport::Unix);
}

#[test]
fn pycapnp_calls_us_over_tls() {
    they_call(Transport::Tls);
}
