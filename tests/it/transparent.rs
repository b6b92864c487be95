//! Every byte that a server says comes through as it is: the corpus, direct and through txguard,
//! under no policy, under replay with tags, and with everything that adds statements.

use std::time::Duration;

use txguard::base::metrics::TransactionOutcome;
use txguard::wire::capability::Capabilities;

use crate::corpus::{
    CORPUS, Dialogue, MARIADB_TABLES, On, Param, Step, TABLES, WITH_EOF, WITH_STATE, WITHOUT_EOF,
};
use crate::support::dump::difference;
use crate::support::proxy::policy;
use crate::support::raw::{self, Answer, GreetingPlaces, Raw, Shape, Upload, com, command};
use crate::support::{Backend, Proxy, client, full, mariadb, need, tidb};

/// How long one dialogue may take; the longest sends 17 MiB a few times.
const LIMIT: Duration = Duration::from_secs(25);

#[tokio::test]
async fn tidb_with_eof_packets() {
    corpus(&need!(tidb::start()), WITH_EOF).await;
}

#[tokio::test]
async fn tidb_without_eof_packets() {
    corpus(&need!(tidb::start()), WITHOUT_EOF).await;
}

#[tokio::test]
async fn mariadb_with_eof_packets() {
    corpus(&need!(mariadb::start()), WITH_EOF).await;
}

#[tokio::test]
async fn mariadb_without_eof_packets() {
    corpus(&need!(mariadb::start()), WITHOUT_EOF).await;
}

#[tokio::test]
async fn what_was_not_offered_is_not_taken() {
    // Query attributes, optional metadata: the server would speak another protocol.
    const CLAIMED: u32 = 1 << 27 | 1 << 25;
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut raw = Raw::greeted(&proxy.address.to_string()).await;
        let mut login = raw.login_packet("root", None, WITH_EOF);
        let claimed = (raw.capabilities | CLAIMED).to_le_bytes();
        login[..4].copy_from_slice(&claimed);
        raw.send(1, &login).await.expect("sent");
        assert_eq!(raw.answer(Shape::Login).await.error(), None);
        for statement in ["SELECT 1", "BEGIN", "SELECT 2", "COMMIT"] {
            assert_eq!(raw.query(statement).await.error(), None, "{statement}");
        }
        drop(raw);
        proxy.stop().await;
    }
}

#[tokio::test]
async fn mariadb_with_session_state() {
    corpus(&need!(mariadb::start()), WITH_STATE).await;
}

/// A policy under test and its proxy.
struct Under {
    policy: &'static str,
    proxy: Proxy,
}

async fn corpus(backend: &Backend, capabilities: u32) {
    let mut tables = TABLES.to_vec();
    if !backend.is_tidb {
        tables.extend(MARIADB_TABLES);
    }
    let schema = backend.schema(&tables).await;
    let mut cleaner = schema.connect().await;
    let mut all = Vec::new();
    for (name, text) in [
        ("none", policy::NONE),
        ("retry and tag", policy::RETRY),
        ("alias and exact", policy::EXACT),
        ("retry, alias and exact", policy::RETRY_EXACT),
    ] {
        all.push(Under { policy: name, proxy: Proxy::start(backend, text).await });
    }
    let only = std::env::var("TXGUARD_TEST_DIALOGUE").ok();
    let mine = if backend.is_tidb { On::TiDb } else { On::MariaDb };
    let mut failures = Vec::new();
    for dialogue in CORPUS.iter().filter(|one| one.on == On::Both || one.on == mine) {
        if only.as_deref().is_some_and(|only| !dialogue.name.contains(only)) {
            continue;
        }
        if dialogue.heavy && !full() && capabilities != WITHOUT_EOF {
            continue;
        }
        client::run(&mut cleaner, &["DELETE FROM kv"]).await;
        let direct = play(&backend.address, &schema.name, capabilities, dialogue).await;
        if direct.hangs {
            failures.push(format!(
                "== {}: {:?}",
                dialogue.name,
                compare(dialogue, &direct, &direct)
            ));
            continue;
        }
        let policies = if dialogue.heavy && !full() { &all[..2] } else { &all[..] };
        for under in policies {
            let lost = lost(&under.proxy);
            client::run(&mut cleaner, &["DELETE FROM kv"]).await;
            let address = under.proxy.address.to_string();
            let through = play(&address, &schema.name, capabilities, dialogue).await;
            let difference = compare(dialogue, &direct, &through);
            if let Some(text) = difference {
                failures.push(format!("== {} · policy {}: {text}", dialogue.name, under.policy));
            }
            if lost != self::lost(&under.proxy) {
                failures.push(format!(
                    "== {} · policy {}: the protocol was not understood",
                    dialogue.name, under.policy,
                ));
            }
        }
    }
    //END
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    // The policies were in force, or all this showed nothing.
    let committed: Vec<u64> =
        all.iter().map(|under| under.proxy.transactions(TransactionOutcome::Committed)).collect();
    assert_eq!(committed[0], 0);
    assert!(only.is_some() || committed[1..].iter().all(|count| *count > 20), "{committed:?}");
    for under in all {
        under.proxy.stop().await;
    }
}

