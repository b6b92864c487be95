//! What every program prints: a line of JSON for each step (see tests/conformance/main.rs).

use std::env;
use std::future::Future;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where and as whom to connect, and what else the environment says.
pub struct Environment {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub schema: String,
    pub is_tidb: bool,
    pub tls_ca: Option<String>,
    pub compress: bool,
    pub full: bool,
}

pub static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let text = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    Environment {
        host: text("DRIVER_HOST"),
        port: text("DRIVER_PORT").parse().expect("a port"),
        user: text("DRIVER_USER"),
        password: text("DRIVER_PASSWORD"),
        schema: text("DRIVER_SCHEMA"),
        is_tidb: text("DRIVER_SERVER") == "tidb",
        tls_ca: env::var("DRIVER_TLS_CA").ok(),
        compress: env::var_os("DRIVER_COMPRESS").is_some(),
        full: env::var_os("TXGUARD_TEST_FULL").is_some(),
    }
});

/// At and around the places where a length is encoded otherwise.
pub const SMALL: [usize; 7] = [0, 1, 250, 251, 252, 65535, 65536];
/// More than one frame of the protocol holds.
pub const BIG: usize = 17 << 20;

/// Longer values are shown by their digest.
const SHOWN: usize = 300;

/// Waits for the action and prints what it gives, or how it fails.
pub async fn step(name: &str, action: impl Future<Output = Result<Value, Value>>) {
    let line = match action.await {
        Ok(result) => json!({"step": name, "result": result}),
        Err(error) => json!({"step": name, "error": error}),
    };
    println!("{line}");
}

/// Bytes as text, if they are that.
pub fn bytes(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => short(format!("text {text}")),
        Err(_) => short(format!("bytes {}", hex::encode(value))),
    }
}

/// Without the address, which is another one through txguard.
pub fn mask(text: &str) -> String {
    short(text.replace(&ENVIRONMENT.port.to_string(), "PORT"))
}

pub fn short(text: String) -> String {
    if text.len() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(20).collect();
    format!("{start}… {} {}", text.len(), digest(text.as_bytes()))
}

pub fn digest(data: &[u8]) -> String {
    hex::encode(&Sha256::digest(data)[..8])
}

/// Many rows are shown by their digest.
pub fn rows(rows: Vec<Value>) -> Value {
    if rows.len() <= 300 {
        return Value::Array(rows);
    }
    let count = rows.len();
    json!(format!("{count} rows {}", digest(Value::Array(rows).to_string().as_bytes())))
}

/// Bytes of every value, the same each time.
pub fn blob(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + (at >> 8)) as u8).collect()
}

/// The lines of a file for LOAD DATA.
pub fn lines(count: usize) -> String {
    (1..=count).map(|n| format!("{n}\tname 😀 {n}\t{n}\n")).collect()
}
