//! May this transaction still be replayed?
//!
//! A transaction starts guarded where its policy asks for retries, and stays so as long as every
//! request is on the known-safe list and nothing happened that would give a second run other
//! inputs than the first. One step outside switches the guard off until the transaction ends:
//! never an error, always a reason.
//!
//! The inputs of a run are the data (which the replay reads anew and compares), the clock and
//! random functions (compared where the client saw them), and the session: schema in use,
//! variables, last insert id, prepared statements with their parameter types. The session is the
//! same connection, so its part is equal as long as no request of the transaction changes it, or
//! what it changes can be put back (see [`super::restore`]).

use crate::sql::{Class, Kind, Reason, Variable};

use super::journal::{Full, Role};
use super::restore::Restore;

/// Why a transaction is not guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unguarded {
    /// A backend transaction was open before txguard saw it begin.
    BeginNotSeen,
    /// It was chained to the one before by `COMMIT AND CHAIN`.
    Chained,
    /// The client's character set can hide quotes from a lexer.
    Charset,
    /// A command other than a statement changed or read the session.
    Command,
    /// COMMIT was answered by an error, and the transaction may still be open.
    CommitFailed,
    /// A cursor was opened.
    Cursor,
    /// The client said that it wants no retry.
    Declined,
    /// The answer carried a generated id that a replay can't give again.
    GeneratedId,
    /// LOCAL INFILE: the client's file is gone.
    Infile,
    /// The process's journals are at their limit together.
    JournalProcess,
    /// The transaction's journal is at its limit.
    JournalTransaction,
    /// Parameters were sent in pieces.
    LongData,
    /// `SET TRANSACTION` before BEGIN, or something that may hold one: it works once only.
    OneShot,
    /// Parameter types bound before the transaction were bound anew inside it.
    ParameterTypes,
    /// Too many prepared statements would have to be kept open.
    PreparedOpen,
    /// A statement that is not on the known-safe list.
    Statement(Reason),
    /// A prepared statement that txguard did not see being prepared.
    StatementUnknown,
}

impl Unguarded {
    /// The label in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeginNotSeen => "begin_not_seen",
            Self::Chained => "chained",
            Self::Charset => "charset",
            Self::Command => "command",
            Self::CommitFailed => "commit_failed",
            Self::Cursor => "cursor",
            Self::Declined => "declined",
            Self::GeneratedId => "generated_id",
            Self::Infile => "local_infile",
            Self::JournalProcess => "journal_process",
            Self::JournalTransaction => "journal_transaction",
            Self::LongData => "long_data",
            Self::OneShot => "one_shot_characteristics",
            Self::ParameterTypes => "parameter_types",
            Self::PreparedOpen => "prepared_open",
            Self::Statement(reason) => reason.as_str(),
            Self::StatementUnknown => "statement_unknown",
        }
    }
}

impl From<Full> for Unguarded {
    fn from(full: Full) -> Self {
        match full {
            Full::Process => Self::JournalProcess,
            Full::Transaction => Self::JournalTransaction,
        }
    }
}

/// A prepared execution, as far as the guard asks.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    /// The statement's id.
    pub statement: u32,
    /// A cursor or anything else than a plain execution.
    pub flags: u8,
    /// It has parameters.
    pub has_params: bool,
    /// Their types travel with this execution.
    pub types_bound: bool,
    /// A parameter was sent in pieces before.
    pub long_data: bool,
}

/// The guard of one transaction.
#[derive(Debug, Default)]
pub struct Guard {
    /// Statements whose first execution in this transaction used types bound before it.
    inherited: Vec<u32>,
    /// Statements executed in this transaction with types of their own.
    bound: Vec<u32>,
    /// What a replay has to put back.
    restore: Restore,
    /// The server has triggers, which may set user variables unseen.
    triggers: bool,
    /// A statement has read user variables.
    reads_user_variables: bool,
    /// A statement may have run a trigger.
    writes: bool,
    /// A statement has read LAST_INSERT_ID().
    reads_insert_id: bool,
    /// An INSERT may have generated an id, and no answer told.
    id_unseen: bool,
    /// An answer has told of a generated id.
    id_told: bool,
}

impl Guard {
    /// The guard of a session, by whether its server has triggers.
    #[must_use]
    pub fn new(triggers: bool) -> Self {
        Self { triggers, ..Self::default() }
    }

