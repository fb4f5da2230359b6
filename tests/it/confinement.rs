//! Confinement: a hostile program gets nowhere, an ordinary one notices little, nothing is left.
//!
//! Every attempt of the hostile program is also made unconfined in the same run: what succeeds
//! there is proven to be refused by the confinement; what the host forbids anyway is printed as
//! not proven.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the processes of a test are told by the environment what to do"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use vat::launch::confine::{
    Child, Exit, Launch, Level, Limits, MechanismName, Reason, SealedProgram, SpawnError, Spawner,
    Unsuitable, doctor,
};

/// Must succeed unconfined, or the test would prove nothing.
const CORE: &[&str] = &[
    "open /etc/passwd",
    "open from a new thread",
    "create a file in /tmp",
    "stat /etc/shadow",
    "listen on TCP",
    "connect to TCP",
    "bind and send with UDP",
    "listen on an abstract Unix socket",
    "connect to an abstract Unix socket",
    "make a datagram socket pair",
    "fork",
    "exec /bin/true",
    "exec a memory file",
    "exec itself",
    "signal the launcher",
    "let the kernel signal the launcher (F_SETOWN)",
    "open a process descriptor",
    "map executable memory",
    "make memory executable",
    "make a memory file",
    "map the page of the launcher's exec",
    "fill the address space",
];

/// Builds a program of this package for confinement, as `vat` does, and reads it at once: an
/// ordinary build of the workspace replaces the file by a dynamically linked one.
fn build(bin: &str) -> (SealedProgram, PathBuf) {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--quiet",
            "--manifest-path",
            manifest,
            "--bin",
            bin,
        ])
        .args(["--message-format=json-render-diagnostics"])
        .args(["--", "-C", "target-feature=+crt-static"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "building {bin} failed");
    let executable = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap();
    let program = SealedProgram::load(&executable).unwrap();
    // A copy of our own, for runs that need a path.
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{bin}-static"));
    let new = copy.with_extension(format!("{}", std::process::id()));
    let mut bytes = Vec::new();
    let memory = program.as_fd().try_clone_to_owned().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    std::fs::write(&new, bytes).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&new, mode).unwrap();
    std::fs::rename(&new, &copy).unwrap();
    (program, copy)
}

static HOSTILE: LazyLock<(SealedProgram, PathBuf)> = LazyLock::new(|| build("hostile"));
static ORDINARY: LazyLock<(SealedProgram, PathBuf)> = LazyLock::new(|| build("ordinary"));

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn launch(program: &SealedProgram, name: &str, output: OwnedFd) -> Launch {
    Launch {
        program: program.clone(),
        name: name.to_owned(),
        require: Level::L2,
        allow_weak: false,
        stdout: output.try_clone().unwrap(),
        stderr: output,
        limits: Limits::default(),
    }
}

/// What a program did until its end.
struct Run {
    exit: Exit,
    output: String,
}

impl Run {
    fn lines(&self) -> Vec<&str> {
        self.output.lines().collect()
    }
}

async fn run(spawner: &Spawner, program: &SealedProgram, name: &str) -> Run {
    let (log, output) = io::pipe().unwrap();
    let mut child = spawner
        .spawn(launch(program, name, output.into()))
        .await
        .unwrap();
    finish(&mut child, log).await
}

async fn finish(child: &mut Child, mut log: io::PipeReader) -> Run {
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        log.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let wait = tokio::time::timeout(Duration::from_secs(60), child.wait());
    let exit = wait
        .await
        .expect("the program ends within a minute")
        .unwrap();
    Run {
        exit,
        output: reader.join().unwrap(),
    }
}

/// Spawners at the levels this host reaches: L2 and L3 where possible.
fn spawners() -> Vec<(Level, Spawner)> {
    let mut all = Vec::new();
    for level in [Level::L2, Level::L3] {
        let spawner = Spawner::start_at_most(level).unwrap();
        if spawner.host().level == level {
            all.push((level, spawner));
        } else {
            eprintln!(
                "not proven: this host does not reach {level}: {:?}",
                spawner.host()
            );
        }
    }
    assert!(!all.is_empty(), "this host reaches neither L2 nor L3");
    all
}

