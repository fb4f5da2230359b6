//! The steps of a confined start.

/// The places at which a start can fail, in the order in which the child passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Step {
    Orders = 1,
    Session,
    Descriptors,
    IdMaps,
    PrivateMounts,
    EmptyRootMount,
    EmptyRootPivot,
    EmptyRootDetach,
    Limits,
    BoundingSet,
    SwitchIds,
    DropCapabilities,
    DeathSignal,
    NoNewPrivileges,
    Landlock,
    ExecPage,
    Signals,
    ProbeFiles,
    ProbeNetwork,
    ProbeSignal,
    Seccomp,
    ProbeCalls,
    Exec,
    /// A trial got to its end: everything was enforced.
    TrialPassed,
}

impl Step {
    const ALL: [Self; 24] = [
        Self::Orders,
        Self::Session,
        Self::Descriptors,
        Self::IdMaps,
        Self::PrivateMounts,
        Self::EmptyRootMount,
        Self::EmptyRootPivot,
        Self::EmptyRootDetach,
        Self::Limits,
        Self::BoundingSet,
        Self::SwitchIds,
        Self::DropCapabilities,
        Self::DeathSignal,
        Self::NoNewPrivileges,
        Self::Landlock,
        Self::ExecPage,
        Self::Signals,
        Self::ProbeFiles,
        Self::ProbeNetwork,
        Self::ProbeSignal,
        Self::Seccomp,
        Self::ProbeCalls,
        Self::Exec,
        Self::TrialPassed,
    ];

    /// The step with this number in a child's report.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u32 == number)
    }

    /// What the child was doing.
    pub(crate) fn doing(self) -> &'static str {
        match self {
            Self::Orders => "waiting for the launcher's word",
            Self::Session => "starting a session of its own",
            Self::Descriptors => "arranging its descriptors",
            Self::IdMaps => "writing the id maps of its user namespace",
            Self::PrivateMounts => "making its mounts private",
            Self::EmptyRootMount => "mounting its empty root",
            Self::EmptyRootPivot => "moving into its empty root (pivot_root)",
            Self::EmptyRootDetach => "detaching the host's root",
            Self::Limits => "setting its resource limits",
            Self::BoundingSet => "emptying its capability bounding set",
            Self::SwitchIds => "switching to its own user id",
            Self::DropCapabilities => "dropping its capabilities",
            Self::DeathSignal => "tying its life to the launcher's",
            Self::NoNewPrivileges => "giving up new privileges (no_new_privs)",
            Self::Landlock => "entering its Landlock domain",
            Self::ExecPage => "mapping the page with the path of its one exec",
            Self::Signals => "resetting its signal handlers",
            Self::ProbeFiles => "probing that no file can be opened",
            Self::ProbeNetwork => "probing that no connection can be made",
            Self::ProbeSignal => "probing that no other process can be signalled",
            Self::Seccomp => "installing its system call filter (seccomp)",
            Self::ProbeCalls => "probing that refused system calls are refused",
            Self::Exec => "executing the sealed program",
            Self::TrialPassed => "ending a trial",
        }
    }
}
