//! Runtimes that are processes of this host.

use super::*;
use crate::dispatch::matching::AnswerError;
use crate::dispatch::world::{runtimes_of, target};
use crate::dispatch::{Caller, Dispatcher};
use crate::observe::metrics::Metrics;

fn poll_local(world: &mut World, target: &Arc<Target>, connection: u64) -> u64 {
    let poll = world.poll_local(target, connection);
    world.deliver_all();
    poll
}

#[test]
fn a_local_runtime_serves_one_event_at_a_time_and_leaves_nothing() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    for _ in 0..3 {
        let parked = poll_local(&mut world, &f, 1);
        let id = world.invoke(&f);
        world.deliver_all();
        assert_eq!(world.got(parked), [id]);
        world.answer(Runtime::Local, id).unwrap();
        assert_eq!(world.answer(Runtime::Local, id), Err(AnswerError::InvalidState));
        assert!(world.core.sandboxes.is_empty() && world.core.local_by_connection.is_empty());
    }
    assert_eq!(world.answer(Runtime::Local, Uuid::nil()), Err(AnswerError::InvalidRequestId));
    assert!(world.ordered() == 0, "nothing is started for it");
}

#[test]
fn a_waiting_invocation_goes_to_the_first_local_runtime() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let id = world.invoke(&f);
    let parked = poll_local(&mut world, &f, 1);
    assert_eq!(world.got(parked), [id]);
    let again = poll_local(&mut world, &f, 1);
    assert_eq!(world.got(again), [id], "the same connection: the same event");
    let third = poll_local(&mut world, &f, 1);
    assert_eq!((world.got(third), world.outcome(id)), (vec![], "Failed(NoAnswer)".to_owned()));
}

#[test]
fn a_connection_that_asks_for_another_function_gets_that_ones_events() {
    let (mut world, f, g) = (World::new(4), runtimes_of("f"), runtimes_of("g"));
    let id = world.invoke(&f);
    poll_local(&mut world, &f, 1);
    let others = poll_local(&mut world, &g, 1);
    assert_eq!(world.outcome(id), "Failed(NoAnswer)");
    let next = world.invoke(&g);
    world.deliver_all();
    assert_eq!(world.got(others), [next]);
}

#[test]
fn a_local_runtime_that_goes_is_forgotten() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let parked = poll_local(&mut world, &f, 1);
    world.lose(parked, false);
    assert!(world.core.sandboxes.is_empty());
    world.pass(s(59));
    assert!(world.core.pool_of.contains_key("f"), "it may be between two events");
    world.pass(s(1));
    assert!(world.core.pools.is_empty(), "its name is forgotten with it");
    assert_eq!(world.core.wake, None);
}

#[test]
fn a_local_runtime_that_is_gone_unseen_loses_no_event() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let alive = poll_local(&mut world, &f, 1);
    let dead = poll_local(&mut world, &f, 2);
    world.lose(dead, true);
    let id = world.invoke(&f);
    world.deliver_all();
    assert_eq!(world.got(alive), [id]);
    assert_eq!(world.core.sandboxes.len(), 1);
}

#[test]
fn an_event_of_a_deleted_name_is_not_lost_with_its_last_runtime() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let dead = poll_local(&mut world, &f, 1);
    world.lose(dead, true);
    let id = world.invoke(&f);
    world.step(|core, now, _| core.retire("f", now));
    world.deliver_all();
    assert_eq!(world.outcome(id), "Refused(FunctionGone)");
    assert!(world.core.pools.is_empty());
}

#[test]
fn who_waits_for_runtimes_of_others_waits_for_a_bounded_time() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let id = world.invoke(&f);
    world.pass(ms(9_999));
    assert_eq!(world.outcome(id), "");
    world.pass(ms(1));
    assert_eq!(world.outcome(id), "Refused(NoRuntime)");
}

#[test]
fn who_waits_for_its_turn_waits_on_when_the_runtime_was_just_there() {
    let (mut world, slow) = (World::new(4), runtimes_of("f"));
    let slow = Arc::new(Target { timeout: s(60), ..copy(&slow) });
    let (first, second) = (world.invoke(&slow), world.invoke(&slow));
    poll_local(&mut world, &slow, 1);
    world.pass(s(30));
    assert_eq!(world.outcome(second), "", "its turn has not come");
    world.answer(Runtime::Local, first).unwrap();
    world.pass(ms(9_999));
    world.tick();
    assert_eq!(world.outcome(second), "", "the runtime was here a moment ago");
    world.pass(ms(1));
    assert_eq!(world.outcome(second), "Refused(NoRuntime)");
}

