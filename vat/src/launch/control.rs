//! The supervisor object behind `control.cap`.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::broker::log::LogReader;
use super::launcher::Launcher;
use crate::power::{EnsembleStatus, Follow, FollowRef, LogReaderRef, LogRecord, Supervisor};
use crate::prelude::*;

/// How often the log is looked at for whoever follows it.
const LOOK: Duration = Duration::from_millis(200);
/// Most records in one answer.
const MOST: u32 = 10_000;

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

    fn launcher(&self) -> Result<Rc<Launcher>> {
        self.launcher
            .upgrade()
            .ok_or_else(|| Error::disconnected("the launcher has ended"))
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
            listens: launcher
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
            children: launcher.children(),
        })
    }

    async fn down(this: Near<Self>, cx: &Cx) -> Result<()> {
        let launcher = this.read(cx, Self::launcher)??;
        launcher.stop();
        launcher.ended().await;
        Ok(())
    }

    async fn logs(this: Near<Self>, cx: &Cx, count: u32) -> Result<Vec<LogRecord>> {
        let launcher = this.read(cx, Self::launcher)??;
        launcher.log.flush().await;
        let (dir, count) = (launcher.log_dir.clone(), count.min(MOST) as usize);
        let read = tokio::task::spawn_blocking(move || LogReader::last(&dir, count, |_| true));
        let (records, _) = read.await.map_err(Error::of)?.map_err(Error::of)?;
        Ok(records.into_iter().map(LogRecord::from).collect())
    }

    fn follow_logs(&mut self, turn: &Turn, reader: LogReaderRef) -> Result<FollowRef> {
        let dir = self.launcher()?.log_dir.clone();
        let following = turn.spawn(Following);
        tokio::task::spawn_local(follow(dir, reader, following.downgrade()));
        Ok(FollowRef::from(&following))
    }
}

/// Sends what is new in the log to `to`, as long as anybody holds the `Follow`.
async fn follow(dir: std::path::PathBuf, to: LogReaderRef, following: WeakNear<Following>) {
    let opened = tokio::task::spawn_blocking(move || LogReader::last(&dir, 0, |_| true)).await;
    let Ok(Ok((_, mut reader))) = opened else {
        return;
    };
    while following.upgrade().is_some() {
        let read = tokio::task::spawn_blocking(move || (reader.read(), reader)).await;
        let Ok((Ok(records), same)) = read else {
            return;
        };
        reader = same;
        for record in records {
            if to.record(LogRecord::from(record)).await.is_err() {
                return; // nobody listens any more
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A running `follow_logs`: dropped with the last reference to it.
#[derive(Clone, vat::Object)]
struct Following;

impl Follow for Following {}
