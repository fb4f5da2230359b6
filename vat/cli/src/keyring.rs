//! This user's petnames: a folder with one reference file for each.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{FlockOperation, OFlags, flock};
use vat::dynamic::closest;
use vat::launch::broker::log::Timestamp;
use vat::sturdy::{ReferenceFileError, ReferenceFileProblem, SturdyRef, reference_file};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::reference::shell_word;

/// Longest petname, in bytes: with its ending it is the name of a file.
const MAX_NAME: usize = 64;
const SUFFIX: &str = ".cap";

/// A name that this user gave to a reference: letters and digits of any script, `-`, `_` and `.`; a
/// letter or digit first. It is the name of a file, and never leads out of its folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Petname(String);

/// Why a text is no petname.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PetnameError {
    #[error("a petname is not empty")]
    Empty,
    #[error("a petname has at most {MAX_NAME} bytes")]
    TooLong,
    #[error("a petname begins with a letter or a digit")]
    Start,
    #[error("a petname has letters, digits, '-', '_' and '.', and no {0:?}")]
    Character(char),
}

impl FromStr for Petname {
    type Err = PetnameError;

    /// With or without the `@` that marks a petname among other ways to name a reference.
    fn from_str(text: &str) -> Result<Self, PetnameError> {
        let name = text.strip_prefix('@').unwrap_or(text);
        let first = name.chars().next().ok_or(PetnameError::Empty)?;
        let wrong = |c: &char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if let Some(character) = name.chars().find(wrong) {
            return Err(PetnameError::Character(character));
        }
        if !first.is_alphanumeric() {
            return Err(PetnameError::Start);
        }
        if name.len() > MAX_NAME {
            return Err(PetnameError::TooLong);
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Petname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl Petname {
    /// The name without its `@`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the keyring has under a petname.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Petname,
    pub(crate) path: PathBuf,
    pub(crate) saved: Timestamp,
    pub(crate) reference: Result<SturdyRef, ReferenceFileError>,
}

/// What saving and renaming may overwrite.
#[derive(Debug)]
pub(crate) enum Overwrite {
    Nothing,
    /// This reference: the user was asked about it.
    Only(SturdyRef),
    Anything,
}

/// This user's petnames.
///
/// The folder belongs to this user alone (mode 0700) and so does every file in it (mode 0600), a
/// reference file like any other. Files appear, change and vanish at once; commands that change the
/// folder take turns.
#[derive(Debug)]
pub(crate) struct Keyring {
    folder: PathBuf,
}

impl Keyring {
    pub(crate) fn of(environment: &Environment) -> Result<Self, CommandError> {
        Ok(Self {
            folder: environment.places()?.keyring(),
        })
    }

    /// The reference that `name` stands for.
    pub(crate) fn read(&self, name: &Petname) -> Result<SturdyRef, CommandError> {
        let entry = self.entry(name)?;
        entry
            .reference
            .map_err(|error| CommandError::new(Kind::Usage, format!("{name}: {error}")))
    }

    /// What there is under `name`; an error that names the nearest petname when there is nothing.
    pub(crate) fn entry(&self, name: &Petname) -> Result<Entry, CommandError> {
        match self.find(name)? {
            Some(entry) => Ok(entry),
            None => Err(self.unknown(name)),
        }
    }

    /// What there is under `name`.
    pub(crate) fn find(&self, name: &Petname) -> Result<Option<Entry>, CommandError> {
        match self.open()? {
            Some(_) => self.look(name),
            None => Ok(None),
        }
    }

    fn look(&self, name: &Petname) -> Result<Option<Entry>, CommandError> {
        let path = self.path(name);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let seconds = u64::try_from(metadata.mtime()).unwrap_or_default();
        let micros = u64::try_from(metadata.mtime_nsec()).unwrap_or_default() / 1000;
        let saved = Timestamp::from_micros(seconds.saturating_mul(1_000_000) + micros);
        let reference = reference_file::read(&path);
        if let Err(error) = &reference
            && let ReferenceFileProblem::Io(error) = error.problem()
            && error.kind() == io::ErrorKind::NotFound
        {
            // Forgotten at this very moment.
            return Ok(None);
        }
        Ok(Some(Entry {
            name: name.clone(),
            path,
            saved,
            reference,
        }))
    }

    /// All that is in the keyring, by name.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, CommandError> {
        let mut entries = Vec::new();
        for name in self.names()? {
            entries.extend(self.look(&name)?);
        }
        Ok(entries)
    }

    fn names(&self) -> Result<Vec<Petname>, CommandError> {
        if self.open()?.is_none() {
            return Ok(Vec::new());
        }
        let unreadable = |error: io::Error| failed("read", &self.folder, &error);
        let mut names = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(unreadable)? {
            names.extend(petname_of(&file.map_err(unreadable)?.file_name()));
        }
        names.sort();
        Ok(names)
    }

    /// From now on `name` stands for `reference`.
    pub(crate) fn save(
        &self,
        name: &Petname,
        reference: &SturdyRef,
        overwrite: &Overwrite,
    ) -> Result<(), CommandError> {
        let _lock = self.lock()?;
        self.check_free(name, overwrite)?;
        reference_file::write(self.path(name), reference)
            .map_err(|error| CommandError::new(Kind::Failed, error.to_string()))
    }

    /// From now on `new` stands for what `old` stood for, and `old` for nothing.
    pub(crate) fn rename(
        &self,
        old: &Petname,
        new: &Petname,
        overwrite: &Overwrite,
    ) -> Result<(), CommandError> {
        let lock = self.lock()?;
        if self.look(old)?.is_none() {
            return Err(self.unknown(old));
        }
        self.check_free(new, overwrite)?;
        let path = self.path(new);
        fs::rename(self.path(old), &path)
            .and_then(|()| lock.sync_all())
            .map_err(|error| failed("write", &path, &error))
    }

    /// From now on `name` stands for nothing.
    pub(crate) fn forget(&self, name: &Petname) -> Result<(), CommandError> {
        let lock = self.lock()?;
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.unknown(name)),
            removed => removed
                .and_then(|()| lock.sync_all())
                .map_err(|error| failed("remove", &path, &error)),
        }
    }

