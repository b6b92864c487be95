//! Bytes through are equal to bytes sent: every command with every legal reply.

use txguard::base::metrics::ReplayOutcome::Succeeded;
use txguard::wire::command::Command;
use txguard::wire::frame::write_packet;
use txguard::wire::status::Status;

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

const MORE: u16 = Status::MORE_RESULTS;

/// The column definitions of a table with `count` columns.
fn columns(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| column(&format!("c{number}"))).collect()
}

/// A result of `count` columns with these rows.
fn wide(deprecate_eof: bool, count: usize, rows: usize, status: u16) -> Reply {
    let names: Vec<String> = (0..count).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let line: Vec<&str> = vec!["x"; count];
    let lines: Vec<&[&str]> = vec![&line; rows];
    result(deprecate_eof, &names, &lines, status)
}

/// Every legal reply of a statement.
fn results(eof_gone: bool) -> Vec<Reply> {
    let cut = |reply: Reply, keep: usize| Reply {
        packets: reply.packets.into_iter().take(keep).chain(err(1105, "cut").packets).collect(),
    };
    let cursor = |columns: Vec<Vec<u8>>| {
        let end = rows_end(eof_gone, AUTO | Status::CURSOR_EXISTS);
        Reply::of([vec![1]].into_iter().chain(columns).chain([end]))
    };
    let one = || wide(eof_gone, 1, 2, AUTO);
    let mut replies = vec![
        ok(AUTO),
        Done {
            affected: 300,
            insert_id: 70_000,
            warnings: 3,
            info: "Rows matched: 1",
            status: AUTO,
        }
        .reply(),
        err(1064, "no"),
        one(),
        wide(eof_gone, 1, 0, AUTO),
        wide(eof_gone, 300, 1, AUTO),
        cut(one(), 1),
        cut(one(), 2),
        cut(one(), 4),
        wide(eof_gone, 1, 1, AUTO | MORE).then(wide(eof_gone, 2, 1, AUTO | MORE)).then(ok(AUTO)),
        ok(AUTO | MORE).then(ok(AUTO | MORE)).then(one()),
        ok(AUTO | MORE).then(err(1062, "dup")),
        wide(eof_gone, 1, 1, AUTO | MORE).then(cut(one(), 3)),
        cursor(columns(1)),
    ];
    // Rows that look like something else: NULL first, an empty row of a text, a long first column,
    // a binary row, all 0xFE bytes.
    let mut odd = wide(eof_gone, 1, 0, AUTO);
    let end = odd.packets.pop().expect("an end");
    odd.packets.push(vec![0xFB]);
    odd.packets.push(vec![0x00, 0x00, 0x01]);
    odd.packets.push([&[0xFC, 0, 1][..], &[0xFF; 256]].concat());
    if !eof_gone {
        odd.packets.push([&[0xFE, 0, 0, 0, 1, 0, 0, 0, 0][..], &[1; 16]].concat());
    }
    odd.packets.push(end);
    replies.push(odd);
    replies
}

