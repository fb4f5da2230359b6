//! The heap: every object of a vat, its state, and the old state a failed turn goes back to.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::death::Fate;
use super::quietly;
use super::vat::Shared;
use crate::durable::{CodecError, DurableType, Kind};
use crate::error::Result;

/// A type whose values can live in a vat as objects. Derive it: `#[derive(Clone, vat::Object)]`.
///
/// A *transactional* object (the default) is `Clone`: the state it had before a turn first touched
/// it comes back when the turn fails. An *external* one, `#[object(external)]`, stands for
/// something outside that cannot be rolled back (a socket, a file): its changes stay when a turn
/// fails, and it is dead once a panic passed through one of its methods.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in a vat",
    label = "not an object",
    note = "put `#[derive(Clone, vat::Object)]` before the type, or `#[derive(vat::Object)]` and \
            `#[object(external)]` if it stands for something outside of the vat"
)]
pub trait Object: Sized + 'static {
    /// Whether a failed turn brings the old state back.
    const TRANSACTIONAL: bool;

    /// How the state is kept on disk, if it is; see [`durable`](crate::durable).
    #[doc(hidden)]
    const DURABLE: Option<Kind<Self>> = None;

    /// The state as it is now, to go back to; `None` for external objects.
    fn old_state(&self) -> Option<Self>;
}

/// A near reference is itself a value that can be an object.
impl<T: Object> Object for super::Near<T> {
    const TRANSACTIONAL: bool = true;

    fn old_state(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// All objects of one vat: slots with generations, so that a vat can list and drop them.
#[derive(Default)]
pub(crate) struct Heap {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots that objects have taken since somebody asked for births.
    born: Vec<u32>,
    /// How many want to know of births.
    asking: u32,
}

/// The objects that are made while this lives.
pub(crate) struct Births<'a> {
    vat: &'a Shared,
    since: usize,
}

impl Births<'_> {
    pub(crate) fn include(&self, object: &Rc<dyn AnyObject>) -> bool {
        let heap = self.vat.heap.borrow();
        let born = heap.born.get(self.since..).unwrap_or_default();
        born.contains(&object.head().slot)
    }
}

impl Drop for Births<'_> {
    fn drop(&mut self) {
        let mut heap = self.vat.heap.borrow_mut();
        heap.asking -= 1;
        if heap.asking == 0 {
            heap.born.clear();
        }
    }
}

impl Shared {
    /// Notes from now on which objects are made.
    pub(crate) fn births(&self) -> Births<'_> {
        let mut heap = self.heap.borrow_mut();
        heap.asking += 1;
        let since = heap.born.len();
        Births { vat: self, since }
    }
}

struct Slot {
    generation: u32,
    object: Option<Weak<dyn AnyObject>>,
}

impl Heap {
    pub(crate) fn get(&self, slot: u32) -> Option<Rc<dyn AnyObject>> {
        self.slots.get(slot as usize)?.object.as_ref()?.upgrade()
    }

    /// Every object that is alive.
    pub(crate) fn objects(&self) -> Vec<Rc<dyn AnyObject>> {
        self.slots
            .iter()
            .filter_map(|slot| slot.object.as_ref()?.upgrade())
            .collect()
    }

    /// How many objects are alive.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn insert(&mut self, object: Weak<dyn AnyObject>) -> (u32, u32) {
        let free = self.free.pop();
        if let Some(slot) = free.and_then(|index| self.slots.get_mut(index as usize)) {
            slot.generation = slot.generation.wrapping_add(1);
            slot.object = Some(object);
            let (index, generation) = (free.unwrap_or_default(), slot.generation);
            self.note_birth(index);
            return (index, generation);
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot {
            generation: 0,
            object: Some(object),
        });
        self.note_birth(index);
        (index, 0)
    }

    fn note_birth(&mut self, slot: u32) {
        if self.asking > 0 {
            self.born.push(slot);
        }
    }

    fn remove(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.object = None;
            self.free.push(index);
        }
    }
}

/// What is known of every object, whatever its type.
pub(crate) struct Head {
    pub(crate) vat: Weak<Shared>,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// Number of the last turn that took the old state.
    pub(crate) touched: Cell<u64>,
    /// Where the running near call was made.
    pub(crate) site: Cell<Option<&'static Location<'static>>>,
    /// The last facet made of it (see `facet`).
    pub(crate) facet: Cell<u32>,
    pub(crate) fate: Fate,
}

/// An object: what [`Near`](super::Near) points to.
pub(crate) struct Obj<T> {
    pub(crate) head: Head,
    /// `None` once the object is dead or its vat has ended.
    pub(crate) state: RefCell<Option<T>>,
}

