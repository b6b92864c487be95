//! KILL of a connection that is on another backend.
//!
//! ```text
//! id known here, or nowhere        relayed as it is
//! both are nodes of one TiDB       relayed: TiDB routes it
//! on one other backend             the service account says it there, if the own backend has no
//!                                  connection of that id; the answer is ours
//! on several                       refused
//! ```
//!
//! The own backend is asked because others connect to it too, by another txguard or directly, and
//! ids of servers that stand alone are small: the same one is soon on both. Only connections of the
//! user who asks are killed so: the service account may do more than he.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::sql::Kill;
use crate::store::service::ServiceError;
use crate::txn::guard::Unguarded;
use crate::wire::frame::frames;
use crate::wire::packet::err::Err as ErrPacket;

use super::registry::{Found, Peer};
use super::request::{Request, Step, next_seq};
use super::{Conversation, Event, Session, own_error, own_ok};

/// What is done in place of relaying a KILL.
#[derive(Debug)]
pub(super) enum Errand {
    /// The service account says it.
    Send { kill: Kill, victim: Arc<Peer> },
    /// Our own session with the victim ends.
    End { kill: Kill, victim: Arc<Peer> },
    /// The victim is another user's.
    NotOwner(u64),
    /// It can't be done.
    Refuse(Own),
}

/// `ER_KILL_DENIED_ERROR`.
const NOT_OWNER: u16 = 1095;

impl Conversation {
    /// COM_PROCESS_KILL.
    pub(super) fn process_kill(&mut self, request: Request, up: &mut Lane) -> Step {
        if let [_, a, b, c, d] = *request.payload(up) {
            let id = u32::from_le_bytes([a, b, c, d]).into();
            if let Some(errand) = self.errand(Kill { id, query: false, soft: false }) {
                return self.divert(request, errand, Unguarded::Command, up);
            }
        }
        self.other(request, up)
    }

    /// What is to be done in place of relaying a KILL, if it must not be relayed.
    pub(super) fn errand(&self, kill: Kill) -> Option<Errand> {
        // A greeting tells no more than 32 bits; a longer id is TiDB's, which routes it.
        let id = u32::try_from(kill.id).ok()?;
        let victim = match self.registered.find(id) {
            Found::Nowhere | Found::Here => return None,
            Found::Several => return Some(Errand::Refuse(Own::KillAmbiguous)),
            Found::Elsewhere(victim) => victim,
        };
        if self.is_tidb && victim.is_tidb && are_of_one_cluster(self.connection_id, id) {
            return None;
        }
        Some(match () {
            () if victim.user != self.user => Errand::NotOwner(kill.id),
            () if victim.is_fragile && kill.query => Errand::Refuse(Own::KillFragile),
            () if self.deps.service.is_none() => Errand::Refuse(Own::KillElsewhere),
            () if victim.is_fragile => Errand::End { kill, victim },
            () => Errand::Send { kill, victim },
        })
    }

    /// Takes a KILL out of the client's stream; the session answers it behind the answers under way.
    pub(super) fn divert(
        &mut self,
        request: Request,
        errand: Errand,
        why: Unguarded,
        up: &mut Lane,
    ) -> Step {
        self.unguard(why, up);
        if let Some(txn) = self.txn.as_mut() {
            txn.statements += 1;
        }
        let seq = next_seq(up);
        up.discard(request.frame_len);
        self.event = Some(Event::Kill { errand, seq });
        Step::Next
    }

    async fn carry_out(&self, errand: Errand, seq: u8) -> Vec<u8> {
        match errand {
            Errand::Refuse(own) => own_error(own, seq),
            Errand::NotOwner(id) => {
                let message = format!("You are not owner of thread {id}");
                error(seq, NOT_OWNER, b"HY000", message.as_bytes())
            }
            Errand::End { kill, victim } => match self.is_also_here(kill).await {
                Ok(()) => {
                    let at = &*victim.backend;
                    tracing::info!(conn = self.connection_id, at, "KILL: closed");
                    victim.end.cancel();
                    own_ok(self.status, seq)
                }
                Err(own) => own_error(own, seq),
            },
            Errand::Send { kill, victim } => match self.is_also_here(kill).await {
                Ok(()) => self.send_kill(kill, &victim, seq).await,
                Err(own) => own_error(own, seq),
            },
        }
    }

    /// An error if the own backend has a connection of that id too, or can't be asked.
    async fn is_also_here(&self, kill: Kill) -> Result<(), Own> {
        let Some(service) = &self.deps.service else { return Err(Own::KillElsewhere) };
        let (id, at) = (u32::try_from(kill.id).unwrap_or_default(), self.registered.backend());
        match service.has(at, id).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Own::KillAmbiguous),
            Err(failed) => {
                tracing::warn!(conn = self.connection_id, at, %failed, "KILL: the own backend");
                Err(Own::KillNotSent)
            }
        }
    }

    async fn send_kill(&self, kill: Kill, victim: &Peer, seq: u8) -> Vec<u8> {
        let Some(service) = &self.deps.service else { return own_error(Own::KillElsewhere, seq) };
        let (conn, at) = (self.connection_id, &*victim.backend);
        match service.run(at, &kill.statement(victim.is_tidb)).await {
            Ok(()) => {
                tracing::info!(conn, at, "KILL: sent to the victim's backend");
                own_ok(self.status, seq)
            }
            Err(ServiceError::Server(said)) => {
                error(seq, said.code, said.state.as_bytes(), said.message.as_bytes())
            }
            Err(failed) => {
                tracing::warn!(conn, at, %failed, "KILL: the victim's backend was not reached");
                own_error(Own::KillNotSent, seq)
            }
        }
    }
}

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Carries a KILL out and answers it. Takes no longer than the service account's limit.
    ///
    /// Not cancel safe: the KILL may be carried out and not answered.
    pub(super) async fn kill(&mut self, errand: Errand, seq: u8) {
        let answer = self.talk.carry_out(errand, seq).await;
        self.link.down.push(&answer);
    }
}

fn error(seq: u8, code: u16, sqlstate: &[u8], message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    ErrPacket { code, sqlstate, message }.write(&mut payload);
    frames(seq, &payload)
}

/// Two ids of one TiDB cluster name two different nodes of it (TiDB `globalconn.GCID`: from bit 21
/// on the node's number, from bit 1 on the connection's, bit 0 unset); nodes that stand alone all
/// have the same number, and without global kill there is none.
fn are_of_one_cluster(one: u32, other: u32) -> bool {
    let node = |id: u32| Some(id >> 21).filter(|node| *node > 0 && id & 1 == 0);
    matches!((node(one), node(other)), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_cluster_have_numbers_that_differ() {
        let id = |node: u32, conn: u32| node << 21 | conn << 1;
        assert!(are_of_one_cluster(id(7, 1), id(8, 1)));
        assert!(!are_of_one_cluster(id(1, 1), id(1, 2)), "they stand alone");
        assert!(!are_of_one_cluster(id(7, 1), 12), "no global kill there");
        assert!(!are_of_one_cluster(13, id(7, 1)), "no global kill here");
        assert!(!are_of_one_cluster(id(7, 1) | 1, id(8, 1)), "the lower half of 64 bits");
    }
}
