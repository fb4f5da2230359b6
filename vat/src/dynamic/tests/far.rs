//! Calls by description between two vats, over the real protocol.

use std::cell::RefCell;
use std::rc::Rc;

use captp::{ConnId, ConnOptions, Transmit};
use serde_json::{Value as Json, json};

use crate::core::{Cx, Interface as _, Ref, Turn, Vat};
use crate::dynamic::{
    Answered, CallError, Given, Limits, Plan, Step, Types, call, interface_of, render,
};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Interface;

/// What a home holds.
#[derive(Clone, Debug, vat::Data)]
struct Opened {
    size: u64,
    /// The opened place itself.
    place: HomeRef,
}

#[vat::interface(name = "demo::Home")]
trait Home {
    /// The part of this name.
    fn part(&mut self, turn: &Turn, name: &str) -> Result<HomeRef>;
    /// A part with its size.
    fn open(&mut self, turn: &Turn, name: String) -> Result<Opened>;
    /// Says where this is.
    fn path(&self, turn: &Turn, #[default(1)] times: u32, after: Option<u16>) -> Result<String>;
    /// Tells `listener` where this is.
    fn tell(&self, turn: &Turn, listener: ListenerRef) -> Result<()>;
    /// Fails.
    fn fail(&self, turn: &Turn) -> Result<HomeRef>;
}

#[vat::interface(name = "demo::Listener")]
trait Listener {
    fn hear(&mut self, turn: &Turn, path: String) -> Result<()>;
}

#[derive(Clone, vat::Object)]
struct Place(String);

impl Home for Place {
    fn part(&mut self, turn: &Turn, name: &str) -> Result<HomeRef> {
        let place = Self(format!("{}/{name}", self.0));
        Ok(HomeRef::from(&turn.spawn(place)))
    }

    fn open(&mut self, turn: &Turn, name: String) -> Result<Opened> {
        let place = self.part(turn, &name)?;
        let size = name.len() as u64;
        Ok(Opened { size, place })
    }

    fn path(&self, _: &Turn, times: u32, after: Option<u16>) -> Result<String> {
        Ok(format!("{}{after:?}", self.0.repeat(times as usize)))
    }

    fn tell(&self, _: &Turn, listener: ListenerRef) -> Result<()> {
        listener.hear(self.0.clone()).detach();
        Ok(())
    }

    fn fail(&self, _: &Turn) -> Result<HomeRef> {
        Err(Error::failed("nobody is at home"))
    }
}

#[derive(Clone, Default, vat::Object)]
struct Heard(Vec<String>);

impl Listener for Heard {
    fn hear(&mut self, _: &Turn, path: String) -> Result<()> {
        self.0.push(path);
        Ok(())
    }
}

/// A vat that exposes a home, one that calls it, and what is between them.
struct Pair {
    server: (Vat, ConnId),
    caller: (Vat, ConnId),
    home: Ref,
}

impl Pair {
    fn new() -> Self {
        let server = Vat::new("server");
        let exposed = server
            .turn(|turn| Ok(HomeRef::from(&turn.spawn(Place("home".to_owned())))))
            .unwrap();
        let node = server.node(exposed.as_ref());
        let options = ConnOptions::default().with_bootstrap(node);
        let to_caller = server.engine(|engine| engine.open(options));
        let caller = Vat::new("caller");
        let to_server = caller.engine(|engine| engine.open(ConnOptions::default()));
        let node = caller.engine(|engine| engine.bootstrap(to_server));
        let home = caller.adopt(node);
        let (server, caller) = ((server, to_caller), (caller, to_server));
        Self {
            server,
            caller,
            home,
        }
    }

    /// Delivers everything, until nothing is left to deliver.
    fn settle(&mut self) {
        while deliver(&self.caller, &self.server) | deliver(&self.server, &self.caller) {}
    }

    /// Runs an async body in the caller's vat until nothing happens any more.
    fn run<T: 'static>(&mut self, body: impl Future<Output = T> + 'static) -> T {
        let slot = Rc::new(RefCell::new(None));
        let result = Rc::clone(&slot);
        let task = async move |_: &Cx| {
            *slot.borrow_mut() = Some(body.await);
            Ok(())
        };
        let started = self.caller.0.turn(|turn| Ok(turn.spawn_async(task)));
        started.unwrap().detach();
        self.settle();
        result.take().expect("the body came to its end")
    }

    fn types(&mut self) -> Rc<Types> {
        let home = self.home.clone();
        self.run(async move { interface_of(&home).await }).unwrap()
    }

    /// The answers of a chain after one round trip.
    fn chain(&mut self, steps: &[Step]) -> Vec<Json> {
        let types = self.types();
        let plan = Plan::new(&types, steps, &mut nobody, Limits::default()).unwrap();
        let answers = plan.send(&self.home);
        deliver(&self.caller, &self.server);
        deliver(&self.server, &self.caller);
        let shown = |mut answer: Answered| match answer.try_take().expect("an answer") {
            Ok(answer) => answer.value,
            Err(error) => json!(error.to_string()),
        };
        answers.into_iter().map(shown).collect()
    }
}

/// Delivers what `from` has to send, and says whether that was anything.
fn deliver(from: &(Vat, ConnId), to: &(Vat, ConnId)) -> bool {
    let mut bytes = Transmit::new();
    from.0.run(1000);
    let any = from
        .0
        .engine(|engine| engine.poll_transmit(from.1, &mut bytes));
    let bytes = bytes.take_bytes();
    to.0.feed(to.1, &bytes, Vec::new());
    to.0.run(1000);
    any
}

/// Has no references.
fn nobody(_: &str, _: Option<&Interface>) -> Result<Ref, String> {
    Err("there are none".to_owned())
}

