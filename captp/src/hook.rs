//! Capability pointers: what stands in the capability table of a message that is read or written.
//!
//! The `capnp` library represents a capability by a hook that can be called. The engine does not
//! call through hooks: here they only carry a number, a node while a message is written and an
//! index into the message's references while it is read.

use capnp::MessageSize;
use capnp::any_pointer;
use capnp::capability::{Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, RequestHook, ResultsHook};
use capnp::private::layout::CapTable;

use crate::NodeId;

/// Addresses of these two tell our hooks from those of any other library.
static NODE: u8 = b'n';
static INDEX: u8 = b'i';

fn node_brand() -> usize {
    &raw const NODE as usize
}

fn index_brand() -> usize {
    &raw const INDEX as usize
}

#[derive(Clone, Copy)]
struct Hook {
    brand: usize,
    value: usize,
}

/// The capability pointer that stands for `node` in a message being written.
///
/// It borrows the node: the engine retains what it puts into the message.
#[must_use]
pub fn cap_hook(node: NodeId) -> Box<dyn ClientHook> {
    Box::new(Hook {
        brand: node_brand(),
        value: node.to_bits(),
    })
}

/// Which of the message's references a capability pointer read from a [`Payload`](crate::Payload)
/// stands for: an index into [`Payload::caps`](crate::Payload::caps).
#[must_use]
pub fn cap_index(hook: &dyn ClientHook) -> Option<usize> {
    (hook.get_brand() == index_brand()).then(|| hook.get_ptr())
}

/// The node that a hook made by [`cap_hook`] carries.
pub(crate) fn hook_node(hook: &dyn ClientHook) -> Option<NodeId> {
    (hook.get_brand() == node_brand()).then(|| NodeId::from_bits(hook.get_ptr()))
}

/// A table with which `len` capability pointers read as their own indexes.
pub(crate) fn index_table(len: usize) -> CapTable {
    (0..len)
        .map(|value| {
            let hook: Box<dyn ClientHook> = Box::new(Hook {
                brand: index_brand(),
                value,
            });
            Some(hook)
        })
        .collect()
}

fn not_callable() -> capnp::Error {
    capnp::Error::unimplemented(
        "a reference inside a message cannot be called; send through the engine".to_owned(),
    )
}

struct Uncallable(capnp::message::Builder<capnp::message::HeapAllocator>);

impl ClientHook for Hook {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(*self)
    }

    fn new_call(
        &self,
        _interface_id: u64,
        _method_id: u16,
        _size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        Request::new(Box::new(Uncallable(capnp::message::Builder::new_default())))
    }

    fn call(
        &self,
        _interface_id: u64,
        _method_id: u16,
        _params: Box<dyn ParamsHook>,
        _results: Box<dyn ResultsHook>,
    ) -> Promise<(), capnp::Error> {
        Promise::err(not_callable())
    }

    fn get_brand(&self) -> usize {
        self.brand
    }

    fn get_ptr(&self) -> usize {
        self.value
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        None
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, capnp::Error>> {
        None
    }

    fn when_resolved(&self) -> Promise<(), capnp::Error> {
        Promise::ok(())
    }
}

impl RequestHook for Uncallable {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        self.0.init_root()
    }

    fn get_brand(&self) -> usize {
        0
    }

    fn send(self: Box<Self>) -> capnp::capability::RemotePromise<any_pointer::Owned> {
        capnp::capability::RemotePromise {
            promise: Promise::err(not_callable()),
            pipeline: any_pointer::Pipeline::new(Box::new(NoPipeline)),
        }
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), capnp::Error> {
        Promise::err(not_callable())
    }

    fn tail_send(
        self: Box<Self>,
    ) -> Option<(
        u32,
        Promise<(), capnp::Error>,
        Box<dyn capnp::private::capability::PipelineHook>,
    )> {
        None
    }
}

struct NoPipeline;

impl capnp::private::capability::PipelineHook for NoPipeline {
    fn add_ref(&self) -> Box<dyn capnp::private::capability::PipelineHook> {
        Box::new(Self)
    }

    fn get_pipelined_cap(
        &self,
        _ops: &[capnp::private::capability::PipelineOp],
    ) -> Box<dyn ClientHook> {
        Box::new(Hook { brand: 0, value: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_carry_their_number_and_nothing_else() {
        let node = NodeId::new(7, 9);
        assert_eq!(hook_node(&*cap_hook(node)), Some(node));
        assert_eq!(cap_index(&*cap_hook(node)), None);
        let table = index_table(3);
        let indexes: Vec<_> = table
            .iter()
            .flatten()
            .map(|hook| cap_index(&**hook))
            .collect();
        assert_eq!(indexes, [Some(0), Some(1), Some(2)]);
    }
}
