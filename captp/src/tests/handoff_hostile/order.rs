//! What went one way comes before what goes another one, in awkward arrangements.

use super::*;

#[test]
fn a_gift_that_was_called_as_a_promise_is_not_passed_on_before_those_calls() {
    let mut trio = Trio::with(Net::known(4));
    let (link, other) = fourth(&mut trio);
    let promised = embargoed(&mut trio);
    trio.net.vats[RECIPIENT].send(promised, 101, &[]);
    trio.net.deliver(TO_RECIPIENT, 1, "resolve");
    trio.net.vats[RECIPIENT].send(other, 1, &[promised]);
    trio.net.deliver(link, 1, "call");
    let given = take!(trio.net.vats[3], Event::Call { caps, .. } => caps[0]);
    trio.net.vats[3].send(given, 102, &[]);
    let through = [(TO_RECIPIENT, 0), (TO_RECIPIENT, 1)];
    run_but(&mut trio.net, &through);
    while let Some(Event::Dial(request, _)) = trio.net.vats[3].next() {
        let direct = trio.net.meet(3, EXPORTER);
        let conn = trio.net.conn(direct, 0);
        trio.net.vats[3].engine.dialed(request, Ok(conn));
    }
    run_but(&mut trio.net, &through);
    if let Some(Event::Dial(request, _)) = trio.net.vats[RECIPIENT].next() {
        let direct = trio.net.meet(RECIPIENT, EXPORTER);
        let conn = trio.net.conn(direct, 0);
        trio.net.vats[RECIPIENT].engine.dialed(request, Ok(conn));
    }
    run_but(&mut trio.net, &through);
    trio.net.run();
    assert_eq!(numbers(&mut trio.net, EXPORTER), [100, 101, 102]);
}

#[test]
fn a_gift_with_calls_that_wait_for_a_connection_goes_back_behind_them() {
    let mut trio = Trio::new();
    let conn = trio.net.conn(TO_RECIPIENT, 1);
    let root = trio.net.vats[RECIPIENT].engine.bootstrap(conn);
    trio.net.run();
    let given = trio.give();
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    trio.net.vats[RECIPIENT].send(root, 2, &[given]);
    trio.net.run();
    let back = take!(trio.net.vats[GIFTER], Event::Call { caps, .. } => caps[0]);
    trio.net.vats[GIFTER].send(back, 3, &[]);
    trio.net.run();
    trio.net.dial(RECIPIENT);
    trio.net.run();
    assert_eq!(numbers(&mut trio.net, EXPORTER), [1, 3]);
    trio.net.run();
    for node in [given, root] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.net.vats[GIFTER].release(back);
    hush(&mut trio.net);
}

/// Vat 3 asks the gifter for two references in one answer, and pipelines calls on them: by hand, as
/// the answer is question 50 and stays unanswered.
struct Asking {
    trio: Trio,
    link: usize,
    respond: Respond,
}

/// Where the references lie in the answer: first the recipient's object, then the exporter's.
const ONE: &[u16] = &[1, 0];
const OTHER: &[u16] = &[2];

impl Asking {
    fn new() -> Self {
        let mut trio = Trio::with(Net::known(4));
        let link = trio.net.meet(3, GIFTER);
        let root = trio.net.root(link, 0);
        trio.net.vats[3].send(root, 1, &[]);
        trio.net.run();
        let respond = take!(trio.net.vats[GIFTER], Event::Call { respond, .. } => respond);
        hand_in(&mut trio.net, link, 1, |to| asked(to, 50, None, None));
        Self {
            trio,
            link,
            respond,
        }
    }

    /// A call on one of the references, maybe with one of them as a parameter.
    fn call(&mut self, question: u32, target: &[u16], cap: Option<&[u16]>) {
        hand_in(&mut self.trio.net, self.link, 1, |to| {
            asked(to, question, Some(target), cap);
        });
    }

