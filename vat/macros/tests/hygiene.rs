//! The macros under `#![no_implicit_prelude]`, with `vat` under another name, and with names of the
//! program that could get in the way.
#![no_implicit_prelude]
#![expect(dead_code, reason = "that it compiles is the test")]

use ::renamed::{Cx, Near, Ref, Turn};

/// Shadows what a careless expansion would name.
#[derive(::core::clone::Clone, ::core::fmt::Debug, ::renamed::Data)]
#[data(crate = "::renamed")]
struct String {
    text: ::std::string::String,
}

#[derive(::core::clone::Clone, ::renamed::Data)]
#[data(crate = "::renamed")]
enum Choice {
    #[data(n = 0)]
    Nothing,
    #[data(n = 1)]
    One(String),
    Both {
        #[data(n = 2)]
        left: bool,
        #[data(n = 3, default = 7)]
        right: u8,
    },
}

#[derive(::core::clone::Clone, ::renamed::Data)]
#[data(crate = "::renamed")]
enum Plain {
    Red,
    Blue,
}

#[derive(::core::clone::Clone, ::renamed::Data)]
#[data(crate = "::renamed")]
struct Opened {
    file: AwkwardRef,
    metres: Metres,
    list: ::std::vec::Vec<Plain>,
}

#[derive(::core::clone::Clone, ::renamed::Data)]
#[data(crate = "::renamed")]
struct Metres(f64);

struct Option;
struct Some;
struct Vec;
trait Into {}
trait From {}
type Result<T> = ::renamed::Result<T>;

#[::renamed::interface(crate = "::renamed")]
trait Base {
    fn base(&self, turn: &Turn) -> Result<u64>;
}

#[::renamed::interface(
    crate = "::renamed",
    name = "hygiene::Awkward",
    id = 0xffff_0000_0000_0001
)]
trait Awkward: Base {
    /// Parameters named like what the expansion uses.
    fn read(
        &self,
        turn: &Turn,
        object: u64,
        delivery: u64,
        reference: Ref,
        #[default(7)] near: u64,
    ) -> Result<String>;
    fn write(&mut self, turn: &Turn, values: &str, context: bool) -> Result<AwkwardRef>;
    async fn run(this: Near<Self>, cx: &Cx, r#type: u64, this2: u64) -> Result<()>;
    fn r#match(&self, turn: &Turn) -> Result<()>;
}

#[derive(::core::clone::Clone, ::renamed::Object)]
#[object(crate = "::renamed")]
struct Thing(u64);

impl Base for Thing {
    fn base(&self, _: &Turn) -> Result<u64> {
        ::core::result::Result::Ok(self.0)
    }
}

impl Awkward for Thing {
    fn read(&self, _: &Turn, object: u64, delivery: u64, _: Ref, near: u64) -> Result<String> {
        let text = ::std::format!("{object} {delivery} {near}");
        ::core::result::Result::Ok(String { text })
    }

    fn write(&mut self, turn: &Turn, _: &str, _: bool) -> Result<AwkwardRef> {
        ::core::result::Result::Ok(AwkwardRef::new(turn, Self(self.0 + 1)))
    }

    async fn run(this: Near<Self>, cx: &Cx, r#type: u64, _: u64) -> Result<()> {
        this.with(cx, |thing| thing.0 = r#type)
    }

    fn r#match(&self, _: &Turn) -> Result<()> {
        ::core::result::Result::Ok(())
    }
}

#[derive(::renamed::Powers)]
#[powers(crate = "::renamed")]
struct Granted {
    first: AwkwardRef,
    second: ::core::option::Option<BaseRef>,
}

#[derive(::renamed::Exposed)]
#[exposed(crate = "::renamed")]
struct Given {
    first: AwkwardRef,
}

mod program {
    use super::{Given, Granted, Result};

    #[::renamed::main(crate = "::renamed")]
    async fn main(_cx: &::renamed::Cx, granted: Granted) -> Result<Given> {
        ::core::result::Result::Ok(Given {
            first: granted.first,
        })
    }
}

#[test]
fn expansions_name_everything_by_its_full_path() {
    let vat = ::renamed::Vat::new("hygiene");
    let thing = vat.turn(|turn| ::core::result::Result::Ok(AwkwardRef::new(turn, Thing(1))));
    let thing = thing.unwrap();
    let read = thing.read(1, 2, ::core::convert::Into::<Ref>::into(&thing), 3);
    let next = thing.write("x", true).base();
    thing.run(5, 6).detach();
    let base = thing.base();
    vat.run(100);
    ::core::assert_eq!(read.try_take().unwrap().unwrap().text, "1 2 3");
    ::core::assert_eq!(next.try_take().unwrap().unwrap(), 2);
    ::core::assert_eq!(base.try_take().unwrap().unwrap(), 5);
}
