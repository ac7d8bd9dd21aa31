//! What holds of any expression, in any zone; see the crate's `fuzzing`.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::payload::{Run, payload};
use super::timing::{Expression, Timing};
use super::zone::Zone;
use crate::fuzzing::Seed;
use crate::observe::time::{parse_rfc3339, rfc3339_millis};

/// Beginnings: some change of the clocks, the end of a year, a leap day, and long after.
const FROM: [i64; 6] =
    [0, 1_711_846_799, 1_729_990_800, 1_735_689_599, 1_709_164_800, 7_000_000_000];

/// An expression, then a zone, each on its line. A run is never before what it is looked for from,
/// looking from it finds it again, and a later beginning gives no earlier run.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, zone) = text.split_once('\n').unwrap_or((text, "Europe/Berlin"));
    inputs(expression);
    let zone = match Zone::of(zone) {
        Some(found) => {
            assert_eq!(found.name(), zone);
            found
        }
        None => Zone::of("Europe/Berlin").unwrap(),
    };
    let Some(expression) = Expression::parse(expression) else { return };
    let timing = Timing { expression, zone, anchor: 1_700_000_000, start: None, end: None };
    let mut last = i64::MIN;
    let mut froms = FROM;
    froms.sort_unstable();
    for from in froms {
        let Some(run) = timing.first_from(from) else { continue };
        assert!(run >= from && run >= last, "{run} after {from}");
        assert_eq!(timing.first_from(run), Some(run));
        if let Some(next) = timing.first_after(run) {
            assert!(next > run && !timing.is_once());
            let ended = Timing { end: Some(run), ..timing.clone() };
            assert_eq!(ended.first_after(run), None);
        }
        last = run;
    }
}

/// The same text as a time, and as the input of a target.
fn inputs(text: &str) {
    if let Some(time) = parse_rfc3339(text) {
        let written = rfc3339_millis(time);
        let again = parse_rfc3339(&written).expect("what is written is read");
        assert_eq!(rfc3339_millis(again), written);
    }
    let id = uuid::Uuid::nil();
    let run = Run { arn: "arn", region: "r", account_id: "0", scheduled: 0, id, attempt: 1 };
    let given = payload(Some(text), &run);
    if !text.contains("<aws.scheduler.") {
        assert_eq!(given, text);
    }
}

pub const SEEDS: &[Seed] = &[
    ("cron", b"cron(0/15 8-17 ? JAN,MAR MON-FRI 2024-2030/2)\nAmerica/New_York"),
    ("last", b"cron(30 2 L * ? *)\nEurope/Berlin"),
    ("workday", b"cron(0 0 15W 2 ? 2024)\nAustralia/Lord_Howe"),
    ("nth", b"cron(59 23 ? * 6#5 *)\nUTC"),
    ("before", b"cron(1 1 L-3 * ? *)\nAfrica/Casablanca"),
    ("lastweekday", b"cron(1 1 ? * 6L *)\nAmerica/Sao_Paulo"),
    ("rate", b"rate(5 minutes)\nUTC"),
    ("at", b"at(2026-03-29T02:30:00)\nEurope/Berlin"),
    ("time", b"2024-02-29T23:59:60.123456789+14:00"),
    ("input", b"{\"a\":\"<aws.scheduler.scheduled-time>\",\"n\":<aws.scheduler.attempt-number>}"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{OTHERS, run_in_small};

    #[test]
    fn runs_of_any_expression_are_in_order() {
        run_in_small(SEEDS, OTHERS, expression);
    }
}
