//! Each limit, and that what it keeps out keeps nobody else out.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::source::Source;
use super::*;

fn from(ip: &str) -> Source {
    ip.parse::<IpAddr>().unwrap().into()
}

/// Room for everything.
fn ample() -> AdmissionLimits {
    AdmissionLimits::default()
        .with_handshakes_per_source(1000)
        .with_arrivals_burst(1000)
}

const ONE: &str = "192.0.2.1";
const OTHER: &str = "192.0.2.2";

/// As many places as there are, and why there are no more.
fn fill(admission: &Admission, ip: &str, now: Instant) -> (Vec<Place>, Refused) {
    let mut places = Vec::new();
    loop {
        match admission.enter(from(ip), now) {
            Ok(place) => places.push(place),
            Err(refused) => return (places, refused),
        }
        assert!(places.len() < 5000, "no limit");
    }
}

fn authenticated(mut places: Vec<Place>) -> Vec<Place> {
    places.iter_mut().for_each(Place::handshake_done);
    places
}

#[test]
fn handshakes_of_one_source_leave_room_for_those_of_others() {
    let now = Instant::now();
    let admission = Admission::new(ample().with_handshakes_per_source(3));
    let (places, refused) = fill(&admission, ONE, now);
    assert_eq!((places.len(), refused), (3, Refused::HandshakesOfSource(3)));
    assert_eq!(fill(&admission, OTHER, now).0.len(), 3);
    // Who has shown a key makes room for the next one, and so does who has gone.
    let mut open = authenticated(places);
    assert_eq!(fill(&admission, ONE, now).0.len(), 3);
    open.clear();
    let (places, _) = fill(&admission, ONE, now);
    assert_eq!(places.len(), 3);
}

#[test]
fn handshakes_of_all_sources_have_a_limit() {
    let now = Instant::now();
    let limits = ample().with_handshakes_per_source(2).with_handshakes(5);
    let admission = Admission::new(limits);
    let one = fill(&admission, ONE, now).0;
    let other = fill(&admission, OTHER, now).0;
    let (third, refused) = fill(&admission, "192.0.2.3", now);
    assert_eq!((third.len(), refused), (1, Refused::Handshakes(5)));
    let open = authenticated(one);
    assert_eq!(fill(&admission, "192.0.2.4", now).0.len(), 2);
    drop((open, other, third));
    assert_eq!(admission.state().network.open, 0);
    assert_eq!(admission.state().network.handshakes, 0);
}

#[test]
fn connections_of_one_source_leave_room_for_those_of_others() {
    let now = Instant::now();
    let admission = Admission::new(ample().with_connections_per_source(3));
    let (places, refused) = fill(&admission, ONE, now);
    let open = authenticated(places);
    assert_eq!((open.len(), refused), (3, Refused::ConnectionsOfSource(3)));
    let (more, refused) = fill(&admission, ONE, now);
    assert_eq!((more.len(), refused), (0, Refused::ConnectionsOfSource(3)));
    assert_eq!(fill(&admission, OTHER, now).0.len(), 3);
    drop(open);
    assert_eq!(fill(&admission, ONE, now).0.len(), 3);
}

#[test]
fn connections_of_all_sources_have_a_limit_and_local_ones_another() {
    let now = Instant::now();
    let limits = ample().with_connections(4).with_local(2);
    let admission = Admission::new(limits);
    let (places, refused) = fill(&admission, ONE, now);
    let open = authenticated(places);
    assert_eq!((open.len(), refused), (4, Refused::Connections(4)));
    assert_eq!(fill(&admission, OTHER, now).0.len(), 0);
    let local: Vec<_> = (0..3)
        .map(|_| admission.enter(Source::Local, now))
        .collect();
    assert!(local[0].is_ok() && local[1].is_ok());
    assert_eq!(local[2].as_ref().unwrap_err(), &Refused::Local(2));
    // Nor do local connections take anything from the network's.
    drop(open);
    assert_eq!(fill(&admission, ONE, now).0.len(), 4);
}

