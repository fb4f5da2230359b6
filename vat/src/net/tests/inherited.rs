//! The socket on descriptor 3, in a process of its own.

use std::{os::unix::net::UnixStream, process::Command};

use super::{Queued, drain};
use crate::net::Stream;

const ROLE: &str = "VAT_TEST_INHERITS";

#[tokio::test]
async fn the_inherited_socket_is_taken_once_and_only_if_it_is_one() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the child is this program once more"
    )]
    let role = std::env::var_os(ROLE);
    if let Some(role) = role {
        return inherit(role == "socket").await;
    }
    let name = "net::tests::inherited::the_inherited_socket_is_taken_once_and_only_if_it_is_one";
    let program = std::env::current_exe().unwrap();
    let start = |role: &str, input: std::process::Stdio| {
        Command::new("sh")
            .args(["-c", "exec \"$0\" --exact \"$1\" 3<&0 </dev/null"])
            .arg(&program)
            .arg(name)
            .env(ROLE, role)
            .stdin(input)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (own, inherited) = UnixStream::pair().unwrap();
    let child = start("socket", std::os::fd::OwnedFd::from(inherited).into());
    let mut stream = Queued::from(Stream::from_socketpair(own.into()).unwrap());
    assert_eq!(drain(&mut stream).await.unwrap(), b"from the child");
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let output = start("file", std::process::Stdio::null())
        .wait_with_output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// What the child does.
async fn inherit(is_socket: bool) {
    if !is_socket {
        let error = Stream::inherited().unwrap_err();
        assert!(error.to_string().contains("vat run"), "{error}");
        return;
    }
    let mut stream = Queued::from(Stream::inherited().unwrap());
    assert!(Stream::inherited().is_err(), "taken twice");
    assert!(stream.passes_descriptors());
    stream.queue(b"from the child", Vec::new());
    stream.close().await.unwrap();
}
