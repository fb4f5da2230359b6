//! What bad input gets from a running ensemble: a clear answer, and nothing lost.

use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_capnp::message;
use rustix::net::sockopt::Timeout;
use tokio::time::timeout;
use vat::net::{Credentials, Stream};
use vat::sturdy::{Address, Identity, Seed, SturdyRef, reference_file};

use crate::harness::{Ensemble, eventually, run};

/// A guestbook with one entry, and the addresses of its reference.
fn signed() -> (Ensemble, SturdyRef) {
    let mut ensemble = Ensemble::new();
    let cap = ensemble.up();
    ensemble.ok(&["call", "guestbook.cap", "sign", "name=Ann", "text=hello"]);
    (ensemble, reference_file::read(&cap).unwrap())
}

/// The entry is still there, in the same process as before.
fn assert_unharmed(ensemble: &Ensemble, pid: i32) {
    let page = ensemble.json(&["call", "guestbook.cap", "page", "--json"]);
    assert_eq!(page["result"][0]["name"], "Ann");
    assert_eq!(ensemble.pid(), pid, "the vat was restarted");
}

/// Writes a variant of the guestbook's reference file and calls through it.
fn call_with_uri(ensemble: &Ensemble, uri: &str, code: i32) -> String {
    let path = ensemble.path("refs/changed.cap");
    std::fs::write(&path, uri).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    ensemble.fails(code, &["call", "changed.cap", "page"])
}