#[test]
fn a_source_that_connects_too_often_has_to_wait() {
    let now = Instant::now();
    let limits = ample().with_arrivals_burst(10).with_arrivals_per_second(5);
    let admission = Admission::new(limits);
    for _ in 0..10 {
        drop(admission.enter(from(ONE), now).unwrap());
    }
    let refused = admission.enter(from(ONE), now).unwrap_err();
    assert_eq!(refused, Refused::Arrivals(5));
    assert!(admission.enter(from(OTHER), now).is_ok());
    assert!(admission.enter(Source::Local, now).is_ok());
    let soon = now + Duration::from_millis(200);
    assert!(admission.enter(from(ONE), soon).is_ok());
    assert!(admission.enter(from(ONE), soon).is_err());
    let later = now + Duration::from_secs(60);
    assert_eq!(fill(&admission, ONE, later).0.len(), 10);
}

#[test]
fn a_source_that_guesses_is_not_let_in_again_for_a_while() {
    let now = Instant::now();
    let admission = Admission::new(ample().with_source_misses(6));
    let place = admission.enter(from(ONE), now).unwrap();
    for _ in 0..6 {
        assert!(admission.enter(from(ONE), now).is_ok());
        place.origin().missed(now);
    }
    let refused = admission.enter(from(ONE), now).unwrap_err();
    assert_eq!(refused, Refused::Misses(6));
    assert!(admission.enter(from(OTHER), now).is_ok());
    drop(place);
    let soon = now + Duration::from_secs(9);
    assert!(admission.enter(from(ONE), soon).is_err(), "forgotten");
    let later = now + Duration::from_secs(10);
    assert!(admission.enter(from(ONE), later).is_ok());
    // The user of the vat is not locked out by programs of the same user.
    let local = admission.enter(Source::Local, now).unwrap();
    for _ in 0..20 {
        local.origin().missed(now);
    }
    assert!(admission.enter(Source::Local, now).is_ok());
}

