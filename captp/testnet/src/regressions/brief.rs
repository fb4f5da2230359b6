//! Operations in few words, for runs that were written by hand.

use crate::content::Slot;
use crate::oracle::Op;
use crate::oracle::script::{Name, With};

/// A call with references, which asks for some in its answer.
pub(super) fn call(id: u32, on: Name, with: &[(Slot, Name)], ask: &[Slot]) -> Vec<Op> {
    let (with, ask) = (With::from(with), ask.to_vec());
    vec![Op::Call { id, on, with, ask }]
}

/// A call is answered with one reference.
pub(super) fn answer(id: u32, call: u32, name: Name) -> Vec<Op> {
    let with = vec![(0, name)];
    vec![Op::Answer { id, call, with }]
}

/// A promise becomes another reference.
pub(super) fn resolve(promise: u32, to: Name) -> Vec<Op> {
    vec![Op::Resolve { promise, to }]
}

/// A vat asks a neighbour for its bootstrap reference.
pub(super) fn bootstrap(id: u32, vat: usize, peer: usize) -> Vec<Op> {
    let lane = 0;
    vec![Op::Bootstrap {
        id,
        vat,
        peer,
        lane,
    }]
}

/// The next so many messages between two vats arrive; also fewer.
pub(super) fn deliver(from: usize, to: usize, many: usize) -> Vec<Op> {
    let lane = 0;
    vec![Op::Deliver { from, to, lane }; many]
}
