//! The universal `describe()`: every exported object says what interface it has.

use super::{Description, Registry};
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
        Self::enter(&mut types);
        types.into_description(Self::INTERFACE)
    }

    /// Enters `vat::Describe` itself.
    pub(super) fn enter(types: &mut Registry) {
        let doc = "Every object has this interface besides its own.";
        types.interface(Self::INTERFACE, Self::INTERFACE_NAME, doc, |interface| {
            let doc = "The object's own interface with all it reaches.";
            interface.read::<DescribeParams, Results<Description>>("describe", doc);
        });
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
    use captp::Content;

    use crate::data::message_of;

    use super::*;
    use crate::core::{AnyCall, Dynamic, Interface, Turn, Vat};
    use crate::data::Record;
    use crate::dynamic::Types;
    use crate::error::{ErrorKind, Result};
    use crate::schema::{Type, id};

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
        let mut content = Content::new();
        results.write_root(&mut content).unwrap();
        let message = message_of(&content);
        let content = message.get_root().unwrap();
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

    #[vat::interface]
    trait Thing {
        /// Says its name.
        fn name(&self, turn: &Turn) -> Result<String>;
    }

    #[derive(Clone, vat::Object)]
    struct Nameless;

    impl Thing for Nameless {
        fn name(&self, _: &Turn) -> Result<String> {
            Ok(String::new())
        }
    }

    /// Passes every call on.
    #[derive(Clone, vat::Object)]
    struct Caretaker(Ref);

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
        ThingRef::from(&turn.spawn(Nameless)).into()
    }

    #[test]
    fn every_object_answers_it() {
        let types = Types::new(described(thing).unwrap()).unwrap();
        let root = types.root().unwrap();
        assert_eq!(
            (root.id, root.name.as_str()),
            (ThingRef::ID, ThingRef::NAME)
        );
        let name = types.method(root.id, "name").unwrap();
        assert_eq!(name.method.doc, "Says its name.");
    }

    #[test]
    fn a_forwarder_shows_what_is_behind_it() {
        let description = described(|turn| turn.spawn(Caretaker(thing(turn))).dynamic());
        assert_eq!(description.unwrap().root, ThingRef::ID);
    }

    #[test]
    fn a_broken_reference_gives_its_reason() {
        let gone = |turn: &Turn| Ref::broken(turn, crate::error::Error::overloaded("too much"));
        assert_eq!(described(gone).unwrap_err().kind(), ErrorKind::Overloaded);
    }
}
