//! The program itself follows its file: by signal, as an operator would.

use super::life::BINARY;
use crate::support::program::Program;

const START: &str = "[backend]\naddresses = [\"127.0.0.1:1\"]\n";

#[tokio::test]
async fn a_signal_takes_a_changed_file_into_force_and_a_bad_one_changes_nothing() {
    let mut program = Program::start(BINARY, START).await;
    let generation = "\ntxguard_config_generation 1\n";
    program.shows("/metrics", 200, generation).await;

    let good = format!("{START}[[policy]]\nname = \"a\"\nretry = {{}}\n");
    program.reload(&good).await;

    program.write(&format!("{good}nonsense = 1\n"));
    program.signal("HUP").await;
    program.says("stays as it was").await;
    program.shows("/metrics", 200, "\ntxguard_config_rejected 1\n").await;

    program.signal("TERM").await;
    program.says("stopping").await;
    assert_eq!(program.ended().await, Some(0));
}
