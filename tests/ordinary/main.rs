//! An ordinary program, to be run confined: what a Rust program takes for granted has to work.
//!
//! Its name (`argv[0]`) says what it does.
#![allow(clippy::print_stdout, reason = "its output is what is tested")]
#![allow(clippy::panic, reason = "panics are among what is tested")]
#![allow(
    clippy::expect_used,
    reason = "a failure is a panic, which its exit code shows"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn main() {
    let name = std::env::args().next().unwrap_or_default();
    match name.as_str() {
        "world" => world(),
        "works" => works(),
        "echo" => echo(),
        "hello" => hello(),
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(7),
        #[cfg(target_arch = "x86_64")]
        "old-calls" => old_calls(),
        "abort" => std::process::abort(),
        "overflow" => println!("{}", overflow(1)),
        "memory" => memory(),
        "descriptors" => descriptors(),
        "sleep" => {
            println!("ready");
            std::thread::sleep(Duration::from_secs(600));
        }
        other => panic!("there is no behaviour {other:?}"),
    }
}

/// Shows what the program was given.
fn world() {
    println!("arguments {:?}", std::env::args_os().collect::<Vec<_>>());
    println!("environment {:?}", std::env::vars_os().collect::<Vec<_>>());
    let open: Vec<i32> = (0..2048).filter(|&number| is_open(number)).collect();
    println!("descriptors {open:?}");
    println!(
        "capabilities {:?}",
        rustix::thread::capabilities(None).map(|sets| sets.effective)
    );
}

#[expect(unsafe_code, reason = "a census of raw numbers")]
fn is_open(number: i32) -> bool {
    // SAFETY: only asked for its flags, and the kernel answers EBADF for a closed number.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(descriptor).is_ok()
}

fn works() {
    let started = Instant::now();
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let name = format!("worker {number}");
            let work = move || (0..10_000_u64).map(|each| each ^ number).sum::<u64>();
            std::thread::Builder::new()
                .name(name)
                .spawn(work)
                .expect("a thread starts")
        })
        .collect();
    for thread in threads {
        thread.join().expect("a thread ends");
    }
    println!("ok threads");

    let map: HashMap<u32, u32> = (0..1000).map(|key| (key, key)).collect();
    assert_eq!(map.len(), 1000);
    println!("ok map");

    std::thread::sleep(Duration::from_millis(5));
    assert!(started.elapsed() >= Duration::from_millis(5));
    assert!(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok()
    );
    println!("ok clocks");

    let mut memory = vec![0_u8; 64 << 20];
    for page in memory.chunks_mut(4096) {
        page.fill(1);
    }
    println!("ok memory {}", memory.len());

    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
    println!("ok unwinding");

    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .expect("a program may hide its memory");
    let status = rustix::fs::fstat(std::io::stdout().as_fd());
    println!("ok fstat {}", status.is_ok());
    let metadata = inherited().map(|_| std::io::stdout().as_fd().try_clone_to_owned());
    let metadata = metadata
        .and_then(|copy| copy.ok())
        .map(|copy| File::from(copy).metadata());
    println!(
        "metadata {:?}",
        metadata
            .and_then(Result::err)
            .and_then(|error| error.raw_os_error())
    );
    let mut random = [0_u8; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .expect("random bytes");
    println!("ok random");
    println!(
        "ok parallelism {}",
        std::thread::available_parallelism().is_ok()
    );
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"x").expect("a pipe takes bytes");
    drop(writer);
    std::io::copy(&mut reader, &mut std::io::sink()).expect("a pipe gives bytes");
    println!("ok pipe");
    assert!(std::process::Command::new("/bin/true").status().is_err());
    assert!(std::env::current_dir().is_err());
    println!("ok clean errors");
}

/// Descriptor 3, if it is open.
#[expect(unsafe_code, reason = "the inherited descriptor has no owner yet")]
fn inherited() -> Option<OwnedFd> {
    if !is_open(3) {
        return None;
    }
    // SAFETY: descriptor 3 is open and is made a value at most once per use, as a copy.
    let descriptor = unsafe { BorrowedFd::borrow_raw(3) };
    descriptor.try_clone_to_owned().ok()
}

/// Says one byte as soon as a runtime runs, and ends when the launcher closes the socket.
fn hello() {
    with_socket(async |socket| {
        socket.write_all(b"!").await.expect("a byte is sent");
        drop(socket.read(&mut [0]).await);
    });
}

/// Answers on descriptor 3 what it is told there.
fn echo() {
    with_socket(async |socket| {
        let mut bytes = [0; 64];
        loop {
            let read = socket.read(&mut bytes).await.expect("bytes");
            let Some(bytes) = bytes.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            tokio::time::sleep(Duration::from_millis(1)).await;
            socket.write_all(bytes).await.expect("an answer");
        }
    });
}

/// Uses descriptor 3 on tokio's current-thread runtime.
fn with_socket(talk: impl AsyncFnOnce(&mut tokio::net::UnixStream)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let socket = inherited().expect("descriptor 3");
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true).expect("non-blocking mode");
        let mut socket = tokio::net::UnixStream::from_std(socket).expect("a stream");
        talk(&mut socket).await;
    });
}

/// Asks for its process id in the 32-bit way.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no other way to make such a call")]
fn old_calls() {
    let mut answer = 20_i32;
    // SAFETY: getpid has no arguments and changes nothing but the register of its answer.
    unsafe {
        std::arch::asm!("int 0x80", inout("eax") answer, options(nostack));
    }
    println!("answered {answer}");
}

fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    if depth == u64::MAX {
        0
    } else {
        overflow(depth + 1) + frame.iter().sum::<u64>()
    }
}

/// Takes more memory than it may.
fn memory() {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 16 << 20]));
        println!("{} MiB", all.len() * 16);
    }
}

/// Tries to give a descriptor to the launcher.
fn descriptors() {
    let socket = inherited().expect("descriptor 3");
    let output = std::io::stdout();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let given = [output.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&given)));
    let sent = sendmsg(
        &socket,
        &[IoSlice::new(b"x")],
        &mut ancillary,
        SendFlags::empty(),
    );
    println!("sent {sent:?}");
}
