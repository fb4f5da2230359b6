//! The programs, built for confinement; starts of them, and launchers in processes of their own.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use vat::launch::confine::{Child, Exit, Launch, Level, Limits, SealedProgram, Spawner};

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

pub(super) static HOSTILE: LazyLock<(SealedProgram, PathBuf)> = LazyLock::new(|| build("hostile"));
pub(super) static ORDINARY: LazyLock<(SealedProgram, PathBuf)> =
    LazyLock::new(|| build("ordinary"));

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(super) fn launch(program: &SealedProgram, name: &str, output: OwnedFd) -> Launch {
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
pub(super) struct Run {
    pub(super) exit: Exit,
    pub(super) output: String,
}

impl Run {
    pub(super) fn lines(&self) -> Vec<&str> {
        self.output.lines().collect()
    }
}

pub(super) async fn run(spawner: &Spawner, program: &SealedProgram, name: &str) -> Run {
    let (log, output) = io::pipe().unwrap();
    let mut child = spawner
        .spawn(launch(program, name, output.into()))
        .await
        .unwrap();
    finish(&mut child, log).await
}

pub(super) async fn finish(child: &mut Child, mut log: io::PipeReader) -> Run {
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
pub(super) fn spawners() -> Vec<(Level, Spawner)> {
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

const OWN_PROCESS: &str = "VAT_TEST_OWN_PROCESS";
pub(super) const PROGRAM: &str = "VAT_TEST_PROGRAM";
pub(super) const LEVEL: &str = "VAT_TEST_LEVEL";
pub(super) const NAME: &str = "VAT_TEST_NAME";

/// The test that is a launcher process.
pub(super) const LAUNCHER: &str = "confinement::harness::launcher";

pub(super) fn ordinary_path() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| ORDINARY.1.clone(), PathBuf::from)
}

/// Runs a test alone in a process of its own. In that process the answer is true; in the calling
/// one, which has waited for it to pass, false.
pub(super) fn in_own_process(test: &str) -> bool {
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

pub(super) fn own_process(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(OWN_PROCESS, "1");
    command
}

/// Not a test of its own: the launcher process of other tests. It starts what the environment
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
        let name = std::env::var(NAME).unwrap();
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
