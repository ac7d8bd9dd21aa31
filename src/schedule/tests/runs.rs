//! What runs when, with the clock in the test's hand.

use super::*;

#[test]
fn a_rate_runs_at_once_and_then_at_its_rate() {
    let mut world = World::new(MissedRuns::Once);
    world.create("s", "rate(5 minutes)");
    assert_eq!(world.run(), [time("00:00:00")]);
    assert_eq!(world.next("s"), Some(300));
    world.pass(299);
    assert!(world.run().is_empty());
    world.pass(1);
    assert_eq!(world.run(), [time("00:05:00")]);
    assert_eq!((world.count("runs_started"), world.count("runs_missed")), (2, 0));
}

#[test]
fn a_run_is_an_event_of_its_function_with_its_terms() {
    let mut world = World::new(MissedRuns::Once);
    let mut asked = definition("at(2026-11-27T00:00:30)");
    asked["Target"]["Arn"] = "arn:aws:lambda:eu-west-1:000000000000:function:f:live".into();
    asked["Target"]["RetryPolicy"] =
        json!({ "MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 3 });
    asked["Target"]["DeadLetterConfig"] = json!({ "Arn": "arn:aws:sqs:x" });
    world.schedules.create(named("s"), asked, "").unwrap();
    assert!(world.run().is_empty());
    world.pass(30);
    let sent = world.look().remove(0);
    let function = &sent.event.function;
    assert_eq!((function.region.as_str(), function.name.as_str()), ("eu-west-1", "f"));
    assert_eq!((function.qualifier.as_deref(), function.created), (Some("live"), true));
    let terms = sent.event.terms.clone().unwrap();
    assert_eq!((terms.max_retries, terms.max_age_s), (3, 60));
    assert_eq!(terms.dead_letter.as_deref(), Some("arn:aws:sqs:x"));
    assert!(sent.event.trace_id.starts_with("Root=1-"));
    world.answer(sent, Ok(()));
    assert_eq!((world.next("s"), world.names().len()), (None, 1));
    world.pass(1_000_000);
    assert!(world.run().is_empty());
}

#[test]
fn a_schedule_that_is_over_goes_if_it_is_to() {
    let mut world = World::new(MissedRuns::Once);
    let mut asked = definition("rate(1 hour)");
    asked["ActionAfterCompletion"] = "DELETE".into();
    asked["EndDate"] = (START + 5400).into();
    world.schedules.create(named("s"), asked, "").unwrap();
    assert_eq!(world.run().len(), 1);
    assert_eq!(world.names(), ["s"]);
    world.pass(3600);
    assert_eq!(world.run(), [time("01:00:00")]);
    assert!(world.names().is_empty());
    assert!(world.restarted().names().is_empty());
}

#[test]
fn what_is_disabled_does_not_run_and_what_was_missed_then_is_none() {
    let mut world = World::new(MissedRuns::All(100));
    let mut asked = definition("cron(0 * * * ? *)");
    asked["State"] = "DISABLED".into();
    world.schedules.create(named("s"), asked.clone(), "").unwrap();
    world.pass(7200);
    assert!(world.run().is_empty());
    world.pass(60);
    asked["State"] = "ENABLED".into();
    world.schedules.update(named("s"), asked, "").unwrap();
    assert!(world.run().is_empty());
    assert_eq!(world.next("s"), Some(3 * 3600));
}

#[test]
fn missed_runs_are_made_up_for_as_configured() {
    let missed = |missed| {
        let mut world = World::new(missed);
        world.create("s", "cron(0/10 * * * ? *)");
        assert_eq!(world.run(), [time("00:00:00")]);
        world.pass(35 * 60);
        let mut world = world.restarted();
        let runs = world.run();
        assert_eq!(world.next("s"), Some(40 * 60));
        (runs, world.count("runs_missed"), world.count("runs_skipped"))
    };
    let at = |minutes: &[u32]| minutes.iter().map(|m| time(&format!("00:{m}:00"))).collect();
    assert_eq!(missed(MissedRuns::Skip), (Vec::new(), 3, 3));
    assert_eq!(missed(MissedRuns::Once), (at(&[30]), 3, 2));
    assert_eq!(missed(MissedRuns::All(9)), (at(&[10, 20, 30]), 3, 0));
    assert_eq!(missed(MissedRuns::All(2)), (at(&[20, 30]), 3, 1));
}

#[test]
fn a_one_time_schedule_that_was_missed_runs_or_is_over() {
    for (missed, runs) in [(MissedRuns::Once, 1), (MissedRuns::Skip, 0)] {
        let world = World::new(missed);
        let mut asked = definition("at(2026-11-27T00:10:00)");
        asked["ActionAfterCompletion"] = "DELETE".into();
        world.schedules.create(named("s"), asked, "").unwrap();
        world.pass(3600);
        let mut world = world.restarted();
        assert_eq!(world.run().len(), runs);
        assert!(world.names().is_empty());
    }
}

#[test]
fn a_queue_that_is_full_is_asked_again_later_and_later() {
    let mut world = World::new(MissedRuns::Once);
    let mut asked = definition("rate(1 hour)");
    asked["Target"]["Input"] = "<aws.scheduler.attempt-number>".into();
    world.schedules.create(named("s"), asked, "").unwrap();
    let mut ids = Vec::new();
    for (attempt, wait) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)] {
        let sent = world.look().remove(0);
        assert_eq!(sent.text(), attempt.to_string());
        ids.push(sent.event.id);
        world.answer(sent, Err(Refused::Full));
        world.pass(wait - 1);
        assert!(world.look().is_empty(), "attempt {attempt}");
        world.pass(1);
    }
    // It is more than a minute late, and no missed one for that.
    assert_eq!(world.run(), ["9"]);
    ids.dedup();
    assert_eq!((ids.len(), world.count("runs_refused"), world.count("runs_missed")), (1, 8, 0));
    assert_eq!(world.next("s"), Some(3600));
}

