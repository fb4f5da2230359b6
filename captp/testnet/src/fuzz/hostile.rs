//! A vat between two hostile peers and an honest one.
//!
//! The hostile peers send what the input says: any bytes, or messages that are well-formed and may
//! be nonsense. The victim does with what it receives what an ordinary vat may do: calls, answers,
//! forwards, gives references of one peer to another, drops them. After every step the engine's
//! tables must agree with each other and be within the limits; at the end the honest peer must
//! have noticed nothing, and nothing may be left.

use std::time::Duration;

use captp::{ConnId, ConnOptions, Limits, NodeId, ObjectKey, Transmit};

use super::input::Input;
use super::wire::{VICTIM, Writer, key};

mod check;
mod steps;
mod vat;

use vat::Vat;

/// Runs one input.
///
/// # Errors
/// See the [module above](super).
pub fn run(bytes: &[u8]) -> Result<(), String> {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    world.settle()?;
    while !input.is_empty() {
        world.step(&mut input)?;
        world.settle()?;
    }
    world.finish()
}

/// A hostile peer's connection.
struct Peer {
    conn: ConnId,
    /// What the peer has not read.
    unread: Transmit,
}

struct World {
    victim: Vat,
    honest: Vat,
    /// The connection between them, at both.
    link: [ConnId; 2],
    /// What the honest vat holds of the victim.
    greeter: NodeId,
    peers: Vec<Peer>,
    writer: Writer,
    now: Duration,
    /// Of every hostile peer.
    limits: Limits,
}

/// The object that answers by itself.
const ECHO: ObjectKey = ObjectKey(1);
/// The honest vat's number.
const HONEST: u8 = 4;
/// References that the victim keeps at most.
const HOARD: usize = 40;
/// Rounds until what is under way must have come to rest.
const ROUNDS: usize = 1_000;

/// Small, so that an input of a few hundred bytes reaches all of them. The narrow ones are reached
/// all the time; the others leave room for more to happen.
fn limits(narrow: bool) -> Limits {
    let limits = Limits::default()
        .with_message_bytes(8 << 10)
        .with_segments(8)
        .with_nesting(16)
        .with_caps_per_message(6)
        .with_fds_per_message(2)
        .with_answers_soft(6)
        .with_answers(12)
        .with_questions(12)
        .with_questions_soft(6)
        .with_waiting_calls(8)
        .with_call_bytes_soft(2 << 10)
        .with_call_bytes(6 << 10)
        .with_kept_bytes(2 << 10)
        .with_exports(16)
        .with_imports(16)
        .with_embargoes(6)
        .with_gifts(6)
        .with_provisions(6)
        .with_accepts(4)
        .with_pipeline_depth(4)
        .with_outbound_soft(4 << 10)
        .with_outbound_bytes(24 << 10);
    if !narrow {
        return limits;
    }
    limits
        .with_answers_soft(3)
        .with_answers(6)
        .with_questions(5)
        .with_waiting_calls(5)
        .with_exports(4)
        .with_imports(6)
        .with_embargoes(2)
        .with_gifts(2)
        .with_provisions(2)
        .with_accepts(1)
        .with_pipeline_depth(2)
}

/// Of the honest link. Calls that are answered with each other's results go round until there are
/// no more questions: soon, here.
fn circle() -> Limits {
    Limits::default()
        .with_questions(200)
        .with_waiting_calls(200)
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let mut victim = Vat::new(VICTIM, false);
        let mut honest = Vat::new(HONEST, true);
        let link = [
            connect(&mut victim, HONEST, circle(), true),
            connect(&mut honest, VICTIM, circle(), true),
        ];
        let greeter = honest.engine.bootstrap(link[1]);
        let friend = victim.engine.bootstrap(link[0]);
        victim.held.push(friend);
        let peers = Vec::new();
        let mut world = Self {
            victim,
            honest,
            link,
            greeter,
            peers,
            writer: Writer::new(),
            now: Duration::ZERO,
            limits: limits(input.one_in(2)),
        };
        world.open(2, !input.one_in(4));
        world.open(3, true);
        world
    }

    /// A hostile peer connects. With `known` it has proved its key and says hello.
    fn open(&mut self, number: u8, known: bool) {
        let conn = connect(&mut self.victim, number, self.limits.clone(), known);
        if known {
            let hello = hello();
            self.feed(conn, &hello, Vec::new());
        }
        self.feed(conn, &Writer::bootstrap(), Vec::new());
        self.peers.push(Peer {
            conn,
            unread: Transmit::new(),
        });
    }
}

fn connect(vat: &mut Vat, peer: u8, limits: Limits, known: bool) -> ConnId {
    let root = vat.engine.object(ObjectKey(u64::from(peer) % 2));
    let mut options = ConnOptions::default()
        .with_bootstrap(root)
        .with_limits(limits)
        .with_hello(known)
        .with_descriptors(known);
    if known {
        options = options.with_peer(key(peer));
    }
    let conn = vat.engine.open(options);
    vat.engine.release(root);
    conn
}

/// The hello of somebody who can do everything: taken from one who says it.
fn hello() -> Vec<u8> {
    let mut vat = Vat::new(2, true);
    let conn = connect(&mut vat, VICTIM, Limits::default(), true);
    let mut out = Transmit::new();
    vat.engine.poll_transmit(conn, &mut out);
    out.take_bytes()
}
