//! Room: memory, patience, provisioned concurrency, the order of starts, and rest.

use super::*;
use crate::dispatch::growth::Kind;
use crate::dispatch::world::target;
use crate::sandbox::frost::{Ask, Frost};
use crate::sandbox::state::EndReason;

fn removed(world: &mut World, sandbox: &Sandbox) {
    world.step(|core, now, _| core.removed(sandbox.id, now));
}

#[test]
fn memory_bounds_sandboxes_and_idle_ones_of_others_go_first() {
    let mut world = World::with(10, |limits| limits.max_total_memory_mb = 256);
    let (f, g) = (target("f", 1), target("g", 1));
    let (at_work, id, _) = busy(&mut world, &f);
    let (free, _) = idle(&mut world, &f);
    let next = world.invoke(&g);
    assert_eq!(state(&world, &free), Some(State::Stopping(EndReason::Evicted)));
    assert_eq!(world.ordered(), 0, "its memory is there until it is removed");
    removed(&mut world, &free);
    let of_g = launch(&mut world);
    let got = poll(&mut world, &of_g);
    assert_eq!(world.got(got), [next]);
    let beyond = world.invoke(&f);
    assert_eq!(world.outcome(beyond), "Refused(MemoryLimit)", "both are at work");
    answer(&mut world, &at_work, id);
    let again = world.invoke(&f);
    assert_eq!(world.outcome(again), "", "one is about to come back");
}

#[test]
fn nothing_is_evicted_for_a_function_that_would_not_fit_all_the_same() {
    let mut world = World::with(10, |limits| limits.max_total_memory_mb = 128);
    let (free, _) = idle(&mut world, &target("f", 1));
    let large = target("g", 1);
    let large = Arc::new(Target { memory_mb: 512, ..Arc::into_inner(large).unwrap() });
    let refused = world.invoke(&large);
    assert_eq!(world.outcome(refused), "Refused(MemoryLimit)");
    assert_eq!(state(&world, &free), Some(State::Idle));
}

