//! A reference handed over between confined programs of three launchers, over TCP and TLS.

use vat::Vat;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Peers};
use vat::prelude::*;
use vat::sturdy::{Address, Identity, Seed, SturdyRef, reference_file};
use vat_tests::{DiallerRef, TallyRef};

use crate::harness::{Ensemble, run, workspace};

/// An ensemble of one program that is up.
struct Launched {
    ensemble: Ensemble,
    name: &'static str,
    sturdy: SturdyRef,
}

impl Launched {
    /// Of this program, which exposes `offer`; with a `Network` to these ports of this machine, if
    /// there are any.
    fn up(name: &'static str, offer: &str, program: &str, ports: &[u16]) -> Self {
        let mut ensemble = Ensemble::new();
        let destinations: Vec<_> = ports.iter().map(|p| format!("\"127.0.0.1:{p}\"")).collect();
        let grants = match &*destinations {
            [] => String::new(),
            some => format!(
                "[run.grants]\nnet = {{ network = [{}] }}\n",
                some.join(", ")
            ),
        };
        let text = format!(
            "manifest = 1\n[vat]\nname = {name:?}\n[program]\n\
             cargo = {{ folder = {:?}, package = \"vat-tests\", {program}[run]\nlisten = [\"127.0.0.1:0\"]\n{grants}",
            workspace()
        );
        let path = ensemble.path(&format!("{name}.vat.toml"));
        std::fs::write(&path, text).unwrap();
        ensemble.started(name);
        ensemble.ok(&["up", "-d", path.to_str().unwrap()]);
        let cap = ensemble.path(&format!("refs/{offer}.cap"));
        let sturdy = reference_file::read(&cap).unwrap();
        Self {
            ensemble,
            name,
            sturdy,
        }
    }

    /// Has a tally.
    fn exporter() -> Self {
        let program = "bin = \"keeper\" }\n\
                       [expose.keeper]\ntype = \"vat-tests::Keeper\"\n\
                       [expose.tally]\ntype = \"vat-tests::Tally\"\n";
        Self::up("exporter", "tally", program, &[])
    }

    /// Gives, or is given, what another one has; it calls out to these ports only.
    fn dialler(name: &'static str, ports: &[u16]) -> Self {
        let program = "bin = \"dialler\" }\n\
                       [use.net]\ntype = \"Network\"\noptional = true\n\
                       [expose.dialler]\ntype = \"vat-tests::Dialler\"\n";
        Self::up(name, "dialler", program, ports)
    }

    fn port(&self) -> u16 {
        let port = |address: &Address| match address {
            Address::Tcp { port, .. } => Some(port.get()),
            Address::Unix(_) => None,
        };
        self.sturdy.addresses().iter().find_map(port).unwrap()
    }

    fn uri(&self) -> String {
        self.sturdy.to_uri_with_secret().to_string()
    }

    fn down(&self) {
        self.ensemble.ok(&["down", self.name, "--yes"]);
    }
}

/// Each under a launcher of its own.
struct Trio {
    exporter: Launched,
    recipient: Launched,
    gifter: Launched,
}

/// The references that somebody outside has, who tells them what to do.
struct Caller {
    recipient: DiallerRef,
    tally: TallyRef,
    _driver: Driver,
}

impl Trio {
    /// The recipient may call the exporter, or nobody.
    fn up(may_call: bool) -> Self {
        let exporter = Launched::exporter();
        let port = exporter.port();
        let ports = [port];
        let recipient = Launched::dialler("recipient", if may_call { &ports } else { &[] });
        let gifter = Launched::dialler("gifter", &[port, recipient.port()]);
        Self {
            exporter,
            recipient,
            gifter,
        }
    }

    /// Has the gifter give the exporter's tally to the recipient.
    async fn give(&self) -> Caller {
        let driver = Driver::new(Vat::new("caller"));
        let identity = Identity::from_seed(&Seed::generate().unwrap());
        let credentials = Credentials::new(&identity).unwrap();
        let dialing = Dialing::ambient_network();
        let peers = Peers::new(driver.clone(), credentials, None, dialing);
        let enliven = async |of: &Launched| peers.enliven(&of.sturdy).await.unwrap().reference;
        let gives = DiallerRef::from(enliven(&self.gifter).await);
        // The caller passes on nothing but texts: the reference is the gifter's own.
        let (tally, to) = (self.exporter.uri(), self.recipient.uri());
        gives.give(tally, to).await.unwrap();
        Caller {
            recipient: enliven(&self.recipient).await.into(),
            tally: enliven(&self.exporter).await.into(),
            _driver: driver,
        }
    }
}

#[test]
fn a_confined_program_with_a_network_uses_what_it_was_given_after_the_gifters_ensemble_is_gone() {
    let trio = Trio::up(true);
    run(async {
        let caller = trio.give().await;
        assert_eq!(caller.recipient.count(1).await.unwrap(), 1);
        assert_eq!(caller.tally.add(10).await.unwrap(), 11);
        trio.gifter.down();
        assert_eq!(caller.recipient.count(1).await.unwrap(), 12);
        assert_eq!(caller.tally.add(0).await.unwrap(), 12);
    });
}

#[test]
fn a_confined_program_without_a_network_uses_what_it_was_given_through_the_gifter() {
    let trio = Trio::up(false);
    run(async {
        let caller = trio.give().await;
        for sum in 1..4 {
            assert_eq!(caller.recipient.count(1).await.unwrap(), sum);
        }
        trio.gifter.down();
        let lost = caller.recipient.count(1).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Disconnected, "{lost}");
        assert_eq!(caller.tally.add(0).await.unwrap(), 3);
    });
}
