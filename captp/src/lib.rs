//! The Cap'n Proto RPC engine: a sans-IO state machine.
//!
//! It moves calls, answers and references between a vat and its peers and keeps the order
//! promises. It knows nothing of Rust objects, files, processes, sockets, clocks or threads: bytes
//! and commands go in, deliveries and bytes come out. [`Engine`] is the central type; its
//! documentation is the contract.
//!
//! Spoken is level 1 of Cap'n Proto RPC, complete, and three-party handoff of level 3:
//! `schema/captp.capnp` says what the messages are, `schema/network.capnp` what vats tell each other
//! beside them. Handoff is used between vats that both announced it in their hello; from any other
//! peer a `thirdPartyHosted` reference is used through its vine, and none is ever sent.
//!
//! # Where things are
//!
//! - A [`NodeId`] names a reference. All references of a vat lie in one arena, because promises,
//!   embargoes and forwarding cross connections.
//! - A connection is a row with four tables (questions, answers, imports, exports), embargoes, and
//!   the two byte streams. Each table's module states the life of its entries.
//! - A received message is decoded into an owned envelope, in which the peer's view has become
//!   ours; its payload stays in the received words. Messages to send are built in place and laid
//!   one after the other into one buffer per connection.
//!
//! # Decisions
//!
//! Where the protocol leaves a choice, or where implementations differ:
//!
//! - **Finish.** Ours goes out with the Return, or early if the call was
//!   [cancelled](Engine::cancel); dropping everything that a call returns does not finish it. A
//!   Finish that comes early does not stop a call ([`Output::Cancelled`] tells), and calls pipelined
//!   on it still get its results. If nobody can want them any more, a call that was passed on is
//!   finished early where it went.
//! - **No Finish needed.** Results without references are returned with `noFinishNeeded` and
//!   forgotten; a Finish that comes all the same is ignored. Exceptions are kept until the Finish, so
//!   that calls pipelined on them fail with the very reason.
//! - **Hints.** A call without promised references says `noPromisePipelining`; of the results of
//!   such a call nothing is kept but what its Finish may give back. References in parameters are
//!   given back by Release when they are no longer needed: a Return of ours never does so.
//! - **Tail calls.** A call that goes on to a reference of its caller leaves its results there, if
//!   the caller said that it will not pipeline on it. Otherwise the vat in between could be given a
//!   reference inside results that it never sees, and which would never resolve for it. Only vats
//!   get tail calls unless [`ConnOptions::tail_calls`] says otherwise: capnp-rpc 0.27 never returns
//!   them. When a peer answers our call with one of its own to us, the question stays as it is until
//!   the results are here.
//! - **Calls for pipelining only** have question ids from 2^31 on. A peer that returns one does not
//!   know the hint, and gets ordinary calls from then on. One that goes on to another vat is an
//!   ordinary call there: its Finish does not say when it is over, and what is under way for others
//!   must be counted.
//! - **Tribble rule.** What a peer was told that a promise or answer *is*, stays so for what the
//!   peer sends there: the node is *pinned* to its place on that connection.
//! - **Embargoes.** If a reference that was pipelined on comes back as one of ours, the promise and
//!   the reference in the results both wait for the Disembargo: there is no way around it. What the
//!   peer named may have become the peer's and come home again; then calls go out another time, and
//!   so does a Disembargo behind them. Something of ours that the peer gives us waits in the same
//!   way for what the peer sent there.
//! - **A Disembargo** to a reference that is broken comes back at once: nothing can be overtaken. To
//!   a promise it waits like a call. To anything else that does not point back to its sender it ends
//!   the connection.
//! - **Exceptions** keep kind, details and trace through any number of vats; each vat that passes one
//!   on adds one line to the trace, up to 4 KiB. "remote exception:" in front of a reason is taken
//!   off. What breaks because the peer aborted the connection has the trace and details of the
//!   peer's reason.
//! - **Streams.** The bytes of [streaming](LocalCall::is_streaming) calls on a reference are counted
//!   from the send to the answer, which comes from the end of the chain; the window is fixed
//!   ([`Config::stream_window`]). The engine tells whether there is room and holds nothing back.
//! - **Soft limits** give way when nothing moves for [`Config::patience`], up to the hard ones,
//!   since what waits may be what the peer waits for. A hello says both limits of its sender. Reads
//!   are never paused for a peer that ignores them (plain Cap'n Proto is told none): Returns come in
//!   the same stream as calls, and two full vats would wait for each other. It is aborted at the hard
//!   limit.
//! - **Idle connections** are the driver's business: [`Engine::is_idle`] tells. Closing one sends
//!   nothing.
//! - **Unimplemented.** An echo of something that every peer must know ends the connection. Of a
//!   Return only results and exceptions are such: capnp-rpc echoes other forms when it no longer
//!   waits for them.
//! - **Answers end.** A place inside an answer is pinned until the Return says that it is an export
//!   of the peer, which is pinned in its stead, or until nothing is on its way there any more. Two
//!   vats that return references inside each other's answers would otherwise keep them for ever.
//! - **A promise that becomes another promise** which the peer does not know yet keeps its export;
//!   no Resolve is sent until there is something to say.
//! - **Broken references** travel as promises that are resolved with the exception right after the
//!   message. Something settled that breaks later (its connection was lost behind us) has no message
//!   in the protocol: the peer learns it from its next call.
//! - **Sameness.** Two references of one peer are the same if they are the same import. Otherwise
//!   nobody can know: the peer, or we, may stand between.
//! - **Circles.** A promise that resolves to itself breaks, also across vats. Two calls that are each
//!   answered with the other's result have no end that either vat could see: what is sent there goes
//!   round until the limit of unanswered calls stops it. Only a cancelled call for which its caller
//!   wanted no pipelining, on one connection between vats that make tail calls, is stopped by nobody.
//! - **Descriptors** that come with a message and belong to no reference in it are closed.
//!
//! # Example
//!
//! A vat that calls itself, and the same call between two engines:
//!
//! ```
//! # use captp::*;
//! # struct Greeter;
//! # struct Greet(String);
//! # impl Host for Greeter { type Call = Greet; type Reply = (); type Job = (); }
//! impl LocalCall for Greet {
//!     type Reply = ();
//!     fn interface(&self) -> u64 { 0x8000_0000_0000_0001 }
//!     fn method(&self) -> u16 { 0 }
//!     fn encode(
//!         self,
//!         params: &mut Content,
//!     ) -> Result<Encoded<()>, ((), Exception)> {
//!         let too_long = || ((), Exception::failed("the name is too long"));
//!         params.text(params.root(), &self.0).ok_or_else(too_long)?;
//!         Ok(Encoded { reply: (), pipelined: Promised::new() })
//!     }
//! }
//!
//! let mut server = Engine::<Greeter>::new(Config::default());
//! let object = server.object(ObjectKey(1));
//! server.send(object, Greet("you".to_owned()));
//! assert!(matches!(
//!     server.poll_output(),
//!     Some(Output::Deliver { object: ObjectKey(1), call: Incoming::Local(Greet(_)) })
//! ));
//!
//! let mut client = Engine::<Greeter>::new(Config::default());
//! let here = client.open(ConnOptions::default());
//! let there = server.open(ConnOptions::default().with_bootstrap(object));
//! let greeter = client.bootstrap(here);
//! client.send(greeter, Greet("over there".to_owned()));
//! let mut transmit = Transmit::new();
//! client.poll_transmit(here, &mut transmit);
//! // Bootstrap and call; only the call gives the server something to do.
//! let bytes = transmit.take_bytes();
//! assert_eq!(server.handle_bytes(there, &bytes, Vec::new()), bytes.len());
//! let Some(Output::Deliver { call: Incoming::Wire(call), .. }) = server.poll_output() else {
//!     panic!("no call");
//! };
//! let text: capnp::text::Reader<'_> = call.params.content()?.get_as()?;
//! assert_eq!(text.to_str()?, "over there");
//! server.answer(call.answer, Err(Exception::overloaded("tomorrow")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod connection;
mod contact;
mod content;
mod engine;
mod error;
mod exception;
mod frame;
mod hello;
mod hook;
mod host;
mod id;
mod limits;
mod message;
mod path;
mod payload;
mod transmit;

