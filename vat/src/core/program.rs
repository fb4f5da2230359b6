//! A program's `main`: powers in by slot name, exposed references out.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use super::reference::{Interface, Ref};
use super::turn::Cx;
use crate::durable::note_power;
use crate::error::{Error, Result};

/// What a program was granted: references by slot name, and arguments.
///
/// Tests fill it with fakes, which are ordinary objects: `Grants::new().with("book", &file)`.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    slots: BTreeMap<String, Grant>,
    args: Vec<String>,
}

#[derive(Clone, Debug)]
struct Grant {
    power: Ref,
    interface: u64,
}

impl Grants {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this power in this slot.
    #[must_use]
    pub fn with<R: Interface>(self, slot: impl Into<String>, power: impl Into<R>) -> Self {
        self.with_untyped(slot, power.into().into(), R::ID)
    }

    /// The same with a power whose interface is known by its id only, or not at all (0).
    #[must_use]
    pub fn with_untyped(mut self, slot: impl Into<String>, power: Ref, interface: u64) -> Self {
        self.slots.insert(slot.into(), Grant { power, interface });
        self
    }

    /// The same with these arguments.
    #[must_use]
    pub fn with_args(mut self, args: Vec<String>) -> Self {
        self.args = args;
        self
    }

    /// The program's arguments.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The powers a program declares, checked against what was granted.
    ///
    /// # Errors
    ///
    /// A slot that is not filled, is filled with another interface, or is not declared.
    pub fn into_powers<P: Powers>(mut self) -> Result<P> {
        let powers = P::take(&mut self)?;
        if let Some(slot) = self.slots.keys().next() {
            let declared: Vec<_> = P::slots().iter().map(|slot| slot.name).collect();
            let declared = match declared.as_slice() {
                [] => "it declares none".to_owned(),
                names => format!("it declares {}", names.join(", ")),
            };
            return Err(Error::failed(format!(
                "the program has no slot `{slot}`, which was granted; {declared}"
            )));
        }
        Ok(powers)
    }

    /// The power in a slot; for `#[derive(vat::Powers)]`.
    ///
    /// # Errors
    ///
    /// If the slot is empty or holds another interface.
    pub fn take<P: Power>(&mut self, slot: &str) -> Result<P> {
        let Some(grant) = self.slots.remove(slot) else {
            return P::absent().ok_or_else(|| {
                Error::failed(format!("slot `{slot}` ({}) was not granted", P::NAME))
            });
        };
        if P::ID != 0 && grant.interface != 0 && grant.interface != P::ID {
            return Err(Error::failed(format!(
                "slot `{slot}` wants {} ({:#018x}), but what was granted has interface {:#018x}",
                P::NAME,
                P::ID,
                grant.interface
            )));
        }
        note_power(slot, &grant.power);
        Ok(P::granted(grant.power))
    }
}

/// A record of powers by slot name. Derive it: `#[derive(vat::Powers)]`.
pub trait Powers: Sized {
    /// The slots: the record's fields.
    fn slots() -> Vec<Slot>;
    /// Takes the powers out of what was granted.
    ///
    /// # Errors
    ///
    /// A slot that is empty or holds another interface.
    fn take(grants: &mut Grants) -> Result<Self>;
}

/// A program without powers.
impl Powers for () {
    fn slots() -> Vec<Slot> {
        Vec::new()
    }

    fn take(_: &mut Grants) -> Result<Self> {
        Ok(())
    }
}

/// A slot of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slot {
    /// Its name, as in the manifest.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// The interface it wants; 0 for any.
    pub interface: u64,
    /// `package::Trait`.
    pub interface_name: &'static str,
    /// Whether it may stay empty.
    pub optional: bool,
}

impl Slot {
    /// The slot for a power of type `P`.
    pub fn of<P: Power>(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            interface: P::ID,
            interface_name: P::NAME,
            optional: P::OPTIONAL,
        }
    }
}

/// What a field of a `Powers` record may be: a reference, or an optional one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a power of a program",
    label = "not a reference",
    note = "a power is a reference to an object, like `FileRef`, or an `Option` of one"
)]
pub trait Power: Sized {
    /// The interface id; 0 for any.
    const ID: u64;
    /// `package::Trait`.
    const NAME: &'static str;
    /// Whether the slot may stay empty.
    const OPTIONAL: bool = false;
    /// The slot is filled.
    fn granted(power: Ref) -> Self;
    /// The slot is empty.
    fn absent() -> Option<Self> {
        None
    }
}