    fn path(&self, name: &Petname) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", name.0))
    }

    /// What is there may have changed since the user was asked.
    fn check_free(&self, name: &Petname, overwrite: &Overwrite) -> Result<(), CommandError> {
        let free = match (self.look(name)?, overwrite) {
            (None, _) | (Some(_), Overwrite::Anything) => true,
            (Some(_), Overwrite::Nothing) => false,
            (Some(entry), Overwrite::Only(known)) => {
                entry.reference.is_ok_and(|reference| reference == *known)
            }
        };
        match free {
            true => Ok(()),
            false => Err(taken(name)),
        }
    }

    /// Makes the folder if need be, and waits until no other command changes it.
    fn lock(&self) -> Result<File, CommandError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|error| failed("make", &self.folder, &error))?;
        let Some(folder) = self.open()? else {
            let gone = io::ErrorKind::NotFound.into();
            return Err(failed("open", &self.folder, &gone));
        };
        flock(&folder, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &self.folder, &errno.into()))?;
        Ok(folder)
    }

    /// The folder, which others must not reach: who can move files in it gives names to others'
    /// references.
    fn open(&self) -> Result<Option<File>, CommandError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&self.folder);
        let folder = match folder {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &self.folder, &error)),
        };
        let metadata = folder
            .metadata()
            .map_err(|error| failed("open", &self.folder, &error))?;
        let user = rustix::process::geteuid().as_raw();
        let shown = self.folder.display();
        if metadata.uid() != user {
            let owner = metadata.uid();
            let message = format!("the keyring {shown} belongs to user {owner}, and not to {user}");
            return Err(CommandError::new(Kind::Usage, message)
                .hint("set XDG_STATE_HOME to a directory of your own"));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let message = format!("others can reach the keyring {shown} (its mode is {mode:04o})");
            let word = shell_word(&self.folder);
            return Err(CommandError::new(Kind::Usage, message).hint(format!(
                "run `chmod 700 {word}`, and look with `vat ref list` whether the names are yours"
            )));
        }
        Ok(Some(folder))
    }

    fn unknown(&self, name: &Petname) -> CommandError {
        let error = CommandError::new(Kind::NotFound, format!("there is no petname {name}"));
        let names = self.names().unwrap_or_default();
        if names.is_empty() {
            let word = &name.0;
            return error.hint(format!(
                "none is kept yet; `vat ref save {word} file.cap` keeps one"
            ));
        }
        match closest(&name.0, names.iter().map(Petname::as_str)) {
            Some(near) => error.hint(format!("did you mean @{near}?")),
            None => error.hint("`vat ref list` shows the petnames"),
        }
    }
}

/// Something else has the name.
pub(crate) fn taken(name: &Petname) -> CommandError {
    CommandError::new(Kind::Failed, format!("{name} stands for something already"))
        .hint("choose another name, or replace it with --force")
        .hint(format!("`vat ref show {}` shows what it is", name.as_str()))
}

