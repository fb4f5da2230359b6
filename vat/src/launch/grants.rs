//! From the manifest's grants to live powers: what the operator at the shell gives the ensemble,
//! and what each program gets of it.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::broker::fs::{self, Dir, Files, FsLimits};
use super::broker::log::LogSource;
use super::broker::{self, WorkerLimits, Workers};
use super::manifest::{Manifest, Power, Rights, Route, RouteSource};
use crate::Interface;
use crate::net;
use crate::net::client::{EnlivenError, Enlivened};
use crate::net::driver::Driver;
use crate::net::tls::CredentialsError;
use crate::net::{Credentials, Destination, Dialing, Peers};
use crate::power::{DirectoryRef, LogSinkRef};
use crate::prelude::*;
use crate::sturdy::{Identity, ReferenceFileError, Seed, reference_file};

/// How long the vat of a granted reference may take to answer.
const ENLIVEN_WITHIN: Duration = Duration::from_secs(10);

/// What fills the ensemble's slots. Each program that it goes to has limits of its own, so that none
/// takes them from the others; only what lies in another vat is one object for all.
pub(crate) struct Granted {
    files: Files,
    slots: BTreeMap<String, Opened>,
}

enum Opened {
    Directory {
        path: PathBuf,
        rights: Rights,
        create: bool,
    },
    Log,
    Clock,
    Network(Vec<Destination>),
    /// What it is shows when it is called; its own vat checks the interface.
    Reference(Ref),
}

impl Granted {
    /// Enlivens the references among the grants of the manifest, in its order; what else there is, is
    /// opened for each program.
    ///
    /// # Errors
    /// When a reference cannot be had.
    pub(crate) async fn open(manifest: &Manifest, driver: &Driver) -> Result<Self, GrantError> {
        let workers = Workers::start(WorkerLimits::default()).map_err(GrantError::Threads)?;
        let files = Files::new(workers);
        let mut slots = BTreeMap::new();
        for grant in &manifest.grants {
            let opened = match &grant.power {
                Power::Directory {
                    path,
                    rights,
                    create,
                } => Opened::Directory {
                    path: path.clone(),
                    rights: *rights,
                    create: *create,
                },
                Power::Log => Opened::Log,
                Power::Clock => Opened::Clock,
                Power::Network { to } => Opened::Network(to.clone()),
                Power::Reference { path } => {
                    Opened::Reference(enliven(driver, path).await?.reference)
                }
            };
            slots.insert(grant.slot.to_string(), opened);
        }
        Ok(Self { files, slots })
    }

    /// What one program gets through this route, with its interface id, or 0. `log` is the
    /// program's own source. `None`: the ensemble's slot is not filled.
    ///
    /// # Errors
    /// When a directory cannot be had, or less than everything is asked for of what can only be
    /// passed on whole.
    pub(crate) fn power(
        &self,
        route: &Route,
        driver: &Driver,
        log: &LogSource,
    ) -> Result<Option<(u64, Ref)>, GrantError> {
        let RouteSource::Use(slot) = &route.from else {
            return Ok(None);
        };
        let vat = driver.vat();
        Ok(Some(match self.slots.get(slot.as_str()) {
            None => return Ok(None),
            Some(Opened::Clock) => named(vat.turn(|turn| Ok(broker::clock(turn)))?),
            Some(Opened::Network(to)) => named(vat.turn(|turn| Ok(net::network(turn, to)))?),
            Some(Opened::Log) => {
                let log = match &route.tag {
                    Some(tag) => log.tagged(tag),
                    None => log.clone(),
                };
                named(vat.turn(|turn| Ok(broker::log_sink(turn, log)))?)
            }
            Some(Opened::Directory {
                path,
                rights,
                create,
            }) => {
                let dir = directory(&self.files, path, *rights, *create)?;
                let dir = match route.rights {
                    Some(rights) => dir.limited_to(rights_of(rights)),
                    None => dir,
                };
                named(vat.turn(|turn| Ok(broker::directory(turn, dir)))?)
            }
            Some(Opened::Reference(reference)) => (0, facet(reference, route)?),
        }))
    }
}

/// A facet of what lies in another vat, as far as its interface has one.
fn facet(reference: &Ref, route: &Route) -> Result<Ref, GrantError> {
    let reference = match &route.tag {
        Some(tag) => LogSinkRef::from(reference.clone()).tagged(tag).into(),
        None => reference.clone(),
    };
    match route.rights {
        None => Ok(reference),
        Some(Rights { read: true, write }) if !write => {
            Ok(DirectoryRef::from(reference).read_only().into())
        }
        Some(Rights { read: true, .. }) => Ok(reference),
        Some(_) => Err(GrantError::NoFacet {
            slot: route.slot.to_string(),
        }),
    }
}

fn named<R: Interface>(power: R) -> (u64, Ref) {
    (R::ID, power.into())
}

fn rights_of(rights: Rights) -> fs::Rights {
    fs::Rights {
        read: rights.read,
        write: rights.write,
    }
}

fn directory(files: &Files, path: &Path, rights: Rights, create: bool) -> Result<Dir, GrantError> {
    let fail = |source| GrantError::Directory {
        path: path.to_owned(),
        source,
    };
    if create && !path.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail)?;
    }
    files
        .ambient_dir(path, rights_of(rights), FsLimits::default())
        .map_err(fail)
}

