//! How much one connection may use, and what happens beyond it.

/// What a connection may use of this vat.
///
/// Beyond a *soft* limit a call waits or fails, and everything else goes on; beyond a *hard* one the
/// connection is aborted and the peer told why. No limit of a connection affects another one. What
/// waits keeps its order, and Returns, Resolves, Finishes and Releases are handled at once, so that
/// two vats which are both full do not wait for each other.
///
/// | Limit | Default | Enforced | Beyond it |
/// |---|---|---|---|
/// | [`message_bytes`](Self::message_bytes) | 8 MiB | on arrival, by the declared length; when sending | abort; the call or answer fails |
/// | [`hello_bytes`](Self::hello_bytes) | 4 KiB | on arrival of the first message | abort |
/// | [`segments`](Self::segments) | 512 | on arrival | abort |
/// | [`nesting`](Self::nesting) | 64 | by the reader | an error; abort in the envelope |
/// | [`traversal_factor`](Self::traversal_factor) | 8 times the message | by the reader | an error; abort in the envelope |
/// | [`caps_per_message`](Self::caps_per_message) | 64 | on arrival; when sending | abort; the call or answer fails |
/// | [`fds_per_message`](Self::fds_per_message) | 16 | on arrival; when sending | abort; the call or answer fails |
/// | [`answers_soft`](Self::answers_soft) | 4,096 calls | before a call reaches an object | calls wait |
/// | [`answers`](Self::answers) | 16,384 calls, waiting ones too; as many answers again | on arrival | abort |
/// | [`call_bytes_soft`](Self::call_bytes_soft) | 8 MiB | before a call reaches an object | calls wait |
/// | [`call_bytes`](Self::call_bytes) | 16 MiB, waiting ones too | on arrival | abort |
/// | [`kept_bytes`](Self::kept_bytes) | 16 MiB | when answering | the call fails as overloaded |
/// | [`questions_soft`](Self::questions_soft) | 4,096 calls | when sending | our calls wait |
/// | [`questions`](Self::questions) | 16,384 calls | when sending | our calls wait whatever happens |
/// | [`question_bytes`](Self::question_bytes) | 8 MiB; never more than twice as much | when sending | our calls wait |
/// | the same before the peer's hello | 64 calls; 64 KiB of all messages | when sending | our calls wait |
/// | [`waiting_calls`](Self::waiting_calls) | 262,144 calls | when sending | the call fails as overloaded |
/// | [`waiting_bytes`](Self::waiting_bytes) | 64 MiB | when sending | the call fails as overloaded |
/// | [`exports`](Self::exports) | 10,000 | when sending | the call or answer fails as overloaded |
/// | [`imports`](Self::imports) | 10,000 | on arrival | abort |
/// | [`embargoes`](Self::embargoes) | 4,096 | on arrival | the reference breaks; the peer's: abort |
/// | [`gifts`](Self::gifts) | 1,024 | when giving | given through this vat |
/// | [`provisions`](Self::provisions) | 4,096 | on arrival | the gift cannot be accepted |
/// | [`accepts`](Self::accepts) | 512 that wait | on arrival | the Accept fails as overloaded |
/// | [`accepts_per_giver`](Self::accepts_per_giver) | 128 of one giver | on arrival | the Accept fails as overloaded |
/// | [`signature_checks`](Self::signature_checks) | 2,048 a second | on arrival | the Accept fails as overloaded |
/// | [`pipeline_depth`](Self::pipeline_depth) | 256 calls for one promise | on arrival | the call fails as overloaded |
/// | [`pipelined_calls`](Self::pipelined_calls) | 1,024 calls for promises | on arrival | the call fails as overloaded |
/// | [`waiting_fds`](Self::waiting_fds) | 64 descriptors of calls that wait | when one has to wait | the call fails as overloaded, its descriptors are closed |
/// | [`import_fds`](Self::import_fds) | 256 descriptors | on arrival | the reference comes without its descriptor, which is closed |
/// | [`outbound_soft`](Self::outbound_soft) | 1 MiB | before a call reaches an object; when sending | calls wait, the peer's and ours |
/// | [`outbound_bytes`](Self::outbound_bytes) | 16 MiB | when sending | from three quarters on, results fail as overloaded; abort |
///
/// All connections together: [`Config::in_flight_bytes`](crate::Config::in_flight_bytes), 256 MiB;
/// beyond it the connection that has most is aborted. A message that has arrived in part counts with
/// the memory that it takes; if such are more than half, the connection with the largest is aborted.
/// Our own calls that wait for room count by themselves: beyond as many bytes on all connections a
/// further one fails as overloaded, and one of another vat that goes on beyond half of it. The engine
/// has no clock: how long a peer may take is for who drives it
/// ([`Engine::time_out`](crate::Engine::time_out)).
///
/// Where both sides begin with a hello, the peer knows these limits only when it has read ours. Until
/// then it sends at most 64 calls and 64 KiB, so [`answers`](Self::answers),
/// [`call_bytes`](Self::call_bytes) and [`message_bytes`](Self::message_bytes) should be no less. How
/// many references and descriptors may come with one message, it goes by limits of its own until then.
///
/// Nothing is allocated by a length that a peer declares: memory is taken as bytes arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest message in bytes, in either direction. Default 8 MiB. A larger one that arrives
    /// aborts the connection as soon as its length is known; a larger one to be sent is not sent,
    /// and its call or answer fails.
    pub message_bytes: usize,
    /// Largest hello. Default 4 KiB. A larger first message aborts the connection as soon as its
    /// length is known, where one is expected.
    pub hello_bytes: usize,
    /// Most segments in one arriving message. Default 512. More: abort. The peer is not told: vats
    /// send up to 65.
    pub segments: usize,
    /// Deepest nesting of pointers in an arriving message, and longest path of a pipelined call.
    /// Default 64. Beyond: the reader gets an error; in the envelope: abort.
    pub nesting: u16,
    /// How many times its own size a message may be read. Default 8. Beyond: the reader gets an
    /// error; in the envelope: abort. (Small messages are allowed 1,024 words more.)
    pub traversal_factor: usize,
    /// Most references in one message, in either direction. Default 64. Arriving: abort; to be
    /// sent: its call or answer fails.
    pub caps_per_message: usize,
    /// Most file descriptors with one message. Default 16. Arriving: abort; to be sent: its call
    /// or answer fails.
    pub fds_per_message: usize,
    /// Most calls of the peer that are under way. Default 4,096 (soft): further calls wait, as long
    /// as some are answered (see [`Config::patience`](crate::Config::patience)).
    pub answers_soft: usize,
    /// Most calls of the peer without an answer, waiting or under way. Default 16,384 (hard). As many
    /// answers again may be given and not finished.
    pub answers: usize,
    /// Most of our own calls that were sent and have no answer. Default 4,096 (soft), or what the
    /// peer says that it takes, if that is less: further calls wait, and leave in order.
    pub questions_soft: usize,
    /// Most of our own calls that were sent and have no answer. Default 16,384 (hard), or what the
    /// peer said beyond which it ends the connection, if that is less: further calls wait whatever
    /// [`Config::patience`](crate::Config::patience) is. As many answers again may be kept by the
    /// peer, because something refers to them.
    /// Calls that are made for the references inside their answers only do not end by themselves,
    /// and answers that waiting calls name are kept as long as those wait: of each there may be three
    /// quarters, and a further call fails as overloaded.
    pub questions: usize,
    /// Most bytes of our own calls that were sent and have no answer. Default 8 MiB (soft): further
    /// calls wait. A single call may have more. Twice as much is the hard limit. What the peer said
    /// lowers both; a single call of more than the peer ever takes fails.
    pub question_bytes: usize,
    /// Most of our own calls that wait for room at the peer. Default 262,144 (hard): a further call
    /// fails. Calls of other vats that go on to this peer may be half of it.
    pub waiting_calls: usize,
    /// Most bytes of our own calls that wait for room at the peer, and of what must not overtake
    /// them. Default 64 MiB (hard): a further call fails. Those of other vats as above.
    pub waiting_bytes: usize,
    /// Most bytes of calls of the peer that are under way. Default 8 MiB (soft): further calls
    /// wait, as long as some are answered.
    pub call_bytes_soft: usize,
    /// Most bytes of calls without an answer, waiting or under way. Default 16 MiB (hard).
    pub call_bytes: usize,
    /// Most bytes of results with references that the peer has not finished with. Default 16 MiB
    /// (soft): results that would exceed it are not given, and their call fails.
    pub kept_bytes: usize,
    /// Most references that the peer holds of us. Default 10,000 (soft): the message that would
    /// give one more fails.
    pub exports: usize,
    /// Most references that we hold of the peer. Default 10,000 (hard). Also the most references
    /// inside answers still to come that the peer may name (soft).
    pub imports: usize,
    /// Most embargoes that wait for the peer to lift them. Default 4,096 (soft): a reference that
    /// needs one more breaks. Also the most of the peer's that wait for promises here (hard).
    pub embargoes: usize,
    /// Most gifts that are open at the peer as their exporter. Default 1,024 (soft): further
    /// references of the peer are given to others through this vat.
    pub gifts: usize,
    /// Most gifts of the peer that are open here. Default 4,096 (soft): whoever gets one more
    /// cannot accept it.
    pub provisions: usize,
    /// Most accepted gifts of the peer that wait for their giver, and things of our own that the
    /// peer gave us and that do. Default 512 (soft): one more is answered as overloaded, or reached
    /// through the peer.
    pub accepts: usize,
    /// Most of those that wait for the same giver. Default 128 (soft), with the same consequence: a
    /// giver who announces nothing leaves room for the gifts of others.
    pub accepts_per_giver: usize,
    /// Most signatures of gifts accepted by the peer that are checked in a second. Default 2,048
    /// (soft), with the same consequence. There are up to nine on one gift.
    pub signature_checks: usize,
    /// Most calls from the wire that wait for one unresolved promise. Default 256 (soft).
    pub pipeline_depth: usize,
    /// Most calls of the peer that wait for promises, all together. Default 1,024 (soft): a further
    /// call fails.
    pub pipelined_calls: usize,
    /// Most file descriptors that came with calls of the peer which wait: at a soft limit, for a
    /// promise, or for room at another peer. Default 64. A further call with descriptors that has to
    /// wait fails as overloaded, and its descriptors are closed; one that can go on at once is not
    /// affected. Also: once so many wait to be transmitted to the peer, further calls to it wait.
    pub waiting_fds: usize,
    /// Most file descriptors that came with references of the peer and are still attached to them.
    /// Default 256 (soft). Each stays until this vat drops its reference. Beyond it, a further one is
    /// closed and its reference comes without it: [`Engine::fd`](crate::Engine::fd) gives `None`, and
    /// whoever needs it has to refuse the call. A program that takes streams drops each reference when
    /// it has taken its descriptor, and a process may have 1,024 files open unless told otherwise.
    pub import_fds: usize,
    /// Most bytes waiting to be transmitted while calls go on. Default 1 MiB (soft): beyond it,
    /// calls wait, those of the peer and our own.
    pub outbound_soft: usize,
    /// Most bytes waiting to be transmitted. Default 16 MiB (hard): the peer does not read. Results
    /// that would fill more than three quarters fail (soft), and calls wait; the rest is for
    /// messages that can do neither.
    pub outbound_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            hello_bytes: 4 << 10,
            segments: 512,
            nesting: 64,
            traversal_factor: 8,
            caps_per_message: 64,
            fds_per_message: 16,
            answers_soft: 4_096,
            answers: 16_384,
            questions_soft: 4_096,
            questions: 16_384,
            question_bytes: 8 << 20,
            waiting_calls: 262_144,
            waiting_bytes: 64 << 20,
            call_bytes_soft: 8 << 20,
            call_bytes: 16 << 20,
            kept_bytes: 16 << 20,
            exports: 10_000,
            imports: 10_000,
            embargoes: 4_096,
            gifts: 1_024,
            provisions: 4_096,
            accepts: 512,
            accepts_per_giver: 128,
            signature_checks: 2_048,
            pipeline_depth: 256,
            pipelined_calls: 1_024,
            waiting_fds: 64,
            import_fds: 256,
            outbound_soft: 1 << 20,
            outbound_bytes: 16 << 20,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $with:ident $field:ident $type:ty;)*) => {
        impl Limits {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $with(mut self, value: $type) -> Self {
                    self.$field = value;
                    self
                }
            )*
        }
    };
}

