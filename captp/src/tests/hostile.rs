//! Peers that send anything: at worst their own connection is aborted, limits are kept.

use capnp::any_pointer;

use super::net::{Event, Net, Respond, pair, take, write};
use super::random::Random;
use crate::captp_capnp::{cap_descriptor, message, message_target};
use crate::message::encode::{Built, new_message};
use crate::{CloseReason, ConnId, ConnOptions, Limits, NodeId, PeerMisbehaved, Transmit};

mod floods;

/// A vat that offers object 0 to a peer whose messages the test writes.
pub(super) struct Victim {
    pub(super) net: Net,
    pub(super) conn: ConnId,
    pub(super) root: NodeId,
}

impl Victim {
    pub(super) fn new(limits: Limits) -> Self {
        let mut net = Net::new(1);
        let root = net.vats[0].object(0);
        let options = ConnOptions::default()
            .with_bootstrap(root)
            .with_limits(limits);
        let conn = net.vats[0].engine.open(options);
        Self { net, conn, root }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.net.vats[0].feed(self.conn, bytes, Vec::new());
        self.net.vats[0].engine.check().unwrap();
    }

    pub(super) fn message(&mut self, fill: impl FnOnce(message::Builder<'_>)) {
        let bytes = framed(fill);
        self.bytes(&bytes);
    }

    /// A bootstrap: the peer then holds export 0.
    pub(super) fn bootstrap(&mut self) {
        self.message(|to| to.init_bootstrap().set_question_id(1000));
    }

    pub(super) fn call(&mut self, question: u32, export: u32) {
        self.message(|to| {
            let mut call = to.init_call();
            call.set_question_id(question);
            call.set_interface_id(0xaaaa);
            call.set_method_id(3);
            call.reborrow().init_target().set_imported_cap(export);
            write(call.init_params().init_content(), question, &[]);
        });
    }

    /// The fault for which the connection was aborted; the peer must have been told.
    pub(super) fn fault(&mut self) -> PeerMisbehaved {
        let mut out = Transmit::new();
        self.net.vats[0].engine.poll_transmit(self.conn, &mut out);
        let kinds: Vec<_> = super::net::split(&out.take_bytes())
            .into_iter()
            .map(|(_, kind)| kind)
            .collect();
        assert_eq!(kinds.last(), Some(&"abort"));
        loop {
            match self.net.vats[0].next() {
                Some(Event::Closed(_, CloseReason::PeerMisbehaved(fault))) => return fault,
                Some(_) => {}
                None => panic!("the connection was not aborted"),
            }
        }
    }
}

pub(super) fn framed(fill: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut built: Built = new_message(64);
    fill(built.init_root());
    let mut out = Transmit::new();
    out.push(&built.get_segments_for_output(), &[]);
    out.take_bytes()
}

/// Messages of every sort, as a well-meaning peer may send them.
fn samples() -> Vec<Vec<u8>> {
    let target = |mut to: message_target::Builder<'_>| to.set_imported_cap(0);
    let mut found = vec![
        framed(|to| to.init_bootstrap().set_question_id(0)),
        framed(|to| to.init_finish().set_question_id(0)),
        framed(|to| {
            let mut release = to.init_release();
            release.set_id(0);
            release.set_reference_count(1);
        }),
        framed(|to| {
            let mut exception = to.init_abort();
            exception.set_reason("enough");
            exception.init_details(1).get(0).set_data(&[1, 2, 3]);
        }),
        framed(|to| {
            let mut resolve = to.init_resolve();
            resolve.set_promise_id(1);
            resolve.init_cap().set_receiver_hosted(0);
        }),
        framed(|to| {
            let mut disembargo = to.init_disembargo();
            target(disembargo.reborrow().init_target());
            disembargo.get_context().set_sender_loopback(5);
        }),
        framed(|to| {
            let mut provide = to.init_provide();
            provide.set_question_id(4);
            target(provide.init_target());
        }),
        framed(|to| {
            to.init_unimplemented()
                .init_resolve()
                .init_cap()
                .set_sender_hosted(0);
        }),
    ];
    found.push(framed(|to| {
        let mut call = to.init_call();
        call.set_question_id(7);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        {
            let mut answer = call.reborrow().init_target().init_promised_answer();
            answer.set_question_id(0);
            answer.init_transform(2).get(0).set_get_pointer_field(0);
        }
        let mut params = call.init_params();
        {
            let mut table = params.reborrow().init_cap_table(3);
            table.reborrow().get(0).set_sender_promise(1);
            table.reborrow().get(1).set_receiver_hosted(0);
            table
                .reborrow()
                .get(2)
                .init_third_party_hosted()
                .set_vine_id(9);
        }
        write(params.init_content(), 3, &[]);
    }));
    found.push(framed(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        let mut results = ret.init_results();
        results
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .set_sender_hosted(2);
        write(results.init_content(), 3, &[]);
    }));
    found
}

