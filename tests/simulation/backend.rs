//! The server: the engine behind the protocol, and what goes wrong there.

use std::time::Duration;

use tokio::time::sleep;
use txguard::embedded::engine::Answer;
use txguard::store::receipts::PROBE;
use txguard::wire::command::Command;
use txguard::wire::frame::HEADER_LEN;
use txguard::wire::status::Status;

use crate::dice::Dice;
use crate::wire::{Gone, Wire};
use crate::words::{AUTO, Reply, TX, changed, conflict, eof, err, ok, rows};
use crate::work::Work;
use crate::world::{Bug, Fault, World};

/// Answers later than this exceed the budget of a replay.
const LATE_MAX_MS: u64 = 4_000;

/// A COMMIT that comes late comes so late, and so long after its receipt: sometimes before a
/// resolver has worked, sometimes behind it, sometimes while it works.
const COMMIT_LATE_MAX_MS: u64 = 60;
const COMMIT_APART_MAX_MS: u64 = 10;

/// OK to a receipt: more follows.
const MORE: u16 = TX | Status::MORE_RESULTS;

/// What an uncertain COMMIT is answered.
const UNCERTAIN: [u16; 9] = [1105, 9001, 9002, 9003, 9004, 9005, 9008, 9010, 9011];

/// What a command says.
pub(crate) struct Said {
    /// What goes ahead of COMMIT in the same packet.
    pub(crate) receipt: Option<String>,
    /// The text of a `COM_QUERY` without txguard's tag; empty for anything else.
    pub(crate) text: String,
}

impl Said {
    fn of(payload: &[u8]) -> Self {
        if Command(payload[0]) != Command::QUERY {
            return Self { receipt: None, text: String::new() };
        }
        let text = String::from_utf8_lossy(&payload[1..]).into_owned();
        let (receipt, text) = match text.split_once(';') {
            Some((receipt, text)) => (Some(receipt.to_owned()), text.to_owned()),
            None => (None, text),
        };
        let text = text.rsplit_once("*/ ").map_or(text.clone(), |(_, text)| text.to_owned());
        Self { receipt, text }
    }
}

/// One connection in the server.
pub(crate) struct Backend {
    world: World,
    number: u64,
    work: Work,
    dice: Dice,
}

impl Backend {
    pub(crate) fn new(world: &World, number: u64) -> Self {
        let (dice, work) = (world.dice(number << 8), Work::new(world));
        Self { world: world.clone(), number, work, dice }
    }

    /// Answers until the connection ends. What is open is rolled back then.
    pub(crate) async fn serve(mut self, mut wire: Wire) {
        while let Ok((seq, payload)) = wire.packet().await {
            assert_eq!(seq, 0, "a command begins with sequence id 0");
            let said = Said::of(&payload);
            let with = said.receipt.as_ref().map_or("", |_| " behind a receipt");
            self.world.trace(self.number, &format!("server hears {:?}{with}", said.text));
            if self.command(&said, &payload, &mut wire).await.is_err() {
                if said.text != "COMMIT" {
                    self.world.cut_elsewhere(self.number);
                }
                break;
            }
        }
    }

    async fn command(&mut self, said: &Said, payload: &[u8], wire: &mut Wire) -> Result<(), Gone> {
        let fault = self.world.server_fault(&mut self.dice, said, self.work.is_open());
        match fault {
            Some(Fault::CutBefore) if said.text == "COMMIT" && self.planted(Bug::SaysOk) => {
                self.work.roll_back();
                let more = said.receipt.as_ref().map(|_| ok(MORE));
                return wire.write(&behind(more, ok(AUTO)).frames(1)).await;
            }
            Some(fault @ Fault::CutBefore) => return self.gone(fault),
            Some(fault @ Fault::CommitLate) => {
                self.carry_out_later(said.receipt.clone());
                return self.gone(fault);
            }
            Some(fault @ Fault::Late) => {
                self.world.note_fault(self.number, fault);
                sleep(Duration::from_millis(self.dice.below(LATE_MAX_MS))).await;
            }
            _ => {}
        }
        let reply = match self.receipt(said, fault) {
            Ok(Some(more)) if fault == Some(Fault::CutBetween) => {
                let _ = wire.write(&more.frames(1)).await;
                return self.gone(Fault::CutBetween);
            }
            Ok(more) => behind(more, self.answer(said, payload, fault)),
            Err(refusal) => refusal,
        };
        self.say(&reply, &said.text, fault, wire).await
    }