/// Which attempts were allowed, by name.
fn attempts(output: &str) -> BTreeMap<String, bool> {
    let each = |line: &str| {
        if let Some(name) = line.strip_prefix("ALLOWED ") {
            return Some((name.to_owned(), true));
        }
        let (name, _errno) = line.strip_prefix("refused ")?.rsplit_once(' ')?;
        Some((name.to_owned(), false))
    };
    output.lines().filter_map(each).collect()
}

/// The same program without confinement: what the host permits. Made once, and alone on the
/// machine: two such runs would take each other's files and names away.
static CONTROL: LazyLock<BTreeMap<String, bool>> = LazyLock::new(|| {
    let (_, path) = &*HOSTILE;
    let alone = File::open("/tmp").unwrap();
    alone.lock().unwrap();
    let output = Command::new(path).current_dir("/tmp").output().unwrap();
    drop(alone);
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.contains("summary: "),
        "the unconfined run did not end:\n{output}"
    );
    attempts(&output)
});

fn assert_nothing_allowed(run: &Run, control: &BTreeMap<String, bool>, held_by: &str) {
    let tried = attempts(&run.output);
    let escapes: Vec<_> = tried.iter().filter(|(_, allowed)| **allowed).collect();
    assert!(escapes.is_empty(), "{held_by} allowed {escapes:?}");
    assert_eq!(run.exit, Exit::Code(0), "{held_by}:\n{}", run.output);
    assert!(
        run.output.contains("summary: 0 of"),
        "{held_by}:\n{}",
        run.output
    );
    assert_eq!(
        tried.keys().collect::<Vec<_>>(),
        control.keys().collect::<Vec<_>>(),
        "{held_by}: some attempts were not made"
    );
}

#[test]
fn a_hostile_program_is_refused_everything_it_can_do_unconfined() {
    let control = &*CONTROL;
    for name in CORE {
        assert_eq!(
            control.get(*name),
            Some(&true),
            "{name:?} must succeed unconfined"
        );
    }
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &HOSTILE.0, "hostile"));
        assert_nothing_allowed(&run, control, &format!("level {level}"));
    }
    // The filter alone, so that the other layers do not hide a hole in it.
    let run = block_on(async {
        let spawner = Spawner::start_at_most(Level::L1).unwrap();
        let (log, output) = io::pipe().unwrap();
        let launch = launch(&HOSTILE.0, "hostile", output.into());
        let launch = Launch {
            require: Level::L1,
            allow_weak: true,
            ..launch
        };
        finish(&mut spawner.spawn(launch).await.unwrap(), log).await
    });
    assert_nothing_allowed(&run, control, "the filter alone");
    let unproven = control.iter().filter(|(_, allowed)| !**allowed);
    for (name, _) in unproven {
        println!("not proven, as this host refuses it unconfined too: {name}");
    }
    let proven = control.values().filter(|allowed| **allowed).count();
    println!("proven: {proven} of {} attempts", control.len());
}

#[test]
fn a_program_is_given_its_name_and_four_descriptors_and_nothing_else() {
    // These must not get through.
    let _stray = File::open("/etc/passwd").unwrap();
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &ORDINARY.0, "world"));
        let expected = [
            "arguments [\"world\"]",
            "environment []",
            "descriptors [0, 1, 2, 3]",
            "capabilities",
        ];
        let lines = run.lines();
        assert_eq!(lines.len(), expected.len(), "{level}: {}", run.output);
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.starts_with(expected),
                "{level}: {line:?} is not {expected:?}"
            );
        }
    }
}

#[test]
fn what_a_rust_program_takes_for_granted_works() {
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &ORDINARY.0, "works"));
        assert_eq!(run.exit, Exit::Code(0), "{level}: {}", run.output);
        for line in [
            "ok threads",
            "ok map",
            "ok clocks",
            "ok unwinding",
            "ok fstat true",
        ] {
            assert!(
                run.lines().contains(&line),
                "{level}: {line:?} is not in {}",
                run.output
            );
        }
        assert!(
            run.output.contains("ok clean errors"),
            "{level}: {}",
            run.output
        );
    }
}

