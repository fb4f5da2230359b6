//! Promises 5 and 6 against a model: random programs of near calls that nest, fail, are caught,
//! come back to objects on the stack, panic and send, in turns of one vat.
//!
//! The model knows no undo log: it copies the whole world before a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::rc::Rc;

use proptest::prelude::*;

use crate::prelude::*;
use crate::{ErrorKind, Vat};

/// The transactional objects come first; the others are external.
const NODES: usize = 4;
const THINGS: usize = 6;
const PROGRAMS: u32 = 10;

#[derive(Clone, Debug)]
enum Op {
    Add(i64),
    /// A near call that runs these; whether its error is caught.
    Call(usize, Vec<Self>, bool),
    /// An eventual send: this later program, at this object.
    Send(usize, u32),
    Fail,
    Panic,
    /// Fails, and keeps the changes if that is what the turn fails with.
    Keep,
}

type Programs = Vec<Vec<Op>>;

fn ops(number: u32) -> impl Strategy<Value = Vec<Op>> {
    let plain = prop_oneof![
        8 => (1..100_i64).prop_map(Op::Add),
        // Only later programs are sent, so that every run comes to its end.
        2 => (0..THINGS, number + 1..=PROGRAMS).prop_map(|(thing, program)| match program {
            PROGRAMS => Op::Add(1),
            program => Op::Send(thing, program),
        }),
        1 => Just(Op::Fail),
        1 => Just(Op::Panic),
        1 => Just(Op::Keep),
    ];
    let nested = plain.prop_recursive(4, 24, 5, |inner| {
        let body = prop::collection::vec(inner, 0..5);
        (0..THINGS, body, any::<bool>())
            .prop_map(|(thing, ops, caught)| Op::Call(thing, ops, caught))
    });
    prop::collection::vec(nested, 0..6)
}

fn programs() -> impl Strategy<Value = Programs> {
    (0..PROGRAMS)
        .map(|number| ops(number).boxed())
        .collect::<Vec<_>>()
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Error(ErrorKind),
}

mod real {
    //! The programs run by a vat.

    use super::*;

    #[vat::interface]
    pub(super) trait Runner {
        fn run(&mut self, turn: &Turn, program: u32) -> Result<()>;
    }

    #[derive(Clone, vat::Object)]
    pub(super) struct Node(i64);

    #[derive(vat::Object)]
    #[object(external)]
    pub(super) struct Device(i64);

    enum Thing {
        Node(Near<Node>),
        Device(Near<Device>),
    }

    pub(super) struct World {
        vat: Vat,
        things: Vec<Thing>,
        references: Vec<RunnerRef>,
        programs: Programs,
    }

    thread_local! {
        static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
    }

    impl Runner for Node {
        fn run(&mut self, turn: &Turn, program: u32) -> Result<()> {
            start(&mut self.0, turn, program)
        }
    }

    impl Runner for Device {
        fn run(&mut self, turn: &Turn, program: u32) -> Result<()> {
            start(&mut self.0, turn, program)
        }
    }

    fn start(value: &mut i64, turn: &Turn, program: u32) -> Result<()> {
        let world = WORLD.with_borrow(|world| world.clone().unwrap());
        world.run(value, turn, &world.programs[program as usize])
    }

    impl World {
        pub(super) fn new(programs: Programs) -> Rc<Self> {
            let vat = Vat::new("model");
            let (things, references) = vat
                .turn(|turn| {
                    Ok((0..THINGS)
                        .map(|thing| match thing {
                            0..NODES => {
                                let near = turn.spawn(Node(0));
                                (Thing::Node(near.clone()), RunnerRef::from(near))
                            }
                            _ => {
                                let near = turn.spawn(Device(0));
                                (Thing::Device(near.clone()), RunnerRef::from(near))
                            }
                        })
                        .unzip())
                })
                .unwrap();
            let world = Rc::new(Self {
                vat,
                things,
                references,
                programs,
            });
            WORLD.set(Some(Rc::clone(&world)));
            world
        }

        /// One turn from outside, and all that it sent.
        pub(super) fn turn(&self, thing: usize, ops: &[Op]) -> End {
            let result = self.vat.turn(|turn| self.call(turn, thing, ops));
            assert!(self.vat.run(100_000) < 100_000);
            match result {
                Ok(()) => End::Done,
                Err(error) => End::Error(error.kind()),
            }
        }

        pub(super) fn values(&self) -> Vec<Option<i64>> {
            let value = |thing: &Thing, turn: &Turn| match thing {
                Thing::Node(near) => near.read(turn, |node| node.0),
                Thing::Device(near) => near.read(turn, |device| device.0),
            };
            let values = |turn: &Turn| self.things.iter().map(|it| value(it, turn).ok()).collect();
            self.vat.turn(|turn| Ok(values(turn))).unwrap()
        }