#[test]
fn a_message_cut_at_any_byte_waits_or_ends_that_connection_only() {
    for sample in samples() {
        for cut in 0..sample.len() {
            let mut victim = Victim::new(Limits::default());
            victim.bootstrap();
            let mut other = Neighbour::of(&mut victim);
            victim.bytes(&sample[..cut]);
            let conn = victim.conn;
            let engine = &mut victim.net.vats[0].engine;
            assert!(engine.stats(conn).is_some(), "it waits for the rest");
            engine.handle_closed(conn, "end of stream");
            assert_eq!(engine.stats(conn), None);
            victim.net.vats[0].collect();
            victim.net.vats[0].engine.check().unwrap();
            other.assert_served(&mut victim);
            other.leave(&mut victim);
            let root = victim.root;
            victim.net.vats[0].release(root);
            assert_eq!(victim.net.vats[0].engine.live_nodes(), 0);
        }
    }
}

/// Another peer of the same vat, who means well.
struct Neighbour {
    conn: ConnId,
    question: u32,
}

impl Neighbour {
    fn of(victim: &mut Victim) -> Self {
        let options = ConnOptions::default().with_bootstrap(victim.root);
        let conn = victim.net.vats[0].engine.open(options);
        let own = std::mem::replace(&mut victim.conn, conn);
        victim.bootstrap();
        victim.conn = own;
        Self { conn, question: 0 }
    }

    /// A call comes to its object and is answered.
    fn assert_served(&mut self, victim: &mut Victim) {
        self.question += 1;
        let (number, own) = (
            self.question,
            std::mem::replace(&mut victim.conn, self.conn),
        );
        victim.call(number, 0);
        victim.conn = own;
        let served =
            std::iter::from_fn(|| victim.net.vats[0].next()).find_map(|event| match event {
                Event::Call {
                    number: got,
                    respond,
                    ..
                } if got == number => Some(respond),
                _ => None,
            });
        let vat = &mut victim.net.vats[0];
        vat.answer(served.expect("the call"), number, &[]);
        let mut out = Transmit::new();
        vat.engine.poll_transmit(self.conn, &mut out);
        let sent = super::net::split(&out.take_bytes());
        assert_eq!(sent.last().map(|(_, kind)| *kind), Some("return"));
    }

    fn leave(self, victim: &mut Victim) {
        victim.net.vats[0]
            .engine
            .handle_closed(self.conn, "end of stream");
        victim.net.vats[0].collect();
    }
}

#[test]
fn flipped_bytes_never_panic_and_never_leak() {
    let mut random = Random::new(7);
    let samples = samples();
    for _ in 0..600 {
        let mut victim = Victim::new(Limits::default().with_traversal_factor(2));
        victim.bootstrap();
        for _ in 0..4 {
            let mut bytes = samples[random.below(samples.len())].clone();
            for _ in 0..=random.below(4) {
                // The segment table stays, so that the rest is looked at.
                let at = 8 + random.below(bytes.len() - 8);
                bytes[at] = match random.below(3) {
                    0 => 0xff,
                    1 => bytes[at] ^ (1 << random.below(8)),
                    _ => u8::try_from(random.below(256)).unwrap(),
                };
            }
            victim.bytes(&bytes);
            while let Some(event) = victim.net.vats[0].next() {
                answer(&mut victim, event);
            }
        }
        let (conn, root) = (victim.conn, victim.root);
        victim.net.vats[0].engine.handle_closed(conn, "end");
        while let Some(event) = victim.net.vats[0].next() {
            answer(&mut victim, event);
        }
        victim.net.vats[0].release(root);
        let dump = victim.net.vats[0].engine.dump();
        assert_eq!(victim.net.vats[0].engine.live_nodes(), 0, "{dump}");
    }
}

