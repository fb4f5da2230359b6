//! A whole shop, with everything that the format is going to have.

use std::fs;

use super::super::*;
use super::Bench;

/// Beside what is in the manifest, somebody has to fill its slots.
const RUN: &str = r#"
[run.grants]
store_dir = { dir = "notes" }
payments  = { ref = "payments.cap" }
log       = "launcher.log"
"#;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write_reference("payments.cap");
    fs::create_dir(bench.path("bin")).unwrap();
    for program in ["bin/ledger", "bin/worker", "bin/gateway"] {
        fs::copy(bench.path("hello"), bench.path(program)).unwrap();
    }
    bench
}

#[test]
fn only_what_is_not_supported_yet_is_found_in_it() {
    let text = include_str!("shop.vat.toml").to_owned() + RUN;
    let checked = bench().check(&text);
    let mut found = Vec::new();
    for finding in checked.report.diagnostics() {
        assert_eq!(finding.code, Code::NotSupported, "{finding:?}");
        let message = &finding.message;
        assert!(
            message.ends_with("not supported by this version"),
            "{message}"
        );
        assert!(finding.help.is_some(), "{message}");
        found.push(&text[finding.labels[0].span.clone()]);
    }
    let expected = [
        "\"Listener\"",
        "replicas",
        "attenuate",
        "attenuate",
        "\"worker-{index}\"",
        "health",
        "limits",
        "\"Listener\"",
        "\"pool.checkout\"",
        "pool",
        "upgrade",
    ];
    assert_eq!(found, expected);
}
