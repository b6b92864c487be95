//! Two replay rules that look right and are not. Every check of replays must catch them: one that
//! passes these would prove nothing.

use std::borrow::Cow;

use txguard::txn::fingerprint::Answer;
use txguard::txn::journal::{Entry, Role};
use txguard::txn::replay::{Rule, Verified};

/// TiDB's own retry, until it was removed: only the writes, whatever they answer.
pub(crate) struct WritesOnly;

impl Rule for WritesOnly {
    fn resend<'a>(&self, entry: &Entry, request: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        (entry.role != Role::Read).then_some(Cow::Borrowed(request))
    }

    fn accepts(&self, _: &Entry, _: &Answer) -> bool {
        true
    }
}

/// Everything again and every answer compared, but in pessimistic mode so that it doesn't conflict.
pub(crate) struct Escalate;

impl Rule for Escalate {
    fn resend<'a>(&self, entry: &Entry, request: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match entry.role {
            Role::Begin => Some(Cow::Borrowed(b"\x03BEGIN PESSIMISTIC")),
            Role::Commit | Role::Insert | Role::Read | Role::Session | Role::Write => {
                Verified.resend(entry, request)
            }
        }
    }

    fn accepts(&self, entry: &Entry, again: &Answer) -> bool {
        Verified.accepts(entry, again)
    }
}
