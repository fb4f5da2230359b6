//! Levels of confinement, and the report of what was really enforced.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How strongly a child is confined. Levels are ordered: a higher one withholds more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Level {
    /// Nothing but a clean start (own descriptors, empty environment): for development only.
    L0,
    /// A system call filter alone. Weak: one mechanism, and one mistake in it, stands between the
    /// program and every file of its user.
    L1,
    /// Landlock without any rule (files, TCP, abstract sockets, signals), a strict system call
    /// filter, and one `exec`. Needs no privilege and no namespace.
    #[default]
    L2,
    /// Namespaces of its own with an empty read-only root, a user id of its own if the launcher is
    /// root, the strict filter, and Landlock where the kernel has it.
    L3,
}

impl Level {
    const ALL: [Self; 4] = [Self::L0, Self::L1, Self::L2, Self::L3];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| text.eq_ignore_ascii_case(&level.to_string()))
            .ok_or_else(|| UnknownLevel {
                text: text.chars().take(40).collect(),
            })
    }
}

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no confinement level {text:?}: write L0, L1, L2 or L3")]
pub struct UnknownLevel {
    text: String,
}

/// One mechanism of the kernel that takes part in a confinement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MechanismName {
    /// Own user (where needed), mount, process, network, IPC, UTS and cgroup namespaces.
    Namespaces,
    /// The root directory is an empty read-only file system.
    EmptyRoot,
    /// The program runs under a user id that nothing else uses.
    OwnUser,
    /// No capability, and none to be had by `exec`.
    NoCapabilities,
    /// `no_new_privs`: set-user-id programs and file capabilities have no effect.
    NoNewPrivileges,
    /// Landlock: no path can be opened, made or executed.
    LandlockFiles,
    /// Landlock: no TCP connect or bind.
    LandlockNetwork,
    /// Landlock: no signals to, and no abstract sockets of, processes outside.
    LandlockScopes,
    /// A list of permitted system calls with conditions on their arguments.
    Seccomp,
    /// The program is a sealed copy in memory: what was checked is what runs.
    SealedProgram,
    /// No `exec` after the first.
    ExecOnce,
    /// Limits of open files, memory and address space; no core dumps, no locked memory.
    Limits,
    /// The program ends when the launcher ends.
    DiesWithLauncher,
    /// The kernel refuses descriptors that the program tries to send to the launcher.
    NoDescriptorsOut,
}

impl MechanismName {
    /// The name as it is shown and serialized.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::EmptyRoot => "empty-root",
            Self::OwnUser => "own-user",
            Self::NoCapabilities => "no-capabilities",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::LandlockFiles => "landlock-files",
            Self::LandlockNetwork => "landlock-network",
            Self::LandlockScopes => "landlock-scopes",
            Self::Seccomp => "seccomp",
            Self::SealedProgram => "sealed-program",
            Self::ExecOnce => "exec-once",
            Self::Limits => "limits",
            Self::DiesWithLauncher => "dies-with-launcher",
            Self::NoDescriptorsOut => "no-descriptors-out",
        }
    }
}

impl fmt::Display for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether one mechanism is enforced, and why or how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mechanism {
    /// Which one.
    pub name: MechanismName,
    /// Whether the kernel enforces it.
    pub enforced: bool,
    /// What exactly is enforced, or why it is not.
    pub detail: String,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.enforced { "+" } else { "-" };
        write!(f, "{sign} {}: {}", self.name, self.detail)
    }
}

/// What is really enforced upon one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The level that the enforced mechanisms add up to.
    pub level: Level,
    /// Every mechanism, enforced or not, in a fixed order.
    pub mechanisms: Vec<Mechanism>,
}

impl Report {
    /// The mechanisms that are not enforced.
    pub fn missing(&self) -> impl Iterator<Item = &Mechanism> {
        self.mechanisms
            .iter()
            .filter(|mechanism| !mechanism.enforced)
    }

    /// Whether a mechanism is enforced.
    pub fn enforces(&self, name: MechanismName) -> bool {
        self.mechanisms
            .iter()
            .any(|mechanism| mechanism.name == name && mechanism.enforced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_read_back_what_they_print() {
        for (lower, higher) in Level::ALL.iter().zip(Level::ALL.iter().skip(1)) {
            assert!(lower < higher);
        }
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(level.to_string().to_lowercase().parse(), Ok(level));
            assert_eq!(
                serde_json::to_string(&level).unwrap(),
                format!("\"{level}\"")
            );
        }
        assert!("L4".parse::<Level>().is_err());
        assert!("".parse::<Level>().is_err());
    }

    #[test]
    fn mechanism_names_are_shown_as_they_are_serialized() {
        for name in [MechanismName::OwnUser, MechanismName::NoDescriptorsOut] {
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
        }
    }
}