        fn call(&self, turn: &Turn, thing: usize, ops: &[Op]) -> Result<()> {
            match &self.things[thing] {
                Thing::Node(near) => near.call(turn, |node| self.run(&mut node.0, turn, ops)),
                Thing::Device(near) => near.call(turn, |device| self.run(&mut device.0, turn, ops)),
            }
        }

        fn run(&self, value: &mut i64, turn: &Turn, ops: &[Op]) -> Result<()> {
            for op in ops {
                match op {
                    Op::Add(amount) => *value += amount,
                    Op::Call(thing, ops, caught) => match self.call(turn, *thing, ops) {
                        Err(error) if !caught => return Err(error),
                        _ => {}
                    },
                    Op::Send(thing, program) => {
                        self.references[*thing].run(*program).detach();
                    }
                    Op::Fail => return Err(Error::failed("told to fail")),
                    Op::Panic => resume_unwind(Box::new("told to panic")), // without a report
                    Op::Keep => return Err(turn.commit_err(Error::failed("told to keep"))),
                }
            }
            Ok(())
        }
    }
}

/// The model.
#[derive(Clone, Default)]
struct Model {
    /// `None`: dead.
    values: Vec<Option<i64>>,
    /// On the near stack.
    busy: Vec<usize>,
    sent: Vec<(usize, u32)>,
    /// Errors that `commit_err` has marked in this turn.
    marked: u64,
}

enum Stop {
    Error(ErrorKind, Option<u64>),
    /// With who was on the stack.
    Panic(Vec<usize>),
}

impl Model {
    fn turn(&mut self, programs: &Programs, thing: usize, ops: &[Op]) -> End {
        let mut queue = VecDeque::new();
        let end = self.one_turn(thing, ops, &mut queue);
        while let Some((thing, program)) = queue.pop_front() {
            self.one_turn(thing, &programs[program as usize], &mut queue);
        }
        end
    }

    fn one_turn(&mut self, thing: usize, ops: &[Op], queue: &mut VecDeque<(usize, u32)>) -> End {
        let before = self.values.clone();
        (self.busy, self.sent, self.marked) = Default::default();
        let stop = self.call(thing, ops).err();
        let (end, keeps) = match &stop {
            None => (End::Done, true),
            Some(Stop::Error(kind, mark)) => (End::Error(*kind), *mark == Some(self.marked)),
            Some(Stop::Panic(_)) => (End::Error(ErrorKind::Panicked), false),
        };
        if keeps {
            queue.extend(self.sent.drain(..));
        } else {
            self.values[..NODES].copy_from_slice(&before[..NODES]);
        }
        if let Some(Stop::Panic(stack)) = stop {
            let external = stack.into_iter().filter(|thing| *thing >= NODES);
            external.for_each(|thing| self.values[thing] = None);
        }
        end
    }

    fn call(&mut self, thing: usize, ops: &[Op]) -> Result<(), Stop> {
        if self.values[thing].is_none() {
            return Err(Stop::Error(ErrorKind::Dead, None));
        }
        if self.busy.contains(&thing) {
            return Err(Stop::Error(ErrorKind::Reentrant, None));
        }
        self.busy.push(thing);
        let result = self.run(thing, ops);
        if !matches!(result, Err(Stop::Panic(_))) {
            self.busy.pop();
        }
        result
    }

    fn run(&mut self, thing: usize, ops: &[Op]) -> Result<(), Stop> {
        for op in ops {
            match op {
                Op::Add(amount) => self.values[thing] = self.values[thing].map(|it| it + amount),
                Op::Call(other, ops, caught) => match self.call(*other, ops) {
                    Err(Stop::Error(..)) if *caught => {}
                    result => result?,
                },
                Op::Send(thing, program) => self.sent.push((*thing, *program)),
                Op::Fail => return Err(Stop::Error(ErrorKind::Failed, None)),
                Op::Panic => return Err(Stop::Panic(self.busy.clone())),
                Op::Keep => {
                    self.marked += 1;
                    return Err(Stop::Error(ErrorKind::Failed, Some(self.marked)));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn promises_5_and_6_random_programs_do_what_the_model_does(
        programs in programs(),
        turns in prop::collection::vec((0..THINGS, 0..PROGRAMS), 1..6),
    ) {
        let world = real::World::new(programs.clone());
        let mut model = Model { values: vec![Some(0); THINGS], ..Model::default() };
        for (thing, program) in turns {
            let ops = &programs[program as usize];
            let expected = model.turn(&programs, thing, ops);
            prop_assert_eq!(world.turn(thing, ops), expected);
            prop_assert_eq!(world.values(), model.values.clone());
        }
    }
}
