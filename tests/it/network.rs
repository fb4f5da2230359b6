//! The `Network` power: a confined program reaches other vats with it, only where it leads, and
//! nothing without it.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::join_all;
use vat::launch::build::Builder;
use vat::launch::confine::SealedProgram;
use vat::launch::launcher::{Launcher, Options};
use vat::launch::manifest::{self, Manifest, Source};
use vat::launch::places::Places;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Listener, Peers, Stream};
use vat::power::ChildState;
use vat::prelude::*;
use vat::sturdy::{
    Address, DENIED_DETAIL, Exposures, Identity, RestorerRef, Seed, SturdyRef, SwissNumber,
};
use vat::{Vat, VatConfig};
use vat_tests::{DiallerRef, Sum, TallyRef};

use crate::harness::{Ensemble, run_within, workspace};

/// A vat of this process, which exposes a tally and counts who calls.
struct Target {
    _driver: Driver,
    uri: String,
    /// With a number that names nothing.
    wrong_uri: String,
    id: String,
    port: u16,
    accepted: Rc<Cell<usize>>,
}

impl Target {
    async fn start() -> Self {
        let driver = Driver::new(Vat::new(VatConfig::new("target")));
        let swiss = SwissNumber::from_bytes([3; 16]);
        let restorer = driver.vat().turn(|turn| {
            let mut exposures = Exposures::default();
            exposures.expose(&swiss, TallyRef::new(turn, Sum(0)).into());
            Ok(RestorerRef::new(turn, exposures))
        });
        let identity = Identity::from_seed(&Seed::generate().unwrap());
        let peers = Peers::new(
            driver.clone(),
            Credentials::new(&identity).unwrap(),
            Some(restorer.unwrap().into()),
            Dialing::nobody(),
        );
        let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_address().unwrap();
        let Address::Tcp { port, .. } = &address else {
            panic!("{address}")
        };
        let port = port.get();
        let accepted = Rc::<Cell<usize>>::default();
        let count = accepted.clone();
        let uri = |swiss| {
            let sturdy = SturdyRef::new(peers.id(), swiss, [address.clone()]).unwrap();
            sturdy.to_uri_with_secret().to_string()
        };
        let (uri, wrong_uri) = (uri(swiss), uri(SwissNumber::from_bytes([4; 16])));
        let id = peers.id().to_string();
        tokio::task::spawn_local(async move {
            loop {
                let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
                count.set(count.get() + 1);
                let peers = peers.clone();
                tokio::task::spawn_local(async move {
                    let accepted = Stream::accept_tls(socket, Vec::new(), peers.acceptor()).await;
                    if let Ok((stream, peer)) = accepted {
                        peers.accepted(stream, peer).await;
                    }
                });
            }
        });
        Self {
            _driver: driver,
            uri,
            wrong_uri,
            id,
            port,
            accepted,
        }
    }
}

/// The dialler under a launcher of this process.
struct Launched {
    launcher: Rc<Launcher>,
    program: DiallerRef,
    _ensemble: Ensemble,
}

impl Launched {
    /// With this grant for its slot, if any.
    async fn start(grant: &str) -> Self {
        let ensemble = Ensemble::new();
        let (manifest, places) = checked(&ensemble, grant);
        let options = Options {
            programs: vec![program()],
            args: Vec::new(),
            refs: Some(ensemble.path("refs")),
            allow_weak: false,
            once: false,
        };
        let launcher = Launcher::prepare(manifest, &places, options).await.unwrap();
        let running = launcher.clone();
        tokio::task::spawn_local(async move { running.run().await });
        let state = launcher.ready().await;
        assert_eq!(state, ChildState::Running, "{:?}", launcher.children());
        let program = launcher.exposed("dialler").unwrap().into();
        Self {
            launcher,
            program,
            _ensemble: ensemble,
        }
    }

    /// The text of the error that dialling gives.
    async fn refusal(&self, vat: &str, address: &str) -> String {
        let dialled = self.program.dial(vat, address).await;
        match dialled {
            Ok(()) => panic!("{address} was dialled"),
            Err(error) => error.to_string(),
        }
    }

    async fn stop(self) {
        self.launcher.stop();
        self.launcher.ended().await;
    }
}

/// The dialler's manifest with this grant for its slot, if any.
fn checked(ensemble: &Ensemble, grant: &str) -> (Manifest, Places) {
    let path = ensemble.path("dialler.vat.toml");
    let text = format!(
        "manifest = 1\n[vat]\nname = \"dialler\"\n[program]\n\
         cargo = {{ folder = {:?}, package = \"vat-tests\", bin = \"dialler\" }}\n\
         [use.net]\ntype = \"Network\"\noptional = true\n\
         [expose.dialler]\ntype = \"vat-tests::Dialler\"\n[run.grants]\n{grant}\n",
        workspace()
    );
    std::fs::write(&path, text).unwrap();
    let places = Places::at(&ensemble.path("run/vat"), &ensemble.path("state/vat"));
    let (manifest, _) = manifest::check(&path, &places).into_result().unwrap();
    (manifest, places)
}

