//! What a connection does in the engine, and what the judge gets to know of it.

use txguard::base::clock::Clock;
use txguard::embedded::engine::{Answer, Session, SqlError};

use crate::words::{Reply, err};
use crate::world::{World, plain};

/// A session in the engine and the transaction that is open in it.
pub(crate) struct Work {
    world: World,
    session: Session,
    /// The open transaction: its run, the number in its marker, whether it has written a receipt,
    /// what it has done.
    run: u64,
    marker: Option<u64>,
    receipt: bool,
    done: Vec<String>,
}

impl Work {
    pub(crate) fn new(world: &World) -> Self {
        let mut session = world.engine.session();
        session.execute("USE test").expect("it is there");
        let world = world.clone();
        Self { world, session, run: 0, marker: None, receipt: false, done: Vec::new() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.session.in_transaction()
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    pub(crate) fn roll_back(&mut self) {
        self.execute("ROLLBACK").expect("it never fails");
    }

    pub(crate) fn execute(&mut self, text: &str) -> Result<Answer, SqlError> {
        self.advance();
        let result = self.session.execute(text);
        match text {
            "BEGIN" => {
                self.run = self.world.began();
                self.forget();
                self.done.clear();
            }
            "COMMIT" => {
                if let (Ok(_), Some(transaction)) = (&result, self.marker) {
                    self.world.committed(self.run, transaction, self.receipt);
                }
                self.forget();
            }
            "ROLLBACK" => self.forget(),
            _ => {
                let number = text.strip_prefix("INSERT INTO marker VALUES (");
                let number = number.and_then(|rest| rest.strip_suffix(')')?.parse().ok());
                self.marker = number.or(self.marker);
                self.done.push(text.to_owned());
            }
        }
        result
    }

    /// Writes the receipt of the open transaction, or says why not.
    pub(crate) fn write_receipt(&mut self, insert: &str) -> Result<(), Reply> {
        self.advance();
        let insert = plain(insert);
        if self.world.checks_in_place && self.is_there(&insert) {
            return Err(err(1062, "Duplicate entry"));
        }
        self.session.execute(&insert).map_err(|error| err(error.code, &error.message))?;
        self.receipt = true;
        Ok(())
    }

    /// Somebody has committed a row with the key of this one.
    fn is_there(&self, insert: &str) -> bool {
        let (_, values) = insert.split_once("VALUES (").expect("a receipt");
        let [shard, txn, attempt] = values.splitn(4, ", ").take(3).collect::<Vec<_>>()[..] else {
            panic!("no key")
        };
        let look = format!(
            "SELECT outcome FROM txguard.receipts \
             WHERE shard = {shard} AND txn = {txn} AND attempt = {attempt}"
        );
        let found = self.world.engine.session().execute(&look);
        matches!(found.expect("the table is there"), Answer::Rows { rows, .. } if !rows.is_empty())
    }

    /// What must never happen: the transaction once more.
    pub(crate) fn send_again(&mut self) {
        let done = std::mem::take(&mut self.done);
        let _ = self.execute("BEGIN");
        for text in done {
            let _ = self.execute(&text);
        }
        let _ = self.execute("COMMIT");
    }

    fn forget(&mut self) {
        self.marker = None;
        self.receipt = false;
    }

    fn advance(&self) {
        let now_ms = self.world.clock().wall().as_millis();
        self.world.engine.advance_to(u64::try_from(now_ms).expect("not that far"));
    }
}
