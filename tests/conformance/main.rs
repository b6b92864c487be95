//! Real drivers before real servers: each program in `tests/drivers` runs directly, twice, and
//! through txguard, and says the same. What the two direct runs don't agree on is left out.
//!
//! A program gets HOST, PORT, USER, PASSWORD and SCHEMA in its environment (`DRIVER_HOST` …) and
//! prints its transcript on standard output: one JSON object a line, `{"step": NAME, …}`, each
//! name once, the rest as the driver handed it over. What differs from run to run by its nature
//! (connection ids, addresses, times) it leaves out itself. The schema is made anew for each run,
//! always under the same name; `tests/drivers/schema` says what is in it.
//!
//! With `DRIVER_TLS_CA` (a file) it connects with TLS, with `DRIVER_COMPRESS` compressed.
//!
//! `tests/lib/driver-env LANGUAGE` prepares what the programs of a language need.

#[path = "../support/mod.rs"]
mod support;

mod altered;
mod drivers;
mod program;
mod readme;
mod transcript;
