//! The clients: transfers between accounts, each with a marker of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::duplex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use txguard::base::error::CommitError;
use txguard::session::Receipts;
use txguard::wire::capability::Capabilities;
use txguard::wire::frame::write_packet;

use crate::backend::Backend;
use crate::client::Client;
use crate::dice::Dice;
use crate::harness::{LIMIT, Talk, setup};
use crate::resolver::Resolver;
use crate::server::Server;
use crate::wire::{Gone, Wire};
use crate::words::query;
use crate::world::{Belief, Fault, Heard, Story, World};

const CLIENTS: u64 = 3;
const TRANSACTIONS: u64 = 5;

const POLICY: &str = "[backend]\nservice_user='s'\n[[policy]]\nname='p'\n\
    retry={attempts=3,budget='2s'}\ntag=true\ntso='hint'\n";

/// Runs all clients to their end; nothing of them is left then.
pub(crate) async fn talk_all(world: &World) {
    let mut talkers = JoinSet::new();
    let fates = || Receipts::new(Arc::new(Resolver::new(world)));
    let receipts = world.plan.receipts.then(fates);
    for who in 1..=CLIENTS {
        talkers.spawn(Talker::new(world, who, receipts.clone()).run());
    }
    while let Some(talker) = talkers.join_next().await {
        talker.expect("no panic");
    }
    timeout(LIMIT, world.later.wait()).await.expect("something goes on for ever");
    assert_eq!(world.journals.used(), 0, "journal bytes are given back");
}

/// A connection through txguard.
struct Connection {
    wire: Wire,
    talk: Talk,
    /// The other end: one task.
    server: JoinSet<()>,
}

impl Connection {
    async fn open(world: &World, number: u64, receipts: Option<Receipts>, dice: &mut Dice) -> Self {
        let mut pipe = || match dice.below(3) {
            0 => 64 << 10,
            _ => 1 + dice.below(90) as usize,
        };
        let receipt = format!("{POLICY}receipt={}\n", receipts.is_some());
        let mut setup = setup(&receipt).pipes(pipe(), pipe());
        setup.receipts = receipts;
        // As many proxies as connections.
        setup.ids = number;
        if dice.percent(30) {
            setup.flags &= !Capabilities::MULTI_STATEMENTS;
        }
        setup.rule = world.plan.rule.clone();
        setup.journals = world.journals.clone();
        setup.clock = Arc::new(world.clock());
        let mut talk = setup.open().await;
        let client = std::mem::replace(&mut talk.client, Client::new(duplex(1).0));
        let server = std::mem::replace(&mut talk.server, Server::new(duplex(1).0));
        let backend = Backend::new(world, number);
        let mut serving = JoinSet::new();
        serving.spawn(backend.serve(Wire::new(server.into_stream())));
        Self { wire: Wire::new(client.into_stream()), talk, server: serving }
    }

    /// The client leaves, and the session and the server's side end.
    async fn close(self, world: &World) {
        let Self { wire, mut talk, mut server } = self;
        drop(wire);
        talk.ended().await;
        let served = timeout(LIMIT, server.join_next()).await.expect("the server hangs");
        served.expect("one task").expect("no panic");
        world.counted(&talk.metrics);
    }
}

/// How a question ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The server can't have got all of it.
    Unsaid,
    Unheard,
}

struct Talker {
    world: World,
    who: u64,
    dice: Dice,
    receipts: Option<Receipts>,
    connection: Option<Connection>,
    /// The number of the connection, or of the last one.
    number: u64,
    /// It was the client that left the last question without an answer.
    cut: bool,
}

impl Talker {
    fn new(world: &World, who: u64, receipts: Option<Receipts>) -> Self {
        let (world, dice) = (world.clone(), world.dice(who));
        Self { world, who, dice, receipts, connection: None, number: 0, cut: false }
    }

    async fn run(mut self) {
        for transaction in 0..TRANSACTIONS {
            let mut story = Story { said: vec![], heard: vec![], belief: Belief::Unknown };
            let number = self.who * 100 + transaction;
            story.belief = self.transact(number, &mut story).await;
            self.world.ended(number, story);
        }
        self.leave().await;
    }

