//! Inputs made here, and those that the fuzzer found worth keeping.

use std::path::Path;

use super::{decode, hello, hostile};
use crate::fuzz::input::Input;
use crate::fuzz::wire::{Known, Writer};
use crate::oracle::{Bytes, Options, run_choices};

/// A generator whose sequence is the same everywhere.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn hostile_peers_made_of_noise_do_no_harm() {
    for seed in 0..300 {
        if let Err(fault) = hostile::run(&noise(seed, 600)) {
            panic!("seed {seed}: {fault}");
        }
    }
}

#[test]
fn streams_of_well_formed_messages_are_read_the_same_however_they_are_cut() {
    let writer = Writer::new();
    for seed in 0..300 {
        let noise = noise(seed, 400);
        let mut input = Input::new(&noise);
        let mut stream = vec![7];
        while !input.is_empty() {
            stream.extend(writer.message(&mut input, &mut Known::default()));
        }
        decode::run(&stream).unwrap();
        hello::run(&stream).unwrap();
    }
}

/// The committed inputs of one target, each with its name: what covers most, and what was found.
fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut inputs = Vec::new();
    for folder in ["corpus", "regressions"] {
        let Ok(files) = std::fs::read_dir(fuzz.join(folder).join(target)) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            inputs.push((path.display().to_string(), bytes));
        }
    }
    assert!(!inputs.is_empty(), "no inputs of {target}");
    inputs
}

#[test]
fn inputs_that_the_fuzzer_kept_find_nothing() {
    type Run = fn(&[u8]) -> Result<(), String>;
    let targets: [(&str, Run); 3] = [
        ("decode", decode::run),
        ("hello", hello::run),
        ("hostile_peer", hostile::run),
    ];
    for (target, run) in targets {
        for (name, bytes) in kept(target) {
            if let Err(fault) = run(&bytes) {
                panic!("{name}: {fault}");
            }
        }
    }
    for (name, bytes) in kept("operations") {
        for handoff in [false, true] {
            let options = Options::default().with_handoff(handoff);
            if let Err(failed) = run_choices(&mut Bytes::new(&bytes), &options) {
                panic!("{name}: {}\n{}", failed.1, failed.0);
            }
        }
    }
}
