//! What the fuzz targets `sni` and `uri` found worth keeping: the same checks on the committed inputs.
//! `captp/fuzz` makes up others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

#[path = "fuzz/sni.rs"]
mod sni;
#[path = "fuzz/uri.rs"]
mod uri;

/// Runs the committed inputs of one target: what covers most, and what was found.
fn run_kept(target: &str, run: fn(&[u8]) -> Result<(), String>) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captp/fuzz");
    let mut count = 0;
    for folder in ["corpus", "regressions"] {
        let Ok(files) = std::fs::read_dir(fuzz.join(folder).join(target)) else {
            continue; // there are not regressions of each
        };
        for file in files {
            let path = file.unwrap().path();
            if let Err(fault) = run(&std::fs::read(&path).unwrap()) {
                panic!("{}: {fault}", path.display());
            }
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} inputs of {target}");
}

#[test]
fn kept_first_bytes_of_tls_callers_find_nothing() {
    run_kept("sni", sni::run);
}

#[test]
fn kept_texts_of_sturdy_refs_find_nothing() {
    run_kept("uri", uri::run);
}
