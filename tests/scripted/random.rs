//! Random dialogues against a reference model: the same commands on the same server, no proxy
//! between. Whatever the pipes, the pipelining and the conflicts, the client hears what the model
//! says, and what was acknowledged was applied, once and in order.

use std::collections::HashMap;

use tokio::time::timeout;
use txguard::base::metrics::ReplayOutcome::{Exhausted, Mismatch, Succeeded};
use txguard::wire::command::Command;

use super::dice::Dice;
use super::harness::{LIMIT, Talk, outcomes, setup};
use super::words::*;

/// What the client says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Begin,
    Close(u32),
    Commit,
    Create,
    /// Its id is known by the order of preparing.
    Execute(u32, u64),
    Fails(u64),
    Ping,
    Prepare,
    Read(u64),
    Rollback,
    Show,
    Write(u64),
}

impl Said {
    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Begin => query("BEGIN"),
            Self::Close(id) => about(Command::STMT_CLOSE, *id),
            Self::Commit => query("COMMIT"),
            Self::Create => query("CREATE TABLE x (v INT)"),
            Self::Execute(id, value) => execute_with(*id, true, *value),
            Self::Fails(value) => query(&format!("INSERT INTO t VALUES ({value})")),
            Self::Ping => vec![Command::PING.0],
            Self::Prepare => prepare("UPDATE t SET v = ?"),
            Self::Read(value) => query(&format!("SELECT v FROM t WHERE id = {value}")),
            Self::Rollback => query("ROLLBACK"),
            Self::Show => query("SHOW TABLES"),
            Self::Write(value) => query(&format!("UPDATE t SET v = {value}")),
        }
    }

    /// What the server heard.
    fn read(payload: &[u8]) -> Self {
        let number = |text: &str| {
            let digits = text.trim_end_matches(')');
            let digits = digits.rsplit(|c: char| !c.is_ascii_digit()).next().expect("a part");
            digits.parse().expect("a number")
        };
        let id = || u32::from_le_bytes(payload[1..5].try_into().expect("an id"));
        match Command(payload[0]) {
            Command::PING => Self::Ping,
            Command::STMT_CLOSE => Self::Close(id()),
            Command::STMT_PREPARE => Self::Prepare,
            Command::STMT_EXECUTE => {
                let value = payload[payload.len() - 8..].try_into().expect("a value");
                Self::Execute(id(), u64::from_le_bytes(value))
            }
            _ => {
                let text = std::str::from_utf8(&payload[1..]).expect("text");
                let text = text.rsplit_once("*/ ").map_or(text, |(_, text)| text);
                match text {
                    "BEGIN" => Self::Begin,
                    "COMMIT" => Self::Commit,
                    "CREATE TABLE x (v INT)" => Self::Create,
                    "ROLLBACK" => Self::Rollback,
                    "SHOW TABLES" => Self::Show,
                    _ if text.starts_with("INSERT") => Self::Fails(number(text)),
                    _ if text.starts_with("SELECT") => Self::Read(number(text)),
                    _ => Self::Write(number(text)),
                }
            }
        }
    }
}

/// A server with one table that only counts what is written.
#[derive(Debug, Default)]
struct Db {
    autocommit: bool,
    open: bool,
    pending: Vec<u64>,
    applied: Vec<u64>,
    prepared: HashMap<u32, ()>,
    last_id: u32,
}

impl Db {
    fn new(autocommit: bool) -> Self {
        Self { autocommit, ..Self::default() }
    }

    fn status(&self) -> u16 {
        (u16::from(self.autocommit) * AUTO) | u16::from(self.open)
    }

    /// May this meet an error that a replay is for? Which one?
    fn conflict_of(&self, said: &Said) -> Option<u16> {
        let writes = !self.pending.is_empty();
        match said {
            Said::Begin | Said::Commit | Said::Create if self.open && writes => Some(9007),
            Said::Write(_) | Said::Execute(..) if self.open && writes => Some(1213),
            _ => None,
        }
    }

    fn end(&mut self, applies: bool) {
        self.open = false;
        let pending = std::mem::take(&mut self.pending);
        if applies {
            self.applied.extend(pending);
        }
    }

