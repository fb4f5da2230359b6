//! Starts and ends: many at once, cut short, with the launcher; and what they leave behind.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use vat::launch::confine::{Exit, Level, MechanismName, SealedProgram, Spawner, doctor};

use super::harness::{
    LAUNCHER, LEVEL, NAME, ORDINARY, PROGRAM, block_on, finish, in_own_process, launch,
    ordinary_path, own_process, run, spawners,
};

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
    if !in_own_process("confinement::starts::a_start_that_nobody_waits_for_is_undone") {
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
fn a_child_dies_with_its_launcher() {
    for (level, _) in spawners() {
        let mut launcher = own_process(LAUNCHER)
            .env(PROGRAM, &ORDINARY.1)
            .env(LEVEL, level.to_string())
            .env(NAME, "sleep")
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
    if !in_own_process("confinement::starts::launches_leave_nothing_behind") {
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

#[test]
fn the_doctor_says_what_the_spawner_reaches() {
    let report = doctor();
    let spawner = Spawner::start().unwrap();
    assert_eq!(report.level, spawner.host().level);
    assert!(report.level >= Level::L2, "{report:?}");
}
