//! What servers and clients say, as packets.

use txguard::wire::command::Command;
use txguard::wire::frame::write_packet;
use txguard::wire::lenenc::write_lenenc;
use txguard::wire::packet::err::Err as ErrPacket;
use txguard::wire::packet::ok::Ok as OkPacket;
use txguard::wire::status::Status;

/// Autocommit, no transaction.
pub(crate) const AUTO: u16 = Status::AUTOCOMMIT;
/// In a transaction, autocommit on.
pub(crate) const TX: u16 = Status::AUTOCOMMIT | Status::IN_TRANS;
/// In a transaction, autocommit off.
pub(crate) const TX0: u16 = Status::IN_TRANS;
/// No transaction, autocommit off.
pub(crate) const MANUAL: u16 = 0;

/// The reply to one command: payloads, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) packets: Vec<Vec<u8>>,
}

impl Reply {
    pub(crate) fn of(packets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { packets: packets.into_iter().collect() }
    }

    /// One reply behind the other, as with MORE_RESULTS.
    pub(crate) fn then(mut self, next: Self) -> Self {
        self.packets.extend(next.packets);
        self
    }

    /// The frames, with sequence ids from `seq` on.
    pub(crate) fn frames(&self, seq: u8) -> Vec<u8> {
        let mut out = Vec::new();
        let mut seq = seq;
        for packet in &self.packets {
            seq = write_packet(&mut out, seq, packet);
        }
        out
    }
}

/// An OK packet, field by field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) affected: u64,
    pub(crate) insert_id: u64,
    pub(crate) status: u16,
    pub(crate) warnings: u16,
    pub(crate) info: &'static str,
}

impl Done {
    pub(crate) fn at(status: u16) -> Self {
        Self { affected: 0, insert_id: 0, status, warnings: 0, info: "" }
    }

    pub(crate) fn reply(self) -> Reply {
        let mut payload = Vec::new();
        OkPacket {
            affected_rows: self.affected,
            last_insert_id: self.insert_id,
            status: Status(self.status),
            warnings: self.warnings,
            info: self.info.as_bytes(),
        }
        .write(&mut payload);
        Reply::of([payload])
    }
}

/// OK without rows.
pub(crate) fn ok(status: u16) -> Reply {
    Done::at(status).reply()
}

/// OK of a statement that changed so many rows.
pub(crate) fn changed(rows: u64, status: u16) -> Reply {
    Done { affected: rows, ..Done::at(status) }.reply()
}

/// ERR.
pub(crate) fn err(code: u16, text: &str) -> Reply {
    let mut payload = Vec::new();
    let sqlstate = match code {
        1213 => b"40001",
        1062 => b"23000",
        1064 => b"42000",
        _ => b"HY000",
    };
    ErrPacket { code, sqlstate, message: text.as_bytes() }.write(&mut payload);
    Reply::of([payload])
}

/// A write conflict as TiDB words it; the text is never the same twice, as `start` is in it.
pub(crate) fn conflict(start: u64) -> Reply {
    err(9007, &format!("Write conflict, txnStartTS={start} [try again later]"))
}

/// A deadlock.
pub(crate) fn deadlock() -> Reply {
    err(1213, "Deadlock found when trying to get lock; try restarting transaction")
}

/// The EOF packet.
pub(crate) fn eof(status: u16, warnings: u16) -> Vec<u8> {
    let mut payload = vec![0xFE];
    payload.extend_from_slice(&warnings.to_le_bytes());
    payload.extend_from_slice(&status.to_le_bytes());
    payload
}

/// What ends rows: an EOF, or an OK with its header.
pub(crate) fn rows_end(deprecate_eof: bool, status: u16) -> Vec<u8> {
    if !deprecate_eof {
        return eof(status, 0);
    }
    let mut payload = ok(status).packets.remove(0);
    payload[0] = 0xFE;
    payload
}

/// A column definition.
pub(crate) fn column(name: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    for text in ["def", "bank", "t", "t", name, name] {
        write_lenenc(&mut payload, text.len() as u64);
        payload.extend_from_slice(text.as_bytes());
    }
    payload.extend_from_slice(&[0x0C, 46, 0, 20, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
    payload
}

/// A row of the text protocol.
pub(crate) fn row(values: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    for value in values {
        write_lenenc(&mut payload, value.len() as u64);
        payload.extend_from_slice(value.as_bytes());
    }
    payload
}

/// A result set.
pub(crate) fn result(
    deprecate_eof: bool,
    columns: &[&str],
    rows: &[&[&str]],
    status: u16,
) -> Reply {
    let mut count = Vec::new();
    write_lenenc(&mut count, columns.len() as u64);
    let mut packets = vec![count];
    packets.extend(columns.iter().map(|name| column(name)));
    if !deprecate_eof {
        packets.push(eof(status, 0));
    }
    packets.extend(rows.iter().map(|values| row(values)));
    packets.push(rows_end(deprecate_eof, status));
    Reply { packets }
}

/// A result set of one column, with EOF packets.
pub(crate) fn rows(values: &[&str], status: u16) -> Reply {
    let lines: Vec<&[&str]> = values.chunks(1).collect();
    result(false, &["v"], &lines, status)
}

/// The reply to COM_STMT_PREPARE.
pub(crate) fn prepare_ok(deprecate_eof: bool, statement: u32, params: u16, columns: u16) -> Reply {
    let mut first = vec![0];
    first.extend_from_slice(&statement.to_le_bytes());
    first.extend_from_slice(&columns.to_le_bytes());
    first.extend_from_slice(&params.to_le_bytes());
    first.extend_from_slice(&[0, 0, 0]);
    let mut packets = vec![first];
    for count in [params, columns] {
        packets.extend((0..count).map(|_| column("?")));
        if count > 0 && !deprecate_eof {
            packets.push(eof(AUTO, 0));
        }
    }
    Reply { packets }
}

/// A command: its byte, and what follows.
pub(crate) fn command(command: Command, rest: &[u8]) -> Vec<u8> {
    let mut payload = vec![command.0];
    payload.extend_from_slice(rest);
    payload
}

/// COM_QUERY.
pub(crate) fn query(text: &str) -> Vec<u8> {
    command(Command::QUERY, text.as_bytes())
}

/// COM_STMT_PREPARE.
pub(crate) fn prepare(text: &str) -> Vec<u8> {
    command(Command::STMT_PREPARE, text.as_bytes())
}

/// A command about a prepared statement.
pub(crate) fn about(what: Command, statement: u32) -> Vec<u8> {
    command(what, &statement.to_le_bytes())
}

/// COM_STMT_EXECUTE of a statement without parameters.
pub(crate) fn execute(statement: u32) -> Vec<u8> {
    let mut payload = about(Command::STMT_EXECUTE, statement);
    payload.extend_from_slice(&[0, 1, 0, 0, 0]);
    payload
}

/// COM_STMT_EXECUTE with one BIGINT parameter; `bound` sends its type along.
pub(crate) fn execute_with(statement: u32, bound: bool, value: u64) -> Vec<u8> {
    let mut payload = execute(statement);
    payload.extend_from_slice(&[0, u8::from(bound)]);
    if bound {
        payload.extend_from_slice(&[8, 0]);
    }
    payload.extend_from_slice(&value.to_le_bytes());
    payload
}

/// Bytes for a message, not too many of them.
pub(crate) fn show(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
    format!("{text:?} ({} bytes)", bytes.len())
}
