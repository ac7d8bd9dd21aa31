//! The way of an invocation.

use super::*;
use crate::dispatch::invocation::{Failure, Outcome};
use crate::dispatch::matching::AnswerError;
use crate::dispatch::world::target;

#[test]
fn an_invocation_is_given_answered_and_ends_once() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    assert_eq!((world.core.active, world.outcome(id).as_str()), (1, ""));
    world.pass(ms(5));
    answer(&mut world, &sandbox, id);
    assert_eq!(world.core.active, 0);
    let book = world.book.lock().unwrap();
    let report = &book.outcomes[&id][0].1;
    assert_eq!(report.duration, ms(5));
    assert!(report.init.is_some() && report.sandbox == Some(sandbox.id));
}

#[test]
fn the_first_sandbox_that_is_free_takes_what_waits() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (first, second) = (world.invoke(&f), world.invoke(&f));
    let (slow, quick) = (launch(&mut world), launch(&mut world));
    let got = poll(&mut world, &quick);
    assert_eq!(world.got(got), [first]);
    answer(&mut world, &quick, first);
    let got = poll(&mut world, &quick);
    assert_eq!(world.got(got), [second], "it does not wait for the one started for it");
    let nothing = poll(&mut world, &slow);
    assert_eq!(world.got(nothing), NOTHING);
}

#[test]
fn the_most_recently_used_sandbox_is_used_first() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (one, id, _) = busy(&mut world, &f);
    let (two, other, _) = busy(&mut world, &f);
    answer(&mut world, &two, other);
    poll(&mut world, &two);
    world.pass(ms(1));
    answer(&mut world, &one, id);
    let latest = poll(&mut world, &one);
    let next = world.invoke(&f);
    world.deliver_all();
    assert_eq!(world.got(latest), [next]);
}

#[test]
fn the_same_event_is_given_again_once_then_the_invocation_ends() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let again = poll(&mut world, &sandbox);
    assert_eq!(world.got(again), [id]);
    let third = poll(&mut world, &sandbox);
    assert_eq!(world.got(third), NOTHING);
    assert_eq!(world.outcome(id), "Failed(NoAnswer)");
    assert_eq!(state(&world, &sandbox), Some(State::Idle));
    assert_eq!(world.answer(Runtime::At(sandbox.address), id), Err(AnswerError::InvalidState));
}

#[test]
fn wrong_answers_are_refused_and_harm_nobody() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, earlier, _) = busy(&mut world, &f);
    let at = Runtime::At(sandbox.address);
    answer(&mut world, &sandbox, earlier);
    assert_eq!(world.answer(at, earlier), Err(AnswerError::InvalidState), "twice");
    poll(&mut world, &sandbox);
    let (other, others, _) = {
        let present = world.invoke(&f);
        world.deliver_all();
        assert_eq!(world.answer(at, earlier), Err(AnswerError::InvalidState), "of before");
        assert_eq!(world.answer(at, Uuid::nil()), Err(AnswerError::InvalidRequestId));
        let busy = busy(&mut world, &f);
        assert_eq!(world.answer(at, busy.1), Err(AnswerError::InvalidRequestId), "another's");
        answer(&mut world, &sandbox, present);
        busy
    };
    answer(&mut world, &other, others);
    let nobody = Runtime::At("192.0.2.1".parse().unwrap());
    assert_eq!(world.answer(nobody, others), Err(AnswerError::InvalidRequestId));
}

#[test]
fn a_sandbox_whose_poll_is_lost_gets_no_event() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, parked) = idle(&mut world, &f);
    world.lose(parked, false);
    assert_eq!(state(&world, &sandbox), Some(State::Finishing));
    let id = world.invoke(&f);
    assert!(world.deliveries.is_empty() && world.ordered() == 0, "it may be back in a moment");
    let back = poll(&mut world, &sandbox);
    assert_eq!(world.got(back), [id]);
}

#[test]
fn a_late_loss_of_an_earlier_poll_does_not_hit_the_present_one() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, first) = idle(&mut world, &f);
    let second = poll(&mut world, &sandbox);
    assert_eq!(world.book.lock().unwrap().hung_up, [first]);
    world.lose(first, false);
    assert_eq!(state(&world, &sandbox), Some(State::Idle));
    world.dead_poll(sandbox.address);
    world.lose(second, false);
    assert_eq!(state(&world, &sandbox), Some(State::Finishing), "a dead poll took no number");
}

