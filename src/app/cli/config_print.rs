//! `txguard config print`: the annotated file with every key and its default.

use std::io::Write;
use std::process::ExitCode;

use crate::base::config;

/// Writes the file.
#[must_use]
pub fn run(out: &mut impl Write) -> ExitCode {
    super::written(out.write_all(config::ANNOTATED.as_bytes()).and_then(|()| out.flush()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_printed_is_a_right_configuration() {
        let mut out = Vec::new();
        let code = super::run(&mut out);
        assert_eq!(code, std::process::ExitCode::SUCCESS);
        let text = String::from_utf8(out).expect("text");
        super::config::Config::parse(&text, "printed").expect("right");
    }
}
