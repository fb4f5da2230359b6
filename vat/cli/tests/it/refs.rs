//! `vat ref`: the keyring of petnames, and petnames where a reference is named.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use vat::sturdy::{Identity, Seed, SturdyRef, SwissNumber, reference_file};

use crate::run::{Folder, Ran, assert_text};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn reference(number: u8) -> SturdyRef {
    let vat = Identity::from_seed(&Seed::from_bytes([1; 32])).id();
    let address = NOWHERE.parse().unwrap();
    SturdyRef::new(vat, SwissNumber::from_bytes([number; 16]), [address]).unwrap()
}

/// A folder with the reference files `1.cap` and `2.cap`.
fn folder() -> Folder {
    let folder = Folder::new();
    for number in [1, 2] {
        let path = folder.path(&format!("{number}.cap"));
        reference_file::write(path, &reference(number)).unwrap();
    }
    folder
}

fn code(folder: &Folder, arguments: &[&str]) -> Option<i32> {
    folder.vat(arguments).code
}

/// Nothing that was printed is the secret.
fn assert_secret(ran: &Ran) {
    let swiss = reference(1).swiss().to_text_with_secret();
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!all.contains(swiss.as_str()), "{all}");
}

#[test]
fn a_saved_reference_is_listed_and_shown_without_its_secret() {
    let folder = folder();
    let saved = folder.vat(&["ref", "save", "home", "1.cap"]);
    assert_eq!((saved.code, saved.stderr.as_str()), (Some(0), ""));
    let vat = reference(1).vat().to_string();
    let lead = format!("a reference to vat {}… at {NOWHERE}", &vat[..8]);
    assert_eq!(saved.stdout, format!("@home is {lead}\n"));

    let listed = folder.vat(&["ref", "list"]);
    let row: Vec<_> = listed
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..3], ["@home", &format!("{}…", &vat[..8]), NOWHERE]);
    let shown = folder.vat(&["ref", "show", "@home"]);
    assert!(shown.stdout.contains(&vat), "{}", shown.stdout);
    for ran in [saved, listed, shown] {
        assert_secret(&ran);
    }

    let (code, kind, data) = folder.json(&["ref", "list"]);
    assert_eq!((code, kind.as_str()), (Some(0), "ref_list"));
    let entry = &data["references"][0];
    assert_eq!(
        (&entry["name"], &entry["vat_id"]),
        (&"home".into(), &vat.into())
    );
    assert_eq!(entry["addresses"][0], NOWHERE);
    assert!(entry["saved"].as_str().unwrap().starts_with("20"));
    assert!(entry.get("uri").is_none() && data["references"].as_array().unwrap().len() == 1);
}

