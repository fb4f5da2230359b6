//! The children of an ensemble, in start order: made from the manifest, found by name and by key.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use tokio::sync::watch;

use super::broker::log::Log;
use super::child::{Child, ChildPlan};
use super::confine::SealedProgram;
use super::grants::{GrantError, Granted};
use super::lives::Charge;
use super::manifest::{ChildRules, ChildSource, Manifest, RouteSource};
use super::powers::Supply;
use super::siblings::{Introducer, Sibling};
use crate::net::driver::Driver;
use crate::power::{ChildState, ChildStatus};
use crate::sturdy::{Address, Seed, VatId};
use crate::supervisor::RestartKind;

/// All children, in start order.
pub(crate) struct Children {
    all: Vec<Rc<Child>>,
    /// Changes with the state of any of them.
    changes: watch::Sender<()>,
}

/// What children are made with.
pub(super) struct Maker<'a> {
    pub(super) driver: &'a Driver,
    pub(super) log: &'a Log,
    pub(super) granted: &'a Granted,
    /// Who connects them with each other.
    pub(super) siblings: &'a Rc<Introducer>,
    /// The ensemble's secret.
    pub(super) seed: &'a Seed,
    /// The ensemble's state directory, if it has one.
    pub(super) state: Option<&'a Path>,
    pub(super) args: &'a [String],
    pub(super) allow_weak: bool,
    /// In the foreground: never started again, output shown.
    pub(super) once: bool,
}

impl Children {
    /// The manifest's children, with one program each, and what their supervisor must know.
    pub(super) fn new(
        maker: &Maker<'_>,
        manifest: &Manifest,
        programs: Vec<SealedProgram>,
    ) -> Result<(Self, Vec<Charge>), GrantError> {
        let changes = watch::Sender::new(());
        let mut children = Self {
            all: Vec::new(),
            changes,
        };
        let mut charges = Vec::new();
        for (rules, program) in manifest.children.iter().zip(programs) {
            let child = Rc::new(maker.child(rules, program, &children)?);
            let sibling: Rc<dyn Sibling> = child.clone();
            maker.siblings.add(child.vat(), Rc::downgrade(&sibling));
            charges.push(maker.charge(rules, child.clone()));
            children.all.push(child);
        }
        Ok((children, charges))
    }

    /// The child of that name in the manifest.
    fn named(&self, name: &str) -> Option<&Rc<Child>> {
        self.all.iter().find(|child| child.name() == name)
    }

    /// The child whose reference that is.
    pub(crate) fn source(&self, source: &ChildSource) -> Option<&Rc<Child>> {
        self.named(source.child.as_str())
    }

    /// The child that has this key.
    pub(crate) fn with_vat(&self, vat: VatId) -> Option<&Rc<Child>> {
        self.all.iter().find(|child| child.vat() == vat)
    }

    pub(crate) fn set_addresses(&self, addresses: &[Address]) {
        self.all.iter().for_each(|c| c.set_addresses(addresses));
    }

    pub(crate) fn status(&self) -> Vec<ChildStatus> {
        self.all.iter().map(|child| child.status()).collect()
    }

    /// The exit code of the last life of the first child.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.all.first().and_then(|child| child.exit_code())
    }

    /// Waits for a child that is ready, or never will be, and whose path is not among `known`.
    /// When there is none, waits until all of them are, at the same time, and gives `None`.
    pub(crate) async fn next_settled(&self, known: &BTreeSet<String>) -> Option<ChildStatus> {
        let mut changes = self.changes.subscribe();
        loop {
            let settled = |child: &&Rc<Child>| is_settled(child.state());
            let mut new = self.all.iter().filter(|c| !known.contains(c.path()));
            if let Some(child) = new.find(settled) {
                return Some(child.status());
            }
            let others = self.all.iter().filter(|c| !settled(c));
            if others.count() == 0 {
                return None;
            }
            if changes.changed().await.is_err() {
                return None;
            }
        }
    }

    /// How all of them together are, once each is ready or never will be.
    pub(crate) fn state(&self) -> ChildState {
        let any = |state| self.all.iter().any(|child| child.state() == state);
        if any(ChildState::GaveUp) {
            ChildState::GaveUp
        } else if any(ChildState::Running) {
            ChildState::Running
        } else {
            ChildState::Ended
        }
    }
}

/// Whether a child in this state is ready, or never will be.
pub(super) fn is_settled(state: ChildState) -> bool {
    matches!(
        state,
        ChildState::Running | ChildState::Ended | ChildState::GaveUp
    )
}

impl Maker<'_> {
    fn child(
        &self,
        rules: &ChildRules,
        program: SealedProgram,
        earlier: &Children,
    ) -> Result<Child, GrantError> {
        let output = self.log.source(&rules.path);
        let mut supplies = Vec::new();
        for route in &rules.routes {
            let slot = route.slot.clone();
            match &route.from {
                RouteSource::Use(_) => {
                    let power = self.granted.power(route, self.driver, &output)?;
                    let supply = power.map(|(id, power)| Supply::opened(slot, id, power));
                    supplies.extend(supply);
                }
                RouteSource::Child { child, expose } => {
                    let sibling = earlier.named(child.as_str()).cloned();
                    let sibling = sibling.ok_or_else(|| GrantError::NoSibling {
                        slot: slot.to_string(),
                    })?;
                    supplies.push(Supply::of_sibling(slot, sibling, expose.clone()));
                }
            }
        }
        let exposes = rules.exposes.iter();
        let plan = ChildPlan {
            name: rules.name.to_string(),
            path: rules.path.clone(),
            program,
            require: rules.program.confinement,
            allow_weak: self.allow_weak,
            seed: self.seed.derive(&format!("child/{}", rules.path)),
            supplies,
            store: self
                .state
                .filter(|_| rules.program.durable)
                .map(|state| state.join("stores").join(format!("{}.redb", rules.name))),
            args: self.args.to_vec(),
            exposes: exposes
                .map(|e| (e.name.to_string(), e.interface.full()))
                .collect(),
            start_within: rules.start_timeout,
            output,
            echo: self.once,
        };
        Ok(Child::new(
            self.driver.clone(),
            self.siblings.clone(),
            plan,
            earlier.changes.clone(),
        ))
    }

    fn charge(&self, rules: &ChildRules, child: Rc<Child>) -> Charge {
        let mut spec = rules.child_spec();
        if self.once {
            spec = spec.with_restart(RestartKind::Temporary);
        }
        // Another budget than the program's: it cannot silence what is said of it.
        let notes = self.log.source(&rules.path);
        Charge::new(child, spec, notes)
    }
}
