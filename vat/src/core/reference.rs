//! References: one small type for near, far, unresolved and broken ones.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use captp::{Exception, NodeId, NodeState, ObjectKey};

use super::call::{AnyCall, Call, Method, TypedCall};
use super::heap::{AnyObject, Obj, Object};
use super::near::Near;
use super::promise::{Promisable, Promise, Resolver};
use super::turn::{Effect, Turn, Work};
use super::vat::{Job, Shared};
use crate::data::{self, Data};
use crate::error::{Error, Result};

/// A reference to an object, wherever it is, without its interface; every `XRef` derefs to it.
///
/// Cloning is cheap. A reference points weakly to its vat: a send needs no turn. It has no `==`, as
/// two references can turn out to denote one object later; see [`same`](Self::same).
///
/// # Authority
///
/// Holding a reference is the permission to call all methods of its facet, and to pass it on.
#[derive(Clone)]
pub struct Ref(Rc<Inner>);

struct Inner {
    vat: Weak<Shared>,
    node: NodeId,
}

/// A reference that keeps nothing alive, to recognise it and its clones.
pub(crate) struct WeakRef(Weak<Inner>);

impl WeakRef {
    /// Whether `reference` is the one, or a clone of it.
    pub(crate) fn is(&self, reference: &Ref) -> bool {
        std::ptr::eq(self.0.as_ptr(), Rc::as_ptr(&reference.0))
    }

    /// Whether nobody has it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Two settled references to one facet have equal identities; see [`Ref::identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(IdentityOf);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum IdentityOf {
    Near(u64),
    Far(NodeId),
}

/// An interface: what every `XRef` type tells. Implemented by `#[vat::interface]` only; not stable.
pub trait Interface: From<Ref> + Into<Ref> + Clone + 'static {
    /// The interface id, as it is on the wire.
    const ID: u64;
    /// `package::Trait`.
    const NAME: &'static str;
}

impl Ref {
    /// Takes over one count of `node`.
    pub(crate) fn from_node(vat: &Rc<Shared>, node: NodeId) -> Self {
        Self(Rc::new(Inner {
            vat: Rc::downgrade(vat),
            node,
        }))
    }

    /// An unresolved reference; broken if there is no vat any more.
    pub(crate) fn promised_in(vat: Option<&Rc<Shared>>) -> Self {
        match vat {
            Some(vat) => {
                let node = vat.engine(captp::Engine::promise);
                Self::from_node(vat, node)
            }
            None => Self(Rc::new(Inner {
                vat: Weak::new(),
                node: NodeId::STALE,
            })),
        }
    }

    /// A reference that is broken with this reason from the beginning.
    pub fn broken(turn: &Turn, reason: impl Into<Error>) -> Self {
        let reason = Exception::from(&reason.into());
        let node = turn.0.engine(|engine| engine.broken(reason));
        Self::from_node(&turn.0, node)
    }

    /// An eventual send: the call runs in a later turn, wherever the object is. Senders of `XRef`
    /// types call this.
    pub fn send<M: Method>(&self, params: M::Params) -> <M::Output as Data>::Promised {
        let Some(vat) = self.vat() else {
            return <M::Output as Data>::Promised::ended(self);
        };
        let (promised, answer) = <M::Output as Data>::Promised::promised(&vat);
        if M::CANCELLABLE {
            answer.set_question(Self::promised_in(Some(&vat)));
        }
        if let Some(deadline) = vat.turn.deadline.get() {
            answer.hurry(&vat, deadline);
        }
        let call = TypedCall::<M>::new(params, answer);
        vat.effect(Effect::Send(self.clone(), Box::new(call)));
        promised
    }

    /// An eventual send of a call whose method is known at run time only. If the reference's vat has
    /// ended, the call is dropped.
    pub(crate) fn send_call(&self, call: Box<dyn Call>) {
        if let Some(vat) = self.vat() {
            vat.effect(Effect::Send(self.clone(), call));
        }
    }

    /// Passes a call on, whatever its interface; its answer goes to who made it.
    pub fn forward(&self, call: AnyCall) {
        // A call of another vat is answered there, by being dropped here.
        if let Some(vat) = self.vat()
            && call.is_of(&vat)
        {
            vat.effect(Effect::Forward(self.clone(), call));
        }
    }

    /// Waits until it is known what the reference denotes; breaks if the reference is broken.
    pub fn settled(&self) -> Promise<()> {
        let Some(vat) = self.vat() else {
            return Promise::settled(super::promise::vat_ended());
        };
        let (promise, resolver) = Promise::new(&vat);
        let wait = Wait {
            reference: self.clone(),
            resolver,
        };
        vat.effect(Effect::Now(Box::new(wait)));
        promise
    }

