//! What txguard answers itself: `CALL txguard.<verb>(…)`, one file per verb, as text and prepared.
//! Without txguard the server says that there is no such procedure.
//!
//! The server hears nothing of it, so nothing that a statement changes is changed: no diagnostics,
//! no transaction. Prepared calls have ids of their own, from the upper half, which no server
//! reaches.

mod current_transaction;
mod idempotency_key;

use std::collections::HashMap;

use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::sql::{self, Argument, Call, Scan, Verb};
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::packet::execute::{statement_id, strings};
use crate::wire::packet::prepare_ok::PrepareOk;
use crate::wire::packet::result::{Form, ResultSet};
use crate::wire::status::Status;

use super::request::{Request, Step, next_seq};
use super::{Conversation, Event, own_error, own_ok};

/// What a verb answers.
enum Answer {
    /// It is done.
    Done,
    /// Columns and rows.
    Rows(ResultSet),
    /// It can't be done.
    Refused(Own),
}

/// The verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LocalVerb {
    CurrentTransaction,
    IdempotencyKey,
}

/// A call that was prepared.
#[derive(Debug, Clone)]
struct PreparedCall {
    verb: LocalVerb,
    arguments: Vec<Argument>,
}

/// The prepared calls of a session.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_id: HashMap<u32, PreparedCall>,
    given: u32,
}

/// Where ids of prepared calls begin.
const FIRST_ID: u32 = 1 << 31;

/// How many may be prepared at a time.
const CALLS_MAX: usize = 1024;

impl Calls {
    fn add(&mut self, call: PreparedCall) -> Option<u32> {
        if self.by_id.len() >= CALLS_MAX {
            return None;
        }
        let id = FIRST_ID | self.given;
        self.given = (self.given + 1) & !FIRST_ID;
        self.by_id.insert(id, call);
        Some(id)
    }

    /// The session is as after login.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}

impl Conversation {
    /// The text is a call that is answered here, and has been taken.
    pub(super) fn call(&mut self, request: Request, scan: &Scan, up: &mut Lane) -> Option<Step> {
        let (verb, call) = self.read_call(request, scan, up)?;
        if !self.expected.is_empty() {
            return Some(Step::Wait);
        }
        let given = call.arguments.into_iter().map(text_of).collect();
        let answer = self.answer(verb, given);
        Some(self.give(request, &answer, Form::Text, up))
    }

    /// The same of a text that is prepared.
    pub(super) fn prepare_call(
        &mut self,
        request: Request,
        scan: &Scan,
        up: &mut Lane,
    ) -> Option<Step> {
        let (verb, call) = self.read_call(request, scan, up)?;
        if !self.expected.is_empty() {
            return Some(Step::Wait);
        }
        let markers = call.arguments.iter().filter(|one| **one == Argument::Marker).count();
        let params = u16::try_from(markers).unwrap_or(u16::MAX);
        let id = self.calls.add(PreparedCall { verb, arguments: call.arguments });
        let seq = next_seq(up);
        let answer = match id {
            Some(statement) => {
                PrepareOk { statement, columns: 0, params }.reply(seq, self.capabilities)
            }
            None => own_error(Own::CallArguments, seq),
        };
        Some(self.take_and_say(request, answer, up))
    }

    /// A command about a prepared call: executes it, or takes note.
    pub(super) fn about_call(&mut self, request: Request, up: &mut Lane) -> Option<Step> {
        let id = statement_id(request.payload(up)).ok()?;
        let call = self.calls.by_id.get(&id)?.clone();
        if !self.expected.is_empty() {
            return Some(Step::Wait);
        }
        if !request.whole {
            return Some(self.refuse(Own::CallArguments, up));
        }
        match request.command {
            Command::STMT_EXECUTE => {
                let payload = request.payload(up);
                let answer = match bind(&call.arguments, payload) {
                    Some(given) => self.answer(call.verb, given),
                    None => Answer::Refused(Own::CallArguments),
                };
                Some(self.give(request, &answer, Form::Binary, up))
            }
            Command::STMT_CLOSE => {
                self.calls.by_id.remove(&id);
                up.discard(request.frame_len);
                Some(Step::Next)
            }
            _ => Some(self.give(request, &Answer::Done, Form::Binary, up)),
        }
    }

    fn read_call(&self, request: Request, scan: &Scan, up: &Lane) -> Option<(LocalVerb, Call)> {
        if scan.verb != Verb::Call || scan.multi || scan.opaque || !request.whole {
            return None;
        }
        let call = sql::call(&request.payload(up)[1..], scan, self.lexing)?;
        let verb = match &*call.verb {
            "current_transaction" => LocalVerb::CurrentTransaction,
            "idempotency_key" => LocalVerb::IdempotencyKey,
            _ => return None,
        };
        Some((verb, call))
    }

    fn answer(&mut self, verb: LocalVerb, given: Vec<Option<Box<str>>>) -> Answer {
        match (verb, <[_; 1]>::try_from(given)) {
            (LocalVerb::CurrentTransaction, Err(given)) if given.is_empty() => {
                self.current_transaction()
            }
            (LocalVerb::IdempotencyKey, Ok([Some(key)])) => self.idempotency_key(&key),
            _ => Answer::Refused(Own::CallArguments),
        }
    }

    fn give(&mut self, request: Request, answer: &Answer, form: Form, up: &mut Lane) -> Step {
        let seq = next_seq(up);
        let status = Status(self.status.0 & Status::LASTING);
        let bytes = match answer {
            Answer::Done => own_ok(status, seq),
            Answer::Refused(own) => own_error(*own, seq),
            Answer::Rows(rows) => {
                let eof_gone = self.capabilities.has(Capabilities::DEPRECATE_EOF);
                rows.frames(form, status, eof_gone, seq)
            }
        };
        self.take_and_say(request, bytes, up)
    }

    /// Takes the request out of the lane; the session says the answer.
    pub(super) fn take_and_say(
        &mut self,
        request: Request,
        answer: Vec<u8>,
        up: &mut Lane,
    ) -> Step {
        self.limit.heard(self.deps.clock.now());
        up.discard(request.frame_len);
        self.event = Some(Event::Say(answer));
        Step::Next
    }
}

/// A literal; a marker in a text has no value.
fn text_of(argument: Argument) -> Option<Box<str>> {
    match argument {
        Argument::Text(text) => Some(text),
        Argument::Marker => None,
    }
}

/// The arguments with the values of an execution in place of markers. `None` if a value is no
/// string.
fn bind(arguments: &[Argument], payload: &[u8]) -> Option<Vec<Option<Box<str>>>> {
    let markers = arguments.iter().filter(|one| **one == Argument::Marker).count();
    let mut values = strings(payload, u16::try_from(markers).ok()?).ok()?.into_iter();
    let bound = arguments.iter().map(|argument| match argument {
        Argument::Text(text) => Some(Some(text.clone())),
        Argument::Marker => match values.next()? {
            Some(value) => Some(Some(std::str::from_utf8(value).ok()?.into())),
            None => Some(None),
        },
    });
    bound.collect()
}
