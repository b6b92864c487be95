//! Generated ids in a replay: an INSERT generates the id that it generated the first time.
//!
//! ```text
//! first run   INSERT INTO t (v) VALUES (1)        OK, id 7: noted in the journal
//! replay      ROLLBACK
//!             PREPARE SELECT * FROM t, CLOSE      which column has AUTO_INCREMENT?
//!             BEGIN …
//!             INSERT INTO t (v,`id`) VALUES (1,LAST_INSERT_ID(7))
//! ```
//!
//! The id is still free: it was handed out once, and neither ROLLBACK nor anybody else gives it
//! back. The table is asked by a preparation that is never executed, as that disturbs neither
//! FOUND_ROWS() nor LAST_INSERT_ID(). What was executed prepared is prepared anew with the id in
//! it, for all attempts of a replay. A name without a schema, also in a sub-query, means the same
//! there as in the first run only if both were read in the same schema, and the rest of it only if
//! the session says the same of `sql_mode` and character sets at BEGIN; else the id isn't noted.
//!
//! Where no column is found, or the statement gives it values itself, the statement is sent as it
//! was: the answer tells whether the id is the same. But then it has set no LAST_INSERT_ID(), so a
//! transaction that reads it is not replayed.
//!
//! An AUTO_RANDOM column can't be told from its definition; but an id that was told, in a table
//! without AUTO_INCREMENT, came from the BIGINT that is the primary key. TiDB takes a value for it
//! only while `allow_auto_random_explicit_insert` is on (8216).
//!
//! Only at TiDB: elsewhere a trigger may see whether the id was given or generated.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::lane::Lane;
use crate::sql::{self, OWN_PREFIX};
use crate::txn::journal::{Entry, Told};
use crate::wire::command::Command;
use crate::wire::packet::column::{AUTO_INCREMENT, Definition, LONGLONG, PRI_KEY};
use crate::wire::packet::execute::{Parameters, executed, rebound};
use crate::wire::packet::prepare_ok::PrepareOk;
use crate::wire::response::Kind;

use super::prepared::{PreparedInsert, send_close};
use super::replay::query;
use super::{Conversation, End, Session};

/// What a replay sends in place of requests that have told an id.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// By the index of their entry.
    requests: Vec<(usize, Vec<u8>)>,
    /// Prepared for them.
    statements: Vec<u32>,
    /// An id of an AUTO_RANDOM column is among them.
    random: bool,
    /// One of them can't be run again.
    pub(super) refused: bool,
}

impl Pins {
    /// What is sent in place of the entry at `index`, if anything is.
    pub(super) fn instead_of(&self, index: usize) -> Option<&[u8]> {
        let found = self.requests.iter().find(|(entry, _)| *entry == index);
        found.map(|(_, request)| &**request)
    }
}

/// The column that generates a table's ids.
#[derive(Debug, PartialEq, Eq)]
struct Generating {
    name: Box<[u8]>,
    /// It has AUTO_RANDOM, not AUTO_INCREMENT.
    random: bool,
}

