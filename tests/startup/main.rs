//! How long a confined start takes: from the launch to the first byte that the program sends on
//! descriptor 3 from a tokio runtime, and from the kill to the reaped end.
//!
//! `cargo bench -p vat-tests --bench startup` prints figures; it judges nothing.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that fails has no other way out"
)]

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vat::launch::confine::{Launch, Level, Limits, SealedProgram, Spawner};

const LAUNCHES: usize = 200;

fn main() {
    let program = SealedProgram::load(&build()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("{LAUNCHES} launches each; milliseconds: median, 95th percentile");
    for level in [Level::L0, Level::L1, Level::L2, Level::L3] {
        let before = Instant::now();
        let spawner = Spawner::start_at_most(level).unwrap();
        let survey = before.elapsed();
        if spawner.host().level != level {
            println!("{level}: this host does not reach it");
            continue;
        }
        let (mut starts, mut stops) = (Vec::new(), Vec::new());
        for _ in 0..LAUNCHES {
            let (start, stop) = runtime.block_on(launch(&spawner, &program));
            starts.push(start);
            stops.push(stop);
        }
        println!(
            "{level}: start {} stop {} (finding the level: {:.2})",
            figures(&mut starts),
            figures(&mut stops),
            milliseconds(survey),
        );
    }
}

async fn launch(spawner: &Spawner, program: &SealedProgram) -> (Duration, Duration) {
    let log = || std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    let launch = Launch {
        program: program.clone(),
        name: "hello".to_owned(),
        require: Level::L0,
        allow_weak: true,
        stdout: log(),
        stderr: log(),
        limits: Limits::default(),
    };
    let before = Instant::now();
    let mut child = spawner.spawn(launch).await.unwrap();
    let mut socket = UnixStream::from(child.take_socket().unwrap());
    socket.read_exact(&mut [0]).unwrap();
    let start = before.elapsed();
    let before = Instant::now();
    child.kill().unwrap();
    child.wait().await.unwrap();
    (start, before.elapsed())
}

/// Builds the program optimized, as the figures are about real programs.
fn build() -> std::path::PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["rustc", "--quiet", "--release", "--manifest-path", manifest])
        .args([
            "--bin",
            "ordinary",
            "--",
            "-C",
            "target-feature=+crt-static",
        ])
        .status()
        .unwrap();
    assert!(status.success(), "building the program failed");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("release/ordinary")
}

fn figures(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    format!("{:.2}, {:.2}", milliseconds(at(50)), milliseconds(at(95)))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