/// How often a proxy gave up understanding a connection.
fn lost(proxy: &Proxy) -> usize {
    proxy.lines().iter().filter(|line| line.field("message").contains("not understood")).count()
}

/// What a server said in a dialogue.
#[derive(Default)]
struct Played {
    greeting: Vec<u8>,
    login: Answer,
    /// By step; steps of a pipeline one by one.
    answers: Vec<Answer>,
    /// Behind the good-bye.
    rest: Vec<u8>,
    /// It took too long at the step behind the last answer.
    hangs: bool,
}

async fn play(address: &str, schema: &str, capabilities: u32, dialogue: &Dialogue) -> Played {
    let mut played = Played::default();
    let playing = play_all(address, schema, capabilities, dialogue, &mut played);
    if tokio::time::timeout(LIMIT, Box::pin(playing)).await.is_err() {
        played.hangs = true;
    }
    played
}

async fn play_all(
    address: &str,
    schema: &str,
    capabilities: u32,
    dialogue: &Dialogue,
    played: &mut Played,
) {
    let mut raw = Raw::login(address, Some(schema), capabilities).await;
    // Its ids count over all connections.
    let mask_ids = raw.greeting.text().contains("MariaDB");
    played.greeting = raw.greeting.payload.clone();
    played.login = raw.login.clone();
    let mut ids = Vec::new();
    for step in dialogue.steps {
        let steps = match step {
            Step::Pipeline(steps) => steps,
            one => std::slice::from_ref(one),
        };
        let mut bytes = Vec::new();
        for step in steps {
            for packet in encode(step, schema, &ids) {
                bytes.extend(raw::frames(0, &packet));
            }
        }
        let _ = raw.send_bytes(&bytes).await;
        for step in steps {
            let mut answer = raw.answer_with_file(shape(step), file(step)).await;
            if matches!(step, Step::Varying(..)) {
                answer.packets.iter_mut().for_each(|packet| mask_numbers(&mut packet.payload));
            }
            if let (Step::Prepare(_), [0, a, b, c, d, ..]) =
                (step, answer.packets.first().map_or(&[][..], |first| &first.payload))
            {
                ids.push(u32::from_le_bytes([*a, *b, *c, *d]));
                if mask_ids {
                    answer.packets[0].payload[1..5].fill(0);
                }
            }
            for packet in &mut answer.packets {
                match (step, packet.payload.first()) {
                    (Step::ChangeUser { .. }, Some(0xFE)) => mask_salt(&mut packet.payload),
                    (_, Some(0xFF)) if mask_ids => mask_id(&mut packet.payload, &ids),
                    _ => {}
                }
            }
            let closed = answer.closed;
            played.answers.push(answer);
            if closed {
                return;
            }
        }
    }
    played.rest = raw.quit().await;
}

fn compare(dialogue: &Dialogue, direct: &Played, through: &Played) -> Option<String> {
    let single = |step: &'static Step| match step {
        Step::Pipeline(steps) => *steps,
        one => std::slice::from_ref(one),
    };
    let steps: Vec<&Step> = dialogue.steps.iter().flat_map(single).collect();
    let at = |index: usize| format!("step {index}, {:.300}", format!("{:?}", steps.get(index)));
    if direct.hangs || through.hangs {
        let (who, index) = match direct.hangs {
            true => ("direct", direct.answers.len()),
            false => ("through txguard", through.answers.len()),
        };
        return Some(format!("{}: no answer {who}", at(index)));
    }
    let expected = expected_greeting(&direct.greeting, &through.greeting);
    if expected != through.greeting {
        return Some(format!("greeting: {expected:02x?}\n{:02x?}", through.greeting));
    }
    if let Some(text) = difference(&direct.login, &through.login) {
        return Some(format!("login: {text}"));
    }
    for (index, (direct, through)) in direct.answers.iter().zip(&through.answers).enumerate() {
        if let Some(text) = difference(direct, through) {
            return Some(format!("{}: {text}", at(index)));
        }
    }
    if direct.answers.len() != through.answers.len() {
        return Some(format!("{} and {} answers", direct.answers.len(), through.answers.len()));
    }
    (direct.rest != through.rest)
        .then(|| format!("behind the end: {:02x?} and {:02x?}", direct.rest, through.rest))
}

