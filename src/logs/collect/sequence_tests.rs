//! Lines and invocations in every order in which they can come.

use std::sync::{Arc, Mutex};

use super::super::format::tests::subject;
use super::super::marks::{AT_MOST, LAST_STEP, SETTLE, SETTLE_SILENT, SILENT};
use super::*;
use crate::dispatch::{Exit, Failure};

/// A sandbox's log with a clock that the test moves.
struct Log {
    sequence: Sequence,
    now: Now,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Log {
    fn new() -> Log {
        Log::of(false)
    }

    fn of(json: bool) -> Log {
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let now = Now { wall, instant: Instant::now() };
        let mut sequence = Sequence::new(subject(json, "INFO"), now);
        sequence.listen();
        Log { sequence, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.instant += time;
    }

    fn given(&mut self, number: u128) {
        self.given_for(number, false);
    }

    fn given_for(&mut self, number: u128, tail: bool) {
        let starting = Starting { id: id(number), tail, ..Starting::default() };
        self.sequence.given(starting, self.now.wall, self.now);
    }

    fn ending(&self, number: u128) -> Ending {
        Ending {
            id: id(number),
            started: self.now.wall - ms(1),
            duration: ms(1),
            init: None,
            failed: None,
            trace: None,
        }
    }

    fn concluded(&mut self, number: u128) {
        self.sequence.concluded(self.ending(number), self.now);
    }

    fn prints(&mut self, text: &str) {
        self.sequence.output(Output::Stdout, text.as_bytes(), false, self.now);
    }

    /// Time passes until everything is settled.
    fn settle(&mut self) {
        self.pass(AT_MOST);
        self.sequence.settle(self.now);
    }

    /// The log so far, a short word for each line of the service.
    fn lines(&mut self) -> Vec<String> {
        let (events, bytes) = self.sequence.take_events();
        assert_eq!(bytes, events.iter().map(|event| event.message.len()).sum::<usize>());
        assert!(events.is_sorted_by_key(|event| event.timestamp_ms), "{events:?}");
        events.iter().map(|event| short(&event.message)).collect()
    }

    fn tail(&mut self, number: u128) -> Arc<Mutex<Option<String>>> {
        let told = Arc::new(Mutex::new(None));
        let sender = told.clone();
        let waiter = move |text| *sender.lock().unwrap() = Some(String::from_utf8(text).unwrap());
        self.sequence.tail(id(number), Box::new(waiter));
        told
    }
}

/// `START 1` for a START of the invocation with that number.
fn short(line: &str) -> String {
    let mut words = line.split([' ', '\t']);
    match (words.next(), words.next(), words.next()) {
        (Some(kind @ ("START" | "END" | "REPORT")), Some("RequestId:"), Some(id)) => {
            format!("{kind} {}", Uuid::parse_str(id).unwrap().as_u128())
        }
        _ => line.to_owned(),
    }
}

#[test]
fn an_invocations_lines_are_between_its_start_and_its_end() {
    let mut log = Log::new();
    log.prints("the function starts\n");
    assert_eq!(log.lines(), ["the function starts"], "what comes is written at once");
    log.pass(ms(50));
    log.given(1);
    log.pass(ms(2));
    log.prints("a\nb\n");
    assert_eq!(log.lines(), ["START 1", "a", "b"]);
    log.pass(ms(1));
    log.concluded(1);
    log.pass(ms(1));
    log.prints("late\n");
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["late"], "the end waits for what is on its way");
    log.pass(SETTLE);
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["END 1", "REPORT 1"]);
    assert!(!log.sequence.is_busy() || log.sequence.tails.any());
}

#[test]
fn a_silent_function_is_written_soon() {
    let mut log = Log::new();
    log.pass(SILENT);
    log.given(1);
    assert_eq!(log.sequence.next_due(), Some(log.now.instant + SETTLE_SILENT));
    log.sequence.settle(log.now);
    assert!(log.lines().is_empty());
    log.pass(SETTLE_SILENT);
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["START 1"]);
    log.concluded(1);
    log.pass(SETTLE_SILENT);
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["END 1", "REPORT 1"]);
    // One that prints may have lines that are late.
    log.prints("so it does\n");
    log.given(2);
    assert_eq!(log.sequence.next_due(), Some(log.now.instant + SETTLE));
}

/// The next invocation begins at once; a line of the last one comes after that.
#[test]
fn lines_on_their_way_are_not_the_next_invocations() {
    for named in [false, true] {
        let mut log = Log::new();
        log.given(1);
        log.pass(ms(1));
        log.concluded(1);
        log.given(2);
        // One that names its invocation may come much later.
        log.pass(if named { ms(5) } else { ON_THE_WAY - Duration::from_micros(1) });
        let late = if named { format!("late {}", id(1)) } else { "late".to_owned() };
        log.prints(&format!("{late}\n"));
        log.pass(ms(1));
        log.prints("next\n");
        log.concluded(2);
        log.settle();
        let expected =
            ["START 1", &late, "END 1", "REPORT 1", "START 2", "next", "END 2", "REPORT 2"];
        assert_eq!(log.lines(), expected, "{named}");
    }
}