    /// Writes the receipt ahead of COMMIT, if there is one. An error stops the packet.
    fn receipt(&mut self, said: &Said, fault: Option<Fault>) -> Result<Option<Reply>, Reply> {
        let Some(insert) = &said.receipt else { return Ok(None) };
        let refusal = match fault {
            Some(fault @ Fault::Deadlock) => return Err(self.refuse(fault, deadlock())),
            Some(fault @ Fault::Refused) => {
                self.world.note_fault(self.number, fault);
                err(1205, "Lock wait timeout exceeded")
            }
            _ => match self.work.write_receipt(insert) {
                Ok(()) => return Ok(Some(ok(MORE))),
                Err(refusal) => refusal,
            },
        };
        if self.planted(Bug::TwoCommands) {
            let _ = self.work.execute("COMMIT");
        }
        Err(refusal)
    }

    fn answer(&mut self, said: &Said, payload: &[u8], fault: Option<Fault>) -> Reply {
        match fault {
            Some(fault @ Fault::Conflict) => self.refuse(fault, conflict(self.work.run())),
            Some(fault @ Fault::Deadlock) => self.refuse(fault, deadlock()),
            Some(fault @ Fault::Uncertain) => {
                if self.dice.percent(50) {
                    let _ = self.work.execute("COMMIT");
                }
                let reply = self.uncertain();
                self.refuse(fault, reply)
            }
            Some(fault @ Fault::UncertainLate) => {
                self.carry_out_later(None);
                let reply = self.uncertain();
                self.refuse(fault, reply)
            }
            _ => self.reply(&said.text, payload),
        }
    }

    /// Says this to `text`, if nothing goes wrong at that.
    async fn say(
        &mut self,
        reply: &Reply,
        text: &str,
        fault: Option<Fault>,
        wire: &mut Wire,
    ) -> Result<(), Gone> {
        let bytes = reply.frames(1);
        let last = reply.packets.last().expect("an answer");
        match fault {
            Some(Fault::CutBehind) if text == "COMMIT" && self.planted(Bug::SendsAgain) => {
                self.work.send_again();
                wire.write(&bytes).await
            }
            Some(fault @ Fault::CutBehind) => self.gone(fault),
            Some(fault @ Fault::CutWithin) => {
                let len = 1 + self.dice.below(bytes.len() as u64 - 1) as usize;
                let _ = wire.write(&bytes[..len]).await;
                self.gone(fault)
            }
            None if last[0] == 0xFF && self.world.says_twice(&mut self.dice) => {
                let error = &bytes[bytes.len() - last.len() - HEADER_LEN..];
                let _ = wire.write(&[&bytes, error].concat()).await;
                self.world.cut_elsewhere(self.number);
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
        self.work.roll_back();
        reply
    }

    fn uncertain(&mut self) -> Reply {
        let code = UNCERTAIN[self.dice.below(UNCERTAIN.len() as u64) as usize];
        err(code, "a timeout")
    }

    /// Commits the open transaction some time later, behind its receipt if that isn't written yet;
    /// on this connection it is gone.
    fn carry_out_later(&mut self, receipt: Option<String>) {
        let mut work = std::mem::replace(&mut self.work, Work::new(&self.world));
        let mut pause = |max| Duration::from_millis(self.dice.below(max));
        let (before, between) = (pause(COMMIT_LATE_MAX_MS), pause(COMMIT_APART_MAX_MS));
        let (world, number) = (self.world.clone(), self.number);
        let goes_on = self.planted(Bug::TwoCommands);
        self.world.later.spawn(async move {
            sleep(before).await;
            if let Some(insert) = receipt {
                let taken = work.write_receipt(&insert);
                world.trace(number, &format!("a late receipt is taken: {}", taken.is_ok()));
                if taken.is_err() && !goes_on {
                    return;
                }
                sleep(between).await;
            }
            let committed = work.execute("COMMIT");
            world.trace(number, &format!("a late COMMIT: {committed:?}"));
        });
    }

    fn reply(&mut self, text: &str, payload: &[u8]) -> Reply {
        let done = Ok(Answer::Done { affected_rows: 0, last_insert_id: 0 });
        let result = match Command(payload[0]) {
            // The engine knows no INSERT … SELECT.
            Command::QUERY if text == PROBE => done,
            Command::QUERY => self.work.execute(text),
            Command::PING => done,
            Command::SET_OPTION => return Reply::of([eof(self.status(), 0)]),
            _ => return err(1047, "Unknown command"),
        };
        match result {
            Ok(Answer::Done { affected_rows, .. }) => changed(affected_rows, self.status()),
            Ok(Answer::Rows { rows: found, .. }) => {
                let values: Vec<String> = found.iter().map(|row| row[0].to_string()).collect();
                rows(&values.iter().map(String::as_str).collect::<Vec<_>>(), self.status())
            }
            Err(error) => err(error.code, &error.message),
        }
    }

    fn status(&self) -> u16 {
        if self.work.is_open() { TX } else { AUTO }
    }
}

/// One answer behind the other, if there is another one.
fn behind(more: Option<Reply>, reply: Reply) -> Reply {
    match more {
        Some(more) => more.then(reply),
        None => reply,
    }
}

fn deadlock() -> Reply {
    err(1213, "Deadlock found when trying to get lock")
}