/// What a greeting through txguard must be: connection id and salt differ each time, and the
/// capabilities that txguard can't carry are gone, and what it offers itself is there.
fn expected_greeting(direct: &[u8], through: &[u8]) -> Vec<u8> {
    let mut greeting = direct.to_vec();
    let places = GreetingPlaces::of(&greeting);
    for differs in places.salt.into_iter().chain([places.connection_id]) {
        if let Some(other) = through.get(differs.clone()) {
            greeting[differs].copy_from_slice(other);
        }
    }
    let mask = |greeting: &mut [u8], bytes: &[u8]| {
        greeting.iter_mut().zip(bytes).for_each(|(byte, keep)| *byte &= !keep);
    };
    let is_mysql = greeting[places.capabilities[0].start] & 1 != 0;
    let masked = Capabilities::MASKED.to_le_bytes();
    let offered = (Capabilities::COMPRESS | Capabilities::ZSTD).to_le_bytes();
    let words = masked.chunks(2).zip(offered.chunks(2));
    for (range, (masked, offered)) in places.capabilities.into_iter().zip(words) {
        mask(&mut greeting[range.clone()], masked);
        greeting[range].iter_mut().zip(offered).for_each(|(byte, offer)| *byte |= offer);
    }
    if !is_mysql {
        mask(&mut greeting[places.mariadb], &Capabilities::MASKED_MARIADB.to_le_bytes());
    }
    greeting
}

/// The salt is what follows the plugin's name in an AuthSwitchRequest.
fn mask_salt(payload: &mut [u8]) {
    let name = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    payload[name..].fill(0);
}

/// MariaDB names statements by their ids in messages, in brackets.
fn mask_id(payload: &mut Vec<u8>, ids: &[u32]) {
    for (index, id) in ids.iter().enumerate() {
        let (id, place) = (format!("({id})"), format!("(statement {index})"));
        if let Some(at) = payload.windows(id.len()).position(|part| part == id.as_bytes()) {
            payload.splice(at..at + id.len(), place.into_bytes());
            return;
        }
    }
}

/// Every number becomes one `#`.
fn mask_numbers(payload: &mut Vec<u8>) {
    let mut last_was_digit = false;
    payload.retain_mut(|byte| {
        let digit = byte.is_ascii_digit();
        let keep = !(digit && last_was_digit);
        last_was_digit = digit;
        if digit {
            *byte = b'#';
        }
        keep
    });
}

fn shape(step: &Step) -> Shape {
    match step {
        Step::Command(_, _, shape) | Step::Varying(_, _, shape) => *shape,
        Step::Query(_)
        | Step::Made(_)
        | Step::File(..)
        | Step::BigFile(..)
        | Step::OnePacket(..)
        | Step::Execute(..)
        | Step::ExecuteAgain(..)
        | Step::Cursor(..) => Shape::Results,
        Step::Prepare(_) => Shape::Prepare,
        Step::Fetch(..) => Shape::Fetch,
        Step::LongData(..) | Step::Close(_) => Shape::Nothing,
        Step::Reset(_) => Shape::Single,
        Step::ChangeUser { .. } => Shape::Login,
        Step::Pipeline(_) => panic!("a pipeline in a pipeline"),
    }
}

fn file(step: &Step) -> Option<Upload> {
    match step {
        Step::File(_, file) => file.map(|file| Upload { bytes: file.to_vec(), packet: 10 }),
        Step::BigFile(_, make) => Some(Upload { bytes: make(), packet: 1000 }),
        Step::OnePacket(_, len) => Some(Upload { bytes: vec![b'1'; *len], packet: *len }),
        _ => None,
    }
}

