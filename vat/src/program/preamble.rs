//! The first bytes on descriptor 3: who the program is, and who launched it. Both must be known
//! before the two say hello, as vats that hand references over know each other.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::net::Stream;
use crate::sturdy::{Seed, VatId};

/// What it begins with. The digit is its version.
const MAGIC: [u8; 8] = *b"vat-pre1";
const LEN: usize = MAGIC.len() + Seed::LEN + VatId::LEN + 8;
/// A launcher sends it as soon as the program's process is there.
const WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });

/// What a launcher tells a program before anything else.
#[derive(Debug)]
pub(crate) struct Preamble {
    /// The secret of the program's identity; it is kept in memory only.
    pub(crate) seed: Seed,
    /// The launcher's vat.
    pub(crate) launcher: VatId,
    /// Under which the program hands references over in this life.
    pub(crate) session: u64,
}

impl Preamble {
    /// Sends it, as the first on the stream.
    #[cfg(any(feature = "launch", test))]
    pub(crate) async fn send(&self, stream: &mut Stream) -> io::Result<()> {
        let parts: [&[u8]; 4] = [
            &MAGIC,
            self.seed.expose(),
            self.launcher.as_bytes(),
            &self.session.to_le_bytes(),
        ];
        let bytes = Zeroizing::new(parts.concat());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let sent = std::future::poll_fn(|cx| stream.poll_send(cx, rest, &[])).await?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Receives it, and not a byte more.
    ///
    /// # Errors
    ///
    /// When it does not come in time, or something else comes.
    pub(crate) async fn receive(stream: &mut Stream) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0_u8; LEN]);
        let fill = async {
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match stream.recv(rest).await?.bytes {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    received => filled += received,
                }
            }
            Ok(())
        };
        timeout(WITHIN, fill).await.map_err(io::Error::from)??;
        Self::parse(&bytes).ok_or_else(|| {
            let text = "what comes on descriptor 3 is no launcher's, or one of another version";
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn parse(bytes: &[u8; LEN]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (seed, rest) = rest.split_first_chunk::<{ Seed::LEN }>()?;
        let (launcher, session) = rest.split_first_chunk::<{ VatId::LEN }>()?;
        Some(Self {
            seed: Seed::from_bytes(*seed),
            launcher: VatId::from_bytes(*launcher).ok()?,
            session: u64::from_le_bytes(session.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sturdy::Identity;

    fn preamble() -> Preamble {
        let launcher = Identity::from_seed(&Seed::from_bytes([2; 32])).id();
        Preamble {
            seed: Seed::from_bytes([1; 32]),
            launcher,
            session: 3,
        }
    }

    fn pair() -> (Stream, Stream) {
        let (left, right) = UnixStream::pair().unwrap();
        let stream = |end: UnixStream| Stream::from_socketpair(end.into()).unwrap();
        (stream(left), stream(right))
    }

    async fn send(stream: &mut Stream, bytes: &[u8]) {
        let sent = poll_fn(|cx| stream.poll_send(cx, bytes, &[]))
            .await
            .unwrap();
        assert_eq!(sent, bytes.len());
    }

    #[tokio::test]
    async fn it_arrives_and_what_follows_it_stays_in_the_stream() {
        let (mut launcher, mut program) = pair();
        preamble().send(&mut launcher).await.unwrap();
        send(&mut launcher, b"hello").await;
        let received = Preamble::receive(&mut program).await.unwrap();
        assert_eq!(received.seed.expose(), &[1; 32]);
        assert_eq!(received.launcher, preamble().launcher);
        assert_eq!(received.session, 3);
        let mut next = [0; 64];
        assert_eq!(program.recv(&mut next).await.unwrap().bytes, 5);
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let mut whole = MAGIC.to_vec();
        whole.extend([1; Seed::LEN]);
        whole.extend(preamble().launcher.as_bytes());
        whole.extend([3; 8]);
        let changed = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            bytes
        };
        let no_key = [&whole[..MAGIC.len() + Seed::LEN], &[0xff; VatId::LEN + 8]].concat();
        for (bytes, kind) in [
            (changed(7, b'2'), io::ErrorKind::InvalidData),
            (no_key, io::ErrorKind::InvalidData),
            (whole[..LEN - 1].to_vec(), io::ErrorKind::TimedOut),
        ] {
            let (mut launcher, mut program) = pair();
            send(&mut launcher, &bytes).await;
            let error = Preamble::receive(&mut program).await.unwrap_err();
            assert_eq!(error.kind(), kind);
        }
        let (launcher, mut program) = pair();
        drop(launcher);
        let error = Preamble::receive(&mut program).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
