//! The universal `describe()`: every exported object says what interface it has.

use super::{Description, Registry, id};
use crate::core::{Method, Promise, Ref, Results};

/// `vat::Describe.describe() -> (value :Description)`: what a call of any object may ask, whatever
/// the object's own interface is. The runtime answers it; no program implements it.
///
/// Forwarders pass it on, so that a caretaker shows the interface of what is behind it.
#[derive(Debug)]
pub struct Describe;

/// The parameters of `describe`: none.
#[derive(Clone, Debug, Default, vat_macros::Data)]
pub struct DescribeParams {}

impl Describe {
    /// The interface's name.
    pub const INTERFACE_NAME: &'static str = "vat::Describe";

    /// The description of `vat::Describe` itself, which nobody has to ask for.
    pub fn description() -> Description {
        let mut types = Registry::default();
        let doc = "Every object has this interface besides its own.";
        types.interface(Self::INTERFACE, Self::INTERFACE_NAME, doc, |interface| {
            let doc = "The object's own interface with all it reaches.";
            interface.method::<DescribeParams, Results<Description>>("describe", doc);
        });
        types.into_description(Self::INTERFACE)
    }
}

impl Method for Describe {
    type Params = DescribeParams;
    type Output = Description;

    const INTERFACE: u64 = 0x85f4_1ffd_f851_1092;
    const ORDINAL: u16 = 0;
    const NAME: &'static str = "Describe.describe";
}

/// Asks what interface a reference has.
///
/// The answer comes from the other side: give it to [`Types::new`](crate::dynamic::Types::new)
/// before relying on it.
///
/// # Errors
///
/// `Unimplemented` if what is behind the reference is not an object of a vat: a program that speaks
/// Cap'n Proto without this library.
pub fn describe(reference: &Ref) -> Promise<Description> {
    reference.send::<Describe>(DescribeParams::default())
}

#[cfg(test)]
mod tests {
    use capnp::message;

    use super::*;
    use crate::core::{AnyCall, Dispatch, Dynamic, Interface, Object, Turn, Vat, reference};
    use crate::data::Record;
    use crate::dynamic::Types;
    use crate::error::{ErrorKind, Result};
    use crate::schema::Type;

    #[test]
    fn its_id_follows_from_its_name() {
        assert_eq!(Describe::INTERFACE, id::of_name(Describe::INTERFACE_NAME));
    }

    #[test]
    fn it_describes_itself_and_the_description_survives_the_wire() {
        let description = Describe::description();
        let results = Results {
            value: description.clone(),
        };
        let mut message = message::Builder::new_default();
        results.write_root(message.init_root()).unwrap();
        let content = message.get_root_as_reader().unwrap();
        let back = Results::<Description>::read_root(content, &[])
            .unwrap()
            .value;
        assert_eq!(back, description);

        let types = Types::new(back).unwrap();
        let method = types.method(Describe::INTERFACE, "describe").unwrap();
        assert_eq!(method.ordinal, Describe::ORDINAL);
        assert!(method.params.fields.is_empty());
        let value = method.results.fields.first().unwrap();
        assert!(matches!(value.ty, Type::Struct(_)));
    }

    /// An object whose own methods nobody calls.
    struct Thing;

    impl Object for Thing {
        const TRANSACTIONAL: bool = false;

        fn old_state(&self) -> Option<Self> {
            None
        }
    }

    #[derive(Clone)]
    struct ThingRef(Ref);

    impl From<Ref> for ThingRef {
        fn from(reference: Ref) -> Self {
            Self(reference)
        }
    }

    impl From<ThingRef> for Ref {
        fn from(thing: ThingRef) -> Self {
            thing.0
        }
    }

    impl Interface for ThingRef {
        const ID: u64 = 7;
        const NAME: &'static str = "demo::Thing";
    }

    const DISPATCH: Dispatch = Dispatch {
        name: "demo::Thing",
        deliver: |delivery| delivery.refuse(),
        describe: Some(|| Description {
            root: 7,
            ..Description::default()
        }),
    };

    /// Passes every call on.
    struct Caretaker(Ref);

    impl Object for Caretaker {
        const TRANSACTIONAL: bool = false;

        fn old_state(&self) -> Option<Self> {
            None
        }
    }

    impl Dynamic for Caretaker {
        fn call(&mut self, _: &Turn, call: AnyCall) -> Result<()> {
            self.0.forward(call);
            Ok(())
        }
    }

    /// What `describe` answers for the reference that `make` gives.
    fn described(make: impl FnOnce(&Turn) -> Ref) -> Result<Description> {
        let vat = Vat::new("test");
        let promise = vat.turn(|turn| Ok(describe(&make(turn)))).unwrap();
        vat.run(100);
        promise.try_take().unwrap()
    }

    fn thing(turn: &Turn) -> Ref {
        reference::<ThingRef, _>(&turn.spawn(Thing), &DISPATCH).0
    }

    #[test]
    fn every_object_answers_it() {
        assert_eq!(described(thing).unwrap().root, 7);
    }

    #[test]
    fn a_forwarder_shows_what_is_behind_it() {
        let description = described(|turn| turn.spawn(Caretaker(thing(turn))).dynamic());
        assert_eq!(description.unwrap().root, 7);
    }

    #[test]
    fn a_broken_reference_gives_its_reason() {
        let gone = |turn: &Turn| Ref::broken(turn, crate::error::Error::overloaded("too much"));
        assert_eq!(described(gone).unwrap_err().kind(), ErrorKind::Overloaded);
    }
}
