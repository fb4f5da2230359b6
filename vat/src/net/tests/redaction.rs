//! Nothing that formats or logs shows a secret.

use std::{
    fmt::{Debug, Write},
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use super::{passing_pair, tls_pair};
use crate::{
    net::{Credentials, Stream},
    sturdy::{Address, Identity, Seed, SturdyRef, SwissNumber, reference_file},
};

const SEED: [u8; 32] = [0xb7; 32];
const SWISS: [u8; 16] = [0xd9; 16];

/// Every way in which the secrets may be spelled.
fn spellings() -> Vec<String> {
    let swiss = SwissNumber::from_bytes(SWISS);
    let key = *Seed::from_bytes(SEED).derive("identity").expose();
    let mut spellings = vec![swiss.to_text_with_secret().to_string()];
    for secret in [&SEED[..4], &SWISS[..4], &key[..4]] {
        spellings.push(data_encoding::HEXLOWER.encode(secret));
        spellings.push(format!("{secret:?}").trim_matches(['[', ']']).to_owned());
        spellings.push(format!("{secret:x?}").trim_matches(['[', ']']).to_owned());
        spellings.push(data_encoding::BASE64.encode(&secret[..3]));
    }
    spellings
}

fn assert_clean(text: &str) {
    for spelling in spellings() {
        assert!(!text.contains(&spelling), "{spelling} in {text}");
    }
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    for text in [
        format!("{SWISS:?}"),
        format!("{SEED:x?}"),
        SturdyRef::new(identity().id(), SwissNumber::from_bytes(SWISS), [])
            .unwrap()
            .to_uri_with_secret()
            .to_string(),
    ] {
        assert!(
            std::panic::catch_unwind(|| assert_clean(&text)).is_err(),
            "{text}"
        );
    }
}

fn identity() -> Identity {
    Identity::from_seed(&Seed::from_bytes(SEED))
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let credentials = Credentials::new(&identity()).unwrap();
    let swiss = SwissNumber::from_bytes(SWISS);
    let address = Address::tcp("example.com", 4000).unwrap();
    let sturdy_ref = SturdyRef::new(identity().id(), swiss.clone(), [address]).unwrap();
    let uri = sturdy_ref.to_uri_with_secret();
    let (mut passing, _passing) = passing_pair();
    passing.queue(uri.as_bytes(), Vec::new());
    passing.queue(&SEED, Vec::new());
    let ((mut tls, peer), _other) = tls_pair().await;
    tls.queue(uri.as_bytes(), Vec::new());
    tls.flush().await.unwrap();

    let seed = Seed::from_bytes(SEED);
    let shown: [&dyn Debug; 13] = [
        &seed,
        &seed.derive("identity"),
        &identity(),
        &swiss,
        &swiss.digest(),
        &sturdy_ref,
        &Some(sturdy_ref.clone()),
        &credentials,
        &credentials.acceptor(),
        &credentials.connector(identity().id()),
        &passing,
        &tls,
        &peer,
    ];
    let mut text = String::new();
    for value in shown {
        write!(text, "{value:?}\n{value:#?}\n").unwrap();
    }
    assert_clean(&text);
    assert!(text.contains(&identity().id().to_string()));
}

#[test]
fn no_log_record_shows_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(use_secrets());
        tracing::info!("the log is on");
    });
    let text = log.text();
    assert!(text.contains("the log is on"));
    assert_clean(&text);
}

/// Goes through everything that handles a secret.
async fn use_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.cap");
    let swiss = SwissNumber::from_bytes(SWISS);
    let sturdy_ref = SturdyRef::new(identity().id(), swiss, []).unwrap();
    reference_file::write(&path, &sturdy_ref).unwrap();
    tracing::info!(read = ?reference_file::read(&path).unwrap(), "read");
    std::fs::write(&path, format!("{}x", *sturdy_ref.to_uri_with_secret())).unwrap();
    let error = reference_file::read(&path).unwrap_err();
    tracing::warn!(err = %error, debug = ?error, "refused");

    let (left, right) = super::socket_pair();
    let credentials = Credentials::new(&identity()).unwrap();
    let (acceptor, connector) = (
        credentials.acceptor(),
        credentials.connector(identity().id()),
    );
    let (accepted, connected) = tokio::join!(
        Stream::accept_tls(left, Vec::new(), &acceptor),
        Stream::connect_tls(right, &connector),
    );
    tracing::info!(?accepted, ?connected, "connected");
}

/// What was logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
