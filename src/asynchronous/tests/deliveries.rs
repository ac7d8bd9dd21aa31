//! What becomes of events, with the clock in the test's hand.

use super::*;

#[test]
fn an_event_is_delivered_once_and_gone() {
    let mut world = World::new();
    let id = world.accept("f");
    let invocation = world.one();
    assert_eq!((invocation.name.as_str(), invocation.event.id), ("f", id));
    assert_eq!(&*invocation.event.payload, b"{\"n\": 1}");
    assert!(invocation.event.invoked_arn.ends_with(":function:f:$LATEST"));
    assert!(invocation.event.trace_id.contains(";Lineage="), "{}", invocation.event.trace_id);
    invocation.succeed();
    assert!(world.taken().is_empty());
    assert_eq!((world.waiting(), world.letters().len()), (0, 0));
    assert_eq!((world.count("accepted"), world.count("delivered")), (1, 1));
    let mut world = world.restarted();
    assert!(world.taken().is_empty());
}

#[test]
fn a_failing_event_is_tried_three_times_and_becomes_a_dead_letter() {
    let mut world = World::new();
    let id = world.accept("f");
    world.one().fail();
    for wait in [MINUTE_MS, 2 * MINUTE_MS] {
        assert!(world.taken().is_empty());
        world.pass(wait - 1);
        assert!(world.taken().is_empty(), "too early");
        world.pass(1);
        world.one().fail();
    }
    world.settle();
    assert_eq!((world.waiting(), world.count("retried")), (0, 2));
    assert_eq!((world.count("failed"), world.count("letters_written")), (1, 1));
    let letters = world.letters();
    let record = &letters[0];
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(record["requestContext"]["requestId"], id.to_string());
    assert_eq!(record["requestPayload"]["n"], 1);
    assert_eq!(record["responsePayload"]["errorType"], "Oops");
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
}