#[test]
fn a_line_that_names_the_next_invocation_is_its_own() {
    let mut log = Log::new();
    log.given(1);
    log.concluded(1);
    log.given(2);
    let quick = format!("quick {}", id(2));
    log.prints(&format!("{quick}\n"));
    assert_eq!(log.lines(), ["START 1", "END 1", "REPORT 1", "START 2", &quick]);
}

/// Many invocations within the time that their lines may take.
#[test]
fn invocations_in_a_burst_keep_their_lines() {
    let mut log = Log::new();
    let mut expected = Vec::new();
    for number in 1..=50 {
        log.given(number);
        log.pass(Duration::from_micros(60));
        log.concluded(number);
        let line = format!("of {}", id(number));
        expected.extend([format!("START {number}"), line.clone()]);
        expected.extend([format!("END {number}"), format!("REPORT {number}")]);
        if number > 1 {
            // One behind.
            log.prints(&format!("of {}\n", id(number - 1)));
        }
    }
    log.prints(&format!("of {}\n", id(50)));
    log.settle();
    assert_eq!(log.lines(), expected);
}

/// The lines of many invocations come late; of each only the last one tells whose it is.
#[test]
fn a_line_that_tells_tells_for_those_before_it() {
    let mut log = Log::new();
    let mut expected = Vec::new();
    for number in 1..=5 {
        log.given(number);
        log.pass(ms(1));
        log.concluded(number);
        let last = format!("last of {}", id(number));
        let lines = [format!("START {number}"), format!("a {number}"), format!("b {number}"), last];
        expected.extend(lines);
        expected.extend([format!("END {number}"), format!("REPORT {number}")]);
    }
    log.pass(ms(5));
    for number in 1..=5 {
        log.prints(&format!("a {number}\nb {number}\n"));
        log.pass(ms(1));
        log.prints(&format!("last of {}\n", id(number)));
    }
    log.settle();
    assert_eq!(log.lines(), expected);
}

#[test]
fn a_line_that_nothing_tells_about_goes_by_its_time() {
    let mut log = Log::new();
    log.given(1);
    log.pass(ms(1));
    log.concluded(1);
    log.pass(ms(1));
    log.given(2);
    log.pass(ms(1));
    log.prints("whose?\n");
    assert!(log.lines().is_empty(), "another line may tell");
    assert_eq!(log.sequence.next_due(), Some(log.now.instant + DOUBT));
    log.pass(DOUBT);
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["START 1", "END 1", "REPORT 1", "START 2", "whose?"]);
    // Its time counts, not that at which it is written.
    log.concluded(2);
    log.pass(ms(10));
    log.given(3);
    log.pass(ms(1));
    log.prints("of the third\n");
    log.given(4);
    log.settle();
    let expected = ["END 2", "REPORT 2", "START 3", "of the third", "START 4"];
    assert_eq!(log.lines(), expected);
    log.prints(&format!("{}\n", "x".repeat(100)).repeat(2000));
    assert!(log.sequence.held.is_empty(), "nothing is in doubt");
    log.concluded(4);
    log.given(5);
    log.pass(ms(1));
    log.prints(&format!("{}\n", "x".repeat(100)).repeat(2000));
    assert!(log.sequence.held_bytes <= HELD_BYTES, "memory is bounded");
}

#[test]
fn ids_are_found_wherever_they_stand() {
    let found = |text: &str| ids(text.as_bytes()).collect::<Vec<_>>();
    let [one, two] = [1, u128::MAX].map(id);
    assert_eq!(found(&format!("a-b {one}")), [one]);
    assert_eq!(found(&format!("{one}{two}")), [one, two]);
    let upper = two.to_string().to_uppercase();
    assert_eq!(found(&format!("{{\"requestId\":\"{upper}\"}}-")), [two]);
    for text in ["", "-", "----", "1234567-", "é-é-é-é-é", &one.to_string()[..35]] {
        assert!(found(text).is_empty(), "{text}");
    }
}

/// Cut a log anywhere: what is between the marks stays the same.
#[test]
fn reads_may_cut_lines_anywhere() {
    let text = "one\ntwo\nthree\n";
    for cut in 0..=text.len() {
        let mut log = Log::new();
        log.given(1);
        log.pass(ms(1));
        log.prints(&text[..cut]);
        log.pass(ms(1));
        log.prints(&text[cut..]);
        log.concluded(1);
        log.settle();
        assert_eq!(log.lines(), ["START 1", "one", "two", "three", "END 1", "REPORT 1"]);
    }
}

