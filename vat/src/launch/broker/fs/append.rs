//! Appending all or nothing.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::error::{FsError, describe};

/// When an append reports success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the data is in the file: it survives the end of every process, not a power failure.
    #[default]
    Written,
    /// When the data is on disk.
    Synced,
}

/// What is remembered about a file between appends, by all its holders together.
#[derive(Debug, Default)]
pub(in crate::launch::broker) struct Tail {
    /// Cutting the file back failed; it should end here.
    torn_at: Option<u64>,
    /// A sync failed. The kernel reports a lost write once and then forgets it, so that a later
    /// sync which succeeds proves nothing.
    sync_failed: bool,
}

/// What an append does to the file. Real files do it with system calls, tests may let it fail.
pub(in crate::launch::broker) trait Target {
    fn length(&self) -> Result<u64, Errno>;
    fn write(&self, data: &[u8]) -> Result<usize, Errno>;
    fn cut(&self, length: u64) -> Result<(), Errno>;
    fn sync(&self) -> Result<(), Errno>;
}

impl Tail {
    /// Appends all of `data` and answers with the file's new length, or leaves the file as it was.
    pub(in crate::launch::broker) fn append(
        &mut self,
        file: &impl Target,
        data: &[u8],
        durability: Durability,
    ) -> Result<u64, FsError> {
        if durability == Durability::Synced && self.sync_failed {
            return Err(FsError::SyncFailedBefore);
        }
        if let Some(length) = self.torn_at {
            file.cut(length)
                .map_err(|errno| FsError::Torn(describe(errno)))?;
            self.torn_at = None;
        }
        let before = file.length()?;
        if let Err(errno) = write_all(file, data) {
            self.cut_back(file, before, errno)?;
            return Err(errno.into());
        }
        if durability == Durability::Synced
            && let Err(errno) = file.sync()
        {
            self.sync_failed = true;
            self.cut_back(file, before, errno)?;
            return Err(FsError::NotSynced(describe(errno)));
        }
        Ok(before + data.len() as u64)
    }

    /// How long the file is for its readers: a torn end does not count.
    pub(in crate::launch::broker) fn visible(&self, length: u64) -> u64 {
        self.torn_at.map_or(length, |torn| length.min(torn))
    }

    fn cut_back(&mut self, file: &impl Target, length: u64, cause: Errno) -> Result<(), FsError> {
        file.cut(length).map_err(|_| {
            self.torn_at = Some(length);
            FsError::Torn(describe(cause))
        })
    }
}