    /// Answers; `conflicts`: by the error that is due.
    fn answer(&mut self, said: &Said, conflicts: bool) -> Option<Reply> {
        if let Some(code) = self.conflict_of(said).filter(|_| conflicts) {
            self.end(false);
            return Some(err(code, "try again"));
        }
        Some(match said {
            Said::Begin => {
                self.end(true);
                self.open = true;
                ok(self.status())
            }
            Said::Commit | Said::Create => {
                self.end(true);
                ok(self.status())
            }
            Said::Rollback => {
                self.end(false);
                ok(self.status())
            }
            Said::Close(id) => {
                self.prepared.remove(id);
                return None;
            }
            Said::Prepare => {
                self.last_id += 1;
                self.prepared.insert(self.last_id, ());
                prepare_ok(false, self.last_id, 1, 0)
            }
            Said::Execute(id, _) if !self.prepared.contains_key(id) => err(1105, "unknown"),
            Said::Execute(_, value) | Said::Write(value) => {
                self.open |= !self.autocommit;
                match self.open {
                    true => self.pending.push(*value),
                    false => self.applied.push(*value),
                }
                changed(1 + value % 3, self.status())
            }
            Said::Read(value) => {
                self.open |= !self.autocommit;
                rows(&[&value.to_string(), "x", "y"][..1 + (*value % 3) as usize], self.status())
            }
            Said::Fails(value) => {
                self.open |= !self.autocommit;
                err(1062, &format!("Duplicate entry '{value}'"))
            }
            Said::Ping | Said::Show => ok(self.status()),
        })
    }
}

/// The client's own view: what it must hear, and whether a conflict may be what it hears.
#[derive(Debug)]
struct Model {
    db: Db,
    /// The open transaction is one that has to be replayed.
    guarded: bool,
    /// This command was sent before the answer to the one before it.
    ahead: bool,
    /// Nothing is replayed at all.
    shows_all: bool,
}

impl Model {
    /// Before the answer to `said`.
    fn may_hear_conflict(&self, said: &Said) -> bool {
        self.shows_all || !self.guarded || *said == Said::Create
    }

    fn note(&mut self, said: &Said, was_open: bool, failed: bool) {
        match said {
            Said::Show | Said::Create => self.guarded = false,
            Said::Begin => self.guarded = true,
            _ => {}
        }
        if !was_open && self.db.open && *said != Said::Begin {
            // With autocommit off. A first statement that fails leaves it open who began, and one
            // that was sent ahead may have gone out as a part of the transaction before.
            self.guarded = !failed && !self.ahead;
        }
    }
}

/// The dialogue of one seed.
fn script(dice: &mut Dice) -> Vec<Said> {
    let (mut prepared, mut closed) = (0, Vec::new());
    let length = 20 + dice.below(60);
    (0..length)
        .map(|number| match dice.below(20) {
            0..=2 => Said::Begin,
            3..=6 => Said::Commit,
            7 => Said::Rollback,
            8..=11 => Said::Write(number),
            12..=14 => Said::Read(number),
            15 => Said::Fails(number),
            16 => Said::Ping,
            17 if dice.below(3) == 0 => Said::Show,
            17 if dice.below(3) == 0 => Said::Create,
            17 | 18 => {
                prepared += 1;
                Said::Prepare
            }
            _ if prepared == 0 => Said::Write(number),
            _ => {
                let id = 1 + dice.below(prepared) as u32;
                match dice.below(4) {
                    _ if closed.contains(&id) => Said::Read(number),
                    0 => {
                        closed.push(id);
                        Said::Close(id)
                    }
                    _ => Said::Execute(id, number),
                }
            }
        })
        // The last one has an answer: the client leaves when it has heard everything.
        .chain([Said::Ping])
        .collect()
}

/// Writes in pieces of random size.
async fn in_pieces(end: &mut super::client::End, bytes: &[u8], dice: &mut Dice) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = rest.len().min(1 + dice.below(40) as usize);
        end.write(&rest[..len]).await;
        rest = &rest[len..];
        if dice.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Answers everything until the stream ends; conflicts come with this chance in percent.
async fn serve(
    server: &mut super::server::Server,
    db: &mut Db,
    chance: u64,
    dice: &mut Dice,
) -> u64 {
    let mut conflicts = 0;
    while let Some(payload) = server.end().next().await {
        let said = Said::read(&payload);
        let hits = dice.below(100) < chance && db.conflict_of(&said).is_some();
        conflicts += u64::from(hits);
        if let Some(reply) = db.answer(&said, hits) {
            in_pieces(server.end(), &reply.frames(1), dice).await;
        }
    }
    conflicts
}