#[test]
fn a_line_without_an_end_belongs_to_the_invocation_that_began_it() {
    let mut log = Log::new();
    log.given(1);
    log.pass(ms(1));
    log.prints("half");
    log.concluded(1);
    log.settle();
    log.given(2);
    log.pass(ms(1));
    log.prints("other half\n");
    log.concluded(2);
    log.settle();
    let expected =
        ["START 1", "half", "END 1", "REPORT 1", "START 2", "other half", "END 2", "REPORT 2"];
    assert_eq!(log.lines(), expected);
}

#[test]
fn a_line_without_an_end_has_its_place_where_it_came() {
    let mut log = Log::new();
    log.prints("half");
    log.pass(ms(1));
    log.given(1);
    log.pass(ms(20));
    // The stream ends long after the invocation has begun.
    log.sequence.deafen(log.now);
    log.concluded(1);
    log.settle();
    assert_eq!(log.lines(), ["half", "START 1", "END 1", "REPORT 1"]);
}

#[test]
fn an_end_is_not_held_back_for_ever() {
    let mut log = Log::new();
    log.given(1);
    log.pass(ms(1));
    log.concluded(1);
    let concluded = log.now.instant;
    while log.now.instant - concluded < AT_MOST {
        log.prints("again\n");
        log.sequence.settle(log.now);
        assert!(!log.lines().contains(&"END 1".to_owned()));
        log.pass(ms(10));
    }
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["END 1", "REPORT 1"]);
    log.prints("and again\n");
    assert_eq!(log.lines(), ["and again"]);
}

#[test]
fn without_output_nothing_is_waited_for() {
    let mut log = Log::new();
    log.sequence.deafen(log.now);
    log.given(1);
    log.pass(ms(1));
    log.concluded(1);
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["START 1", "END 1", "REPORT 1"]);
    // Processes of this host run several at a time.
    for number in [2, 3] {
        log.given_for(number, true);
        log.sequence.settle(log.now);
    }
    let second = log.tail(2);
    log.concluded(2);
    log.sequence.settle(log.now);
    log.concluded(3);
    log.sequence.settle(log.now);
    assert_eq!(log.lines(), ["START 2", "START 3", "END 2", "REPORT 2", "END 3", "REPORT 3"]);
    let second = second.lock().unwrap().take().unwrap();
    let second: Vec<String> = second.lines().map(short).collect();
    assert_eq!(second, ["START 2", "END 2", "REPORT 2"]);
}

/// The end of one is told by one thread, the beginning of the next by another.
#[test]
fn the_next_beginning_may_be_told_before_the_end() {
    for early in [false, true] {
        let mut log = Log::new();
        log.given(1);
        if early {
            log.settle();
        }
        log.given(2);
        log.concluded(1);
        log.concluded(2);
        log.settle();
        let expected = ["START 1", "END 1", "REPORT 1", "START 2", "END 2", "REPORT 2"];
        assert_eq!(log.lines(), expected, "{early}");
    }
}

#[test]
fn an_invocation_that_was_taken_back_was_never_here() {
    let mut log = Log::new();
    log.given(1);
    log.sequence.taken_back(id(1));
    log.settle();
    assert!(log.lines().is_empty() && !log.sequence.is_busy());
}

#[test]
fn a_tail_is_what_its_invocation_has_logged() {
    let mut log = Log::new();
    log.prints("init\n");
    log.given_for(1, true);
    log.pass(ms(1));
    log.prints("one\n");
    log.concluded(1);
    let first = log.tail(1);
    assert_eq!(*first.lock().unwrap(), None, "its lines are on their way");
    assert_eq!(log.sequence.asks_at(), Some(log.now.instant + HEAD_START));
    // Asked before the last line could be there.
    log.sequence.engine_answered(log.now.instant, log.now);
    log.pass(LAST_STEP * 2);
    log.sequence.settle(log.now);
    assert_eq!(*first.lock().unwrap(), None, "the Engine is busy");
    log.prints("more\n");
    log.sequence.engine_answered(log.now.instant - ms(1), log.now);
    assert_eq!(log.sequence.asks_at(), None);
    log.sequence.settle(log.now);
    assert_eq!(*first.lock().unwrap(), None, "the last step");
    log.pass(LAST_STEP);
    log.sequence.settle(log.now);
    let told = first.lock().unwrap().take().unwrap();
    let lines: Vec<String> = told.lines().map(short).collect();
    assert_eq!(lines, ["init", "START 1", "one", "more", "END 1", "REPORT 1"]);
    assert!(told.ends_with("\t\n"), "{told:?}");

    log.pass(ms(1));
    log.prints("between\n");
    log.given_for(2, true);
    log.pass(ms(1));
    log.prints("two\n");
    log.concluded(2);
    // The Engine does not answer at all.
    log.settle();
    let second = log.tail(2).lock().unwrap().take().unwrap();
    let lines: Vec<String> = second.lines().map(short).collect();
    assert_eq!(lines, ["START 2", "two", "END 2", "REPORT 2"]);
    assert!(!log.sequence.is_busy());
}

