//! CPU time of a process, from Linux' `/proc/PID/stat`: user and system time of all its threads, to
//! a clock tick (proc(5)), mostly 10 ms.

use std::time::Duration;

/// A process, told from a later one with the same number by when it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
    started: u64,
}

/// What a line of `/proc/PID/stat` says, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    used: u64,
    started: u64,
}

impl Process {
    /// None if there is no such process, or no `/proc`.
    pub(super) fn find(pid: u32) -> Option<Self> {
        read(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// What it has used so far; None once it has ended.
    pub(super) fn used(self) -> Option<Duration> {
        let stat = read(self.pid).filter(|stat| stat.started == self.started)?;
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        Some(Duration::from_secs_f64(stat.used as f64 / ticks_per_second as f64))
    }
}

fn read(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in brackets and may hold anything, brackets too; behind
/// the last one all are numbers, of which the 14th, 15th and 22nd of the line are wanted.
fn parse(line: &str) -> Option<Stat> {
    let (_, behind) = line.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat { used: number(14)? + number(15)?, started: number(22)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_behind_the_name() {
        let line = "4711 (a ) 9 9 (x) S 1 4711 4711 0 -1 4194560 9 0 0 0 120 34 5 6 20 0 7 0 \
                    98765 1000 200 18446744073709551615";
        assert_eq!(parse(line), Some(Stat { used: 154, started: 98_765 }));
        assert_eq!(parse("4711 (short) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_there_and_uses_time() {
        let own = Process::find(std::process::id()).expect("it runs");
        let before = own.used().expect("it runs");
        let mut sum = 0_u64;
        while own.used().expect("it runs") <= before {
            sum = (0..100_000_u64).fold(sum, |sum, next| std::hint::black_box(sum ^ next));
        }
        let gone = Process { started: own.started + 1, ..own };
        assert_eq!(gone.used(), None, "another process has its number");
        // Linux gives no number above 2^22.
        assert_eq!(Process::find(u32::MAX), None);
    }
}
