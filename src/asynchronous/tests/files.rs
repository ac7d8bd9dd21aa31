//! The journal's files: torn, damaged, foreign.

use super::super::frame::{self, SEGMENT_HEADER_BYTES};
use super::super::journal::SEGMENT_BYTES;
use super::*;

const FIRST: &str = "0000000001.log";

/// A disk with three events, and where their frames begin.
fn three() -> (Disk, Vec<usize>) {
    let mut world = World::new();
    world.functions.set("f", "pending", Policy::default());
    let begins = (0..3)
        .map(|_| {
            let begin = world.disk.written();
            world.accept("f");
            begin
        })
        .collect();
    (world.disk, begins)
}

fn found_on(disk: &Disk) -> Result<usize, QueueError> {
    World::on(disk.clone(), Disk::default(), &settings()).map(|world| world.waiting())
}

#[test]
fn a_torn_end_is_cut_at_any_byte() {
    let (disk, begins) = three();
    let end = disk.written();
    for length in begins[2]..end {
        let (torn, _) = three();
        torn.open(FIRST).unwrap().set_len(length as u64).unwrap();
        assert_eq!(found_on(&torn).unwrap(), 2, "{length} of {end}");
        assert_eq!(torn.written(), begins[2], "cut");
    }
    // Zeros behind the end, as some file systems leave them.
    disk.open(FIRST).unwrap().set_len(end as u64 + 5000).unwrap();
    assert_eq!(found_on(&disk).unwrap(), 3);
    assert_eq!(disk.written(), end);
}

#[test]
fn a_flipped_bit_in_the_last_file_ends_it_there() {
    let (_, begins) = three();
    for at in begins[1]..begins[2] {
        let (disk, _) = three();
        disk.damage(FIRST, at);
        assert_eq!(found_on(&disk).unwrap(), 1, "byte {at}");
    }
}

#[test]
fn damage_in_an_earlier_file_is_told_and_not_passed_over() {
    let mut world = World::new();
    world.functions.set("f", "pending", Policy::default());
    let large = vec![b'1'; EVENT_BYTES];
    while world.disk.names().unwrap().len() < 2 {
        world.offer(&sample("f"), &large);
        world.write();
    }
    let disk = world.disk.clone();
    drop(world);
    let begin = SEGMENT_HEADER_BYTES;
    disk.damage(FIRST, begin + 5);
    let text = found_on(&disk).unwrap_err().to_string();
    assert!(text.contains(FIRST) && text.contains(&format!("at byte {begin}")), "{text}");
    disk.damage(FIRST, begin + 5);
    disk.damage(FIRST, 2);
    assert!(found_on(&disk).unwrap_err().to_string().contains("at byte 0"));
    // Out of the way, the rest starts.
    disk.remove(FIRST).unwrap();
    assert_eq!(found_on(&disk).unwrap(), 1);
}

#[test]
fn a_lost_payload_becomes_a_letter_that_says_so() {
    let mut world = World::new();
    let id = world.accept("f");
    let last = world.disk.written() - 1;
    world.disk.damage(FIRST, last);
    assert!(world.taken().is_empty());
    assert_eq!(world.letters()[0]["requestContext"]["condition"], "PayloadLost");
    assert!(world.letters()[0]["requestPayload"].is_null());
    assert_eq!((world.waiting(), world.queue.letters.list().unwrap()[0].id), (0, id));
    // There is nothing to replay.
    let done = world.queue.retry(&Filter::default()).unwrap();
    assert_eq!((done.letters, done.skipped), (0, 1));
}

#[test]
fn a_newer_format_is_refused() {
    let (disk, _) = three();
    let mut header = frame::segment_header(1);
    header[4] = 9;
    let checksum = rawzip::crc32(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    disk.open(FIRST).unwrap().write_at(&header, 0).unwrap();
    let text = found_on(&disk).unwrap_err().to_string();
    assert!(text.contains("format 9") && text.contains("up to 1"), "{text}");
}

#[test]
fn other_files_are_left_alone() {
    let (disk, _) = three();
    disk.create("README").unwrap();
    disk.create("1.log").unwrap();
    assert_eq!(found_on(&disk).unwrap(), 3);
    assert_eq!(disk.names().unwrap().len(), 3);
}

#[test]
fn a_segment_that_was_being_begun_is_begun_again() {
    for length in 0..SEGMENT_HEADER_BYTES {
        let (disk, _) = three();
        let begun = disk.create("0000000002.log").unwrap();
        begun.write_at(&frame::segment_header(2)[..length], 0).unwrap();
        assert_eq!(found_on(&disk).unwrap(), 3, "{length}");
        assert_eq!(disk.names().unwrap(), [FIRST]);
    }
    assert!(SEGMENT_BYTES < u64::from(u32::MAX));
}

#[test]
fn a_later_entry_of_the_same_id_takes_the_earlier_ones_place() {
    let mut world = World::new();
    let id = world.accept("f");
    let record = Stored { id, content: Content::Record(Carrier::Letters), ..sample("f") };
    let followers = vec![(record, b"{\"requestPayload\":1}".to_vec().into())];
    let settle = Settle { followers, ..Settle::default() };
    world.committer.commit(vec![Job::Settle(settle)]);
    assert_eq!(world.waiting(), 1);
    let mut world = world.restarted();
    assert_eq!(world.waiting(), 1);
    assert!(world.taken().is_empty());
    assert_eq!(world.queue.letters.list().unwrap()[0].id, id);
    assert_eq!(world.restarted().waiting(), 0);
}
