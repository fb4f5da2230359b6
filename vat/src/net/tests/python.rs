//! Python's `ssl`, that is OpenSSL, as a caller.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use data_encoding::{BASE64, HEXLOWER};

use super::{Queued, credentials, identity};
use crate::{
    net::{HandshakeError, Listener, PeerInfo, Stream},
    sturdy::{Address, Seed},
};

/// Calls the vat, checks its key in the certificate, sends a word and prints the answer.
const CALLER: &str = r#"
import socket, ssl, sys
port, name, key, version, alpn, directory = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if version == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
if alpn:
    context.set_alpn_protocols([alpn])
if directory:
    context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
with socket.create_connection(("127.0.0.1", int(port))) as plain:
    with context.wrap_socket(plain, server_hostname=name) as tls:
        assert bytes.fromhex("302a300506032b6570032100" + key) in tls.getpeercert(True)
        assert tls.version() == "TLSv1.3"
        tls.sendall(b"hello")
        print(tls.recv(100).decode())
"#;

/// Writes the certificate and key of vat 2 as OpenSSL reads them.
pub(super) fn write_pem(directory: &Path) {
    let pem = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            BASE64.encode(der)
        )
    };
    let certificate = credentials(2).certificate().to_vec();
    std::fs::write(directory.join("cert.pem"), pem("CERTIFICATE", &certificate)).unwrap();
    // PKCS#8 version 1: OpenSSL 3.0 does not load version 2, which has the public key too.
    let mut key = HEXLOWER
        .decode(b"302e020100300506032b657004220420")
        .unwrap();
    key.extend(Seed::from_bytes([2; 32]).derive("identity").expose());
    std::fs::write(directory.join("key.pem"), pem("PRIVATE KEY", &key)).unwrap();
}

/// Lets Python call vat 1: what vat 1 says, and what Python prints, which is nothing if it fails.
async fn call(
    version: &str,
    alpn: &str,
    with_key: bool,
) -> (Result<PeerInfo, HandshakeError>, String) {
    let directory = tempfile::tempdir().unwrap();
    write_pem(directory.path());
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let Address::Tcp { port, .. } = listener.local_address().unwrap() else {
        panic!()
    };
    let id = identity(1).id();
    let mut command = Command::new("python3");
    command.args(["-c", CALLER, &port.to_string(), &id.to_string()]);
    command.args([&HEXLOWER.encode(id.as_bytes()), version, alpn]);
    command.arg(if with_key {
        directory.path()
    } else {
        Path::new("")
    });
    let python = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answer = async {
        let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
        let acceptor = credentials(1).acceptor();
        let (stream, peer) = Stream::accept_tls(socket, Vec::new(), &acceptor).await?;
        let mut stream = Queued::from(stream);
        let mut buffer = [0; 100];
        let count = stream.recv(&mut buffer).await.unwrap().bytes;
        stream.queue(&buffer[..count].to_ascii_uppercase(), Vec::new());
        stream.close().await.unwrap();
        Ok(peer)
    };
    let output = tokio::task::spawn_blocking(|| python.wait_with_output().unwrap());
    let (answer, output) = tokio::join!(answer, output);
    (answer, String::from_utf8(output.unwrap().stdout).unwrap())
}

#[tokio::test]
async fn python_can_call_a_vat() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3 here");
        return;
    }
    for alpn in ["vat/1", ""] {
        let (peer, printed) = call("1.3", alpn, true).await;
        let peer = peer.unwrap();
        assert_eq!(peer.id, identity(2).id());
        assert_eq!(peer.vat_protocol, alpn == "vat/1");
        assert_eq!(printed, "HELLO\n");
    }
    for (version, alpn, with_key) in [("1.2", "", true), ("1.3", "h2", true), ("1.3", "", false)] {
        let (peer, printed) = call(version, alpn, with_key).await;
        assert!(peer.is_err(), "{version} {alpn} {with_key}");
        assert_eq!(printed, "", "{version} {alpn} {with_key}");
    }
}