/// Built once for all tests.
fn program() -> SealedProgram {
    static BUILT: OnceLock<SealedProgram> = OnceLock::new();
    let build = || {
        let (manifest, _) = checked(&Ensemble::new(), "");
        let Source::Cargo(target) = &manifest.children[0].program.source else {
            panic!("{manifest:?}")
        };
        Builder::new(env!("CARGO")).build(target, |_| {}).unwrap()
    };
    BUILT.get_or_init(build).clone()
}

fn run(test: impl Future<Output = ()>) {
    program(); // may take longer than a test should
    run_within(Duration::from_secs(120), test);
}

#[test]
fn a_confined_program_enlivens_through_its_power_over_one_connection() {
    run(async {
        let target = Target::start().await;
        let grant = format!("net = {{ network = [\"127.0.0.1:{}\"] }}", target.port);
        let launched = Launched::start(&grant).await;
        let sums = join_all((0..50).map(|_| launched.program.add(&target.uri, 1))).await;
        let mut sums: Vec<u64> = sums.into_iter().collect::<Result<_>>().unwrap();
        sums.sort_unstable();
        assert_eq!(sums, (1..=50).collect::<Vec<_>>());
        assert_eq!(launched.program.add(&target.uri, 0).await.unwrap(), 50);
        assert_eq!(target.accepted.get(), 1);

        let denied = launched
            .program
            .add(&target.wrong_uri, 1)
            .await
            .unwrap_err();
        assert!(denied.detail(DENIED_DETAIL).is_some(), "{denied}");
        launched.stop().await;
    });
}

#[test]
fn a_power_leads_nowhere_but_where_it_was_granted_to() {
    run(async {
        let (target, other) = (Target::start().await, Target::start().await);
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let grant = format!(
            "net = {{ network = [\"any\", \"127.0.0.1:{}\", \"unix:{}\"] }}",
            target.port,
            link.display()
        );
        let launched = Launched::start(&grant).await;
        launched
            .program
            .dial(&target.id, format!("127.0.0.1:{}", target.port))
            .await
            .unwrap();
        assert_eq!(target.accepted.get(), 1);

        let own = launched.launcher.addresses();
        let Some(Address::Unix(own)) = own.iter().find(|address| !address.is_network()) else {
            panic!("{own:?}")
        };
        for address in [
            format!("127.0.0.1:{}", other.port),
            format!("127.0.0.2:{}", target.port),
            format!("localhost:{}", other.port),
            format!("0.0.0.0:{}", target.port),
            format!("[::1]:{}", target.port),
            format!("[::ffff:127.0.0.1]:{}", other.port),
            "169.254.169.254:80".to_owned(),
            format!("unix:{own}"),
            "unix:/run/docker.sock".to_owned(),
        ] {
            let refusal = launched.refusal(&target.id, &address).await;
            assert!(refusal.contains("does not lead to"), "{address}: {refusal}");
        }
        for malformed in ["", "127.0.0.1", "127.1:80", "unix:run", "unix:/a/../b"] {
            launched.refusal(&target.id, malformed).await;
        }
        let address = format!("127.0.0.1:{}", target.port);
        launched.refusal("nobody", &address).await;
        assert_eq!(target.accepted.get(), 1);

        // A socket of the launcher's process under an allowed name.
        std::os::unix::fs::symlink(own.as_path(), &link).unwrap();
        let refusal = launched
            .refusal(&target.id, &format!("unix:{}", link.display()))
            .await;
        assert!(refusal.contains("the launcher's own socket"), "{refusal}");

        // A reference to a vat elsewhere: the text says what was tried.
        let refused = launched.program.add(&other.uri, 1).await.unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(&format!("127.0.0.1:{}", other.port)),
            "{text}"
        );
        assert!(text.contains("does not lead to"), "{text}");
        assert_eq!(other.accepted.get(), 0);
        launched.stop().await;
    });
}

#[test]
fn without_the_power_a_uri_reaches_nothing() {
    run(async {
        let target = Target::start().await;
        let launched = Launched::start("").await;
        let program = &launched.program;
        assert!(program.add(&target.uri, 1).await.is_err());
        let forged = program.forge(&target.uri).await.unwrap_err();
        assert!(forged.to_string().contains("no descriptor"), "{forged}");
        let own = launched.launcher.addresses();
        for address in own
            .iter()
            .map(ToString::to_string)
            .chain([format!("127.0.0.1:{}", target.port), "/dev/log".to_owned()])
        {
            let address = address.strip_prefix("unix:").unwrap_or(&address).to_owned();
            assert!(program.connect(&address).await.is_err(), "{address}");
        }
        assert_eq!(target.accepted.get(), 0);
        launched.stop().await;
    });
}