    /// Forgets the transaction before; keeps its memory.
    pub fn begin(&mut self) {
        self.reads_user_variables = false;
        self.writes = false;
        self.inherited.clear();
        self.bound.clear();
        self.restore.clear();
        self.reads_insert_id = false;
        self.id_unseen = false;
        self.id_told = false;
    }

    /// What a replay has to put back before it begins.
    #[must_use]
    pub const fn restore(&self) -> &Restore {
        &self.restore
    }

    /// May a transaction that begins now be replayed? Not if something may hold for it alone that
    /// a second run would not have, or if its texts may not read as they look.
    pub fn admit_begin(one_shot: bool, charset_plain: bool) -> Result<(), Unguarded> {
        match () {
            () if one_shot => Err(Unguarded::OneShot),
            () if !charset_plain => Err(Unguarded::Charset),
            () => Ok(()),
        }
    }

    /// Is this statement on the known-safe list, and what does it do?
    pub fn admit(&mut self, class: &Class) -> Result<Role, Unguarded> {
        if let Some(reason) = class.unsafe_reason {
            return Err(Unguarded::Statement(reason));
        }
        self.reads_insert_id |= class.reads_insert_id;
        self.check_insert_id()?;
        self.reads_user_variables |= class.reads_user_variables;
        self.writes |=
            matches!(class.kind, Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete);
        if self.triggers && self.needs_no_triggers() {
            return Err(Unguarded::Statement(Reason::UserVariable));
        }
        Ok(match class.kind {
            Kind::Read => Role::Read,
            Kind::Insert | Kind::Replace => Role::Insert,
            _ => Role::Write,
        })
    }

    /// It reads user variables and writes: what a trigger sets, a replay would read changed, also
    /// ahead of the statement that runs it.
    #[must_use]
    pub const fn needs_no_triggers(&self) -> bool {
        self.reads_user_variables && self.writes
    }

    /// A request was answered by an error or by rows, which tell nothing of generated ids.
    ///
    /// LAST_INSERT_ID() is the one from before BEGIN as long as no answer has told of a generated
    /// id, except behind an INSERT that failed, by a conflict too: the id it had generated may stay
    /// (TiDB: always, MariaDB: behind a row that went in), or that was answered by rows (RETURNING,
    /// MariaDB). Seen on v7.5 and 10.11.
    pub fn no_id_told(&mut self, role: Role) -> Result<(), Unguarded> {
        self.id_unseen |= role == Role::Insert;
        self.check_insert_id()
    }

    /// An answer has told of a generated id. `pinned`: a replay can give it again.
    ///
    /// What has read LAST_INSERT_ID() before read one from before BEGIN, which a replay would not
    /// find any more; what reads it from now on reads one that the replay gives again.
    pub fn id_told(&mut self, pinned: bool) -> Result<(), Unguarded> {
        if !pinned {
            return Err(Unguarded::GeneratedId);
        }
        if self.reads_insert_id && !self.id_told {
            return Err(Unguarded::Statement(Reason::LastInsertId));
        }
        self.id_told = true;
        Ok(())
    }

    /// A statement has read LAST_INSERT_ID().
    #[must_use]
    pub const fn reads_insert_id(&self) -> bool {
        self.reads_insert_id
    }

    fn check_insert_id(&self) -> Result<(), Unguarded> {
        match self.reads_insert_id && self.id_unseen {
            true => Err(Unguarded::Statement(Reason::LastInsertId)),
            false => Ok(()),
        }
    }

    /// May a change of the schema in use be replayed? If the schema before it is known; a replay
    /// begins there.
    pub fn admit_use(&mut self, schema: Option<&str>) -> Result<Role, Unguarded> {
        match schema.is_some_and(|name| self.restore.remember_schema(name)) {
            true => Ok(Role::Session),
            false => Err(Unguarded::Statement(Reason::SchemaChange)),
        }
    }

    /// May a SET of these variables be replayed (`None`: what it does isn't known)? Together with
    /// the statement that has to go out right before it, empty if there is none.
    pub fn admit_set(&mut self, set: Option<Vec<Variable>>) -> Result<(Role, String), Unguarded> {
        let saves = set.and_then(|variables| self.restore.save(variables));
        let saves = saves.ok_or(Unguarded::Statement(Reason::Set))?;
        Ok((Role::Session, saves))
    }