#[test]
fn a_run_that_the_queue_never_takes_is_given_up() {
    let mut world = World::new(MissedRuns::Once);
    let mut asked = definition("rate(1 hour)");
    asked["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] = 60.into();
    world.schedules.create(named("s"), asked, "").unwrap();
    let mut tries = 0;
    loop {
        let mut sent = world.look();
        if sent.is_empty() && world.next("s") == Some(3600) {
            break;
        }
        if let Some(sent) = sent.pop() {
            tries += 1;
            world.answer(sent, Err(Refused::Disk));
        }
        world.pass(1);
    }
    assert_eq!((tries, world.count("runs_given_up"), world.count("runs_started")), (6, 1, 0));
}

#[test]
fn a_clock_that_is_set_repeats_nothing_and_stops_nothing() {
    let mut world = World::new(MissedRuns::Once);
    world.create("s", "cron(0/10 * * * ? *)");
    assert_eq!(world.run(), [time("00:00:00")]);
    // An hour ahead: one run for all that were missed.
    world.set(START + 3600 + 305);
    assert_eq!(world.run(), [time("01:00:00")]);
    // And back: what has run does not run again.
    world.set(START + 605);
    assert!(world.run().is_empty());
    assert_eq!(world.next("s"), Some(4200));
    world.set(START + 4200);
    assert_eq!(world.run(), [time("01:10:00")]);
    // Years ahead and back: a clock that was wrong keeps nothing waiting.
    world.set(START + 20 * 365 * 86_400 + 300);
    assert_eq!(world.run().len(), 1);
    world.set(START + 5000);
    assert!(world.run().is_empty());
    assert_eq!(world.next("s"), Some(5400));
    // The same while the service was not there.
    world.set(START + 20 * 365 * 86_400 + 300);
    assert_eq!(world.run().len(), 1);
    world.set(START + 5500);
    let mut world = world.restarted();
    assert_eq!(world.next("s"), Some(6000));
    world.set(START + 6000);
    assert_eq!(world.run(), [time("01:40:00")]);
}

#[test]
fn many_at_once_are_handed_over_a_window_at_a_time() {
    let world = World::new(MissedRuns::Once);
    let settings = config::Schedules { max_schedules: 1000, ..settings(MissedRuns::Once) };
    let mut world = World::on(world.backend, world.now, settings).unwrap();
    for number in 0..300 {
        world.create(&format!("s{number}"), "rate(1 hour)");
    }
    let first = world.look();
    assert_eq!((first.len(), world.look().len()), (256, 0));
    for sent in first {
        world.answer(sent, Ok(()));
    }
    assert_eq!(world.run().len(), 44);
    assert_eq!(world.count("runs_started"), 300);
}

#[test]
fn a_flexible_run_comes_within_its_window_with_the_time_that_was_planned() {
    let mut world = World::new(MissedRuns::Once);
    let mut asked = definition("cron(0 1 * * ? *)");
    asked["FlexibleTimeWindow"] = json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15 });
    world.schedules.create(named("s"), asked, "").unwrap();
    world.set(START + 3599);
    assert!(world.run().is_empty());
    let due_ms = world.schedules.view().next_ms.unwrap();
    let begin = (START as u64 + 3600) * 1000;
    assert!((begin..begin + 900_000).contains(&due_ms), "{due_ms}");
    world.now.store(due_ms, Ordering::Relaxed);
    assert_eq!(world.run(), [time("01:00:00")]);
}