#[test]
fn who_waits_for_its_turn_waits_on_while_the_runtime_comes_back() {
    let (mut world, slow) = (World::new(4), runtimes_of("f"));
    let slow = Arc::new(Target { timeout: s(60), ..copy(&slow) });
    let address = "192.0.2.9".parse().unwrap();
    world.step(|core, now, wall| core.adopt(&slow, "c".into(), "c".into(), address, now, wall));
    let (first, second) = (world.invoke(&slow), world.invoke(&slow));
    world.poll(address).unwrap();
    world.deliver_all();
    world.pass(s(30));
    world.answer(Runtime::At(address), first).unwrap();
    world.tick();
    assert_eq!(world.outcome(second), "");
    let back = world.poll(address).unwrap();
    world.deliver_all();
    assert_eq!(world.got(back), [second]);
}

/// Carried out one inside the other, their deliveries would not fit on the stack.
#[test]
fn thousands_of_runtimes_may_be_gone_in_a_row() {
    let (mut world, f) = (World::new(1), runtimes_of("f"));
    let limits = world.core.limits.clone();
    let dispatcher = Dispatcher::new(limits, Arc::new(Metrics::new())).unwrap();
    for connection in 0..20_000 {
        let (poll, number) = world.new_poll();
        assert!(dispatcher.poll(Caller::Local { target: &f, connection }, poll).is_ok());
        world.book.lock().unwrap().gone.insert(number);
    }
    let (event, caller) = world.new_invocation(&f);
    let id = event.id;
    dispatcher.invoke(&f, event, caller);
    assert_eq!((dispatcher.active(), dispatcher.snapshot().sandboxes.len()), (1, 0));
    let (poll, number) = world.new_poll();
    assert!(dispatcher.poll(Caller::Local { target: &f, connection: 0 }, poll).is_ok());
    assert_eq!(world.got(number), [id]);
}

fn copy(of: &Target) -> Target {
    Target {
        key: of.key.clone(),
        name: of.name.clone(),
        version: of.version.clone(),
        arn: of.arn.clone(),
        timeout: of.timeout,
        memory_mb: of.memory_mb,
        function: None,
    }
}

#[test]
fn a_deleted_functions_name_is_its_runtimes_own_again() {
    let (mut world, local) = (World::new(4), runtimes_of("f"));
    let parked = poll_local(&mut world, &local, 1);
    world.step(|core, now, _| core.retire("f", now));
    let second = poll_local(&mut world, &local, 2);
    assert!(world.book.lock().unwrap().hung_up.is_empty(), "neither is sent away");
    let ids = [world.invoke(&local), world.invoke(&local)];
    world.deliver_all();
    assert_eq!([world.got(second), world.got(parked)], ids.map(|id| vec![id]));
}

#[test]
fn a_local_runtime_serves_a_function_of_the_registry_too() {
    let (mut world, f, local) = (World::new(4), target("f", 1), runtimes_of("f"));
    let (sandbox, id, _) = busy(&mut world, &f);
    let parked = poll_local(&mut world, &local, 1);
    assert!(world.core.pools.values().all(|pool| pool.target.function.is_some()));
    let second = world.invoke(&f);
    world.deliver_all();
    assert_eq!(world.got(parked), [second]);
    world.pass(s(3));
    assert_eq!(world.outcome(second), "Failed(TimedOut { after: 3s })");
    assert_eq!(world.outcome(id), "Failed(TimedOut { after: 3s })");
    assert_eq!((world.stops.len(), world.stops[0].sandbox), (1, sandbox.id));
    assert_eq!(world.answer(Runtime::Local, second), Err(AnswerError::InvalidState));
}

#[test]
fn only_the_last_answered_id_of_a_name_is_kept() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let ids = [world.invoke(&f), world.invoke(&f)];
    for id in ids {
        poll_local(&mut world, &f, 1);
        world.answer(Runtime::Local, id).unwrap();
    }
    let answers = ids.map(|id| world.answer(Runtime::Local, id));
    assert_eq!(answers, [Err(AnswerError::InvalidRequestId), Err(AnswerError::InvalidState)]);
}

#[test]
fn a_local_runtime_that_cannot_initialize_fails_one_who_waits() {
    let (mut world, f) = (World::new(4), runtimes_of("f"));
    let error = || b"{}".to_vec().into();
    let ids = [world.invoke(&f), world.invoke(&f)];
    world.step(|core, _, _| core.local_init_error("f", error())).unwrap();
    assert_eq!(world.outcome(ids[0]), "FunctionError(Body(2 bytes))");
    let parked = poll_local(&mut world, &f, 1);
    assert_eq!(world.got(parked), [ids[1]]);
    let refused = world.step(|core, _, _| core.local_init_error("f", error()));
    assert_eq!(refused, Err(AnswerError::InvalidState), "there is one that has");
    world.step(|core, _, _| core.local_init_error("nobody", error())).unwrap();
}
