//! Other implementations of Cap'n Proto RPC, in both directions, over real sockets: capnp-rpc
//! (Rust) on a thread of its own, pycapnp (the C++ implementation) in a process of its own; our side is a
//! vat program as everybody writes one.
//!
//! The same behaviours are tried with every peer, over a Unix socket and over TLS 1.3 through TCP;
//! each test goes through all of them in this order, and says at which one it failed:
//!
//! | behaviour | we call | they call |
//! |---|---|---|
//! | call: 100 under way, answered in order | all | all |
//! | callback: the callee calls an object of the caller | all | all |
//! | pipelining: three calls in a row, none waits for another | all | all |
//! | a promise in the parameters is resolved later, or broken | all | all |
//! | an answer that comes later; calls on it wait, in order | all | all |
//! | embargo: our own object comes back, calls before and after keep their order | all | all |
//! | the caller loses interest, or cancels: the call runs to its end | all | all |
//! | exceptions: kind and text | all | all |
//! | an interface that the object has not: unimplemented | all | capnp-rpc |
//! | large messages: 1 MiB arrives; 9 MiB is above the limit | call fails | connection ends |
//! | 9,900 references: exported, counted, released on both sides | all | all |
//! | the connection ends in the middle of ten calls | calls fail | nothing is left |
//!
//! | peer | Unix | TLS |
//! |---|---|---|
//! | capnp-rpc, we call | `we_call_capnp_rpc_over_a_unix_socket` | `we_call_capnp_rpc_over_tls` |
//! | capnp-rpc calls | `capnp_rpc_calls_us_over_a_unix_socket` | `capnp_rpc_calls_us_over_tls` |
//! | pycapnp, we call | `we_call_pycapnp_over_a_unix_socket` | `we_call_pycapnp_over_tls` |
//! | pycapnp calls | `pycapnp_calls_us_over_a_unix_socket` | `pycapnp_calls_us_over_tls` |
//!
//! A Python program has no promises of its own to answer with: pycapnp's "later" is an answer that is
//! late. In parameters, it passes what such an answer of its own object will hold. What a Python
//! method raises has the kind Failed. `the_committed_interface_is_ours` proves that the file
//! `interop/peer.capnp`, from which the other sides are made, is what our trait prints.

mod guestbook;
mod ours;
mod python;
mod rust;
mod transport;
