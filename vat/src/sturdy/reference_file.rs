//! Reference files: one URI in a file that only its owner can read, the usual way to hand one over.
//!
//! Reading and writing use the file system with the authority of the process and block: they are
//! for the launcher, the command line and programs that are not confined.

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use zeroize::Zeroizing;

use super::{SturdyRef, UriError, random};

/// Reads the reference in the file at `path`: one URI, and at most a line break after it.
///
/// The file must be a regular file itself, not a symbolic link to one, belong to the user that the
/// process runs as, and be closed to everybody else (mode 0600 or less).
///
/// # Authority
///
/// Opens a path with the ambient authority of the process, and gives what the file's owner may call.
///
/// # Errors
///
/// [`ReferenceFileError`] says which file, what is wrong with it and what to do. It repeats nothing
/// of the content.
pub fn read(path: impl AsRef<Path>) -> Result<SturdyRef, ReferenceFileError> {
    let path = path.as_ref();
    read_problem(path).map_err(|problem| ReferenceFileError {
        path: path.into(),
        problem,
    })
}

/// Writes `sturdy_ref` to the file at `path`, with mode 0600.
///
/// The file appears, or replaces the one that was there, complete and at once, and stays after a
/// crash of the machine. A symbolic link at `path` is replaced, not followed.
///
/// # Authority
///
/// Creates a file with the ambient authority of the process.
///
/// # Errors
///
/// [`ReferenceFileError`]; what was at `path` before is unchanged then.
pub fn write(path: impl AsRef<Path>, sturdy_ref: &SturdyRef) -> Result<(), ReferenceFileError> {
    let path = path.as_ref();
    write_problem(path, sturdy_ref).map_err(|problem| ReferenceFileError {
        path: path.into(),
        problem,
    })
}

/// A reference file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the reference file {} cannot be used: {problem}{}", path.display(), Remedy { path, problem })]
pub struct ReferenceFileError {
    path: PathBuf,
    problem: ReferenceFileProblem,
}

impl ReferenceFileError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &ReferenceFileProblem {
        &self.problem
    }
}

/// What is wrong with a reference file.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum ReferenceFileProblem {
    /// The mode lets other users read or write it.
    #[error("others can read or write it (its mode is {mode:04o})")]
    OpenToOthers {
        /// The permission bits of the file.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("it belongs to another user ({owner}) than the one who runs this ({user})")]
    NotOurs {
        /// Number of the user to whom the file belongs.
        owner: u32,
        /// Number of the user that the process runs as.
        user: u32,
    },
    /// The path names a symbolic link.
    #[error("it is a symbolic link, and those are not followed")]
    SymbolicLink,
    /// The path names a directory, a pipe, a device or a socket.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is longer than any reference.
    #[error(
        "it is longer than a reference can be ({} bytes)",
        SturdyRef::MAX_URI_LEN
    )]
    TooLarge,
    /// It is empty: most likely it was never written completely.
    #[error("it is empty")]
    Empty,
    /// The content is not a reference.
    #[error("its content is not a reference: {0}")]
    Content(UriError),
    /// The operating system refused.
    #[error("{0}")]
    Io(io::Error),
}

impl From<rustix::io::Errno> for ReferenceFileProblem {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// What to do about a problem, for the end of the message.
struct Remedy<'a> {
    path: &'a Path,
    problem: &'a ReferenceFileProblem,
}

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ReferenceFileProblem as Problem;
        match self.problem {
            Problem::OpenToOthers { .. } => {
                // If others could write it, it may name something else by now: look first.
                write!(f, "; run `chmod 600 {}`", ShellWord(self.path))?;
                f.write_str(", and have the reference revoked if others may have seen it")
            }
            Problem::NotOurs { .. } => {
                f.write_str("; copy it with `install -m 600`, if you trust that user")
            }
            Problem::SymbolicLink => f.write_str("; name the file that it points to"),
            Problem::Empty | Problem::Content(_) | Problem::TooLarge => {
                f.write_str("; ask whoever gave it to you for a new one")
            }
            Problem::NotAFile | Problem::Io(_) => Ok(()),
        }
    }
}

/// A path as one word of a shell command.
struct ShellWord<'a>(&'a Path);

impl fmt::Display for ShellWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./+,:@%".contains(byte);
        let text = self.0.to_string_lossy();
        let dashes = if text.starts_with('-') { "./" } else { "" };
        if text.bytes().all(|byte| is_plain(&byte)) {
            write!(f, "{dashes}{text}")
        } else {
            write!(f, "'{dashes}{}'", text.replace('\'', r"'\''"))
        }
    }
}

