//! Operations of several vats, chosen by the input, under the eyes of the oracle: what the run of
//! seeds does, with coverage as a guide. A finding prints itself as a test, made small.
#![no_main]

use captp_testnet::oracle::{Bytes, Options, run_choices, shrink};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        // The oracle catches panics: a finding is reported with its script, and repeated often while
        // it is made small.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |input: &[u8]| {
        // With keys, and references that are handed over, or without.
        let handoff = input.last().is_some_and(|last| last % 2 == 1);
        let options = Options::default().with_steps(STEPS).with_handoff(handoff);
        if let Err(failed) = run_choices(&mut Bytes::new(input), &options) {
            let (script, failure) = shrink(&failed.0);
            eprintln!("{failure}\n\n{script}");
            std::process::abort();
        }
    }
);

/// Most operations of one run: about as many as the longest input has decisions for.
const STEPS: usize = 160;
