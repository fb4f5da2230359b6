//! Three processes: Ann gives Ben a reference to an object in Carol's process, and leaves. Ben goes
//! on calling it, over a connection of his own.
//!
//! Nobody told Ben where Carol is, and no secret was given to him: Ann's process introduced the two
//! when the reference was sent. This program starts itself three times, once for each of them; they
//! meet at Unix sockets in a temporary folder, and speak TLS there as vats do on any network.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error as StdError;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::LocalSet;
use vat::Vat;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Listener, Peers, Stream};
use vat::prelude::*;
use vat::sturdy::{
    Address, Exposures, Identity, RestorerRef, Seed, SturdyRef, SwissNumber, UnixPath,
    reference_file,
};

type Outcome = std::result::Result<(), Box<dyn StdError>>;

/// A number that grows; Carol has it.
#[vat::interface]
trait Counter {
    /// Adds `by`, and returns the sum.
    fn add(&mut self, turn: &Turn, by: u64) -> Result<u64>;
}

#[derive(Clone, vat::Object)]
struct Sum(u64);

impl Counter for Sum {
    fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
        self.0 += by;
        Ok(self.0)
    }
}

/// What Ben offers.
#[vat::interface]
trait Friend {
    /// Keeps the counter. Returns when he reaches it by himself.
    async fn take(this: Near<Self>, cx: &Cx, counter: CounterRef) -> Result<()>;
}

#[derive(Clone, Default, vat::Object)]
struct Ben {
    counter: Option<CounterRef>,
}

impl Friend for Ben {
    async fn take(this: Near<Self>, cx: &Cx, counter: CounterRef) -> Result<()> {
        // Something that was given is accepted when it is first used or waited for. Until then it
        // goes when the giver goes.
        counter.settled().await?;
        this.with(cx, |ben| ben.counter = Some(counter))
    }
}

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let work = async move {
        match arguments.as_slice() {
            [] => watch().await,
            [who, folder] => match who.as_str() {
                "ann" => ann(Path::new(folder)).await,
                "ben" => ben(Path::new(folder)).await,
                "carol" => carol(Path::new(folder)).await,
                other => Err(format!("nobody here is called {other}").into()),
            },
            _ => Err("give no arguments".into()),
        }
    };
    LocalSet::new().block_on(&runtime, work)
}

