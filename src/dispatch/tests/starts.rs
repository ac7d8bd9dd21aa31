//! How many sandboxes there are, and how they start.

use super::*;
use crate::dispatch::core::Core;
use crate::dispatch::invocation::Refusal;
use crate::dispatch::world::target;
use crate::sandbox::state::EndReason;

#[test]
fn a_sandbox_more_only_when_those_to_come_do_not_cover_who_waits() {
    let (mut world, f) = (World::new(8), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    let second = world.invoke(&f);
    assert!(world.ordered() == 0, "the one that has just answered comes back");
    world.invoke(&f);
    assert_eq!(world.ordered(), 1);
    let back = poll(&mut world, &sandbox);
    assert_eq!(world.got(back), [second]);
    assert_eq!(world.ordered(), 1);
}

#[test]
fn who_does_not_come_back_at_once_is_not_waited_for() {
    let (mut world, f) = (World::new(8), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    world.invoke(&f);
    world.pass(ms(49));
    assert!(world.ordered() == 0);
    world.pass(ms(1));
    assert_eq!(world.ordered(), 1);
}

#[test]
fn a_finishing_sandbox_at_the_limit_does_not_keep_the_timekeeper_awake() {
    let (mut world, f) = (World::new(1), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    world.invoke(&f);
    world.pass(ms(2900));
    assert!(world.ticks < 5, "{} ticks", world.ticks);
    world.pass(ms(200));
    assert_eq!((state(&world, &sandbox), world.ordered()), (stopped(EndReason::TimedOut), 1));
}

fn stopped(reason: EndReason) -> Option<State> {
    Some(State::Stopping(reason))
}

#[test]
fn beyond_the_limit_invocations_are_refused_at_once() {
    let (mut world, f) = (World::new(2), target("f", 1));
    let taken = [world.invoke(&f), world.invoke(&f)];
    let third = world.invoke(&f);
    assert_eq!(world.outcome(third), "Refused(ConcurrencyLimit)");
    assert_eq!(world.core.active, 2);
    assert!(taken.iter().all(|&id| world.outcome(id).is_empty()));
}

#[test]
fn at_the_limit_the_longest_idle_sandbox_of_another_function_goes() {
    let (mut world, f, g) = (World::new(2), target("f", 1), target("g", 1));
    let (old, _) = idle(&mut world, &f);
    world.pass(ms(5));
    let (young, _) = idle(&mut world, &target("h", 1));
    world.invoke(&g);
    assert_eq!(state(&world, &old), stopped(EndReason::Evicted));
    assert_eq!(state(&world, &young), Some(State::Idle));
    assert_eq!((world.ordered(), world.stops.len(), world.core.live), (1, 1, 2));
}

#[test]
fn the_room_of_an_evicted_sandbox_is_given_once() {
    let (mut world, f) = (World::new(3), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let (stays, other, _) = busy(&mut world, &f);
    let (also, third, _) = busy(&mut world, &f);
    for (sandbox, id) in [(&sandbox, id), (&stays, other), (&also, third)] {
        answer(&mut world, sandbox, id);
    }
    world.invoke(&target("g", 1));
    world.invoke(&target("h", 1));
    assert!(world.ordered() == 0);
    for sandbox in [&sandbox, &stays, &also] {
        poll(&mut world, sandbox);
    }
    assert_eq!((world.core.live, world.ordered()), (3, 2));
}

#[test]
fn an_idle_sandbox_of_somebody_else_is_never_evicted() {
    let (mut world, g) = (World::new(1), target("g", 1));
    let adopted = "192.0.2.9".parse().unwrap();
    let by_hand = crate::dispatch::world::runtimes_of("by-hand");
    world.step(|core, now, wall| {
        core.adopt(&by_hand, "theirs".into(), "theirs".into(), adopted, now, wall)
    });
    let parked = world.poll(adopted).unwrap();
    world.invoke(&g);
    assert_eq!(world.ordered(), 1, "it takes none of the service's room");
    let id = world.core.by_address[&adopted];
    assert_eq!(world.core.sandboxes[&id].state, State::Idle);
    world.step(|core: &mut Core, now, wall| core.died("theirs", 0, now, wall));
    assert!(world.stops.is_empty(), "what it has not started it does not stop");
    assert_eq!(world.book.lock().unwrap().hung_up, [parked]);
}

#[test]
fn an_adopted_container_serves_and_is_given_up_when_it_never_asks() {
    let mut world = World::new(1);
    let by_hand = crate::dispatch::world::runtimes_of("by-hand");
    let [one, two] = ["192.0.2.8", "192.0.2.9"].map(|a| a.parse().unwrap());
    world.step(|core, now, wall| core.adopt(&by_hand, "one".into(), "one".into(), one, now, wall));
    world.step(|core, now, wall| core.adopt(&by_hand, "one".into(), "one".into(), one, now, wall));
    world.step(|core, now, wall| core.adopt(&by_hand, "two".into(), "two".into(), two, now, wall));
    assert_eq!(world.core.sandboxes.len(), 2);
    let parked = world.poll(one).unwrap();
    let id = world.invoke(&by_hand);
    world.deliver_all();
    assert_eq!(world.got(parked), [id]);
    world.answer(Runtime::At(one), id).unwrap();
    world.poll(one).unwrap();
    world.pass(s(10));
    assert!(world.core.by_address.contains_key(&one) && !world.core.by_address.contains_key(&two));
}

#[test]
fn a_start_that_nobody_needs_any_more_is_cancelled_and_leaves_its_room() {
    let (mut world, f, g) = (World::new(2), target("f", 1), target("g", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let second = world.invoke(&f);
    answer(&mut world, &sandbox, id);
    let waits = world.invoke(&g);
    assert_eq!(world.ordered(), 1, "the second of f; there is no room for g");
    let got = poll(&mut world, &sandbox);
    assert_eq!(world.got(got), [second]);
    assert_eq!(world.core.live, 2);
    // That of f is not needed any more, so g has its room.
    let sandbox = launch(&mut world);
    let got = poll(&mut world, &sandbox);
    assert_eq!(world.got(got), [waits]);
}

#[test]
fn starts_beyond_those_who_wait_are_cancelled() {
    let (mut world, f) = (World::new(8), target("f", 1));
    let ids = [world.invoke(&f), world.invoke(&f), world.invoke(&f)];
    let sandbox = launch(&mut world);
    poll(&mut world, &sandbox);
    answer(&mut world, &sandbox, ids[0]);
    poll(&mut world, &sandbox);
    assert_eq!(world.core.waiting, 1);
    assert_eq!(world.ordered(), 2);
    assert!(world.begin().is_some());
    assert!(world.begin().is_none() && world.ordered() == 0, "one of the two was cancelled");
}

#[test]
fn a_failed_start_fails_one_who_waits_and_leaves_its_room() {
    let (mut world, f, g) = (World::new(2), target("f", 1), target("g", 1));
    let failed = world.invoke(&f);
    let start = world.begin().unwrap();
    let why = Refusal::NoSandbox("disk full".to_owned());
    assert!(world.step(|core, now, _| core.start_failed(start, why, now)));
    busy(&mut world, &g);
    assert_eq!(world.outcome(failed), "Refused(NoSandbox(\"disk full\"))");
    assert_eq!(world.core.live, 1);
}

#[test]
fn a_start_that_fails_after_its_runtime_came_loses_no_reply() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let id = world.invoke(&f);
    let start = world.begin().unwrap();
    let (_, address) = world.created(start).unwrap();
    let got = world.poll(address).unwrap();
    world.deliver_all();
    assert_eq!(world.got(got), [id]);
    let why = Refusal::NoSandbox("timed out".to_owned());
    world.step(|core, now, _| core.start_failed(start, why, now));
    assert_eq!(world.outcome(id), "Refused(NoSandbox(\"timed out\"))");
    assert!(world.core.sandboxes.is_empty());
}

#[test]
fn a_container_that_was_refused_is_replaced_though_its_death_is_told() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let id = world.invoke(&f);
    let start = world.begin().unwrap();
    let (refused, _) = world.created(start).unwrap();
    world.step(|core, now, wall| core.died(&refused, 137, now, wall));
    let (_, address) = world.created(start).expect("it is still wanted");
    assert!(world.step(|core, now, wall| core.started(start, now, wall)));
    let got = world.poll(address).unwrap();
    world.deliver_all();
    assert_eq!(world.got(got), [id]);
}

#[test]
fn an_exit_before_the_engine_has_answered_counts() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let id = world.invoke(&f);
    let start = world.begin().unwrap();
    let (container, _) = world.created(start).unwrap();
    world.step(|core, now, wall| core.died(&container, 3, now, wall));
    assert!(!world.step(|core, now, wall| core.started(start, now, wall)));
    assert_eq!((world.stops.len(), world.ordered()), (1, 1), "it is tried once more");
    let start = world.begin().unwrap();
    let (container, _) = world.created(start).unwrap();
    world.step(|core, now, wall| core.died(&container, 4, now, wall));
    world.step(|core, now, wall| core.started(start, now, wall));
    assert_eq!(world.outcome(id), "Failed(Exited(Exit { code: 4, out_of_memory: false }))");
}

#[test]
fn a_sandbox_that_ends_while_it_is_made_is_cleaned_up_by_its_launcher() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let ids = [world.invoke(&f), world.invoke(&f), world.invoke(&f)];
    let starts = [world.begin().unwrap(), world.begin().unwrap()];
    assert_eq!(world.ordered(), 1);
    let (container, _) = world.created(starts[1]).unwrap();
    world.step(|core, now, _| core.end_all(now));
    assert!(ids.iter().all(|&id| world.outcome(id) == "Refused(ShuttingDown)"));
    assert!(world.begin().is_none(), "ordered: it is forgotten at once");
    assert!(world.created(starts[0]).is_none(), "being created: its launcher removes it");
    world.step(|core, now, _| core.removed(starts[0], now));
    assert_eq!(world.stops.len(), 1, "created: removal is ordered");
    assert_eq!(world.stops[0].container, container);
    assert!(!world.step(|core, now, wall| core.started(starts[1], now, wall)));
    world.step(|core, now, _| core.removed(starts[1], now));
    assert!(world.core.sandboxes.is_empty());
}

#[test]
fn an_address_belongs_to_the_last_one_who_was_located_there() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (one, id, _) = busy(&mut world, &f);
    let (two, _, _) = busy(&mut world, &f);
    let elsewhere = "192.0.2.1".parse().unwrap();
    world.core.locate(two.id, one.address);
    world.core.locate(one.id, elsewhere);
    assert_eq!(world.core.by_address.get(&one.address), Some(&two.id));
    world.answer(Runtime::At(elsewhere), id).unwrap();
}
