//! Directories and files as capabilities.

use crate::prelude::*;

/// A directory of the host, and every file beneath it.
///
/// A name is a relative path of up to 32 parts (`notes`, `2026/november`), at most 1,024 bytes,
/// without `.` and `..`; the directories in it must be there. Symbolic links are never followed,
/// and only regular files are opened.
///
/// # Ordering
///
/// What is asked of one directory takes place in the order asked.
///
/// # Authority
///
/// Reading, and unless it is a read-only facet creating and appending, beneath this directory.
/// Nothing of the host outside.
#[vat::interface]
pub trait Directory {
    /// Opens a file. With `create`, one that is not there is created empty.
    ///
    /// If the host lets the launcher only read the file, the reference cannot append.
    async fn open(
        this: Near<Self>,
        cx: &Cx,
        name: String,
        #[default(false)] create: bool,
    ) -> Result<FileRef>;

    /// Creates an empty file; fails if there is anything of this name.
    async fn create(this: Near<Self>, cx: &Cx, name: String) -> Result<FileRef>;

    /// The same directory without the rights to create and to append.
    fn read_only(&self, turn: &Turn) -> Result<DirectoryRef>;
}

/// An open file.
///
/// # Ordering
///
/// What is asked of one file takes place in the order asked, by all its holders together: a read
/// sees every append asked for before it.
///
/// # Authority
///
/// Reading, and unless it is a read-only facet appending, this one file, for as long as the
/// reference is held.
#[vat::interface]
pub trait File {
    /// Up to `count` bytes from offset `from` on; fewer only at the end of the file. At most 1 MiB
    /// at once.
    async fn read(
        this: Near<Self>,
        cx: &Cx,
        #[default(0)] from: u64,
        #[default(1048576)] count: u64,
    ) -> Result<Vec<u8>>;

    /// The whole file, if it has at most 1 MiB.
    async fn read_all(this: Near<Self>, cx: &Cx) -> Result<Vec<u8>>;

    /// The whole file as text, if it has at most 1 MiB and is UTF-8.
    async fn read_text(this: Near<Self>, cx: &Cx) -> Result<String>;

    /// Its length in bytes.
    async fn size(this: Near<Self>, cx: &Cx) -> Result<u64>;

    /// Appends all of `data` or nothing, at most 1 MiB, and answers with the offset at which it
    /// begins.
    ///
    /// With `sync` it answers when the data is on disk, otherwise when it is in the file. When the
    /// disk is full the call fails and the file is as it was. After an append that was never
    /// answered, because the machine or the launcher was stopped in the middle of it, the file may
    /// end in a part of its data.
    async fn append(
        this: Near<Self>,
        cx: &Cx,
        data: Vec<u8>,
        #[default(false)] sync: bool,
    ) -> Result<u64>;

    /// The same file without the right to append.
    fn read_only(&self, turn: &Turn) -> Result<FileRef>;
}
