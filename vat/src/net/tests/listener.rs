//! Listening, and finding a vat among several addresses.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use super::{credentials, drain, identity};
use crate::{
    net::{AttemptError, HandshakeError, Listener, Peer, Stream, dial},
    sturdy::{Address, UnixPath},
};

fn unix_path(path: &Path) -> UnixPath {
    UnixPath::new(path).unwrap()
}

#[tokio::test]
async fn a_unix_socket_is_closed_to_others_and_goes_away_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let listener = Listener::bind_unix(&unix_path(&path)).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        listener.local_address().unwrap(),
        Address::unix(&path).unwrap()
    );
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_left_by_a_crash_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the standard library leaves the file behind");
    let first = Listener::bind_unix(&unix_path(&path)).unwrap();
    let error = Listener::bind_unix(&unix_path(&path)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}");
    drop(first);
    assert!(Listener::bind_unix(&unix_path(&path)).is_ok());
}

#[tokio::test]
async fn a_listener_does_not_remove_the_socket_of_its_successor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let first = Listener::bind_unix(&unix_path(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = Listener::bind_unix(&unix_path(&path)).unwrap();
    drop(first);
    assert!(path.exists());
}

#[tokio::test]
async fn files_and_links_in_the_way_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let link = directory.path().join("link");
    symlink(&stale, &link).unwrap();
    for path in [&file, &link] {
        let error = Listener::bind_unix(&unix_path(path)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(stale.exists() && link.exists());
}

#[tokio::test]
async fn a_local_caller_of_the_same_user_is_known_by_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let path = unix_path(&directory.path().join("a.sock"));
    let listener = Listener::bind_unix(&path).unwrap();
    let dialled = dial(&Address::Unix(path)).await.unwrap();
    let socket = listener.accept().await.unwrap();
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(socket.peer().unwrap(), Peer::User(own));
    socket.check_same_user().unwrap();
    let stream = Stream::plain(socket).unwrap();
    rustix::io::write(&dialled, b"hello").unwrap();
    drop(dialled);
    assert_eq!(
        drain(&mut super::Queued::from(stream)).await.unwrap(),
        b"hello"
    );
}

#[tokio::test]
async fn a_local_caller_of_another_user_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let listener = Listener::bind_unix(&unix_path(&path)).unwrap();
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(&path, everybody.clone()).unwrap();
    fs::set_permissions(directory.path(), everybody).unwrap();
    // Only root can become somebody else, and only root can run this.
    let connect = "import os, socket, sys; os.setuid(4242); \
        socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let caller = Command::new("python3")
        .args(["-c", connect])
        .arg(&path)
        .status();
    if !caller.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this needs root and python3");
        return;
    }
    let error = listener
        .accept()
        .await
        .unwrap()
        .check_same_user()
        .unwrap_err();
    assert!(error.to_string().contains("user 4242"), "{error}");
}

#[tokio::test]
async fn a_vat_is_found_behind_addresses_where_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let right = unix_path(&directory.path().join("right.sock"));
    let listener = Listener::bind_unix(&right).unwrap();
    // Somebody listens here and never answers, which costs the head start and no more.
    let silent = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let addresses = [
        Address::unix(directory.path().join("missing.sock")).unwrap(),
        silent.local_address().unwrap(),
        Address::Unix(right),
    ];
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let accept = async {
        let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
        Stream::accept_tls(socket, Vec::new(), &acceptor)
            .await
            .unwrap()
    };
    let begin = std::time::Instant::now();
    let (_, connected) = tokio::join!(accept, Stream::connect(&addresses, &connector));
    assert_eq!(connected.unwrap().1.id, identity(1).id());
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_vat_that_is_nowhere_is_reported_with_every_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Address::unix(directory.path().join("missing.sock")).unwrap();
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let other = listener.local_address().unwrap();
    let addresses = [missing.clone(), other.clone()];
    // Vat 3 is at the second address, and knows that it is not the one that is wanted.
    let (acceptor, connector) = (
        credentials(3).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let accept = async {
        let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
        Stream::accept_tls(socket, Vec::new(), &acceptor)
            .await
            .unwrap_err()
    };
    let (_, connected) = tokio::join!(accept, Stream::connect(&addresses, &connector));
    let error = connected.unwrap_err();
    let [
        (first, AttemptError::Dial(_)),
        (second, AttemptError::Handshake(refusal)),
    ] = &error.attempts[..]
    else {
        panic!("{error:?}")
    };
    assert_eq!((first, second), (&missing, &other));
    assert!(matches!(refusal, HandshakeError::Refused(_)), "{refusal}");
    let text = error.to_string();
    assert!(text.starts_with(&format!(
        "vat {} cannot be reached: {missing}: ",
        identity(1).id()
    )));

    let error = Stream::connect(&[], &connector).await.unwrap_err();
    assert!(error.to_string().contains("no address"), "{error}");
}

#[tokio::test]
async fn names_are_looked_up() {
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let Address::Tcp { port, .. } = listener.local_address().unwrap() else {
        panic!()
    };
    let address = Address::tcp("localhost", port.get()).unwrap();
    let (dialled, accepted) = tokio::join!(dial(&address), listener.accept());
    assert!(dialled.is_ok());
    assert!(matches!(
        accepted.unwrap().peer().unwrap(),
        Peer::Network(_)
    ));
}

/// Set in the process in which a test runs alone.
const OWN_PROCESS: &str = "VAT_TEST_OWN_PROCESS";

/// Runs a test alone in a process of its own. There the answer is true; in the calling process,
/// which has waited for it to pass, false.
#[expect(
    clippy::disallowed_methods,
    reason = "by its environment the process knows which one it is"
)]
fn in_own_process(test: &str) -> bool {
    if std::env::var_os(OWN_PROCESS).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(OWN_PROCESS, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// From now on, this process can open nothing.
fn allow_no_descriptors() -> rustix::process::Rlimit {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    before
}

#[test]
fn without_descriptors_callers_wait_and_are_accepted_later() {
    use rustix::process::{Resource, setrlimit};
    use std::{net::TcpStream, time::Duration};

    let own = "net::tests::listener::without_descriptors_callers_wait_and_are_accepted_later";
    if !in_own_process(own) {
        return;
    }
    let log = super::redaction::Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let accept = async {
        let any_port = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind_tcp(any_port).await.unwrap();
        let Address::Tcp { port, .. } = listener.local_address().unwrap() else {
            panic!("a TCP address");
        };
        let dial = || TcpStream::connect(("127.0.0.1", port.get())).unwrap();
        let _callers: Vec<_> = (0..3).map(|_| dial()).collect();
        let before = allow_no_descriptors();
        let early = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
        assert!(early.is_err(), "{early:?}");
        setrlimit(Resource::Nofile, before).unwrap();
        for _ in 0..3 {
            let accepted = tokio::time::timeout(Duration::from_secs(1), listener.accept());
            drop(accepted.await.unwrap().unwrap());
        }
    };
    tracing::subscriber::with_default(subscriber, || runtime.block_on(accept));
    let text = log.text();
    assert_eq!(text.matches("callers have to wait").count(), 1, "{text}");
}