fn answer(victim: &mut Victim, event: Event) {
    if let Event::Call { caps, respond, .. } = event {
        victim.net.vats[0].answer(respond, 1, &caps);
        for cap in caps {
            victim.net.vats[0].release(cap);
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(3);
    for _ in 0..300 {
        let mut victim = Victim::new(Limits::default());
        let bytes: Vec<u8> = (0..random.below(400))
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        victim.bytes(&bytes);
        let mut headed = [
            vec![0; 4],
            vec![u8::try_from(random.below(12)).unwrap(), 0, 0, 0],
        ]
        .concat();
        headed.extend(bytes);
        Victim::new(Limits::default()).bytes(&headed);
    }
}

/// Well-formed messages with small random ids, against a vat that does things too.
#[test]
fn random_well_formed_messages_never_panic_and_never_leak() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let mut victim = Victim::new(Limits::default());
        victim.bootstrap();
        let conn = victim.conn;
        let mut held = Vec::new();
        for step in 0..60 {
            let bytes = random_message(&mut random, step);
            victim.bytes(&bytes);
            if victim.net.vats[0].engine.stats(conn).is_none() {
                break;
            }
            if step % 5 == 0 {
                held.push(victim.net.vats[0].engine.bootstrap(conn));
            }
            while let Some(event) = victim.net.vats[0].next() {
                match event {
                    Event::Call { caps, respond, .. } => {
                        let vat = &mut victim.net.vats[0];
                        if let (Some(cap), Respond::Wire(_)) = (caps.first(), &respond) {
                            let (_, node) = vat.ask(*cap, 1, &caps);
                            held.push(node);
                        }
                        vat.answer(respond, 1, &caps[..caps.len().min(1)]);
                        caps.into_iter().for_each(|cap| vat.release(cap));
                    }
                    Event::Returned {
                        result: Ok((_, caps)),
                        ..
                    } => held.extend(caps),
                    _ => {}
                }
            }
            victim.net.vats[0].engine.check().unwrap();
        }
        victim.net.vats[0].engine.handle_closed(conn, "end");
        let vat = &mut victim.net.vats[0];
        while let Some(event) = vat.next() {
            if let Event::Call { caps, respond, .. } = event {
                vat.answer(respond, 1, &[]);
                caps.into_iter().for_each(|cap| vat.release(cap));
            } else if let Event::Returned {
                result: Ok((_, caps)),
                ..
            } = event
            {
                held.extend(caps);
            }
        }
        held.push(victim.root);
        held.into_iter().for_each(|node| vat.release(node));
        assert_eq!(
            vat.engine.live_nodes(),
            0,
            "seed {seed}:\n{}",
            vat.engine.dump()
        );
    }
}

fn random_message(random: &mut Random, step: u32) -> Vec<u8> {
    let mut small = |limit: usize| u32::try_from(random.below(limit)).unwrap();
    let (a, b, c, d) = (small(4), small(4), small(10), small(6));
    let descriptor = |mut to: cap_descriptor::Builder<'_>, which: u32| match which {
        0 => to.set_none(()),
        1 => to.set_sender_hosted(b),
        2 => to.set_sender_promise(b),
        3 => to.set_receiver_hosted(0),
        4 => {
            let mut answer = to.init_receiver_answer();
            answer.set_question_id(100 + step.saturating_sub(a));
            answer.init_transform(1).get(0).set_get_pointer_field(0);
        }
        _ => to.init_third_party_hosted().set_vine_id(b),
    };
    framed(|to| match c {
        0..=3 => {
            let mut call = to.init_call();
            call.set_question_id(100 + step);
            call.set_interface_id(0xaaaa);
            call.set_method_id(3);
            call.set_only_promise_pipeline(a == 3 && b == 3);
            if d == 5 {
                call.reborrow().init_send_results_to().set_yourself(());
            }
            let mut target = call.reborrow().init_target();
            if a < 2 {
                target.set_imported_cap(0);
            } else {
                let mut answer = target.init_promised_answer();
                answer.set_question_id(100 + step.saturating_sub(a));
                answer.init_transform(1).get(0).set_get_pointer_field(0);
            }
            let mut params = call.init_params();
            descriptor(params.reborrow().init_cap_table(1).get(0), d);
            write_index(params.init_content());
        }
        4 => {
            let mut ret = to.init_return();
            ret.set_answer_id(a);
            ret.set_release_param_caps(d == 0);
            if d == 3 {
                return ret.set_take_from_other_question(100 + step.saturating_sub(b));
            }
            let mut results = ret.init_results();
            descriptor(results.reborrow().init_cap_table(1).get(0), d);
            write_index(results.init_content());
        }
        5 => {
            let mut finish = to.init_finish();
            finish.set_question_id(100 + step.saturating_sub(d));
            finish.set_release_result_caps(a > 1);
        }
        6 => {
            let mut resolve = to.init_resolve();
            resolve.set_promise_id(a);
            descriptor(resolve.init_cap(), d);
        }
        7 if d == 0 => {
            let mut release = to.init_release();
            release.set_id(a);
            release.set_reference_count(1);
        }
        8 if d == 0 => {
            let mut disembargo = to.init_disembargo();
            disembargo.reborrow().init_target().set_imported_cap(a);
            disembargo.get_context().set_sender_loopback(b);
        }
        _ => to.init_join().set_question_id(a),
    })
}