#[test]
fn an_event_that_could_not_be_written_goes_to_another_sandbox() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (first, id, _) = busy(&mut world, &f);
    let (_, alive) = idle(&mut world, &f);
    answer(&mut world, &first, id);
    let dead = poll(&mut world, &first);
    world.lose(dead, true);
    let id = world.invoke(&f);
    assert_eq!(world.deliveries[0].sandbox, first.id);
    world.deliver_all();
    assert_eq!(world.got(alive), [id]);
    assert_eq!(world.core.active, 1);
    let late = world.answer(Runtime::At(first.address), id);
    assert_eq!(late, Err(AnswerError::InvalidRequestId), "it runs elsewhere now");
}

#[test]
fn an_event_given_twice_is_lost_only_when_both_are() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, parked) = idle(&mut world, &f);
    world.lose(parked, true);
    let id = world.invoke(&f);
    let again = world.poll(sandbox.address).unwrap();
    assert!(!world.deliver(0), "the first one fails");
    assert_eq!(state(&world, &sandbox), Some(State::Busy), "the second one is on its way");
    world.lose(again, true);
    assert!(!world.deliver(0));
    assert_eq!(state(&world, &sandbox), Some(State::Finishing));
    let third = poll(&mut world, &sandbox);
    assert_eq!(world.got(third), [id]);
}

#[test]
fn a_failed_delivery_after_the_answer_changes_nothing() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    answer(&mut world, &sandbox, id);
    world.step(|core, now, wall| core.delivery_failed(sandbox.id, id, now, wall));
    assert_eq!(state(&world, &sandbox), Some(State::Finishing));
}

#[test]
fn an_event_of_a_deleted_function_is_not_given_again() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (_, parked) = idle(&mut world, &f);
    world.lose(parked, true);
    let id = world.invoke(&f);
    world.step(|core, now, _| core.retire("f", now));
    world.deliver_all();
    assert_eq!(world.outcome(id), "Refused(FunctionGone)");
    assert!(world.ordered() == 0);
}

#[test]
fn the_next_poll_may_come_before_the_answer_has_ended() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let at = Runtime::At(sandbox.address);
    assert!(world.step(|core, _, _| core.answer_begins(at, id)));
    assert!(!world.step(|core, _, _| core.answer_begins(at, id)), "only one tells of its end");
    let next = poll(&mut world, &sandbox);
    assert_eq!((world.got(next), state(&world, &sandbox)), (vec![], Some(State::Busy)));
    answer(&mut world, &sandbox, id);
    world.step(|core, now, wall| core.answer_broken(at, id, now, wall));
    let other = world.invoke(&f);
    world.deliver_all();
    assert_eq!(world.got(next), [other]);
}

#[test]
fn a_poll_lost_while_the_answer_arrives_leaves_the_answer_alone() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    world.step(|core, _, _| core.answer_begins(Runtime::At(sandbox.address), id));
    let next = poll(&mut world, &sandbox);
    world.lose(next, false);
    assert_eq!(state(&world, &sandbox), Some(State::Busy));
    poll(&mut world, &sandbox);
    answer(&mut world, &sandbox, id);
    assert_eq!(state(&world, &sandbox), Some(State::Idle));
}

#[test]
fn an_answer_that_breaks_off_ends_when_the_runtime_goes_on() {
    for poll_first in [true, false] {
        let (mut world, f) = (World::new(4), target("f", 1));
        let (sandbox, id, _) = busy(&mut world, &f);
        let at = Runtime::At(sandbox.address);
        world.step(|core, _, _| core.answer_begins(at, id));
        if poll_first {
            poll(&mut world, &sandbox);
        }
        world.step(|core, now, wall| core.answer_broken(at, id, now, wall));
        if !poll_first {
            assert_eq!(world.outcome(id), "", "it may try again");
            let next = poll(&mut world, &sandbox);
            assert_eq!(world.got(next), NOTHING, "it has had this event");
        }
        assert_eq!(world.outcome(id), "Failed(NoAnswer)");
        assert_eq!(state(&world, &sandbox), Some(State::Idle));
    }
}

#[test]
fn too_large_an_answer_is_an_outcome_like_any_other() {
    let (mut world, f) = (World::new(4), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let outcome = Outcome::Failed(Failure::ResponseTooLarge { limit: 6 });
    let at = Runtime::At(sandbox.address);
    world.step(|core, now, wall| core.answer(at, id, outcome, now, wall)).unwrap();
    assert_eq!(world.outcome(id), "Failed(ResponseTooLarge { limit: 6 })");
    assert_eq!(state(&world, &sandbox), Some(State::Finishing));
}
