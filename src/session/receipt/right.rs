//! May the user write receipts?

use std::time::Duration;

use tokio::time::Instant;

use crate::net::lane::Lane;
use crate::policy::Plan;
use crate::store::receipts::{self};

use crate::session::{Conversation, Injected};

use super::{OfTxn, Receipts, is_not_possible};

/// What is known of a user's right to write receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Granted,
    /// The server refused with this code.
    Denied(u16),
}

/// A refusal is asked again after this time: the GRANT may have been given.
const DENIED_FOR: Duration = Duration::from_secs(60);
impl Receipts {
    fn right(&self, user: &str, now: Instant) -> Option<Right> {
        let known = self.rights.get(user)?;
        let (right, since) = *known;
        (right == Right::Granted || now - since < DENIED_FOR).then_some(right)
    }

    /// Notes what the server said. True if that is new and a refusal.
    fn note(&self, user: &str, right: Right, now: Instant) -> bool {
        let before = self.rights.insert(user.into(), (right, now));
        right != Right::Granted && before.is_none_or(|(before, _)| before != right)
    }
}
impl Conversation {
    /// A transaction that begins now shall have a receipt.
    pub(in crate::session) fn wants_receipt(&self, plan: &Plan) -> OfTxn {
        let ready = self.deps.receipts.as_ref().is_some_and(|receipts| receipts.fates.is_ready());
        match plan.receipt && !plan.observe_only && ready {
            true => OfTxn::Wanted,
            false => OfTxn::Off,
        }
    }

    /// Asks whether the user may write receipts, if that isn't known: an INSERT of no row, ahead of
    /// BEGIN, which resets what it disturbed.
    ///
    /// Not where it would disturb more: in a transaction that is open without having been noticed
    /// (a reload brought the policy), or behind a SET TRANSACTION, which holds for what comes next.
    pub(in crate::session) fn ask_for_right(&mut self, plan: &Plan, up: &mut Lane) {
        if self.wants_receipt(plan) == OfTxn::Off || self.right().is_some() {
            return;
        }
        if self.status.in_trans() || self.one_shot {
            return;
        }
        self.inject(receipts::PROBE, Injected::Right, up);
        if !self.status.autocommit() {
            // It has opened a transaction.
            self.inject("ROLLBACK", Injected::Restore, up);
        }
    }

    pub(in crate::session) fn may_not_write_receipts(&self) -> bool {
        matches!(self.right(), Some(Right::Denied(_)))
    }

    pub(super) fn right(&self) -> Option<Right> {
        let receipts = self.deps.receipts.as_ref()?;
        receipts.right(&self.user, self.deps.clock.now())
    }

    /// The answer to [`Self::ask_for_right`].
    pub(in crate::session) fn told_right(&self, error: Option<u16>) {
        let Some(receipts) = &self.deps.receipts else { return };
        let right = match error {
            None => Right::Granted,
            // That is said of this session, not of the user.
            Some(code) if is_not_possible(code) => return,
            Some(code) => Right::Denied(code),
        };
        if receipts.note(&self.user, right, self.deps.clock.now()) {
            tracing::warn!(
                user = &*self.user,
                code = error,
                remedy = "txguard schema print --for USER",
                "the user may not write receipts; transactions go without"
            );
        }
    }
}