    /// May this execution be replayed?
    ///
    /// Parameter types live in the backend's session: an execution without types uses the ones
    /// bound last. If a transaction starts with inherited types and binds others later, a second
    /// run would start with the others.
    pub fn admit_execution(&mut self, execution: Execution) -> Result<(), Unguarded> {
        if execution.flags != 0 {
            return Err(Unguarded::Cursor);
        }
        if execution.long_data {
            return Err(Unguarded::LongData);
        }
        if !execution.has_params {
            return Ok(());
        }
        let id = execution.statement;
        let seen = self.bound.contains(&id) || self.inherited.contains(&id);
        match (execution.types_bound, seen) {
            (true, true) if self.inherited.contains(&id) => Err(Unguarded::ParameterTypes),
            (true, false) => {
                self.bound.push(id);
                Ok(())
            }
            (false, false) => {
                self.inherited.push(id);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Execution =
        Execution { statement: 1, flags: 0, has_params: true, types_bound: true, long_data: false };

    #[test]
    fn types_bound_within_the_transaction_are_replayed_with_it() {
        let mut guard = Guard::default();
        assert_eq!(guard.admit_execution(PLAIN), Ok(()));
        assert_eq!(guard.admit_execution(Execution { types_bound: false, ..PLAIN }), Ok(()));
        assert_eq!(guard.admit_execution(PLAIN), Ok(()));
    }

    #[test]
    fn inherited_types_must_not_be_bound_anew() {
        let mut guard = Guard::default();
        let inherited = Execution { types_bound: false, ..PLAIN };
        assert_eq!(guard.admit_execution(inherited), Ok(()));
        assert_eq!(guard.admit_execution(inherited), Ok(()));
        assert_eq!(guard.admit_execution(PLAIN), Err(Unguarded::ParameterTypes));
        guard.begin();
        assert_eq!(guard.admit_execution(PLAIN), Ok(()));
    }

    #[test]
    fn the_last_insert_id_is_an_input_that_an_insert_may_change_unseen() {
        let mut guard = Guard::default();
        let mut class = Class::too_large();
        (class.unsafe_reason, class.reads_insert_id) = (None, true);
        assert_eq!(guard.no_id_told(Role::Insert), Ok(()));
        assert_eq!(guard.admit(&class), Err(Unguarded::Statement(Reason::LastInsertId)));
        guard.begin();
        assert_eq!(guard.admit(&class), Ok(Role::Write));
        assert_eq!(guard.no_id_told(Role::Write), Ok(()));
        assert_eq!(guard.no_id_told(Role::Insert), Err(Unguarded::Statement(Reason::LastInsertId)));
    }

    #[test]
    fn an_id_that_was_told_is_given_again_where_it_can_be() {
        let mut class = Class::too_large();
        (class.unsafe_reason, class.reads_insert_id) = (None, true);
        let mut guard = Guard::default();
        assert_eq!(guard.id_told(false), Err(Unguarded::GeneratedId));
        assert_eq!(guard.id_told(true), Ok(()));
        assert_eq!(guard.admit(&class), Ok(Role::Write));
        assert_eq!(guard.id_told(true), Ok(()));
        guard.begin();
        assert_eq!(guard.admit(&class), Ok(Role::Write));
        assert_eq!(guard.id_told(true), Err(Unguarded::Statement(Reason::LastInsertId)));
    }

    #[test]
    fn user_variables_are_no_inputs_where_a_trigger_may_set_them() {
        let mut class = Class::too_large();
        (class.unsafe_reason, class.kind) = (None, Kind::Update);
        let reads = Class { kind: Kind::Read, reads_user_variables: true, ..class.clone() };
        let refused = Err(Unguarded::Statement(Reason::UserVariable));
        for pair in [[&class, &reads], [&reads, &class]] {
            let mut guard = Guard::new(true);
            assert!(guard.admit(pair[0]).is_ok());
            assert_eq!(guard.admit(pair[1]), refused);
            guard.begin();
            assert_eq!(guard.admit(&reads), Ok(Role::Read));
            let mut guard = Guard::new(false);
            assert!(pair.iter().all(|class| guard.admit(class).is_ok()));
        }
    }

    #[test]
    fn cursors_and_long_data_are_not_replayed() {
        let mut guard = Guard::default();
        let cursor = Execution { flags: 1, ..PLAIN };
        assert_eq!(guard.admit_execution(cursor), Err(Unguarded::Cursor));
        let long = Execution { long_data: true, ..PLAIN };
        assert_eq!(guard.admit_execution(long), Err(Unguarded::LongData));
    }
}
