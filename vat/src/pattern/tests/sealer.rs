//! Sealed values.

use crate::core::tests::link::Net;
use crate::core::tests::sample::{counter, run, taken};
use crate::pattern::{caretaker, membrane, sealer};
use crate::prelude::*;
use crate::schema::describe;
use crate::{ErrorKind, Vat};

#[test]
fn only_the_unsealer_of_the_pair_opens_a_sealed_value() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    vat.turn(|turn| {
        let (one, opens) = sealer::<String>(turn);
        let (_, another) = sealer::<String>(turn);
        let (_, of_another_type) = sealer::<u64>(turn);
        let sealed = one.seal(turn, "secret".to_owned());
        assert_eq!(opens.unseal(turn, &sealed).unwrap(), "secret");
        let told = another.unseal(turn, &sealed).unwrap_err().to_string();
        assert_eq!(told, "this was not sealed by the sealer of this unsealer");
        of_another_type.unseal(turn, &sealed).unwrap_err();
        opens.unseal(turn, &reference).unwrap_err();
        let (guarded, _) = caretaker(turn, &sealed);
        opens.unseal(turn, &guarded).unwrap_err();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_sealed_value_tells_nothing() {
    let vat = Vat::new("a");
    let sealed = vat
        .turn(|turn| Ok(sealer::<u64>(turn).0.seal(turn, 7)))
        .unwrap();
    let described = describe(&sealed);
    let called = crate::core::tests::sample::CounterRef::from(sealed).value();
    run(&vat);
    assert_eq!(
        taken(&described).unwrap_err().kind(),
        ErrorKind::Unimplemented
    );
    assert_eq!(
        taken(&called).unwrap_err().to_string(),
        "a sealed value has no methods"
    );
}

/// Opens sealed numbers.
#[vat::interface(name = "sample::Mint")]
trait Mint {
    fn coin(&self, turn: &Turn) -> Result<Ref>;
    fn worth(&self, turn: &Turn, coin: Ref) -> Result<u64>;
}

#[derive(vat::Object)]
#[object(external)]
struct Pair(crate::pattern::Sealer<u64>, crate::pattern::Unsealer<u64>);

impl Mint for Pair {
    fn coin(&self, turn: &Turn) -> Result<Ref> {
        Ok(self.0.seal(turn, 100))
    }

    fn worth(&self, turn: &Turn, coin: Ref) -> Result<u64> {
        self.1.unseal(turn, &coin)
    }
}

#[test]
fn a_sealed_value_travels_through_other_vats_and_membranes() {
    let mut net = Net::new(&["guest", "guard", "mint"]);
    let mint = net.vats[2]
        .turn(|turn| {
            let (sealer, unsealer) = sealer(turn);
            Ok(MintRef::new(turn, Pair(sealer, unsealer)))
        })
        .unwrap();
    let far: MintRef = net.grant(1, 2, &mint);
    let (guarded, _gate) = net.vats[1].turn(|turn| Ok(membrane(turn, &far))).unwrap();
    let guest: MintRef = net.grant(0, 1, &guarded);
    let coin = guest.coin();
    net.run();
    let (worth, forged) = (guest.worth(&coin), guest.worth(&guest));
    net.run();
    assert_eq!(taken(&worth).unwrap(), 100);
    taken(&forged).unwrap_err();
}

#[test]
fn a_promise_of_a_sealed_value_has_to_settle_first() {
    let vat = Vat::new("a");
    vat.turn(|turn| {
        let (_, unsealer) = sealer::<u64>(turn);
        let (promise, _resolver) = turn.promise::<Ref>();
        let told = unsealer.unseal(turn, &promise).unwrap_err().to_string();
        assert!(told.contains("wait for `settled`"), "{told}");
        Ok(())
    })
    .unwrap();
}