    /// Whether both denote the same facet of the same object; `None` while it is not known.
    pub fn same(&self, other: &Self) -> Option<bool> {
        if Rc::ptr_eq(&self.0, &other.0) {
            return Some(true);
        }
        // Node numbers of different vats cannot be compared.
        if !Weak::ptr_eq(&self.0.vat, &other.0.vat) {
            return None;
        }
        let vat = self.vat()?;
        vat.engine(|engine| engine.same(self.0.node, other.0.node))
    }

    /// What tells this reference's facet from all others of the same vat: for keys of maps. `None`
    /// while it is not known, or if the reference is broken.
    ///
    /// A far object's identity stays the same as long as somebody in this vat holds a reference.
    pub fn identity(&self) -> Option<Identity> {
        let vat = self.vat()?;
        if self.broken_reason().is_some() {
            return None;
        }
        let node = vat.engine(|engine| engine.identity(self.0.node))?;
        Some(Identity(match self.near_key(&vat) {
            Some(key) => IdentityOf::Near(key.0),
            None => IdentityOf::Far(node),
        }))
    }

    /// The object itself, if it lives in this vat and has this type: rights amplification, for those
    /// who have the type.
    pub fn downcast<T: Object>(&self, turn: &Turn) -> Option<Near<T>> {
        let key = self.near_key(&turn.0)?;
        let object = turn.0.facets.borrow().object(key)?;
        (object as Rc<dyn Any>).downcast::<Obj<T>>().ok().map(Near)
    }

    /// Whether the object lives in this vat, as far as is known.
    pub fn is_near(&self) -> bool {
        self.vat().is_some_and(|vat| self.near_key(&vat).is_some())
    }

    /// Why the reference is broken; `None` if it is not.
    pub fn broken_reason(&self) -> Option<Error> {
        let Some(vat) = self.vat() else {
            return super::promise::vat_ended::<()>().err();
        };
        let near = vat.engine(|engine| match engine.state(self.0.node) {
            NodeState::Broken(reason) => Err(Error::from(reason.clone())),
            NodeState::Near(key) => Ok(Some(key)),
            NodeState::Far(_) | NodeState::Unresolved => Ok(None),
        });
        match near {
            Ok(key) => {
                let object = vat.facets.borrow().object(key?)?;
                let dead = object.head().fate.is_dead();
                dead.then(|| super::death::dead(&*object))
            }
            Err(reason) => Some(reason),
        }
    }

    /// The object itself, if it lives in this vat, whatever its type.
    pub(crate) fn object(&self) -> Option<Rc<dyn AnyObject>> {
        let vat = self.vat()?;
        let key = self.near_key(&vat)?;
        vat.facets.borrow().object(key)
    }

    /// The file descriptor that is attached to the reference, if it carries one.
    pub fn fd(&self) -> Option<Rc<OwnedFd>> {
        self.vat()?.engine(|engine| engine.fd(self.0.node))
    }

    /// The attached descriptor, for ourselves: for a stream that was passed to this vat.
    ///
    /// # Errors
    ///
    /// When there is none, or this process has no room for another one.
    pub(crate) fn take_fd(&self) -> Result<OwnedFd> {
        let attached = self.fd().ok_or_else(|| {
            Error::failed(
                "no descriptor came with the stream, or too many had come (captp's limit \
                     import_fds) and it was closed",
            )
        })?;
        // The engine keeps its own until the reference goes.
        match Rc::try_unwrap(attached) {
            Ok(owned) => Ok(owned),
            Err(shared) => shared.try_clone().map_err(Error::of),
        }
    }

    /// The same reference with this descriptor attached: whoever it is passed to over a local socket
    /// gets a copy of the descriptor.
    ///
    /// # Authority
    ///
    /// A descriptor cannot be revoked once it is passed.
    #[must_use]
    pub fn with_fd(self, fd: Rc<OwnedFd>) -> Self {
        if let Some(vat) = self.vat() {
            vat.engine(|engine| engine.attach_fd(self.0.node, fd));
        }
        self
    }

    /// What stands for it in a message of its vat.
    ///
    /// `None` if the message leaves another vat: node numbers mean nothing there.
    pub(crate) fn leaving_node(&self) -> Option<NodeId> {
        let leaving = LEAVING.get();
        if !leaving.is_null() && !std::ptr::eq(leaving, self.0.vat.as_ptr()) {
            return None;
        }
        Some(self.0.node)
    }

    pub(crate) fn node(&self) -> NodeId {
        self.0.node
    }

    pub(crate) fn vat(&self) -> Option<Rc<Shared>> {
        self.0.vat.upgrade()
    }

