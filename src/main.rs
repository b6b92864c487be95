//! The `txguard` program.

fn main() {}
