//! A simulated network of vats, and the oracle that checks the engine on it.
//!
//! - [`Network`] carries messages between vats, one at a time, in the order of each link, when and
//!   if the script says so. It knows nothing of vats but the three methods of [`Port`].
//! - [`Vat`] is an engine with a host that does nothing by itself. Its calls carry a number and up to
//!   four references, two of them in a struct inside the struct ([`content`]).
//! - [`Net`] is both in one value, for scripts.
//!
//! Unpublished; for the engine's tests, its fuzz targets and the vat's simulator.
#![forbid(unsafe_code)]

pub mod content;
pub mod frames;
pub mod net;
pub mod network;
pub mod oracle;
mod regressions;
pub mod vat;

pub use content::{Caps, SLOTS, Slot};
pub use frames::Kind;
pub use net::Net;
pub use network::{Delivered, End, Flying, LinkId, Network, Port};
pub use vat::{Arrived, Event, Results, Script, Vat};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_over_and_its_answer_comes_back_and_nothing_is_left() {
        for hello in [false, true] {
            let mut net = Net::new(2);
            let link = net.link(0, 1, hello).unwrap();
            let boot = net.bootstrap(End { link, side: 0 }).unwrap();
            let mut caps = Caps::default();
            caps[0] = Some(boot);
            caps[3] = Some(boot);
            let promise = net.vats[0].ask(boot, 7, &caps);
            net.vats[0].tell(promise, 8);
            let due = if hello { Kind::Hello } else { Kind::Bootstrap };
            assert_eq!(net.flying(End { link, side: 1 })[0], due);
            net.run().unwrap();
            let Some(Event::Call { object: 0, arrived }) = net.next_event(1) else {
                panic!("no call");
            };
            assert_eq!((arrived.number(), arrived.is_wire()), (7, true));
            let caps = arrived.caps();
            assert!(caps[0].is_some() && caps[1].is_none() && caps[0] == caps[3]);
            net.vats[1].answer(arrived, 70, &caps);
            net.run().unwrap();
            let Some(Event::Call { arrived, .. }) = net.next_event(1) else {
                panic!("no pipelined call");
            };
            assert_eq!(arrived.number(), 8);
            net.vats[1].fail(arrived, captp::Exception::failed("no"));
            net.run().unwrap();
            for number in [7, 8] {
                match net.next_event(0) {
                    Some(Event::Returned { number: of, result }) => {
                        assert_eq!((of, result.is_ok()), (number, number == 7));
                        for node in result.iter().flat_map(|results| results.caps).flatten() {
                            net.vats[0].release(node);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            net.vats[0].release(promise);
            net.vats[0].release(boot);
            net.check_drained().unwrap();
        }
    }

    #[test]
    fn a_cut_link_delivers_its_end_and_no_more() {
        for lose in [false, true] {
            let mut net = Net::new(2);
            let link = net.link(0, 1, false).unwrap();
            let boot = net.bootstrap(End { link, side: 0 }).unwrap();
            net.network.cut(&mut net.vats, link, lose);
            net.vats[0].tell(boot, 1);
            let due: &[Kind] = if lose {
                &[Kind::Close]
            } else {
                &[Kind::Bootstrap, Kind::Close]
            };
            assert_eq!(net.flying(End { link, side: 1 }), due);
            net.run().unwrap();
            assert!(net.network.is_over(link));
            net.vats[0].release(boot);
            net.check_drained().unwrap();
        }
    }
}