fn read_problem(path: &Path) -> Result<SturdyRef, ReferenceFileProblem> {
    // NONBLOCK: opening a pipe that somebody put there must not wait for a writer.
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::LOOP => ReferenceFileProblem::SymbolicLink,
        rustix::io::Errno::NXIO => ReferenceFileProblem::NotAFile,
        _ => errno.into(),
    })?;
    // Checked on the open file, so that it cannot be exchanged after the check.
    check(&fs::fstat(&file)?)?;

    let content = read_limited(&file)?;
    let text =
        str::from_utf8(&content).map_err(|_| ReferenceFileProblem::Content(UriError::Character))?;
    let uri = text.strip_suffix('\n').unwrap_or(text);
    if uri.is_empty() {
        return Err(ReferenceFileProblem::Empty);
    }
    SturdyRef::parse(uri).map_err(ReferenceFileProblem::Content)
}

fn check(stat: &Stat) -> Result<(), ReferenceFileProblem> {
    let user = rustix::process::geteuid().as_raw();
    let mode = Mode::from_raw_mode(stat.st_mode);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReferenceFileProblem::NotAFile);
    }
    if stat.st_uid != user {
        return Err(ReferenceFileProblem::NotOurs {
            owner: stat.st_uid,
            user,
        });
    }
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        return Err(ReferenceFileProblem::OpenToOthers {
            mode: mode.as_raw_mode() & 0o7777,
        });
    }
    Ok(())
}

/// Reads all of a file that must not be longer than a URI and a line break.
fn read_limited(file: &OwnedFd) -> Result<Zeroizing<Vec<u8>>, ReferenceFileProblem> {
    const MAX: usize = SturdyRef::MAX_URI_LEN + 1;
    let mut content = Zeroizing::new(vec![0; MAX + 1]);
    let mut length = 0;
    while let Some(rest) = content.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *rest))? {
            0 => {
                content.truncate(length);
                return Ok(content);
            }
            count => length += count,
        }
    }
    Err(ReferenceFileProblem::TooLarge)
}

fn write_problem(path: &Path, sturdy_ref: &SturdyRef) -> Result<(), ReferenceFileProblem> {
    let name = path.file_name().ok_or(ReferenceFileProblem::NotAFile)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::openat(CWD, directory, flags, Mode::empty())?;

    let temporary = temporary_name(name).map_err(ReferenceFileProblem::Io)?;
    let written = write_new(&directory, &temporary, sturdy_ref)
        .and_then(|()| Ok(fs::renameat(&directory, &temporary, &directory, name)?));
    if let Err(problem) = written {
        // Nothing is left behind; if even that fails, the first problem is the one to tell.
        let _ = fs::unlinkat(&directory, &temporary, AtFlags::empty());
        return Err(problem);
    }
    fs::fsync(&directory)?;
    Ok(())
}