/// A statement that was prepared for a replay.
#[derive(Debug, Default)]
struct Preparation {
    statement: Option<u32>,
    columns: Vec<Box<[u8]>>,
}

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Finds out how ids are given again; outside of a transaction, in the schema of BEGIN.
    pub(super) async fn pins(&mut self) -> Result<Pins, End> {
        let mut pins = Pins::default();
        for told in self.talk.journal.told().to_vec() {
            let Some((_, request)) = self.talk.journal.get(told.entry) else { break };
            let request = request.to_vec();
            pins.refused |= !self.pin(told, &request, &mut pins).await?;
        }
        Ok(pins)
    }

    /// False if the request can't be run again.
    async fn pin(&mut self, told: Told, request: &[u8], pins: &mut Pins) -> Result<bool, End> {
        let Some(text) = self.talk.insert_text(request).map(<[u8]>::to_vec) else {
            return Ok(false);
        };
        let Some(insert) = sql::insert(&text, told.lexing) else { return Ok(false) };
        let column = self.generating(insert.table()).await?;
        let Some(column) = column.filter(|column| !insert.names(&column.name)) else {
            return Ok(!self.talk.guard.reads_insert_id());
        };
        if column.random && insert.rows() > 1 {
            // They need not follow each other.
            return Ok(false);
        }
        pins.random |= column.random;
        let text = insert.with_ids(&column.name, told.id);
        if Command(request[0]) == Command::QUERY {
            pins.requests.push((told.entry, [&[Command::QUERY.0], &*text].concat()));
            return Ok(true);
        }
        let Some(id) = self.prepare_again(&text).await?.statement else { return Ok(false) };
        pins.statements.push(id);
        let execution = self.talk.execution(told.entry, request, id);
        let known = execution.is_some();
        pins.requests.extend(execution.map(|execution| (told.entry, execution)));
        Ok(known)
    }

    /// The column that generates the ids of a table, if one does.
    async fn generating(&mut self, table: &[u8]) -> Result<Option<Generating>, End> {
        let Preparation { statement, columns } =
            self.prepare_again(&[b"SELECT * FROM ", table].concat()).await?;
        if let Some(id) = statement {
            send_close(id, &mut self.link.up);
        }
        Ok(generating(&columns))
    }

    async fn prepare_again(&mut self, text: &[u8]) -> Result<Preparation, End> {
        let mut preparation = Preparation::default();
        let mut look = |kind, payload: &[u8]| preparation.take(kind, payload);
        let request = [&[Command::STMT_PREPARE.0], text].concat();
        self.exchange_with(&request, true, Some(&mut look)).await?;
        Ok(preparation)
    }

    /// The replay is over.
    pub(super) fn close_pins(&mut self, pins: Option<Pins>) {
        for id in pins.unwrap_or_default().statements {
            send_close(id, &mut self.link.up);
        }
    }

    /// Lets the server take ids of an AUTO_RANDOM column, or takes that back: the client's own
    /// statements find it as they left it.
    pub(super) async fn allow_random_ids(&mut self, pins: &Pins, allow: bool) -> Result<(), End> {
        const VARIABLE: &str = "@@session.allow_auto_random_explicit_insert";
        if !pins.random {
            return Ok(());
        }
        self.set(&match allow {
            true => format!("SET @{OWN_PREFIX}random={VARIABLE},{VARIABLE}=1"),
            false => format!("SET {VARIABLE}=@{OWN_PREFIX}random"),
        })
        .await
    }

    /// Keeps LAST_INSERT_ID() as the client knows it, before a replay writes ids.
    pub(super) async fn save_id(&mut self) -> Result<(), End> {
        match self.talk.journal.told() {
            [] => Ok(()),
            _ => self.set(&format!("SET @{OWN_PREFIX}id=LAST_INSERT_ID()")).await,
        }
    }

    /// Brings it back behind a replay that is given up.
    pub(super) async fn reinstate_id(&mut self) -> Result<(), End> {
        let id = format!("@{OWN_PREFIX}id");
        match self.talk.journal.told() {
            [] => Ok(()),
            _ => self.set(&format!("SET {id}=LAST_INSERT_ID({id})")).await,
        }
    }

    /// A statement without which the session would not be what the client believes in.
    async fn set(&mut self, statement: &str) -> Result<(), End> {
        match self.exchange(&query(statement), true).await?.answer.error {
            None => Ok(()),
            Some(_) => Err(End::BackendGone),
        }
    }
}

impl Conversation {
    /// The answer to the last request has told of a generated id: can a replay give it again?
    pub(super) fn id_told(&mut self, id: u64, up: &mut Lane) {
        let pinned = self.is_tidb
            && i64::try_from(id).is_ok()
            && self.journal.last().is_some_and(|(_, request)| self.means_the_same(request));
        match self.guard.id_told(pinned) {
            Ok(()) => self.journal.note_id(id, self.lexing),
            Err(why) => self.unguard(why, up),
        }
    }

