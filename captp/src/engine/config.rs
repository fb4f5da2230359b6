//! Settings: of an engine, and of each connection.

use std::time::Duration;

use crate::contact::{Identity, VatKey};
use crate::{Features, Limits, NodeId};

/// Settings of an engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Name and version of the program library, told to vats in the hello; for people.
    pub agent: String,
    /// Who this vat is. Default: nobody; references of one peer are then given to others through
    /// this vat only.
    pub identity: Option<Identity>,
    /// How long whoever accepts a reference of ours waits for the vat that gave it to tell us.
    /// Default 10 s; after that the reference is broken.
    pub rendezvous: Duration,
    /// For how long calls wait at a soft limit, ours for room at the peer or the peer's to reach an
    /// object, while none of them can go on. Default 200 ms; then the limit is doubled, up to the
    /// hard one, as what waits may be what all others wait for. Needs
    /// [`Engine::handle_time`](crate::Engine::handle_time).
    pub patience: Duration,
    /// How long nothing may come from a peer before a connection to it is doubted: see
    /// [`Engine::is_doubtful`](crate::Engine::is_doubtful). Default 20 s, which is less than any side
    /// should wait before it closes a connection that is [idle](crate::Engine::is_idle). Needs
    /// [`Engine::handle_time`](crate::Engine::handle_time).
    pub doubted_after: Duration,
    /// Bytes of streaming calls on one reference that may be under way before the host should wait:
    /// see [`Engine::has_stream_room`](crate::Engine::has_stream_room). Default 64 KiB.
    pub stream_window: usize,
    /// Most bytes in flight on all connections together: calls of peers without an answer, messages
    /// that have arrived in part with the room for their rest that is there already, results that are
    /// kept for a peer, and what waits to be transmitted with what [stays
    /// alive](crate::Content::shared_data) until it is. Default 256 MiB; beyond it the connection
    /// that has most is aborted, or, if messages that have arrived in part are more than half of the
    /// limit, the one with the largest of these. As many bytes of our own calls may wait for room,
    /// all together; a further call fails.
    pub in_flight_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            agent: String::new(),
            identity: None,
            rendezvous: Duration::from_secs(10),
            patience: Duration::from_millis(200),
            doubted_after: Duration::from_secs(20),
            stream_window: 64 << 10,
            in_flight_bytes: 256 << 20,
        }
    }
}

impl Config {
    /// Sets [`in_flight_bytes`](Self::in_flight_bytes).
    #[must_use]
    pub const fn with_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// Sets [`agent`](Self::agent).
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Sets [`identity`](Self::identity).
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets [`patience`](Self::patience).
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets [`doubted_after`](Self::doubted_after).
    #[must_use]
    pub const fn with_doubted_after(mut self, silence: Duration) -> Self {
        self.doubted_after = silence;
        self
    }

    /// Sets [`stream_window`](Self::stream_window).
    #[must_use]
    pub const fn with_stream_window(mut self, bytes: usize) -> Self {
        self.stream_window = bytes;
        self
    }

    /// Sets [`rendezvous`](Self::rendezvous).
    #[must_use]
    pub const fn with_rendezvous(mut self, limit: Duration) -> Self {
        self.rendezvous = limit;
        self
    }
}

/// How a connection is to be used.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnOptions {
    /// What the peer gets when it asks for the bootstrap reference. Borrowed; the engine keeps a
    /// count of its own until the connection closes. Default: none, the peer gets an exception.
    pub bootstrap: Option<NodeId>,
    /// Whether both sides begin with a hello. Default: no, a plain Cap'n Proto peer.
    pub hello: bool,
    /// What our hello announces beside what the engine does by itself, which is extended calls and,
    /// with an identity and a known peer, three-party handoff. Default: nothing more.
    pub features: Features,
    /// Whether a call of the peer that goes on to a reference of the same peer becomes a tail call:
    /// its results stay there instead of passing through this vat. That is so for calls whose caller
    /// said that it will not pipeline on them. Default: what `hello` is. Not every implementation of
    /// the protocol is up to it.
    pub tail_calls: Option<bool>,
    /// Whether the transport passes file descriptors. Default: no.
    pub descriptors: bool,
    /// The key of the peer, if the transport has proved it. Needed for three-party handoff.
    pub peer: Option<VatKey>,
    /// Where the peer can be reached by others to whom we introduce it. What the peer says itself in
    /// its hello comes first.
    pub peer_addresses: Vec<String>,
    /// What the peer may use.
    pub limits: Limits,
}

impl ConnOptions {
    /// Sets [`bootstrap`](Self::bootstrap).
    #[must_use]
    pub const fn with_bootstrap(mut self, node: NodeId) -> Self {
        self.bootstrap = Some(node);
        self
    }

    /// Sets [`hello`](Self::hello).
    #[must_use]
    pub const fn with_hello(mut self, hello: bool) -> Self {
        self.hello = hello;
        self
    }

    /// Sets [`features`](Self::features).
    #[must_use]
    pub const fn with_features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Sets [`tail_calls`](Self::tail_calls).
    #[must_use]
    pub const fn with_tail_calls(mut self, tail_calls: bool) -> Self {
        self.tail_calls = Some(tail_calls);
        self
    }

    /// Sets [`descriptors`](Self::descriptors).
    #[must_use]
    pub const fn with_descriptors(mut self, descriptors: bool) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Sets [`peer`](Self::peer).
    #[must_use]
    pub const fn with_peer(mut self, peer: VatKey) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Sets [`peer_addresses`](Self::peer_addresses).
    #[must_use]
    pub fn with_peer_addresses(mut self, addresses: Vec<String>) -> Self {
        self.peer_addresses = addresses;
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
