//! Any bytes as compressed frames, and any bytes compressed. What is written can be read, however
//! it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use txguard::wire::compress::{Algorithm, Codec, Turn};
use txguard_fuzz::input::Input;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let flags = input.byte();
    let algorithm = if flags & 1 == 0 { Algorithm::Zlib } else { Algorithm::Zstd(3) };
    let turn = if flags & 2 == 0 { Turn::Ask } else { Turn::Answer };
    let step = usize::from(input.byte()) + 1;
    let bytes = input.rest();

    // A frame that was not written by us, whatever it is.
    let mut codec = Codec::new(algorithm, turn);
    for piece in bytes.chunks(step) {
        codec.feed(piece);
        if drain(&mut codec, |_| {}).is_none() {
            break;
        }
    }

    let (mut codec, mut packed) = (Codec::new(algorithm, turn), Vec::new());
    for piece in bytes.chunks(step) {
        codec.write(piece);
        codec.frames(&mut packed).expect("it is written to memory");
    }
    codec.last_frames(&mut packed).expect("it is written to memory");
    let (mut codec, mut plain) = (Codec::new(algorithm, turn), Vec::new());
    for piece in packed.chunks(step) {
        codec.feed(piece);
        drain(&mut codec, |bytes| plain.extend_from_slice(bytes)).expect("we wrote it");
    }
    // Who answers numbers packets anew.
    assert_eq!(plain.len(), bytes.len());
    assert!(turn == Turn::Answer || plain == bytes, "something else comes back");
});

/// Reads what is complete; `None` behind an error.
fn drain(codec: &mut Codec, mut take: impl FnMut(&[u8])) -> Option<()> {
    let mut space = [0; 4096];
    loop {
        match codec.read(&mut space).ok()? {
            0 => return Some(()),
            len => take(&space[..len]),
        }
    }
}
