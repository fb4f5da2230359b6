//! Reading and following the log's files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Record;
use super::files::{numbers, path};

/// A place in a log from which reading goes on, also while the log is written.
///
/// Lines that are not records, such as the torn end of a launcher that was killed, are left out.
/// Reading uses the file system directly: call it where blocking is allowed.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    /// The present file; 0 before there is any.
    number: u64,
    /// After the last complete line that was read.
    offset: u64,
}

impl LogReader {
    /// A reader at the beginning of what is kept.
    #[must_use]
    pub fn oldest(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            number: 0,
            offset: 0,
        }
    }

    /// The last `count` records that `wanted` accepts, oldest first, and a reader that continues
    /// after them.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be read.
    pub fn last(
        dir: &Path,
        count: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> io::Result<(Vec<Record>, Self)> {
        let mut reader = Self::oldest(dir);
        let mut last = VecDeque::new();
        reader.each(|line| {
            if let Some(record) = Record::from_line(line).filter(&wanted) {
                if last.len() == count {
                    last.pop_front();
                }
                last.push_back(record);
                last.truncate(count);
            }
        })?;
        Ok((last.into(), reader))
    }

    /// The records written since the last call, oldest first.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        self.each(|line| records.extend(Record::from_line(line)))?;
        Ok(records)
    }

    /// Goes through all complete lines from here on.
    fn each(&mut self, mut line: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            // Looked for before the present file is read to its end: a file that has a successor
            // does not grow any more.
            let next = self.next_number()?;
            self.rest_of_file(&mut line)?;
            match next {
                Some(next) => (self.number, self.offset) = (next, 0),
                None => return Ok(()),
            }
        }
    }

    fn next_number(&self) -> io::Result<Option<u64>> {
        match numbers(&self.dir) {
            Ok(numbers) => Ok(numbers.into_iter().find(|number| *number > self.number)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rest_of_file(&mut self, line: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = match File::open(path(&self.dir, self.number)) {
            Ok(file) => file,
            // Not begun yet, or removed as too old meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let (mut pending, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        loop {
            let count = match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            pending.extend_from_slice(chunk.get(..count).unwrap_or_default());
            let whole = pending
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let rest = pending.split_off(whole);
            pending
                .split_inclusive(|byte| *byte == b'\n')
                .for_each(&mut *line);
            self.offset += whole as u64;
            pending = rest;
        }
    }
}

const CHUNK: usize = 64 * 1024;
