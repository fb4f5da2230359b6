//! Options of TCP sockets, wherever these come from.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::net::sockopt;

use crate::{
    net::{KEEPALIVE, KEEPALIVE_PROBES, Listener, Socket, dial},
    sturdy::Address,
};

/// Whether it is asked of the kernel to notice a peer that has vanished, and to send at once.
fn assert_tuned(socket: impl AsFd, from: &str) {
    assert!(sockopt::tcp_nodelay(&socket).unwrap(), "{from}");
    assert!(sockopt::socket_keepalive(&socket).unwrap(), "{from}");
    assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), KEEPALIVE, "{from}");
    assert_eq!(
        sockopt::tcp_keepintvl(&socket).unwrap(),
        KEEPALIVE,
        "{from}"
    );
    assert_eq!(
        sockopt::tcp_keepcnt(&socket).unwrap(),
        KEEPALIVE_PROBES,
        "{from}"
    );
    // Between the last probe and the one that would be next.
    let patience = Duration::from_millis(sockopt::tcp_user_timeout(&socket).unwrap().into());
    let last = KEEPALIVE * KEEPALIVE_PROBES;
    assert!(patience > last, "{from}: {patience:?}");
    assert!(patience < last + KEEPALIVE, "{from}: {patience:?}");
}

#[tokio::test]
async fn sockets_that_were_accepted_and_dialled_are_kept_alive() {
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address: Address = listener.local_address().unwrap();
    let (accepted, dialled) = tokio::join!(listener.accept(), dial(&address));
    assert_tuned(accepted.unwrap(), "accepted");
    assert_tuned(dialled.unwrap(), "dialled");
}

#[tokio::test]
async fn a_socket_that_was_passed_to_us_is_kept_alive_whoever_opened_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(!sockopt::socket_keepalive(&socket).unwrap(), "by itself");
    let passed = Socket::from_descriptor(OwnedFd::from(socket)).unwrap();
    assert_tuned(passed, "passed");
}
