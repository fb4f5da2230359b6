//! What the macros say to mistakes: for each file of `tests/ui`, the compiler's errors are those in
//! the `.stderr` file beside it, one line each with its place.
//!
//! After a deliberate change, `UI_BLESS=1 cargo test -p vat --test ui` writes these files anew.
//!
//! The compiler is called directly, with the library that this test itself is linked to: a harness
//! that builds a package for the cases builds every dependency again, which takes longer than all
//! other tests together.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever blesses says so in the environment"
)]
fn mistakes_are_shown_where_they_are() {
    let library = Library::find();
    let mut failures = Vec::new();
    let cases = cases(Path::new("tests/ui"));
    assert!(!cases.is_empty());
    for case in &cases {
        let said = library.compile(case);
        let expected = case.with_extension("stderr");
        if std::env::var_os("UI_BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            failures.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(
        failures.is_empty(),
        "the compiler says something else:\n{}",
        failures.join("\n")
    );
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases.extend(self::cases(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            cases.push(path);
        }
    }
    cases.sort();
    cases
}

/// The library under test as the compiler has left it.
struct Library {
    path: PathBuf,
    dependencies: PathBuf,
}

impl Library {
    /// The newest `libvat` beside this test: Cargo has just made sure that the one which the test
    /// needs is up to date, and no newer one is from older sources.
    fn find() -> Self {
        let test = std::env::current_exe().unwrap();
        let dependencies = test.parent().unwrap().to_owned();
        let is_library = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libvat-") && name.ends_with(".rlib")
        };
        let path = std::fs::read_dir(&dependencies)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(is_library)
            .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
            .unwrap();
        Self { path, dependencies }
    }

    /// The errors, of which there has to be one at least.
    fn compile(&self, case: &Path) -> String {
        let output = Command::new("rustc")
            .args([
                "--edition=2024",
                "--crate-name=case",
                "--emit=metadata",
                "--out-dir",
            ])
            .arg(env!("CARGO_TARGET_TMPDIR"))
            .args(["--error-format=short", "--color=never", "-Adead_code"])
            .arg("-L")
            .arg(format!("dependency={}", self.dependencies.display()))
            .arg("--extern")
            .arg(format!("vat={}", self.path.display()))
            .arg(case)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success(),
            "{} compiles:\n{said}",
            case.display()
        );
        said
    }
}