/// Plays one seed; returns conflicts, and those that the client heard.
async fn play(seed: u64, policies: &str, shows_all: bool) -> (u64, u64, u64) {
    let mut dice = Dice(seed);
    let autocommit = dice.below(4) != 0;
    let pipes = (1 + dice.below(90) as usize, 1 + dice.below(90) as usize);
    let mut first = setup(policies).pipes(pipes.0, pipes.1);
    if !autocommit {
        first = first.manual();
    }
    let Talk {
        mut client, mut server, metrics, journals, drain: _drain, policies: _policies, ..
    } = first.open().await;
    let script = script(&mut dice);
    let mut db = Db::new(autocommit);
    let mut model = Model { db: Db::new(autocommit), guarded: false, ahead: false, shows_all };
    let mut heard = 0;
    let mut server_dice = Dice(dice.next());
    let said = async {
        let mut rest = &script[..];
        while !rest.is_empty() {
            // Now and then several commands at once.
            let batch = match dice.below(3) {
                0 => rest.len().min(1 + dice.below(6) as usize),
                _ => 1,
            };
            // The id of a prepared statement comes with its answer.
            let prepares = rest[..batch].iter().position(|said| *said == Said::Prepare);
            let (now, later) = rest.split_at(prepares.map_or(batch, |at| at + 1));
            rest = later;
            let mut bytes = Vec::new();
            for said in now {
                bytes.extend(Reply::of([said.payload()]).frames(0));
            }
            in_pieces(client.end(), &bytes, &mut dice).await;
            model.ahead = false;
            for said in now {
                heard += u64::from(hear(&mut client, &mut model, said, seed).await);
                model.ahead = true;
            }
        }
        client.close();
    };
    let ((), conflicts) = tokio::join!(said, serve(&mut server, &mut db, 30, &mut server_dice));
    assert_eq!(db.applied, model.db.applied, "seed {seed}: acknowledged is not applied");
    assert_eq!(metrics.replays(Mismatch) + metrics.replays(Exhausted), 0, "seed {seed}");
    assert_eq!(journals.used(), 0, "seed {seed}");
    // With autocommit off the next statement begins anew and hides that an implicit commit failed.
    if !policies.is_empty() && autocommit {
        assert_eq!(outcomes(&metrics)[2], heard, "seed {seed}: {script:?}");
    }
    (conflicts, heard, metrics.replays(Succeeded))
}

/// Hears the answer to one command; true if it was a conflict.
async fn hear(
    client: &mut super::client::Client,
    model: &mut Model,
    said: &Said,
    seed: u64,
) -> bool {
    let was_open = model.db.open;
    if let Said::Close(id) = said {
        model.db.prepared.remove(id);
        return false;
    }
    let head = client.end().bytes(7).await;
    let conflict = head[4] == 0xFF
        && model.db.conflict_of(said).is_some_and(|code| head[5..7] == code.to_le_bytes());
    assert!(!conflict || model.may_hear_conflict(said), "seed {seed}: a conflict of {said:?}");
    let wanted = model.db.answer(said, conflict).expect("an answer").frames(1);
    let rest = client.end().bytes(wanted.len() - head.len()).await;
    let got = [head, rest].concat();
    assert!(got == wanted, "seed {seed}: {said:?}: {} is not {}", show(&got), show(&wanted));
    model.note(said, was_open, got[4] == 0xFF);
    conflict
}

const TAGGED: &str =
    "[[policy]]\nname='p'\nretry={attempts=100,budget='1h'}\ntag=true\ntso='hint'\n";

#[tokio::test(start_paused = true)]
async fn random_dialogues_are_those_of_the_model_and_conflicts_are_hidden() {
    let (mut conflicts, mut heard, mut replays) = (0, 0, 0);
    for seed in 0..400 {
        let played = timeout(LIMIT * 100, play(seed, TAGGED, false)).await;
        let (met, passed, replayed) = played.unwrap_or_else(|_| panic!("seed {seed} hangs"));
        conflicts += met;
        heard += passed;
        replays += replayed;
    }
    // The dialogues are worth something: most conflicts were replayed, some could not be.
    assert!(conflicts > 400 && replays > 200 && heard > 20, "{conflicts} {replays} {heard}");
}

#[tokio::test(start_paused = true)]
async fn random_dialogues_without_policies_are_those_of_the_model() {
    for seed in 1000..1100 {
        let (conflicts, heard, _) = play(seed, "", true).await;
        assert_eq!(conflicts, heard, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn random_dialogues_that_are_only_observed_are_those_of_the_model() {
    let observe = format!("{TAGGED}observe_only=true\n");
    for seed in 2000..2100 {
        let (conflicts, heard, _) = play(seed, &observe, true).await;
        assert_eq!(conflicts, heard, "seed {seed}");
    }
}