/// The packets of a step.
fn encode(step: &Step, schema: &str, ids: &[u32]) -> Vec<Vec<u8>> {
    let id = |index: usize| ids.get(index).copied().unwrap_or(1000).to_le_bytes();
    vec![match step {
        Step::Query(text) => raw::query(&text.replace("{schema}", schema)),
        Step::File(text, _) | Step::BigFile(text, _) | Step::OnePacket(text, _) => raw::query(text),
        Step::Made(text) => raw::query(&text()),
        Step::Command(first, rest, _) | Step::Varying(first, rest, _) => command(*first, rest),
        Step::Prepare(text) => command(com::STMT_PREPARE, text.as_bytes()),
        Step::Execute(index, params) => execute(id(*index), 0, true, params),
        Step::ExecuteAgain(index, params) => execute(id(*index), 0, false, params),
        Step::Cursor(index, params) => execute(id(*index), 1, true, params),
        Step::Fetch(index, rows) => {
            command(com::STMT_FETCH, &[id(*index), rows.to_le_bytes()].concat())
        }
        Step::LongData(index, param, byte, count) => {
            let mut rest = id(*index).to_vec();
            rest.extend(param.to_le_bytes());
            rest.resize(rest.len() + count, *byte);
            command(com::STMT_SEND_LONG_DATA, &rest)
        }
        Step::Reset(index) => command(com::STMT_RESET, &id(*index)),
        Step::Close(index) => command(com::STMT_CLOSE, &id(*index)),
        Step::ChangeUser { into_schema } => {
            let schema = if *into_schema { schema } else { "" };
            let rest = format!("root\0\0{schema}\0\x2d\0mysql_native_password\0");
            command(com::CHANGE_USER, rest.as_bytes())
        }
        Step::Pipeline(_) => panic!("a pipeline in a pipeline"),
    }]
}

fn execute(id: [u8; 4], flags: u8, with_types: bool, params: &[Param]) -> Vec<u8> {
    let mut payload = command(com::STMT_EXECUTE, &id);
    payload.push(flags);
    payload.extend(1u32.to_le_bytes());
    if params.is_empty() {
        return payload;
    }
    let mut nulls = vec![0; params.len().div_ceil(8)];
    let (mut types, mut values) = (Vec::new(), Vec::new());
    for (index, param) in params.iter().enumerate() {
        if matches!(param, Param::Null) {
            nulls[index / 8] |= 1 << (index % 8);
        }
        types.extend(type_of(param));
        value_of(param, &mut values);
    }
    payload.extend(nulls);
    payload.push(u8::from(with_types));
    if with_types {
        payload.extend(types);
    }
    payload.extend(values);
    payload
}

/// The type's number and the sign's flag.
fn type_of(param: &Param) -> [u8; 2] {
    match param {
        Param::Null => [6, 0],
        Param::Tiny(_) => [1, 0],
        Param::Int(_) => [3, 0],
        Param::Long(_) => [8, 0],
        Param::Unsigned(_) => [8, 0x80],
        Param::Float(_) => [4, 0],
        Param::Double(_) => [5, 0],
        Param::Text(_) => [253, 0],
        Param::Blob(_) | Param::Big(..) | Param::Sent => [252, 0],
        Param::Time(..) => [12, 0],
        Param::Span(..) => [11, 0],
    }
}

fn value_of(param: &Param, out: &mut Vec<u8>) {
    let bytes = |bytes: &[u8], out: &mut Vec<u8>| {
        match bytes.len() {
            len @ 0..=250 => out.push(len as u8),
            len => {
                out.push(0xFE);
                out.extend((len as u64).to_le_bytes());
            }
        }
        out.extend_from_slice(bytes);
    };
    match param {
        Param::Null | Param::Sent => {}
        Param::Tiny(value) => out.extend(value.to_le_bytes()),
        Param::Int(value) => out.extend(value.to_le_bytes()),
        Param::Long(value) => out.extend(value.to_le_bytes()),
        Param::Unsigned(value) => out.extend(value.to_le_bytes()),
        Param::Float(value) => out.extend(value.to_le_bytes()),
        Param::Double(value) => out.extend(value.to_le_bytes()),
        Param::Text(value) => bytes(value.as_bytes(), out),
        Param::Blob(value) => bytes(value, out),
        Param::Big(byte, count) => bytes(&vec![*byte; *count], out),
        Param::Time(year, rest, micros) => {
            out.push(11);
            out.extend(year.to_le_bytes());
            out.extend(rest);
            out.extend(micros.to_le_bytes());
        }
        Param::Span(negative, days, rest, micros) => {
            out.push(12);
            out.push(u8::from(*negative));
            out.extend(days.to_le_bytes());
            out.extend(rest);
            out.extend(micros.to_le_bytes());
        }
    }
}
