//! Hot path: frames of the client. Which command is it, may it go out now, what does it need.
//!
//! Inside a guarded transaction a command goes out only after the answer before it is complete:
//! a deadlock answered to the first of two pipelined statements would let the second one run
//! outside the transaction.

use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::net::relay::Flow;
use crate::sql::is_plain_collation;
use crate::txn::effect::WHOLE_MAX;
use crate::txn::guard::Unguarded;
use crate::wire::command::{Command, Reply};
use crate::wire::expect::Expected;
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::packet::execute::statement_id;
use crate::wire::packet::login::{ChangeUser, change_user};

use super::{Ask, Conversation, Event, What};

/// Where we are in the client's stream.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Bytes of the frame under way that pass without a look.
    skip: usize,
    /// The next frame continues the packet under way.
    continues: bool,
    /// The client sends a file, up to an empty packet; the backend reads it to that end also when
    /// it has met an error.
    file: bool,
    /// The backend has asked for more than the first packet of COM_CHANGE_USER.
    login: bool,
    /// A COM_PING of ours goes out behind the packet under way.
    pub(super) fence: bool,
    /// Payload bytes of the packet under way, in all its frames so far.
    packet: usize,
    /// An answer to that packet is expected.
    asked: bool,
}

impl Position {
    /// The backend asks the client for a file.
    pub(super) fn ask_for_file(&mut self) {
        self.file = true;
    }

    /// The backend asks the client who it is.
    pub(super) fn ask_for_login(&mut self) {
        self.login = true;
    }

    /// Payload bytes of the client's packet, this frame of it included.
    #[inline]
    pub(super) fn packet_len(&self, header: Header) -> usize {
        header.len + if self.continues { self.packet } else { 0 }
    }

    /// How many of the expected answers are to the packet under way.
    pub(super) fn asked(&self) -> usize {
        usize::from(self.continues && self.asked)
    }
}

/// What became of a command.
pub(super) enum Step {
    /// It went out, or was taken; look at the next one.
    Next,
    /// It has to wait for an answer or for more bytes.
    Wait,
}

/// Nothing goes out behind this command before its answer: what the client sends next may be no
/// command, or its meaning depends on the answer.
fn stands_alone(command: Command) -> bool {
    matches!(command.reply(), Reply::Authentication | Reply::Unknown)
}

/// A command at the beginning of the lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) command: Command,
    /// Header and payload; more than what is pending if `whole` is false.
    pub(super) frame_len: usize,
    /// All of it is pending.
    pub(super) whole: bool,
}

impl Request {
    /// The payload from the command byte on, as far as it is pending.
    pub(super) fn payload<'a>(&self, up: &'a Lane) -> &'a [u8] {
        let pending = up.pending();
        &pending[HEADER_LEN..self.frame_len.min(pending.len())]
    }
}

/// The sequence id of an answer to the request at the beginning of the lane.
pub(super) fn next_seq(up: &Lane) -> u8 {
    Header::read(up.pending()).map_or(0, |header| header.seq).wrapping_add(1)
}

impl Conversation {
    /// Looks at what the client sent and lets go what may go.
    pub(super) fn requests(&mut self, up: &mut Lane) -> Flow {
        loop {
            if self.bare {
                up.release_all();
                return Flow::Relay;
            }
            if self.event.is_some() {
                let free = self.expected.is_empty();
                return if free { Flow::Stop } else { Flow::Relay };
            }
            if self.up.skip > 0 {
                let len = self.up.skip.min(up.pending().len());
                up.release(len);
                self.up.skip -= len;
                if self.up.skip > 0 {
                    return Flow::Relay;
                }
            }
            if self.up.fence && !self.up.continues {
                self.up.fence = false;
                self.fence(up);
            }
            let Some(header) = Header::read(up.pending()) else { return Flow::Relay };
            if self.is_too_long(header) {
                self.refuse_statement(header);
                return if self.event.is_some() { Flow::Stop } else { Flow::Relay };
            }
            let data = self.client_sends_data();
            if self.up.continues || data {
                // An empty packet ends a file, unless it ends a packet of 16 MiB.
                self.up.file &= header.len > 0 || self.up.continues;
                match data {
                    true => self.count.data(up.pending_mut()),
                    false => self.count.more(up.pending_mut()),
                }
                self.pass(header);
                continue;
            }
            match self.request(header, up) {
                Step::Next => {}
                Step::Wait if matches!(self.event, Some(Event::Refused { .. })) => {
                    return Flow::Stop;
                }
                Step::Wait => return Flow::Relay,
            }
        }
    }

    /// Bytes that are missing for a look at the frame would still be read.
    pub(super) fn frame_fits(&self, up: &Lane) -> bool {
        Header::read(up.pending()).is_some_and(|header| {
            let len = header.frame_len();
            len > up.pending().len() && len <= self.whole_max()
        })
    }

    /// A guarded transaction needs all of a request for its journal, and one with a key to know
    /// that it doesn't commit.
    fn whole_max(&self) -> usize {
        match self.is_guarded() || self.has_key() || self.next_key.is_some() {
            true => WHOLE_MAX.max(self.limit.terms.journal_bytes_max),
            false => WHOLE_MAX,
        }
    }

