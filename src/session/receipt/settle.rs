//! A COMMIT that may have happened, or that was stopped: what the client is told.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::base::error::{Own, code};
use crate::base::metrics::ReceiptOutcome;
use crate::coordinator::resolver::Fate;
use crate::net::lane::Lane;
use crate::store::idempotency::{IdempotencyKey, Used};
use crate::store::receipts::ReceiptKey;
use crate::store::service::ServiceError;
use crate::txn::record::Outcome;
use crate::wire::command::Command;
use crate::wire::frame::HEADER_LEN;
use crate::wire::status::Status;

use crate::session::{Conflict, Conversation, End, Event, Session, Txn, What, own_error, own_ok};

use super::{Doubt, OfTxn, Why};

impl Conversation {
    /// COMMIT was answered by an error that proves nothing, or that may be about its idempotency
    /// key; its receipt was written. True if that has to be found out before the client hears it.
    pub(in crate::session) fn doubts(
        &mut self,
        code: u16,
        ends: Option<Outcome>,
        what: &mut What,
        sent: Instant,
        frame: &[u8],
    ) -> bool {
        let Some(txn) = self.txn.as_ref() else { return false };
        let OfTxn::Written(key) = txn.receipt else { return false };
        let why = match ends {
            Some(Outcome::Unknown) => Why::Unknown(key),
            Some(Outcome::Failed(code::DUPLICATE_ENTRY)) if txn.key.is_some() => {
                Why::Duplicate(frame.into())
            }
            _ => return false,
        };
        let what = std::mem::replace(what, What::Other);
        self.event = Some(Event::Doubt(Box::new(Doubt { code, why, what, sent })));
        true
    }

    /// An OK to COMMIT that the backend could not give; nothing is open behind it.
    fn committed_after_all(&mut self, down: &mut Lane, up: &mut Lane) {
        self.status.0 &= !Status::IN_TRANS;
        down.push(&own_ok(self.status, 1));
        self.deps.metrics.receipt(ReceiptOutcome::Committed);
        if let Some(txn) = self.txn.as_mut() {
            txn.receipt = OfTxn::Off;
        }
        self.finish(Outcome::Committed, up);
    }

    /// The client gets to know that nothing has happened; nothing is open behind it.
    fn not_committed(&mut self, code: u16, said: &[u8], down: &mut Lane, up: &mut Lane) {
        self.status.0 &= !Status::IN_TRANS;
        if let Some(txn) = self.txn.as_mut() {
            txn.committing = false;
        }
        down.push(said);
        self.finish(Outcome::Failed(code), up);
    }

    /// A transaction has ended.
    pub(in crate::session) fn close_receipt(&self, txn: &Txn, outcome: Outcome) {
        match (txn.receipt, outcome) {
            // Not before the whole packet was answered: its key would come behind.
            (OfTxn::Void(key), _) => {
                if let Some(receipts) = &self.deps.receipts {
                    receipts.fates.discard(key, txn.key.as_ref(), self.registered.backend());
                }
            }
            (OfTxn::Written(_), Outcome::Committed) => {
                self.deps.metrics.receipt(ReceiptOutcome::Written);
            }
            (OfTxn::Wanted, Outcome::Committed) => {
                self.deps.metrics.receipt(ReceiptOutcome::Without);
            }
            _ => {}
        }
    }
}