/// An object of any type.
pub(crate) trait AnyObject: Any {
    fn head(&self) -> &Head;
    /// The name of its Rust type, without the path.
    fn type_name(&self) -> &'static str;
    /// Takes the old state; `None` for external objects.
    fn remember(self: Rc<Self>) -> Option<Box<dyn Undo>>;
    /// Takes the state out, for good.
    fn take_state(&self) -> Option<Box<dyn Any>>;
    /// How its type is kept on disk, if it is.
    fn durable(&self) -> Option<DurableType>;
    /// Whether the state can be written. Nothing happens if there is none.
    fn check_state(&self) -> Result<(), CodecError>;
    /// Writes the state. `false`: there is none.
    fn write_state(&self, out: &mut Vec<u8>) -> Result<bool, CodecError>;
    /// Gives the state that was written by this version of its type to an object without one.
    fn read_state(&self, version: u32, bytes: &[u8]) -> Result<()>;
}

impl<T: Object> AnyObject for Obj<T> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn type_name(&self) -> &'static str {
        short(std::any::type_name::<T>())
    }

    fn remember(self: Rc<Self>) -> Option<Box<dyn Undo>> {
        let state = self.state.try_borrow().ok()?.as_ref()?.old_state()?;
        Some(Box::new(Old {
            object: self,
            state,
        }))
    }

    fn take_state(&self) -> Option<Box<dyn Any>> {
        let state = self.state.try_borrow_mut().ok()?.take()?;
        Some(Box::new(state))
    }

    fn durable(&self) -> Option<DurableType> {
        T::DURABLE.as_ref().map(Kind::durable_type)
    }

    fn check_state(&self) -> Result<(), CodecError> {
        match (T::DURABLE, self.state.try_borrow().as_deref()) {
            (Some(kind), Ok(Some(state))) => kind.check(state),
            _ => Ok(()),
        }
    }

    fn write_state(&self, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match (T::DURABLE, self.state.try_borrow().as_deref()) {
            (Some(kind), Ok(Some(state))) => kind.write(state, out).map(|()| true),
            _ => Ok(false),
        }
    }

    fn read_state(&self, version: u32, bytes: &[u8]) -> Result<()> {
        let Some(kind) = T::DURABLE else {
            return Ok(());
        };
        let state = kind.read(version, bytes)?;
        if let Ok(mut place) = self.state.try_borrow_mut() {
            *place = Some(state);
        }
        Ok(())
    }
}

impl<T: Object> Obj<T> {
    /// A new object in this vat's heap. `turn` is the number of the turn that makes it: should that
    /// turn fail, nobody has the object, so it needs no old state.
    pub(crate) fn new(vat: &Rc<Shared>, state: T, turn: u64) -> Rc<Self> {
        Self::with(vat, Some(state), turn)
    }

    /// An object that is given its state afterwards.
    pub(crate) fn without_state(vat: &Rc<Shared>) -> Rc<Self> {
        Self::with(vat, None, 0)
    }

    fn with(vat: &Rc<Shared>, state: Option<T>, turn: u64) -> Rc<Self> {
        Rc::new_cyclic(|me: &Weak<Self>| {
            let (slot, generation) = vat.heap.borrow_mut().insert(me.clone());
            let head = Head {
                vat: Rc::downgrade(vat),
                slot,
                generation,
                touched: Cell::new(turn),
                site: Cell::new(None),
                facet: Cell::new(super::facet::NONE),
                fate: Fate::default(),
            };
            Self {
                head,
                state: RefCell::new(state),
            }
        })
    }
}

impl<T> Drop for Obj<T> {
    fn drop(&mut self) {
        if let Some(vat) = self.head.vat.upgrade()
            && let Ok(mut heap) = vat.heap.try_borrow_mut()
        {
            heap.remove(self.head.slot);
        }
        let state = self.state.get_mut().take();
        quietly(|| drop(state));
    }
}

/// `Type#slot.generation`.
impl fmt::Display for dyn AnyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head();
        write!(f, "{}#{}.{}", self.type_name(), head.slot, head.generation)
    }
}

/// A state to go back to.
pub(crate) trait Undo {
    fn restore(self: Box<Self>);
}

struct Old<T: Object> {
    object: Rc<Obj<T>>,
    state: T,
}

impl<T: Object> Undo for Old<T> {
    fn restore(self: Box<Self>) {
        let Self { object, state } = *self;
        let failed = object
            .state
            .try_borrow_mut()
            .ok()
            .and_then(|mut slot| slot.replace(state));
        // The program's own `Drop` code runs here: after the borrow has ended.
        drop(failed);
    }
}

/// `a::b::Type<c::D>` → `Type<c::D>`.
fn short(name: &'static str) -> &'static str {
    let end = name.find('<').unwrap_or(name.len());
    let start = name
        .get(..end)
        .and_then(|path| path.rfind("::"))
        .map_or(0, |at| at + 2);
    name.get(start..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_type_is_shown_without_its_path() {
        assert_eq!(short("a::b::Book"), "Book");
        assert_eq!(short("a::Box<c::D>"), "Box<c::D>");
        assert_eq!(short("Book"), "Book");
    }
}
