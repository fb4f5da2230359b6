//! Why a store cannot be used.

use crate::error::Error;

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file.
    #[error("the store is in use by another process")]
    InUse,
    /// The file is a database, but not of a vat.
    #[error("the file is not the durable store of a vat")]
    NotAStore,
    /// It was written by a newer or a broken program.
    #[error(
        "the store has layout {0}, and this program knows layout {known} only: use the version of \
         vat that wrote it, or have that export it and import the text here",
        known = super::tables::LAYOUT
    )]
    Layout(u64),
    /// An object cannot be read.
    #[error("object {0} in the store cannot be read: {1}")]
    Object(u64, String),
    /// The store is being opened again after an error.
    #[error("the store is being opened again after an error")]
    Reopening,
    /// A text that is no export of a store.
    #[error("line {0}: {1}")]
    Text(usize, String),
    /// A text from which objects are missing, or in which something else does not fit.
    #[error("{0}")]
    Incomplete(String),
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What the database says.
    #[error("{0}")]
    Database(Box<redb::Error>),
}

macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                match redb::Error::from(error) {
                    // Its magic number is another one.
                    redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        Self::NotAStore
                    }
                    redb::Error::Io(error) => Self::Io(error),
                    error => Self::Database(Box::new(error)),
                }
            }
        }
    )*};
}

from_redb!(DatabaseError TransactionError TableError StorageError CommitError);

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::internal(
            crate::ErrorKind::Failed,
            error.to_string(),
            "the vat's store cannot be used",
        )
    }
}