#[test]
fn retries_and_ages_are_those_of_the_configuration() {
    let mut world = World::new();
    let none = Policy { max_retries: 0, ..Policy::default() };
    world.functions.set("f", "", none);
    world.accept("f");
    world.one().fail();
    world.settle();
    assert_eq!(world.letters()[0]["requestContext"]["approximateInvokeCount"], 1);
    let short = Policy { max_age: Duration::from_secs(90), ..Policy::default() };
    world.functions.set("g", "", short);
    world.accept("g");
    world.one().fail();
    world.settle();
    world.pass(MINUTE_MS);
    // The third try would come after its end.
    world.one().fail();
    world.settle();
    let letters = world.letters();
    assert_eq!(letters[1]["requestContext"]["condition"], "EventAgeExceeded");
    assert_eq!(letters[1]["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(world.count("expired"), 1);
}

#[test]
fn attempts_survive_a_restart() {
    let mut world = World::new();
    world.accept("f");
    world.one().fail();
    world.settle();
    // An accept takes the attempt along to the disk; without one it would be lost with the power.
    world.accept("g");
    world.one().succeed();
    world.settle();
    let mut world = world.restarted();
    assert!(world.taken().is_empty(), "it still waits for its minute");
    world.pass(MINUTE_MS);
    world.one().fail();
    world.settle();
    let mut world = world.restarted();
    world.pass(2 * MINUTE_MS);
    world.one().fail();
    world.settle();
    assert_eq!(world.letters()[0]["requestContext"]["approximateInvokeCount"], 3);
}

#[test]
fn a_throttled_function_is_left_alone_for_longer_and_longer() {
    let mut world = World::new();
    world.functions.set("f", "", Policy { max_age: MAX, ..Policy::default() });
    let id = world.accept("f");
    world.accept("f");
    for (times, wait) in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
        let taken = world.taken();
        // Both are tried at first; after that, one tells whether there is room.
        assert_eq!(taken[0].event.id, id, "in order");
        taken.into_iter().for_each(|one| one.refuse(Refusal::ConcurrencyLimit));
        assert!(world.taken().is_empty());
        world.pass(wait * 1000 - 1);
        assert!(world.taken().is_empty(), "the {times}. time too early");
        world.pass(1);
    }
    let mut taken = world.taken();
    while let Some(one) = taken.pop() {
        one.succeed();
    }
    world.settle();
    assert_eq!((world.waiting(), world.letters().len()), (0, 0));
    let view = world.queue.functions().unwrap();
    assert!(view.is_empty());
}

const MAX: Duration = Duration::from_secs(6 * 60 * 60);

#[test]
fn a_throttled_event_ends_when_it_is_too_old() {
    let mut world = World::new();
    let minute = Policy { max_age: Duration::from_secs(60), ..Policy::default() };
    world.functions.set("f", "", minute);
    world.accept("f");
    let mut tries = 0;
    for _ in 0..60 {
        for one in world.taken() {
            tries += 1;
            one.refuse(Refusal::ReservedLimit);
        }
        world.pass(1000);
    }
    world.settle();
    assert_eq!(tries, 6, "after 0, 1, 3, 7, 15 and 31 seconds");
    let letters = world.letters();
    assert_eq!(letters[0]["requestContext"]["condition"], "EventAgeExceeded");
    assert_eq!(letters[0]["requestContext"]["approximateInvokeCount"], 0);
    assert!(letters[0].get("responsePayload").is_none());
}

#[test]
fn functions_that_cannot_take_events_wait_or_end() {
    let mut world = World::new();
    world.functions.set("pending", "pending", Policy::default());
    world.functions.set("gone", "gone", Policy::default());
    let stopped = Policy { stopped: true, ..Policy::default() };
    world.functions.set("stopped", "", stopped);
    for name in ["pending", "gone", "stopped"] {
        world.accept(name);
    }
    assert!(world.taken().is_empty());
    let conditions: Vec<_> = world
        .letters()
        .iter()
        .map(|record| record["requestContext"]["condition"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(conditions.len(), 2);
    for condition in ["FunctionNotFound", "ZeroReservedConcurrency"] {
        assert!(conditions.iter().any(|one| one == condition), "{conditions:?}");
    }
    let view = world.queue.functions().unwrap();
    assert_eq!(view["pending"].by_state["queued"], 1);
    assert_eq!(view["pending"].last_error.as_deref(), Some("the function is Pending"));
    world.functions.set("pending", "", Policy::default());
    world.pass(1000);
    world.one().succeed();
}

#[test]
fn a_function_that_invokes_itself_ends_at_its_sixteenth_time() {
    let mut world = World::new();
    let mut stored = sample("f");
    for round in 0..16 {
        let heard = world.offer(&stored, b"{}");
        world.write();
        assert_eq!(heard.all(), [Ok(())]);
        let invocation = world.one();
        assert!(invocation.event.trace_id.ends_with(&format!(":{}", round + 1)));
        // The function's own client sends it along.
        stored = Stored { trace_id: invocation.event.trace_id.clone(), ..sample("f") };
        invocation.succeed();
    }
    world.offer(&stored, b"{}");
    assert!(world.taken().is_empty());
    assert_eq!(world.letters()[0]["requestContext"]["condition"], "RecursiveInvocation");
    assert_eq!(world.count("recursions"), 1);
    let allowed = Policy { recursion_allowed: true, ..Policy::default() };
    world.functions.set("f", "", allowed);
    let again = Stored { id: crate::random::uuid(), ..stored };
    world.offer(&again, b"{}");
    world.one().succeed();
}

#[test]
fn records_go_to_functions_which_cannot_loop_through_them() {
    let mut world = World::new();
    let to = |name: &str| Policy {
        on_success: Some(format!("arn:aws:lambda:us-east-1:000000000000:function:{name}")),
        ..Policy::default()
    };
    world.functions.set("f", "", to("g"));
    world.functions.set("g", "", to("f"));
    let id = world.accept("f");
    let first = world.one();
    first.succeed();
    let second = world.one();
    assert_eq!(second.name, "g");
    let record: serde_json::Value = serde_json::from_slice(&second.event.payload).unwrap();
    assert_eq!(record["requestContext"]["requestId"], id.to_string());
    assert_eq!(record["requestContext"]["condition"], "Success");
    assert_eq!(record["responsePayload"]["ok"], true);
    assert_ne!(second.event.id, id);
    second.succeed();
    let mut rounds = 2;
    while let Some(next) = world.taken().pop() {
        next.succeed();
        rounds += 1;
    }
    assert_eq!(rounds, 32, "16 times each");
    assert_eq!(world.letters()[0]["requestContext"]["condition"], "RecursiveInvocation");
    assert_eq!(world.waiting(), 0);
}

#[test]
fn functions_take_turns_and_one_place_is_kept() {
    let mut world = World::new();
    for _ in 0..20 {
        world.accept("busy");
    }
    let busy = world.taken();
    assert_eq!(busy.len(), 3, "one of four places is kept");
    world.accept("other");
    let other = world.one();
    assert_eq!(other.name, "other");
    other.succeed();
    for _ in 0..3 {
        world.accept("third");
    }
    let mut running = busy;
    let mut order = Vec::new();
    for _ in 0..8 {
        running.extend(world.taken());
        let next = running.remove(0);
        order.push(next.name.clone());
        next.succeed();
    }
    let third = order.iter().filter(|name| *name == "third").count();
    assert_eq!(third, 3, "{order:?}");
    assert!(order[4..].iter().any(|name| name == "busy"), "{order:?}");
}

#[test]
fn what_is_too_large_for_a_function_becomes_a_letter() {
    let mut world = World::new();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:g".to_owned();
    let policy = Policy { on_success: Some(arn), ..Policy::default() };
    world.functions.set("f", "", policy);
    world.accept("f");
    let large = format!("\"{}\"", "x".repeat(EVENT_BYTES)).into_bytes();
    world.one().end(Outcome::Response(large.into()));
    // It is also too large for this test's directory, so it waits.
    assert!(world.taken().is_empty());
    let view = world.queue.functions().unwrap();
    assert_eq!(view["f"].by_state["ending"], 1);
    assert!(view["f"].last_error.as_deref().unwrap().contains("dead letters"), "{view:?}");
}

#[test]
fn a_stop_keeps_what_is_in_delivery() {
    let mut world = World::new();
    let ids = [world.accept("f"), world.accept("f")];
    let mut taken = world.taken();
    world.queue.stop_delivering();
    taken.remove(0).succeed();
    taken.remove(0).refuse(Refusal::ShuttingDown);
    assert!(world.taken().is_empty());
    let mut world = world.restarted();
    let again = world.one();
    assert_eq!(again.event.id, ids[1]);
    assert_eq!(world.count("delivered"), 0);
    again.succeed();
}

#[test]
fn an_operator_hurries_replays_and_purges() {
    let mut world = World::new();
    let f = |state| Filter { function: Some("f".to_owned()), state, id: None };
    world.functions.set("g", "", Policy { max_retries: 0, ..Policy::default() });
    let id = world.accept("f");
    world.one().fail();
    world.settle();
    let shown = world.queue.entries(&f(None), None, 10, true).unwrap();
    assert_eq!((shown[0].id, shown[0].state, shown[0].attempts), (id, "retrying", 1));
    assert_eq!(shown[0].payload.as_deref(), Some(&b"{\"n\": 1}"[..]));
    assert_eq!(shown[0].last_error.as_deref(), Some("Oops: no luck"));
    assert_eq!(shown[0].next_try_ms, Some(START_MS + MINUTE_MS));
    let done = world.queue.retry(&f(Some("retrying"))).unwrap();
    assert_eq!(done.events, 1);
    let running = world.one();
    let none = world.queue.retry(&f(None)).unwrap();
    assert_eq!((none.events, none.skipped), (0, 1), "what is in delivery is left alone");
    running.fail();
    world.settle();
    // Purged while it waits.
    let purge = {
        let (queue, to_write) = (&world.queue, &world.to_write);
        thread::scope(|scope| {
            let purge = scope.spawn(|| queue.purge(&f(None)));
            let job = to_write.recv().unwrap();
            world.committer.commit(vec![job]);
            purge.join().unwrap().unwrap()
        })
    };
    assert_eq!((purge.events, world.waiting()), (1, 0));
    let mut world = world.restarted();
    assert_eq!(world.waiting(), 0);
    // A dead letter is replayed with its payload.
    world.functions.set("g", "", Policy { max_retries: 0, ..Policy::default() });
    let id = world.accept("g");
    world.one().fail();
    world.settle();
    let dead = Filter { state: Some("dead"), ..Filter::default() };
    let shown = world.queue.entries(&dead, None, 10, true).unwrap();
    assert_eq!((shown[0].id, shown[0].last_error.as_deref()), (id, Some("RetriesExhausted")));
    assert!(world.queue.entries(&dead, Some(&shown[0].after), 10, true).unwrap().is_empty());
    let replayed = {
        let (queue, to_write) = (&world.queue, &world.to_write);
        thread::scope(|scope| {
            let replay = scope.spawn(|| queue.retry(&dead));
            let job = to_write.recv().unwrap();
            world.committer.commit(vec![job]);
            replay.join().unwrap().unwrap()
        })
    };
    assert_eq!((replayed.letters, world.letters().len()), (1, 0));
    let again = world.one();
    assert_eq!((again.event.id, &*again.event.payload), (id, &b"{\"n\": 1}"[..]));
    again.succeed();
    world.settle();
    assert_eq!((world.waiting(), world.letters().len()), (0, 0));
}

#[test]
fn pages_follow_each_other() {
    let mut world = World::new();
    world.functions.set("f", "pending", Policy::default());
    let ids: Vec<Uuid> = (0..7).map(|_| world.accept("f")).collect();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world.queue.entries(&Filter::default(), after.as_deref(), 3, false).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.after.clone());
        seen.extend(page.iter().map(|view| view.id));
    }
    assert_eq!(seen, ids);
    let one = Filter { id: Some(ids[3]), ..Filter::default() };
    assert_eq!(world.queue.entries(&one, None, 3, false).unwrap().len(), 1);
    for (function, found) in [("f", 7), ("f:live", 0), ("g", 0)] {
        let filter = Filter { function: Some(function.to_owned()), ..Filter::default() };
        assert_eq!(world.queue.entries(&filter, None, 9, false).unwrap().len(), found);
    }
}

#[test]
fn an_event_with_terms_has_the_stricter_of_both_and_is_there_once() {
    let sent = |name: &str, max_retries, max_age_s| {
        let dead_letter = Some("arn:aws:sqs:us-east-1:000000000000:q".to_owned());
        Stored { terms: Some(Terms { max_retries, max_age_s, dead_letter }), ..sample(name) }
    };
    let mut world = World::new();
    let (once, thrice) = (sent("f", 0, 86_400), sent("g", 185, 86_400));
    for _ in 0..3 {
        // Before it is written, it would be another one: who sends it waits for the answer.
        let heard = [world.offer(&once, b"1"), world.offer(&thrice, b"2")];
        world.write();
        assert!(heard.iter().all(|heard| heard.all() == [Ok(())]));
    }
    let mut taken = world.taken();
    assert_eq!(taken.len(), 2);
    taken.remove(0).fail();
    world.settle();
    let letters = world.letters();
    assert_eq!(letters[0]["requestContext"]["approximateInvokeCount"], 1);
    // Of the other one three tries, for such is its function's policy; a restart keeps the terms.
    taken.remove(0).fail();
    world.settle();
    let mut world = world.restarted();
    assert_eq!(world.offer(&thrice, b"2").all(), [Ok(())]);
    for wait in [MINUTE_MS, 2 * MINUTE_MS] {
        world.pass(wait);
        world.one().fail();
        world.settle();
    }
    let letters = world.letters();
    assert_eq!(letters[1]["requestContext"]["approximateInvokeCount"], 3);
    let destinations = world.queue.letters.list().unwrap().into_iter().map(|letter| {
        let stored = world.queue.letters.read(&letter).unwrap();
        stored.destination
    });
    let asked = Some("arn:aws:sqs:us-east-1:000000000000:q".to_owned());
    assert_eq!(destinations.collect::<Vec<_>>(), [asked.clone(), asked]);
    let mut short = sent("h", 185, 60);
    short.id = crate::random::uuid();
    world.offer(&short, b"3");
    world.write();
    world.pass(MINUTE_MS);
    world.settle();
    let last = &world.letters()[2]["requestContext"];
    assert_eq!(last["condition"], "EventAgeExceeded");
}