#[test]
fn a_reference_file_that_others_can_read_is_refused() {
    let (ensemble, _) = signed();
    let path = ensemble.path("refs/guestbook.cap");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let stderr = ensemble.fails(2, &["call", "guestbook.cap", "page"]);
    assert!(stderr.contains("chmod 600"), "{stderr}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    ensemble.ok(&["call", "guestbook.cap", "page"]);
}

#[test]
fn a_raw_uri_in_argv_is_refused_without_repeating_it() {
    let (ensemble, reference) = signed();
    let uri = reference.to_uri_with_secret();
    let stderr = ensemble.fails(2, &["call", &uri, "page"]);
    assert!(stderr.contains("reference file"), "{stderr}");
    assert!(
        !stderr.contains(uri.rsplit('/').next().unwrap()),
        "the secret was printed"
    );
}

#[test]
fn a_wrong_swiss_number_is_denied_and_another_vat_id_is_not_reached() {
    let (ensemble, reference) = signed();
    let pid = ensemble.pid();
    let uri = reference.to_uri_with_secret();
    let swiss = reference.swiss().to_text_with_secret();
    let flip = |c: char| if c == 'a' { 'b' } else { 'a' };
    let first = swiss.chars().next().unwrap();
    let wrong = swiss.replacen(first, &flip(first).to_string(), 1);
    let stderr = call_with_uri(&ensemble, &uri.replace(swiss.as_str(), &wrong), 5);
    assert!(stderr.contains("no such reference"), "{stderr}");
    let id = reference.vat().to_string();
    // Some changes give no valid key; those that do name a vat that is not here.
    let other = Identity::from_seed(&Seed::generate().unwrap()).id();
    let stderr = call_with_uri(&ensemble, &uri.replace(&id, &other.to_string()), 6);
    assert!(!stderr.contains(swiss.as_str()), "{stderr}");
    assert_unharmed(&ensemble, pid);
}

#[test]
fn a_method_or_argument_that_does_not_exist_or_has_the_wrong_type_is_named() {
    let (ensemble, _) = signed();
    let pid = ensemble.pid();
    let cases: [(i32, &[&str], &str); 5] = [
        (4, &["singn", "name=Ann", "text=x"], "sign"),
        (2, &["sign", "name=Ann", "txt=x"], "text"),
        (2, &["sign", "name=Ann"], "text"),
        (2, &["page", "from=first"], "from"),
        (2, &["page", "from=-1"], "from"),
    ];
    for (code, arguments, hint) in cases {
        let stderr = ensemble.fails(code, &[&["call", "guestbook.cap"], arguments].concat());
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
    assert_unharmed(&ensemble, pid);
}

#[test]
fn the_callees_error_is_exit_code_1() {
    let (ensemble, _) = signed();
    let stderr = ensemble.fails(1, &["call", "guestbook.cap", "sign", "name=", "text=x"]);
    assert!(stderr.contains("name is empty"), "{stderr}");
}

/// Every way in that an ensemble has: those on which TLS is spoken, and the plain socket.
fn ways_in(ensemble: &Ensemble, reference: &SturdyRef) -> Vec<File> {
    let mut ways = tls_ways_in(reference);
    ways.push(plain_way_in(ensemble));
    ways
}

fn tls_ways_in(reference: &SturdyRef) -> Vec<File> {
    let way_in = |address: &Address| {
        let socket = match address {
            Address::Tcp { host, port } => {
                OwnedFd::from(TcpStream::connect((host.as_str(), port.get())).unwrap())
            }
            Address::Unix(path) => UnixStream::connect(path.as_path()).unwrap().into(),
        };
        patient(socket)
    };
    let ways: Vec<_> = reference.addresses().iter().map(way_in).collect();
    assert_eq!(ways.len(), 2, "TCP and a Unix socket");
    ways
}

/// The socket for programs that speak Cap'n Proto alone.
fn plain_way_in(ensemble: &Ensemble) -> File {
    let socket = UnixStream::connect(ensemble.path("guestbook.sock")).unwrap();
    patient(socket.into())
}

/// Reading from it takes so long at most.
fn patient(socket: OwnedFd) -> File {
    let limit = Some(Duration::from_secs(15));
    rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Recv, limit).unwrap();
    socket.into()
}

/// What no peer may send first, and what is wrong with it.
fn garbage() -> [(Vec<u8>, &'static str); 5] {
    // Some bytes of a message that is far too large: the rest is not waited for.
    let large = [&[0, 0, 0, 0, 0, 0, 0, 0x10][..], &[7; 1 << 16]].concat();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    [
        (vec![0xff; 4096], "segment table names"),
        (request.to_vec(), "segment table names"),
        (
            vec![0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            "segment table names",
        ),
        (large, "message of 2147483648 bytes is above the limit of"),
        (call_of_export(77), UNKNOWN_EXPORT),
    ]
}

const UNKNOWN_EXPORT: &str = "export 77 does not exist";

/// A well-formed call to what nobody was given.
fn call_of_export(id: u32) -> Vec<u8> {
    let mut built = capnp::message::Builder::new_default();
    let call = built.init_root::<message::Builder<'_>>().init_call();
    call.init_target().set_imported_cap(id);
    capnp::serialize::write_message_to_words(&built)
}

/// Where there was no handshake there is nobody to tell: it ends with an alert of TLS, or nothing.
#[test]
fn garbage_before_the_handshake_ends_its_connection_and_nothing_else() {
    let (ensemble, reference) = signed();
    let pid = ensemble.pid();
    let hello = [0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff, 3, 3];
    let samples = garbage().into_iter().map(|(sample, _)| sample);
    for sample in samples.chain([vec![0; 4096], hello.to_vec()]) {
        for mut way in tls_ways_in(&reference) {
            let answer = answer_to(&mut way, &sample);
            assert!(
                matches!(*answer, [] | [0x15, 3, 3, 0, 2, ..]),
                "{answer:02x?}"
            );
        }
        assert_unharmed(&ensemble, pid);
    }
}

/// What comes until the other side closes, after these bytes.
fn answer_to(way: &mut File, sample: &[u8]) -> Vec<u8> {
    drop(way.write_all(sample)); // it may be closed before it has read all
    let mut answer = Vec::new();
    // An end or a reset, in any case not our time limit.
    if let Err(error) = way.read_to_end(&mut answer) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "{sample:02x?}");
    }
    answer
}

#[test]
fn garbage_on_a_plain_socket_is_answered_with_an_abort_that_says_what_is_wrong() {
    let (ensemble, _) = signed();
    let pid = ensemble.pid();
    for (sample, wrong) in garbage() {
        let mut way = plain_way_in(&ensemble);
        assert_abort(&answer_to(&mut way, &sample), wrong);
        assert_unharmed(&ensemble, pid);
    }
}

#[test]
fn garbage_after_the_handshake_is_answered_with_an_abort_that_says_what_is_wrong() {
    let (ensemble, reference) = signed();
    let pid = ensemble.pid();
    run(async {
        for (sample, wrong) in garbage() {
            let wrong = match wrong {
                UNKNOWN_EXPORT => "expected a hello as the first message",
                wrong => wrong,
            };
            for way in tls_ways_in(&reference) {
                let identity = Identity::from_seed(&Seed::generate().unwrap());
                let connector = Credentials::new(&identity)
                    .unwrap()
                    .connector(reference.vat());
                let (mut stream, _) = Stream::connect_tls(way.into(), &connector).await.unwrap();
                let answer = answer_on(&mut stream, &sample).await;
                assert_abort(&answer, wrong);
            }
            assert_unharmed(&ensemble, pid);
        }
    });
}

/// The same on an encrypted stream.
async fn answer_on(stream: &mut Stream, sample: &[u8]) -> Vec<u8> {
    let mut sent = 0;
    while sent < sample.len() {
        match poll_fn(|cx| stream.poll_send(cx, &sample[sent..], &[])).await {
            Ok(count) => sent += count,
            Err(_) => break, // it may be closed before it has read all
        }
    }
    drop(poll_fn(|cx| stream.poll_flush(cx)).await);
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let received = timeout(Duration::from_secs(15), stream.recv(&mut piece));
        match received.await.unwrap() {
            Ok(received) if received.bytes > 0 => answer.extend(&piece[..received.bytes]),
            Ok(_) | Err(_) => return answer,
        }
    }
}