/// The petname whose file has this name; other files, such as unfinished ones, are none.
fn petname_of(file: &OsStr) -> Option<Petname> {
    let name = file.to_str()?.strip_suffix(SUFFIX)?;
    // An `@` belongs to the way it is typed, not to the file.
    name.parse()
        .ok()
        .filter(|petname: &Petname| petname.0 == name)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CommandError {
    let message = format!("cannot {what} {}: {error}", path.display());
    CommandError::new(Kind::Failed, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use vat::sturdy::{Identity, Seed, SwissNumber};

    use super::*;

    fn reference(number: u8) -> SturdyRef {
        let vat = Identity::from_seed(&Seed::from_bytes([1; 32])).id();
        SturdyRef::new(vat, SwissNumber::from_bytes([number; 16]), []).unwrap()
    }

    fn name(text: &str) -> Petname {
        text.parse().unwrap()
    }

    fn keyring() -> (tempfile::TempDir, Keyring) {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("state/keyring.d");
        (directory, Keyring { folder })
    }

    #[test]
    fn a_petname_cannot_lead_out_of_the_folder() {
        use PetnameError::{Character, Empty, Start, TooLong};
        let parse = |text: &str| text.parse::<Petname>();
        for (text, error) in [
            ("", Empty),
            ("@", Empty),
            ("..", Start),
            (".hidden", Start),
            ("-rf", Start),
            ("../up", Character('/')),
            ("/etc/passwd", Character('/')),
            ("a b", Character(' ')),
            ("a\n", Character('\n')),
            ("a\0", Character('\0')),
            ("@@a", Character('@')),
            (&"a".repeat(65), TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        for text in ["home", "Büro-2", "a.b_c", &"a".repeat(64)] {
            assert_eq!(parse(text).unwrap().as_str(), text);
            assert_eq!(parse(&format!("@{text}")), parse(text));
        }
    }

    #[test]
    fn the_folder_and_its_files_are_closed_to_others() {
        let (_directory, keyring) = keyring();
        let save = |overwrite| keyring.save(&name("home"), &reference(1), &overwrite);
        save(Overwrite::Nothing).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&keyring.folder), 0o700);
        assert_eq!(mode(&keyring.path(&name("home"))), 0o600);

        for open in [0o701, 0o710, 0o777] {
            fs::set_permissions(&keyring.folder, fs::Permissions::from_mode(open)).unwrap();
            let error = keyring.read(&name("home")).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.hints[0].contains("chmod 700"), "{:?}", error.hints);
            save(Overwrite::Anything).unwrap_err();
        }
    }

    #[test]
    fn only_what_the_user_was_asked_about_is_overwritten() {
        let (_directory, keyring) = keyring();
        let home = name("home");
        let save = |number, overwrite| keyring.save(&home, &reference(number), &overwrite);
        save(1, Overwrite::Nothing).unwrap();
        assert_eq!(save(2, Overwrite::Nothing).unwrap_err().kind, Kind::Failed);
        // It has become another one meanwhile.
        save(2, Overwrite::Only(reference(3))).unwrap_err();
        assert_eq!(keyring.read(&home).unwrap(), reference(1));
        save(2, Overwrite::Only(reference(1))).unwrap();
        save(3, Overwrite::Anything).unwrap();
        assert_eq!(keyring.read(&home).unwrap(), reference(3));
    }

    #[test]
    fn renaming_keeps_the_reference_and_the_time_and_overwrites_nothing() {
        let (_directory, keyring) = keyring();
        let (a, b) = (name("a"), name("b"));
        keyring
            .save(&a, &reference(1), &Overwrite::Nothing)
            .unwrap();
        keyring
            .save(&b, &reference(2), &Overwrite::Nothing)
            .unwrap();
        keyring.rename(&a, &b, &Overwrite::Nothing).unwrap_err();
        assert_eq!(keyring.read(&b).unwrap(), reference(2));
        let saved = keyring.entry(&a).unwrap().saved;
        keyring.rename(&a, &name("c"), &Overwrite::Nothing).unwrap();
        let entry = keyring.entry(&name("c")).unwrap();
        assert_eq!(entry.saved, saved);
        assert_eq!(entry.reference.unwrap(), reference(1));
        let error = keyring.rename(&a, &b, &Overwrite::Anything).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert_eq!(keyring.read(&b).unwrap(), reference(2));
    }

    #[test]
    fn an_unknown_petname_comes_with_the_nearest() {
        let (_directory, keyring) = keyring();
        let error = keyring.read(&name("home")).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert!(error.hints[0].contains("vat ref save home"), "{error:?}");
        keyring
            .save(&name("guestbook"), &reference(1), &Overwrite::Nothing)
            .unwrap();
        let error = keyring.read(&name("guestbok")).unwrap_err();
        assert_eq!(error.hints, ["did you mean @guestbook?"]);
        let error = keyring.forget(&name("zoo")).unwrap_err();
        assert_eq!(
            (error.kind, error.hints),
            (
                Kind::NotFound,
                vec!["`vat ref list` shows the petnames".to_owned()]
            )
        );
    }

    #[test]
    fn what_is_no_reference_of_ours_is_listed_with_its_problem_and_other_files_are_not() {
        let (directory, keyring) = keyring();
        let home = name("home");
        keyring
            .save(&home, &reference(1), &Overwrite::Nothing)
            .unwrap();
        fs::write(keyring.folder.join(".x.cap"), "").unwrap();
        fs::write(keyring.folder.join("notes.txt"), "").unwrap();
        fs::write(keyring.folder.join("@home.cap"), "").unwrap();
        let target = directory.path().join("target.cap");
        reference_file::write(&target, &reference(2)).unwrap();
        symlink(&target, keyring.path(&name("link"))).unwrap();
        let entries = keyring.entries().unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["home", "link"]);
        assert!(entries[0].reference.is_ok() && entries[1].reference.is_err());
        // It can be forgotten all the same, and what it pointed to is not touched.
        keyring.forget(&name("link")).unwrap();
        assert_eq!(reference_file::read(&target).unwrap(), reference(2));
        assert_eq!(keyring.entries().unwrap().len(), 1);
    }
}
