//! What kinds of runs there are.

/// What may occur in a run beside ordinary calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Extra {
    /// Runs five times as long.
    Long,
    /// Streaming calls, and jobs that wait for room.
    Streams,
    /// Calls for the references in their answers only.
    Fetches,
    /// References in answers that are known in advance.
    Early,
    /// Objects with file descriptors.
    Files,
    /// With handoff: room for few gifts.
    Gifts,
    /// Little of everything.
    Scarce,
    /// Promises that depend on themselves.
    Circles,
    /// What several operations say leaves together.
    Batches,
}

impl Extra {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Long,
        Self::Streams,
        Self::Fetches,
        Self::Early,
        Self::Files,
        Self::Gifts,
        Self::Scarce,
        Self::Circles,
        Self::Batches,
    ];

    /// The one of this name, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|extra| format!("{extra:?}").to_lowercase() == name)
    }
}

/// What kinds of runs there are, and how long they may be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many vats; `None`: two to four, by the seed.
    pub vats: Option<usize>,
    /// Most operations before the run is brought to its end.
    pub steps: usize,
    /// Whether links may break and vats crash.
    pub cuts: bool,
    /// Whether calls may be cancelled.
    pub cancels: bool,
    /// Whether vats have keys and hand references over; three to five of them then.
    pub handoff: bool,
    /// Whether only one to three calls of a peer may be under way, so that most wait.
    pub narrow: bool,
    /// What may occur beside ordinary calls, each in a part of the runs. Default: everything.
    pub extras: Vec<Extra>,
    /// A deliberate mistake of all engines.
    pub fault: Option<captp::testing::Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            vats: None,
            steps: 160,
            cuts: true,
            cancels: true,
            handoff: false,
            narrow: false,
            extras: Extra::ALL.to_vec(),
            fault: None,
        }
    }
}

impl Options {
    /// Sets [`vats`](Self::vats).
    #[must_use]
    pub const fn with_vats(mut self, vats: usize) -> Self {
        self.vats = Some(vats);
        self
    }

    /// Sets [`steps`](Self::steps).
    #[must_use]
    pub const fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets [`cuts`](Self::cuts).
    #[must_use]
    pub const fn with_cuts(mut self, cuts: bool) -> Self {
        self.cuts = cuts;
        self
    }

    /// Sets [`cancels`](Self::cancels).
    #[must_use]
    pub const fn with_cancels(mut self, cancels: bool) -> Self {
        self.cancels = cancels;
        self
    }

    /// Sets [`handoff`](Self::handoff).
    #[must_use]
    pub const fn with_handoff(mut self, handoff: bool) -> Self {
        self.handoff = handoff;
        self
    }

    /// Sets [`narrow`](Self::narrow).
    #[must_use]
    pub const fn with_narrow(mut self, narrow: bool) -> Self {
        self.narrow = narrow;
        self
    }

    /// Sets [`extras`](Self::extras).
    #[must_use]
    pub fn with_extras(mut self, extras: &[Extra]) -> Self {
        self.extras = extras.to_vec();
        self
    }

    /// Sets [`fault`](Self::fault).
    #[must_use]
    pub const fn with_fault(mut self, fault: captp::testing::Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}