#[test]
fn who_was_promised_memory_that_others_have_taken_is_not_kept_waiting() {
    let mut world = World::with(10, |limits| limits.max_total_memory_mb = 128);
    let (f, g) = (target("f", 1), target("g", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    let waits = world.invoke(&f);
    world.step(|core, now, wall| core.died(&sandbox.container, 1, now, wall));
    let other = world.invoke(&g);
    assert_eq!((world.outcome(waits), world.outcome(other)), (String::new(), String::new()));
    removed(&mut world, &sandbox);
    busy_with(&mut world, waits);
    world.pass(ms(60));
    assert_eq!(world.outcome(other), "Refused(MemoryLimit)");
}

/// Starts the sandbox that was asked for and sees it get this event.
fn busy_with(world: &mut World, id: Uuid) -> Sandbox {
    let sandbox = launch(world);
    let got = poll(world, &sandbox);
    assert_eq!(world.got(got), [id]);
    sandbox
}

#[test]
fn the_host_is_relieved_of_the_longest_idle() {
    let mut world = World::new(4);
    let (old, _) = idle(&mut world, &target("f", 1));
    world.pass(ms(5));
    let (young, _) = idle(&mut world, &target("g", 1));
    assert!(world.step(|core, now, _| core.relieve(now)));
    assert_eq!(state(&world, &old), Some(State::Stopping(EndReason::Evicted)));
    assert_eq!(state(&world, &young), Some(State::Idle));
    assert!(world.step(|core, now, _| core.relieve(now)));
    assert!(!world.step(|core, now, _| core.relieve(now)), "nobody is left");
}

#[test]
fn with_patience_an_invocation_waits_for_room_and_the_oldest_comes_first() {
    let mut world = World::with(1, |limits| limits.max_queue_wait = s(2));
    let (f, g) = (target("f", 1), target("g", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let second = world.invoke(&g);
    world.pass(ms(10));
    let third = world.invoke(&f);
    assert_eq!((world.core.active, world.core.patient), (1, 2));
    answer(&mut world, &sandbox, id);
    assert_eq!((world.core.active, world.core.patient), (1, 1));
    poll(&mut world, &sandbox);
    assert_eq!(state(&world, &sandbox), Some(State::Stopping(EndReason::Evicted)));
    let of_g = busy_with(&mut world, second);
    world.pass(ms(1999));
    assert_eq!(world.outcome(third), "");
    world.pass(ms(1));
    assert_eq!(world.outcome(third), "Refused(ConcurrencyLimit)");
    answer(&mut world, &of_g, second);
}

#[test]
fn who_waits_for_room_is_told_when_there_will_be_none() {
    let mut world = World::with(4, |limits| limits.max_queue_wait = s(2));
    let f = target("f", 1);
    world.step(|core, now, _| core.set_reserved("f", Some(1), now));
    busy(&mut world, &f);
    let waits = world.invoke(&f);
    assert_eq!(world.core.patient, 1);
    world.step(|core, now, _| core.set_reserved("f", Some(0), now));
    assert_eq!(world.outcome(waits), "Refused(Stopped)");
    let at_once = world.invoke(&f);
    assert_eq!(world.outcome(at_once), "Refused(Stopped)");
    world.step(|core, now, _| core.set_reserved("f", Some(1), now));
    let (gone, ending) = (world.invoke(&f), world.invoke(&target("g", 1)));
    world.step(|core, now, _| core.retire("f", now));
    assert_eq!(world.outcome(gone), "Refused(FunctionGone)");
    assert_eq!(world.outcome(ending), "");
}

#[test]
fn provisioned_sandboxes_are_started_and_kept() {
    let (mut world, f) = (World::new(4), target("f", 1));
    world.step(|core, now, _| core.provision(&f, 2, now));
    assert_eq!(world.ordered(), 2);
    let kinds: Vec<Kind> = world.core.sandboxes.values().map(|sandbox| sandbox.kind).collect();
    assert_eq!(kinds, [Kind::Provisioned; 2]);
    let ready = [launch(&mut world), launch(&mut world)];
    world.pass(s(100));
    for sandbox in &ready {
        assert_eq!(state(&world, sandbox), Some(State::Starting), "they have 130 s");
        poll(&mut world, sandbox);
    }
    world.pass(s(600));
    assert_eq!(state(&world, &ready[0]), Some(State::Idle), "idle for long, and kept");
    // One that dies is replaced, nobody evicts one, and less can be promised.
    world.step(|core, now, wall| core.died(&ready[0].container, 1, now, wall));
    let third = launch(&mut world);
    poll(&mut world, &third);
    assert!(!world.step(|core, now, _| core.relieve(now)));
    world.step(|core, now, _| core.provision(&f, 1, now));
    world.pass(ms(1));
    assert_eq!(state(&world, &ready[1]), Some(State::Stopping(EndReason::Idle)));
    assert_eq!(state(&world, &third), Some(State::Idle));
}

#[test]
fn a_provisioned_sandbox_that_cannot_start_is_tried_again_at_growing_intervals() {
    let (mut world, f) = (World::new(4), target("f", 1));
    world.step(|core, now, _| core.provision(&f, 1, now));
    for pause in [1, 2, 4] {
        let sandbox = launch(&mut world);
        world.step(|core, now, wall| core.died(&sandbox.container, 1, now, wall));
        removed(&mut world, &sandbox);
        assert_eq!(world.ordered(), 0);
        let trouble = world.core.pools.values().next().unwrap().provision.trouble.clone();
        assert_eq!(trouble.as_deref(), Some("FUNCTION_ERROR_INIT_FAILURE"));
        world.pass(ms(pause * 1000 - 1));
        assert_eq!(world.ordered(), 0, "{pause}");
        world.pass(ms(1));
        assert_eq!(world.ordered(), 1, "{pause}");
    }
    let sandbox = launch(&mut world);
    poll(&mut world, &sandbox);
    assert_eq!(world.core.pools.values().next().unwrap().provision.trouble, None);
}

#[test]
fn the_burst_of_one_function_leaves_a_launcher_to_the_first_start_of_another() {
    let mut world = World::with(20, |limits| limits.max_parallel_starts = 3);
    let (f, g) = (target("f", 1), target("g", 1));
    for _ in 0..6 {
        world.invoke(&f);
    }
    let of_f: Vec<_> = std::iter::from_fn(|| world.begin()).collect();
    assert_eq!(of_f.len(), 3, "the first, and two further ones");
    world.invoke(&g);
    let of_g = world.begin().expect("a first start is always allowed");
    assert_eq!(world.core.sandboxes[&of_g].target.name, "g");
    // Of two that may, the one with fewer launches comes first.
    world.invoke(&g);
    world.created(of_f[1]).unwrap();
    world.step(|core, now, wall| core.started(of_f[1], now, wall));
    let next = world.begin().unwrap();
    assert_eq!(world.core.sandboxes[&next].target.name, "g");
}

fn frozen_after(seconds: u64) -> World {
    World::with(4, |limits| limits.freeze_after = Some(s(seconds)))
}

fn frost_done(world: &mut World, done: bool) -> Ask {
    let order = world.frosts.pop_front().expect("the Engine is asked");
    let (id, ask) = (order.sandbox, order.ask);
    world.step(|core, now, _| core.frost_done(id, ask, done, now));
    ask
}

#[test]
fn an_idle_sandbox_is_frozen_and_thawed_by_the_next_invocation() {
    let (mut world, f) = (frozen_after(5), target("f", 1));
    let (sandbox, parked) = idle(&mut world, &f);
    world.pass(ms(4_999));
    assert!(world.frosts.is_empty());
    world.pass(ms(1));
    assert_eq!(frost_done(&mut world, true), Ask::Freeze);
    let id = world.invoke(&f);
    world.deliver_all();
    assert_eq!(world.got(parked), [id], "it is written to at once");
    assert_eq!(frost_done(&mut world, true), Ask::Thaw);
    answer(&mut world, &sandbox, id);
    poll(&mut world, &sandbox);
    world.pass(s(5));
    assert_eq!(frost_done(&mut world, false), Ask::Freeze);
    assert_eq!(world.core.sandboxes[&sandbox.id].frost, Frost::Warm, "it could not be frozen");
    world.pass(ms(4_999));
    assert!(world.frosts.is_empty(), "it is not tried again at once");
    world.pass(ms(1));
    assert_eq!(world.frosts.len(), 1);
}

#[test]
fn an_invocation_while_it_is_being_frozen_thaws_it_again() {
    let (mut world, f) = (frozen_after(5), target("f", 1));
    let (sandbox, _) = idle(&mut world, &f);
    world.pass(s(5));
    let id = world.invoke(&f);
    assert_eq!(world.frosts.len(), 1, "one call at a time");
    frost_done(&mut world, true);
    assert_eq!(frost_done(&mut world, true), Ask::Thaw);
    world.deliver_all();
    answer(&mut world, &sandbox, id);
}

#[test]
fn what_cannot_be_thawed_ends_and_its_caller_is_told() {
    let (mut world, f) = (frozen_after(5), target("f", 1));
    let (sandbox, _) = idle(&mut world, &f);
    world.pass(s(5));
    frost_done(&mut world, true);
    let id = world.invoke(&f);
    world.deliver_all();
    frost_done(&mut world, false);
    assert_eq!(state(&world, &sandbox), Some(State::Stopping(EndReason::EngineFailed)));
    assert_eq!(world.outcome(id), "Refused(NoSandbox(\"it could not be thawed\"))");
}
