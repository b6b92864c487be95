//! The reasons of [`Unguarded`] in words: the one table that `txguard explain` prints and the
//! manual holds (`tests/readme.rs` compares).

use crate::sql::Reason;

use super::guard::Unguarded;

/// A reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What is in the way of a replay.
    pub what: &'static str,
    /// What an application can do instead, where there is something.
    pub remedy: Option<&'static str>,
}

const fn plain(what: &'static str) -> Told {
    Told { what, remedy: None }
}

const fn cure(what: &'static str, remedy: &'static str) -> Told {
    Told { what, remedy: Some(remedy) }
}

impl Unguarded {
    /// Every reason, those of statements behind the others.
    pub fn all() -> impl Iterator<Item = Self> {
        const OTHERS: [Unguarded; 16] = [
            Unguarded::BeginNotSeen,
            Unguarded::Chained,
            Unguarded::Charset,
            Unguarded::Command,
            Unguarded::CommitFailed,
            Unguarded::Cursor,
            Unguarded::Declined,
            Unguarded::GeneratedId,
            Unguarded::Infile,
            Unguarded::JournalProcess,
            Unguarded::JournalTransaction,
            Unguarded::LongData,
            Unguarded::OneShot,
            Unguarded::ParameterTypes,
            Unguarded::PreparedOpen,
            Unguarded::StatementUnknown,
        ];
        OTHERS.into_iter().chain(Reason::ALL.into_iter().map(Self::Statement))
    }

    /// The reason in words.
    #[must_use]
    pub const fn told(self) -> Told {
        match self {
            Self::BeginNotSeen => cure(
                "The transaction was open before txguard saw it begin.",
                "Send BEGIN in a packet of its own.",
            ),
            Self::Chained => cure(
                "COMMIT AND CHAIN opened it, without a BEGIN that could be sent again.",
                "Send COMMIT, then BEGIN.",
            ),
            Self::Charset => cure(
                "The client's character set can hide quotes from a lexer.",
                "Connect with utf8mb4.",
            ),
            Self::Command => cure(
                "A command that is no statement changed or read the session, or failed.",
                "Send such commands (COM_FIELD_LIST, COM_STMT_FETCH …) outside of transactions.",
            ),
            Self::CommitFailed => {
                plain("COMMIT was answered by an error, and the transaction may still be open.")
            }
            Self::Cursor => cure(
                "A cursor was opened.",
                "Fetch whole results (Connector/J: useCursorFetch=false).",
            ),
            Self::Declined => {
                plain("The client wants no retry: retry='off' in a comment, or @txguard_retry.")
            }
            Self::GeneratedId => cure(
                "The answer carried a generated id that a replay can't give again (MariaDB; or no plain INSERT).",
                "On TiDB, write INSERT INTO t (columns) VALUES (…); elsewhere use keys that the application makes.",
            ),
            Self::Infile => plain("LOCAL INFILE: the client's file is gone when it is run again."),
            Self::JournalProcess => cure(
                "The journals of all transactions together are at their limit.",
                "Raise `[limits] journal_total`.",
            ),
            Self::JournalTransaction => cure(
                "The statements of the transaction are longer than its journal.",
                "Raise `[limits] journal_per_transaction`, or commit more often.",
            ),
            Self::LongData => cure(
                "Parameters were sent in pieces (COM_STMT_SEND_LONG_DATA).",
                "Bind values instead of streams.",
            ),
            Self::OneShot => cure(
                "SET TRANSACTION, or a text that may hold one, stands before BEGIN and works once.",
                "Use SET SESSION TRANSACTION, or say it in START TRANSACTION.",
            ),
            Self::ParameterTypes => cure(
                "Parameter types bound before the transaction were bound anew inside it.",
                "Prepare the statement anew, or keep the types of its parameters.",
            ),
            Self::PreparedOpen => cure(
                "Prepared statements were closed and used again, or too many were closed.",
                "Close prepared statements after the transaction.",
            ),
            Self::Statement(reason) => statement(reason),
            Self::StatementUnknown => {
                plain("A prepared statement that txguard did not see being prepared.")
            }
        }
    }
}

