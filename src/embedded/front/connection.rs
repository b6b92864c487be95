//! One client's connection: its session, its prepared statements, and where in the protocol it is.

use std::collections::HashMap;
use std::str;

use super::wire;
use crate::embedded::engine::{Prepared, Session, SqlError};

const COM_QUIT: u8 = 0x01;
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_RESET_CONNECTION: u8 = 0x1f;

const SERVER_STATUS_IN_TRANS: u16 = 0x0001;
const SERVER_STATUS_AUTOCOMMIT: u16 = 0x0002;

/// What the next packet to the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The greeting.
    Greeting,
    /// An answer to the login, maybe after a change of the method.
    Login,
    /// The first packet of the answer to a command.
    First,
    /// The first packet of the answer to a PREPARE, whose OK carries no status flags.
    FirstOfPrepare,
    /// A later packet: a column, a row, or an end.
    Later,
}

/// The state that the shim and both adaptors of a connection share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    statements: HashMap<u32, Prepared>,
    last_statement: u32,
    phase: Phase,
    /// The error that takes the place of the next answer.
    error: Option<SqlError>,
}

impl Connection {
    pub(super) fn new(session: Session) -> Self {
        let statements = HashMap::new();
        Self { session, statements, last_statement: 0, phase: Phase::Greeting, error: None }
    }

    pub(super) fn is_logging_in(&self) -> bool {
        matches!(self.phase, Phase::Greeting | Phase::Login)
    }

    /// Makes `error` the answer to the command that is being answered, whatever opensrv says.
    pub(super) fn answer_with(&mut self, error: SqlError) {
        self.error = Some(error);
    }

    /// Keeps a prepared statement and gives it an id.
    pub(super) fn keep(&mut self, prepared: Prepared) -> u32 {
        self.last_statement += 1;
        self.statements.insert(self.last_statement, prepared);
        self.last_statement
    }

    pub(super) fn statement(&self, id: u32) -> Option<Prepared> {
        self.statements.get(&id).cloned()
    }

    pub(super) fn close(&mut self, id: u32) {
        self.statements.remove(&id);
    }

    /// A command has come in. False if opensrv must not see it: its answer is ready, or is a plain
    /// OK.
    pub(super) fn on_command(&mut self, payload: &[u8]) -> bool {
        self.error = None;
        let (command, body) = payload.split_first().map_or((0, payload), |(c, body)| (*c, body));
        self.phase = if command == COM_STMT_PREPARE { Phase::FirstOfPrepare } else { Phase::First };
        match command {
            COM_PING | COM_QUIT | COM_STMT_CLOSE => true,
            COM_INIT_DB | COM_QUERY | COM_STMT_PREPARE => {
                str::from_utf8(body).is_ok() || self.refuse(SqlError::invalid_text())
            }
            COM_STMT_EXECUTE | COM_STMT_SEND_LONG_DATA => {
                let id = body.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                self.statements.contains_key(&id) || self.refuse(SqlError::unknown_statement(id))
            }
            COM_RESET_CONNECTION => {
                self.session.reset();
                self.statements.clear();
                false
            }
            _ => self.refuse(SqlError::unknown_command()),
        }
    }

    fn refuse(&mut self, error: SqlError) -> bool {
        // What takes the command's place is a ping.
        self.phase = Phase::First;
        self.answer_with(error);
        false
    }

    /// A packet goes to the client. What to send instead, if it is not right as it is.
    pub(super) fn on_answer(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let phase = self.phase;
        let first = payload.first().copied();
        self.phase = match (phase, first) {
            (Phase::Greeting, _) => Phase::Login,
            // Another authentication method is asked for.
            (Phase::Login, Some(0xfe)) => Phase::Login,
            _ => Phase::Later,
        };
        if phase != Phase::Greeting
            && let Some(error) = self.error.take()
        {
            return Some(wire::error_packet(&error));
        }
        let status = self.status();
        match (phase, first) {
            (Phase::Greeting, _) => wire::greeting_with_status(payload, status),
            (Phase::Login | Phase::First, Some(0x00)) => wire::ok_with_status(payload, status),
            (Phase::Later, Some(0xfe)) if payload.len() == 5 => {
                wire::eof_with_status(payload, status)
            }
            (Phase::Later, Some(0xfe)) => wire::ok_with_status(payload, status),
            _ => None,
        }
    }

    fn status(&self) -> u16 {
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        flag(self.session.in_transaction(), SERVER_STATUS_IN_TRANS)
            | flag(self.session.autocommit(), SERVER_STATUS_AUTOCOMMIT)
    }
}
