//! Which mechanisms are combined on this host, and what a child is told before its `exec`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use landlock::{ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset};
use landlock::{RulesetAttr as _, Scope};

use super::level::{Level, Mechanism, MechanismName, Report};
use super::{Limits, filter, program};
use crate::sys::{self, Blueprint, Expected, IdRange};

/// Landlock withholds signals and abstract sockets from this version on (Linux 6.12).
const SCOPES_ABI: u32 = 6;
/// Landlock knows TCP from this version on (Linux 6.7).
const NETWORK_ABI: u32 = 4;

/// How a child gets namespaces of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespaces {
    /// Not at all.
    Shared,
    /// With the launcher's own privilege.
    Privileged,
    /// Inside a user namespace, which any user may make where the host permits it.
    User,
}

/// A combination of mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) namespaces: Namespaces,
    pub(super) landlock: bool,
    pub(super) seccomp: bool,
    pub(super) own_user: bool,
}

impl Recipe {
    /// The recipes to try on this host, the strongest first.
    pub(super) fn candidates(host: &Host, at_most: Level) -> Vec<Self> {
        // Root of a user namespace may have no other id to switch to: it is an ordinary user.
        let root = host.root && host.ids.is_some();
        let recipe = |namespaces, landlock, own_user| Self {
            namespaces,
            landlock,
            seccomp: true,
            own_user,
        };
        let mut all = Vec::new();
        for landlock in [true, false] {
            if host.root {
                all.push(recipe(Namespaces::Privileged, landlock, root));
            }
            if root {
                all.push(recipe(Namespaces::User, landlock, true));
            }
            all.push(recipe(Namespaces::User, landlock, false));
        }
        for landlock in [true, false] {
            if root {
                all.push(recipe(Namespaces::Shared, landlock, true));
            }
            all.push(recipe(Namespaces::Shared, landlock, false));
        }
        let nothing = Self {
            seccomp: false,
            ..recipe(Namespaces::Shared, false, root)
        };
        all.extend([
            nothing,
            Self {
                own_user: false,
                ..nothing
            },
        ]);
        all.retain(|recipe| !recipe.landlock || host.landlock_abi.is_ok());
        all.retain(|recipe| recipe.level(host) <= at_most);
        all.dedup();
        all
    }

    pub(super) fn level(self, host: &Host) -> Level {
        let scopes = self.landlock && host.abi() >= SCOPES_ABI;
        match self {
            Self { seccomp: false, .. } => Level::L0,
            Self {
                namespaces: Namespaces::Privileged | Namespaces::User,
                ..
            } => Level::L3,
            _ if scopes => Level::L2,
            _ => Level::L1,
        }
    }

    /// A few words for the list of trials.
    pub(super) fn describe(self) -> String {
        let mut parts = Vec::new();
        match self.namespaces {
            Namespaces::Shared => {}
            Namespaces::Privileged => parts.push("namespaces"),
            Namespaces::User => parts.push("namespaces through a user namespace"),
        }
        let rest = [
            (self.own_user, "own user"),
            (self.landlock, "Landlock"),
            (self.seccomp, "seccomp"),
        ];
        parts.extend(
            rest.into_iter()
                .filter_map(|(used, name)| used.then_some(name)),
        );
        if parts.is_empty() {
            "nothing".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// What is known of this host without trying anything.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) root: bool,
    pub(super) ids: Option<IdRange>,
    pub(super) landlock_abi: Result<u32, String>,
    uid: u32,
    gid: u32,
    may_drop_bounding_set: bool,
    last_capability: u32,
    mount_point: Option<CString>,
}

impl Host {
    pub(super) fn look() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
        let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let mount_points = ["/proc", "/tmp", "/dev", "/etc"];
        let mount_point = mount_points
            .into_iter()
            .find(|path| Path::new(path).is_dir());
        Self {
            root: uid == 0,
            ids: id_range(&uid_map),
            landlock_abi: sys::landlock_abi().map_err(|error| error.to_string()),
            uid,
            gid: rustix::process::getegid().as_raw(),
            may_drop_bounding_set: has_capability(&status, CAP_SETPCAP),
            last_capability: last.trim().parse().unwrap_or(40),
            mount_point: mount_point.and_then(|path| CString::new(path).ok()),
        }
    }

    fn abi(&self) -> u32 {
        self.landlock_abi.as_ref().copied().unwrap_or(0)
    }
}

const CAP_SETPCAP: u32 = 8;

fn has_capability(status: &str, capability: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << capability) != 0)
}

/// Ids from 0x70000000 on are given to nobody by any convention; one per possible process id.
const OWN_IDS: IdRange = IdRange {
    first: 0x7000_0000,
    count: 1 << 22,
};
/// `nobody`, where the ids of this (container's) user namespace do not reach that far.
const NOBODY: IdRange = IdRange {
    first: 65534,
    count: 1,
};