#[test]
fn a_source_is_an_address_or_a_network_of_64_bits() {
    assert_eq!(from("192.0.2.1"), from("::ffff:192.0.2.1"));
    assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
    assert_eq!(from("2001:db8:0:1::1"), from("2001:db8:0:1:ffff::2"));
    assert_ne!(from("2001:db8:0:1::1"), from("2001:db8:0:2::1"));
    assert_eq!(from("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
    let site = from("2001:db8:5:1::1").site();
    assert_eq!(site.unwrap().to_string(), "2001:db8:5::/48");
    assert_eq!(site, from("2001:db8:5:2::1").site());
    assert_ne!(site, from("2001:db8:6:1::1").site());
    assert_eq!(from(ONE).site(), None);
    assert_eq!(from("::ffff:192.0.2.1").to_string(), "192.0.2.1");
}

/// An address in the `network`th network of 64 bits of `2001:db8:<site>::/48`.
fn in_site(site: u16, network: u16) -> String {
    format!("2001:db8:{site:x}:{network:x}::1")
}

/// As many places as one site gets, from as many networks of it as it likes.
fn fill_site(admission: &Admission, site: u16, now: Instant) -> (Vec<Place>, Refused) {
    let mut places = Vec::new();
    for network in 0.. {
        match admission.enter(from(&in_site(site, network)), now) {
            Ok(place) => places.push(place),
            Err(refused) => return (places, refused),
        }
    }
    unreachable!("no limit")
}

#[test]
fn networks_of_one_site_count_together_and_leave_room_for_those_of_others() {
    let now = Instant::now();
    let limits = ample()
        .with_handshakes_per_source(3)
        .with_connections_per_source(5);
    let admission = Admission::new(limits);
    let (places, refused) = fill_site(&admission, 1, now);
    assert_eq!(
        (places.len(), refused),
        (12, Refused::HandshakesOfSource(12))
    );
    // Each of them as before.
    assert_eq!(fill(&admission, &in_site(2, 7), now).0.len(), 3);
    let mut open = authenticated(places);
    let (more, refused) = fill_site(&admission, 1, now);
    assert_eq!((more.len(), refused), (8, Refused::ConnectionsOfSource(20)));
    assert_eq!(fill_site(&admission, 3, now).0.len(), 12);
    open.clear();
    drop(more);
    assert_eq!(fill_site(&admission, 1, now).0.len(), 12);
}

#[test]
fn no_site_has_all_connections() {
    let now = Instant::now();
    let admission = Admission::new(ample().with_connections(40).with_handshakes(20));
    let (places, refused) = fill_site(&admission, 1, now);
    assert_eq!(
        (places.len(), refused),
        (15, Refused::HandshakesOfSource(15))
    );
    let open = authenticated(places);
    let (more, _) = fill_site(&admission, 1, now);
    let more = authenticated(more);
    assert_eq!(open.len() + more.len(), 30);
    let (others, _) = fill_site(&admission, 2, now);
    assert_eq!(others.len(), 10);
}

#[test]
fn arrivals_and_misses_of_a_site_are_counted_together() {
    let now = Instant::now();
    let limits = AdmissionLimits::default()
        .with_arrivals_burst(10)
        .with_source_misses(5);
    let admission = Admission::new(limits);
    for network in 0..40 {
        drop(admission.enter(from(&in_site(1, network)), now).unwrap());
    }
    let refused = admission.enter(from(&in_site(1, 40)), now).unwrap_err();
    assert_eq!(refused, Refused::Arrivals(200));
    assert_eq!(
        admission.state().sources.len(),
        41,
        "nothing is kept of who is refused"
    );
    let later = now + Duration::from_secs(60);
    for network in 0..20 {
        let place = admission.enter(from(&in_site(1, network)), later).unwrap();
        place.origin().missed(later);
    }
    let refused = admission.enter(from(&in_site(1, 20)), later).unwrap_err();
    assert_eq!(refused, Refused::Misses(20));
    assert!(admission.enter(from(&in_site(2, 1)), later).is_ok());
}

#[test]
fn a_network_that_is_refused_takes_nothing_from_its_site() {
    let now = Instant::now();
    let limits = AdmissionLimits::default().with_arrivals_burst(10);
    let admission = Admission::new(limits);
    let attempts = (0..1000).filter(|_| admission.enter(from(&in_site(1, 1)), now).is_ok());
    assert_eq!(attempts.count(), 10);
    for _ in 0..10 {
        drop(admission.enter(from(&in_site(1, 2)), now).unwrap());
    }
}

#[test]
fn what_is_known_of_sources_is_bounded_and_forgotten() {
    let now = Instant::now();
    let admission = Admission::new(ample());
    let number = |n: u32| Source::V4(std::net::Ipv4Addr::from_bits(n));
    let held = admission.enter(number(1), now).unwrap();
    for n in 0..10_000 {
        drop(admission.enter(number(n), now));
    }
    let known = admission.state().sources.len();
    assert_eq!(known, SOURCES + 1, "the last is for all others");
    // The others share the room of one: they cannot use up anything by being many.
    assert!(matches!(
        admission.enter(number(9_999), now),
        Err(Refused::Arrivals(_))
    ));
    let later = now + Duration::from_secs(60);
    drop(admission.enter(number(20_000), later).unwrap());
    assert_eq!(admission.state().sources.len(), 2);
    assert_eq!(admission.state().sources[&number(1)].count.open, 1);
    drop(held);
}

#[test]
fn a_rate_gives_its_burst_at_once_and_then_one_after_the_other() {
    let now = Instant::now();
    let rate = Rate::new(3, 2, Duration::from_secs(1));
    let mut bucket = Bucket::default();
    let taken = |bucket: &mut Bucket, at| (0..10).filter(|_| bucket.take(at, rate)).count();
    assert_eq!(taken(&mut bucket, now), 3);
    assert_eq!(taken(&mut bucket, now + Duration::from_millis(499)), 0);
    assert_eq!(taken(&mut bucket, now + Duration::from_millis(500)), 1);
    assert_eq!(taken(&mut bucket, now + Duration::from_millis(1500)), 2);
    assert!(!bucket.is_full(now + Duration::from_millis(2900)));
    assert!(bucket.is_full(now + Duration::from_secs(3)));
    assert_eq!(taken(&mut bucket, now + Duration::from_secs(100)), 3);

    let mut never = Bucket::default();
    assert!(!never.take(now, Rate::new(0, 0, Duration::from_secs(1))));
    let mut always = Bucket::default();
    let rate = Rate::new(u32::MAX, u32::MAX, Duration::from_secs(1));
    assert!((0..1000).all(|_| always.take(now, rate)));
}