/// Commands with their legal replies.
fn matrix(eof_gone: bool) -> Vec<(Vec<u8>, Vec<Reply>)> {
    let end = || rows_end(eof_gone, AUTO);
    let single = || vec![ok(AUTO), err(1105, "no"), Reply::of([end()])];
    let with_id = |what, rest: &[u8]| [&about(what, 1)[..], rest].concat();
    vec![
        (query("SELECT anything"), results(eof_gone)),
        (execute(1), results(eof_gone)),
        (command(Command::STMT_BULK_EXECUTE, &[1, 0, 0, 0, 128, 0]), results(eof_gone)),
        (command(Command::PROCESS_INFO, &[]), results(eof_gone)),
        (
            prepare("SELECT ?"),
            vec![
                prepare_ok(eof_gone, 1, 0, 0),
                prepare_ok(eof_gone, 1, 1, 0),
                prepare_ok(eof_gone, 1, 0, 1),
                prepare_ok(eof_gone, 1, 3, 2),
                prepare_ok(eof_gone, 1, 300, 300),
                err(1064, "no"),
            ],
        ),
        (
            with_id(Command::STMT_FETCH, &[9, 0, 0, 0]),
            vec![
                Reply::of([row(&["1"]), row(&["2"]), end()]),
                Reply::of([end()]),
                Reply::of([rows_end(eof_gone, AUTO | Status::LAST_ROW_SENT)]),
                err(1105, "no"),
                Reply::of([row(&["1"])]).then(err(1105, "no")),
            ],
        ),
        (
            command(Command::FIELD_LIST, b"t\0"),
            vec![
                Reply::of(columns(2).into_iter().chain([end()])),
                Reply::of([end()]),
                err(1146, "no"),
                Reply::of(columns(1)).then(err(1105, "no")),
            ],
        ),
        (command(Command::INIT_DB, b"bank"), single()),
        (command(Command::CREATE_DB, b"bank"), single()),
        (command(Command::DROP_DB, b"bank"), single()),
        (command(Command::SHUTDOWN, &[0]), single()),
        (command(Command::REGISTER_SLAVE, &[0; 17]), single()),
        (command(Command::REFRESH, &[1]), single()),
        (command(Command::PROCESS_KILL, &[1, 0, 0, 0]), single()),
        (command(Command::DEBUG, &[]), single()),
        (command(Command::PING, &[]), single()),
        (with_id(Command::STMT_RESET, &[]), single()),
        (command(Command::SET_OPTION, &[0, 0]), single()),
        (command(Command::RESET_CONNECTION, &[]), single()),
        (
            command(Command::STATISTICS, &[]),
            vec![Reply::of([b"Uptime: 1  Threads: 2".to_vec()]), Reply::of([vec![b'x'; 300]])],
        ),
    ]
}

/// The dialogue is still in step: a transaction is followed and replayed.
async fn in_step(talk: &mut Talk, eof_gone: bool) {
    let five = result(eof_gone, &["v"], &[&["5"]], TX);
    let before = talk.replays(Succeeded);
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SELECT v FROM t", &five).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t", &five).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.replays(Succeeded), before + 1);
}

