//! Peers that send anything: at worst their own connection is aborted, limits are kept.

use capnp::any_pointer;

use super::net::{Event, Net, Respond, pair, take, write};
use crate::captp_capnp::{cap_descriptor, message, message_target};
use crate::message::encode::{Built, new_message};
use crate::{CloseReason, ConnId, ConnOptions, Limits, NodeId, PeerMisbehaved, Transmit};

mod floods;
mod random;

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
