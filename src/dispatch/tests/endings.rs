//! Every way in which a sandbox, or everything, ends.

use super::*;
use crate::dispatch::journal::Change;
use crate::dispatch::matching::AnswerError;
use crate::dispatch::world::{runtimes_of, target};
use crate::sandbox::state::EndReason;

fn stopped(reason: EndReason) -> Option<State> {
    Some(State::Stopping(reason))
}

fn die(world: &mut World, sandbox: &Sandbox, code: i32) {
    let container = sandbox.container.clone();
    world.step(|core, now, wall| core.died(&container, code, now, wall));
}

#[test]
fn a_timeout_ends_the_sandbox_and_its_late_answer_reaches_nobody() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    world.pass(ms(2999));
    assert_eq!(world.outcome(id), "");
    world.pass(ms(1));
    assert_eq!(world.outcome(id), "Failed(TimedOut { after: 3s })");
    assert_eq!(state(&world, &sandbox), stopped(EndReason::TimedOut));
    assert_eq!(world.stops.len(), 1);
    let (fresh, next, _) = busy(&mut world, &f);
    let at = Runtime::At(sandbox.address);
    assert_eq!(world.answer(at, id), Err(AnswerError::InvalidState));
    assert_eq!(world.answer(at, next), Err(AnswerError::InvalidRequestId));
    assert!(world.poll(sandbox.address).is_none(), "it gets no more events");
    world.step(|core, now, _| core.removed(sandbox.id, now));
    assert_eq!(world.answer(at, id), Err(AnswerError::InvalidRequestId));
    answer(&mut world, &fresh, next);
}

#[test]
fn a_witness_is_told_of_each_sandboxs_life_and_not_of_its_invocations() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    world.poll(sandbox.address);
    die(&mut world, &sandbox, 1);
    world.step(|core, now, _| core.removed(sandbox.id, now));
    // A process of this host has no life of its own.
    world.invoke(&runtimes_of("local"));
    world.poll_local(&runtimes_of("local"), 1);
    let told: Vec<Change> = world.changes.iter().map(|changed| changed.change).collect();
    let ended = Change::Ended(EndReason::Exited);
    assert_eq!(told, [Change::Created, Change::Initialized, ended, Change::Removed]);
    for changed in &world.changes {
        assert_eq!(changed.container.as_ref(), Some(&sandbox.container));
        assert_eq!(changed.address, Some(sandbox.address));
        assert_eq!(changed.target.key, f.key);
    }
}

#[test]
fn an_invocation_that_takes_long_is_told_of_once() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let told = |world: &mut World| world.step(|core, now, _| core.long_running(s(1), now));
    world.pass(ms(999));
    assert!(told(&mut world).is_empty());
    world.pass(ms(1));
    let [report] = &told(&mut world)[..] else { panic!("not once") };
    assert_eq!((report.event.id, report.duration), (id, s(1)));
    assert!(report.container.is_some() && report.target.is_some());
    assert!(told(&mut world).is_empty());
    answer(&mut world, &sandbox, id);
    assert!(told(&mut world).is_empty());
}

#[test]
fn an_answer_at_the_last_moment_leaves_time_to_come_back() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    world.pass(ms(2990));
    answer(&mut world, &sandbox, id);
    world.pass(ms(500));
    assert_eq!(state(&world, &sandbox), Some(State::Finishing));
    world.pass(ms(500));
    assert_eq!(state(&world, &sandbox), stopped(EndReason::TimedOut));
}

#[test]
fn an_exit_is_told_to_whom_it_concerns() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (at_work, id, _) = busy(&mut world, &f);
    die(&mut world, &at_work, 1);
    assert_eq!(world.outcome(id), "Failed(Exited(Exit { code: 1, out_of_memory: false }))");
    assert_eq!(state(&world, &at_work), stopped(EndReason::Exited));
    die(&mut world, &at_work, 1);
    assert_eq!(world.stops.len(), 1, "an Engine tells of a death twice");

    let (between, _) = idle(&mut world, &f);
    die(&mut world, &between, 0);
    let next = world.invoke(&f);
    assert_eq!((world.outcome(next), world.ordered()), (String::new(), 1));
    let starting = launch(&mut world);
    die(&mut world, &starting, 2);
    assert_eq!(state(&world, &starting), stopped(EndReason::InitFailed));
    assert_eq!((world.outcome(next), world.ordered()), (String::new(), 1), "once more");
    let again = launch(&mut world);
    die(&mut world, &again, 3);
    assert_eq!(world.outcome(next), "Failed(Exited(Exit { code: 3, out_of_memory: false }))");
    assert_eq!(world.ordered(), 0);
}

