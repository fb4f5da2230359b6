//! The numbered files of a log directory.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::launch::broker::fs::{Durability, FsError, OnDisk, Tail};

/// The path of one file.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.jsonl"))
}

/// The numbers of the files that are there, oldest first.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The file that is written now, and the removal of those that are too old.
#[derive(Debug)]
pub(super) struct LogFiles {
    dir: PathBuf,
    number: u64,
    file: OwnedFd,
    length: u64,
    tail: Tail,
    max_length: u64,
    keep: u64,
}

impl LogFiles {
    /// Continues the newest file of the directory, which is made if it is not there.
    pub(super) fn open(dir: &Path, max_length: u64, keep: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let number = numbers(dir)?.last().copied().unwrap_or(1);
        let file = open(dir, number)?;
        let mut files = Self {
            dir: dir.to_owned(),
            number,
            file,
            length: 0,
            tail: Tail::default(),
            max_length,
            keep: keep.max(1),
        };
        files.length = files.length_on_disk()?;
        // A launcher that was killed may have left a part of a line.
        if files.length > 0 && !ends_with_line_feed(&path(dir, number))? {
            files.append(b"\n").map_err(io::Error::other)?;
        }
        Ok(files)
    }

    /// Writes whole lines, all of them or none.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), FsError> {
        if self.length > 0 && self.length.saturating_add(lines.len() as u64) > self.max_length {
            self.begin_next();
        }
        self.append(lines)
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), FsError> {
        let file = OnDisk::new(&self.file);
        self.length = self.tail.append(&file, lines, Durability::Written)?;
        Ok(())
    }

    /// Begins a new file and removes the oldest. If the new file cannot be made, the present one
    /// grows.
    fn begin_next(&mut self) {
        let Some(next) = self.number.checked_add(1) else {
            return;
        };
        let Ok(file) = open(&self.dir, next) else {
            return;
        };
        (self.number, self.file, self.length, self.tail) = (next, file, 0, Tail::default());
        let Ok(numbers) = numbers(&self.dir) else {
            return;
        };
        for number in numbers
            .into_iter()
            .filter(|number| number + self.keep <= next)
        {
            // One that cannot be removed now is tried again next time.
            fs::remove_file(path(&self.dir, number)).unwrap_or_default();
        }
    }

    fn length_on_disk(&self) -> io::Result<u64> {
        let size = rustix::fs::fstat(&self.file)?.st_size;
        u64::try_from(size).map_err(io::Error::other)
    }
}

fn open(dir: &Path, number: u64) -> io::Result<OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(
        path(dir, number),
        flags,
        Mode::RUSR | Mode::WUSR,
    )?)
}

fn ends_with_line_feed(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
