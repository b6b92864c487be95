//! A transaction ends: by COMMIT, by ROLLBACK, by something that commits on the way, by an error,
//! or because one side is gone.

use crate::base::error::{CommitError, StatementError};
use crate::net::lane::Lane;
use crate::policy::TsoMode;
use crate::txn::fingerprint::Answer;
use crate::txn::guard::Unguarded;
use crate::txn::journal::Role;
use crate::txn::record::{Outcome, Record, Timestamps};
use crate::wire::command::Command;

use super::request::{Request, Step};
use super::{Conversation, End, Injected, What};

impl Conversation {
    /// COMMIT inside a transaction; `plain` if it says nothing else.
    pub(super) fn commit(&mut self, request: Request, plain: bool, up: &mut Lane) -> Step {
        // A statement of ours stands before this one; answers before it must be in.
        if self.wants_capture() && self.client_waits() {
            return Step::Wait;
        }
        let with_receipt = plain && request.whole && self.carries_receipt();
        if with_receipt && !self.is_sure_of_flags(up) {
            return Step::Wait;
        }
        if self.must_not_commit(with_receipt) {
            return self.stop_commit(request, up);
        }
        self.record(request, Role::Commit, true, up);
        if let Some(txn) = self.txn.as_mut() {
            txn.committing = true;
        }
        self.capture_before(up);
        if with_receipt {
            return self.commit_with_receipt(request, up);
        }
        let tag = self.tag_text(request, up);
        let request = Request { frame_len: request.frame_len + tag, ..request };
        self.send(request, What::Commit, tag, up);
        Step::Next
    }

    /// ROLLBACK inside a transaction.
    pub(super) fn rollback(&mut self, request: Request, up: &mut Lane) -> Step {
        let tag = self.tag_text(request, up);
        let request = Request { frame_len: request.frame_len + tag, ..request };
        self.send(request, What::Rollback, tag, up);
        Step::Next
    }

    fn tag_text(&mut self, request: Request, up: &mut Lane) -> usize {
        if request.command == Command::QUERY { self.tag(request, up) } else { 0 }
    }

    pub(super) fn wants_capture(&self) -> bool {
        self.is_tidb
            && self.can_restore()
            && self.txn.as_ref().is_some_and(|txn| {
                txn.explicit && txn.plan.tso == TsoMode::Exact && !txn.plan.observe_only
            })
    }

    /// What an error says about the open transaction. `Some` ends it.
    pub(super) fn outcome_of_error(what: &What, code: u16) -> Option<Outcome> {
        match what {
            What::Commit | What::Begin { .. } => Some(match CommitError::classify(code) {
                CommitError::Conflict => Outcome::Conflict(code),
                CommitError::Aborted => Outcome::Failed(code),
                CommitError::Uncertain => Outcome::Unknown,
            }),
            _ => match StatementError::classify(code) {
                StatementError::Conflict => Some(Outcome::Conflict(code)),
                StatementError::TransactionGone => Some(Outcome::Failed(code)),
                StatementError::StatementOnly => None,
            },
        }
    }

    /// The transaction has ended; its record is published, or waits for its timestamps.
    pub(super) fn finish(&mut self, outcome: Outcome, up: &mut Lane) {
        let Some(txn) = self.txn.take() else { return };
        self.close_receipt(&txn, outcome);
        self.journal.clear();
        self.fingerprint = None;
        self.flush_closes(up);
        self.one_shot = std::mem::take(&mut self.one_shot_behind);
        let record = Record {
            txn: txn.id,
            policy: txn.plan.name.clone(),
            attempts: txn.attempts.current(),
            outcome,
            unguarded: txn.unguarded,
            replay: txn.replay,
            hint: txn.hint,
            timestamps: Timestamps::agree(txn.start_ts, None),
            traceparent: txn.traceparent,
            statements: txn.statements,
            duration: self.deps.clock.now() - txn.started,
        };
        if self.waits_for(Injected::TxnInfo) {
            self.finishing = Some((record, txn.start_ts));
        } else {
            self.publish(&record);
        }
    }

    pub(super) fn publish(&self, record: &Record) {
        if record.outcome == Outcome::Committed {
            self.deps.queues.tokens().give();
        }
        self.deps.recorder.publish(record, self.connection_id, &self.deps.metrics);
    }

