//! Both tables of questions as one: ids, and what is counted of the questions in them.

use super::Connection;
use super::question::{Asker, Question, Sort, State};
use crate::{Host, QuestionId};

/// First id of questions that are made for pipelining only.
///
/// rpc.capnp: Call.onlyPromisePipeline. A peer that does not know the hint returns such a call, and
/// nobody can tell when. So their ids have a range of their own, are used one after the other, and
/// are good again when all others have been used.
pub(crate) const FIRST_PIPELINE_ID: u32 = 1 << 31;

impl<H: Host> Connection<H> {
    /// A new question, counted as far as it counts; its id.
    pub(crate) fn ask(&mut self, mut question: Question<H>) -> QuestionId {
        question.trip = self.round_trips + 1;
        self.asked += usize::from(question.bytes > 0);
        self.asked_bytes += question.bytes;
        if question.sort != Sort::Pipeline {
            return QuestionId::new(self.questions.insert(question));
        }
        loop {
            let id = FIRST_PIPELINE_ID | self.pipelines_asked;
            self.pipelines_asked = (self.pipelines_asked + 1) & !FIRST_PIPELINE_ID;
            if self.pipelines.get(id).is_none() {
                self.pipelines.insert(id, question);
                return QuestionId::new(id);
            }
        }
    }

    pub(crate) fn question(&self, id: QuestionId) -> Option<&Question<H>> {
        match id.raw() >= FIRST_PIPELINE_ID {
            true => self.pipelines.get(id.raw()),
            false => self.questions.get(id.raw()),
        }
    }

    pub(crate) fn question_mut(&mut self, id: QuestionId) -> Option<&mut Question<H>> {
        match id.raw() >= FIRST_PIPELINE_ID {
            true => self.pipelines.get_mut(id.raw()),
            false => self.questions.get_mut(id.raw()),
        }
    }

    pub(crate) fn all_questions(&self) -> impl Iterator<Item = (u32, &Question<H>)> {
        self.questions.iter().chain(self.pipelines.iter())
    }

    pub(crate) fn questions_len(&self) -> usize {
        self.questions.len() + self.pipelines.len()
    }

    /// The answer of a question is here, and in use.
    pub(crate) fn keep_question(&mut self, id: QuestionId) {
        self.change_question(id, |question| question.state = State::Answered);
    }

    /// A question is over, but for its Finish, which waits.
    pub(crate) fn end_question(&mut self, id: QuestionId) {
        self.change_question(id, Question::end);
    }

    fn change_question(&mut self, id: QuestionId, change: impl FnOnce(&mut Question<H>)) {
        let Some(question) = self.question_mut(id) else {
            return;
        };
        let before = (question.is_answered(), question.is_ended());
        change(question);
        let after = (question.is_answered(), question.is_ended());
        self.answered = self.answered + usize::from(after.0) - usize::from(before.0);
        self.ended = self.ended + usize::from(after.1) - usize::from(before.1);
    }

    /// Takes the reply of a question that has nothing else, and with it the question.
    pub(crate) fn take_reply(&mut self, id: QuestionId) -> Option<H::Reply> {
        // Those for pipelining only have no reply.
        let question = self.questions.get_mut(id.raw())?;
        if !question.is_plain() {
            return None;
        }
        self.round_trips = self.round_trips.max(question.trip);
        let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
        let bytes = question.bytes;
        self.questions.forget(id.raw());
        self.uncount_asked(bytes);
        match asker {
            Asker::Reply(reply) => Some(reply),
            _ => None,
        }
    }

    pub(crate) fn remove_question(&mut self, id: QuestionId) -> Option<Question<H>> {
        let question = match id.raw() >= FIRST_PIPELINE_ID {
            true => self.pipelines.remove(id.raw()),
            false => self.questions.remove(id.raw()),
        }?;
        self.answered -= usize::from(question.is_answered());
        self.ended -= usize::from(question.is_ended());
        if let Some(unsent) = &mut self.unsent {
            if question.waits > 0 {
                unsent.remove_question(question.sort);
            }
            if question.lingers {
                unsent.forget(question.named);
            }
        }
        Some(question)
    }

    /// Drops a question where it is, while nothing waits for room. Whether there was one.
    pub(crate) fn forget_question(&mut self, id: QuestionId) -> bool {
        let Some(question) = self.question(id) else {
            return false;
        };
        // One whose Finish waits is not dropped so.
        self.answered -= usize::from(question.is_answered());
        match id.raw() >= FIRST_PIPELINE_ID {
            true => drop(self.pipelines.remove(id.raw())),
            false => self.questions.forget(id.raw()),
        }
        true
    }

    /// Whether a Return for a question that is not there may be one for a question that was made
    /// for pipelining only and has been forgotten.
    pub(crate) const fn may_be_late(&self, id: QuestionId) -> bool {
        id.raw() >= FIRST_PIPELINE_ID && id.raw() & !FIRST_PIPELINE_ID < self.pipelines_asked
    }
}
