//! What bad input gets from a running ensemble: a clear answer, and nothing lost.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vat::sturdy::{Address, SturdyRef, reference_file};

use crate::harness::{Ensemble, eventually};

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
    let other = vat::sturdy::Identity::from_seed(&vat::sturdy::Seed::generate().unwrap()).id();
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

/// Every way in that an ensemble has, as a stream.
trait Connection: std::io::Read + std::io::Write {}
impl Connection for TcpStream {}
impl Connection for UnixStream {}

fn ways_in(ensemble: &Ensemble, reference: &SturdyRef) -> Vec<Box<dyn Connection>> {
    let timeout = Some(Duration::from_secs(15));
    let mut ways: Vec<Box<dyn Connection>> = Vec::new();
    for address in reference.addresses() {
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), port.get())).unwrap();
                stream.set_read_timeout(timeout).unwrap();
                ways.push(Box::new(stream));
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path.as_path()).unwrap();
                stream.set_read_timeout(timeout).unwrap();
                ways.push(Box::new(stream));
            }
        }
    }
    let plain = UnixStream::connect(ensemble.path("guestbook.sock")).unwrap();
    plain.set_read_timeout(timeout).unwrap();
    ways.push(Box::new(plain));
    ways
}

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    let (ensemble, reference) = signed();
    let pid = ensemble.pid();
    let samples: [&[u8]; 5] = [
        &[0xff; 4096],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0; 4096],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff, 3, 3],
    ];
    for sample in samples {
        for mut way in ways_in(&ensemble, &reference) {
            drop(way.write_all(sample)); // it may be closed before it has read all
            let mut answer = Vec::new();
            // Closed by the other side: an end or a reset, in any case not our time limit.
            if let Err(error) = way.read_to_end(&mut answer) {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "{sample:02x?}"
                );
            }
        }
        assert_unharmed(&ensemble, pid);
    }
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
