//! The objects behind `Directory` and `File` references.

use super::fs::{Dir, Durability, File, FsError};
use crate::power::{self, Directory, DirectoryRef, FileRef};
use crate::prelude::*;

/// A reference to a granted directory, for a program's slot.
///
/// # Authority
///
/// Its holder has what [`Dir::rights`] says, beneath this directory, until the last reference is
/// gone.
pub fn directory(turn: &Turn, dir: Dir) -> DirectoryRef {
    DirectoryRef::new(turn, GrantedDirectory { dir })
}

#[derive(vat::Object)]
#[object(external)]
struct GrantedDirectory {
    dir: Dir,
}

impl Directory for GrantedDirectory {
    async fn open(this: Near<Self>, cx: &Cx, name: String, create: bool) -> Result<FileRef> {
        let opening = this.read(cx, |granted| match create {
            true => granted.dir.create(&name),
            false => granted.dir.open(&name),
        })?;
        Ok(file(cx, opening.await?))
    }

    async fn create(this: Near<Self>, cx: &Cx, name: String) -> Result<FileRef> {
        let creating = this.read(cx, |granted| granted.dir.create_new(&name))?;
        Ok(file(cx, creating.await?))
    }

    fn read_only(&self, turn: &Turn) -> Result<DirectoryRef> {
        Ok(directory(turn, self.dir.read_only()))
    }
}

fn file(turn: &Turn, file: File) -> FileRef {
    FileRef::new(turn, GrantedFile { file })
}

#[derive(vat::Object)]
#[object(external)]
struct GrantedFile {
    file: File,
}

impl power::File for GrantedFile {
    async fn read(this: Near<Self>, cx: &Cx, from: u64, count: u64) -> Result<Vec<u8>> {
        let reading = this.read(cx, |granted| granted.file.read(from, count))?;
        Ok(reading.await?)
    }

    async fn read_all(this: Near<Self>, cx: &Cx) -> Result<Vec<u8>> {
        let reading = this.read(cx, |granted| granted.file.read_all())?;
        Ok(reading.await?)
    }

    async fn read_text(this: Near<Self>, cx: &Cx) -> Result<String> {
        let reading = this.read(cx, |granted| granted.file.read_all())?;
        String::from_utf8(reading.await?).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::failed(format!(
                "the file is not UTF-8 text: byte {at} does not belong there"
            ))
        })
    }

    async fn size(this: Near<Self>, cx: &Cx) -> Result<u64> {
        let asking = this.read(cx, |granted| granted.file.size())?;
        Ok(asking.await?)
    }

    async fn append(this: Near<Self>, cx: &Cx, data: Vec<u8>, sync: bool) -> Result<u64> {
        let durability = if sync {
            Durability::Synced
        } else {
            Durability::Written
        };
        let appending = this.read(cx, |granted| granted.file.append(data, durability))?;
        Ok(appending.await?)
    }

    fn read_only(&self, turn: &Turn) -> Result<FileRef> {
        Ok(file(turn, self.file.read_only()))
    }
}

