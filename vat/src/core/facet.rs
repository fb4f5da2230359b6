//! Facets: an object together with the interface that a reference to it was made for.

use std::any::TypeId;
use std::rc::Rc;

use captp::ObjectKey;

use super::dispatch::Dispatch;
use super::heap::{AnyObject, Object};
use super::near::Near;
use super::quietly;
use super::reference::Ref;
use super::vat::Shared;

/// No facet: end of an object's list.
pub(crate) const NONE: u32 = u32::MAX;

/// All facets that references point to. A facet keeps its object alive.
#[derive(Default)]
pub(crate) struct Facets {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    facet: Option<Facet>,
}

#[derive(Clone)]
pub(crate) struct Facet {
    pub(crate) object: Rc<dyn AnyObject>,
    pub(crate) dispatch: &'static Dispatch,
    /// A dispatch table's address is no identity in Rust; the type of the interface is.
    interface: TypeId,
    /// Next facet of the same object.
    next: u32,
}

impl Facets {
    pub(crate) fn get(&self, key: ObjectKey) -> Option<Facet> {
        let (index, generation) = split(key);
        let slot = self.slots.get(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        slot.facet.clone()
    }

    pub(crate) fn object(&self, key: ObjectKey) -> Option<Rc<dyn AnyObject>> {
        self.get(key).map(|facet| facet.object)
    }

    /// Takes all facets, when the vat ends.
    pub(crate) fn take_all(&mut self) -> Vec<Facet> {
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.facet.take())
            .collect()
    }

    fn find(&self, first: u32, interface: TypeId) -> Option<ObjectKey> {
        let mut index = first;
        loop {
            let slot = self.slots.get(index as usize)?;
            let facet = slot.facet.as_ref()?;
            if facet.interface == interface {
                return Some(join(index, slot.generation));
            }
            index = facet.next;
        }
    }

    fn insert(&mut self, facet: Facet) -> ObjectKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        facet.object.head().facet.set(index);
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.generation = slot.generation.wrapping_add(1);
            generation = slot.generation;
            slot.facet = Some(facet);
        }
        join(index, generation)
    }

    fn remove(&mut self, key: ObjectKey) -> Option<Facet> {
        let (index, generation) = split(key);
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        let facet = slot.facet.take()?;
        self.free.push(index);
        self.unlink(&facet, index);
        Some(facet)
    }

    /// Takes a removed facet out of its object's list.
    fn unlink(&mut self, facet: &Facet, index: u32) {
        let head = facet.object.head();
        if head.facet.get() == index {
            head.facet.set(facet.next);
            return;
        }
        let mut at = head.facet.get();
        while let Some(before) = self
            .slots
            .get_mut(at as usize)
            .and_then(|slot| slot.facet.as_mut())
        {
            if before.next == index {
                before.next = facet.next;
                return;
            }
            at = before.next;
        }
    }
}

impl Shared {
    /// The reference to the facet that `near` has for this interface.
    pub(crate) fn facet<T: Object>(
        self: &Rc<Self>,
        near: &Near<T>,
        interface: TypeId,
        dispatch: &'static Dispatch,
    ) -> Ref {
        let key = {
            let mut facets = self.facets.borrow_mut();
            let next = near.0.head.facet.get();
            facets.find(next, interface).unwrap_or_else(|| {
                let object: Rc<dyn AnyObject> = Rc::<super::heap::Obj<T>>::clone(&near.0);
                facets.insert(Facet {
                    object,
                    dispatch,
                    interface,
                    next,
                })
            })
        };
        let node = self.engine(|engine| engine.object(key));
        Ref::from_node(self, node)
    }

    /// No reference to this facet is left.
    pub(crate) fn drop_facet(&self, key: ObjectKey) {
        // A new reference may have been made since the last old one went.
        if self.engine(|engine| engine.has_object(key)) {
            return;
        }
        let facet = self.facets.borrow_mut().remove(key);
        quietly(|| drop(facet));
    }
}

fn join(index: u32, generation: u32) -> ObjectKey {
    ObjectKey(u64::from(generation) << 32 | u64::from(index))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of a 64-bit key"
)]
fn split(key: ObjectKey) -> (u32, u32) {
    (key.0 as u32, (key.0 >> 32) as u32)
}
