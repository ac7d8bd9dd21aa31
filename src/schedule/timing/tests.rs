//! Runs that are known: those of AWS's examples, and others that a program of another make has
//! found by trying every minute against Python's `zoneinfo`.

use super::*;
use crate::observe::time::{parse_rfc3339, rfc3339_millis};
use std::time::{Duration, UNIX_EPOCH};

fn at(text: &str) -> i64 {
    let time = parse_rfc3339(text).unwrap_or_else(|| panic!("{text}"));
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn text(seconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap());
    rfc3339_millis(time).replace(".000Z", "Z")
}

fn timing(expression: &str, zone: &str) -> Timing {
    let expression = Expression::parse(expression).unwrap_or_else(|| panic!("{expression}"));
    Timing { expression, zone: Zone::of(zone).unwrap(), anchor: 0, start: None, end: None }
}

fn runs(timing: &Timing, from: &str, count: usize) -> Vec<String> {
    let first = timing.first_from(at(from));
    let all = std::iter::successors(first, |run| timing.first_after(*run));
    all.take(count).map(text).collect()
}

/// Fields, zone, from when, and the runs from then on to the minute.
type Known = (&'static str, &'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    ("0 10 * * ? *", "UTC", "2026-11-27T09:59:01Z", &["2026-11-27T10:00Z", "2026-11-28T10:00Z"]),
    ("15 12 * * ? *", "UTC", "2026-11-27T12:15:00Z", &["2026-11-27T12:15Z", "2026-11-28T12:15Z"]),
    ("15 12 * * ? *", "UTC", "2026-11-27T12:15:01Z", &["2026-11-28T12:15Z"]),
    ("0 18 ? * MON-FRI *", "UTC", "2026-11-27T18:00:01Z", &["2026-11-30T18:00Z", "2026-12-01T18:00Z"]),
    ("0 8 1 * ? *", "UTC", "2026-11-27T00:00:00Z", &["2026-12-01T08:00Z", "2027-01-01T08:00Z", "2027-02-01T08:00Z"]),
    ("0/15 * * * ? *", "UTC", "2026-12-31T23:31:00Z", &["2026-12-31T23:45Z", "2027-01-01T00:00Z", "2027-01-01T00:15Z"]),
    ("0/10 * ? * MON-FRI *", "UTC", "2026-11-27T23:51:00Z", &["2026-11-30T00:00Z", "2026-11-30T00:10Z"]),
    ("0/5 8-17 ? * MON-FRI *", "UTC", "2026-11-27T17:54:00Z", &["2026-11-27T17:55Z", "2026-11-30T08:00Z", "2026-11-30T08:05Z"]),
    ("0 9 ? * 2#1 *", "UTC", "2026-11-27T00:00:00Z", &["2026-12-07T09:00Z", "2027-01-04T09:00Z", "2027-02-01T09:00Z"]),
    ("15 10 ? * 6L 2022-2023", "UTC", "2022-11-01T00:00:00Z", &["2022-11-25T10:15Z", "2022-12-30T10:15Z", "2023-01-27T10:15Z"]),
    ("15 10 ? * 6L 2022-2023", "UTC", "2023-12-29T10:15:00Z", &["2023-12-29T10:15Z"]),
    ("0 0 L * ? *", "UTC", "2027-01-31T00:01:00Z", &["2027-02-28T00:00Z", "2027-03-31T00:00Z", "2027-04-30T00:00Z", "2027-05-31T00:00Z"]),
    ("0 0 L * ? *", "UTC", "2028-02-01T00:00:00Z", &["2028-02-29T00:00Z", "2028-03-31T00:00Z"]),
    ("0 0 L-3 * ? *", "UTC", "2027-02-01T00:00:00Z", &["2027-02-25T00:00Z", "2027-03-28T00:00Z", "2027-04-27T00:00Z"]),
    ("30 6 LW * ? *", "UTC", "2026-11-27T00:00:00Z", &["2026-11-30T06:30Z", "2026-12-31T06:30Z", "2027-01-29T06:30Z", "2027-02-26T06:30Z"]),
    ("0 12 1W * ? *", "UTC", "2027-04-30T13:00:00Z", &["2027-05-03T12:00Z", "2027-06-01T12:00Z", "2027-07-01T12:00Z", "2027-08-02T12:00Z"]),
    ("0 12 15W * ? *", "UTC", "2026-11-01T00:00:00Z", &["2026-11-16T12:00Z", "2026-12-15T12:00Z", "2027-01-15T12:00Z", "2027-02-15T12:00Z"]),
    ("0 12 31W * ? *", "UTC", "2027-01-01T00:00:00Z", &["2027-01-29T12:00Z", "2027-03-31T12:00Z", "2027-05-31T12:00Z", "2027-07-30T12:00Z"]),
    ("0 0 29 2 ? *", "UTC", "2026-11-27T00:00:00Z", &["2028-02-29T00:00Z", "2032-02-29T00:00Z"]),
    ("0 0 31 * ? *", "UTC", "2027-01-31T00:01:00Z", &["2027-03-31T00:00Z", "2027-05-31T00:00Z", "2027-07-31T00:00Z"]),
    ("0 0 30 * ? *", "UTC", "2027-01-30T00:01:00Z", &["2027-03-30T00:00Z", "2027-04-30T00:00Z"]),
    ("0 0 ? * L *", "UTC", "2026-11-27T00:00:00Z", &["2026-11-28T00:00Z", "2026-12-05T00:00Z"]),
    ("0 0 ? * 5#5 *", "UTC", "2026-11-01T00:00:00Z", &["2026-12-31T00:00Z", "2027-04-29T00:00Z", "2027-07-29T00:00Z"]),
    ("0 0 ? * SUN,3,FRI *", "UTC", "2026-11-27T00:01:00Z", &["2026-11-29T00:00Z", "2026-12-01T00:00Z", "2026-12-04T00:00Z", "2026-12-06T00:00Z"]),
    ("0 0 ? JAN-MAR/2,12 MONL *", "UTC", "2026-11-27T00:00:00Z", &["2026-12-28T00:00Z", "2027-01-25T00:00Z", "2027-03-29T00:00Z", "2027-12-27T00:00Z"]),
    ("5,50-52 1-9/4 10,20 * ? *", "UTC", "2026-11-10T05:51:00Z", &["2026-11-10T05:51Z", "2026-11-10T05:52Z", "2026-11-10T09:05Z", "2026-11-10T09:50Z", "2026-11-10T09:51Z", "2026-11-10T09:52Z"]),
    ("0 0 1 1 ? 2030/3", "UTC", "2026-11-27T00:00:00Z", &["2030-01-01T00:00Z", "2033-01-01T00:00Z"]),
    ("59 23 31 12 ? 2199", "UTC", "2199-12-30T00:00:00Z", &["2199-12-31T23:59Z"]),
    ("30 2 * * ? *", "Europe/Berlin", "2026-03-28T00:00:00Z", &["2026-03-28T01:30Z", "2026-03-30T00:30Z", "2026-03-31T00:30Z"]),
    ("30 2 * * ? *", "Europe/Berlin", "2026-10-24T00:00:00Z", &["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
    ("0/30 1-3 * * ? *", "Europe/Berlin", "2026-10-24T23:00:00Z", &["2026-10-24T23:00Z", "2026-10-24T23:30Z", "2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-25T02:00Z", "2026-10-25T02:30Z", "2026-10-26T00:00Z", "2026-10-26T00:30Z"]),
    ("0/30 * * * ? *", "America/New_York", "2026-03-08T06:00:00Z", &["2026-03-08T06:00Z", "2026-03-08T06:30Z", "2026-03-08T07:00Z", "2026-03-08T07:30Z"]),
    ("0/30 * * * ? *", "America/New_York", "2026-11-01T04:30:00Z", &["2026-11-01T04:30Z", "2026-11-01T05:00Z", "2026-11-01T05:30Z", "2026-11-01T07:00Z", "2026-11-01T07:30Z", "2026-11-01T08:00Z"]),
    ("0 2 ? * SUN *", "America/New_York", "2026-03-01T00:00:00Z", &["2026-03-01T07:00Z", "2026-03-15T06:00Z", "2026-03-22T06:00Z"]),
    ("30 1 * * ? *", "America/New_York", "2026-11-01T06:00:00Z", &["2026-11-02T06:30Z", "2026-11-03T06:30Z"]),
    ("0 0 * * ? *", "Asia/Beirut", "2026-03-28T12:00:00Z", &["2026-03-29T21:00Z", "2026-03-30T21:00Z"]),
    ("15 2 * * ? *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z", &["2026-10-04T15:15Z", "2026-10-05T15:15Z", "2026-10-06T15:15Z"]),
    ("45 1 * * ? *", "Australia/Lord_Howe", "2026-04-03T20:00:00Z", &["2026-04-04T14:45Z", "2026-04-05T15:15Z", "2026-04-06T15:15Z"]),
    ("0 9 * * ? *", "Asia/Kathmandu", "2026-11-27T00:00:00Z", &["2026-11-27T03:15Z", "2026-11-28T03:15Z"]),
    ("0 12 * * ? *", "Pacific/Apia", "2011-12-28T00:00:00Z", &["2011-12-28T22:00Z", "2011-12-29T22:00Z", "2011-12-30T22:00Z"]),
    ("30 2 L 3 ? *", "Europe/London", "2026-11-27T00:00:00Z", &["2027-03-31T01:30Z", "2028-03-31T01:30Z"]),
    ("0 3 ? 10 1L 2040-2042", "America/Santiago", "2039-11-27T00:00:00Z", &["2040-10-28T06:00Z", "2041-10-27T06:00Z", "2042-10-26T06:00Z"]),
    ("0 0 1 1 ? *", "Europe/Dublin", "2026-11-27T00:00:00Z", &["2027-01-01T00:00Z"]),
];

#[test]
fn known_runs_of_cron() {
    for (fields, zone, from, expected) in KNOWN {
        let timing = timing(&format!("cron({fields})"), zone);
        let found = runs(&timing, from, expected.len());
        // All of them are whole minutes.
        let found: Vec<String> = found.iter().map(|run| run.replacen(":00Z", "Z", 1)).collect();
        assert_eq!(found, *expected, "cron({fields}) in {zone} from {from}");
    }
}

#[test]
fn an_expression_that_is_over_has_no_run() {
    let never = timing("cron(0 0 30 2 ? *)", "UTC");
    assert_eq!(never.first_from(0), None);
    let over = timing("cron(15 10 ? * 6L 2022-2023)", "UTC");
    assert_eq!(over.first_from(at("2023-12-29T10:15:01Z")), None);
    // The last Sunday of March is when the clocks are set over this.
    let skipped = timing("cron(30 2 ? 3 1L 2040-2042)", "Europe/Berlin");
    assert_eq!(skipped.first_from(at("2039-11-27T00:00:00Z")), None);
}

#[test]
fn a_rate_counts_from_its_anchor_whatever_the_clocks_do() {
    let mut rate = timing("rate(1 day)", "Europe/Berlin");
    rate.anchor = at("2026-10-24T00:30:00Z");
    let found = runs(&rate, "2026-10-24T00:30:00Z", 3);
    assert_eq!(found, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T00:30:00Z"]);
    let mut rate = timing("rate(5 minutes)", "UTC");
    rate.anchor = at("2026-11-27T00:01:07Z");
    let found = runs(&rate, "2026-11-27T00:11:08Z", 2);
    assert_eq!(found, ["2026-11-27T00:16:07Z", "2026-11-27T00:21:07Z"]);
    assert_eq!(runs(&rate, "2020-01-01T00:00:00Z", 1), ["2026-11-27T00:01:07Z"]);
}

#[test]
fn one_time_schedules_run_once() {
    let once = timing("at(2026-11-27T12:00:30)", "Asia/Tokyo");
    assert_eq!(runs(&once, "2020-01-01T00:00:00Z", 9), ["2026-11-27T03:00:30Z"]);
    assert_eq!(once.first_from(at("2026-11-27T03:00:31Z")), None);
    // Twice on the clock, and not at all.
    let twice = timing("at(2026-10-25T02:30:00)", "Europe/Berlin");
    assert_eq!(runs(&twice, "2020-01-01T00:00:00Z", 9), ["2026-10-25T00:30:00Z"]);
    let skipped = timing("at(2026-03-29T02:30:00)", "Europe/Berlin");
    assert_eq!(runs(&skipped, "2020-01-01T00:00:00Z", 9), ["2026-03-29T01:30:00Z"]);
    // Dates are of no meaning for them.
    let dated = Timing { start: Some(i64::MAX), end: Some(0), ..once };
    assert_eq!(runs(&dated, "2020-01-01T00:00:00Z", 9).len(), 1);
}

#[test]
fn runs_are_between_start_and_end() {
    let bounded = |expression: &str| {
        let (start, end) = (at("2026-12-01T10:00:00Z"), at("2026-12-03T10:00:00Z"));
        Timing { anchor: start, start: Some(start), end: Some(end), ..timing(expression, "UTC") }
    };
    let days = ["2026-12-01T10:00:00Z", "2026-12-02T10:00:00Z", "2026-12-03T10:00:00Z"];
    assert_eq!(runs(&bounded("cron(0 10 * * ? *)"), "2026-11-27T00:00:00Z", 9), days);
    assert_eq!(runs(&bounded("rate(1 day)"), "2026-11-27T00:00:00Z", 9), days);
    assert_eq!(runs(&bounded("rate(24 hours)"), "2026-12-02T10:00:01Z", 9), days[2..]);
}

#[test]
fn what_aws_takes_is_taken() {
    for good in [
        "rate(1 minute)",
        "rate(2 minute)",
        "rate(1 minutes)",
        "rate(36 hours)",
        "rate(999999999 days)",
        "at(2026-11-27T00:00:00)",
        "at(2028-02-29T23:59:59)",
        "cron(* * ? * * 2024)",
        "cron(0  0  1W jan,Mar ? 2030-2040/2)",
        "cron(0 0 ? * fri#5 *)",
        "cron(0 0 ? * 2-6/2 *)",
    ] {
        assert!(Expression::parse(good).is_some(), "{good}");
    }
}

#[test]
fn what_aws_refuses_is_refused() {
    for bad in [
        "",
        "cron()",
        "cron(INVALID)",
        "cron(0 1 * * * *)",
        "cron(7 20 * * NOT *)",
        "cron(0 dummy ? * MON-FRI *)",
        "cron(71 8 1 * ? *)",
        "cron(0 24 1 * ? *)",
        "cron(0 8 ? * ? *)",
        "cron(0 8 1 * 2 *)",
        "cron(0 8 0 * ? *)",
        "cron(0 8 32 * ? *)",
        "cron(0 8 1 13 ? *)",
        "cron(0 8 ? * 8 *)",
        "cron(0 8 ? * 0 *)",
        "cron(0 8 ? * 3#6 *)",
        "cron(0 8 ? * 3#1,6#3 *)",
        "cron(0 8 1 * ? 1969)",
        "cron(0 8 1 * ? 2200)",
        "cron(0 8 1 * ?)",
        "cron(0 0 8 1 * ? *)",
        "cron(0/0 8 1 * ? *)",
        "cron(/5 8 1 * ? *)",
        "cron(5-1 8 1 * ? *)",
        "cron(1, 8 1 * ? *)",
        "cron(+1 8 1 * ? *)",
        "cron(0 8 W * ? *)",
        "cron(0 8 32W * ? *)",
        "cron(0 8 L-31 * ? *)",
        "cron(0 ? 1 * ? *)",
        "rate(10 seconds)",
        "rate(10 years)",
        "rate()",
        "rate(10)",
        "rate(10 minutess)",
        "rate(foo minutes)",
        "rate(-10 minutes)",
        "rate(0 minutes)",
        "rate(1.5 hours)",
        "rate( 10 minutes )",
        " rate(10 minutes)",
        "rate(10 minutes",
        "at(2021-12-31T23:59:59Z)",
        "at(2021-12-31)",
        "at(2026-02-29T00:00:00)",
        "at(2026-04-31T00:00:00)",
        "at(2026-13-01T00:00:00)",
        "at(2026-12-01T24:00:00)",
        "at(2026-12-01T00:60:00)",
        "at(1969-12-31T23:59:59)",
        "at(2026-12-01 00:00:00)",
        "at(\u{e9}026-12-01T00:00:0)",
        "every(1 day)",
    ] {
        assert!(Expression::parse(bad).is_none(), "{bad}");
    }
}