const fn statement(reason: Reason) -> Told {
    match reason {
        Reason::Call => {
            cure("What a stored procedure does can't be seen.", "Send its statements one by one.")
        }
        Reason::ConditionalComment => cure(
            "A comment that some servers execute: /*! … */, /*T! … */, /*M! … */.",
            "Write the statement out; hints (/*+ … */) may stay.",
        ),
        Reason::Ddl => cure(
            "A schema change commits on its way.",
            "Change the schema outside of transactions.",
        ),
        Reason::Explain => {
            cure("EXPLAIN shows plans, which change.", "Send it outside of transactions.")
        }
        Reason::FoundRows => cure(
            "FOUND_ROWS() and SQL_CALC_FOUND_ROWS tell of the statement before.",
            "Use SELECT COUNT(*).",
        ),
        Reason::LastInsertId => cure(
            "LAST_INSERT_ID(x) changes the session; LAST_INSERT_ID() can't be trusted beside an INSERT that failed or gave rows, nor ahead of one that generates an id.",
            "Take the id from the answer to the INSERT, and send it as a value.",
        ),
        Reason::LoadData => {
            cure("LOAD DATA reads what may be gone.", "Load outside of transactions.")
        }
        Reason::LockFunction => cure(
            "Locks by function (GET_LOCK() …) outlive the transaction.",
            "Take them outside, or lock a row with SELECT … FOR UPDATE.",
        ),
        Reason::LockTables => {
            cure("LOCK TABLES and UNLOCK TABLES commit.", "Lock rows with SELECT … FOR UPDATE.")
        }
        Reason::MultiStatement => cure(
            "Several statements in one packet.",
            "Send them one by one (switch allowMultiQueries, multiStatements off).",
        ),
        Reason::OtherStatement => {
            cure("A statement that isn't on the known-safe list.", "Send it outside.")
        }
        Reason::PrepareText => cure(
            "PREPARE, EXECUTE and DEALLOCATE as text hide what is run.",
            "Use the driver's prepared statements.",
        ),
        Reason::RowCount => cure(
            "ROW_COUNT() tells of the statement before.",
            "Take the number of rows from the answer.",
        ),
        Reason::SchemaChange => cure(
            "USE, where the schema in use before it isn't known, so that nothing can go back to it.",
            "Name a schema at login, or send USE outside of transactions.",
        ),
        Reason::SelectInto => cure(
            "SELECT … INTO writes a variable or a file.",
            "Fetch the value, and send it as a value.",
        ),
        Reason::Sequence => cure(
            "A sequence never gives the same value twice.",
            "Fetch it before BEGIN, and send it as a value.",
        ),
        Reason::SessionVariable => cure(
            "It reads the state of the session: @@x, DATABASE(), a SET_VAR hint …",
            "Read it before BEGIN.",
        ),
        Reason::Set => cure(
            "SET of something that can't be put back, or to a value that isn't written out.",
            "Send it before BEGIN.",
        ),
        Reason::Show => cure("SHOW tells what may change.", "Send it outside of transactions."),
        Reason::Sleep => plain("SLEEP() and BENCHMARK() take their time again."),
        Reason::SystemTable => cure(
            "It reads tables that show the state of sessions and servers.",
            "Read them outside of transactions.",
        ),
        Reason::TemporaryTable => cure(
            "A temporary table outlives the transaction.",
            "Make and drop it outside of transactions.",
        ),
        Reason::TooLarge => cure(
            "It is longer or nested deeper than what is parsed (64 KiB).",
            "Send fewer rows in a statement, or bind long values as parameters.",
        ),
        Reason::TsoVisible => plain("It reads the transaction's own timestamp."),
        Reason::UnknownFunction => cure(
            "It calls a function that isn't on the known-safe list, maybe a stored one.",
            "Compute the value in the application.",
        ),
        Reason::Unparsable => cure(
            "The parser doesn't understand it.",
            "Check its syntax; with ANSI_QUOTES, write strings in single quotes.",
        ),
        Reason::UserVariable => cure(
            "A query assigns a user variable (@x := …), or reads one that a trigger may set (not on TiDB).",
            "Keep the value in the application.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_is_a_sentence_under_a_label_of_its_own() {
        let labels: BTreeSet<&str> = Unguarded::all().map(Unguarded::as_str).collect();
        assert_eq!(labels.len(), Unguarded::all().count());
        for why in Unguarded::all() {
            let Told { what, remedy } = why.told();
            for text in [what, remedy.unwrap_or("None.")] {
                assert!(text.ends_with(['.', '…']), "{text}");
            }
        }
    }
}
