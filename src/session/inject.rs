//! Statements of our own between the client's, and the tag before a text.

use crate::net::lane::Lane;
use crate::policy::{Plan, Tag};
use crate::sql;
use crate::wire::command::Command;
use crate::wire::frame::{HEADER_LEN, Header, PAYLOAD_MAX, frames};

use super::{Ask, Conversation, Injected, Txn};

impl Conversation {
    /// Sends a statement of ours behind what has been released; its reply is swallowed.
    pub(super) fn inject(&mut self, text: &str, what: Injected, up: &mut Lane) {
        let mut payload = Vec::with_capacity(text.len() + 1);
        payload.push(Command::QUERY.0);
        payload.extend_from_slice(text.as_bytes());
        up.push(&frames(0, &payload));
        self.expected.push(Command::QUERY, Ask::Proxy(what));
    }

    /// Asks whether a transaction is open. COM_PING leaves warnings and the diagnostics functions
    /// alone (seen on TiDB v7.5 and MariaDB 10.11).
    pub(super) fn probe(&mut self, up: &mut Lane) {
        self.ping(Injected::Probe, up);
    }

    /// Asks where the answers stand: an ERR before this one's belongs to a command that may have
    /// none.
    pub(super) fn fence(&mut self, up: &mut Lane) {
        self.ping(Injected::Fence, up);
    }

    /// Sends a COM_PING of ours.
    pub(super) fn ping(&mut self, what: Injected, up: &mut Lane) {
        up.push(&frames(0, &[Command::PING.0]));
        self.expected.push(Command::PING, Ask::Proxy(what));
    }

    /// The reply to a statement of ours is still to come.
    pub(super) fn waits_for(&self, what: Injected) -> bool {
        self.expected.iter().any(|one| matches!(one.context, Ask::Proxy(of) if of == what))
    }

    /// The open transaction has its id in the session alias.
    fn is_aliased(&self) -> bool {
        self.is_tidb
            && self.txn.as_ref().is_some_and(|txn| {
                txn.plan.tag == Tag::Alias && txn.explicit && !txn.plan.observe_only
            })
    }

    /// Puts the transaction's id into the session alias.
    pub(super) fn set_alias(&mut self, up: &mut Lane) {
        if let Some(txn) = self.txn.as_ref().filter(|_| self.is_aliased()) {
            let text = format!("SET tidb_session_alias='{}'", txn.id);
            self.inject(&text, Injected::Alias, up);
        }
    }

    /// Takes it out again.
    pub(super) fn clear_alias(&mut self, up: &mut Lane) {
        if self.is_aliased() {
            self.inject("SET tidb_session_alias=''", Injected::Alias, up);
        }
    }

    /// Statements of ours will follow answers of this transaction, so nothing may be sent ahead.
    pub(super) fn is_surrounded(&self) -> bool {
        self.is_aliased() || self.wants_capture()
    }

    /// An answer to the client is still to come.
    pub(super) fn client_waits(&self) -> bool {
        self.expected.iter().any(|one| matches!(one.context, Ask::Client { .. }))
    }
}

/// The tag of a transaction's statements.
pub(super) fn tag(txn: &Txn, out: &mut Vec<u8>) {
    out.clear();
    let keys = txn.plan.tag_keys;
    let values = sql::TagValues {
        attempt: keys.attempt.then_some(txn.attempts.current()),
        policy: keys.policy.then_some(&*txn.plan.name),
        traceparent: txn.traceparent.as_deref().filter(|_| keys.traceparent),
        tso: txn.hint.filter(|_| keys.tso),
        txn: keys.txn.then_some(txn.id),
    };
    values.write(out);
}

/// The tag of a prepared statement: only what never changes, as plan caches are keyed by the text.
pub(super) fn constant_tag(plan: &Plan, out: &mut Vec<u8>) {
    out.clear();
    let constant = plan.tag == Tag::Comment && plan.tag_keys.policy && !plan.observe_only;
    let policy = constant.then_some(&*plan.name);
    sql::TagValues { policy, ..sql::TagValues::default() }.write(out);
}

/// Puts a tag before the text of the COM_QUERY at the beginning of the lane. A packet that would
/// not fit one frame with it stays as it is. Returns how many bytes were put in.
pub(super) fn splice(up: &mut Lane, frame_len: usize, tag: &[u8]) -> usize {
    splice_at(up, frame_len, 1, tag)
}

/// The same, `at` bytes from the beginning of the payload.
pub(super) fn splice_at(up: &mut Lane, frame_len: usize, at: usize, bytes: &[u8]) -> usize {
    let len = frame_len - HEADER_LEN + bytes.len();
    if len >= PAYLOAD_MAX {
        return 0;
    }
    let seq = up.pending()[HEADER_LEN - 1];
    up.insert(HEADER_LEN + at, bytes);
    up.pending_mut()[..HEADER_LEN].copy_from_slice(&Header { len, seq }.to_bytes());
    bytes.len()
}
