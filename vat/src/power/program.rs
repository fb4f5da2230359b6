//! What the launcher and the vat it launched say to each other over descriptor 3.

use crate::prelude::*;

/// A launched vat, as its launcher sees it: the bootstrap on the inherited socket.
///
/// # Authority
/// Whoever holds this decides what the vat is: its identity, its powers, and when it ends. Only the
/// launcher ever does.
#[vat::interface]
pub trait Program {
    /// Starts the program with exactly these powers. Its answer means that the vat is ready.
    ///
    /// `seed` is the secret of the vat's identity (32 bytes); it is kept in memory only. `exposes`
    /// are the manifest's expose names: a `main` that gives back one reference means the only one.
    /// `addresses` say where other vats reach this one, as in its sturdy refs; whoever gives a
    /// reference to it away tells them.
    async fn start(
        this: Near<Self>,
        cx: &Cx,
        seed: Vec<u8>,
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

    /// Asks the vat to end. It answers, then finishes what it is doing and exits with code 0.
    fn stop(&mut self, turn: &Turn) -> Result<()>;
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