fn write_all(file: &impl Target, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match file.write(data) {
            // Regular files do not do this; taken for a full disk rather than tried for ever.
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => data = data.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A real file, opened for appending.
pub(in crate::launch::broker) struct OnDisk<'fd>(BorrowedFd<'fd>);

impl<'fd> OnDisk<'fd> {
    pub(in crate::launch::broker) fn new(file: &'fd impl AsFd) -> Self {
        Self(file.as_fd())
    }
}

impl Target for OnDisk<'_> {
    fn length(&self) -> Result<u64, Errno> {
        let size = rustix::fs::fstat(self.0)?.st_size;
        u64::try_from(size).map_err(|_| Errno::OVERFLOW)
    }

    fn write(&self, data: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(self.0, data)
    }

    fn cut(&self, length: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(self.0, length)
    }

    fn sync(&self) -> Result<(), Errno> {
        rustix::fs::fdatasync(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use proptest::prelude::*;

    use super::*;

    /// A file in memory that fails when told to.
    #[derive(Default)]
    struct Faulty {
        content: RefCell<Vec<u8>>,
        /// How many bytes fit; `None` is no limit.
        room: Cell<Option<usize>>,
        /// The most that one write takes.
        at_once: Cell<Option<usize>>,
        fail_cut: Cell<bool>,
        fail_sync: Cell<bool>,
        syncs: Cell<u32>,
    }

    impl Target for Faulty {
        fn length(&self) -> Result<u64, Errno> {
            Ok(self.content.borrow().len() as u64)
        }

        fn write(&self, data: &[u8]) -> Result<usize, Errno> {
            let mut content = self.content.borrow_mut();
            let room = self
                .room
                .get()
                .map_or(usize::MAX, |room| room - content.len().min(room));
            let count = data
                .len()
                .min(room)
                .min(self.at_once.get().unwrap_or(usize::MAX));
            if count == 0 {
                return Err(Errno::NOSPC);
            }
            content.extend_from_slice(&data[..count]);
            Ok(count)
        }

        fn cut(&self, length: u64) -> Result<(), Errno> {
            if self.fail_cut.get() {
                return Err(Errno::IO);
            }
            self.content
                .borrow_mut()
                .truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn sync(&self) -> Result<(), Errno> {
            self.syncs.set(self.syncs.get() + 1);
            if self.fail_sync.get() {
                Err(Errno::IO)
            } else {
                Ok(())
            }
        }
    }

    fn content(file: &Faulty) -> Vec<u8> {
        file.content.borrow().clone()
    }

    #[test]
    fn a_full_disk_in_the_middle_leaves_the_file_as_it_was() {
        let (file, mut tail) = (Faulty::default(), Tail::default());
        assert_eq!(tail.append(&file, b"first\n", Durability::Written), Ok(6));
        file.room.set(Some(10));
        let full = tail.append(&file, b"second\n", Durability::Written);
        assert!(matches!(full, Err(FsError::Full(_))), "{full:?}");
        assert_eq!(content(&file), b"first\n");
        assert_eq!(tail.append(&file, b"two\n", Durability::Written), Ok(10));
        assert_eq!(content(&file), b"first\ntwo\n");
    }

    #[test]
    fn short_writes_are_continued() {
        let (file, mut tail) = (Faulty::default(), Tail::default());
        file.at_once.set(Some(1));
        assert_eq!(tail.append(&file, b"abc", Durability::Synced), Ok(3));
        assert_eq!(
            (content(&file).as_slice(), file.syncs.get()),
            (&b"abc"[..], 1)
        );
    }

    #[test]
    fn a_failed_sync_is_no_success_then_or_later() {
        let (file, mut tail) = (Faulty::default(), Tail::default());
        tail.append(&file, b"a", Durability::Synced).unwrap();
        file.fail_sync.set(true);
        let failed = tail.append(&file, b"b", Durability::Synced);
        assert!(matches!(failed, Err(FsError::NotSynced(_))), "{failed:?}");
        assert_eq!(content(&file), b"a");
        file.fail_sync.set(false);
        let later = tail.append(&file, b"b", Durability::Synced);
        assert_eq!(later, Err(FsError::SyncFailedBefore));
        assert_eq!(tail.append(&file, b"b", Durability::Written), Ok(2));
    }

    #[test]
    fn a_torn_tail_is_told_and_cut_before_the_next_append() {
        let (file, mut tail) = (Faulty::default(), Tail::default());
        tail.append(&file, b"one\n", Durability::Written).unwrap();
        file.room.set(Some(6));
        file.fail_cut.set(true);
        let torn = tail.append(&file, b"two\n", Durability::Written);
        assert!(matches!(torn, Err(FsError::Torn(_))), "{torn:?}");
        file.room.set(None);
        let still = tail.append(&file, b"three\n", Durability::Written);
        assert!(matches!(still, Err(FsError::Torn(_))), "{still:?}");
        assert_eq!(tail.visible(file.length().unwrap()), 4);
        file.fail_cut.set(false);
        assert_eq!(tail.append(&file, b"three\n", Durability::Written), Ok(10));
        assert_eq!(content(&file), b"one\nthree\n");
    }

    proptest! {
        #[test]
        fn whatever_fails_the_file_is_the_sum_of_successful_appends(
            steps in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..20), 0usize..60, 1usize..8, any::<bool>(),
                 prop::bool::weighted(0.2), prop::bool::weighted(0.2)),
                0..40,
            ),
        ) {
            let (file, mut tail) = (Faulty::default(), Tail::default());
            let mut model: Vec<u8> = Vec::new();
            for (data, room, at_once, sync, fail_sync, fail_cut) in steps {
                file.room.set(Some(room));
                file.at_once.set(Some(at_once));
                file.fail_sync.set(fail_sync);
                file.fail_cut.set(fail_cut);
                let durability = if sync { Durability::Synced } else { Durability::Written };
                if let Ok(length) = tail.append(&file, &data, durability) {
                    model.extend_from_slice(&data);
                    prop_assert_eq!(length, model.len() as u64);
                }
                let visible = tail.visible(file.length().unwrap());
                prop_assert_eq!(&content(&file)[..usize::try_from(visible).unwrap()], &model);
            }
        }
    }
}