    /// The gifter answers; what vat 3 hears of it is thrown away.
    fn answer(self) -> Trio {
        let Self {
            mut trio,
            link,
            respond,
        } = self;
        let (one, other) = (trio.recipient, trio.gift);
        let asked =
            take!(trio.net.vats[GIFTER], Event::Call { number: 50, respond, .. } => respond);
        let Respond::Wire(token) = asked else {
            panic!("a local call")
        };
        let mut fill = |to: &mut crate::Content| {
            to.build(100, |root| {
                let mut root: call::Builder<'_> = root.init_as();
                let mut at = root.reborrow().init_params().init_content();
                at.set_as_capability(crate::cap_hook(one));
                let mut at = root.get_send_results_to().init_third_party();
                at.set_as_capability(crate::cap_hook(other));
                Ok(())
            })
        };
        trio.net.vats[GIFTER].engine.answer(token, Ok(&mut fill));
        trio.net.vats[GIFTER].answer(respond, 0, &[]);
        trio.net.links[link].to[0].clear();
        trio
    }
}

/// A call of the gifter's root, or on a place in the answer to question 50.
fn asked(to: message::Builder<'_>, question: u32, target: Option<&[u16]>, cap: Option<&[u16]>) {
    let place = |mut to: promised_answer::Builder<'_>, fields: &[u16]| {
        to.set_question_id(50);
        let count = u32::try_from(fields.len()).unwrap();
        let mut transform = to.init_transform(count);
        for (at, field) in (0u32..).zip(fields) {
            transform.reborrow().get(at).set_get_pointer_field(*field);
        }
    };
    let mut call = to.init_call();
    call.set_question_id(question);
    call.set_interface_id(0xaaaa);
    call.set_method_id(3);
    match target {
        Some(fields) => place(call.reborrow().init_target().init_promised_answer(), fields),
        None => call.reborrow().init_target().set_imported_cap(0),
    }
    let mut params = call.init_params();
    let mut table = capnp::private::layout::CapTable::new();
    let mut content = params.reborrow().init_content();
    content.imbue_mut(&mut table);
    // Any node will do: only its place in the table counts.
    let any = cap.map(|_| Vat::known(identity(9)).object(0));
    write(content, question, any.as_slice());
    if let Some(fields) = cap {
        place(
            params.init_cap_table(1).get(0).init_receiver_answer(),
            fields,
        );
    }
}

/// Each of the two is called with the other as a parameter before the answer is there.
#[test]
fn queues_that_give_each_other_away_stay_in_order() {
    let mut asking = Asking::new();
    asking.call(51, ONE, Some(OTHER));
    asking.call(52, ONE, None);
    asking.call(53, OTHER, Some(ONE));
    asking.call(54, OTHER, None);
    let link = asking.link;
    let mut trio = asking.answer();
    run_but(&mut trio.net, &[(link, 0)]);
    assert_eq!(numbers_no_run(&mut trio.net, RECIPIENT), [51, 52]);
    assert_eq!(numbers_no_run(&mut trio.net, EXPORTER), [53, 54]);
}

/// One reference is given away from the queue of the other while calls that were made on it before
/// are still in a queue of its own.
#[test]
fn a_reference_that_is_given_away_from_a_queue_is_provided_behind_calls_in_its_own() {
    for (target, given) in [(ONE, OTHER), (OTHER, ONE)] {
        let mut asking = Asking::new();
        asking.call(51, target, None);
        asking.call(52, given, None);
        asking.call(53, target, Some(given));
        let mut trio = asking.answer();
        let to_host = if given == OTHER {
            TO_EXPORTER
        } else {
            TO_RECIPIENT
        };
        // For vat 3, which has called and thus lifts an embargo; and for the host of the other.
        let expected = ["provide", "call", "provide"];
        assert_eq!(trio.net.flying(to_host, 1), expected);
    }
}

fn numbers_no_run(net: &mut Net, vat: usize) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some(event) = net.vats[vat].next() {
        if let Event::Call { number, .. } = event {
            found.push(number);
        }
    }
    found
}
