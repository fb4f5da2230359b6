//! Starts a server and a client, and a gifter between them where there is one, all on one core, and
//! takes what they say.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::load::Cost;
use crate::peers::Peer;

/// What a client says at its end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub cost: Cost,
    /// By the client, in all.
    pub allocations: u64,
    /// Memory for each thing held.
    pub bytes_each: Option<u64>,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    pub client: Peer,
    pub server: Peer,
    pub work: &'static str,
    pub outstanding: usize,
}

/// How long, and under what.
#[derive(Clone, Copy, Debug)]
pub enum How {
    Millis(u64),
    Calls(u64),
    /// That many calls under callgrind.
    Callgrind(u64),
    /// That many calls under strace.
    Strace(u64),
}

/// What one run of server and client brought.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub outcome: Outcome,
    pub server_allocations: u64,
    /// Instructions or system calls, of client and server.
    pub counted: [u64; 2],
    /// Of these, writes to the socket.
    pub writes: [u64; 2],
}

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Where sockets and traces go; removed when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("vat-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn file(&self, kind: &str) -> PathBuf {
        let number = RUNS.fetch_add(1, Relaxed);
        self.0.join(format!("{number}.{kind}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn command(how: How, trace: &Path) -> Command {
    let own = std::env::current_exe().expect("our own path");
    match how {
        How::Millis(_) | How::Calls(_) => Command::new(own),
        How::Callgrind(_) => {
            let mut command = Command::new("valgrind");
            let out = format!("--callgrind-out-file={}", trace.display());
            command.args(["-q", "--tool=callgrind", &out]).arg(own);
            command
        }
        How::Strace(_) => {
            let mut command = Command::new("strace");
            command.args(["-f", "-c", "-o"]).arg(trace).arg(own);
            command
        }
    }
}

/// A process that ends with the measurement, also when that fails.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the process starts"))
    }

    /// A server of many connections does not end by itself.
    fn end(mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill()); // it may have ended meanwhile
        drop(self.0.wait());
    }
}

/// Waits until a process says that it can be called.
fn ready(process: &mut Child, case: Case) -> BufReader<ChildStdout> {
    let mut said = BufReader::new(process.stdout.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("the server speaks");
    assert_eq!(line, "ready\n", "{case:?}");
    said
}

/// The process that gives the client what it calls.
fn gifter(case: Case, socket: &Path, exporter: &Path) -> Process {
    let own = std::env::current_exe().expect("our own path");
    let mut gifter = Process::start(
        Command::new(own)
            .args(["gifter", "--peer", case.server.name()])
            .arg("--socket")
            .arg(socket)
            .arg("--exporter")
            .arg(exporter)
            .stdout(Stdio::piped()),
    );
    drop(ready(&mut gifter.0, case));
    gifter
}

/// Measures one case once.
pub fn run(scratch: &Scratch, case: Case, how: How) -> Run {
    let mut socket = scratch.file("sock");
    let traces = [scratch.file("client"), scratch.file("server")];
    let connections = match case.work {
        "connect" | "idle" => "1000000000",
        _ if case.server.has_gifter() => "1000000000",
        _ => "1",
    };
    let mut server = Process::start(
        command(how, &traces[1])
            .args(["server", "--peer", case.server.name()])
            .args(["--connections", connections])
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    );
    let mut said = ready(&mut server.0, case);
    let mut between = None;
    if case.server.has_gifter() {
        let exporter = std::mem::replace(&mut socket, scratch.file("sock"));
        between = Some(gifter(case, &socket, &exporter));
    }
    let gifter = between.as_ref().map_or(0, |gifter| gifter.0.id());
    let (option, amount) = match how {
        How::Millis(millis) => ("--millis", millis),
        How::Calls(calls) | How::Callgrind(calls) | How::Strace(calls) => ("--calls", calls),
    };
    let client = command(how, &traces[0])
        .args(["client", "--peer", case.client.name(), "--work", case.work])
        .args(["--outstanding", &case.outstanding.to_string()])
        .args(["--server", &server.0.id().to_string()])
        .args(["--gifter", &gifter.to_string()])
        .args([option, &amount.to_string()])
        .arg("--socket")
        .arg(&socket)
        .output()
        .expect("the client starts");
    assert!(
        client.status.success(),
        "{case:?}: {}",
        text(&client.stderr)
    );
    let outcome = serde_json::from_slice(&client.stdout);
    let outcome =
        outcome.unwrap_or_else(|error| panic!("{case:?}: {error}: {}", text(&client.stdout)));
    drop(server.0.stdin.take());
    let server_allocations = if connections == "1" {
        let mut rest = String::new();
        said.read_to_string(&mut rest).expect("the server speaks");
        rest.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{case:?}: the server said {rest:?}"))
    } else {
        0
    };
    server.end();
    if let Some(gifter) = between {
        gifter.end();
    }
    let counted = traces.clone().map(|trace| counted(how, &trace, None));
    let writes = traces.map(|trace| counted_writes(how, &trace));
    Run {
        outcome,
        server_allocations,
        counted,
        writes,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The sum that callgrind or strace wrote.
fn counted(how: How, trace: &Path, only: Option<&[&str]>) -> u64 {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    match how {
        How::Millis(_) | How::Calls(_) => 0,
        How::Callgrind(_) => text
            .lines()
            .find_map(|line| {
                line.strip_prefix("summary:")
                    .or(line.strip_prefix("totals:"))
            })
            .and_then(|sum| sum.trim().parse().ok())
            .unwrap_or(0),
        How::Strace(_) => text
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let name = words.last()?;
                let wanted = only.map_or(*name != "total", |only| only.contains(name));
                let calls = words.get(3)?.parse::<u64>().ok()?;
                wanted.then_some(calls)
            })
            .sum(),
    }
}

fn counted_writes(how: How, trace: &Path) -> u64 {
    match how {
        How::Strace(_) => counted(how, trace, Some(&["write", "writev", "sendto", "sendmsg"])),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_a_measurement_that_fails() {
        let server = Process::start(Command::new("sleep").arg("1000"));
        let process = PathBuf::from(format!("/proc/{}", server.0.id()));
        assert!(process.exists());
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _server = server;
            panic!("the client failed");
        }));
        assert!(failed.is_err() && !process.exists());
    }
}