fn id_range(uid_map: &str) -> Option<IdRange> {
    let maps: Vec<(u64, u64)> = uid_map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let first = fields.next()?.parse().ok()?;
            Some((first, fields.nth(1)?.parse().ok()?))
        })
        .collect();
    let mapped = |range: &IdRange| {
        let (first, count) = (u64::from(range.first), u64::from(range.count));
        maps.iter()
            .any(|&(start, length)| start <= first && first + count <= start + length)
    };
    [OWN_IDS, NOBODY].into_iter().find(mapped)
}

/// A recipe with everything prepared that all its children share.
#[derive(Debug)]
pub(super) struct Enclosure {
    pub(super) recipe: Recipe,
    pub(super) level: Level,
    host: Host,
    ruleset: Option<OwnedFd>,
    filters: Vec<Vec<libc::sock_filter>>,
    null: File,
}

/// The descriptors and the program of one child.
pub(super) struct Parts<'a> {
    pub(super) program: BorrowedFd<'a>,
    pub(super) name: CString,
    pub(super) socket: BorrowedFd<'a>,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
}

impl Enclosure {
    pub(super) fn new(recipe: Recipe, host: Host) -> io::Result<Self> {
        let ruleset = if recipe.landlock {
            Some(deny_all(host.abi())?)
        } else {
            None
        };
        let filters = if recipe.seccomp {
            filter::programs()?
        } else {
            Vec::new()
        };
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let level = recipe.level(&host);
        Ok(Self {
            recipe,
            level,
            host,
            ruleset,
            filters,
            null,
        })
    }

    /// The orders for one child; without parts, for a trial.
    pub(super) fn blueprint<'a>(
        &'a self,
        limits: &Limits,
        parts: Option<&Parts<'a>>,
    ) -> Blueprint<'a> {
        let Recipe {
            namespaces,
            own_user,
            ..
        } = self.recipe;
        let separate = namespaces != Namespaces::Shared;
        let user_namespace = namespaces == Namespaces::User;
        let null = self.null.as_fd();
        Blueprint {
            namespaces: clone_flags(namespaces),
            child_id_maps: (user_namespace && !own_user).then(|| self.own_maps()),
            launcher_writes_maps: user_namespace && own_user,
            own_ids: if own_user { self.host.ids } else { None },
            empty_root: if separate {
                self.host.mount_point.clone()
            } else {
                None
            },
            drop_capabilities: separate || self.host.may_drop_bounding_set,
            last_capability: self.host.last_capability,
            limits: limits.resources(self.counts_processes()),
            filters: &self.filters,
            ruleset: self.ruleset.as_ref().map(|ruleset| ruleset.as_fd()),
            null,
            stdout: parts.map_or(null, |parts| parts.stdout),
            stderr: parts.map_or(null, |parts| parts.stderr),
            socket: parts.map_or(null, |parts| parts.socket),
            program: parts.map(|parts| parts.program),
            expect: self.expected(separate),
            argv0: parts.map(|parts| parts.name.clone()).unwrap_or_default(),
        }
    }

    fn expected(&self, separate: bool) -> Expected {
        let landlock = |needed| self.recipe.landlock && self.host.abi() >= needed;
        Expected {
            no_files: separate || landlock(1),
            no_network: separate || landlock(NETWORK_ABI),
            no_signals: separate || landlock(SCOPES_ABI),
        }
    }

    fn own_maps(&self) -> (CString, CString) {
        let map = |id: u32| CString::new(format!("{id} {id} 1")).unwrap_or_default();
        (map(self.host.uid), map(self.host.gid))
    }

    /// The kernel counts processes per user (and user namespace): a limit makes sense only where
    /// the child shares its user with nobody.
    fn counts_processes(&self) -> bool {
        self.recipe.namespaces == Namespaces::User || self.has_own_user()
    }

    fn has_own_user(&self) -> bool {
        self.recipe.own_user && self.host.ids == Some(OWN_IDS)
    }

    /// What children of this enclosure are reported to be held by; `failures` says why stronger
    /// recipes were not possible.
    pub(super) fn report(&self, failures: &str) -> Report {
        let mut mechanisms = self.process_mechanisms(failures);
        mechanisms.extend(self.landlock_mechanisms());
        mechanisms.extend(self.common_mechanisms());
        Report {
            level: self.level,
            mechanisms,
        }
    }

    fn process_mechanisms(&self, failures: &str) -> Vec<Mechanism> {
        use MechanismName::{EmptyRoot, Namespaces as Separate, OwnUser};
        let kinds = "mount, process, network, IPC, UTS, cgroup";
        let (separate, detail) = match self.recipe.namespaces {
            Namespaces::Shared => (false, failures.to_owned()),
            Namespaces::Privileged => (true, kinds.to_owned()),
            Namespaces::User => (true, format!("user, {kinds}")),
        };
        let root = if separate {
            "an empty tmpfs, read-only"
        } else {
            "needs namespaces"
        };
        let user = match (self.recipe.own_user, self.has_own_user(), self.host.root) {
            (_, true, _) => format!("{} plus the process id", OWN_IDS.first),
            (true, false, _) => {
                "shares `nobody` with other vats: no other ids are mapped here".into()
            }
            (false, _, true) => "runs as root without capabilities: no id could be switched".into(),
            (false, _, false) => format!("runs as the launcher's user {}", self.host.uid),
        };
        vec![
            mechanism(Separate, separate, detail),
            mechanism(EmptyRoot, separate, root),
            mechanism(OwnUser, self.has_own_user(), user),
        ]
    }

    fn landlock_mechanisms(&self) -> Vec<Mechanism> {
        use MechanismName::{LandlockFiles, LandlockNetwork, LandlockScopes};
        let abi = self.host.abi();
        let explain = |needed: u32, what: &str| match &self.host.landlock_abi {
            Err(error) => (false, format!("the kernel offers no Landlock: {error}")),
            Ok(_) if !self.recipe.landlock => (false, "not part of this level here".to_owned()),
            Ok(abi) if *abi < needed => (
                false,
                format!("needs Landlock ABI {needed}, the kernel has {abi}"),
            ),
            Ok(_) => (true, format!("{what} (ABI {abi})")),
        };
        let entry = |name, needed, what| {
            let (enforced, detail) = explain(needed, what);
            mechanism(name, enforced, detail)
        };
        vec![
            entry(
                LandlockFiles,
                1,
                "no path can be opened, changed or executed",
            ),
            entry(LandlockNetwork, NETWORK_ABI, "no TCP connect or bind"),
            entry(
                LandlockScopes,
                SCOPES_ABI,
                "no signals and abstract sockets to the outside",
            ),
        ]
    }

    fn common_mechanisms(&self) -> Vec<Mechanism> {
        use MechanismName as Name;
        let seccomp = self.recipe.seccomp;
        let instructions: usize = self.filters.iter().map(Vec::len).sum();
        let filter = if seccomp {
            format!("a list of permitted calls and arguments ({instructions} instructions)")
        } else {
            "not part of this level".to_owned()
        };
        let once = if seccomp {
            "the launcher's was the only one"
        } else {
            "needs seccomp"
        };
        let sealed = match program::try_memory() {
            Ok(()) => (true, "a sealed memfd, checked before the launch".to_owned()),
            Err(error) => (false, error),
        };
        let sealed = mechanism(Name::SealedProgram, sealed.0, sealed.1);
        vec![
            mechanism(Name::Seccomp, seccomp, filter),
            mechanism(Name::ExecOnce, seccomp, once),
            mechanism(Name::NoNewPrivileges, true, "set before the program starts"),
            mechanism(Name::NoCapabilities, true, "all sets are empty"),
            sealed,
            mechanism(
                Name::Limits,
                true,
                "open files, memory, address space, core dumps",
            ),
            mechanism(
                Name::DiesWithLauncher,
                true,
                "SIGKILL when the launcher ends",
            ),
        ]
    }
}

