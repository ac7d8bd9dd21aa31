//! Queues and disks that take no more.

use super::*;

#[test]
fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let settings = config::Asynchronous { max_queued_events: 2, ..settings() };
    let mut world = World::on(Disk::default(), Disk::default(), &settings).unwrap();
    world.accept("f");
    world.accept("f");
    let refused = world.offer(&sample("f"), b"{}");
    assert_eq!(refused.all(), [Err(Refused::Full)]);
    assert_eq!(world.count("refused"), 1);
    world.taken().pop().unwrap().succeed();
    world.settle();
    world.accept("f");
    let settings = config::Asynchronous { max_queue_bytes: 1000, ..settings };
    let mut world = World::on(Disk::default(), Disk::default(), &settings).unwrap();
    let large = world.offer(&sample("f"), &[b'1'; 1000]);
    assert_eq!(large.all(), [Err(Refused::Full)]);
    world.accept("f");
}

#[test]
fn what_is_larger_than_an_event_is_refused() {
    let world = World::new();
    let payload = world.offer(&sample("f"), &vec![b'1'; EVENT_BYTES + 1]);
    assert_eq!(payload.all(), [Err(Refused::TooLarge)]);
    let mut far = sample("f");
    far.function.region = "x".repeat(70_000);
    assert_eq!(world.offer(&far, b"{}").all(), [Err(Refused::TooLarge)]);
}

#[test]
fn a_full_disk_refuses_cleanly_and_recovers() {
    let mut world = World::new();
    let kept = world.accept("f");
    let used = world.disk.used();
    for free in [0, 1, 17, 100] {
        world.disk.limit_bytes(Some(used + free));
        let refused = world.offer(&sample("g"), &[b'1'; EVENT_BYTES]);
        world.write();
        assert_eq!(refused.all(), [Err(Refused::Disk)], "{free} bytes free");
        assert_eq!(world.disk.used(), used, "nothing half is left");
    }
    world.disk.limit_bytes(None);
    let next = world.accept("h");
    let mut world = world.restarted();
    let found: Vec<Uuid> = world.taken().iter().map(|one| one.event.id).collect();
    assert_eq!(found, [kept, next]);
    assert_eq!(world.count("write_failures"), 0, "counted since the start");
}

#[test]
fn what_was_taken_can_end_on_a_full_disk() {
    let mut world = World::new();
    world.disk.limit_bytes(Some(24 << 20));
    let mut accepted = 0;
    loop {
        let heard = world.offer(&sample("f"), &vec![b'1'; EVENT_BYTES / 10]);
        world.write();
        match heard.all()[..] {
            [Ok(())] => accepted += 1,
            [Err(Refused::Disk)] => break,
            _ => panic!("{:?}", heard.all()),
        }
    }
    // Somebody else takes what is left, but for a new segment's header.
    world.disk.limit_bytes(Some(world.disk.used() + 100));
    let mut world = world.restarted();
    let mut ended = 0;
    loop {
        let taken = world.taken();
        if taken.is_empty() {
            break;
        }
        ended += taken.len();
        taken.into_iter().for_each(Invocation::succeed);
        world.settle();
    }
    assert_eq!((ended, world.waiting()), (accepted, 0));
    // And its space comes back, though there is none for another segment.
    while world.committer.clean() {}
    world.accept("f");
    assert_eq!(world.count("write_failures"), 0);
    assert_eq!(world.restarted().waiting(), 1);
}