#[tokio::test(start_paused = true)]
async fn every_command_with_every_legal_reply() {
    for eof_gone in [false, true] {
        for pipe in [1, 5, 64 << 10] {
            for (payload, replies) in matrix(eof_gone) {
                eprintln!("{:#x}, pipes of {pipe}, without EOF: {eof_gone}", payload[0]);
                let mut talk = setup(RETRY).pipes(pipe, pipe).deprecate_eof(eof_gone).open().await;
                for reply in &replies {
                    talk.step(&payload, reply).await;
                }
                if payload[0] == Command::STMT_EXECUTE.0 {
                    // It was never prepared: what it did to the session isn't known.
                    talk.sql("BEGIN", &ok(TX)).await;
                    talk.sql("COMMIT", &ok(AUTO)).await;
                }
                in_step(&mut talk, eof_gone).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_in_one_go_pipelined() {
    for eof_gone in [false, true] {
        let mut talk = setup(RETRY).deprecate_eof(eof_gone).open().await;
        let all: Vec<(Vec<u8>, Reply)> = matrix(eof_gone)
            .into_iter()
            .flat_map(|(payload, replies)| {
                replies.into_iter().map(move |reply| (payload.clone(), reply))
            })
            .collect();
        let payloads: Vec<Vec<u8>> = all.iter().map(|(payload, _)| payload.clone()).collect();
        let (client, server) = (&mut talk.client, &mut talk.server);
        let said = async {
            client.send_all(&payloads).await;
            for (_, reply) in &all {
                client.expect(reply).await;
            }
        };
        let heard = async {
            for (payload, _) in &all {
                server.expect(payload).await;
            }
            let mut bytes = Vec::new();
            for (_, reply) in &all {
                bytes.extend(reply.frames(1));
            }
            server.raw(&bytes).await;
        };
        tokio::join!(said, heard);
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        in_step(&mut talk, eof_gone).await;
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_columns_and_rows() {
    for eof_gone in [false, true] {
        for pipe in [37, 64 << 10] {
            let mut talk = setup(RETRY).pipes(pipe, pipe).deprecate_eof(eof_gone).open().await;
            talk.sql("SELECT wide", &wide(eof_gone, 4096, 3, AUTO)).await;
            talk.step(&prepare("SELECT wide"), &prepare_ok(eof_gone, 1, 4096, 4096)).await;
            talk.sql("SELECT long", &wide(eof_gone, 1, 10_000, AUTO)).await;
            in_step(&mut talk, eof_gone).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn packets_of_16_mib_and_more_in_both_directions() {
    for len in [0xFF_FFFF - 1, 0xFF_FFFF, 0x100_0000, 0x1FF_FFFE] {
        let mut talk = setup(RETRY).pipes(1 << 20, 1 << 20).open().await;
        let payload = [&b"\x03SELECT 1"[..], &vec![b' '; len - 9]].concat();
        let (client, server) = (&mut talk.client, &mut talk.server);
        tokio::join!(client.send(&payload), server.expect(&payload));
        let seq = 1 + (len / 0xFF_FFFF) as u8;
        let mut reply = rows(&[], AUTO);
        let end = reply.packets.pop().expect("an end");
        reply.packets.push(vec![0xFE; len]);
        reply.packets.push(end);
        let (client, server) = (&mut talk.client, &mut talk.server);
        tokio::join!(server.say(seq, &reply), client.expect_from(seq, &reply));
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        in_step(&mut talk, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_sent_by_the_client() {
    for pipe in [1, 64 << 10] {
        for (parts, answer) in [
            (vec![vec![b'x'; 500], vec![b'y'; 3]], changed(2, AUTO)),
            (vec![], changed(0, AUTO)),
            (vec![vec![b'x'; 10]], err(1062, "Duplicate")),
        ] {
            let mut talk = setup(RETRY).pipes(pipe, pipe).open().await;
            talk.client.query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t").await;
            talk.server.expect(&query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t")).await;
            let asks = Reply::of([b"\xFBf".to_vec()]);
            talk.answer(&asks).await;
            let mut seq = 2;
            for part in parts.iter().chain([&vec![]]) {
                talk.client.send_from(seq, part).await;
                assert_eq!(talk.server.packet().await, (seq, part.clone()));
                seq += 1;
            }
            talk.server.say(seq, &answer).await;
            talk.client.expect_from(seq, &answer).await;
            in_step(&mut talk, false).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_inside_a_transaction_and_the_next_command_behind_it() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    // A statement that asks for a file although nobody would think so.
    talk.client.query("INSERT INTO t VALUES (1)").await;
    talk.server.expect(&query("INSERT INTO t VALUES (1)")).await;
    talk.answer(&Reply::of([b"\xFBf".to_vec()])).await;
    let mut bytes = Vec::new();
    write_packet(&mut bytes, 2, b"data");
    write_packet(&mut bytes, 3, b"");
    talk.client.raw(&bytes).await;
    assert_eq!(talk.server.packet().await, (2, b"data".to_vec()));
    assert_eq!(talk.server.packet().await, (3, vec![]));
    talk.server.say(4, &changed(1, TX)).await;
    talk.client.expect_from(4, &changed(1, TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["local_infile"]);
    in_step(&mut talk, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_sent_right_behind_a_file_is_a_command() {
    let mut talk = open(RETRY).await;
    talk.client.query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t").await;
    talk.server.expect(&query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t")).await;
    talk.answer(&Reply::of([b"\xFBf".to_vec()])).await;
    let mut bytes = Vec::new();
    write_packet(&mut bytes, 2, b"");
    write_packet(&mut bytes, 0, &query("BEGIN"));
    talk.client.raw(&bytes).await;
    assert_eq!(talk.server.packet().await, (2, vec![]));
    talk.server.say(3, &ok(AUTO)).await;
    talk.client.expect_from(3, &ok(AUTO)).await;
    talk.server.expect(&query("BEGIN")).await;
    talk.answer(&ok(TX)).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    assert_eq!((talk.outcomes(), talk.unguarded()), ([1, 0, 0, 0, 0], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_user_with_its_exchange() {
    let login = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x2d\0mysql_native_password\0");
    let switch = b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0".to_vec();
    for pipe in [1, 64 << 10] {
        let mut talk = setup(RETRY).pipes(pipe, pipe).open().await;
        talk.client.send(&login).await;
        talk.server.expect(&login).await;
        talk.answer(&Reply::of([switch.clone()])).await;
        // What the client says now begins with the byte of a command, and is none.
        for (seq, said, answer) in [
            (2, [&[Command::QUERY.0][..], b"BEGIN............."].concat(), Reply::of([vec![1, 4]])),
            (4, b"\x11secret\0".to_vec(), ok(AUTO)),
        ] {
            talk.client.send_from(seq, &said).await;
            assert_eq!(talk.server.packet().await, (seq, said));
            talk.server.say(seq + 1, &answer).await;
            talk.client.expect_from(seq + 1, &answer).await;
        }
        talk.sql("SET NAMES utf8mb4", &ok(AUTO)).await;
        in_step(&mut talk, false).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
        // Refused.
        talk.step(&login, &err(1045, "Access denied")).await;
    }
}

/// Every command that has no reply of a known shape, and the empty packet.
fn unknown() -> Vec<Vec<u8>> {
    let reply = |first: u8| Command(first).reply();
    let unknown =
        (0..=0xFF).filter(|first| reply(*first) == txguard::wire::command::Reply::Unknown);
    unknown.map(|first| vec![first, 1, 2]).chain([vec![]]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_server_refuses_costs_the_guard_and_nothing_else() {
    let refused = err(1105, "command not supported now");
    for command in unknown() {
        let mut talk = open(RETRY).await;
        talk.step(&command, &refused).await;
        talk.transfer().await;
        talk.step(&command, &refused).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        assert_eq!((talk.replays_all(), talk.unguarded()), (0, vec!["command".into()]));
        in_step(&mut talk, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_command_goes_out_alone() {
    let refused = err(1105, "command not supported now");
    for command in [vec![0x1D], vec![0x12; 9], vec![]] {
        let mut talk = open(RETRY).await;
        talk.client.send_all(&[query("SELECT 1"), command.clone(), query("SELECT 2")]).await;
        talk.server.expect(&query("SELECT 1")).await;
        talk.server.silent().await;
        talk.answer(&rows(&["1"], AUTO)).await;
        talk.server.expect(&command).await;
        talk.server.silent().await;
        talk.answer(&refused).await;
        talk.server.expect(&query("SELECT 2")).await;
        talk.answer(&rows(&["2"], AUTO)).await;
        in_step(&mut talk, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn behind_any_other_answer_to_an_unknown_command_nothing_is_looked_at() {
    let event = Reply::of([vec![0; 40]]);
    for answer in [ok(AUTO), event.clone().then(event), Reply::of([eof(AUTO, 0)])] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.step(&[0x12, 4, 0, 0, 0], &answer).await;
        // Not a command: a stream of events is acknowledged so.
        talk.client.send_from(5, b"\xEFack").await;
        assert_eq!(talk.server.packet().await, (5, b"\xEFack".to_vec()));
        talk.sql("COMMIT", &conflict(1)).await;
        talk.usable().await;
        assert_eq!(talk.replays_all(), 0);
        let metrics = talk.bye().await;
        assert_eq!(super::harness::unguarded(&metrics), ["command"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_behind_a_change_of_user_waits_for_it_and_is_followed() {
    let login = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x2d\0mysql_native_password\0");
    let switch = Reply::of([b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0".to_vec()]);
    for switches in [false, true] {
        let mut talk = open(RETRY).await;
        talk.client.send_all(&[query("SELECT 1"), login.clone(), query("BEGIN")]).await;
        talk.server.expect(&query("SELECT 1")).await;
        talk.server.silent().await;
        talk.answer(&rows(&["1"], AUTO)).await;
        talk.server.expect(&login).await;
        talk.server.silent().await;
        if switches {
            // What comes next is the answer, for a server as well.
            talk.answer(&switch).await;
            talk.server.expect(&query("BEGIN")).await;
            talk.answer(&err(1045, "Access denied")).await;
            talk.usable().await;
            continue;
        }
        talk.answer(&ok(AUTO)).await;
        talk.server.expect(&query("BEGIN")).await;
        talk.answer(&ok(TX)).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
        in_step(&mut talk, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_middle_of_a_file_leaves_the_rest_of_it_a_file() {
    let load = query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
    let mut talk = open(RETRY).await;
    talk.client.send(&load).await;
    talk.server.expect(&load).await;
    talk.answer(&Reply::of([b"\xFBf".to_vec()])).await;
    talk.client.send_from(2, b"1,2").await;
    assert_eq!(talk.server.packet().await, (2, b"1,2".to_vec()));
    talk.server.say(3, &err(1062, "Duplicate")).await;
    talk.client.expect_from(3, &err(1062, "Duplicate")).await;
    // Were it taken for a command, it would begin a transaction.
    for (seq, part) in [(3, &query("BEGIN")[..]), (4, &[0x01]), (5, &[])] {
        talk.client.send_from(seq, part).await;
        assert_eq!(talk.server.packet().await, (seq, part.to_vec()));
    }
    in_step(&mut talk, false).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_with_a_packet_of_16_mib_ends_with_the_empty_one_behind_it() {
    for len in [0xFF_FFFF, 0x100_0000] {
        let load = query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
        let mut talk = setup(RETRY).pipes(1 << 20, 1 << 20).open().await;
        talk.client.send(&load).await;
        talk.server.expect(&load).await;
        talk.answer(&Reply::of([b"\xFBf".to_vec()])).await;
        let part = vec![b'x'; len];
        let (client, server) = (&mut talk.client, &mut talk.server);
        let (_, heard) = tokio::join!(client.send_from(2, &part), server.packet());
        assert!(heard == (2, part));
        // The packet took two frames; what follows is still the file.
        for (seq, part) in [(4, &query("BEGIN")[..]), (5, &[])] {
            talk.client.send_from(seq, part).await;
            assert_eq!(talk.server.packet().await, (seq, part.to_vec()));
        }
        talk.server.say(6, &changed(1, AUTO)).await;
        talk.client.expect_from(6, &changed(1, AUTO)).await;
        in_step(&mut talk, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsolicited_error_reaches_an_idle_client() {
    let mut talk = open(RETRY).await;
    talk.usable().await;
    let words = err(1105, "shutting down");
    talk.server.say(0, &words).await;
    talk.client.expect_from(0, &words).await;
    in_step(&mut talk, false).await;
}

#[tokio::test(start_paused = true)]
async fn the_client_that_closes_has_said_everything_before() {
    // Fire and forget: what was written before the end goes out, also through a narrow pipe.
    let mut talk = setup(RETRY).pipes(64 << 10, 16).open().await;
    let texts: Vec<Vec<u8>> =
        (0..20).map(|n| query(&format!("INSERT INTO t VALUES ({n})"))).collect();
    talk.client.send_all(&texts).await;
    let Talk { client, mut server, .. } = talk;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    drop(client);
    for text in &texts {
        server.expect(text).await;
    }
    server.gone().await;
}