/// Starts the three and tells them when to go on.
async fn watch() -> Outcome {
    let folder = std::env::temp_dir().join(format!("vat-introduction-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let done = tell_the_story(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    done
}

async fn tell_the_story(folder: &Path) -> Outcome {
    let (mut carol, mut ben) = (start("carol", folder)?, start("ben", folder)?);
    carol.says().await?;
    ben.says().await?;
    let mut ann = start("ann", folder)?;
    println!("Ann:   {}", ann.says().await?);
    ann.process.wait().await?;
    println!("       Ann's process has ended.");
    for _ in 0..2 {
        ben.go_on().await?;
        println!("Ben:   {}", ben.says().await?);
    }
    carol.process.kill().await?;
    println!("       Carol's process was killed.");
    ben.go_on().await?;
    println!("Ben:   {}", ben.says().await?);
    Ok(())
}

// ---- the three

async fn carol(folder: &Path) -> Outcome {
    let node = Node::new("carol")?;
    let counter = node.turn(|turn| Ok(CounterRef::new(turn, Sum(0))))?;
    node.offer(counter.into(), folder)?;
    println!("ready");
    std::future::pending().await
}

async fn ben(folder: &Path) -> Outcome {
    let node = Node::new("ben")?;
    let friend = node.turn(|turn| Ok(turn.spawn(Ben::default())))?;
    node.offer(FriendRef::from(&friend).into(), folder)?;
    println!("ready");
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while orders.next_line().await?.is_some() {
        let counter = node.turn(|turn| friend.read(turn, |ben| ben.counter.clone()))?;
        let counter = counter.ok_or("Ann gave nothing")?;
        match counter.add(1).await {
            Ok(sum) => println!("I counted to {sum}, without Ann."),
            Err(error) => println!("I can not count any more: {error}"),
        }
    }
    Ok(())
}

async fn ann(folder: &Path) -> Outcome {
    let node = Node::new("ann")?;
    let friend = FriendRef::from(node.enliven(folder, "ben").await?);
    let counter = CounterRef::from(node.enliven(folder, "carol").await?);
    let sum = counter.add(10).await?;
    friend.take(counter).await?;
    println!("I counted to {sum}, and gave the counter to Ben.");
    Ok(())
}

// ---- a vat on a network of Unix sockets

/// A vat, and the table of its peers.
struct Node {
    name: &'static str,
    peers: Peers,
    driver: Driver,
    restorer: Resolver<RestorerRef>,
}

impl Node {
    fn new(name: &'static str) -> std::result::Result<Self, Box<dyn StdError>> {
        let driver = Driver::new(Vat::new(name));
        let (bootstrap, restorer) = driver
            .vat()
            .turn(|turn| Ok(turn.promise::<RestorerRef>()))?;
        let credentials = Credentials::new(&Identity::from_seed(&Seed::generate()?))?;
        let dialing = Dialing::ambient_network();
        let peers = Peers::new(driver.clone(), credentials, Some(bootstrap.into()), dialing);
        Ok(Self {
            name,
            peers,
            driver,
            restorer,
        })
    }

    fn turn<R>(&self, body: impl FnOnce(&Turn) -> Result<R>) -> Result<R> {
        self.driver.vat().turn(body)
    }

    /// Answers calls at a socket of its name, and writes a reference file for `object`.
    fn offer(&self, object: Ref, folder: &Path) -> Outcome {
        let swiss = SwissNumber::generate()?;
        let mut exposures = Exposures::default();
        exposures.expose(&swiss, object);
        let restorer = self.turn(|turn| Ok(RestorerRef::new(turn, exposures)))?;
        self.restorer.clone().resolve(Ok(restorer));

        let path = UnixPath::new(&folder.join(self.name))?;
        let listener = Listener::bind_unix(&path)?;
        let address = Address::Unix(path);
        self.peers.set_addresses(std::slice::from_ref(&address));
        tokio::task::spawn_local(answer(listener, self.peers.clone()));
        let sturdy = SturdyRef::new(self.peers.id(), swiss, [address])?;
        reference_file::write(folder.join(format!("{}.cap", self.name)), &sturdy)?;
        Ok(())
    }

    /// The object of the reference file of `whom`.
    async fn enliven(
        &self,
        folder: &Path,
        whom: &str,
    ) -> std::result::Result<Ref, Box<dyn StdError>> {
        let sturdy = reference_file::read(folder.join(format!("{whom}.cap")))?;
        Ok(self.peers.enliven(&sturdy).await?.reference)
    }
}

async fn answer(listener: Listener, peers: Peers) {
    while let Ok(socket) = listener.accept().await {
        let Ok(descriptor) = socket.into_descriptor() else {
            continue;
        };
        let peers = peers.clone();
        tokio::task::spawn_local(async move {
            match Stream::accept_tls(descriptor, Vec::new(), peers.acceptor()).await {
                Ok((stream, peer)) => peers.accepted(stream, peer).await,
                Err(error) => println!("somebody called and did not get through: {error}"),
            }
        });
    }
}

// ---- processes

/// Starts this program again, as somebody.
fn start(who: &str, folder: &Path) -> std::io::Result<Person> {
    let mut process = Command::new(std::env::current_exe()?)
        .args([who.as_ref(), folder.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = process.stdout.take().map(BufReader::new);
    Ok(Person {
        process,
        lines: output.map(AsyncBufReadExt::lines),
    })
}

struct Person {
    process: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Person {
    async fn says(&mut self) -> std::result::Result<String, Box<dyn StdError>> {
        let lines = self.lines.as_mut().ok_or("no output")?;
        Ok(lines.next_line().await?.ok_or("it has ended")?)
    }

    async fn go_on(&mut self) -> Outcome {
        let input = self.process.stdin.as_mut().ok_or("no input")?;
        input.write_all(b"go on\n").await?;
        Ok(())
    }
}
