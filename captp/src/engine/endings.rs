//! Finishes that say that the reference in an answer is given back: see
//! [`crate::connection::endings`].

use super::Engine;
use crate::message::write;
use crate::{ConnId, Host, ImportId};

impl<H: Host> Engine<H> {
    /// The last message that was sent is the Finish for an answer that held this reference and no
    /// other: it may still come to say that the reference is given back.
    pub(super) fn note_finish(&mut self, conn: ConnId, only: Option<ImportId>) {
        if let Some(only) = only
            && let Some(row) = self.connections.get_mut(conn)
            && row.unsent.is_none()
        {
            row.endings.note(only, row.stream_end());
        }
    }

    /// Lets a Finish that has not left say that the only count of a reference is given back; whether
    /// there is one. While calls wait for room they may name the reference.
    pub(super) fn finish_releases(&mut self, conn: ConnId, id: ImportId) -> bool {
        #[cfg(any(test, feature = "testing"))]
        let mistaken = self.has_fault(super::testing::Fault::FinishMistaken);
        let Some(row) = self.connections.get_mut(conn) else {
            return false;
        };
        let Some(end) = row.endings.take(id) else {
            return false;
        };
        let behind = row.stream_end().saturating_sub(end);
        let unsent = row.outbound.len() as u64 >= behind + write::FINISH_BYTES;
        let at = usize::try_from(behind).unwrap_or(usize::MAX);
        #[cfg(any(test, feature = "testing"))]
        let at = if mistaken { 0 } else { at };
        row.unsent.is_none() && unsent && row.outbound.patch_last(at, write::release_results)
    }
}
