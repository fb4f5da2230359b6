//! Files beneath granted directories: the operations behind the `Directory` and `File` powers.
//!
//! A confined program never holds a directory's descriptor, since `openat` on it leads anywhere
//! (see the kernel's own limits in the launcher's confinement). It holds references to objects of
//! the launcher, and those call what is here. [`Files::ambient_dir`] is the only way in; from there
//! on every name is resolved by the kernel with `openat2` and `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
//! | RESOLVE_NO_MAGICLINKS`, in one step that no concurrent rename can split. That is why this uses
//! the system call itself and not a library that walks the path: there is nothing to race with, and
//! a kernel that has Landlock, which the launcher requires anyway, has `openat2` as well.
//!
//! # Names
//!
//! A name is a relative path of up to 32 components (`notes`, `2026/november`), UTF-8, at most
//! 1,024 bytes, without `.` and `..`, empty components and control characters. Parents must exist.
//!
//! # What is beneath
//!
//! - Symbolic links are not followed, wherever they lead, nor are they opened themselves.
//! - Only regular files are opened; directories, FIFOs, sockets and devices are refused.
//! - A hard link is the file: what else names it, also outside the directory, does not matter.
//!   Only the host can make one, there is no operation for it. The same goes for mount points.
//! - A directory stays granted when the host renames it, since it is held open.
//!
//! # Order
//!
//! What is asked of one directory runs in the order asked, and what is asked of one file too, even
//! through several opened files and several granted directories. A read sees every append asked
//! for before it.
//!
//! # Appends, and what a kill leaves behind
//!
//! An append is all or nothing: if the disk is full or a write fails in the middle, the file is cut
//! back to the length it had, byte for byte. It reports success when the data is in the file, and
//! with [`Durability::Synced`] when it is on disk. This assumes that only this process appends to
//! the file.
//!
//! If the launcher is killed, or the machine stops, in the middle of an append that has not been
//! answered, the file may end in a part of its data; after a power failure also in zeros, where the
//! file system does not order data before length. Nothing before it changes. So a reader of records
//! must not take an incomplete last record for a record, and a writer that continues such a file
//! must separate its first record from that rest. Answered appends with `Synced` are never torn.

mod append;
mod dir;
mod error;
mod file;
mod grant;
mod name;
mod open;
#[cfg(test)]
mod tests;

pub use append::Durability;
pub(super) use append::{OnDisk, Tail};
pub use dir::{Dir, Files};
pub use error::{FsError, Pending};
pub use file::File;
pub use grant::{FsLimits, Rights};
pub use name::BadName;
