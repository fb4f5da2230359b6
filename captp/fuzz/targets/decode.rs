//! Bytes as a stream of messages. See `captp_testnet::fuzz::decode`.
#![no_main]

use captp_testnet::fuzz::decode::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(fault) = run(input) {
        panic!("{fault}");
    }
});