#[test]
fn a_kill_for_memory_is_told_as_such() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    world.step(|core, _, _| core.out_of_memory(&sandbox.container));
    assert_eq!(world.outcome(id), "");
    die(&mut world, &sandbox, 137);
    assert_eq!(world.outcome(id), "Failed(Exited(Exit { code: 137, out_of_memory: true }))");
    assert_eq!(state(&world, &sandbox), stopped(EndReason::OutOfMemory));
}

#[test]
fn an_init_error_fails_one_who_waits_and_the_others_go_on() {
    let (mut world, f) = (World::new(2), target("f", 1));
    let (first, second) = (world.invoke(&f), world.invoke(&f));
    let (failing, good) = (launch(&mut world), launch(&mut world));
    let at = failing.address;
    let error = || b"{}".to_vec().into();
    world.step(|core, now, _| core.init_error(at, error(), now)).unwrap();
    assert_eq!(world.outcome(first), "", "it is tried once more");
    let twice = launch(&mut world);
    world.step(|core, now, _| core.init_error(twice.address, error(), now)).unwrap();
    let third = launch(&mut world);
    world.step(|core, now, _| core.init_error(third.address, error(), now)).unwrap();
    assert_eq!(world.outcome(first), "FunctionError(Body(2 bytes))");
    let again = world.step(|core, now, _| core.init_error(at, error(), now));
    assert_eq!(again, Err(AnswerError::InvalidState));
    assert!(world.poll(failing.address).is_none(), "it is past asking for events");
    let got = poll(&mut world, &good);
    assert_eq!(world.got(got), [second]);
    let late = world.step(|core, now, _| core.init_error(good.address, error(), now));
    assert_eq!(late, Err(AnswerError::InvalidState), "it has initialized");
    answer(&mut world, &good, second);
}

#[test]
fn a_runtime_that_is_silent_for_the_init_time_is_given_up() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let id = world.invoke(&f);
    let sandbox = launch(&mut world);
    world.pass(s(10));
    assert_eq!(state(&world, &sandbox), stopped(EndReason::InitFailed));
    assert_eq!(world.outcome(id), "", "it is tried once more, within the function's timeout");
    launch(&mut world);
    world.pass(s(3));
    assert_eq!(world.outcome(id), "Failed(InitTimedOut { after: 3s })");
}

#[test]
fn an_init_that_is_tried_again_is_part_of_the_invocations_time() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let id = world.invoke(&f);
    launch(&mut world);
    world.pass(s(10));
    let again = launch(&mut world);
    world.pass(s(2));
    let got = poll(&mut world, &again);
    assert_eq!(world.got(got), [id]);
    world.pass(ms(999));
    assert_eq!(world.outcome(id), "");
    world.pass(ms(1));
    assert_eq!(world.outcome(id), "Failed(TimedOut { after: 3s })");
}

#[test]
fn an_idle_sandbox_ends_after_its_time() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, parked) = idle(&mut world, &f);
    world.pass(ms(59_999));
    assert_eq!(state(&world, &sandbox), Some(State::Idle));
    world.pass(ms(1));
    assert_eq!(state(&world, &sandbox), stopped(EndReason::Idle));
    assert_eq!(world.book.lock().unwrap().hung_up, [parked]);
    assert_eq!(world.core.wake, None);
}

#[test]
fn sandboxes_of_an_old_revision_end_when_they_are_done() {
    let (mut world, old, new) = (World::new(4), target("f", 1), target("f", 2));
    let (at_work, id, _) = busy(&mut world, &old);
    let (free, _) = idle(&mut world, &old);
    let next = world.invoke(&new);
    assert_eq!(state(&world, &free), stopped(EndReason::FunctionChanged));
    assert_eq!(state(&world, &at_work), Some(State::Busy));
    answer(&mut world, &at_work, id);
    let refused = poll(&mut world, &at_work);
    assert_eq!(state(&world, &at_work), stopped(EndReason::FunctionChanged));
    assert_eq!(world.got(refused), NOTHING, "the old code does not get it");
    let fresh = launch(&mut world);
    let got = poll(&mut world, &fresh);
    assert_eq!(world.got(got), [next]);
}

