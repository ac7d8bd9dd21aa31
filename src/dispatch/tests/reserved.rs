//! Reserved concurrency: kept for its function, and no more than that.

use super::*;
use crate::dispatch::world::target;

fn reserve(world: &mut World, function: &str, reserved: Option<usize>) {
    world.step(|core, now, _| core.set_reserved(function, reserved, now));
}

#[test]
fn others_leave_what_is_reserved_and_its_function_takes_no_more() {
    let (mut world, f, g) = (World::new(3), target("f", 1), target("g", 1));
    reserve(&mut world, "f", Some(1));
    let others = [world.invoke(&g), world.invoke(&g), world.invoke(&g)];
    assert_eq!(world.outcome(others[2]), "Refused(ConcurrencyLimit)");
    let ours = world.invoke(&f);
    assert_eq!((world.outcome(ours).as_str(), world.ordered()), ("", 3));
    let beyond = world.invoke(&f);
    assert_eq!(world.outcome(beyond), "Refused(ReservedLimit)");
}

#[test]
fn nothing_reserved_stops_a_function_and_what_it_runs_goes_on() {
    let (mut world, f) = (World::new(3), target("f", 1));
    let (sandbox, id, _) = busy(&mut world, &f);
    let waits = world.invoke(&f);
    reserve(&mut world, "f", Some(0));
    let refused = world.invoke(&f);
    assert_eq!(world.outcome(refused), "Refused(Stopped)");
    answer(&mut world, &sandbox, id);
    let next = poll(&mut world, &sandbox);
    assert_eq!(world.got(next), [waits]);
    answer(&mut world, &sandbox, waits);
    poll(&mut world, &sandbox);
    reserve(&mut world, "f", None);
    let again = world.invoke(&f);
    assert_eq!(world.outcome(again), "");
}

#[test]
fn idle_sandboxes_of_others_make_room_for_a_reservation_and_not_the_reverse() {
    let (mut world, f, g) = (World::new(2), target("f", 1), target("g", 1));
    let (of_g, first, _) = busy(&mut world, &g);
    let (second, second_id, _) = busy(&mut world, &g);
    answer(&mut world, &of_g, first);
    poll(&mut world, &of_g);
    answer(&mut world, &second, second_id);
    poll(&mut world, &second);
    reserve(&mut world, "f", Some(1));
    let (of_f, id, _) = busy(&mut world, &f);
    assert_eq!(world.stops.len(), 1, "an idle one of the two makes room");
    answer(&mut world, &of_f, id);
    poll(&mut world, &of_f);
    let h = target("h", 1);
    world.invoke(&h);
    assert_eq!(state(&world, &of_f), Some(State::Idle), "it stays ready for its function");
    assert_eq!(world.stops.len(), 2);
}
