//! Reading and following the log's files.

use std::fs::{self, File};
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
    /// after them. Of very long records there may be fewer: their lines together have at most
    /// 4 MiB.
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
        let mut last = Vec::new();
        let mut room = MAX_LAST;
        for number in existing(dir)?.into_iter().rev() {
            let content = match fs::read(path(dir, number)) {
                Ok(content) => content,
                // Removed as too old meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (whole, _) = complete(&content);
            if reader.number == 0 {
                (reader.number, reader.offset) = (number, whole.len() as u64);
            }
            for line in whole
                .rsplit(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                if last.len() == count || line.len() > room {
                    break;
                }
                if let Some(record) = Record::from_line(line).filter(&wanted) {
                    room -= line.len();
                    last.push(record);
                }
            }
            if last.len() == count {
                break;
            }
        }
        last.reverse();
        Ok((last, reader))
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
        let numbers = existing(&self.dir)?;
        Ok(numbers.into_iter().find(|number| *number > self.number))
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
            let (whole, rest) = complete(&pending);
            whole
                .split_inclusive(|byte| *byte == b'\n')
                .for_each(&mut *line);
            self.offset += whole.len() as u64;
            pending = rest.to_vec();
        }
    }
}

/// The numbers of the files that are there; none if the directory is not.
fn existing(dir: &Path) -> io::Result<Vec<u64>> {
    match numbers(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        numbers => numbers,
    }
}

/// The complete lines, and what follows the last line feed.
fn complete(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.split_at(end.map_or(0, |at| at + 1))
}

/// Bytes of the lines that [`LogReader::last`] gives.
const MAX_LAST: usize = 4 << 20;
const CHUNK: usize = 64 * 1024;
