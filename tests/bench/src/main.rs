//! Our side beside other people's systems, two processes on one core, in one run.
//!
//! `tests/bench/run` measures everything and writes `tests/bench/RESULTS.md`. The other commands are
//! what it starts: `server` and `client`, which can also be run by hand, under valgrind or strace.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::runtime::LocalOptions;

mod count;
mod load;
mod machine;
mod measure;
mod peers;
mod report;

/// Generated from `bench.capnp`.
#[cfg(feature = "peers")]
#[allow(clippy::all, unused_qualifications, reason = "generated")]
pub mod bench_capnp {
    include!(concat!(env!("OUT_DIR"), "/bench_capnp.rs"));
}

use count::Counting;
use load::{Amount, lanes, measured};
use measure::Outcome;
use peers::{Client, Peer, References, floor, handoff, raw_tls, vat};
#[cfg(feature = "peers")]
use peers::{capnp, tarpc, tonic};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("server") => started(server, arguments),
        Some("gifter") => started(gifter, arguments),
        Some("client") => started(client, arguments),
        Some("all") => report::all(&arguments.collect::<Vec<_>>()),
        _ => {
            eprintln!("vat-bench all [--quick] [--rounds N] [--only WORD] [--out FILE]");
            eprintln!("vat-bench server --peer P --socket S [--connections N]");
            eprintln!("vat-bench gifter --peer P --socket S --exporter S");
            eprintln!(
                "vat-bench client --peer P --socket S --server PID [--gifter PID] --work W \
                 --outstanding K (--calls N | --millis T)"
            );
            std::process::exit(2);
        }
    }
}

/// Does the work of a process that does not outlive the one which started it, strace perhaps.
fn started(work: fn(Options), arguments: impl Iterator<Item = String>) {
    let kill = rustix::process::Signal::KILL;
    rustix::process::set_parent_process_death_signal(Some(kill)).expect("Linux");
    work(Options::parse(arguments));
}

/// What a server or client is started with.
struct Options {
    peer: Peer,
    socket: PathBuf,
    connections: usize,
    exporter: PathBuf,
    server: u32,
    gifter: u32,
    work: String,
    outstanding: usize,
    amount: Amount,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            peer: Peer::Vat,
            socket: PathBuf::new(),
            connections: 1,
            exporter: PathBuf::new(),
            server: 0,
            gifter: 0,
            work: "number".to_owned(),
            outstanding: 1,
            amount: Amount::Time(Duration::from_millis(300)),
        };
        while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
            let number = || value.parse().expect("a number");
            match name.as_str() {
                "--peer" => options.peer = value.parse().expect("a peer"),
                "--socket" => options.socket = value.into(),
                "--connections" => options.connections = number() as usize,
                "--exporter" => options.exporter = value.into(),
                "--server" => options.server = number() as u32,
                "--gifter" => options.gifter = number() as u32,
                "--work" => options.work = value,
                "--outstanding" => options.outstanding = number() as usize,
                "--calls" => options.amount = Amount::Calls(number()),
                "--millis" => options.amount = Amount::Time(Duration::from_millis(number())),
                _ => panic!("unknown option {name}"),
            }
        }
        options
    }

    /// The other processes.
    fn others(&self) -> [u32; 2] {
        [self.server, self.gifter]
    }
}

/// As a task of its own, as programs run: for the future that it blocks on, the runtime asks the
/// kernel for events each time before it polls it again, and every peer's client paid two system
/// calls more per call, one outstanding.
fn block_on(work: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        tokio::task::spawn_local(work).await.expect("no panic");
    });
}