#[test]
fn tokio_serves_the_inherited_socket() {
    for (level, spawner) in spawners() {
        block_on(async {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "echo", output.into());
            let mut child = spawner.spawn(launch).await.unwrap();
            let mut socket = UnixStream::from(child.take_socket().unwrap());
            for word in [b"first", b"later"] {
                socket.write_all(word).unwrap();
                let mut answer = [0; 5];
                socket.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, word, "{level}");
            }
            drop(socket);
            assert_eq!(child.wait().await.unwrap(), Exit::Code(0), "{level}");
            assert_eq!(
                child.wait().await.unwrap(),
                Exit::Code(0),
                "{level}: asked again"
            );
        });
    }
}

#[test]
fn the_end_of_a_program_is_told_as_it_was() {
    for (level, spawner) in spawners() {
        let end = |name| block_on(run(&spawner, &ORDINARY.0, name));
        assert_eq!(end("exit").exit, Exit::Code(7), "{level}");
        let panicked = end("panic");
        assert_eq!(panicked.exit, Exit::Code(101), "{level}");
        assert!(
            panicked.output.contains("as asked"),
            "{level}: {}",
            panicked.output
        );
        // Process 1 of a namespace cannot send itself SIGABRT: the fallback of `abort` ends it.
        let abort = if level == Level::L3 {
            libc::SIGSEGV
        } else {
            libc::SIGABRT
        };
        assert_eq!(end("abort").exit, Exit::Signal(abort), "{level}");
        assert!(matches!(end("overflow").exit, Exit::Signal(_)), "{level}");
        let memory = end("memory");
        assert!(
            matches!(memory.exit, Exit::Signal(_)),
            "{level}: {:?}",
            memory.exit
        );
        assert!(
            memory.output.contains("960 MiB"),
            "{level}: {}",
            memory.output
        );
        assert!(
            !memory.output.contains("1024 MiB"),
            "{level}: {}",
            memory.output
        );
    }
}

/// The filter knows one kind of calls; the kernel offers another to every program.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_another_word_size_end_the_program() {
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &ORDINARY.0, "old-calls"));
        assert!(
            matches!(run.exit, Exit::Signal(_)),
            "{level}: {:?} {}",
            run.exit,
            run.output
        );
    }
}

#[test]
fn many_starts_at_once_all_succeed() {
    let spawner = Spawner::start().unwrap();
    block_on(async {
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let spawner = spawner.clone();
            runs.spawn(async move { run(&spawner, &ORDINARY.0, "exit").await });
        }
        for run in runs.join_all().await {
            assert_eq!(run.exit, Exit::Code(7), "{}", run.output);
        }
    });
}