    async fn leave(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close(&self.world).await;
        }
    }

    async fn transact(&mut self, number: u64, story: &mut Story) -> Belief {
        if self.ask("BEGIN").await.is_ok_and(|heard| heard == Heard::Done(0)) {
            if self.statements(number, story).await.is_err() {
                // Something failed; COMMIT isn't said.
                if self.connection.is_some() {
                    let _ = self.ask("ROLLBACK").await;
                }
                return Belief::NotCommitted;
            }
            let belief = self.commit().await;
            if belief == Belief::Unknown && !self.cut {
                self.world.unanswered(self.number);
            }
            return belief;
        }
        Belief::NotCommitted
    }

    async fn commit(&mut self) -> Belief {
        match self.ask("COMMIT").await {
            Ok(Heard::Done(_)) => Belief::Committed,
            Ok(Heard::Error { code, lost: false }) => match CommitError::classify(code) {
                CommitError::Conflict | CommitError::Aborted => Belief::NotCommitted,
                CommitError::Uncertain => Belief::Unknown,
            },
            Ok(Heard::Error { lost: true, .. }) | Err(Lost::Unheard) => Belief::Unknown,
            Err(Lost::Unsaid) => Belief::NotCommitted,
            Ok(Heard::Rows(_)) => panic!("rows for a COMMIT"),
        }
    }

    async fn statements(&mut self, number: u64, story: &mut Story) -> Result<(), ()> {
        let (from, to) = (self.dice.below(4), self.dice.below(4));
        let amount = 1 + self.dice.below(20);
        let read = |id: u64| format!("SELECT v FROM account WHERE id = {id}");
        let write =
            |id: u64, value: &str| format!("UPDATE account SET v = {value} WHERE id = {id}");
        match self.dice.below(4) {
            // The application computes what it writes.
            0 | 1 if from != to => {
                let left = self.number(read(from), story).await?;
                let right = self.number(read(to), story).await?;
                let (left, right) = (left - amount as i64, right + amount as i64);
                self.say(write(from, &left.to_string()), story).await?;
                self.say(write(to, &right.to_string()), story).await?;
            }
            2 => {
                self.say(write(from, &format!("v - {amount}")), story).await?;
                self.say(write(to, &format!("v + {amount}")), story).await?;
                self.number(read(from), story).await?;
            }
            _ => drop(self.number("SELECT SUM(v) FROM account".into(), story).await?),
        }
        if self.dice.percent(60) {
            self.say("UPDATE hot SET n = n + 1 WHERE id = 1".into(), story).await?;
        }
        self.say(format!("INSERT INTO marker VALUES ({number})"), story).await.map(drop)
    }

    async fn number(&mut self, text: String, story: &mut Story) -> Result<i64, ()> {
        match self.say(text, story).await? {
            Heard::Rows(rows) if rows.len() == 1 => Ok(rows[0].parse().expect("a number")),
            other => panic!("not a number: {other:?}"),
        }
    }

    /// A statement of the transaction; an error or a lost connection ends it.
    async fn say(&mut self, text: String, story: &mut Story) -> Result<Heard, ()> {
        sleep(Duration::from_millis(self.dice.below(20))).await;
        let heard = self.ask(&text).await.map_err(drop)?;
        if matches!(heard, Heard::Error { .. }) {
            return Err(());
        }
        story.said.push(text);
        story.heard.push(heard.clone());
        Ok(heard)
    }

    /// Says a statement and hears the answer, unless something goes wrong. A connection that can't
    /// be used any more is left.
    async fn ask(&mut self, text: &str) -> Result<Heard, Lost> {
        if self.connection.is_none() {
            self.number = self.world.connection();
            let (number, receipts) = (self.number, self.receipts.clone());
            let connection = Connection::open(&self.world, number, receipts, &mut self.dice).await;
            self.connection = Some(connection);
        }
        let fault = self.world.client_fault(&mut self.dice);
        self.cut = fault.is_some();
        self.world.trace(self.who, &format!("client says {text:?}"));
        let answer = timeout(LIMIT, self.exchange(text, fault)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer:\n{}", self.world.lines()));
        self.world.trace(self.who, &format!("client hears {answer:?}"));
        if matches!(answer, Err(_) | Ok(Heard::Error { lost: true, .. })) {
            self.leave().await;
        }
        answer
    }

    async fn exchange(&mut self, text: &str, fault: Option<Fault>) -> Result<Heard, Lost> {
        let connection = self.connection.as_mut().expect("it is open");
        let mut bytes = Vec::new();
        write_packet(&mut bytes, 0, &query(text));
        if let Some(fault) = fault {
            self.world.note_fault(self.who, fault);
        }
        if fault == Some(Fault::ClientCutsRequest) {
            let len = 1 + self.dice.below(bytes.len() as u64 - 1) as usize;
            let _ = connection.wire.write(&bytes[..len]).await;
            return Err(Lost::Unsaid);
        }
        connection.wire.write(&bytes).await.map_err(|Gone| Lost::Unheard)?;
        match fault {
            Some(Fault::ClientLeaves) => {
                sleep(Duration::from_millis(self.dice.below(10))).await;
                Err(Lost::Unheard)
            }
            Some(_) => {
                connection.wire.part(1 + self.dice.below(6) as usize).await;
                Err(Lost::Unheard)
            }
            None => hear(&mut connection.wire).await.map_err(|Gone| Lost::Unheard),
        }
    }
}

/// The answer to one statement. What isn't one ends the test.
async fn hear(wire: &mut Wire) -> Result<Heard, Gone> {
    let (seq, first) = wire.packet().await?;
    assert_eq!(seq, 1, "an answer begins with sequence id 1");
    match first[0] {
        0x00 => Ok(Heard::Done(u64::from(first[1]))),
        0xFF => {
            let code = u16::from_le_bytes([first[1], first[2]]);
            Ok(Heard::Error { code, lost: &first[4..9] == b"08S01" })
        }
        columns => {
            assert_eq!(columns, 1, "one column");
            let (mut values, mut ends) = (Vec::new(), 0);
            for wanted in 2.. {
                let (seq, payload) = wire.packet().await?;
                assert_eq!(seq, wanted, "one packet behind the other");
                match payload[0] {
                    0xFE => ends += 1,
                    0xFF => {
                        let code = u16::from_le_bytes([payload[1], payload[2]]);
                        return Ok(Heard::Error { code, lost: true });
                    }
                    // A value behind the length.
                    _ if ends == 1 => values.push(String::from_utf8_lossy(&payload[1..]).into()),
                    _ => {}
                }
                if ends == 2 {
                    break;
                }
            }
            Ok(Heard::Rows(values))
        }
    }
}
