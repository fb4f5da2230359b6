//! Several vats in one thread, joined by engine connections in memory.

use captp::{ConnId, ConnOptions, Transmit};

use crate::{Ref, Vat};

/// The vats and the links between them. One loop, deterministic.
pub(crate) struct Net {
    pub(crate) vats: Vec<Vat>,
    links: Vec<[End; 2]>,
    /// How often something crossed a link: a batch in one direction counts once.
    pub(crate) crossings: u32,
}

#[derive(Clone, Copy)]
struct End {
    vat: usize,
    conn: ConnId,
}

impl Net {
    pub(crate) fn new(names: &[&str]) -> Self {
        let vats = names.iter().map(|name| Vat::new(*name)).collect();
        Self {
            vats,
            links: Vec::new(),
            crossings: 0,
        }
    }

    /// Joins two vats; gives the first one a reference to `offered`, an object of the second.
    pub(crate) fn grant<R: From<Ref>>(&mut self, to: usize, of: usize, offered: &Ref) -> R {
        let options = ConnOptions::default().with_hello(true);
        let near = options.clone().with_bootstrap(self.vats[of].node(offered));
        let there = self.vats[of].engine(|engine| engine.open(near));
        let here = self.vats[to].engine(|engine| engine.open(options));
        self.links.push([
            End {
                vat: to,
                conn: here,
            },
            End {
                vat: of,
                conn: there,
            },
        ]);
        let node = self.vats[to].engine(|engine| engine.bootstrap(here));
        let reference = self.vats[to].adopt(node);
        self.run();
        self.crossings = 0;
        R::from(reference)
    }

    /// Runs until no vat has anything to do and nothing is under way.
    pub(crate) fn run(&mut self) {
        for _ in 0..1_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the vats do not come to rest");
    }

    /// Every vat runs, then every link carries one batch in each direction.
    pub(crate) fn step(&mut self) -> bool {
        let mut any = self.vats.iter().map(|vat| vat.run(10_000)).sum::<usize>() > 0;
        for [one, other] in self.links.clone() {
            // Both batches leave before either arrives.
            let batches = [(self.batch(one), other), (self.batch(other), one)];
            for (batch, to) in batches {
                any |= batch.is_some_and(|bytes| {
                    self.vats[to.vat].feed(to.conn, &bytes, Vec::new());
                    true
                });
            }
        }
        any
    }

    /// What can be done with one batch to the other side and one back.
    pub(crate) fn round_trip(&mut self) {
        let before = self.crossings;
        while self.crossings < before + 2 && self.step() {}
        assert_eq!(self.crossings, before + 2);
        for vat in &self.vats {
            vat.run(10_000);
        }
    }

    /// The link with this number breaks.
    pub(crate) fn cut(&mut self, link: usize) {
        for End { vat, conn } in self.links.remove(link) {
            self.vats[vat].engine(|engine| engine.handle_closed(conn, "the cable was cut"));
        }
    }

    /// What the end of a link in this vat holds.
    pub(crate) fn is_drained(&self, vat: usize) -> bool {
        let mut ends = self.links.iter().flatten().filter(|end| end.vat == vat);
        ends.all(|end| self.vats[vat].engine(|engine| engine.is_drained(end.conn)))
    }

    fn batch(&mut self, from: End) -> Option<Vec<u8>> {
        let mut out = Transmit::new();
        let any = self.vats[from.vat].engine(|engine| engine.poll_transmit(from.conn, &mut out));
        self.crossings += u32::from(any);
        any.then(|| out.take_bytes())
    }
}