/// Serves that many connections one after the other or at once, and says at the end how often it
/// allocated.
fn server(options: Options) {
    let (path, connections) = (options.socket.clone(), options.connections);
    if options.peer == Peer::Floor {
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        println!("ready");
        floor::serve(&listener, connections);
    } else {
        block_on(async move {
            #[cfg(feature = "peers")]
            if options.peer == Peer::Tarpc {
                println!("ready"); // the client tries again
                return tarpc::serve(&path, connections).await;
            }
            if options.peer.has_gifter() {
                return handoff::export(&path).await;
            }
            let listener = UnixListener::bind(path).expect("a socket");
            println!("ready");
            match options.peer {
                Peer::Vat | Peer::VatCopied | Peer::VatTls => {
                    vat::serve(listener, connections, options.peer).await;
                }
                #[cfg(feature = "peers")]
                Peer::Capnp => capnp::serve(listener, connections).await,
                #[cfg(feature = "peers")]
                Peer::Tonic => tonic::serve(listener).await,
                Peer::RawTls => raw_tls::serve(listener, connections).await,
                other => panic!("{other} is served elsewhere, or not built in"),
            }
        });
    }
    println!("{}", count::allocations());
}

fn gifter(options: Options) {
    block_on(async move { handoff::give(&options.socket, &options.exporter).await });
}

fn client(options: Options) {
    while !options.socket.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    if options.peer == Peer::Floor {
        return floor_client(&options);
    }
    block_on(async move {
        let options = &options;
        let outcome = match options.peer {
            Peer::Vat => with_references::<vat::Caller<false>>(options).await,
            Peer::VatTls => with_references::<vat::Caller<true>>(options).await,
            Peer::VatCopied => plain::<vat::Copying>(options).await,
            #[cfg(feature = "peers")]
            Peer::Capnp => with_references::<capnp::Caller>(options).await,
            #[cfg(feature = "peers")]
            Peer::Tarpc => plain::<tarpc::Caller>(options).await,
            #[cfg(feature = "peers")]
            Peer::Tonic => plain::<tonic::Caller>(options).await,
            Peer::RawTls => plain::<raw_tls::Caller>(options).await,
            Peer::HandedOver | Peer::Proxied => given(options).await,
            other => panic!("{other} is called elsewhere, or not built in"),
        };
        println!("{}", serde_json::to_string(&outcome).expect("JSON"));
    });
}

fn floor_client(options: &Options) {
    let mut caller = floor::Caller::connect(&options.socket);
    let mut run = |amount| caller.calls(options.outstanding, amount);
    warm(options.amount).map(&mut run);
    let cost =
        futures::executor::block_on(measured(options.others(), async { run(options.amount) }));
    let outcome = Outcome {
        cost,
        allocations: count::allocations(),
        bytes_each: None,
    };
    println!("{}", serde_json::to_string(&outcome).expect("JSON"));
}

/// What comes before a timed run; counted runs have none, as their difference is taken.
fn warm(amount: Amount) -> Option<Amount> {
    match amount {
        Amount::Calls(_) => None,
        Amount::Time(time) => Some(Amount::Time(time / 3)),
    }
}

async fn plain<C: Client>(options: &Options) -> Outcome {
    let path: &Path = &options.socket;
    let caller = C::connect(path).await;
    let run = async |amount| match options.work.as_str() {
        "number" => {
            let call = |value: u64| {
                let caller = &caller;
                async move {
                    assert_eq!(caller.number(value).await, value);
                    value + 1
                }
            };
            lanes(options.outstanding, amount, || 0, call).await
        }
        "connect" => {
            let call = |value: u64| {
                let caller = &caller;
                async move {
                    let again = caller.connect_again(path).await;
                    assert_eq!(again.number(value).await, value);
                    again.close().await;
                    value + 1
                }
            };
            lanes(options.outstanding, amount, || 0, call).await
        }
        size => {
            let size: usize = size.parse().expect("a number of bytes");
            let call = |value: C::Data| caller.bytes(value);
            let first = || C::Data::from(vec![7; size]);
            lanes(options.outstanding, amount, first, call).await
        }
    };
    if let Some(amount) = warm(options.amount) {
        run(amount).await;
    }
    let cost = match options.work.as_str() {
        "idle" => return idle(options, &caller).await,
        _ => measured(options.others(), run(options.amount)).await,
    };
    Outcome {
        cost,
        allocations: count::allocations(),
        bytes_each: None,
    }
}

