//! What the launcher and the vat it launched say to each other over descriptor 3.

use crate::prelude::*;

/// A launched vat, as its launcher sees it: the bootstrap on the inherited socket.
///
/// What the launcher sends there begins with 72 bytes that belong to no message: the text `vat-pre1`,
/// the secret of the vat's identity (a seed of 32 bytes, to be kept in memory only), and the
/// launcher's vat id (32 bytes). Then both say their hello, and are vats that know each other: what
/// they give each other is handed over. `start` comes when the vat's hello has come.
///
/// # Authority
/// Whoever holds this decides what the vat is: its identity, its powers, and when it ends. Only the
/// launcher ever does.
#[vat::interface]
pub trait Program {
    /// Starts the program with exactly these powers. Its answer means that the vat is ready.
    ///
    /// `exposes` are the manifest's expose names: a `main` that gives back one reference means the
    /// only one. `addresses` say where other vats reach this one, as in its sturdy refs; whoever
    /// gives a reference to it away tells them.
    async fn start(
        this: Near<Self>,
        cx: &Cx,
        powers: Vec<Grant>,
        args: Vec<String>,
        exposes: Vec<String>,
        addresses: Vec<String>,
    ) -> Result<Vec<Exposed>>;

    /// Takes a connected stream for this vat. Its descriptor is attached to `stream`.
    ///
    /// `head` is what the launcher has read of it (the TLS `ClientHello`). With `plain`, the stream is
    /// an unencrypted local one whose bootstrap is the exposed reference of that name.
    fn accept(
        &mut self,
        turn: &Turn,
        stream: StreamRef,
        head: Vec<u8>,
        plain: Option<String>,
    ) -> Result<()>;

    /// Takes one end of a socket pair; at the other end is `vat`, another vat of the same launcher
    /// that was introduced to this one. The descriptor is attached to `stream`. Both say their hello
    /// and speak as over any other connection, without encryption: who is there, the launcher knows.
    fn meet(&mut self, turn: &Turn, stream: StreamRef, vat: String) -> Result<()>;

    /// Asks the vat to end. It answers, then finishes what it is doing and exits with code 0.
    fn stop(&mut self, turn: &Turn) -> Result<()>;
}

/// What a launcher offers to a vat that it launched: the way to the others, its siblings.
///
/// # Authority
/// To be connected with those to whom somebody introduced this vat who has a reference there, and
/// who was launched by the same launcher, or is the launcher. Nobody else can be reached by it, and
/// a connection alone gives nothing but what its host gives to everybody who calls it.
#[vat::interface]
pub trait Siblings {
    /// Makes a connection to the vat that `introduction` names, and gives this vat's end of it: the
    /// descriptor is attached to the reference. The other end goes to that vat, which need not
    /// answer first.
    ///
    /// `introduction` is the `Contact` (`schema/network.capnp`) of a reference that was given to
    /// this vat, without its addresses, as one segment. It fails if the vat is none of this
    /// launcher's or does not run, or if who introduced this one does not count: then the reference
    /// goes through who gave it. At most 64 streams of one vat are being made or kept at a time, and
    /// in the long run 16 are made per second.
    fn reach(&mut self, turn: &Turn, introduction: Vec<u8>) -> Result<StreamRef>;
}

/// A connected stream on its way to another vat: the descriptor is attached to the reference.
#[vat::interface]
pub trait Stream {}

/// One power: what goes into which slot of the program's `Powers`.
#[derive(Clone, Debug, vat::Data)]
pub struct Grant {
    /// The slot's name in the manifest's `[use]`.
    pub slot: String,
    /// The interface id the manifest's type stands for, if the launcher knows it; else 0.
    pub interface: u64,
    /// The power itself.
    pub power: Ref,
}

/// One reference the program gives back to whoever launched it.
#[derive(Clone, Debug, vat::Data)]
pub struct Exposed {
    /// Its name: the expose name of the manifest.
    pub name: String,
    /// The full name of its interface, `package::Trait`.
    pub interface_name: String,
    /// The interface id.
    pub interface: u64,
    /// The reference.
    pub reference: Ref,
}