    /// The session ends; an open transaction ends with it.
    pub(super) fn leave(&mut self, end: End) {
        if let Some((record, _)) = self.finishing.take() {
            self.publish(&record);
        }
        let committing = self.txn.as_ref().is_some_and(|txn| txn.committing);
        let doubted = self.txn.as_ref().is_some_and(|txn| txn.doubt.is_some());
        let outcome = match end {
            _ if committing || doubted => self.outcome_unless_gone(Outcome::Unknown),
            End::BackendGone
            | End::ClientGone
            | End::Drained
            | End::Killed
            | End::Own(_)
            | End::Refused => Outcome::RolledBack,
        };
        let provisional = self.txn.as_ref().is_some_and(|txn| !txn.open);
        if provisional {
            self.txn = None;
            self.journal.clear();
        }
        self.finish(outcome, &mut Lane::default());
        // Its timestamps will not come any more.
        if let Some((record, _)) = self.finishing.take() {
            self.publish(&record);
        }
    }

    /// Flags say that a transaction is open behind the answer to `what`.
    pub(super) fn opened(&mut self, what: &mut What, up: &mut Lane) {
        match (what, self.txn.as_mut()) {
            (What::Begin { next }, Some(_)) if next.is_some() => {
                let next = next.take();
                let begin = self.journal.last_answered();
                match self.txn.as_ref().is_some_and(|txn| txn.open) {
                    true => self.finish(self.outcome_unless_gone(Outcome::Committed), up),
                    false => self.forget(up),
                }
                self.txn = next;
                self.guard.begin();
                self.opened_next(begin);
            }
            (ended @ (What::Commit | What::Rollback), Some(_)) => {
                // COMMIT AND CHAIN: a new transaction without a BEGIN of its own.
                let outcome = match ended {
                    What::Commit => Outcome::Committed,
                    _ => Outcome::RolledBack,
                };
                self.finish(self.outcome_unless_gone(outcome), up);
                self.begin_unseen(Unguarded::Chained);
            }
            (_, Some(txn)) => txn.open = true,
            (_, None) => self.begin_unseen(Unguarded::BeginNotSeen),
        }
    }

    /// The outcome, unless a conflict of an implicit commit had ended the transaction before.
    fn outcome_unless_gone(&self, outcome: Outcome) -> Outcome {
        match self.txn.as_ref().and_then(|txn| txn.doubt) {
            Some(code) if CommitError::classify(code) == CommitError::Conflict => {
                Outcome::Conflict(code)
            }
            _ => outcome,
        }
    }

    /// The transaction that a BEGIN inside another one opened. Its BEGIN was the last request of
    /// the journal before.
    fn opened_next(&mut self, begin: Option<(Vec<u8>, Answer)>) {
        let Some(txn) = self.txn.as_mut() else { return };
        txn.open = true;
        if !txn.guarded {
            return;
        }
        let recorded = begin.is_some_and(|(request, answer)| {
            let pushed = self.journal.push(&request, Role::Begin, true).is_ok();
            self.journal.answer(answer);
            pushed
        });
        if !recorded {
            txn.guarded = false;
            txn.unguarded = Some(Unguarded::BeginNotSeen);
        }
    }

    /// There was no transaction after all.
    pub(super) fn forget(&mut self, up: &mut Lane) {
        // Without autocommit a key goes on to the statement that opens one.
        let key = self.txn.take().filter(|txn| !txn.explicit).and_then(|txn| txn.key);
        self.next_key = key.or(self.next_key.take());
        self.journal.clear();
        self.fingerprint = None;
        self.flush_closes(up);
    }

    /// Flags say that no transaction is open behind the answer to `what`.
    pub(super) fn closed(&mut self, what: &What, up: &mut Lane) {
        let Some(txn) = self.txn.as_ref() else { return };
        if !txn.open {
            // With autocommit off: this statement did not open one.
            self.forget(up);
            return;
        }
        let doubted = txn.doubt.is_some();
        let outcome = self.outcome_unless_gone(match what {
            What::Rollback | What::Reset | What::ChangeUser { .. } => Outcome::RolledBack,
            What::Statement | What::Other if doubted => Outcome::Unknown,
            // COMMIT, or a statement that commits on its way, such as DDL.
            _ => Outcome::Committed,
        });
        self.finish(outcome, up);
    }
}
