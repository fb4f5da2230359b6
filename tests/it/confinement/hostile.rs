//! A hostile program is refused whatever it can do unconfined, with every set of mechanisms.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::LazyLock;

use vat::launch::confine::{Exit, Launch, Level, Spawner};

use super::harness::{
    HOSTILE, LAUNCHER, LEVEL, NAME, ORDINARY, PROGRAM, Run, block_on, finish, launch, run, spawners,
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
                .args([LAUNCHER, "--exact", "--nocapture", "--include-ignored"])
                .env(PROGRAM, &copy)
                .env(LEVEL, level.to_string())
                .env(NAME, name)
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
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all \
         \"$0\" {LAUNCHER} --exact --nocapture --include-ignored"
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(PROGRAM, &HOSTILE.1)
        .env(LEVEL, "L3")
        .env(NAME, "hostile")
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
