//! What is not started at all, and the reason that is given.

use std::io;
use std::path::Path;

use vat::launch::confine::{
    Exit, Launch, Level, Limits, MechanismName, Reason, SealedProgram, SpawnError, Spawner,
    Unsuitable,
};

use super::harness::{ORDINARY, block_on, launch};

#[test]
fn a_start_below_the_required_level_is_refused_with_what_is_missing() {
    let weak = Spawner::start_at_most(Level::L1).unwrap();
    assert_eq!(weak.host().level, Level::L1);
    let none = Spawner::start_at_most(Level::L0).unwrap();
    block_on(async {
        for (spawner, require, allow_weak) in [
            (&weak, Level::L2, false),
            (&weak, Level::L1, false),
            (&weak, Level::L3, true),
            (&none, Level::L0, false),
            (&none, Level::L1, true),
        ] {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "exit", output.into());
            let refused = spawner
                .spawn(Launch {
                    require,
                    allow_weak,
                    ..launch
                })
                .await;
            let Err(SpawnError::BelowRequired {
                required,
                available,
                missing,
            }) = refused
            else {
                panic!("{require} with allow_weak={allow_weak} was not refused: {refused:?}");
            };
            assert_eq!(required, if allow_weak { require } else { Level::L2 });
            assert_eq!(available, spawner.host().level);
            let names: Vec<_> = missing.iter().map(|one| one.name).collect();
            assert!(names.contains(&MechanismName::Namespaces), "{names:?}");
            assert!(names.contains(&MechanismName::LandlockFiles), "{names:?}");
        }
        for (spawner, level) in [(&weak, Level::L1), (&none, Level::L0)] {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "exit", output.into());
            let launch = Launch {
                require: Level::L0,
                allow_weak: true,
                ..launch
            };
            let mut child = spawner.spawn(launch).await.unwrap();
            assert_eq!(child.report().level, level);
            assert_eq!(child.wait().await.unwrap(), Exit::Code(7));
        }
    });
}

#[test]
fn limits_out_of_range_are_refused() {
    let spawner = Spawner::start().unwrap();
    block_on(async {
        for limits in [
            Limits {
                open_files: 4,
                ..Limits::default()
            },
            Limits {
                open_files: 1001,
                ..Limits::default()
            },
            Limits {
                memory: 0,
                ..Limits::default()
            },
            Limits {
                threads: 0,
                ..Limits::default()
            },
        ] {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "exit", output.into());
            let refused = spawner.spawn(Launch { limits, ..launch }).await;
            assert!(
                matches!(refused, Err(SpawnError::Limit { .. })),
                "{limits:?}: {refused:?}"
            );
        }
    });
}

#[test]
fn programs_that_cannot_be_confined_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let refusal = |path: &Path| match SealedProgram::load(path).unwrap_err().reason {
        Reason::Unsuitable(reason) => reason,
        Reason::Io { doing, source } => panic!("{}: {doing}: {source}", path.display()),
    };
    // This test is dynamically linked itself.
    let own = std::env::current_exe().unwrap();
    assert_eq!(refusal(&own), Unsuitable::Dynamic);
    assert!(refusal(&own).remedy().unwrap().contains("crt-static"));
    assert_eq!(
        refusal(&file("script", b"#!/bin/sh\nexit 0\n")),
        Unsuitable::Script
    );
    assert_eq!(refusal(&file("text", b"hello")), Unsuitable::NotElf);
    assert_eq!(refusal(&file("empty", b"")), Unsuitable::NotElf);
    assert_eq!(refusal(directory.path()), Unsuitable::NotFile);
    assert_eq!(refusal(Path::new("/dev/null")), Unsuitable::NotFile);
    assert!(matches!(
        SealedProgram::load(&directory.path().join("missing"))
            .unwrap_err()
            .reason,
        Reason::Io { .. }
    ));

    let good = std::fs::read(&ORDINARY.1).unwrap();
    assert!(SealedProgram::load(&file("good", &good)).is_ok());
    let changed = |offset: usize, bytes: &[u8]| {
        let mut program = good.clone();
        program[offset..offset + bytes.len()].copy_from_slice(bytes);
        refusal(&file("changed", &program))
    };
    assert_eq!(changed(18, &[40, 0]), Unsuitable::WrongMachine);
    assert_eq!(changed(4, &[1]), Unsuitable::WrongMachine);
    assert_eq!(changed(16, &[2, 0]), Unsuitable::FixedAddress);
    assert_eq!(changed(16, &[1, 0]), Unsuitable::NotProgram);
    assert!(matches!(changed(32, &[0xff; 8]), Unsuitable::Damaged(_)));
    assert!(matches!(changed(56, &[0xff; 2]), Unsuitable::Damaged(_)));
    // Cut short anywhere it is an error, never a panic.
    for length in (0..200).chain([good.len() / 2]) {
        let cut = file("cut", &good[..length]);
        let loaded = SealedProgram::load(&cut);
        assert!(
            loaded.is_err() || length > 1000,
            "{length} bytes were accepted"
        );
    }
}