#[test]
fn a_start_of_an_old_revision_is_made_anew() {
    let (mut world, old, new) = (World::new(4), target("f", 1), target("f", 2));
    let (first, second) = (world.invoke(&old), world.invoke(&new));
    let begun = [world.begin().unwrap(), world.begin().unwrap()];
    let of = |id| world.core.sandboxes[&id].target.clone();
    assert!(begun.iter().all(|&id| Arc::ptr_eq(&of(id), &new)) && world.begin().is_none());
    assert!(world.outcome(first).is_empty() && world.outcome(second).is_empty());
}

#[test]
fn sandboxes_of_old_files_end_when_they_are_done() {
    let (mut world, f, g) = (World::new(5), target("f", 1), target("g", 1));
    let (at_work, id, _) = busy(&mut world, &f);
    let (free, _) = idle(&mut world, &f);
    let (other, _) = idle(&mut world, &g);
    let second = world.invoke(&f);
    world.deliver_all();
    assert_eq!(state(&world, &free), Some(State::Busy));
    let waits = world.invoke(&f);
    world.step(|core, now, _| core.reload("f", now));
    world.step(|core, now, _| core.reload("nobody's", now));
    assert_eq!(state(&world, &other), Some(State::Idle), "of another function");
    for (sandbox, id) in [(&at_work, id), (&free, second)] {
        assert_eq!(state(&world, sandbox), Some(State::Busy));
        answer(&mut world, sandbox, id);
        let refused = poll(&mut world, sandbox);
        assert_eq!(state(&world, sandbox), stopped(EndReason::FunctionChanged));
        assert_eq!(world.got(refused), NOTHING, "the old code does not get the one that waits");
    }
    let fresh = launch(&mut world);
    let got = poll(&mut world, &fresh);
    assert_eq!(world.got(got), [waits]);
}

#[test]
fn a_reload_ends_idle_sandboxes_and_starting_ones_once_they_ask() {
    let (mut world, f) = (World::new(3), target("f", 1));
    let (free, parked) = idle(&mut world, &f);
    world.step(|core, now, _| core.reload("f", now));
    assert_eq!(state(&world, &free), stopped(EndReason::FunctionChanged));
    assert_eq!(world.book.lock().unwrap().hung_up, [parked]);

    let before = world.invoke(&f);
    let starting = launch(&mut world);
    answer_by_local(&mut world, before);
    world.pass(ms(1));
    world.step(|core, now, _| core.reload("f", now));
    let after = world.invoke(&f);
    let refused = poll(&mut world, &starting);
    assert_eq!(world.got(refused), NOTHING, "it may have read the old files");
    // One that was only ordered reads the new ones, however often they change before.
    world.step(|core, now, _| core.reload("f", now));
    let fresh = launch(&mut world);
    let got = poll(&mut world, &fresh);
    assert_eq!(world.got(got), [after]);
}

#[test]
fn files_that_change_during_every_start_keep_nobody_waiting() {
    let (mut world, f) = (World::new(3), target("f", 1));
    let id = world.invoke(&f);
    let starting = launch(&mut world);
    world.pass(ms(1));
    world.step(|core, now, _| core.reload("f", now));
    let got = poll(&mut world, &starting);
    assert_eq!(world.got(got), [id], "it has waited since before");
    let next = world.invoke(&f);
    answer(&mut world, &starting, id);
    let refused = poll(&mut world, &starting);
    assert_eq!(state(&world, &starting), stopped(EndReason::FunctionChanged));
    assert_eq!((world.got(refused), world.outcome(next).as_str()), (vec![], ""));
}

/// A process of the host takes the invocation that waits, and answers it.
fn answer_by_local(world: &mut World, id: Uuid) {
    world.poll_local(&runtimes_of("f"), 1);
    world.deliver_all();
    world.answer(Runtime::Local, id).unwrap();
}

