//! Promise 13 with real processes: what was acknowledged is there after `kill -9`, nothing is half
//! done, and what was not on disk was told to nobody.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use vat::net::Stream;
use vat::net::driver::{Attach, Connection, Driver};
use vat::{ErrorKind, Result, Vat};
use vat_examples::bank::{BankRef, Total};

use crate::harness::{Ensemble, eventually, run_within, workspace};

const ACCOUNTS: usize = 20;
const EACH: u64 = 1_000;

/// The bank's process, and a connection to it.
struct Teller {
    process: Child,
    connection: Connection,
    bank: BankRef,
    _driver: Driver,
}

impl Teller {
    fn start(store: &Path) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_teller")), store)
    }

    fn run(mut command: Command, store: &Path) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let process = command
            .arg(store)
            .stdin(Stdio::from(OwnedFd::from(there)))
            .spawn()
            .unwrap();
        let driver = Driver::new(Vat::new("customers"));
        let stream = Stream::from_socketpair(here.into()).unwrap();
        let connection = driver.attach(stream, Attach::plain(None));
        let bank = BankRef::from(connection.bootstrap().unwrap());
        Self {
            process,
            connection,
            bank,
            _driver: driver,
        }
    }

    /// Kills it, and waits until what it had said is known.
    async fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.connection.gone().await;
    }
}

/// Random numbers that are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// A transfer whose fate is not known.
#[derive(Clone)]
struct Transfer {
    token: Vec<u8>,
    from: String,
    to: String,
    cents: u64,
}

impl Transfer {
    fn random(number: u64, random: &mut Random) -> Self {
        let mut name = || format!("account {}", random.below(ACCOUNTS as u64));
        Self {
            token: number.to_be_bytes().to_vec(),
            from: name(),
            to: name(),
            cents: 1,
        }
    }

    fn send(&self, bank: &BankRef) -> vat::Promise<u64> {
        let Self {
            token, from, to, ..
        } = self.clone();
        bank.transfer(token, from, to, self.cents)
    }
}

/// Kills the bank so many times while transfers are under way; what was acknowledged must be there.
async fn kill_again_and_again(times: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut random = Random(seed);
    let (mut sent, mut acknowledged, mut repeated) = (0_u64, 0_u64, 0_u64);
    let mut unknown: Vec<Transfer> = Vec::new();
    for round in 0..times {
        let mut teller = Teller::start(&store);
        for account in 0..ACCOUNTS {
            teller
                .bank
                .open(format!("account {account}"), EACH)
                .await
                .unwrap();
        }
        let total: Total = teller.bank.total().await.unwrap();
        assert_eq!(total.cents, ACCOUNTS as u64 * EACH, "round {round}");
        // Nothing acknowledged is lost, and nothing was made that nobody asked for.
        let possible = acknowledged..=acknowledged + unknown.len() as u64;
        assert!(
            possible.contains(&total.transfers),
            "round {round}: {total:?}, {possible:?}"
        );
        // What was on its way is asked for again, and made once.
        for transfer in std::mem::take(&mut unknown) {
            finished(transfer.send(&teller.bank).await);
            (acknowledged, repeated) = (acknowledged + 1, repeated + 1);
        }
        let again: Total = teller.bank.total().await.unwrap();
        assert_eq!(again.transfers, acknowledged, "round {round}");
        let mut waiting = Vec::new();
        for _ in 0..1 + random.below(100) {
            sent += 1;
            let transfer = Transfer::random(sent, &mut random);
            waiting.push((transfer.send(&teller.bank), transfer));
        }
        tokio::time::sleep(Duration::from_micros(random.below(60_000))).await;
        teller.kill().await;
        for (answer, transfer) in waiting {
            match answer.await {
                Err(lost) if lost.kind() == ErrorKind::Disconnected => unknown.push(transfer),
                answer => {
                    finished(answer);
                    acknowledged += 1;
                }
            }
        }
    }
    println!(
        "{times} kills: {sent} transfers, {acknowledged} acknowledged, {repeated} of them after \
         they were sent again"
    );
}

/// A transfer was made; its account has enough in it, as nobody is ever that unlucky.
fn finished(answer: Result<u64>) {
    answer.unwrap();
}

// Promise 13
#[test]
fn a_bank_that_is_killed_again_and_again_loses_nothing() {
    run_within(
        Duration::from_secs(300),
        kill_again_and_again(60, 0x2545_f491_4f6c_dd1d),
    );
}

/// The long form of the test above:
/// `cargo test -p vat-tests --test it -- --ignored a_thousand_kills --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn a_thousand_kills() {
    run_within(
        Duration::from_secs(3_600),
        kill_again_and_again(1_000, 0x9e37_79b9_7f4a_7c15),
    );
}

