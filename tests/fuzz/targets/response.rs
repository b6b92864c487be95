//! Any packets as the reply to any command, cut anywhere. A session that is to be drained ends
//! with the packet that completes its reply: it must be the one that the reference finds. All that
//! was said is heard.

#![no_main]

use libfuzzer_sys::fuzz_target;
use txguard::session::End;
use txguard::wire::command::Command;
use txguard::wire::frame::write_packet;
use txguard_fuzz::dialogue::{Dialogue, PIPES, run};
use txguard_fuzz::input::Input;
use txguard_fuzz::reference::{Verdict, judge};
use txguard_fuzz::words;

/// One command for each kind of reply, and for each that is followed in a way of its own.
const COMMANDS: [Command; 14] = [
    Command::QUERY,
    Command::STMT_EXECUTE,
    Command::STMT_BULK_EXECUTE,
    Command::PROCESS_INFO,
    Command::STMT_PREPARE,
    Command::STMT_FETCH,
    Command::FIELD_LIST,
    Command::STATISTICS,
    Command::CHANGE_USER,
    Command::INIT_DB,
    Command::RESET_CONNECTION,
    Command::PING,
    Command::SLEEP,
    Command(0x20),
];

fuzz_target!(|data: &[u8]| run(play(Input::new(data))));

async fn play(mut input: Input<'_>) {
    let of_server = words::of_server();
    let command = *input.pick(&COMMANDS);
    let deprecate_eof = input.byte() & 1 != 0;
    let mut talk = Dialogue::open(0, *input.pick(&PIPES), deprecate_eof).await;
    talk.client.packet(0, &[command.0, b'x', 0, 0, 0, 0, 0]);
    talk.settle().await;
    talk.drain();
    talk.settle().await;
    assert_eq!(talk.ended(), None, "an answer is to come");

    let (mut packets, mut seq) = (Vec::new(), 1);
    while !input.is_empty() {
        let payload = match input.byte() % 4 {
            0 => input.string().to_vec(),
            1 | 2 => input.pick(&of_server).clone(),
            _ => vec![input.byte(); usize::from(input.byte())],
        };
        let mut bytes = Vec::new();
        seq = write_packet(&mut bytes, seq, &payload);
        packets.push(payload);
        let cut = usize::from(input.byte()) % bytes.len();
        talk.server.say(&bytes[..cut]);
        talk.settle().await;
        assert_eq!(talk.ended(), None, "a packet that isn't whole has ended the reply");
        talk.server.say(&bytes[cut..]);
        talk.settle().await;

        let verdict = judge(command.reply(), deprecate_eof, &packets);
        let in_trans = |status: Option<u16>| status.is_some_and(|status| status & 1 != 0);
        let idle = matches!(verdict, Verdict::Ends(_, status) if !in_trans(status));
        let drained = talk.ended() == Some(End::Drained);
        assert_eq!(drained, idle, "{command:?}, EOF deprecated: {deprecate_eof}: {verdict:?}");
        if matches!(verdict, Verdict::Ends(..)) {
            break;
        }
    }
    talk.close().await;
    assert!(talk.client.heard == talk.server.said(), "the client hears something else");
}
