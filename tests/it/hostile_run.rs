//! A hostile program under `vat run`: everything it tries is refused, and it got nothing to begin
//! with.

use crate::harness::{Ensemble, texts, workspace};

/// A manifest for a program of this package that is granted nothing.
fn manifest(ensemble: &Ensemble, bin: &str, more: &str) -> String {
    let path = ensemble.path(&format!("{bin}.vat.toml"));
    let text = format!(
        "manifest = 1\n[vat]\nname = \"{bin}\"\n[program]\n\
         cargo = {{ folder = {:?}, package = \"vat-tests\", bin = \"{bin}\" }}\n{more}",
        workspace()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_hostile_program_under_vat_run_is_refused_everything() {
    let ensemble = Ensemble::new();
    let output = ensemble.run(&["run", &manifest(&ensemble, "hostile", "")]);
    let (stdout, stderr) = texts(&output);
    let allowed: Vec<&str> = stdout
        .lines()
        .filter(|line| line.starts_with("ALLOWED"))
        .collect();
    assert_eq!(allowed, [""; 0], "{stdout}{stderr}");
    let refused = stdout
        .lines()
        .filter(|line| line.starts_with("refused"))
        .count();
    assert!(refused >= 30, "only {refused} probes ran\n{stdout}{stderr}");
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
}

#[test]
fn a_program_that_cuts_its_connection_and_runs_on_is_ended() {
    let ensemble = Ensemble::new();
    let more = "[supervisor]\nintensity = { restarts = 0, within = \"60s\" }\n";
    let stderr = ensemble.fails(12, &["up", &manifest(&ensemble, "deserter", more)]);
    assert!(
        stderr.contains("it cut its connection to the launcher"),
        "{stderr}"
    );
}
