//! The byte oracle: a dialogue through txguard and the same dialogue without it; what both sides
//! hear must be equal, but for what a policy changes.
//!
//! ```text
//! cases     every command with every legal reply, by name
//! play      a client and a server that say the bytes of a case, and take down what they hear
//! compare   the two protocols side by side, tags taken out
//! ```

mod broken;
mod cases;
mod compare;
mod play;

use txguard::base::config::ANNOTATED;

use self::cases::{Case, Shape, all, huge};
use self::compare::{Allowed, compare};
use self::play::{Cut, Flow, direct, through};
use super::harness::{Setup, setup};
use super::words::{AUTO, TX, ok, query};

/// What a session is under.
#[derive(Debug, Clone, Copy)]
struct Under {
    /// The policy of `txguard config print`: verified replay, tags, hints.
    policy: bool,
    /// Everything happens inside a transaction.
    transaction: bool,
}

const UNDER: [Under; 4] = [
    Under { policy: false, transaction: false },
    Under { policy: false, transaction: true },
    Under { policy: true, transaction: false },
    Under { policy: true, transaction: true },
];

impl Under {
    fn setup(self) -> Setup {
        setup(if self.policy { ANNOTATED } else { "" })
    }

    /// The flags of answers.
    fn status(self) -> u16 {
        if self.transaction { TX } else { AUTO }
    }

    fn allowed(self) -> Allowed {
        if self.policy && self.transaction { Allowed::Tag } else { Allowed::Nothing }
    }

    /// The whole dialogue: into the transaction and out of it, and a PING that shows that both
    /// sides are in step.
    fn around(self, cases: &[&Case], pipelined: bool) -> Flow {
        let mut flow = Flow::default();
        if self.transaction {
            flow.exchange(&query("BEGIN"), &ok(TX));
        }
        for case in cases {
            case.before(&mut flow);
        }
        let pipelined = pipelined && cases.iter().all(|case| !case.alone);
        for (place, case) in cases.iter().enumerate() {
            case.say(&mut flow, pipelined && place > 0);
        }
        if cases.iter().all(|case| !case.leaves) {
            flow.exchange(&query("COMMIT"), &ok(AUTO));
            flow.exchange(&[0x0E], &ok(AUTO));
        }
        flow
    }
}

/// All of the product, not only what fits into a gate.
fn full() -> bool {
    std::env::var_os("TXGUARD_TEST_FULL").is_some()
}

/// Into how many pieces a long dialogue is cut; each costs a turn of every task.
const PIECES: usize = 600;

/// Plays a dialogue with and without txguard. Returns how many statements were tagged.
async fn check(name: &str, under: Under, shape: Shape, cut: Cut, flow: &Flow) -> usize {
    let wanted = direct(flow, cut).await;
    let setup = under.setup().deprecate_eof(shape.eof_gone);
    let got = through(setup, flow, cut).await;
    let compared = match (got, wanted) {
        (Ok(got), Ok(wanted)) => compare(&got, &wanted, under.allowed()),
        (Err(why), _) | (_, Err(why)) => Err(why),
    };
    compared.unwrap_or_else(|why| panic!("{name}; {under:?}; {shape:?}; {cut:?}: {why}"))
}

/// Every case alone.
async fn alone(under: Under) {
    let mut tagged = 0;
    for eof_gone in [false, true] {
        let shape = Shape { eof_gone, status: under.status() };
        for (number, case) in all(shape).iter().enumerate() {
            let flow = under.around(&[case], false);
            for cut in Cut::some(number, full()) {
                let cut = if full() { cut } else { cut.bounded(&flow, PIECES) };
                tagged += check(&case.name, under, shape, cut, &flow).await;
            }
        }
    }
    assert_eq!(tagged > 0, under.policy && under.transaction);
}

/// Every case with others sent right behind it.
async fn in_pairs(under: Under) {
    for eof_gone in [false, true] {
        let shape = Shape { eof_gone, status: under.status() };
        let cases = all(shape);
        let partners = if full() { cases.len() } else { 2 };
        for (number, first) in cases.iter().enumerate() {
            // A stride that is prime: over the cases every kind meets every other kind.
            let others = (0..cases.len()).map(|step| (number * 7 + step * 53 + 1) % cases.len());
            let fitting =
                others.map(|other| &cases[other]).filter(|other| other.fits_behind(first));
            for (step, second) in fitting.take(partners).enumerate() {
                let flow = under.around(&[first, second], true);
                let name = format!("{} with {} right behind it", first.name, second.name);
                let cut = Cut::one(number + step).bounded(&flow, PIECES);
                check(&name, under, shape, cut, &flow).await;
            }
        }
    }
}

/// Packets of 16 MiB and more.
async fn of_16_mib(under: Under) {
    for eof_gone in [false, true] {
        let shape = Shape { eof_gone, status: under.status() };
        for (number, case) in huge(shape).iter().enumerate() {
            // In the gate each of them once, in one of the two ways to end a result.
            if !full() && (number % 2 == 0) != eof_gone {
                continue;
            }
            let flow = under.around(&[case], false);
            check(&case.name, under, shape, Cut::Whole, &flow).await;
        }
    }
}

macro_rules! oracle {
    ($($name:ident: $what:ident under $place:literal,)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            $what(UNDER[$place]).await;
        }
    )*};
}

oracle! {
    alone_without_a_policy: alone under 0,
    alone_without_a_policy_in_a_transaction: alone under 1,
    alone_with_the_default_policy: alone under 2,
    alone_with_the_default_policy_in_a_transaction: alone under 3,
    pairs_without_a_policy: in_pairs under 0,
    pairs_without_a_policy_in_a_transaction: in_pairs under 1,
    pairs_with_the_default_policy: in_pairs under 2,
    pairs_with_the_default_policy_in_a_transaction: in_pairs under 3,
    huge_without_a_policy: of_16_mib under 0,
    huge_without_a_policy_in_a_transaction: of_16_mib under 1,
    huge_with_the_default_policy: of_16_mib under 2,
    huge_with_the_default_policy_in_a_transaction: of_16_mib under 3,
}