    /// The reference, without keeping it alive.
    pub(crate) fn weak(&self) -> WeakRef {
        WeakRef(Rc::downgrade(&self.0))
    }

    pub(crate) fn vat_weak(&self) -> Weak<Shared> {
        Weak::clone(&self.0.vat)
    }

    fn near_key(&self, vat: &Rc<Shared>) -> Option<ObjectKey> {
        if !std::ptr::eq(self.0.vat.as_ptr(), Rc::as_ptr(vat)) {
            return None;
        }
        vat.engine(|engine| match engine.state(self.0.node) {
            NodeState::Near(key) => Some(key),
            NodeState::Far(_) | NodeState::Unresolved | NodeState::Broken(_) => None,
        })
    }
}

/// Dropping a reference only notes the release; the end of the turn does it.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(vat) = self.vat.upgrade() {
            vat.release_later(self.node);
        }
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(vat) = self.vat() else {
            return f.write_str("(ended)");
        };
        let Ok(engine) = vat.engine.try_borrow() else {
            return f.write_str("(reference)");
        };
        match engine.state(self.0.node) {
            NodeState::Near(key) => match vat.facets.borrow().object(key) {
                Some(object) => write!(f, "(near {object})"),
                None => f.write_str("(near)"),
            },
            NodeState::Far(_) => f.write_str("(far)"),
            NodeState::Unresolved => f.write_str("(promise)"),
            NodeState::Broken(reason) => write!(f, "(broken, {})", reason.reason()),
        }
    }
}

impl From<&Self> for Ref {
    fn from(reference: &Self) -> Self {
        reference.clone()
    }
}

impl AsRef<Self> for Ref {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsMut<Self> for Ref {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// Every `XRef`, and `Ref` itself, is its own promise.
impl<R: Data + From<Ref> + Into<Ref>> Promisable<R> for R {
    fn promised(vat: &Rc<Shared>) -> (Self, Resolver<R>) {
        let reference = Ref::promised_in(Some(vat));
        (
            Self::from(reference.clone()),
            Resolver::of_reference(reference, R::into),
        )
    }

    fn ended(reference: &Ref) -> Self {
        Self::from(reference.clone())
    }
}

/// A `settled` that waits for its commit, and then for the reference.
struct Wait {
    reference: Ref,
    resolver: Resolver<()>,
}

impl Work for Wait {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let node = self.reference.node();
        let known = Known(*self);
        vat.engine(|engine| engine.when_resolved(node, Job::Work(Box::new(known))));
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.resolver.settle(vat, Err(reason));
    }
}

/// It is known what the reference denotes.
struct Known(Wait);

impl Work for Known {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Wait {
            reference,
            resolver,
        } = self.0;
        resolver.settle(vat, reference.broken_reason().map_or(Ok(()), Err));
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.0.resolver.settle(vat, Err(reason));
    }
}

thread_local! {
    /// The vat whose message is being written. A check only.
    static LEAVING: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

/// Writes a message of this vat: references of others are refused, and a program's own `Data` code
/// may panic.
pub(crate) fn write_leaving(
    vat: *const Shared,
    write: impl FnOnce() -> data::Result<()>,
) -> Result<()> {
    let outer = LEAVING.replace(vat);
    let written = catch_unwind(AssertUnwindSafe(write));
    LEAVING.set(outer);
    match written {
        Ok(written) => Ok(written?),
        Err(panic) => Err(Error::panicked(panic.as_ref())),
    }
}

impl Shared {
    /// A reference that is broken from the beginning.
    pub(crate) fn broken(self: &Rc<Self>, reason: &Error) -> Ref {
        let node = self.engine(|engine| engine.broken(Exception::from(reason)));
        Ref::from_node(self, node)
    }

    /// Runs `work` once it is known what the reference denotes, in its place among the calls that
    /// were sent to it.
    pub(crate) fn when_known(&self, reference: &Ref, work: Box<dyn Work>) {
        self.engine(|engine| engine.when_resolved(reference.node(), Job::Work(work)));
    }

    /// Resolves a promise reference.
    pub(crate) fn resolve(&self, promise: &Ref, to: Result<Ref>) {
        let foreign = || Error::failed("the promise was resolved to a reference of another vat");
        let to = match to {
            Ok(to) if !std::ptr::eq(to.0.vat.as_ptr(), self) => Err(foreign()),
            to => to,
        };
        let node = to.as_ref().map(Ref::node).map_err(Exception::from);
        if let Err(misuse) = self.engine(|engine| engine.resolve(promise.node(), node)) {
            tracing::error!(vat = %self.name, err = %misuse, "a promise was resolved twice");
        }
    }
}
