//! The printed text against the official compiler: for types made up at random and for derived
//! ones, what it computes has to be what the description says.

mod request;
mod types;

use std::process::Command;

use super::text::{file_of_package, to_files, to_text};
use super::{Description, Registry, system};
use crate::data::Record;
use request::Request;

/// What the compiler makes of the files; `None` if there is no compiler.
fn compile(files: &[(&str, &str)]) -> Option<Request> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let compiled = Command::new("capnp")
        .args(["compile", "-o-", "-I."])
        .args(files.iter().map(|(name, _)| name))
        .current_dir(folder.path())
        .env("PWD", folder.path())
        .output();
    let output = match compiled {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return skip(),
        compiled => compiled.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{errors}\n{}",
        numbered(files)
    );
    Some(Request::new(&output.stdout))
}

fn skip() -> Option<Request> {
    eprintln!("skipped: there is no `capnp` compiler on this machine");
    None
}

fn numbered(files: &[(&str, &str)]) -> String {
    let mut listing = String::new();
    for (name, text) in files {
        for (line, number) in text.lines().zip(1..) {
            listing += &format!("{name}:{number}: {line}\n");
        }
    }
    listing
}

fn agrees(description: &Description, files: &[(&str, &str)]) {
    if let Some(request) = compile(files) {
        let differences = request.differences(description);
        assert!(
            differences.is_empty(),
            "{}\n{}",
            differences.join("\n"),
            numbered(files)
        );
    }
}

#[test]
fn random_types_are_what_the_compiler_makes_of_their_text() {
    for seed in 0..60 {
        let description = types::made_up(seed);
        let text = to_text(&description, "made_up.capnp");
        agrees(&description, &[("made_up.capnp", &text)]);
    }
}

#[test]
fn random_types_in_several_files_find_each_other() {
    for seed in 100..110 {
        let description = types::made_up(seed);
        let files = to_files(&description, file_of_package);
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        assert!(files.len() > 1);
        agrees(&description, &files);
    }
}

#[test]
fn derived_types_are_what_the_compiler_makes_of_their_text() {
    let mut types = Registry::default();
    types.record::<derived::Album>();
    let description = types.into_description(derived::Album::ID);
    let text = to_text(&description, "album.capnp");
    agrees(&description, &[("album.capnp", &text)]);
}

#[test]
fn the_system_interfaces_are_what_the_compiler_makes_of_their_files() {
    let files = system::system_files();
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    agrees(&system::description(), &files);
}

#[test]
fn a_wrong_offset_is_noticed() {
    let mut description = types::made_up(1);
    let text = to_text(&description, "made_up.capnp");
    let Some(request) = compile(&[("made_up.capnp", &text)]) else {
        return;
    };
    assert!(request.differences(&description).is_empty());
    let field = description
        .structs
        .iter_mut()
        .flat_map(|one| &mut one.fields)
        .next()
        .unwrap();
    field.offset += 1;
    assert_eq!(request.differences(&description).len(), 1);
}

mod derived {
    use std::collections::BTreeMap;

    use crate::core::Ref;

    #[derive(Clone, Debug, crate::Data)]
    #[data(reserved(3: u16))]
    pub(super) struct Album {
        title: String,
        tracks: Vec<Track>,
        #[data(default = 2000)]
        year: u16,
        mood: Mood,
        /// By place.
        ratings: BTreeMap<String, f32>,
        moods: BTreeMap<Mood, Option<Mood>>,
        cover: Option<Cover>,
        previous: Option<Box<Self>>,
        digest: [u8; 32],
        flags: Vec<bool>,
        nothing: Vec<()>,
        player: Ref,
        others: Vec<Ref>,
        maybe: Vec<Option<String>>,
        number: Option<u64>,
        nested: Vec<Vec<Vec<u8>>>,
    }

    #[derive(Clone, Debug, crate::Data)]
    pub(super) struct Track {
        number: u8,
        r#type: Mood,
        seconds: f64,
        #[data(default = -0.25)]
        gain: f32,
        #[data(default = Mood::VeryLoud)]
        loudness: Mood,
        #[data(default = u64::MAX)]
        plays: u64,
        #[data(default = i64::MIN)]
        least: i64,
        #[data(default = f64::INFINITY)]
        limit: f64,
        #[data(default = f64::NAN)]
        unknown: f64,
        #[data(default = f32::NAN)]
        unheard: f32,
        #[data(default = -0.0)]
        below: f64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, crate::Data)]
    #[data(reserved(1: ()))]
    pub(super) enum Mood {
        Calm,
        VeryLoud,
        X1Ray,
    }

    #[derive(Clone, Debug, crate::Data)]
    pub(super) enum Cover {
        #[data(n = 2)]
        Plain,
        #[data(n = 4)]
        Colour(u32),
        Picture {
            #[data(n = 0)]
            width: u8,
            #[data(n = 3)]
            height: u64,
            #[data(n = 6)]
            pixels: Vec<u8>,
            #[data(n = 7)]
            depth: Option<u8>,
        },
        Text(#[data(n = 1)] String, #[data(n = 5)] bool),
    }
}