#[test]
fn a_deleted_function_ends_and_may_come_again() {
    let (mut world, f) = (World::new(2), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let waits = world.invoke(&f);
    world.step(|core, now, _| core.retire("f", now));
    assert_eq!(world.outcome(waits), "Refused(FunctionGone)");
    assert!(world.begin().is_none());
    let late = world.invoke(&f);
    assert_eq!(world.outcome(late), "Refused(FunctionGone)", "it was looked up before");

    let again = target("f", 2);
    let next = world.invoke(&again);
    answer(&mut world, &sandbox, id);
    poll(&mut world, &sandbox);
    assert_eq!(state(&world, &sandbox), stopped(EndReason::FunctionChanged));
    let fresh = launch(&mut world);
    poll(&mut world, &fresh);
    answer(&mut world, &fresh, next);
    world.step(|core, now, _| core.retire("f", now));
    for id in [sandbox.id, fresh.id] {
        assert!(!world.core.pools.is_empty());
        world.step(|core, now, _| core.end_all(now));
        world.step(|core, now, _| core.removed(id, now));
    }
    assert!(world.core.pools.is_empty() && world.core.pool_of.is_empty());
}

#[test]
fn draining_lets_what_runs_go_on_and_takes_nothing_new() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let waits = world.invoke(&f);
    world.step(|core, _, _| core.drain());
    let new = world.invoke(&f);
    assert_eq!(world.outcome(new), "Refused(ShuttingDown)");
    answer(&mut world, &sandbox, id);
    let got = poll(&mut world, &sandbox);
    assert_eq!(world.got(got), [waits], "it was accepted before");
    world.step(|core, now, _| core.end_all(now));
    assert_eq!(world.outcome(waits), "Refused(ShuttingDown)");
    assert_eq!((world.core.active, world.stops.len()), (0, 1));
    assert_eq!(state(&world, &sandbox), stopped(EndReason::Shutdown));
}

#[test]
fn an_event_that_was_not_read_goes_to_another_sandbox_once() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (dead, id, poll) = busy(&mut world, &f);
    world.reset(poll);
    assert_eq!(state(&world, &dead), Some(State::Busy), "it may only close its connections so");
    die(&mut world, &dead, 137);
    assert_eq!(state(&world, &dead), stopped(EndReason::Exited));
    assert_eq!(world.outcome(id), "");
    let at = Runtime::At(dead.address);
    assert_eq!(world.answer(at, id), Err(AnswerError::InvalidRequestId), "it cannot have it");
    let next = launch(&mut world);
    let poll = super::poll(&mut world, &next);
    assert_eq!(world.got(poll), [id]);
    // A runtime that ends like this every time does not get it for ever.
    world.reset(poll);
    die(&mut world, &next, 137);
    assert_eq!(world.outcome(id), "Failed(Exited(Exit { code: 137, out_of_memory: false }))");
}

#[test]
fn an_idle_sandbox_takes_over_what_another_one_has_not_read() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (other, first, _) = busy(&mut world, &f);
    let (dead, id, poll) = busy(&mut world, &f);
    answer(&mut world, &other, first);
    let free = super::poll(&mut world, &other);
    world.reset(poll);
    die(&mut world, &dead, 137);
    world.deliver_all();
    assert_eq!(world.got(free), [id]);
    answer(&mut world, &other, id);
}

#[test]
fn what_a_runtime_has_read_or_answers_is_not_given_on() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let exited = "Failed(Exited(Exit { code: 1, out_of_memory: false }))";
    // Its connection was closed, not reset; or nothing at all was heard of it.
    let (sandbox, id, _) = busy(&mut world, &f);
    die(&mut world, &sandbox, 1);
    assert_eq!(world.outcome(id), exited);
    // It has begun to answer on another connection.
    let (sandbox, id, poll) = busy(&mut world, &f);
    world.reset(poll);
    let at = Runtime::At(sandbox.address);
    assert!(world.step(|core, _, _| core.answer_begins(at, id)));
    die(&mut world, &sandbox, 1);
    assert_eq!(world.outcome(id), exited);
    // It was given the event twice: the other time it may have read it.
    let (sandbox, id, poll) = busy(&mut world, &f);
    let again = super::poll(&mut world, &sandbox);
    assert_eq!(world.got(again), [id]);
    world.reset(poll);
    world.reset(again);
    die(&mut world, &sandbox, 1);
    assert_eq!(world.outcome(id), exited);
    // The connection of an earlier event says nothing about this one.
    let (sandbox, id, earlier) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    super::poll(&mut world, &sandbox);
    let id = world.invoke(&f);
    world.deliver_all();
    world.reset(earlier);
    die(&mut world, &sandbox, 1);
    assert_eq!(world.outcome(id), exited);
}
