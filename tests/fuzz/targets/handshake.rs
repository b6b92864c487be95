//! Any bytes from both sides before and during the login. The login ends once both sides are
//! gone, and neither side hears much more than the other one said.

#![no_main]

use libfuzzer_sys::fuzz_target;
use txguard_fuzz::dialogue::{Dialogue, PIPES, Until, run};
use txguard_fuzz::input::Input;
use txguard_fuzz::words;

/// What txguard may add: an error of its own, a header of a proxy protocol.
const OWN_MAX: usize = 1 << 10;

fuzz_target!(|data: &[u8]| run(play(Input::new(data))));

async fn play(mut input: Input<'_>) {
    let mut talk = Dialogue::connect(0, *input.pick(&PIPES), Until::Login);
    let (of_server, of_client) = (words::of_server(), words::of_client());
    let mut seq = 0;
    while !input.is_empty() {
        match input.byte() % 8 {
            0 => seq = talk.server.packet(seq, input.string()),
            1 => seq = talk.client.packet(seq, input.string()),
            2 => talk.server.say(input.string()),
            3 => talk.client.say(input.string()),
            4 => seq = talk.server.packet(seq, input.pick(&of_server).as_slice()),
            5 => seq = talk.client.packet(seq, input.pick(&of_client).as_slice()),
            6 => seq = input.byte(),
            _ => talk.settle().await,
        }
    }
    talk.close().await;
    let [client, server] = [&talk.client, &talk.server].map(|side| side.said().len());
    assert!(talk.client.heard.len() <= server + OWN_MAX);
    assert!(talk.server.heard.len() <= client + OWN_MAX);
}
