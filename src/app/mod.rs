//! Floor 9: the only constructor of concrete types, the accept loop, the command line.
//!
//! ```text
//! cli ─▶ config ─▶ App::build (listeners bound, everything made, nothing global)
//!                     └─▶ App::run: accept ─▶ backend connection ─▶ Session, one task a client
//! ```

pub mod accept;
pub mod build;
pub mod cli;
mod files;
pub mod log;
mod receipts;
mod reload;
mod settings;
mod throttle;
mod timestamps;
