//! One file per message. Payloads only; frames are `wire::frame`.

pub mod column;
pub mod err;
pub mod execute;
pub mod greeting;
pub mod login;
pub mod ok;
pub mod prepare_ok;
pub mod result;
