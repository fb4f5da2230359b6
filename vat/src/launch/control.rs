//! The supervisor object behind `control.cap`.

use std::rc::Weak;

use super::launcher::Launcher;
use crate::power::{
    EnsembleStatus, Follow, FollowRef, LogReaderRef, LogRecord, Supervisor,
};
use crate::prelude::*;

/// What an operator holds. It does not keep the launcher alive.
#[derive(vat::Object)]
#[object(external)]
pub(crate) struct Control {
    launcher: Weak<Launcher>,
}

impl Control {
    pub(crate) fn new(launcher: Weak<Launcher>) -> Self {
        Self { launcher }
    }

    fn launcher(&self) -> Result<std::rc::Rc<Launcher>> {
        self.launcher.upgrade().ok_or_else(|| Error::disconnected("the launcher has ended"))
    }
}

impl Supervisor for Control {
    fn status(&self, _turn: &Turn) -> Result<EnsembleStatus> {
        let launcher = self.launcher()?;
        Ok(EnsembleStatus {
            name: launcher.name.clone(),
            manifest: launcher.manifest.path.display().to_string(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(launcher.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            listens: launcher.addresses().iter().map(ToString::to_string).collect(),
            children: vec![launcher.child.status()],
        })
    }

    async fn down(this: Near<Self>, cx: &Cx) -> Result<()> {
        let launcher = this.read(cx, Self::launcher)??;
        launcher.stop();
        launcher.ended().await;
        Ok(())
    }

    fn logs(&self, _turn: &Turn, count: u32) -> Result<Vec<LogRecord>> {
        self.launcher()?.log.last(count)
    }

    fn follow_logs(&mut self, turn: &Turn, reader: LogReaderRef) -> Result<FollowRef> {
        let launcher = self.launcher()?;
        let following = turn.spawn(Following { _reader: reader.clone() });
        let watched = following.downgrade();
        let mut records = launcher.log.follow();
        tokio::task::spawn_local(async move {
            while let Some(record) = records.next().await {
                if watched.upgrade().is_none() || reader.record(record).await.is_err() {
                    return; // nobody listens any more
                }
            }
        });
        Ok(FollowRef::from(&following))
    }
}

/// A running `follow_logs`: dropped with the last reference to it.
#[derive(Clone, vat::Object)]
struct Following {
    _reader: LogReaderRef,
}

impl Follow for Following {}
