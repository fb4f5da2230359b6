//! The first message of a peer that speaks hello.

use captp::{Config, ConnOptions, Engine, VatKey};

use crate::vat::Script;

/// What is kept of a hello is bounded, and it does not matter how the stream is cut.
///
/// # Errors
/// See the [module above](super).
pub fn run(bytes: &[u8]) -> Result<(), String> {
    let Some((cut, stream)) = bytes.split_first() else {
        return Ok(());
    };
    let whole = read(&[stream])?;
    let (first, rest) = stream.split_at(usize::from(*cut).min(stream.len()));
    let pieces = read(&[first, rest])?;
    if whole != pieces {
        return Err(format!("at once {whole}, in two pieces {pieces}"));
    }
    // The same words as the body of one message: the frame costs no luck.
    let words = stream.len() / 8;
    let mut framed = vec![0; 4];
    framed.extend(u32::try_from(words).unwrap_or(u32::MAX).to_le_bytes());
    framed.extend(stream.iter().take(words * 8));
    read(&[&framed]).map(drop)
}

fn read(pieces: &[&[u8]]) -> Result<String, String> {
    let mut engine = Engine::<Script>::new(Config::default());
    let options = ConnOptions::default()
        .with_hello(true)
        .with_peer(VatKey([2; 32]));
    let conn = engine.open(options);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let taken = engine.handle_bytes(conn, rest, Vec::new());
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            engine.check()?;
            while engine.poll_output().is_some() {}
        }
    }
    let said = engine.peer_hello(conn).cloned();
    if let Some(hello) = &said {
        let agent = hello.agent.chars().count();
        let addresses = hello.addresses.iter().map(String::len);
        if agent > 128 || addresses.clone().count() > 8 || addresses.max() > Some(256) {
            return Err(format!("too much is kept of {hello:?}"));
        }
    }
    let open = engine.stats(conn).is_some();
    engine.handle_closed(conn, "the end");
    while engine.poll_output().is_some() {}
    engine.check()?;
    if engine.live_nodes() > 0 {
        return Err(format!("left:\n{}", engine.dump()));
    }
    Ok(format!("{said:?}, open {open}"))
}