fn write_new(
    directory: &OwnedFd,
    name: &OsStr,
    sturdy_ref: &SturdyRef,
) -> Result<(), ReferenceFileProblem> {
    let owner_only = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(directory, name, flags, owner_only)?;
    // The umask may have taken bits away, and a default access list may have added some.
    fs::fchmod(&file, owner_only)?;

    let uri = sturdy_ref.to_uri_with_secret();
    write_all(&file, uri.as_bytes())?;
    write_all(&file, b"\n")?;
    Ok(fs::fsync(&file)?)
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), ReferenceFileProblem> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(&file, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// A hidden name beside `name` that nobody guesses.
fn temporary_name(name: &OsStr) -> io::Result<OsString> {
    let mut random = [0; 8];
    random::fill(&mut random)?;
    // Cut, as a file name has at most 255 bytes.
    let stem = name
        .as_bytes()
        .get(..200)
        .unwrap_or_else(|| name.as_bytes());
    let mut temporary = OsString::from(".");
    temporary.push(OsStr::from_bytes(stem));
    temporary.push(format!(".{:016x}.tmp", u64::from_le_bytes(random)));
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use std::{
        fs as stdfs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;
    use crate::sturdy::{Identity, Seed, SwissNumber};

    fn example() -> SturdyRef {
        let vat = Identity::from_seed(&Seed::from_bytes([1; 32])).id();
        SturdyRef::new(vat, SwissNumber::from_bytes([5; 16]), []).unwrap()
    }

    fn with_content(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.cap");
        stdfs::write(&path, content).unwrap();
        stdfs::set_permissions(&path, stdfs::Permissions::from_mode(0o600)).unwrap();
        (directory, path)
    }

    fn problem(path: &Path) -> ReferenceFileProblem {
        read(path).unwrap_err().problem
    }

    #[test]
    fn a_written_file_reads_back_and_is_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guestbook.cap");
        for _ in 0..2 {
            write(&path, &example()).unwrap();
            assert_eq!(read(&path).unwrap(), example());
            assert_eq!(
                stdfs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                0o600
            );
        }
        let names: Vec<_> = stdfs::read_dir(&directory).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left: {names:?}");
    }

    #[test]
    fn a_symbolic_link_is_replaced_by_writing_and_refused_by_reading() {
        let (directory, target) = with_content(b"untouched");
        let link = directory.path().join("link.cap");
        symlink(&target, &link).unwrap();
        assert!(matches!(problem(&link), ReferenceFileProblem::SymbolicLink));
        write(&link, &example()).unwrap();
        assert_eq!(stdfs::read(&target).unwrap(), b"untouched");
        assert_eq!(read(&link).unwrap(), example());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let (_directory, path) = with_content(example().to_uri_with_secret().as_bytes());
        for mode in [0o604, 0o640, 0o644, 0o602, 0o660, 0o601, 0o666] {
            stdfs::set_permissions(&path, stdfs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            let ReferenceFileProblem::OpenToOthers { mode: found } = error.problem else {
                panic!("{error}")
            };
            assert_eq!(found, mode);
            let text = error.to_string();
            assert!(
                text.contains(&format!("(its mode is {mode:04o})")),
                "{text}"
            );
            assert!(
                text.contains(&format!("`chmod 600 {}`", path.display())),
                "{text}"
            );
        }
        for mode in [0o600, 0o400] {
            stdfs::set_permissions(&path, stdfs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap(), example());
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let (_directory, path) = with_content(example().to_uri_with_secret().as_bytes());
        let other = Some(fs::Uid::from_raw(4242));
        if fs::chown(&path, other, None).is_err() {
            return; // Only root can give a file away.
        }
        assert!(matches!(
            problem(&path),
            ReferenceFileProblem::NotOurs { owner: 4242, .. }
        ));
    }

    #[test]
    fn things_that_are_no_files_are_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            problem(directory.path()),
            ReferenceFileProblem::NotAFile
        ));
        let pipe = directory.path().join("pipe.cap");
        fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(matches!(problem(&pipe), ReferenceFileProblem::NotAFile));
        let socket = directory.path().join("socket.cap");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(problem(&socket), ReferenceFileProblem::NotAFile));
        let missing = read(directory.path().join("missing.cap")).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
        assert!(matches!(
            problem(Path::new("/dev/null")),
            ReferenceFileProblem::NotAFile
        ));
    }

    #[test]
    fn content_that_is_not_one_uri_is_refused() {
        let uri = example().to_uri_with_secret();
        let two = format!("{}\n{}\n", *uri, *uri);
        let long = "a".repeat(2050);
        for content in ["", "\n"] {
            let (_directory, path) = with_content(content.as_bytes());
            assert!(matches!(problem(&path), ReferenceFileProblem::Empty));
        }
        for content in [
            two.as_str(),
            &format!("{}\n\n", *uri),
            &format!("# a\n{}", *uri),
            "a",
        ] {
            let (_directory, path) = with_content(content.as_bytes());
            assert!(matches!(problem(&path), ReferenceFileProblem::Content(_)));
        }
        let (_directory, path) = with_content(long.as_bytes());
        assert!(matches!(problem(&path), ReferenceFileProblem::TooLarge));
        let (_directory, path) = with_content(&[0xff, 0xfe]);
        assert!(matches!(
            problem(&path),
            ReferenceFileProblem::Content(UriError::Character)
        ));
    }

    #[test]
    fn errors_never_repeat_the_content() {
        let uri = example().to_uri_with_secret();
        let swiss = example().swiss().to_text_with_secret();
        let (_directory, path) = with_content(format!("{}!", *uri).as_bytes());
        let error = read(&path).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(&swiss[..6]), "{shown}");
        }
    }

    #[test]
    fn a_failed_write_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken.cap");
        stdfs::create_dir(&taken).unwrap();
        assert!(write(&taken, &example()).is_err());
        assert!(write(directory.path().join("no/such/a.cap"), &example()).is_err());
        let names: Vec<_> = stdfs::read_dir(&directory).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn remedies_can_be_pasted_into_a_shell() {
        let word = |path: &str| ShellWord(Path::new(path)).to_string();
        assert_eq!(word("a/b.cap"), "a/b.cap");
        assert_eq!(word("it's mine.cap"), r"'it'\''s mine.cap'");
        assert_eq!(word("-rf"), "./-rf");
    }
}
