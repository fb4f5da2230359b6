//! Sealers: values that travel in the open and only the right one can read.

use std::fmt;
use std::rc::Rc;

use crate::core::{AnyCall, Dynamic, Object, Ref, Turn};
use crate::error::{Error, Result};

/// A sealer and the unsealer that alone opens what it seals.
///
/// A sealed value is a reference without methods: it can be given to anybody, also in other vats, and
/// tells nothing. Whoever hands it back to the holder of the unsealer proves that it came, on whatever
/// way, from the holder of the sealer.
///
/// ```
/// use vat::pattern;
/// # use vat::prelude::*;
/// # let vat = vat::Vat::new("a");
/// let ((sealer, unsealer), (_, another)) =
///     vat.turn(|turn| Ok((pattern::sealer::<u64>(turn), pattern::sealer::<u64>(turn))))?;
/// vat.turn(|turn| {
///     let coin = sealer.seal(turn, 100); // a plain reference
///     assert_eq!(unsealer.unseal(turn, &coin)?, 100);
///     assert!(another.unseal(turn, &coin).is_err());
///     Ok(())
/// })?;
/// # Ok::<(), vat::Error>(())
/// ```
pub fn sealer<T: Clone + 'static>(_: &Turn) -> (Sealer<T>, Unsealer<T>) {
    let brand = Rc::new(Brand);
    let sealer = Sealer {
        brand: Rc::clone(&brand),
        seals: std::marker::PhantomData,
    };
    let unsealer = Unsealer {
        brand,
        unseals: std::marker::PhantomData,
    };
    (sealer, unsealer)
}

/// Seals values of type `T`. See [`sealer`].
pub struct Sealer<T> {
    brand: Rc<Brand>,
    seals: std::marker::PhantomData<fn(T)>,
}

/// Unseals what its sealer has sealed. See [`sealer`].
pub struct Unsealer<T> {
    brand: Rc<Brand>,
    unseals: std::marker::PhantomData<fn() -> T>,
}

/// What a pair has in common: the `Rc` itself, each of which has a place of its own.
struct Brand;

impl<T: Clone + 'static> Sealer<T> {
    /// The value, sealed.
    pub fn seal(&self, turn: &Turn, value: T) -> Ref {
        let brand = Rc::clone(&self.brand);
        turn.spawn(Sealed { brand, value }).dynamic()
    }
}

impl<T: Clone + 'static> Unsealer<T> {
    /// The value inside, if it was sealed by the sealer of this pair.
    ///
    /// # Errors
    ///
    /// When it was not, or is a promise or a forwarder ([`caretaker`](super::caretaker()), …) of a
    /// sealed value. Of a promise wait for [`settled`](Ref::settled) first. What comes back through a
    /// [`membrane`](super::membrane()) that it went out by is itself again.
    pub fn unseal(&self, turn: &Turn, sealed: &Ref) -> Result<T> {
        let value = sealed.downcast::<Sealed<T>>(turn).and_then(|sealed| {
            sealed.peek(|sealed| {
                let ours = Rc::ptr_eq(&sealed.brand, &self.brand);
                ours.then(|| sealed.value.clone())
            })?
        });
        value.ok_or_else(|| {
            Error::failed(if sealed.identity().is_some() {
                "this was not sealed by the sealer of this unsealer"
            } else {
                "it is not known what the reference denotes, or it is broken; wait for `settled`"
            })
        })
    }
}

struct Sealed<T> {
    brand: Rc<Brand>,
    value: T,
}

impl<T: Clone + 'static> Object for Sealed<T> {
    /// Nothing ever changes it.
    const TRANSACTIONAL: bool = false;

    fn old_state(&self) -> Option<Self> {
        None
    }
}

impl<T: Clone + 'static> Dynamic for Sealed<T> {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        call.refuse(turn, Error::unimplemented("a sealed value has no methods"));
        Ok(())
    }
}

impl<T> Clone for Sealer<T> {
    fn clone(&self) -> Self {
        Self {
            brand: Rc::clone(&self.brand),
            seals: std::marker::PhantomData,
        }
    }
}

impl<T> Clone for Unsealer<T> {
    fn clone(&self) -> Self {
        Self {
            brand: Rc::clone(&self.brand),
            unseals: std::marker::PhantomData,
        }
    }
}

impl<T> fmt::Debug for Sealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sealer")
    }
}

impl<T> fmt::Debug for Unsealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unsealer")
    }
}
