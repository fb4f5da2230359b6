//! What an ordinary program finds, and what is told of its end.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use vat::launch::confine::{Exit, Level};

use super::harness::{ORDINARY, block_on, launch, run, spawners};

#[test]
fn a_program_is_given_its_name_and_four_descriptors_and_nothing_else() {
    // These must not get through.
    let _stray = File::open("/etc/passwd").unwrap();
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &ORDINARY.0, "world"));
        let expected = [
            "arguments [\"world\"]",
            "environment []",
            "descriptors [0, 1, 2, 3]",
            "capabilities",
        ];
        let lines = run.lines();
        assert_eq!(lines.len(), expected.len(), "{level}: {}", run.output);
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.starts_with(expected),
                "{level}: {line:?} is not {expected:?}"
            );
        }
    }
}

#[test]
fn what_a_rust_program_takes_for_granted_works() {
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &ORDINARY.0, "works"));
        assert_eq!(run.exit, Exit::Code(0), "{level}: {}", run.output);
        for line in [
            "ok threads",
            "ok map",
            "ok clocks",
            "ok unwinding",
            "ok fstat true",
        ] {
            assert!(
                run.lines().contains(&line),
                "{level}: {line:?} is not in {}",
                run.output
            );
        }
        assert!(
            run.output.contains("ok clean errors"),
            "{level}: {}",
            run.output
        );
    }
}

#[test]
fn tokio_serves_the_inherited_socket() {
    for (level, spawner) in spawners() {
        block_on(async {
            let (_log, output) = io::pipe().unwrap();
            let launch = launch(&ORDINARY.0, "echo", output.into());
            let mut child = spawner.spawn(launch).await.unwrap();
            let mut socket = UnixStream::from(child.take_socket().unwrap());
            for word in [b"first", b"later"] {
                socket.write_all(word).unwrap();
                let mut answer = [0; 5];
                socket.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, word, "{level}");
            }
            drop(socket);
            assert_eq!(child.wait().await.unwrap(), Exit::Code(0), "{level}");
            assert_eq!(
                child.wait().await.unwrap(),
                Exit::Code(0),
                "{level}: asked again"
            );
        });
    }
}

#[test]
fn the_end_of_a_program_is_told_as_it_was() {
    for (level, spawner) in spawners() {
        let end = |name| block_on(run(&spawner, &ORDINARY.0, name));
        assert_eq!(end("exit").exit, Exit::Code(7), "{level}");
        let panicked = end("panic");
        assert_eq!(panicked.exit, Exit::Code(101), "{level}");
        assert!(
            panicked.output.contains("as asked"),
            "{level}: {}",
            panicked.output
        );
        // Process 1 of a namespace cannot send itself SIGABRT: the fallback of `abort` ends it.
        let abort = if level == Level::L3 {
            libc::SIGSEGV
        } else {
            libc::SIGABRT
        };
        assert_eq!(end("abort").exit, Exit::Signal(abort), "{level}");
        assert!(matches!(end("overflow").exit, Exit::Signal(_)), "{level}");
        let memory = end("memory");
        assert!(
            matches!(memory.exit, Exit::Signal(_)),
            "{level}: {:?}",
            memory.exit
        );
        assert!(
            memory.output.contains("960 MiB"),
            "{level}: {}",
            memory.output
        );
        assert!(
            !memory.output.contains("1024 MiB"),
            "{level}: {}",
            memory.output
        );
    }
}

/// The filter knows one kind of calls; the kernel offers another to every program.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_another_word_size_end_the_program() {
    for (level, spawner) in spawners() {
        let run = block_on(run(&spawner, &ORDINARY.0, "old-calls"));
        assert!(
            matches!(run.exit, Exit::Signal(_)),
            "{level}: {:?} {}",
            run.exit,
            run.output
        );
    }
}
