//! Bytes and messages at random: nothing panics, nothing is left over.

use super::*;
use crate::tests::random::Random;

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

pub(super) fn answer(victim: &mut Victim, event: Event) {
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