fn step(fields: &[&str], method: &str, arguments: Json) -> Step {
    Step {
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        method: method.to_owned(),
        arguments: Given::Json(arguments),
    }
}

#[test]
fn the_interface_is_learned_from_the_object() {
    let types = Pair::new().types();
    assert_eq!(types.root().unwrap().name, HomeRef::NAME);
    let text = render::text(&types);
    assert!(text.contains("path(times: UInt32 = 1, after: UInt16?) -> Text\n        Says where"));
    assert!(text.contains("open(name: Text) -> Opened\n"), "{text}");
    assert!(
        text.contains("interface Listener\n    hear(path: Text)\n"),
        "{text}"
    );
    assert!(
        text.contains("place: Home\n        The opened place itself.\n"),
        "{text}"
    );
}

#[test]
fn a_call_with_defaults_and_options_is_answered() {
    let mut pair = Pair::new();
    assert_eq!(
        pair.chain(&[step(&[], "path", json!({}))]),
        [json!("homeNone")]
    );
    let twice = step(&[], "path", json!({ "times": 2, "after": 7 }));
    assert_eq!(pair.chain(&[twice]), [json!("homehomeSome(7)")]);
}

#[test]
fn a_chain_costs_one_round_trip() {
    let mut pair = Pair::new();
    let chain = [
        step(&[], "part", json!({ "name": "logs" })),
        step(&[], "open", json!({ "name": "today" })),
        step(&["place"], "path", Json::Null),
    ];
    let answers = pair.chain(&chain);
    let place = json!({ "ref": "demo::Home" });
    let opened = json!({ "size": 5, "place": place });
    assert_eq!(answers, [place, opened, json!("home/logs/todayNone")]);
}

#[test]
fn a_failure_breaks_what_was_called_on_its_result() {
    let mut pair = Pair::new();
    let chain = [step(&[], "fail", Json::Null), step(&[], "path", Json::Null)];
    let answers = pair.chain(&chain);
    assert_eq!(
        answers,
        [json!("nobody is at home"), json!("nobody is at home")]
    );
}

#[test]
fn an_argument_may_be_a_reference_that_is_called_back() {
    let mut pair = Pair::new();
    let heard = pair
        .caller
        .0
        .turn(|turn| Ok(turn.spawn(Heard::default())))
        .unwrap();
    let listener = ListenerRef::from(&heard).into();
    let home = pair.home.clone();
    let tell = step(&[], "tell", json!({ "listener": "@me" }));
    let mut only = move |_: &str, interface: Option<&Interface>| {
        assert_eq!(interface.unwrap().name, ListenerRef::NAME);
        Ok(Ref::clone(&listener))
    };
    let told = async move { call(&home, &[tell], &mut only, Limits::default()).await };
    assert_eq!(pair.run(told).unwrap().value, Json::Null);
    let heard = pair
        .caller
        .0
        .turn(|turn| heard.read(turn, |heard| heard.0.clone()))
        .unwrap();
    assert_eq!(heard, ["home"]);
}

#[test]
fn a_returned_reference_can_be_called() {
    let mut pair = Pair::new();
    let home = pair.home.clone();
    let path = async move {
        let limits = Limits::default();
        let open = [step(&[], "open", json!({ "name": "box" }))];
        let answer = call(&home, &open, &mut nobody, limits).await?;
        let [found] = answer.references.as_slice() else {
            panic!("{answer:?}")
        };
        assert_eq!(found.path.to_string(), "place");
        assert_eq!(found.interface, Some(HomeRef::ID));
        let path = [step(&[], "path", Json::Null)];
        call(&found.reference, &path, &mut nobody, limits).await
    };
    assert_eq!(pair.run(path).unwrap().value, "home/boxNone");
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let mut pair = Pair::new();
    let mut refused = |steps: Vec<Step>| {
        let home = pair.home.clone();
        let call = async move { call(&home, &steps, &mut nobody, Limits::default()).await };
        match pair.run(call) {
            Err(CallError::Plan(error)) => (error.step, error.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(vec![step(&[], "pth", Json::Null)]),
        (
            0,
            r#"demo::Home has no method "pth"; did you mean "path"?"#.to_owned()
        )
    );
    let open = step(&[], "open", json!({ "name": "x" }));
    let (at, text) = refused(vec![open.clone(), step(&[], "path", Json::Null)]);
    assert_eq!(at, 1);
    assert!(text.ends_with("this result holds .place"), "{text}");
    assert_eq!(
        refused(vec![open, step(&["place"], "part", json!({ "name": 1 }))]),
        (1, "name: expected text, found number 1".to_owned())
    );
}

#[test]
fn a_lost_connection_breaks_the_answer() {
    let mut pair = Pair::new();
    let types = pair.types();
    let steps = [
        step(&[], "part", json!({ "name": "x" })),
        step(&[], "path", Json::Null),
    ];
    let plan = Plan::new(&types, &steps, &mut nobody, Limits::default()).unwrap();
    let mut answers = plan.send(&pair.home);
    pair.caller
        .0
        .engine(|engine| engine.handle_closed(pair.caller.1, "unplugged"));
    pair.caller.0.run(1000);
    for answer in &mut answers {
        match answer.try_take() {
            Some(Err(CallError::Failed(error))) => {
                assert_eq!(error.kind(), ErrorKind::Disconnected);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_vat_that_has_ended_breaks_the_answer() {
    let mut pair = Pair::new();
    let types = pair.types();
    let Pair { caller, home, .. } = pair;
    drop(caller);
    let steps = [step(&[], "path", Json::Null)];
    let plan = Plan::new(&types, &steps, &mut nobody, Limits::default()).unwrap();
    let mut answers = plan.send(&home);
    assert!(matches!(
        answers[0].try_take(),
        Some(Err(CallError::Failed(_)))
    ));
}