impl<R: Interface> Power for R {
    const ID: u64 = R::ID;
    const NAME: &'static str = R::NAME;

    fn granted(power: Ref) -> Self {
        Self::from(power)
    }
}

impl Power for Ref {
    const ID: u64 = 0;
    const NAME: &'static str = "any reference";

    fn granted(power: Ref) -> Self {
        power
    }
}

impl<R: Interface> Power for Option<R> {
    const ID: u64 = R::ID;
    const NAME: &'static str = R::NAME;
    const OPTIONAL: bool = true;

    fn granted(power: Ref) -> Self {
        Some(R::from(power))
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// What `main` may give: nothing, plain data, one reference, or a record of references
/// (`#[derive(vat::Exposed)]`), whose field names are the expose names.
#[diagnostic::on_unimplemented(
    message = "a program's `main` cannot give `{Self}`",
    label = "neither a reference nor plain data",
    note = "it gives `()`, a reference, a number or a text, or a struct of references with \
            `#[derive(vat::Exposed)]`"
)]
pub trait Exposed {
    /// Takes it apart.
    fn expose(self) -> Outcome;
}

/// What a program's `main` gave.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The references it exposes.
    pub exposed: Vec<Exposure>,
    /// The data it gave, as text.
    pub value: Option<String>,
}

impl Outcome {
    /// These references.
    pub fn exposing(exposed: Vec<Exposure>) -> Self {
        Self {
            exposed,
            value: None,
        }
    }
}

/// A reference that a program exposes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exposure {
    /// Its expose name; empty if `main` gave one reference only.
    pub name: &'static str,
    /// The interface id.
    pub interface: u64,
    /// `package::Trait`.
    pub interface_name: &'static str,
    /// The reference.
    pub reference: Ref,
}

impl Exposure {
    /// A reference under this name.
    pub fn new<R: Interface>(name: &'static str, reference: R) -> Self {
        let reference = reference.into();
        Self {
            name,
            interface: R::ID,
            interface_name: R::NAME,
            reference,
        }
    }
}

impl Exposed for () {
    fn expose(self) -> Outcome {
        Outcome::default()
    }
}

impl<R: Interface> Exposed for R {
    fn expose(self) -> Outcome {
        Outcome::exposing(vec![Exposure::new("", self)])
    }
}

macro_rules! expose_value {
    ($($ty:ty)*) => {$(
        impl Exposed for $ty {
            fn expose(self) -> Outcome {
                Outcome { exposed: Vec::new(), value: Some(self.to_string()) }
            }
        }
    )*};
}

expose_value!(bool u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 String);

/// A program's `main`, whatever its types.
pub struct Main {
    slots: Vec<Slot>,
    run: Run,
}

type Run = Box<dyn for<'a> FnOnce(&'a Cx, Grants) -> Running<'a>>;
type Running<'a> = Pin<Box<dyn Future<Output = Result<Outcome>> + 'a>>;

impl Main {
    /// Wraps the function; for `#[vat::main]`, and for hosts that start programs in their own
    /// process.
    pub fn new<P, R, F>(main: F) -> Self
    where
        P: Powers + 'static,
        R: Exposed + 'static,
        F: AsyncFnOnce(&Cx, P) -> Result<R> + 'static,
    {
        Self::with_args(async move |cx: &Cx, powers: P, _: Vec<String>| main(cx, powers).await)
    }

    /// The same for a function that also takes the program's arguments.
    pub fn with_args<P, R, F>(main: F) -> Self
    where
        P: Powers + 'static,
        R: Exposed + 'static,
        F: AsyncFnOnce(&Cx, P, Vec<String>) -> Result<R> + 'static,
    {
        let run: Run = Box::new(move |cx, grants| {
            Box::pin(async move {
                let args = grants.args().to_vec();
                let powers = grants.into_powers()?;
                main(cx, powers, args).await.map(R::expose)
            })
        });
        Self {
            slots: P::slots(),
            run,
        }
    }

    /// The slots the program declares.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Runs the program to the end of its `main`.
    ///
    /// # Errors
    ///
    /// What `main` gives, and grants that do not fit its slots.
    pub async fn run(self, cx: &Cx, grants: Grants) -> Result<Outcome> {
        (self.run)(cx, grants).await
    }
}

impl fmt::Debug for Main {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Main")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
