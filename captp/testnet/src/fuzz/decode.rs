//! Bytes as a stream of messages, and each message with its payload.

use captp::Limits;
use captp::testing::read_stream;

/// What is read does not depend on how the stream is cut, and stays within the limits.
///
/// # Errors
/// See the [module above](super).
pub fn run(bytes: &[u8]) -> Result<(), String> {
    let Some((cut, stream)) = bytes.split_first() else {
        return Ok(());
    };
    let limits = Limits::default()
        .with_message_bytes(64 << 10)
        .with_segments(16)
        .with_caps_per_message(8)
        .with_nesting(16);
    let whole = read_stream([stream], &limits)?;
    // As many pieces as a run is short.
    let size = usize::from(*cut).max(1).max(stream.len() / 512);
    let pieces = read_stream(stream.chunks(size), &limits)?;
    if whole != pieces {
        return Err(format!("at once\n{whole:?}\nin pieces\n{pieces:?}"));
    }
    // The same words as the body of one message: the frame costs no luck.
    let words = stream.len() / 8;
    let mut head = vec![0; 4];
    head.extend(u32::try_from(words).unwrap_or(u32::MAX).to_le_bytes());
    let body = stream.get(..words * 8).unwrap_or_default();
    read_stream([&head, body], &limits).map(drop)
}
