//! Programs: checked, copied into sealed memory once, and executed from there.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::elf;

/// The largest program that is accepted, in bytes: it is held in memory.
const MAX_PROGRAM: u64 = 1 << 30;

/// `MFD_EXEC` (Linux 6.3): the program may be executed although hosts may default to the contrary.
const EXECUTABLE: MemfdFlags = MemfdFlags::from_bits_retain(0x10);

/// What failed when no executable memory is to be had.
const COPYING: &str = "making its sealed copy";

/// A program in sealed memory. Cloning is cheap; all launches execute the same copy.
///
/// What was checked is what runs: the file it was read from may change or go away.
#[derive(Clone)]
pub struct SealedProgram {
    inner: Arc<Inner>,
}

struct Inner {
    memory: File,
    path: PathBuf,
    hash: blake3::Hash,
}

impl SealedProgram {
    /// Reads, checks and seals the program at `path`. Blocks while it reads the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too large, or is not a program that can be started confined:
    /// a static, position-independent ELF executable for this machine. The error says what to do.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let error = |reason| LoadError {
            path: path.to_owned(),
            reason,
        };
        let io = |doing, source| error(Reason::Io { doing, source });
        // A FIFO must not hang us before its type is known.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|source| io("opening it", source))?;
        let metadata = file
            .metadata()
            .map_err(|source| io("reading its metadata", source))?;
        if !metadata.is_file() {
            return Err(error(Reason::Unsuitable(Unsuitable::NotFile)));
        }
        let (memory, hash) = copy(file, path).map_err(|(doing, source)| io(doing, source))?;
        let checked = elf::check(&Memory(&memory));
        checked
            .map_err(|source| io("reading its copy", source))?
            .map_err(|reason| error(Reason::Unsuitable(reason)))?;
        let path = path.to_owned();
        Ok(Self {
            inner: Arc::new(Inner { memory, path, hash }),
        })
    }

    /// The blake3 digest of the program's bytes.
    pub fn hash(&self) -> blake3::Hash {
        self.inner.hash
    }

    /// Where the program was read from.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}

impl AsFd for SealedProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.memory.as_fd()
    }
}

impl std::fmt::Debug for SealedProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedProgram")
            .field("path", &self.inner.path)
            .field("hash", &self.inner.hash.to_hex().as_str())
            .finish()
    }
}

/// Copies into memory and seals it: from here on nobody can change a byte.
fn copy(file: File, path: &Path) -> Result<(File, blake3::Hash), (&'static str, io::Error)> {
    let mut memory = File::from(memfd(path).map_err(|error| (COPYING, error))?);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut file = file.take(MAX_PROGRAM + 1);
    let mut copied = 0;
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| ("reading it", error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        memory.write_all(bytes).map_err(|error| (COPYING, error))?;
        copied += bytes.len() as u64;
        if copied > MAX_PROGRAM {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 GiB");
            return Err(("reading it", error));
        }
    }
    memory.rewind().map_err(|error| (COPYING, error))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals).map_err(|error| ("sealing its copy", error.into()))?;
    Ok((memory, hasher.finalize()))
}

/// Whether this host executes sealed copies at all; it may forbid executable memory files.
pub(super) fn try_memory() -> Result<(), String> {
    match memfd(Path::new("trial")) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error} (see vm.memfd_noexec)")),
    }
}

fn memfd(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let name: Vec<u8> = name
        .iter()
        .copied()
        .filter(|&byte| byte != 0)
        .take(100)
        .collect();
    let name = CString::new(name)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(&name, flags | EXECUTABLE) {
        Err(rustix::io::Errno::INVAL) => Ok(memfd_create(&name, flags)?),
        result => Ok(result?),
    }
}

struct Memory<'a>(&'a File);

impl elf::Source for Memory<'_> {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let Some(at) = offset.checked_add(filled as u64) else {
                break;
            };
            // An offset beyond what a file can have is past the end, not an error.
            match self.0.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// A program that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the program {}", path.display())]
pub struct LoadError {
    /// The program.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub reason: Reason,
}

impl LoadError {
    /// What to do about it, if there is something to do.
    pub fn remedy(&self) -> Option<&'static str> {
        match &self.reason {
            Reason::Unsuitable(reason) => reason.remedy(),
            Reason::Io { doing, source } if *doing == COPYING => {
                let forbidden = source.kind() == io::ErrorKind::PermissionDenied;
                forbidden.then_some("permit executable memory files: sysctl vm.memfd_noexec=1")
            }
            Reason::Io { .. } => None,
        }
    }
}

/// Why a program cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The file could not be read or copied.
    #[error("{doing} failed")]
    Io {
        /// At which point.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file was read, but cannot be started confined.
    #[error(transparent)]
    Unsuitable(Unsuitable),
}

/// Why a file cannot be started as a confined program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// A directory, device, socket or pipe.
    #[error("it is not a regular file")]
    NotFile,
    /// A `#!` file.
    #[error("it is a script: its interpreter would need files that a confined program cannot open")]
    Script,
    /// Some other file.
    #[error("it is not an ELF file")]
    NotElf,
    /// An object file, a core dump.
    #[error("it is an ELF file, but not an executable program")]
    NotProgram,
    /// Another word size, byte order or processor.
    #[error(
        "it is built for another machine than this {} one",
        std::env::consts::ARCH
    )]
    WrongMachine,
    /// It names libraries or a dynamic linker.
    #[error(
        "it is dynamically linked: the libraries are files that a confined program cannot open"
    )]
    Dynamic,
    /// `ET_EXEC`.
    #[error("it is linked to a fixed address (not position-independent)")]
    FixedAddress,
    /// A segment is writable and executable at once.
    #[error("it has a segment that is both writable and executable")]
    WritableCode,
    /// It asks for an executable stack.
    #[error("it asks for an executable stack")]
    ExecutableStack,
    /// A header contradicts itself or the file's size.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl Unsuitable {
    /// What to do about it, if there is something to do.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Dynamic | Self::FixedAddress => Some(
                "build it with `cargo rustc -p <package> --bin <name> -- \
                 -C target-feature=+crt-static`, or name the Cargo package in the manifest \
                 (`cargo = { package = \"…\", bin = \"…\" }`), and vat builds it so",
            ),
            Self::Script => Some("name a program that was compiled"),
            Self::WrongMachine => Some("build it for this machine"),
            Self::WritableCode | Self::ExecutableStack => {
                Some("find the object file that asks for it (`readelf -lW`) and rebuild it")
            }
            Self::NotFile | Self::NotElf | Self::NotProgram | Self::Damaged(_) => None,
        }
    }
}
