//! Programs in other languages: pycapnp as a client of the guestbook.

use std::io::Write as _;
use std::process::{Command, Stdio};

use vat::sturdy::{Address, reference_file};

use crate::harness::{Ensemble, python, texts, workspace};

/// What `tests/python/guestbook.py` prints when everything worked.
const WORKED: &str = "call: True\ncallback: called\nobject: returned and called\n\
                      pipelined: answered\npage: read\nexception: FAILED\n";

/// Whether there is a Python with pycapnp. In CI there must be one; elsewhere its absence is said.
pub(super) fn has_pycapnp() -> bool {
    let probe = Command::new(python()).args(["-c", "import capnp"]).output();
    let found = probe.is_ok_and(|output| output.status.success());
    assert!(
        found || std::env::var_os("CI").is_none(),
        "CI needs pycapnp"
    );
    if !found {
        println!("not proven: there is no Python with pycapnp (.ci/run installs it)");
    }
    found
}

/// Runs the Python client against a fresh guestbook.
fn python_client(ensemble: &Ensemble, arguments: &[&str], stdin: &str) -> String {
    let schema = ensemble.path("guestbook.capnp");
    std::fs::write(&schema, ensemble.ok(&["schema", "guestbook.cap"])).unwrap();
    let mut client = Command::new(python())
        .arg(workspace().join("tests/python/guestbook.py"))
        .arg(&schema)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = client.wait_with_output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout
}

#[test]
fn pycapnp_uses_the_guestbook_over_the_plain_unix_socket() {
    if !has_pycapnp() {
        return;
    }
    let mut ensemble = Ensemble::new();
    ensemble.up();
    let socket = ensemble.path("guestbook.sock");
    let printed = python_client(&ensemble, &["unix", socket.to_str().unwrap()], "");
    assert_eq!(printed, WORKED);
}

#[test]
fn pycapnp_uses_the_guestbook_over_tls_through_the_restorer() {
    if !has_pycapnp() {
        return;
    }
    let mut ensemble = Ensemble::new();
    let cap = ensemble.up();
    let reference = reference_file::read(&cap).unwrap();
    let Some(Address::Tcp { host, port }) = reference.addresses().first() else {
        panic!("the first address is not TCP: {reference:?}");
    };
    let (certificate, key) = (ensemble.path("client.pem"), ensemble.path("client.key"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", texts(&made).1);
    let arguments = [
        "tls",
        host.as_str(),
        &port.to_string(),
        &reference.vat().to_string(),
        certificate.to_str().unwrap(),
        key.to_str().unwrap(),
    ];
    let swiss: String = reference
        .swiss()
        .expose()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let printed = python_client(&ensemble, &arguments, &format!("{swiss}\n"));
    assert_eq!(printed, format!("invented: refused\n{WORKED}"));
}