    /// The client's packets are no commands: a file, or an answer to an authentication request.
    pub(super) fn client_sends_data(&self) -> bool {
        let changes = |front: &Expected<Ask>| front.command == Command::CHANGE_USER;
        self.up.file || self.up.login && self.expected.front().is_some_and(changes)
    }

    /// Lets a whole frame pass without a look.
    fn pass(&mut self, header: Header) {
        self.up.packet = self.up.packet_len(header);
        self.up.skip = header.frame_len();
        self.up.continues = header.continues();
    }

    fn request(&mut self, header: Header, up: &mut Lane) -> Step {
        let pending = up.pending();
        let command = match (header.len, pending.get(HEADER_LEN)) {
            (0, _) => Command::SLEEP,
            (_, Some(first)) => Command(*first),
            (_, None) => return Step::Wait,
        };
        if self.expected.is_full() {
            return Step::Wait;
        }
        let whole = pending.len() >= header.frame_len() && !header.continues();
        let request = Request { command, frame_len: header.frame_len(), whole };
        if !whole && request.frame_len <= self.whole_max() && !header.continues() {
            return Step::Wait;
        }
        // Of what passes in pieces enough must be there to tell what it is.
        if pending.len() < request.frame_len.min(WHOLE_MAX) {
            return Step::Wait;
        }
        if !self.expected.is_empty() && (self.must_wait() || stands_alone(command)) {
            return Step::Wait;
        }
        match command {
            Command::QUERY => self.query(request, up),
            Command::STMT_PREPARE => self.prepare(request, up),
            Command::STMT_EXECUTE => self.execute(request, up),
            Command::STMT_CLOSE => self.close(request, up),
            Command::STMT_SEND_LONG_DATA => self.long_data(request, up),
            Command::STMT_RESET => self.reset_statement(request, up),
            Command::PROCESS_KILL => self.process_kill(request, up),
            Command::INIT_DB => self.init_db(request, up),
            _ => self.other(request, up),
        }
    }

    /// The answers under way must be complete before anything else goes out.
    fn must_wait(&self) -> bool {
        let strict = |txn: &super::Txn| {
            let acts = txn.guarded && !txn.plan.observe_only;
            let decides = txn.ending || txn.probed.is_some() || self.receipt_under_way().is_some();
            acts || self.is_surrounded() || !txn.open || decides
        };
        let behind = self.expected.back().is_some_and(|last| stands_alone(last.command));
        behind || self.txn.as_ref().is_some_and(|txn| strict(txn))
    }

    pub(super) fn other(&mut self, request: Request, up: &mut Lane) -> Step {
        self.up.login &= request.command != Command::CHANGE_USER;
        if request.command == Command::STMT_BULK_EXECUTE {
            self.statements.forget_types();
        }
        let payload = request.payload(up);
        let what = match request.command {
            Command::PING | Command::STATISTICS | Command::QUIT => What::Other,
            Command::RESET_CONNECTION => What::Reset,
            Command::SET_OPTION => match *payload {
                [_, on @ (0 | 1), 0] => What::MultiStatements(on == 0),
                _ => What::Other,
            },
            Command::CHANGE_USER => match change_user(payload, self.capabilities) {
                Ok(ChangeUser { user, schema, collation, plugin }) => {
                    if let Err(own) = self.passwords.begin(plugin) {
                        return self.refuse(own, up);
                    }
                    What::ChangeUser {
                        user: String::from_utf8_lossy(user).into(),
                        schema: (!schema.is_empty())
                            .then(|| String::from_utf8_lossy(schema).into()),
                        plain: collation.is_some_and(is_plain_collation),
                    }
                }
                Err(_) => What::ChangeUser { user: "".into(), schema: None, plain: false },
            },
            _ => What::Other,
        };
        let harmless = matches!(
            request.command,
            Command::PING
                | Command::STATISTICS
                | Command::QUIT
                | Command::RESET_CONNECTION
                | Command::CHANGE_USER
        );
        if !harmless {
            self.unguard(Unguarded::Command, up);
            // Old servers have one that drops a schema.
            self.schema_known = false;
        }
        self.send(request, what, 0, up);
        Step::Next
    }

    /// Answers the request at the beginning of the lane with an error of our own, when all before
    /// it is answered, and ends the connection.
    pub(super) fn refuse(&mut self, own: Own, up: &Lane) -> Step {
        if let (true, Some(header)) = (self.expected.is_empty(), Header::read(up.pending())) {
            self.event = Some(Event::Refused { own, seq: header.seq.wrapping_add(1) });
        }
        Step::Wait
    }

    /// Lets the request at the beginning of the lane go and expects its reply.
    pub(super) fn send(&mut self, request: Request, what: What, tag: usize, up: &mut Lane) {
        self.up.asked = false;
        let sent = self.deps.clock.now();
        self.limit.heard(sent);
        match request.command.reply() {
            Reply::Nothing => {}
            Reply::Complaint if !self.up.fence => {}
            _ => {
                self.up.asked = true;
                self.expected.push(request.command, Ask::Client { what, sent, tag });
            }
        }
        if let Some(header) = Header::read(up.pending()) {
            self.count.command(header.seq);
            self.pass(header);
        }
        let len = self.up.skip.min(up.pending().len());
        up.release(len);
        self.up.skip -= len;
    }

    /// The statement id of a COM_STMT_*.
    pub(super) fn statement_of(request: Request, up: &Lane) -> Option<u32> {
        statement_id(request.payload(up)).ok()
    }
}