    /// An INSERT that is understood, into a table that its name will also mean in a replay, in the
    /// schema of BEGIN.
    fn means_the_same(&self, request: &[u8]) -> bool {
        let text = self.insert_text(request);
        let insert = text.and_then(|text| sql::insert(text, self.lexing));
        let Some(insert) = insert else { return false };
        let stays = !self.guard.restore().changes_schema();
        let Some(prepared) = self.prepared_insert(request) else {
            // It is sent in its place; only the question for the column goes out ahead.
            return insert.is_qualified() || stays;
        };
        if self.txn.as_ref().is_none_or(|txn| txn.readings != prepared.readings) {
            return false;
        }
        let schema = self.schema.as_deref().filter(|_| self.schema_known && stays);
        prepared.is_qualified || schema.is_some() && prepared.schema.as_deref() == schema
    }

    /// The text of a request, if it is to be looked at.
    fn insert_text<'a>(&'a self, request: &'a [u8]) -> Option<&'a [u8]> {
        match request {
            [first, text @ ..] if *first == Command::QUERY.0 => Some(text),
            _ => self.prepared_insert(request).map(|insert| &*insert.text),
        }
    }

    /// What a request executes, if it is to be looked at.
    fn prepared_insert(&self, request: &[u8]) -> Option<&PreparedInsert> {
        self.statements.insert(executed(request)?)
    }

    /// Executions of the journal are run again, or others in their place.
    pub(super) fn note_replayed(&mut self) {
        for (_, request) in self.journal.entries() {
            if let Some(id) = executed(request) {
                self.statements.replayed(id);
            }
        }
    }

    /// The last request of the journal; an execution carries its types, as others may have been
    /// bound since.
    pub(super) fn last_request(&self) -> Option<(Entry, Vec<u8>)> {
        let (entry, request) = self.journal.last()?;
        let execution =
            executed(request).and_then(|id| self.execution(self.journal.len() - 1, request, id));
        Some((entry, execution.unwrap_or_else(|| request.to_vec())))
    }

    /// An execution of the journal for this statement id, with its parameter types.
    fn execution(&self, index: usize, request: &[u8], statement: u32) -> Option<Vec<u8>> {
        let id = executed(request)?;
        let params = self.statements.params(id)?;
        let bound = |request| Some(Parameters::read(request, params).ok()?.types);
        // Its own, those of an execution before it, or those from before BEGIN.
        let earlier = (0..=index).rev().find_map(|at| {
            let (_, request) = self.journal.get(at)?;
            let same = executed(request) == Some(id);
            same.then(|| bound(request)).flatten().filter(|types| !types.is_empty())
        });
        let types = earlier.or_else(|| self.statements.types(id)).unwrap_or_default();
        rebound(request, params, statement, types).ok()
    }
}

impl Preparation {
    fn take(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::PrepareOk => {
                self.statement = PrepareOk::read(payload).ok().map(|ok| ok.statement);
            }
            Kind::Column => self.columns.push(payload.into()),
            _ => {}
        }
    }
}

/// The column that generates ids, by the definitions of all.
fn generating(columns: &[Box<[u8]>]) -> Option<Generating> {
    let columns: Vec<Definition<'_>> =
        columns.iter().map(|payload| Definition::read(payload)).collect::<Result<_, _>>().ok()?;
    if let Some(column) = columns.iter().find(|column| column.flags & AUTO_INCREMENT != 0) {
        return Some(Generating { name: column.name.into(), random: false });
    }
    let mut keys = columns.iter().filter(|column| column.flags & PRI_KEY != 0);
    match (keys.next(), keys.next()) {
        (Some(key), None) if key.kind == LONGLONG => {
            Some(Generating { name: key.name.into(), random: true })
        }
        _ => None,
    }
}
