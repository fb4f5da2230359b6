//! Descriptors of connected streams on their way to a program.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::power::{Stream, StreamRef};
use crate::prelude::*;

/// What a stream's descriptor is attached to on its way. As long as its receiver keeps it, this
/// process has the descriptor as well, and what was kept for it.
#[derive(vat::Object)]
#[object(external)]
struct Carrier {
    _kept: Box<dyn Any>,
}

impl Stream for Carrier {}

/// A reference with this descriptor. `kept` is dropped with the last of it.
pub(super) fn carry(turn: &Turn, stream: OwnedFd, kept: impl Any) -> StreamRef {
    let kept = Box::new(kept);
    let carrier = StreamRef::from(&turn.spawn(Carrier { _kept: kept }));
    Ref::from(carrier).with_fd(Rc::new(stream)).into()
}
