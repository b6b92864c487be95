//! The server: the engine behind the protocol, and what goes wrong there.

use std::time::Duration;

use tokio::time::sleep;
use txguard::base::clock::Clock;
use txguard::embedded::engine::{Answer, Session, SqlError};
use txguard::wire::command::Command;

use crate::dice::Dice;
use crate::wire::{Gone, Wire};
use crate::words::{AUTO, Reply, TX, changed, conflict, err, ok, rows};
use crate::world::{Bug, Fault, World};

/// Answers later than this exceed the budget of a replay.
const LATE_MAX_MS: u64 = 4_000;

/// One connection in the server.
pub(crate) struct Backend {
    world: World,
    number: u64,
    session: Session,
    dice: Dice,
    /// The transaction that is open: its run, the number in its marker, what it has done.
    run: u64,
    marker: Option<u64>,
    done: Vec<String>,
}

impl Backend {
    pub(crate) fn new(world: &World, number: u64) -> Self {
        let mut session = world.engine.session();
        session.execute("USE test").expect("it is there");
        Self {
            world: world.clone(),
            number,
            session,
            dice: world.dice(number << 8),
            run: 0,
            marker: None,
            done: Vec::new(),
        }
    }

    /// Answers until the connection ends. What is open is rolled back then.
    pub(crate) async fn serve(mut self, mut wire: Wire) {
        while let Ok((seq, payload)) = wire.packet().await {
            assert_eq!(seq, 0, "a command begins with sequence id 0");
            let text = text(&payload);
            self.world.trace(self.number, &format!("server hears {text:?}"));
            if self.command(&text, &payload, &mut wire).await.is_err() {
                break;
            }
        }
    }

    async fn command(&mut self, text: &str, payload: &[u8], wire: &mut Wire) -> Result<(), Gone> {
        let open = self.session.in_transaction();
        let fault = self.world.server_fault(&mut self.dice, text, open);
        match fault {
            Some(Fault::CutBefore) if text == "COMMIT" && self.planted(Bug::SaysOk) => {
                self.roll_back();
                return wire.write(&ok(AUTO).frames(1)).await;
            }
            Some(Fault::CutBefore) => return self.gone(Fault::CutBefore),
            Some(fault @ Fault::Late) => {
                self.world.note_fault(self.number, fault);
                sleep(Duration::from_millis(self.dice.below(LATE_MAX_MS))).await;
            }
            _ => {}
        }
        let reply = match fault {
            Some(fault @ Fault::Conflict) => self.refuse(fault, conflict(self.run)),
            Some(fault @ Fault::Deadlock) => {
                self.refuse(fault, err(1213, "Deadlock found when trying to get lock"))
            }
            Some(fault @ Fault::Uncertain) => {
                if self.dice.percent(50) {
                    let _ = self.execute("COMMIT");
                }
                self.refuse(fault, err(9001, "PD server timeout"))
            }
            _ => self.reply(text, payload),
        };
        let bytes = reply.frames(1);
        match fault {
            Some(Fault::CutBehind) if text == "COMMIT" && self.planted(Bug::SendsAgain) => {
                self.send_again();
                wire.write(&bytes).await
            }
            Some(fault @ Fault::CutBehind) => self.gone(fault),
            Some(fault @ Fault::CutWithin) => {
                let len = 1 + self.dice.below(bytes.len() as u64 - 1) as usize;
                let _ = wire.write(&bytes[..len]).await;
                self.gone(fault)
            }
            None if reply.packets[0][0] == 0xFF && self.world.says_twice(&mut self.dice) => {
                let _ = wire.write(&bytes.repeat(2)).await;
                self.gone(Fault::SaidTwice)
            }
            _ => wire.write(&bytes).await,
        }
    }

    fn planted(&self, bug: Bug) -> bool {
        self.world.plan.bug == Some(bug)
    }

    fn gone(&self, fault: Fault) -> Result<(), Gone> {
        self.world.note_fault(self.number, fault);
        Err(Gone)
    }

    /// The transaction is gone, and this says so.
    fn refuse(&mut self, fault: Fault, reply: Reply) -> Reply {
        self.world.note_fault(self.number, fault);
        self.roll_back();
        reply
    }

    fn roll_back(&mut self) {
        self.execute("ROLLBACK").expect("it never fails");
    }

    fn reply(&mut self, text: &str, payload: &[u8]) -> Reply {
        let result = match Command(payload[0]) {
            Command::QUERY => self.execute(text),
            Command::PING => Ok(Answer::Done { affected_rows: 0, last_insert_id: 0 }),
            _ => return err(1047, "Unknown command"),
        };
        let status = if self.session.in_transaction() { TX } else { AUTO };
        match result {
            Ok(Answer::Done { affected_rows, .. }) => changed(affected_rows, status),
            Ok(Answer::Rows { rows: found, .. }) => {
                let values: Vec<String> = found.iter().map(|row| row[0].to_string()).collect();
                rows(&values.iter().map(String::as_str).collect::<Vec<_>>(), status)
            }
            Err(error) => err(error.code, &error.message),
        }
    }

    fn execute(&mut self, text: &str) -> Result<Answer, SqlError> {
        let now_ms = self.world.clock().wall().as_millis();
        self.world.engine.advance_to(u64::try_from(now_ms).expect("not that far"));
        let result = self.session.execute(text);
        match text {
            "BEGIN" => {
                self.run = self.world.began();
                self.marker = None;
                self.done.clear();
            }
            "COMMIT" => {
                if let (Ok(_), Some(transaction)) = (&result, self.marker.take()) {
                    self.world.committed(self.run, transaction);
                }
            }
            _ => {
                let number = text.strip_prefix("INSERT INTO marker VALUES (");
                let number = number.and_then(|rest| rest.strip_suffix(')')?.parse().ok());
                self.marker = number.or(self.marker);
                self.done.push(text.to_owned());
            }
        }
        if text == "ROLLBACK" {
            self.marker = None;
        }
        result
    }

    /// What must never happen: the transaction once more.
    fn send_again(&mut self) {
        let done = std::mem::take(&mut self.done);
        let _ = self.execute("BEGIN");
        for text in done {
            let _ = self.execute(&text);
        }
        let _ = self.execute("COMMIT");
    }
}

/// The text of a COM_QUERY without txguard's tag; empty for anything else.
fn text(payload: &[u8]) -> String {
    if Command(payload[0]) != Command::QUERY {
        return String::new();
    }
    let text = String::from_utf8_lossy(&payload[1..]).into_owned();
    text.rsplit_once("*/ ").map_or(text.clone(), |(_, text)| text.to_owned())
}