#[test]
fn a_start_that_nobody_waits_for_is_undone() {
    if !in_own_process("confinement::a_start_that_nobody_waits_for_is_undone") {
        return;
    }
    let program = SealedProgram::load(&ordinary_path()).unwrap();
    let spawner = Spawner::start().unwrap();
    let (mut log, output) = io::pipe().unwrap();
    block_on(async {
        let start = spawner.spawn(launch(&program, "sleep", output.into()));
        let polled_once = tokio::time::timeout(Duration::ZERO, start).await;
        assert!(polled_once.is_err(), "the start takes longer than no time");
    });
    // The log ends when the last process that could write to it is gone.
    log.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_killed_child_is_told_as_killed() {
    let spawner = Spawner::start().unwrap();
    block_on(async {
        let (_log, output) = io::pipe().unwrap();
        let launch = launch(&ORDINARY.0, "sleep", output.into());
        let mut child = spawner.spawn(launch).await.unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
        child.kill().unwrap();
    });
}

#[test]
fn the_kernel_refuses_descriptors_from_the_program_where_the_report_says_so() {
    let spawner = Spawner::start().unwrap();
    block_on(async {
        let (log, output) = io::pipe().unwrap();
        let launch = launch(&ORDINARY.0, "descriptors", output.into());
        let mut child = spawner.spawn(launch).await.unwrap();
        let refused = child.report().enforces(MechanismName::NoDescriptorsOut);
        let run = finish(&mut child, log).await;
        let expected = if refused { "sent Err(" } else { "sent Ok(" };
        assert!(run.output.starts_with(expected), "{}", run.output);
    });
}

#[test]
fn a_start_below_the_required_level_is_refused_with_what_is_missing() {
    let weak = Spawner::start_at_most(Level::L1).unwrap();
    assert_eq!(weak.host().level, Level::L1);
    let none = Spawner::start_at_most(Level::L0).unwrap();
    block_on(async {
        for (spawner, require, allow_weak) in [
            (&weak, Level::L2, false),
            (&weak, Level::L1, false),
            (&weak, Level::L3, true),
            (&none, Level::L0, false),
            (&none, Level::L1, true),
        ] {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "exit", output.into());
            let refused = spawner
                .spawn(Launch {
                    require,
                    allow_weak,
                    ..launch
                })
                .await;
            let Err(SpawnError::BelowRequired {
                required,
                available,
                missing,
            }) = refused
            else {
                panic!("{require} with allow_weak={allow_weak} was not refused: {refused:?}");
            };
            assert_eq!(required, if allow_weak { require } else { Level::L2 });
            assert_eq!(available, spawner.host().level);
            let names: Vec<_> = missing.iter().map(|one| one.name).collect();
            assert!(names.contains(&MechanismName::Namespaces), "{names:?}");
            assert!(names.contains(&MechanismName::LandlockFiles), "{names:?}");
        }
        for (spawner, level) in [(&weak, Level::L1), (&none, Level::L0)] {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "exit", output.into());
            let launch = Launch {
                require: Level::L0,
                allow_weak: true,
                ..launch
            };
            let mut child = spawner.spawn(launch).await.unwrap();
            assert_eq!(child.report().level, level);
            assert_eq!(child.wait().await.unwrap(), Exit::Code(7));
        }
    });
}

#[test]
fn limits_out_of_range_are_refused() {
    let spawner = Spawner::start().unwrap();
    block_on(async {
        for limits in [
            Limits {
                open_files: 4,
                ..Limits::default()
            },
            Limits {
                open_files: 1001,
                ..Limits::default()
            },
            Limits {
                memory: 0,
                ..Limits::default()
            },
            Limits {
                threads: 0,
                ..Limits::default()
            },
        ] {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "exit", output.into());
            let refused = spawner.spawn(Launch { limits, ..launch }).await;
            assert!(
                matches!(refused, Err(SpawnError::Limit { .. })),
                "{limits:?}: {refused:?}"
            );
        }
    });
}

#[test]
fn programs_that_cannot_be_confined_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let refusal = |path: &Path| match SealedProgram::load(path).unwrap_err().reason {
        Reason::Unsuitable(reason) => reason,
        Reason::Io { doing, source } => panic!("{}: {doing}: {source}", path.display()),
    };
    // This test is dynamically linked itself.
    let own = std::env::current_exe().unwrap();
    assert_eq!(refusal(&own), Unsuitable::Dynamic);
    assert!(refusal(&own).remedy().unwrap().contains("crt-static"));
    assert_eq!(
        refusal(&file("script", b"#!/bin/sh\nexit 0\n")),
        Unsuitable::Script
    );
    assert_eq!(refusal(&file("text", b"hello")), Unsuitable::NotElf);
    assert_eq!(refusal(&file("empty", b"")), Unsuitable::NotElf);
    assert_eq!(refusal(directory.path()), Unsuitable::NotFile);
    assert_eq!(refusal(Path::new("/dev/null")), Unsuitable::NotFile);
    assert!(matches!(
        SealedProgram::load(&directory.path().join("missing"))
            .unwrap_err()
            .reason,
        Reason::Io { .. }
    ));

    let good = std::fs::read(&ORDINARY.1).unwrap();
    assert!(SealedProgram::load(&file("good", &good)).is_ok());
    let changed = |offset: usize, bytes: &[u8]| {
        let mut program = good.clone();
        program[offset..offset + bytes.len()].copy_from_slice(bytes);
        refusal(&file("changed", &program))
    };
    assert_eq!(changed(18, &[40, 0]), Unsuitable::WrongMachine);
    assert_eq!(changed(4, &[1]), Unsuitable::WrongMachine);
    assert_eq!(changed(16, &[2, 0]), Unsuitable::FixedAddress);
    assert_eq!(changed(16, &[1, 0]), Unsuitable::NotProgram);
    assert!(matches!(changed(32, &[0xff; 8]), Unsuitable::Damaged(_)));
    assert!(matches!(changed(56, &[0xff; 2]), Unsuitable::Damaged(_)));
    // Cut short anywhere it is an error, never a panic.
    for length in (0..200).chain([good.len() / 2]) {
        let cut = file("cut", &good[..length]);
        let loaded = SealedProgram::load(&cut);
        assert!(
            loaded.is_err() || length > 1000,
            "{length} bytes were accepted"
        );
    }
}

