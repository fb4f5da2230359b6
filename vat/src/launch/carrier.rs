//! Descriptors on their way to a program: connected streams, and the file of its durable store.

use std::any::Any;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::power::{StoreFile, StoreFileRef, Stream, StreamRef};
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

/// What the descriptor of a durable store is attached to on its way.
#[derive(vat::Object)]
#[object(external)]
struct StoreCarrier;

impl StoreFile for StoreCarrier {}

/// A reference with this file, which this process closes when the program has let go of it.
pub(super) fn carry_store(turn: &Turn, file: File) -> StoreFileRef {
    let carrier = StoreFileRef::from(&turn.spawn(StoreCarrier));
    Ref::from(carrier).with_fd(Rc::new(file.into())).into()
}
