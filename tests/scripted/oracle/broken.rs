//! The oracle itself: relays with one fault each must be caught.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use txguard::net::stream::Stream;
use txguard::wire::frame::{HEADER_LEN, Header};

use super::compare::{Allowed, compare};
use super::play::{Cut, Flow, direct, play};
use crate::words::{AUTO, Done, TX, ok, query, rows};

/// What becomes of the frame of this number.
type Fault = fn(usize, Vec<u8>) -> Vec<u8>;

fn unchanged(_: usize, frame: Vec<u8>) -> Vec<u8> {
    frame
}

/// Passes frames on until the stream ends.
async fn relay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, fault: Fault) {
    for number in 0.. {
        let mut frame = vec![0; HEADER_LEN];
        if from.read_exact(&mut frame).await.is_err() {
            break;
        }
        let len = Header::read(&frame).expect("four bytes").frame_len();
        frame.resize(len, 0);
        from.read_exact(&mut frame[HEADER_LEN..]).await.expect("a whole frame");
        if to.write_all(&fault(number, frame)).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// The verdict on a relay with these faults.
async fn verdict(up: Fault, down: Fault, allowed: Allowed) -> Result<usize, String> {
    let mut flow = Flow::default();
    flow.exchange(&query("BEGIN"), &ok(TX));
    flow.exchange(&query("SELECT v FROM t"), &rows(&["1", "2"], TX));
    let done = Done { affected: 1, insert_id: 0, warnings: 0, info: "changed", status: TX };
    flow.exchange(&query("UPDATE t SET v = 3"), &done.reply());
    flow.exchange(&query("COMMIT"), &ok(AUTO));
    flow.exchange(&[0x0E], &ok(AUTO));

    let (client, near) = duplex(64 << 10);
    let (far, server) = duplex(64 << 10);
    let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
    let relays = async {
        tokio::join!(relay(near_read, far_write, up), relay(far_read, near_write, down));
    };
    let wanted = direct(&flow, Cut::Whole).await.expect("nothing is between them");
    let (got, ()) =
        tokio::join!(play(Stream::new(client), Stream::new(server), &flow, Cut::Whole), relays);
    compare(&got?, &wanted, allowed)
}

fn flip_a_bit_of_a_row(number: usize, mut frame: Vec<u8>) -> Vec<u8> {
    if number == 4 {
        frame[HEADER_LEN + 1] ^= 1;
    }
    frame
}

fn flip_a_bit_of_a_statement(number: usize, mut frame: Vec<u8>) -> Vec<u8> {
    if number == 2 {
        *frame.last_mut().expect("a byte") ^= 1;
    }
    frame
}

fn swallow_an_eof(number: usize, frame: Vec<u8>) -> Vec<u8> {
    match number == 6 && frame[HEADER_LEN] == 0xFE {
        true => vec![],
        false => frame,
    }
}

fn say_it_twice(number: usize, frame: Vec<u8>) -> Vec<u8> {
    if number == 7 { frame.repeat(2) } else { frame }
}

fn say_the_last_word_twice(number: usize, frame: Vec<u8>) -> Vec<u8> {
    if number == 9 { frame.repeat(2) } else { frame }
}

fn lose_count(number: usize, mut frame: Vec<u8>) -> Vec<u8> {
    frame[HEADER_LEN - 1] += u8::from(number == 5);
    frame
}

fn change_the_last_byte(number: usize, mut frame: Vec<u8>) -> Vec<u8> {
    if number == 7 {
        *frame.last_mut().expect("a byte") = b'?';
    }
    frame
}

fn tag(number: usize, frame: Vec<u8>) -> Vec<u8> {
    let tag = b"/*txn='1'*/ ";
    match number {
        2 => {
            let mut tagged = frame[..=HEADER_LEN].to_vec();
            tagged[0] += tag.len() as u8;
            [&tagged, &tag[..], &frame[HEADER_LEN + 1..]].concat()
        }
        _ => frame,
    }
}

fn inject(number: usize, frame: Vec<u8>) -> Vec<u8> {
    match number {
        2 => [&[1, 0, 0, 0, 0x0E][..], &frame].concat(),
        _ => frame,
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_without_a_fault_passes() {
    for allowed in [Allowed::Nothing, Allowed::Tag] {
        assert_eq!(verdict(unchanged, unchanged, allowed).await, Ok(0));
    }
    assert_eq!(verdict(tag, unchanged, Allowed::Tag).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_relay_with_a_fault_is_caught() {
    let down: [Fault; 6] = [
        flip_a_bit_of_a_row,
        swallow_an_eof,
        say_it_twice,
        say_the_last_word_twice,
        lose_count,
        change_the_last_byte,
    ];
    let up: [Fault; 2] = [flip_a_bit_of_a_statement, inject];
    for allowed in [Allowed::Nothing, Allowed::Tag] {
        for (number, fault) in down.into_iter().enumerate() {
            let found = verdict(unchanged, fault, allowed).await;
            assert!(found.is_err(), "down {number}: {found:?}");
        }
        for (number, fault) in up.into_iter().enumerate() {
            let found = verdict(fault, unchanged, allowed).await;
            assert!(found.is_err(), "up {number}: {found:?}");
        }
    }
    assert!(verdict(tag, unchanged, Allowed::Nothing).await.is_err());
}