/// Holders in the launcher's own vat can take the [`FsError`] back.
impl From<FsError> for Error {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Overloaded(_) => Self::overloaded(error.to_string()),
            error => Self::of(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::super::fs::{Files, FsLimits, Rights};
    use super::super::tests::{Far, block_on};
    use super::super::{WorkerLimits, Workers};
    use super::*;
    use crate::error::ErrorKind;

    fn grant(path: &Path) -> Dir {
        let files = Files::new(Workers::start(WorkerLimits::default()).unwrap());
        files
            .ambient_dir(path, Rights::READ_WRITE, FsLimits::default())
            .unwrap()
    }

    /// A directory as a program in another vat has it.
    fn far(path: &Path) -> (Far, DirectoryRef) {
        let far = Far::new(|turn| directory(turn, grant(path)).into());
        let granted = DirectoryRef::from(far.granted());
        (far, granted)
    }

    #[test]
    fn a_file_is_opened_appended_to_and_read_from_another_vat() {
        block_on(async {
            let host = TempDir::new().unwrap();
            let (_far, home) = far(host.path());
            let file = home.open("book", true);
            let first = file.append(b"one\n".to_vec(), true);
            let second = file.append(b"two\n".to_vec(), false);
            let all = file.read_all();
            assert_eq!(first.await.unwrap(), 0);
            assert_eq!(second.await.unwrap(), 4);
            assert_eq!(all.await.unwrap(), b"one\ntwo\n");
            assert_eq!(file.read_text().await.unwrap(), "one\ntwo\n");
            assert_eq!(file.read(4, 3).await.unwrap(), b"two");
            assert_eq!(file.size().await.unwrap(), 8);
            assert_eq!(fs::read(host.path().join("book")).unwrap(), b"one\ntwo\n");
        });
    }

    #[test]
    fn calls_on_a_file_that_is_not_there_break_with_the_reason() {
        block_on(async {
            let host = TempDir::new().unwrap();
            let (_far, home) = far(host.path());
            let error = home.open("missing", false).size().await.unwrap_err();
            assert_eq!(error.to_string(), "there is no file of this name");
            let error = home.open("../up", true).size().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "the name cannot be used: it has a part `.` or `..`"
            );
            let created = home.create("new");
            assert_eq!(created.size().await.unwrap(), 0);
            let again = home.create("new").size().await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Failed);
            assert_eq!(again.to_string(), "there is already something of this name");
        });
    }

    #[test]
    fn read_only_facets_change_nothing() {
        block_on(async {
            let host = TempDir::new().unwrap();
            let (_far, home) = far(host.path());
            home.open("f", true)
                .append(b"x".to_vec(), false)
                .await
                .unwrap();
            let reader = home.read_only();
            let refused = "this reference does not allow to write";
            for file in [reader.open("f", false), home.open("f", false).read_only()] {
                assert_eq!(file.read_all().await.unwrap(), b"x");
                let error = file.append(b"y".to_vec(), false).await.unwrap_err();
                assert_eq!(error.to_string(), refused);
            }
            for file in [reader.open("g", true), reader.create("g")] {
                assert_eq!(file.size().await.unwrap_err().to_string(), refused);
            }
            assert!(!host.path().join("g").exists());
        });
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_that_says_where() {
        block_on(async {
            let host = TempDir::new().unwrap();
            fs::write(host.path().join("f"), b"ab\xff").unwrap();
            let (_far, home) = far(host.path());
            let error = home.open("f", false).read_text().await.unwrap_err();
            assert!(error.to_string().contains("byte 2"), "{error}");
        });
    }

    #[test]
    fn a_dropped_reference_closes_its_file() {
        block_on(async {
            let host = TempDir::new().unwrap();
            let dir = grant(host.path());
            let granted = dir.clone();
            let far = Far::new(move |turn| directory(turn, granted).into());
            let home = DirectoryRef::from(far.granted());
            let files: Vec<_> = (0..5).map(|n| home.open(format!("f{n}"), true)).collect();
            for file in &files {
                file.size().await.unwrap();
            }
            assert_eq!(dir.in_use()[0], 5);
            drop(files);
            while dir.in_use()[0] > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        });
    }

    #[test]
    fn a_lost_connection_closes_its_files() {
        block_on(async {
            let host = TempDir::new().unwrap();
            let dir = grant(host.path());
            let granted = dir.clone();
            let far = Far::new(move |turn| directory(turn, granted).into());
            let home = DirectoryRef::from(far.granted());
            let file = home.open("f", true);
            file.size().await.unwrap();
            far.disconnect();
            assert_eq!(
                file.size().await.unwrap_err().kind(),
                ErrorKind::Disconnected
            );
            while dir.in_use()[0] > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        });
    }
}