/// The launcher enlivens what the operator's reference file names; the program never sees the URI.
/// Each grant is a connection of its own, under a key of its own.
async fn enliven(driver: &Driver, path: &PathBuf) -> Result<Enlivened, GrantError> {
    let sturdy = reference_file::read(path)?;
    let seed = Seed::generate().map_err(GrantError::Random)?;
    let credentials = Credentials::new(&Identity::from_seed(&seed))?;
    let peers = Peers::apart(driver.clone(), credentials, Dialing::ambient_network());
    let enlivened = tokio::time::timeout(ENLIVEN_WITHIN, peers.enliven(&sturdy)).await;
    let Ok(enlivened) = enlivened else {
        return Err(GrantError::Silent { path: path.clone() });
    };
    enlivened.map_err(|source| GrantError::Enliven {
        path: path.clone(),
        source,
    })
}

/// Why a grant of the manifest cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The reference file cannot be used.
    #[error(transparent)]
    ReferenceFile(#[from] ReferenceFileError),
    /// The reference cannot be enlivened.
    #[error("cannot enliven {}: {source}", path.display())]
    Enliven {
        /// The reference file.
        path: PathBuf,
        /// Why.
        source: EnlivenError,
    },
    /// The reference's vat does not answer.
    #[error(
        "cannot enliven {}: its vat did not answer within {ENLIVEN_WITHIN:?}",
        path.display()
    )]
    Silent {
        /// The reference file.
        path: PathBuf,
    },
    /// A program is to have less than all of a directory that lies in another vat.
    #[error(
        "slot {slot}: a directory behind a reference file can be passed on whole or to be read, \
         and not only to be written"
    )]
    NoFacet {
        /// The program's slot.
        slot: String,
    },
    /// A route begins at a program that is not started before its own.
    #[error("slot {slot}: no program that starts earlier fills it")]
    NoSibling {
        /// The program's slot.
        slot: String,
    },
    /// There is no randomness.
    #[error("cannot make a key")]
    Random(#[source] std::io::Error),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] CredentialsError),
    /// A directory cannot be opened.
    #[error("cannot open the granted directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The threads for file work cannot be started.
    #[error("cannot start the threads for file work")]
    Threads(#[source] std::io::Error),
    /// The launcher's own vat refused.
    #[error(transparent)]
    Vat(#[from] Error),
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::task::LocalSet;

    use super::super::broker::log::{Log, LogLimits};
    use super::super::manifest::SlotName;
    use super::*;
    use crate::Vat;

    const READ: Rights = Rights {
        read: true,
        write: false,
    };
    const BOTH: Rights = Rights {
        read: true,
        write: true,
    };

    /// One slot that is filled so, and a route from it.
    fn granted(files: &Files, opened: Opened, rights: Option<Rights>) -> (Granted, Route) {
        let slot = SlotName::parse("home").unwrap();
        let granted = Granted {
            files: files.clone(),
            slots: BTreeMap::from([(slot.to_string(), opened)]),
        };
        let route = Route {
            slot: slot.clone(),
            from: RouteSource::Use(slot),
            tag: None,
            rights,
        };
        (granted, route)
    }

    #[tokio::test]
    async fn programs_do_not_share_what_is_limited() {
        let test = async {
            let home = TempDir::new().unwrap();
            let log = Log::open(home.path(), LogLimits::default()).unwrap();
            let driver = Driver::new(Vat::new("launcher"));
            let files = Files::new(Workers::start(WorkerLimits::default()).unwrap());
            let directory = Opened::Directory {
                path: home.path().to_owned(),
                rights: BOTH,
                create: false,
            };
            for opened in [directory, Opened::Clock, Opened::Network(Vec::new())] {
                let (granted, route) = granted(&files, opened, None);
                let of = |child: &str| {
                    let power = granted.power(&route, &driver, &log.source(child));
                    power.unwrap().unwrap().1
                };
                assert_eq!(of("shop/ledger").same(&of("shop/gateway")), Some(false));
            }
            // What one keeps open leaves room for the other.
            let limit = FsLimits::default().open_files;
            let open = Opened::Directory {
                path: home.path().to_owned(),
                rights: BOTH,
                create: false,
            };
            let (granted, route) = granted(&files, open, None);
            let [greedy, other] = ["shop/gateway", "shop/ledger"].map(|child| {
                let power = granted.power(&route, &driver, &log.source(child));
                DirectoryRef::from(power.unwrap().unwrap().1)
            });
            let mut kept = Vec::new();
            for number in 0..limit {
                let file = Ref::from(greedy.create(format!("f{number}")));
                file.settled().await.unwrap();
                kept.push(file);
            }
            assert!(Ref::from(greedy.create("more")).settled().await.is_err());
            Ref::from(other.create("mine")).settled().await.unwrap();
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_route_passes_on_what_is_left_of_the_rights_and_never_more() {
        let test = async {
            let home = TempDir::new().unwrap();
            let log = Log::open(home.path(), LogLimits::default()).unwrap();
            let log = log.source("shop/ledger");
            let driver = Driver::new(Vat::new("launcher"));
            let files = Files::new(Workers::start(WorkerLimits::default()).unwrap());
            // Whether it may be written to, by what was granted and what the route leaves.
            let cases = [
                (BOTH, None, true),
                (BOTH, Some(BOTH), true),
                (BOTH, Some(READ), false),
                (READ, Some(BOTH), false),
            ];
            for (number, (rights, left, may_write)) in cases.into_iter().enumerate() {
                let opened = Opened::Directory {
                    path: home.path().to_owned(),
                    rights,
                    create: false,
                };
                let (granted, route) = granted(&files, opened, left);
                let (id, power) = granted.power(&route, &driver, &log).unwrap().unwrap();
                assert_eq!(id, DirectoryRef::ID);
                let created = DirectoryRef::from(power).create(format!("f{number}"));
                let created = Ref::from(created).settled().await;
                assert_eq!(
                    created.is_ok(),
                    may_write,
                    "{rights:?} {left:?}: {created:?}"
                );
            }
        };
        LocalSet::new().run_until(test).await;
    }
}