/// The code that a record of an attempt that was decided carries, where no server gave one.
const LOST: u16 = 0;

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// The backend is gone. If it has swallowed the answer to a COMMIT with a receipt, the client
    /// gets that answer all the same.
    ///
    /// Takes no longer than the resolver's limit. Cancel safe: the resolver's work is repeatable.
    pub(in crate::session) async fn last_answer(&mut self) -> End {
        let Some(key) = self.talk.receipt_under_way().filter(|_| !self.talk.bare) else {
            return End::BackendGone;
        };
        let (talk, link) = (&mut self.talk, &mut self.link);
        match talk.resolve(key).await {
            Fate::Committed => talk.committed_after_all(&mut link.down, &mut link.up),
            Fate::NotCommitted => {
                talk.deps.metrics.receipt(ReceiptOutcome::NotCommitted);
                let said = own_error(Own::NotCommitted, 1);
                talk.not_committed(LOST, &said, &mut link.down, &mut link.up);
            }
            Fate::Pending => {}
        }
        let _ = link.flush_down().await;
        End::BackendGone
    }

    /// COMMIT has not happened, or that has to be found out. An error means that the session ends.
    ///
    /// Not cancel safe: the client may stay without an answer.
    pub(in crate::session) async fn settle(&mut self, doubt: Doubt) -> Result<(), End> {
        let Doubt { code, why, what, sent } = doubt;
        let key = match why {
            Why::Unknown(key) => key,
            Why::Stopped => return self.again_or_not(code, what, sent).await,
            Why::Refused if self.is_open().await? => {
                self.talk.deps.metrics.receipt(ReceiptOutcome::Refused);
                self.talk.commit_without_receipt(what, sent, &mut self.link.up);
                return Ok(());
            }
            Why::Refused => return self.again_or_not(code, what, sent).await,
            Why::KeyUnusable => {
                let said = own_error(Own::KeyUnusable, 1);
                return self.not_at_all(code, &said, &what, sent).await;
            }
            Why::Duplicate(frame) => {
                let own = self.used_up().await.map(|own| own_error(own, 1));
                let said = own.as_deref().unwrap_or(&frame);
                return self.not_at_all(code, said, &what, sent).await;
            }
        };
        match self.talk.resolve(key).await {
            Fate::Committed => {
                self.talk.measure(Command::QUERY, &what, sent);
                self.talk.committed_after_all(&mut self.link.down, &mut self.link.up);
                Ok(())
            }
            Fate::NotCommitted => self.again_or_not(code, what, sent).await,
            // As TiDB does when it doesn't know either.
            Fate::Pending => Err(End::BackendGone),
        }
    }

    /// Nothing has happened, and the client hears this.
    async fn not_at_all(
        &mut self,
        code: u16,
        said: &[u8],
        what: &What,
        sent: Instant,
    ) -> Result<(), End> {
        // Where the connection is lost meanwhile, that has rolled back.
        let rolled_back = self.roll_back().await;
        self.talk.measure(Command::QUERY, what, sent);
        let mut said = said.to_vec();
        // It may have been the second answer of a packet.
        said[HEADER_LEN - 1] = 1;
        self.talk.not_committed(code, &said, &mut self.link.down, &mut self.link.up);
        rolled_back.map(|_| ())
    }

    async fn again_or_not(&mut self, code: u16, what: What, sent: Instant) -> Result<(), End> {
        self.talk.deps.metrics.receipt(ReceiptOutcome::NotCommitted);
        if let Some(txn) = self.talk.txn.as_mut() {
            txn.receipt = OfTxn::Wanted;
            txn.committing = false;
        }
        if self.talk.is_guarded() {
            let frame = own_error(Own::NotCommitted, 1).into();
            return self.replay(Conflict { code, frame, what, sent }).await;
        }
        self.not_at_all(code, &own_error(Own::NotCommitted, 1), &what, sent).await
    }
}

impl Conversation {
    /// Which transaction has used a key up.
    pub(in crate::session) async fn used(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<Used>, ServiceError> {
        match &self.deps.receipts {
            Some(receipts) => receipts.fates.used(key, self.registered.backend()).await,
            None => Ok(None),
        }
    }

    async fn resolve(&self, key: ReceiptKey) -> Fate {
        let Some(receipts) = &self.deps.receipts else { return Fate::Pending };
        let at = self.registered.backend();
        let fate = receipts.fates.resolve(key, at).await;
        if fate == Fate::Pending {
            self.deps.metrics.receipt(ReceiptOutcome::Pending);
            receipts.fates.resolve_later(key, at);
        }
        fate
    }
}