#[test]
fn the_secret_is_shown_with_reveal_only_and_can_be_saved_again() {
    let folder = folder();
    assert_eq!(code(&folder, &["ref", "save", "home", "1.cap"]), Some(0));
    let (_, _, data) = folder.json(&["ref", "show", "home"]);
    assert!(data.get("uri").is_none(), "{data}");
    let (_, _, data) = folder.json(&["ref", "show", "home", "--reveal"]);
    let uri = reference(1).to_uri_with_secret();
    assert_eq!(data["uri"], uri.as_str());
    let revealed = folder.vat(&["ref", "show", "home", "--reveal"]).stdout;
    assert_eq!(revealed.strip_suffix('\n'), Some(uri.as_str()));

    let mut saving = Command::new(env!("CARGO_BIN_EXE_vat"))
        .args(["ref", "save", "again", "-"])
        .env_clear()
        .env("XDG_STATE_HOME", folder.path("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    saving
        .stdin
        .take()
        .unwrap()
        .write_all(revealed.as_bytes())
        .unwrap();
    assert!(saving.wait().unwrap().success());
    let saved = Command::new(env!("CARGO_BIN_EXE_vat"))
        .args(["ref", "save", "third", "fd:0"])
        .env_clear()
        .env("XDG_STATE_HOME", folder.path("state"))
        .stdin(File::open(folder.path("1.cap")).unwrap())
        .status()
        .unwrap();
    assert!(saved.success());
    for name in ["again", "third"] {
        let kept = folder.path(&format!("state/vat/keyring.d/{name}.cap"));
        assert_eq!(reference_file::read(kept).unwrap(), reference(1));
    }
}

#[test]
fn a_petname_is_taken_wherever_a_reference_is_named() {
    let folder = folder();
    assert_eq!(code(&folder, &["ref", "save", "home", "1.cap"]), Some(0));
    for arguments in [
        &["describe", "@home"][..],
        &["schema", "@home"],
        &["call", "@home", "sign", "text=hello"],
    ] {
        let ran = folder.vat(arguments);
        assert_eq!(ran.code, Some(6), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: @home: "), "{}", ran.stderr);
        assert_secret(&ran);
    }
    let copied = folder.vat(&["ref", "save", "second", "@home"]);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    let kept = folder.path("state/vat/keyring.d/second.cap");
    assert_eq!(reference_file::read(kept).unwrap(), reference(1));
}

#[test]
fn an_unknown_petname_is_exit_4_and_a_bad_one_exit_2() {
    let folder = folder();
    assert_text(
        &folder.vat(&["describe", "@home"]).stderr,
        "error: there is no petname @home\n\
         hint: none is kept yet; `vat ref save home file.cap` keeps one",
    );
    assert_eq!(
        code(&folder, &["ref", "save", "guestbook", "1.cap"]),
        Some(0)
    );
    for arguments in [
        &["describe", "@guestbok"][..],
        &["call", "@guestbok", "sign"],
        &["ref", "show", "guestbok"],
        &["ref", "rename", "guestbok", "b"],
        &["ref", "forget", "guestbok", "--yes"],
        &["ref", "save", "b", "@guestbok"],
    ] {
        let ran = folder.vat(arguments);
        assert_eq!(ran.code, Some(4), "{arguments:?}: {}", ran.stderr);
        let hint = "hint: did you mean @guestbook?";
        assert!(ran.stderr.contains(hint), "{arguments:?}: {}", ran.stderr);
    }
    for arguments in [
        &["describe", "@../../1"][..],
        &["ref", "save", "../up", "1.cap"],
        &["ref", "save", ".hidden", "1.cap"],
    ] {
        assert_eq!(code(&folder, arguments), Some(2), "{arguments:?}");
    }
    let swapped = folder.vat(&["ref", "save", "1.cap", "home"]);
    let hint = "the name comes first: `vat ref save home 1.cap`";
    assert!(swapped.stderr.contains(hint), "{}", swapped.stderr);
}

#[test]
fn nothing_is_overwritten_or_forgotten_without_a_word() {
    let folder = folder();
    assert_eq!(code(&folder, &["ref", "save", "home", "1.cap"]), Some(0));
    assert_eq!(
        code(&folder, &["ref", "save", "home", "1.cap"]),
        Some(0),
        "the same"
    );
    let taken = folder.vat(&["ref", "save", "home", "2.cap"]);
    assert_text(
        &taken.stderr,
        "error: @home stands for something already\n\
         hint: choose another name, or replace it with --force\n\
         hint: `vat ref show home` shows what it is",
    );
    assert_eq!(taken.code, Some(1));
    assert_eq!(code(&folder, &["ref", "save", "other", "2.cap"]), Some(0));
    assert_eq!(code(&folder, &["ref", "rename", "other", "home"]), Some(1));
    let kept = |name| reference_file::read(folder.path(&format!("state/vat/keyring.d/{name}.cap")));
    assert_eq!(kept("home").unwrap(), reference(1));
    assert_eq!(
        code(&folder, &["ref", "rename", "other", "home", "--force"]),
        Some(0)
    );
    assert_eq!(kept("home").unwrap(), reference(2));
    assert!(kept("other").is_err());

    let asked = folder.vat(&["ref", "forget", "home"]);
    assert_eq!(asked.code, Some(2));
    assert!(
        asked.stderr.contains("vat ref forget home --yes"),
        "{}",
        asked.stderr
    );
    assert!(
        asked.stderr.contains("only somebody else"),
        "{}",
        asked.stderr
    );
    assert!(kept("home").is_ok());
    assert_eq!(code(&folder, &["ref", "save", "copy", "@home"]), Some(0));
    let asked = folder.vat(&["ref", "forget", "home"]);
    assert!(
        asked.stderr.contains("@copy stands for the same"),
        "{}",
        asked.stderr
    );
    assert_eq!(code(&folder, &["ref", "forget", "home", "--yes"]), Some(0));
    assert!(kept("home").is_err() && kept("copy").is_ok());
}

#[test]
fn what_others_can_reach_is_not_used() {
    let folder = folder();
    assert_eq!(code(&folder, &["ref", "save", "home", "1.cap"]), Some(0));
    let open = |name: &str, mode| {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("state/vat/keyring.d/home.cap", 0o640);
    let ran = folder.vat(&["describe", "@home"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("`chmod 600 "), "{}", ran.stderr);
    let listed = folder.vat(&["ref", "list"]);
    assert!(listed.stdout.contains("unusable"), "{}", listed.stdout);
    let (_, _, data) = folder.json(&["ref", "list"]);
    let problem = data["references"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("0640"), "{problem}");
    open("state/vat/keyring.d/home.cap", 0o600);
    open("state/vat/keyring.d", 0o755);
    let ran = folder.vat(&["describe", "@home"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("`chmod 700 "), "{}", ran.stderr);
}

#[test]
fn an_empty_keyring_is_an_empty_answer() {
    let folder = Folder::new();
    let ran = folder.vat(&["ref", "list"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.stderr.contains("vat ref save"), "{}", ran.stderr);
    let (_, _, data) = folder.json(&["ref", "list"]);
    assert_eq!(data["references"], serde_json::json!([]));
    assert!(
        !folder.path("state").exists(),
        "looking leaves nothing behind"
    );
}
