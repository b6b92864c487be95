//! txguard before real servers: TiDB v7.5 and MariaDB 10.11. One binary, one module per topic.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod corpus;
mod kill;
mod legs;
mod life;
mod reload;
mod smoke;
mod track;
mod transparent;