/// The last message is an Abort with this in its reason.
fn assert_abort(answer: &[u8], wrong: &str) {
    let mut rest = answer;
    let mut last = None;
    while !rest.is_empty() {
        last = Some(capnp::serialize::read_message(&mut rest, ReaderOptions::new()).unwrap());
    }
    let last = last.unwrap_or_else(|| panic!("nothing came, no {wrong:?}"));
    let message: message::Reader<'_> = last.get_root().unwrap();
    let Ok(message::Abort(reason)) = message.which() else {
        panic!("no Abort with {wrong:?}: {answer:02x?}")
    };
    let reason = reason.unwrap().get_reason().unwrap().to_str().unwrap();
    assert!(reason.contains(wrong), "{reason}");
    assert!(reason.starts_with("protocol error: "), "{reason}");
}

#[test]
fn half_a_message_and_silence_hold_nobody_up() {
    let (ensemble, reference) = signed();
    let pid = ensemble.pid();
    let mut open = Vec::new();
    for _ in 0..20 {
        for mut way in ways_in(&ensemble, &reference) {
            drop(way.write_all(&[0x16, 3, 1]));
            open.push(way);
        }
    }
    let begin = Instant::now();
    assert_unharmed(&ensemble, pid);
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    drop(open);
    assert_unharmed(&ensemble, pid);
}

#[test]
fn a_caller_that_is_killed_in_the_middle_of_a_call_harms_nobody() {
    let (ensemble, _) = signed();
    let pid = ensemble.pid();
    for _ in 0..10 {
        let arguments = ["call", "guestbook.cap", "sign", "name=Bob", "text=unheard"];
        let mut caller = ensemble.vat(&arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(3));
        caller.kill().unwrap();
        caller.wait().unwrap();
    }
    assert_unharmed(&ensemble, pid);
}

#[test]
fn a_second_launcher_of_the_same_ensemble_is_refused() {
    let (ensemble, _) = signed();
    let pid = ensemble.pid();
    let manifest = ensemble.path("guestbook.vat.toml");
    let stderr = ensemble.fails(1, &["up", "-d", manifest.to_str().unwrap()]);
    assert!(stderr.contains("already running"), "{stderr}");
    assert_unharmed(&ensemble, pid);
}

#[test]
fn a_full_disk_fails_the_call_and_leaves_earlier_entries_intact() {
    if !rustix::process::geteuid().is_root() {
        println!("not proven: mounting a small tmpfs needs root");
        return;
    }
    let mut ensemble = Ensemble::new();
    let data = ensemble.path("data");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k,mode=700", "tmpfs"])
        .arg(&data)
        .status()
        .unwrap();
    assert!(mounted.success());
    let unmount = Unmount(data);
    ensemble.up();
    let text = "x".repeat(3000);
    let mut signed = 0;
    let stderr = loop {
        let arguments = [
            "call",
            "guestbook.cap",
            "sign",
            "name=Ann",
            &format!("text={signed}{text}"),
        ];
        let output = ensemble.run(&arguments);
        match output.status.code() {
            Some(0) => signed += 1,
            Some(1) => break String::from_utf8(output.stderr).unwrap(),
            code => panic!("{code:?}: {}", crate::harness::texts(&output).1),
        }
        assert!(signed < 10, "the disk never filled up");
    };
    assert!(
        stderr.contains("full") || stderr.contains("No space"),
        "{stderr}"
    );
    assert!(signed >= 2);
    // A short entry still fits, now and after a restart; the long ones are all there.
    ensemble.ok(&["call", "guestbook.cap", "sign", "name=Bob", "text=short"]);
    ensemble.ok(&["down", "guestbook", "--yes"]);
    ensemble.up();
    let page = ensemble.json(&["call", "guestbook.cap", "page", "--json"]);
    let entries = page["result"].as_array().unwrap();
    assert_eq!(entries.len(), signed + 1);
    for (n, entry) in entries.iter().take(signed).enumerate() {
        assert_eq!(entry["text"], format!("{n}{text}"));
    }
    eventually("the ensemble is down", || {
        ensemble
            .run(&["down", "guestbook", "--yes"])
            .status
            .success()
            .then_some(())
    });
    drop(ensemble);
    drop(unmount);
}

/// Unmounts when dropped.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
        drop(unmounted);
    }
}