fn mechanism(name: MechanismName, enforced: bool, detail: impl Into<String>) -> Mechanism {
    Mechanism {
        name,
        enforced,
        detail: detail.into(),
    }
}

fn clone_flags(namespaces: Namespaces) -> i32 {
    let all = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    match namespaces {
        Namespaces::Shared => 0,
        Namespaces::Privileged => all,
        Namespaces::User => all | libc::CLONE_NEWUSER,
    }
}

/// A Landlock domain without any rule: everything that this version handles is refused.
fn deny_all(abi: u32) -> io::Result<OwnedFd> {
    let known = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(known))
        .map_err(io::Error::other)?;
    if abi >= NETWORK_ABI {
        ruleset = ruleset
            .handle_access(AccessNet::from_all(known))
            .map_err(io::Error::other)?;
    }
    if abi >= SCOPES_ABI {
        ruleset = ruleset
            .scope(Scope::from_all(known))
            .map_err(io::Error::other)?;
    }
    let created = ruleset.create().map_err(io::Error::other)?;
    Option::<OwnedFd>::from(created)
        .ok_or_else(|| io::Error::other("the kernel made no Landlock ruleset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_used_only_where_they_are_mapped() {
        assert_eq!(
            id_range("         0          0 4294967295\n"),
            Some(OWN_IDS)
        );
        assert_eq!(id_range("0 100000 65536\n"), Some(NOBODY));
        assert_eq!(id_range("0 1000 1\n"), None);
        assert_eq!(id_range("0 1000 1\n1 100000 65536"), Some(NOBODY));
        assert_eq!(id_range("garbage\n\n1 2"), None);
    }
}
