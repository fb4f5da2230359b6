//! `vat doctor`, as far as a test can know what its machine enforces.

use crate::run::Folder;

#[test]
fn the_exit_code_says_whether_programs_can_be_started() {
    let folder = Folder::new();
    let (code, kind, data) = folder.json(&["doctor"]);
    assert_eq!(kind, "doctor");
    let level = data["level"].as_str().unwrap();
    assert_eq!(code == Some(0), level >= "L2", "{code:?} at level {level}");
    let ran = folder.vat(&["doctor"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (code, ""));
    assert!(ran.stdout.lines().next().unwrap().contains(level) || code == Some(1));
    for mechanism in data["mechanisms"].as_array().unwrap() {
        let state = if mechanism["enforced"] == true {
            "yes"
        } else {
            "no"
        };
        let name = mechanism["name"].as_str().unwrap();
        let row = ran.stdout.lines().find(|line| line.contains(name)).unwrap();
        assert!(row.trim_start().starts_with(state), "{row}");
        assert_eq!(row, row.trim_end());
    }
}