/// A struct with one capability pointer, to index 0.
pub(super) fn write_index(mut to: any_pointer::Builder<'_>) {
    use capnp::traits::ImbueMut as _;
    to.imbue_mut(Box::leak(Box::default()));
    write(to, 1, &[NodeId::new(0, 0)]);
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn unknown_ids_double_releases_and_duplicate_questions_abort() {
    type Script = fn(&mut Victim);
    let scripts: [(Script, PeerMisbehaved); 9] = [
        (
            |victim| victim.call(1, 99),
            PeerMisbehaved::UnknownExport(crate::ExportId::new(99)),
        ),
        (
            |victim| {
                victim.call(1, 0);
                victim.call(1, 0);
            },
            PeerMisbehaved::DuplicateQuestion(crate::AnswerId::new(1)),
        ),
        (
            |victim| {
                victim.message(|to| {
                    let mut ret = to.init_return();
                    ret.set_answer_id(7);
                    ret.set_canceled(());
                });
            },
            PeerMisbehaved::UnknownQuestion(crate::QuestionId::new(7)),
        ),
        (
            |victim| {
                victim.message(|to| {
                    let mut release = to.init_release();
                    release.set_id(0);
                    release.set_reference_count(2);
                });
            },
            PeerMisbehaved::ReleaseUnderflow {
                export: crate::ExportId::new(0),
                held: 1,
                released: 2,
            },
        ),
        (
            |victim| {
                victim.call(1, 0);
                for _ in 0..2 {
                    victim.message(|to| to.init_finish().set_question_id(1));
                }
            },
            PeerMisbehaved::DuplicateFinish(crate::AnswerId::new(1)),
        ),
        (
            |victim| {
                victim.message(|to| {
                    let mut disembargo = to.init_disembargo();
                    disembargo.reborrow().init_target().set_imported_cap(0);
                    disembargo.get_context().set_sender_loopback(3);
                });
            },
            PeerMisbehaved::DisembargoTarget,
        ),
        (
            |victim| {
                victim.message(|to| {
                    let mut disembargo = to.init_disembargo();
                    disembargo.reborrow().init_target().set_imported_cap(0);
                    disembargo.get_context().set_receiver_loopback(3);
                });
            },
            PeerMisbehaved::UnknownEmbargo(crate::EmbargoId::new(3)),
        ),
        (
            |victim| victim.bytes(&[0xff; 8]),
            PeerMisbehaved::TooManySegments(u32::MAX),
        ),
        (
            |victim| victim.message(|to| to.init_unimplemented().init_call().set_question_id(0)),
            PeerMisbehaved::RequiredUnimplemented("call"),
        ),
    ];
    for (script, expected) in scripts {
        let mut victim = Victim::new(Limits::default());
        victim.bootstrap();
        script(&mut victim);
        assert_eq!(victim.fault(), expected);
    }
}

#[test]
fn messages_that_are_not_spoken_come_back() {
    let mut victim = Victim::new(Limits::default());
    let mut out = Transmit::new();
    for sample in [
        framed(|to| to.init_provide().set_question_id(4)),
        framed(|to| to.init_accept().set_question_id(4)),
        framed(|to| to.init_join().set_question_id(4)),
    ] {
        victim.bytes(&sample);
        let conn = victim.conn;
        assert!(victim.net.vats[0].engine.poll_transmit(conn, &mut out));
        let back = super::net::split(&out.take_bytes());
        assert_eq!(back.len(), 1);
        assert_eq!(back[0].1, "unimplemented");
    }
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
}

#[test]
fn a_hello_of_an_unknown_version_is_refused_by_its_number() {
    use crate::network_capnp::hello;
    for (magic, major, expected) in [
        (0x0d74_6176, 2, PeerMisbehaved::UnknownVersion(2)),
        (0, 1, PeerMisbehaved::NoHello),
    ] {
        let mut victim = Victim::new(Limits::default());
        let options = ConnOptions::default().with_hello(true);
        victim.conn = victim.net.vats[0].engine.open(options);
        let mut built: Built = new_message(16);
        let mut hello = built.init_root::<hello::Builder<'_>>();
        hello.set_magic(magic);
        hello.set_major(major);
        hello.set_features(u64::MAX);
        let mut out = Transmit::new();
        out.push(&built.get_segments_for_output(), &[]);
        victim.bytes(&out.take_bytes());
        assert_eq!(victim.fault(), expected);
    }
}
