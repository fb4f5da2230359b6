//! What the launcher and the vat it launched say to each other over descriptor 3.

use crate::prelude::*;

/// A launched vat, as its launcher sees it: the bootstrap on the inherited socket.
///
/// What the launcher sends there begins with 80 bytes that belong to no message: the text `vat-pre1`;
/// the secret of the vat's identity (a seed of 32 bytes, to be kept in memory only); the launcher's
/// vat id (32 bytes); and a number (8 bytes, the lowest first), with which the nonce of everything
/// begins that the vat hands over in this life. Then both say their hello, and are vats that know each
/// other: what they give each other is handed over. `start` comes when the vat's hello has come.
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
    /// No descriptors pass. At most 3 such streams of one vat are taken at a time.
    fn meet(&mut self, turn: &Turn, stream: StreamRef, vat: String) -> Result<()>;

    /// Asks the vat to end. It answers, then finishes what it is doing and exits with code 0.
    fn stop(&mut self, turn: &Turn) -> Result<()>;

    /// Gives the vat its durable store, before `start`: an empty file or one that the vat has written
    /// in an earlier life, opened for reading and writing and used by nobody else. Its descriptor is
    /// attached to `store`. It fails if the vat cannot use it.
    fn keep(&mut self, turn: &Turn, store: StoreFileRef) -> Result<()>;
}

/// What a launcher offers to a vat that it launched: the way to the others, its siblings.
///
/// # Authority
/// To be connected with vats that the same launcher has launched, and only those of which the launcher
/// gave a reference to this vat, or another vat did that it launched and that is connected there
/// itself, both in their present lives. A connection alone gives nothing but what its host gives to
/// everybody who calls it.
#[vat::interface]
pub trait Siblings {
    /// Makes a connection to the vat that `introduction` names, and gives this vat's end of it: the
    /// descriptor is attached to the reference. That vat has the other end then.
    ///
    /// `introduction` is the `Contact` (`schema/network.capnp`) of a reference that was given to
    /// this vat, without its addresses, as one segment. It fails if the vat is none of this
    /// launcher's, does not run or does not take the connection within 4 seconds, or if who
    /// introduced this one does not count: then the reference goes through who gave it. At most 2
    /// streams to one vat are being made or kept at a time, others wait; in the long run 64
    /// introductions are looked at per second.
    async fn reach(this: Near<Self>, cx: &Cx, introduction: Vec<u8>) -> Result<StreamRef>;
}

/// The file of a durable store on its way to the vat: the descriptor is attached to the reference.
#[vat::interface]
pub trait StoreFile {}

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
