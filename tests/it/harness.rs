//! An ensemble of a test's own: directories, the `vat` command, reference files; and after every
//! test the search for secrets where none may be.

use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

/// The checkout.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The `vat` command, built once for the whole test run.
pub(crate) fn vat_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-q", "-p", "vat-cli", "--bin", "vat"])
            .current_dir(workspace())
            .status()
            .unwrap();
        assert!(built.success(), "the vat command does not build");
        target_dir().join("vat")
    })
}

/// Where this test binary's profile puts its programs.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().into()
}

/// The Python that has pycapnp: the one `.ci/run` installs, or the ambient one.
pub(crate) fn python() -> PathBuf {
    let own = workspace().join("target/python/bin/python3");
    if own.exists() { own } else { "python3".into() }
}

/// Directories of its own for one ensemble; what it started ends with it.
pub(crate) struct Ensemble {
    pub(crate) dir: tempfile::TempDir,
    /// The name of the ensemble that runs, or may.
    started: Option<&'static str>,
}

impl Ensemble {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["state", "run", "refs", "data"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, started: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a guestbook manifest of this ensemble's own, with `more` appended.
    pub(crate) fn guestbook_manifest(&self, more: &str) -> PathBuf {
        let text =
            std::fs::read_to_string(workspace().join("examples/guestbook/guestbook.vat.toml"))
                .unwrap()
                .replace(
                    "cargo = {",
                    &format!("cargo = {{ folder = {:?},", workspace()),
                )
                .replace("\"./data\"", &format!("{:?}", self.path("data")));
        let path = self.path("guestbook.vat.toml");
        std::fs::write(&path, text + more).unwrap();
        path
    }

    /// The `vat` command with this ensemble's places.
    pub(crate) fn vat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(vat_binary());
        command
            .args(arguments)
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .current_dir(self.path("refs"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a `vat` command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.vat(arguments).output().unwrap()
    }

    /// Runs a `vat` command that must succeed; gives its stdout.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = texts(&output);
        assert!(
            output.status.success(),
            "vat {arguments:?}: {}\n{stdout}{stderr}",
            output.status
        );
        stdout
    }

    /// Runs a `vat` command that must end with `code`; gives its stderr.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "vat {arguments:?}\n{stdout}{stderr}"
        );
        stderr
    }

    /// `vat up -d` of a guestbook; its reference file is `refs/guestbook.cap`.
    pub(crate) fn up(&mut self) -> PathBuf {
        let manifest = self.guestbook_manifest("");
        self.started("guestbook");
        self.ok(&["up", "-d", manifest.to_str().unwrap()]);
        self.path("refs/guestbook.cap")
    }

    /// From now on an ensemble of this name may run.
    pub(crate) fn started(&mut self, name: &'static str) {
        self.started = Some(name);
    }

    /// The guestbook's process id, or 0 while there is none.
    pub(crate) fn pid(&self) -> i32 {
        let status = self.json(&["ps", "--json"]);
        let pid = &status["children"][0]["pid"];
        i32::try_from(pid.as_i64().unwrap()).unwrap()
    }

    /// Runs a `vat` command that must succeed and prints one JSON envelope.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.ok(arguments);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("vat {arguments:?} printed no JSON: {error}\n{text}");
        });
        assert_eq!(value["vat"], "v1", "{value}");
        value
    }

    /// Every swiss number in this ensemble's reference files.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        let run = format!("run/vat/{}", self.started.unwrap_or("guestbook"));
        for dir in ["refs", run.as_str()] {
            let Ok(entries) = self.path(dir).read_dir() else {
                continue;
            };
            for entry in entries
                .flatten()
                .filter(|e| e.path().extension() == Some("cap".as_ref()))
            {
                let uri = std::fs::read_to_string(entry.path()).unwrap();
                let path = uri.trim().split('?').next().unwrap();
                secrets.push(path.rsplit('/').next().unwrap().to_owned());
            }
        }
        secrets
    }

    /// No swiss number stands in a log or state file, in an argument or in an environment.
    pub(crate) fn assert_no_secret_leaked(&self) {
        let secrets = self.secrets();
        let mut places: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        collect_files(&self.path("state"), &mut places);
        collect_files(&self.path("data"), &mut places);
        for process in Path::new("/proc").read_dir().unwrap().flatten() {
            for file in ["cmdline", "environ"] {
                let path = process.path().join(file);
                if let Ok(bytes) = std::fs::read(&path) {
                    places.push((path, bytes));
                }
            }
        }
        for secret in &secrets {
            for (path, bytes) in &places {
                let found = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "a swiss number stands in {}", path.display());
            }
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        let Some(name) = self.started else { return };
        if !std::thread::panicking() {
            self.assert_no_secret_leaked();
        } else {
            let mut log = Vec::new();
            collect_files(&self.path(&format!("state/vat/{name}/log")), &mut log);
            for (path, bytes) in log {
                let text = String::from_utf8_lossy(&bytes);
                drop(writeln!(std::io::stderr(), "{}:\n{text}", path.display()));
            }
        }
        drop(self.run(&["down", name, "--yes"]));
    }
}

fn collect_files(dir: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_files(&path, into);
        } else if let Ok(bytes) = std::fs::read(&path) {
            into.push((path, bytes));
        }
    }
}

/// Stdout and stderr as text.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a test on a runtime of its own, with a minute for it.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(Duration::from_secs(60), test);
}

/// The same with another limit.
pub(crate) fn run_within(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { tokio::time::timeout(limit, test).await };
    LocalSet::new().block_on(&runtime, limited).unwrap();
}

/// Waits until `condition` gives something, at most 20 s.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited 20 s in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
