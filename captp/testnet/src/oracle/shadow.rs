//! What every reference stands for, and in which order calls must arrive: known from outside,
//! without looking at any engine.
//!
//! Order is that of E. What one vat sends on one reference is a *stream*. A reference that is given
//! away begins or joins a stream at its receiver; a *fork* says how far the giver's stream was at
//! that time. What is sent on a stream arrives in order, and behind everything that came before the
//! forks from which the stream's reference came.

/// What a reference stands for, as an index.
pub(super) type Shadow = usize;

/// A sequence of calls, as an index.
pub(super) type Stream = usize;

/// What it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// An object of a vat in one of its lives.
    Object { vat: usize, life: u32, key: u64 },
    /// Not decided; if it stands for a reference in the answer to a call, the call.
    Open(Option<u32>),
    /// Another one, given by a vat whose stream there was so far.
    Became(Shadow, Fork),
    /// Nothing; the reason if it must be this one.
    Broken(Option<String>),
}

/// How far a stream was when its reference was given away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fork {
    stream: Stream,
    sent: u32,
    parents: usize,
}

/// A call's place in its stream.
pub(super) type Place = Fork;

#[derive(Default, Debug)]
struct Row {
    sent: u32,
    delivered: u32,
    /// Nothing up to here may arrive any more.
    floor: u32,
    parents: Vec<Fork>,
    /// How many of the parents were taken into account.
    raised: usize,
}

/// All of it.
#[derive(Default, Debug)]
pub(super) struct Shadows {
    states: Vec<State>,
    streams: Vec<Row>,
}

impl Shadows {
    pub(super) fn add(&mut self, state: State) -> Shadow {
        self.states.push(state);
        self.states.len() - 1
    }

    /// What stands at the end.
    pub(super) fn target(&self, mut shadow: Shadow) -> Shadow {
        while let Some(State::Became(next, _)) = self.states.get(shadow) {
            shadow = *next;
        }
        shadow
    }

    /// Everything that it stands for on the way there, itself included.
    pub(super) fn way(&self, shadow: Shadow) -> impl Iterator<Item = Shadow> {
        std::iter::successors(Some(shadow), |at| match self.states.get(*at) {
            Some(State::Became(next, _)) => Some(*next),
            _ => None,
        })
    }

    pub(super) fn state(&self, shadow: Shadow) -> &State {
        self.states
            .get(self.target(shadow))
            .unwrap_or(&State::Open(None))
    }

    /// An open one is decided.
    pub(super) fn decide(&mut self, shadow: Shadow, state: State) {
        if let Some(slot) = self.states.get_mut(shadow)
            && matches!(slot, State::Open(_))
        {
            *slot = state;
        }
    }

    pub(super) fn stream(&mut self) -> Stream {
        self.streams.push(Row::default());
        self.streams.len() - 1
    }

    /// The stream's reference also came from here.
    pub(super) fn join(&mut self, stream: Stream, fork: Fork) {
        if fork.stream != stream
            && let Some(row) = self.streams.get_mut(stream)
        {
            row.parents.push(fork);
        }
    }

    /// How far a stream is.
    pub(super) fn fork(&self, stream: Stream) -> Fork {
        let row = self.streams.get(stream);
        Fork {
            stream,
            sent: row.map_or(0, |row| row.sent),
            parents: row.map_or(0, |row| row.parents.len()),
        }
    }

    /// One more call.
    pub(super) fn sent(&mut self, stream: Stream) -> Place {
        if let Some(row) = self.streams.get_mut(stream) {
            row.sent += 1;
        }
        self.fork(stream)
    }

    /// A call has arrived. `strict`: nothing before it can have been lost.
    pub(super) fn arrived(
        &mut self,
        place: Place,
        shadow: Shadow,
        strict: bool,
    ) -> Result<(), String> {
        let Some(row) = self.streams.get_mut(place.stream) else {
            return Ok(());
        };
        if place.sent <= row.floor {
            return Err(format!(
                "call {} of its stream arrives when nothing up to {} may arrive any more",
                place.sent, row.floor
            ));
        }
        if strict && row.delivered + 1 != place.sent {
            return Err(format!(
                "call {} of its stream arrives after {}: one is missing",
                place.sent, row.delivered
            ));
        }
        row.delivered = place.sent;
        let mut due = vec![place];
        let mut at = shadow;
        while let Some(State::Became(next, fork)) = self.states.get(at) {
            due.push(*fork);
            at = *next;
        }
        while let Some(fork) = due.pop() {
            self.raise(fork, strict, &mut due)?;
        }
        Ok(())
    }

    fn raise(&mut self, fork: Fork, strict: bool, due: &mut Vec<Fork>) -> Result<(), String> {
        let Some(row) = self.streams.get_mut(fork.stream) else {
            return Ok(());
        };
        row.floor = row.floor.max(fork.sent);
        if strict && row.delivered < fork.sent {
            return Err(format!(
                "only {} of {} calls that were sent before the reference was given away are there",
                row.delivered, fork.sent
            ));
        }
        if fork.parents > row.raised {
            let news = row.parents.get(row.raised..fork.parents);
            due.extend(news.into_iter().flatten());
            row.raised = fork.parents;
        }
        Ok(())
    }
}