setters! {
    /// Sets [`message_bytes`](Self::message_bytes).
    with_message_bytes message_bytes usize;
    /// Sets [`segments`](Self::segments).
    with_segments segments usize;
    /// Sets [`nesting`](Self::nesting).
    with_nesting nesting u16;
    /// Sets [`traversal_factor`](Self::traversal_factor).
    with_traversal_factor traversal_factor usize;
    /// Sets [`caps_per_message`](Self::caps_per_message).
    with_caps_per_message caps_per_message usize;
    /// Sets [`fds_per_message`](Self::fds_per_message).
    with_fds_per_message fds_per_message usize;
    /// Sets [`answers_soft`](Self::answers_soft).
    with_answers_soft answers_soft usize;
    /// Sets [`answers`](Self::answers).
    with_answers answers usize;
    /// Sets [`questions_soft`](Self::questions_soft).
    with_questions_soft questions_soft usize;
    /// Sets [`questions`](Self::questions).
    with_questions questions usize;
    /// Sets [`question_bytes`](Self::question_bytes).
    with_question_bytes question_bytes usize;
    /// Sets [`waiting_calls`](Self::waiting_calls).
    with_waiting_calls waiting_calls usize;
    /// Sets [`waiting_bytes`](Self::waiting_bytes).
    with_waiting_bytes waiting_bytes usize;
    /// Sets [`call_bytes_soft`](Self::call_bytes_soft).
    with_call_bytes_soft call_bytes_soft usize;
    /// Sets [`call_bytes`](Self::call_bytes).
    with_call_bytes call_bytes usize;
    /// Sets [`kept_bytes`](Self::kept_bytes).
    with_kept_bytes kept_bytes usize;
    /// Sets [`exports`](Self::exports).
    with_exports exports usize;
    /// Sets [`imports`](Self::imports).
    with_imports imports usize;
    /// Sets [`embargoes`](Self::embargoes).
    with_embargoes embargoes usize;
    /// Sets [`gifts`](Self::gifts).
    with_gifts gifts usize;
    /// Sets [`provisions`](Self::provisions).
    with_provisions provisions usize;
    /// Sets [`accepts`](Self::accepts).
    with_accepts accepts usize;
    /// Sets [`accepts_per_giver`](Self::accepts_per_giver).
    with_accepts_per_giver accepts_per_giver usize;
    /// Sets [`signature_checks`](Self::signature_checks).
    with_signature_checks signature_checks usize;
    /// Sets [`pipeline_depth`](Self::pipeline_depth).
    with_pipeline_depth pipeline_depth usize;
    /// Sets [`pipelined_calls`](Self::pipelined_calls).
    with_pipelined_calls pipelined_calls usize;
    /// Sets [`waiting_fds`](Self::waiting_fds).
    with_waiting_fds waiting_fds usize;
    /// Sets [`import_fds`](Self::import_fds).
    with_import_fds import_fds usize;
    /// Sets [`hello_bytes`](Self::hello_bytes).
    with_hello_bytes hello_bytes usize;
    /// Sets [`outbound_soft`](Self::outbound_soft).
    with_outbound_soft outbound_soft usize;
    /// Sets [`outbound_bytes`](Self::outbound_bytes).
    with_outbound_bytes outbound_bytes usize;
}