/// A file that may not grow is what a full disk is, without being one.
// Promise 13
#[test]
fn a_file_that_may_not_grow_breaks_calls_and_loses_nothing() {
    run_within(Duration::from_secs(120), async {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        // 4 MiB, in units of 512 bytes; the signal would end the process.
        let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", limited, env!("CARGO_BIN_EXE_teller")]);
        let mut teller = Teller::run(command, &store);
        let name = |number: u64| format!("{number} {}", "x".repeat(10_000));
        let mut opened = 0;
        let lost = loop {
            match teller.bank.open(name(opened), 1).await {
                Ok(_) => opened += 1,
                Err(lost) => break lost,
            }
        };
        assert_eq!(lost.kind(), ErrorKind::Disconnected);
        let text = lost.to_string();
        assert!(text.contains("cannot write its state to disk"), "{text}");
        assert!(opened > 10, "{opened}");
        teller.kill().await;
        let teller = Teller::start(&store);
        let total: Total = teller.bank.total().await.unwrap();
        assert!(
            (opened..=opened + 1).contains(&total.cents),
            "{opened} {total:?}"
        );
        for number in 0..opened {
            assert_eq!(teller.bank.balance(name(number)).await.unwrap(), 1);
        }
    });
}

impl Drop for Teller {
    fn drop(&mut self) {
        drop(self.process.kill()); // it may have ended
        drop(self.process.wait());
    }
}

/// An example's manifest for an ensemble of a test's own.
fn manifest(ensemble: &Ensemble, name: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(workspace().join("examples").join(name)).unwrap();
    let folder = format!("cargo   = {{ folder = {:?},", workspace());
    let path = ensemble.path("example.vat.toml");
    std::fs::write(&path, text.replace("cargo   = {", &folder)).unwrap();
    path
}

// Promises 13 and 14
#[test]
fn a_launched_bank_and_its_reference_survive_kills() {
    let mut ensemble = Ensemble::new();
    let manifest = manifest(&ensemble, "bank/bank.vat.toml");
    ensemble.started("bank");
    ensemble.ok(&["up", "-d", manifest.to_str().unwrap()]);
    let file = ensemble.path("refs/bank.cap");
    let cap = file.to_str().unwrap();
    ensemble.ok(&["call", cap, "open", "name=ann", "cents=100"]);
    ensemble.ok(&["call", cap, "open", "name=bob", "cents=0"]);
    for number in 1..=3_u64 {
        let token = format!("token={number:02}");
        let transfer = [
            "call", cap, "transfer", &token, "from=ann", "to=bob", "cents=10",
        ];
        assert_eq!(ensemble.ok(&transfer).trim(), number.to_string());
        let pid = ensemble.pid();
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.unwrap().success());
        eventually("it runs again", || {
            let now = ensemble.pid();
            (now != 0 && now != pid).then_some(())
        });
        let again = eventually("it answers again", || {
            let output = ensemble.run(&transfer);
            let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(answer)
        });
        assert_eq!(again, number.to_string(), "the same token, the same answer");
    }
    let balance = ensemble.ok(&["call", cap, "balance", "name=bob"]);
    assert_eq!(balance.trim(), "30");
}

// Promise 13
#[test]
fn the_durable_guestbook_keeps_its_entries_and_its_clock() {
    let mut ensemble = Ensemble::new();
    let manifest = manifest(&ensemble, "guestbook/durable.vat.toml");
    let manifest = manifest.to_str().unwrap();
    ensemble.started("durable-guestbook");
    let file = ensemble.path("refs/guestbook.cap");
    let cap = file.to_str().unwrap();
    for life in 1..=2 {
        ensemble.ok(&["up", "-d", manifest]);
        let number = ensemble.ok(&["call", cap, "sign", "name=Ann", "text=hello"]);
        assert_eq!(number.trim(), life.to_string());
        ensemble.ok(&["down", "durable-guestbook", "--yes"]);
    }
    // And its store can be looked at, as text, and made from that.
    let store = ensemble.path("state/vat/durable-guestbook/stores/durable-guestbook.redb");
    let store = store.to_str().unwrap();
    let checked = ensemble.ok(&["store", "check", store]);
    assert!(checked.contains("1 object; roots: book"), "{checked}");
    let text = ensemble.ok(&["store", "export", store]);
    assert!(text.contains(r#""clock":{"$power":"clock"}"#), "{text}");
    let (exported, copy) = (ensemble.path("text"), ensemble.path("copy"));
    let (exported, copy) = (exported.to_str().unwrap(), copy.to_str().unwrap());
    ensemble.ok(&["store", "export", store, "--output", exported]);
    ensemble.ok(&["store", "import", copy, "--input", exported]);
    assert_eq!(ensemble.ok(&["store", "export", copy]), text);
    let refused = ensemble.fails(1, &["store", "import", copy, "--input", exported]);
    assert!(refused.contains("never overwritten"), "{refused}");
    let missing = ensemble.path("nothing");
    ensemble.fails(4, &["store", "check", missing.to_str().unwrap()]);
    assert!(!missing.exists());
}
