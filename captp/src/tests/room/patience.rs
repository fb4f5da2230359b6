//! Limits that give way, so that nothing waits for ever.

use super::*;

/// Two vats that call each other back, each call from within the one before, `depth` calls deep.
/// Behind windows that are narrower. Returns how often somebody had to be patient.
fn callbacks(limits: &Limits, depth: u32) -> usize {
    let (mut net, boot) = pair_with([limits.clone(), limits.clone()]);
    let mine = net.vats[0].object(7);
    net.vats[0].send(boot, 0, &[mine]);
    net.run();
    let (_, caps, first) = next_call(&mut net, 1);
    let mut frames = vec![(1, first)];
    let targets = [boot, caps[0]];
    let (mut asked, mut patience) = (1, 0);
    net.vats[1].send(targets[1], asked, &[]);
    while asked < depth {
        net.run();
        let at =
            (0..2).find(|vat| matches!(net.vats[*vat].events.front(), Some(Event::Call { .. })));
        let Some(vat) = at else {
            patience += 1;
            assert!(patience < 40, "stuck at depth {asked}");
            (0..2)
                .filter(|vat| net.vats[*vat].engine.deadline().is_some())
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|vat| be_patient(&mut net.vats[vat]));
            continue;
        };
        let (_, _, respond) = next_call(&mut net, vat);
        frames.push((vat, respond));
        asked += 1;
        net.vats[vat].send(targets[vat], asked, &[]);
    }
    patience
}

#[test]
fn callbacks_nested_deeper_than_the_window_do_not_wait_for_ever() {
    assert_eq!(callbacks(&window(64), 100), 0);
    let patience = callbacks(&window(4), 200);
    assert!((4..12).contains(&patience), "{patience}");
}

#[test]
fn callbacks_nested_deeper_than_the_gate_do_not_wait_for_ever() {
    let gate = |calls| Limits::default().with_answers_soft(calls);
    assert_eq!(callbacks(&gate(64), 100), 0);
    let patience = callbacks(&gate(4), 200);
    assert!((4..12).contains(&patience), "{patience}");
    let bytes = Limits::default().with_call_bytes_soft(400);
    let patience = callbacks(&bytes, 200);
    assert!((4..12).contains(&patience), "{patience}");
}

#[test]
fn a_gate_is_opened_only_if_nothing_moves_and_as_long_as_something_waits() {
    let (mut net, boot) = pair_with([Limits::default(), Limits::default().with_answers_soft(2)]);
    let conn = net.conn(0, 1);
    let held = |net: &Net| net.vats[1].engine.stats(conn).unwrap().held;
    for number in 0..10 {
        net.vats[0].send(boot, number, &[]);
    }
    net.run();
    let step = Duration::from_millis(250);
    let tick = |net: &mut Net, steps| {
        net.vats[1].engine.handle_time(steps * step);
        net.vats[1].collect();
    };
    tick(&mut net, 1);
    let (_, _, respond) = next_call(&mut net, 1);
    net.vats[1].answer(respond, 0, &[]);
    net.vats[1].collect();
    assert_eq!(held(&net), 7, "one has gone on");
    tick(&mut net, 2);
    assert_eq!(held(&net), 7, "it moves");
    tick(&mut net, 3);
    assert_eq!(held(&net), 5, "four may be under way");
    assert_eq!(serve(&mut net, 1).len(), 9);
    assert_eq!(net.vats[1].engine.deadline(), None);
    for number in 0..10 {
        net.vats[0].send(boot, number, &[]);
    }
    net.run();
    assert_eq!(held(&net), 8, "the gate is as it was");
}

#[test]
fn a_window_is_opened_only_if_nothing_leaves_and_as_long_as_something_waits() {
    let (mut net, boot) = narrow(2);
    for number in 0..10 {
        net.vats[0].send(boot, number, &[]);
    }
    net.run();
    let step = Duration::from_millis(250);
    let engine = &mut net.vats[0].engine;
    engine.handle_time(step);
    assert_eq!(engine.deadline(), Some(step + Duration::from_millis(200)));
    let (_, _, respond) = next_call(&mut net, 1);
    net.vats[1].answer(respond, 0, &[]);
    net.run();
    assert_eq!(waiting(&net, 0), 7, "one has left");
    net.vats[0].engine.handle_time(2 * step);
    assert_eq!(waiting(&net, 0), 7, "it moves");
    net.vats[0].engine.handle_time(3 * step);
    assert_eq!(waiting(&net, 0), 5, "four may be under way");
    assert_eq!(serve(&mut net, 1).len(), 9);
    assert_eq!(net.vats[0].engine.deadline(), None);
    for number in 0..10 {
        net.vats[0].send(boot, number, &[]);
    }
    assert_eq!(waiting(&net, 0), 8, "the window is as it was");
}
