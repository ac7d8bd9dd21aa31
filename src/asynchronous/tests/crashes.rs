//! The power goes at every write and sync of an event's whole life.

use super::*;

/// What a client and a function have seen when the power went.
#[derive(Default)]
struct Seen {
    accepted: Vec<Uuid>,
    executed: Vec<Uuid>,
}

/// A life with everything in it: an event that succeeds, one that fails for good and becomes a
/// letter, and one that still waits. It goes on as far as the disk lets it.
fn live(world: &mut World, seen: &mut Seen) {
    world.functions.set("bad", "", Policy { max_retries: 1, ..Policy::default() });
    world.functions.set("slow", "pending", Policy::default());
    let pairs = [["good", "bad"], ["slow", "good"]];
    for names in pairs {
        let offered: Vec<_> = names
            .iter()
            .map(|name| {
                let stored = sample(name);
                (stored.id, world.offer(&stored, b"{\"n\": 1}"))
            })
            .collect();
        world.write();
        for (id, heard) in offered {
            if heard.all() == [Ok(())] {
                seen.accepted.push(id);
            }
        }
        run(world, seen);
    }
    world.pass(MINUTE_MS);
    run(world, seen);
}

fn run(world: &mut World, seen: &mut Seen) {
    // A dead disk leaves work over; what is left then is not this run's.
    for _ in 0..6 {
        for one in world.taken_once() {
            seen.executed.push(one.event.id);
            if one.name == "bad" { one.fail() } else { one.succeed() }
        }
    }
}

impl World {
    /// As `taken`, but one round only: with a dead disk there is no end of what is to be written.
    fn taken_once(&mut self) -> Vec<Invocation> {
        self.deliverer.deliver();
        let loads: Vec<Load> = self.to_carry.try_iter().collect();
        for load in loads {
            let Ok((stored, record)) = self.queue.source.read(load.index) else { continue };
            let put = self.queue.letters.put(&stored, &record);
            let result = put.map_or_else(|e| Carried::Failed(e.to_string()), |()| Carried::Done);
            self.deliverer.hear(Message::Carried(load.index, result));
        }
        let messages: Vec<Message> = self.inbox.try_iter().collect();
        messages.into_iter().for_each(|message| self.deliverer.hear(message));
        self.write();
        std::mem::take(&mut *self.invocations.lock().unwrap())
    }

    fn letter_ids(&self) -> Vec<Uuid> {
        self.queue.letters.list().unwrap().iter().map(|letter| letter.id).collect()
    }
}

#[test]
fn nothing_that_was_accepted_is_lost_whenever_the_power_goes() {
    let mut checked = 0;
    for cut in 0.. {
        let (disk, letters) = (Disk::default(), Disk::default());
        let mut world = World::on(disk.clone(), letters.clone(), &settings()).unwrap();
        disk.cut_after(cut);
        let mut seen = Seen::default();
        live(&mut world, &mut seen);
        let finished = !disk.is_cut();
        let letters_before = world.letter_ids();
        for image in disk.images() {
            // The directory of letters is as it was; its own cuts are tested beside it.
            let mut after = World::on(image, letters.copy(), &settings())
                .unwrap_or_else(|error| panic!("cut {cut}: {error}"));
            after.functions.set("bad", "", Policy { max_retries: 0, ..Policy::default() });
            after.pass(10 * MINUTE_MS);
            let mut again = Seen::default();
            run(&mut after, &mut again);
            let letters_after = after.letter_ids();
            for id in &seen.accepted {
                let executed = seen.executed.contains(id) || again.executed.contains(id);
                let lettered = letters_before.contains(id) || letters_after.contains(id);
                assert!(executed || lettered, "cut {cut}: {id} was accepted and is lost");
            }
            assert_eq!(after.waiting(), 0, "cut {cut}");
            checked += 1;
        }
        if finished {
            assert!(cut > 8, "{cut}");
            assert_eq!((seen.accepted.len(), world.letter_ids().len()), (4, 1));
            break;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn what_has_ended_and_is_on_the_disk_does_not_come_back() {
    let mut world = World::new();
    world.accept("f");
    world.one().succeed();
    world.settle();
    // The next accept waits for the disk, and takes the end along.
    let waits = world.accept("g");
    world.disk.cut_after(0);
    for image in world.disk.images() {
        let mut after = World::on(image, Disk::default(), &settings()).unwrap();
        assert_eq!(after.one().event.id, waits);
    }
}

#[test]
fn a_refused_event_is_not_there_afterwards() {
    for cut in 0..6 {
        let mut world = World::new();
        let kept = world.accept("f");
        world.disk.cut_after(cut);
        let heard = world.offer(&sample("g"), b"{}");
        world.write();
        if heard.all() != [Err(Refused::Disk)] {
            continue;
        }
        world.disk.cut_after(u32::MAX / 2);
        // The disk works again, and the next event takes the place of the refused one.
        world.accept("h");
        let mut world = world.restarted();
        let names: Vec<_> = world.taken().iter().map(|one| one.name.clone()).collect();
        assert_eq!(names, ["f", "h"], "cut {cut}");
        assert!(world.queue.entries(&Filter::default(), None, 9, false).unwrap()[0].id == kept);
    }
}