/// Calls what a third process gave away, or is given it again and again.
async fn given(options: &Options) -> Outcome {
    let dials = options.peer == Peer::HandedOver;
    let recipient = handoff::Recipient::new(&options.socket, dials).await;
    if options.work == "number" {
        let given = recipient.introduction().await;
        let run = async |amount| {
            let call = |value: u64| {
                let answer = given.number(value);
                async move {
                    assert_eq!(answer.await.expect("an answer"), value);
                    value + 1
                }
            };
            lanes(options.outstanding, amount, || 0, call).await
        };
        if let Some(amount) = warm(options.amount) {
            run(amount).await;
        }
        return Outcome {
            cost: measured(options.others(), run(options.amount)).await,
            allocations: count::allocations(),
            bytes_each: None,
        };
    }
    // By the clock, as what comes before an introduction is none of it.
    let anew = options.work == "introduce-anew";
    let waited = Cell::new(Duration::ZERO);
    let run = async |amount| {
        waited.set(Duration::ZERO);
        let call = |()| async {
            if anew {
                recipient.part().await;
            }
            let begin = Instant::now();
            let given = recipient.introduction().await;
            waited.set(waited.get() + begin.elapsed());
            drop(given);
        };
        lanes(1, amount, || (), call).await
    };
    if let Some(amount) = warm(options.amount) {
        run(amount).await;
    }
    let mut cost = measured(options.others(), run(options.amount)).await;
    cost.wall = u64::try_from(waited.get().as_nanos()).expect("less than 500 years");
    Outcome {
        cost,
        allocations: count::allocations(),
        bytes_each: None,
    }
}

/// Opens connections, calls once on each and lets them be; the server's memory for each.
async fn idle<C: Client>(options: &Options, caller: &C) -> Outcome {
    caller.number(1).await;
    let mut open = Vec::new();
    let add = async |open: &mut Vec<C>, count: usize| {
        for _ in 0..count {
            let again = caller.connect_again(&options.socket).await;
            again.number(1).await;
            open.push(again);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        machine::resident(options.server)
    };
    let before = add(&mut open, 50).await;
    let after = add(&mut open, options.outstanding).await;
    Outcome {
        bytes_each: Some(after.saturating_sub(before) / options.outstanding as u64),
        ..Outcome::default()
    }
}

/// References in one answer: fewer than what a vat takes of a peer by default.
const BATCH: usize = 50;

async fn with_references<C: References>(options: &Options) -> Outcome {
    match options.work.as_str() {
        "chain" => {
            let caller = C::connect(&options.socket).await;
            let run = async |amount| {
                let call = |length: usize| {
                    let caller = &caller;
                    async move {
                        assert_eq!(caller.chain(length).await, 7);
                        length
                    }
                };
                lanes(options.outstanding, amount, || 16, call).await
            };
            if let Some(amount) = warm(options.amount) {
                run(amount).await;
            }
            Outcome {
                cost: measured(options.others(), run(options.amount)).await,
                allocations: count::allocations(),
                bytes_each: None,
            }
        }
        "references" => {
            let caller = C::connect(&options.socket).await;
            let mut held = Vec::new();
            let hold = async |held: &mut Vec<C::Reference>, batches: usize| {
                for _ in 0..batches {
                    held.extend(caller.many(BATCH as u32).await);
                }
                machine::resident(std::process::id())
            };
            let before = hold(&mut held, 40).await;
            let batches = options.outstanding.div_ceil(BATCH);
            let after = hold(&mut held, batches).await;
            Outcome {
                bytes_each: Some(after.saturating_sub(before) / (batches * BATCH) as u64),
                ..Outcome::default()
            }
        }
        _ => plain::<C>(options).await,
    }
}