#[test]
fn an_end_with_a_record_that_finds_no_room_waits_and_holds_up_no_other() {
    let settings = config::Asynchronous { max_dead_letters_bytes: 8 << 20, ..settings() };
    let mut world = World::on(Disk::default(), Disk::default(), &settings).unwrap();
    let policy = Policy { on_success: Some(LETTERS_ARN.to_owned()), ..Policy::default() };
    world.functions.set("f", "", policy);
    world.accept("f");
    world.accept("g");
    world.disk.limit_bytes(Some(world.disk.used()));
    let large = format!("\"{}\"", "x".repeat(2 * EVENT_BYTES));
    for one in world.taken() {
        match one.name.as_str() {
            "f" => one.end(Outcome::Response(large.clone().into_bytes().into())),
            _ => one.succeed(),
        }
    }
    world.settle();
    assert_eq!(world.queue.view().by_state[3], ("ending", 1));
    assert_eq!(world.waiting(), 1);
    world.disk.limit_bytes(None);
    world.write();
    world.settle();
    assert_eq!(world.waiting(), 0);
    assert_eq!(world.letters().len(), 1);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_an_error_that_says_so() {
    let disk = Disk::default();
    disk.limit_files(Some(0));
    let error = World::on(disk, Disk::default(), &settings()).err().unwrap();
    assert!(error.to_string().starts_with("beginning the event queue: "), "{error}");
}

#[test]
fn without_a_free_inode_the_last_file_grows_on() {
    let mut world = World::new();
    world.functions.set("f", "pending", Policy::default());
    world.disk.limit_files(Some(1));
    let large = vec![b'1'; EVENT_BYTES];
    for _ in 0..20 {
        let heard = world.offer(&sample("f"), &large);
        world.write();
        assert_eq!(heard.all(), [Ok(())]);
    }
    assert_eq!(world.disk.names().unwrap().len(), 1);
    world.disk.limit_files(None);
    world.accept("f");
    assert_eq!(world.disk.names().unwrap().len(), 2);
    assert_eq!(world.restarted().waiting(), 21);
}

#[test]
fn a_full_directory_of_letters_keeps_them_in_the_queue() {
    let settings = config::Asynchronous { max_dead_letters_bytes: 1000, ..settings() };
    let mut world = World::on(Disk::default(), Disk::default(), &settings).unwrap();
    world.functions.set("f", "gone", Policy::default());
    let ids: Vec<Uuid> = (0..3).map(|_| world.accept("f")).collect();
    assert!(world.taken().is_empty());
    assert_eq!((world.letters().len(), world.waiting()), (1, 2));
    let mut world = world.restarted();
    world.settle();
    assert_eq!(world.queue.view().by_state[3], ("ending", 2));
    // An operator makes room, and in time they come.
    let first = world.queue.letters.list().unwrap().remove(0);
    world.queue.letters.remove(&first).unwrap();
    world.pass(5 * MINUTE_MS);
    world.settle();
    assert_eq!((world.letters().len(), world.waiting()), (1, 1));
    assert!(ids.contains(&first.id));
}

#[test]
fn space_is_reclaimed_and_stragglers_move_on() {
    let mut world = World::new();
    world.functions.set("slow", "pending", Policy::default());
    let large = vec![b'1'; EVENT_BYTES];
    let mut waiting = Vec::new();
    for round in 0..120 {
        if round % 30 == 0 {
            waiting.push(world.accept("slow"));
        }
        let heard = world.offer(&sample("f"), &large);
        assert!(world.taken().into_iter().map(Invocation::succeed).count() == 1);
        world.settle();
        assert_eq!(heard.all(), [Ok(())]);
        while world.committer.clean() {}
        let most = 6 * usize::try_from(journal::SEGMENT_BYTES).unwrap();
        assert!(world.disk.used() < most, "round {round}: {} bytes", world.disk.used());
    }
    let first = world.disk.names().unwrap().remove(0);
    assert!(first.as_str() > "0000000003.log", "{first}");
    let mut world = world.restarted();
    let mut found: Vec<Uuid> = world.taken().iter().map(|one| one.event.id).collect();
    found.extend(
        world.queue.entries(&Filter::default(), None, 9, false).unwrap().iter().map(|v| v.id),
    );
    assert!(waiting.iter().all(|id| found.contains(id)));
    assert_eq!(world.waiting(), waiting.len());
}
