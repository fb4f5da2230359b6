//! The system interfaces as `.capnp` files: what is committed under `schema/`.

use std::collections::{BTreeMap, BTreeSet};

use super::text::to_files;
use super::{Describe, Description, Registry};
use crate::data::Data;
use crate::power::{
    ClockRef, DirectoryRef, FileRef, FollowRef, LogReaderRef, LogSinkRef, NetworkRef, ProgramRef,
    SiblingsRef, StoreFileRef, StreamRef, SupervisorRef,
};
use crate::sturdy::RestorerRef;

/// One file: its path as others import it, and what adds its interfaces to a registry.
type File = (&'static str, fn(&mut Registry));

/// Ordered: a type stands in the first file that reaches it.
const FILES: [File; 8] = [
    ("describe.capnp", Describe::enter),
    ("restorer.capnp", |types| enter::<RestorerRef>(types)),
    ("clock.capnp", |types| enter::<ClockRef>(types)),
    ("log.capnp", |types| enter::<LogSinkRef>(types)),
    ("directory.capnp", |types| {
        enter::<DirectoryRef>(types);
        enter::<FileRef>(types);
    }),
    ("supervisor.capnp", |types| {
        enter::<SupervisorRef>(types);
        enter::<LogReaderRef>(types);
        enter::<FollowRef>(types);
    }),
    ("program.capnp", |types| {
        enter::<ProgramRef>(types);
        enter::<SiblingsRef>(types);
        enter::<StreamRef>(types);
        enter::<StoreFileRef>(types);
    }),
    ("dial.capnp", |types| enter::<NetworkRef>(types)),
];

/// The `.capnp` texts of all system interfaces, by file name. They import each other as
/// `/name.capnp`.
pub fn system_files() -> BTreeMap<String, String> {
    let mut places: BTreeMap<String, &str> = BTreeMap::new();
    for (file, add) in FILES {
        let mut types = Registry::default();
        add(&mut types);
        for name in names(&types.into_description(0)) {
            places.entry(name).or_insert(file);
        }
    }
    to_files(&description(), |name| {
        // Every name was entered by one of the files.
        places
            .get(name)
            .copied()
            .unwrap_or("system.capnp")
            .to_owned()
    })
}

/// The system interfaces with all they reach.
pub(super) fn description() -> Description {
    let mut types = Registry::default();
    for (_, add) in FILES {
        add(&mut types);
    }
    types.into_description(0)
}

fn enter<R: Data>(types: &mut Registry) {
    R::describe(types);
}

fn names(description: &Description) -> BTreeSet<String> {
    let interfaces = description.interfaces.iter().map(|one| one.name.clone());
    let structs = description.structs.iter().map(|one| one.name.clone());
    let enums = description.enums.iter().map(|one| one.name.clone());
    interfaces.chain(structs).chain(enums).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;

    fn committed() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema")
    }

    #[test]
    fn the_committed_files_are_current() {
        for (name, text) in system_files() {
            let path = committed().join(&name);
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == text,
                "schema/{name} is not what the Rust types say; if that is meant, write it anew:\n\
                 cargo run -p vat-cli -- schema --all schema"
            );
        }
    }

    #[test]
    fn every_type_has_a_file() {
        assert!(!system_files().contains_key("system.capnp"));
    }

    #[test]
    fn the_compiler_accepts_the_committed_files() {
        let files = system_files();
        let compiled = Command::new("capnp")
            .args(["compile", "-o-", "--import-path", "."])
            .args(files.keys())
            .current_dir(committed())
            .output();
        let Ok(compiled) = compiled else {
            println!("not proven: the capnp compiler is not installed");
            return;
        };
        let stderr = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{stderr}");
    }
}