/// What a test sees of the engine's inside, and faults that it can put there.
///
/// Only with the feature `testing`, which adds this module, [`Engine::set_fault`],
/// [`Engine::tables`] and [`Engine::dump`], and changes nothing else: an engine in which no fault
/// was set behaves as without the feature.
#[cfg(any(test, feature = "testing"))]
pub mod testing {
    pub use crate::engine::testing::{Fault, Tables};
    #[cfg(feature = "testing")]
    pub use crate::message::probe::read_stream;
}

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    unnameable_types,
    missing_debug_implementations,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    clippy::nursery,
    reason = "generated by capnpc-rust; see .ci/generate"
)]
#[rustfmt::skip]
#[path = "generated/captp_capnp.rs"]
mod captp_capnp;
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    unnameable_types,
    missing_debug_implementations,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    clippy::nursery,
    reason = "generated by capnpc-rust; see .ci/generate"
)]
#[rustfmt::skip]
#[path = "generated/network_capnp.rs"]
mod network_capnp;

pub use contact::{Identity, Introduction, Signer, VatKey};
pub use content::{Content, Elements, Slot};
pub use engine::{Config, ConnOptions, DialId, Engine, NodeState, Output, Stats};
pub use error::{ApiMisuse, CloseReason, PeerMisbehaved};
pub use exception::{Detail, Exception, ExceptionKind};
pub use frame::{SHARED_BYTES, is_shared};
pub use hello::{Features, PeerHello};
pub use hook::{cap_hook, cap_index};
pub use host::{AnswerToken, Encoded, Host, Incoming, LocalCall, Promised, WireCall, WriteResults};
pub use id::{AnswerId, ConnId, EmbargoId, ExportId, ImportId, NodeId, ObjectKey, QuestionId};
pub use limits::Limits;
pub use payload::{Payload, Plain};
pub use transmit::Transmit;

#[cfg(test)]
mod tests;