#[test]
fn launches_leave_nothing_behind() {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    let mounts = || {
        std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .count()
    };
    let is_zombie = |entry: io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        (fields.next()? == "Z" && fields.next()? == std::process::id().to_string()).then_some(())
    };
    let zombies = || {
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(is_zombie)
            .count()
    };
    // Other tests of this process open descriptors meanwhile: this one counts in its own process.
    if !in_own_process("confinement::launches_leave_nothing_behind") {
        return;
    }
    let program = SealedProgram::load(&ordinary_path()).unwrap();
    for level in [Level::L2, Level::L3] {
        let spawner = Spawner::start_at_most(level).unwrap();
        block_on(run(&spawner, &program, "exit"));
        let before = (count("/proc/self/fd"), mounts());
        for number in 0..100 {
            block_on(async {
                let (log, output) = io::pipe().unwrap();
                let name = if number % 2 == 0 { "exit" } else { "sleep" };
                let launch = launch(&program, name, output.into());
                let mut child = spawner.spawn(launch).await.unwrap();
                // Half of them end by themselves, half are dropped while they run.
                if number % 2 == 0 {
                    assert_eq!(finish(&mut child, log).await.exit, Exit::Code(7));
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        let clean = || (count("/proc/self/fd"), mounts()) == before && zombies() == 0;
        while !clean() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(
            (count("/proc/self/fd"), mounts()),
            before,
            "at level {level}"
        );
        assert_eq!(zombies(), 0, "at level {level}");
    }
}

const OWN_PROCESS: &str = "VAT_TEST_OWN_PROCESS";
const PROGRAM: &str = "VAT_TEST_PROGRAM";
const LEVEL: &str = "VAT_TEST_LEVEL";

fn ordinary_path() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| ORDINARY.1.clone(), PathBuf::from)
}

/// Runs a test alone in a process of its own. In that process the answer is true; in the calling
/// one, which has waited for it to pass, false.
fn in_own_process(test: &str) -> bool {
    if std::env::var_os(OWN_PROCESS).is_some() {
        return true;
    }
    let output = own_process(test)
        .env(PROGRAM, &ORDINARY.1)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn own_process(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(OWN_PROCESS, "1");
    command
}

/// Not a test of its own: the launcher process of the tests below. It starts what the environment
/// names and shows what comes of it.
#[test]
#[ignore = "the other tests start it as a process of its own"]
fn launcher() {
    let (Some(program), Ok(level)) = (std::env::var_os(PROGRAM), std::env::var(LEVEL)) else {
        return;
    };
    let spawner = Spawner::start_at_most(level.parse().unwrap()).unwrap();
    let program = SealedProgram::load(Path::new(&program)).unwrap();
    println!("\nlevel {}", spawner.host().level);
    block_on(async {
        let name = std::env::var("VAT_TEST_NAME").unwrap();
        let (log, output) = io::pipe().unwrap();
        let launch = launch(&program, &name, output.into());
        let mut child = spawner.spawn(launch).await.unwrap();
        println!("started {}", child.pid());
        if name == "sleep" {
            // The program runs once it has spoken.
            BufReader::new(log).lines().next().unwrap().unwrap();
            println!("running");
            std::thread::sleep(Duration::from_secs(60));
        } else {
            let run = finish(&mut child, log).await;
            println!("{}", run.output);
            println!("ended {:?}", run.exit);
        }
    });
}

#[test]
fn a_child_dies_with_its_launcher() {
    for (level, _) in spawners() {
        let mut launcher = own_process("confinement::launcher")
            .env(PROGRAM, &ORDINARY.1)
            .env(LEVEL, level.to_string())
            .env("VAT_TEST_NAME", "sleep")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(launcher.stdout.take().unwrap()).lines();
        let mut child = None;
        for line in lines.map_while(Result::ok) {
            match line.strip_prefix("started ") {
                Some(pid) => child = Some(PathBuf::from(format!("/proc/{pid}"))),
                None if line == "running" => break,
                None => {}
            }
        }
        let child = child.expect("the launcher says whom it started");
        assert!(child.exists(), "{level}: the child runs");
        launcher.kill().unwrap();
        launcher.wait().unwrap();
        let killed = Instant::now();
        let gone = || {
            let state = std::fs::read_to_string(child.join("stat")).unwrap_or_default();
            state
                .rsplit_once(')')
                .is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
        };
        while !gone() {
            assert!(
                killed.elapsed() < Duration::from_secs(2),
                "{level}: the child lives on"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The same as nobody in particular: namespaces come from a user namespace then.
#[test]
fn an_unprivileged_launcher_confines_as_well() {
    if !rustix::process::geteuid().is_root() {
        println!("not proven: the whole run is unprivileged, there is nothing to compare with");
        return;
    }
    let control = &*CONTROL;
    let directory = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).unwrap();
    let test = directory.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    for level in [Level::L2, Level::L3] {
        for (name, program) in [("hostile", &HOSTILE.1), ("works", &ORDINARY.1)] {
            let copy = directory.path().join(name);
            std::fs::copy(program, &copy).unwrap();
            let output = Command::new(&test)
                .args([
                    "confinement::launcher",
                    "--exact",
                    "--nocapture",
                    "--include-ignored",
                ])
                .env(PROGRAM, &copy)
                .env(LEVEL, level.to_string())
                .env("VAT_TEST_NAME", name)
                .current_dir("/")
                .uid(65534)
                .gid(65534)
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.contains(&format!("level {level}")) {
                println!("not proven: an unprivileged user does not reach {level}:\n{output}");
                continue;
            }
            assert!(
                output.contains("ended Code(0)"),
                "{name} at {level}:\n{output}"
            );
            if name == "hostile" {
                let run = Run {
                    exit: Exit::Code(0),
                    output,
                };
                assert_nothing_allowed(&run, control, &format!("unprivileged {level}"));
            }
        }
    }
}

/// Containers and hardened hosts forbid user namespaces: Landlock and seccomp hold as well.
#[test]
fn without_namespaces_the_level_is_l2_and_holds() {
    let control = &*CONTROL;
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all \
                  \"$0\" confinement::launcher --exact --nocapture --include-ignored";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(PROGRAM, &HOSTILE.1)
        .env(LEVEL, "L3")
        .env("VAT_TEST_NAME", "hostile")
        .output();
    let output = match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => return println!("not proven: cannot forbid namespaces here: {error}"),
    };
    if !output.contains("level ") {
        return println!("not proven: cannot forbid namespaces here: {output}");
    }
    assert!(output.contains("level L2"), "{output}");
    let run = Run {
        exit: Exit::Code(0),
        output,
    };
    assert!(run.output.contains("ended Code(0)"), "{}", run.output);
    assert_nothing_allowed(&run, control, "L2 without namespaces");
}

#[test]
fn the_doctor_says_what_the_spawner_reaches() {
    let report = doctor();
    let spawner = Spawner::start().unwrap();
    assert_eq!(report.level, spawner.host().level);
    assert!(report.level >= Level::L2, "{report:?}");
}