#[test]
fn a_start_that_failed_is_told_with_the_invocation_that_waited() {
    let mut log = Log::new();
    log.prints("cannot import\n");
    log.pass(ms(1));
    let failed = Failed::reported(br#"{"errorType":"Runtime.ImportModuleError"}"#);
    log.sequence.init_failed(failed.clone(), ms(140), log.now);
    let ending = Ending { failed: Some(failed), duration: ms(140), ..log.ending(1) };
    log.sequence.concluded(ending, log.now);
    let tail = log.tail(1);
    log.prints("last words\n");
    log.sequence.deafen(log.now);
    log.sequence.settle(log.now);
    let lines = log.lines();
    assert_eq!(lines[..2], ["cannot import", "last words"]);
    assert_eq!(
        lines[2],
        "INIT_REPORT Init Duration: 140.00 ms\tPhase: init\tStatus: error\t\
         Error Type: Runtime.ImportModuleError"
    );
    assert_eq!(lines[3..], ["START 1", "END 1", "REPORT 1"]);
    let tail = tail.lock().unwrap().take().unwrap();
    assert!(tail.starts_with("cannot import\nlast words\nINIT_REPORT"), "{tail}");
    assert!(tail.ends_with("Status: error\tError Type: Runtime.ImportModuleError\n"), "{tail}");
}

#[test]
fn a_timeout_and_an_exit_say_so_before_their_end() {
    let mut log = Log::new();
    log.given(1);
    let failed = Failed::of(&Failure::TimedOut { after: ms(3000) });
    let ending = Ending { failed: Some(failed), duration: ms(3000), ..log.ending(1) };
    log.sequence.concluded(ending, log.now);
    log.given(2);
    log.sequence.peak_mb = Some(40);
    let exit = Exit { code: 137, out_of_memory: true };
    let failed = Some(Failed::of(&Failure::Exited(exit)));
    log.sequence.concluded(Ending { failed, ..log.ending(2) }, log.now);
    log.settle();
    let (events, _) = log.sequence.take_events();
    let lines: Vec<&str> = events.iter().map(|event| event.message.as_str()).collect();
    assert!(lines[1].ends_with("Task timed out after 3.00 seconds\n"), "{lines:?}");
    assert!(lines[3].contains("Duration: 3000.00 ms") && lines[3].ends_with("Status: timeout"));
    assert!(lines[5].ends_with("signal: killed\nRuntime.OutOfMemory"), "{lines:?}");
    assert!(lines[7].contains("Max Memory Used: 256 MB\tStatus: error"), "{lines:?}");
}

#[test]
fn what_cannot_be_stored_is_counted_and_said() {
    let mut log = Log::new();
    log.given(1);
    log.pass(ms(1));
    for _ in 0..3 {
        log.sequence.output(Output::Stdout, b"12345\n", true, log.now);
    }
    log.prints("again\n");
    let lines = log.lines();
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("START 1", "again"));
    assert!(lines[1].starts_with("LOGS_DROPPED "), "{lines:?}");
    assert!(lines[1].ends_with("Dropped Records: 3\tDropped Bytes: 15"), "{lines:?}");
}

#[test]
fn json_has_records_instead() {
    let mut log = Log::of(true);
    log.given(1);
    log.pass(ms(1));
    log.prints("{\"level\":\"debug\",\"time\":\"2026-01-02T03:04:05Z\"}\n{\"a\":1}\ntext\n");
    log.concluded(1);
    log.settle();
    let lines = log.lines();
    assert_eq!(lines[1..3], ["{\"a\":1}", "text"], "{lines:?}");
    assert!(lines[0].contains("\"platform.start\"") && lines[3].contains("\"platform.report\""));
    assert_eq!(lines.len(), 4);
}

/// A clock that is set back does not stop the log's.
#[test]
fn a_clock_may_be_set_back() {
    let mut log = Log::new();
    log.prints("before\n");
    log.now.wall -= Duration::from_secs(3600);
    log.given(1);
    log.pass(ms(1));
    log.prints("after\n");
    log.concluded(1);
    log.settle();
    let (events, _) = log.sequence.take_events();
    let times: Vec<i64> = events.iter().map(|event| event.timestamp_ms).collect();
    assert_eq!(events.len(), 5);
    assert!(times[1] <= times[0] - 3_599_000 && times[1..].is_sorted(), "{times:?}");
}
