//! What programs of the tests and the test binary, `it`, have in common.

use vat::power::{Network, NetworkRef, Stream, StreamRef};
use vat::prelude::*;
use vat::sturdy::SturdyRef;

/// Adds up.
#[vat::interface]
#[expect(clippy::missing_errors_doc, reason = "it says what went wrong")]
pub trait Tally {
    /// Adds `by` and returns the total.
    fn add(&mut self, turn: &Turn, by: u64) -> Result<u64>;
}

/// A tally that keeps its total.
#[derive(Clone, Debug, vat::Object)]
pub struct Sum(pub u64);

impl Tally for Sum {
    fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
        self.0 += by;
        Ok(self.0)
    }
}

/// Adds to a tally that it was given, or to its own.
#[vat::interface]
#[expect(clippy::missing_errors_doc, reason = "it says what went wrong")]
pub trait Keeper {
    /// Adds `by` to the tally and returns the total.
    fn add(&self, turn: &Turn, by: u64) -> Result<Promise<u64>>;
    /// The tally.
    fn lend(&self, turn: &Turn) -> Result<TallyRef>;
    /// From now on it is that of the keeper that its manifest grants.
    async fn borrow(this: Near<Self>, cx: &Cx) -> Result<()>;
}

/// A program that tries to get out.
#[vat::interface]
#[expect(clippy::missing_errors_doc, reason = "it says what went wrong")]
pub trait Dialler {
    /// Adds to the tally that the URI names, through the power that it was granted, if any.
    fn add(&self, turn: &Turn, uri: String, by: u64) -> Result<Promise<u64>>;
    /// The same through a `Network` of its own making.
    fn forge(&self, turn: &Turn, uri: String) -> Result<Promise<u64>>;
    /// Asks the power for a stream, and says where it leads.
    async fn dial(this: Near<Self>, cx: &Cx, vat: String, address: String) -> Result<()>;
    /// Asks the kernel for a connection to `host:port` or to a path.
    fn connect(&self, turn: &Turn, address: String) -> Result<()>;
    /// Gives the tally that one URI names to the dialler that the other names.
    async fn give(this: Near<Self>, cx: &Cx, tally: String, to: String) -> Result<()>;
    /// From now on [`count`](Self::count) is about this tally.
    fn take(&mut self, turn: &Turn, tally: TallyRef) -> Result<()>;
    /// Adds to the tally that it was given.
    fn count(&self, turn: &Turn, by: u64) -> Result<Promise<u64>>;
}

/// What [`Dialler`] holds.
#[derive(Clone, Debug, vat::Object)]
pub struct Granted {
    net: Option<NetworkRef>,
    tally: Option<TallyRef>,
}

impl Dialler for Granted {
    fn add(&self, _turn: &Turn, uri: String, by: u64) -> Result<Promise<u64>> {
        let sturdy = SturdyRef::parse(&uri).map_err(Error::of)?;
        let tally = TallyRef::from(self.power()?.enliven(&sturdy));
        Ok(tally.add(by))
    }

    fn forge(&self, turn: &Turn, uri: String) -> Result<Promise<u64>> {
        let sturdy = SturdyRef::parse(&uri).map_err(Error::of)?;
        let network = NetworkRef::new(turn, Forged);
        Ok(TallyRef::from(network.enliven(&sturdy)).add(1))
    }

    async fn dial(this: Near<Self>, cx: &Cx, vat: String, address: String) -> Result<()> {
        let network = this.read(cx, Self::power)??;
        Ref::from(network.dial(vat, address)).settled().await
    }

    fn connect(&self, _turn: &Turn, address: String) -> Result<()> {
        let connected = if address.starts_with('/') {
            std::os::unix::net::UnixStream::connect(address).map(drop)
        } else {
            std::net::TcpStream::connect(address).map(drop)
        };
        connected.map_err(Error::of)
    }

    async fn give(this: Near<Self>, cx: &Cx, tally: String, to: String) -> Result<()> {
        let network = this.read(cx, Self::power)??;
        let enliven = |uri: String| {
            let sturdy = SturdyRef::parse(&uri).map_err(Error::of)?;
            Ok::<_, Error>(network.enliven(&sturdy))
        };
        let (tally, to) = (enliven(tally)?, enliven(to)?);
        // What is known to lie elsewhere is handed over, to a vat that has said that it takes part.
        tally.settled().await?;
        to.settled().await?;
        DiallerRef::from(to).take(tally).await
    }

    fn take(&mut self, _turn: &Turn, tally: TallyRef) -> Result<()> {
        self.tally = Some(tally);
        Ok(())
    }

    fn count(&self, _turn: &Turn, by: u64) -> Result<Promise<u64>> {
        let none = || Error::failed("no tally was given");
        Ok(self.tally.as_ref().ok_or_else(none)?.add(by))
    }
}

impl Granted {
    /// With this power to call out, if any.
    #[must_use]
    pub const fn new(net: Option<NetworkRef>) -> Self {
        Self { net, tally: None }
    }

    fn power(&self) -> Result<NetworkRef> {
        let none = || Error::failed("no Network was granted");
        self.net.clone().ok_or_else(none)
    }
}

/// A power out of nothing: its streams lead nowhere.
#[derive(Clone, vat::Object)]
struct Forged;

impl Network for Forged {
    async fn dial(_: Near<Self>, cx: &Cx, _vat: String, _address: String) -> Result<StreamRef> {
        Ok(StreamRef::new(cx, Self))
    }
}

impl Stream for Forged {}
