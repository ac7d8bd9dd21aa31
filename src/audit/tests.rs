//! The whole of it with an injected clock and a disk that fails: what was written is found whole, and
//! every change of it is found.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::chain::{self, Binding, Fields, Hash, Head, Line, Stamps};
use super::entry::{self, Entry, What};
use super::verify::{Ending, Verifier};
use super::writer::Writer;
use super::{Audit, HELD_BYTES, On, Shared, WAITING, Who};
use crate::asynchronous::power_cut::Disk;
use crate::asynchronous::storage::Storage;

const DAY: Duration = Duration::from_secs(86_400);

/// A service's audit log, with a disk and a clock of its own.
struct World {
    disk: Disk,
    now: Arc<Mutex<SystemTime>>,
    binding: Binding,
    shared: Arc<Shared>,
    inbox: crossbeam_channel::Sender<Entry>,
    writer: Option<Writer>,
}

impl World {
    fn new(binding: Binding) -> World {
        let (inbox, _) = crossbeam_channel::bounded(1);
        let now = Arc::new(Mutex::new(UNIX_EPOCH + Duration::from_secs(1_795_424_571)));
        let shared = Arc::new(Shared::default());
        let mut world = World { disk: Disk::default(), now, binding, shared, inbox, writer: None };
        world.start();
        world
    }

    fn start(&mut self) {
        let (inbox, told) = crossbeam_channel::bounded(64);
        self.inbox = inbox;
        self.shared = Arc::new(Shared::default());
        let now = self.now.clone();
        let writer = Writer::open(
            Arc::new(self.disk.clone()),
            Box::new(move || *now.lock().unwrap()),
            self.binding.clone(),
            told,
            self.shared.clone(),
            Fields::default().text("version", "1"),
        );
        self.writer = Some(writer.unwrap());
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn call(&mut self, resource: &str) {
        let who = Who { peer: [127, 0, 0, 1].into(), kind: "loopback", key: None };
        let what = entry::call("lambda:GetFunction", "us-east-1", resource, &who, 200, None);
        self.tell(what);
        self.writer().round().unwrap();
    }

    fn tell(&self, what: What) {
        let at = *self.now.lock().unwrap();
        self.inbox.try_send(Entry { at, what }).unwrap();
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    /// As a clean stop does it.
    fn stop(&mut self) {
        assert!(self.writer.take().unwrap().close());
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut names = self.disk.names().unwrap();
        names.sort_unstable();
        let read = |name: String| {
            let blob = self.disk.open(&name).unwrap();
            let mut bytes = vec![0; usize::try_from(blob.len().unwrap()).unwrap()];
            blob.read_at(&mut bytes, 0).unwrap();
            (name, bytes)
        };
        names.into_iter().map(read).collect()
    }
}

/// What is wrong with these files, and how they end.
fn wrongs(
    files: &[(String, Vec<u8>)],
    keys: &[Binding],
    expected: Option<Hash>,
) -> (Vec<String>, Ending) {
    let mut verifier = Verifier::new(keys.to_vec());
    expected.into_iter().for_each(|hash| verifier.expect(hash));
    let mut wrongs = Vec::new();
    for (name, bytes) in files {
        wrongs.extend(verifier.begin(name));
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => wrongs.extend(verifier.line(line)),
                None => wrongs.push(verifier.torn(line.len())),
            }
        }
    }
    wrongs.extend(verifier.end());
    let told = wrongs.into_iter().map(|wrong| format!("{}: {}", wrong.line, wrong.what));
    (told.collect(), verifier.ending())
}

fn head(files: &[(String, Vec<u8>)]) -> Head {
    let (_, bytes) = files.last().unwrap();
    let last = bytes.strip_suffix(b"\n").unwrap().rsplit(|byte| *byte == b'\n').next().unwrap();
    Line::read(last).unwrap().head()
}

fn events(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
    lines.map(|line| Line::read(line).unwrap().event.to_owned()).collect()
}

/// A life of three days, each with some calls.
fn life(binding: Binding) -> World {
    let mut world = World::new(binding);
    for day in 0..3 {
        for call in 0..3 {
            world.call(&format!("f{day}{call}"));
        }
        world.pass(DAY);
    }
    world.call("last");
    world.stop();
    world
}

/// The files of four days, for others.
pub(crate) fn four_days() -> Vec<(String, Vec<u8>)> {
    life(Binding::Plain).files()
}

#[test]
fn days_are_sealed_and_the_chain_goes_on_over_files() {
    let world = life(Binding::Plain);
    let files = world.files();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "audit-2026-11-23.jsonl",
            "audit-2026-11-24.jsonl",
            "audit-2026-11-25.jsonl",
            "audit-2026-11-26.jsonl"
        ]
    );
    assert_eq!(events(&files[0].1), ["begin", "start", "call", "call", "call", "seal"]);
    assert_eq!(events(&files[1].1), ["begin", "call", "call", "call", "seal"]);
    assert_eq!(events(&files[3].1), ["begin", "call", "stop"]);
    assert_eq!(wrongs(&files, &[], Some(head(&files).hash)), (vec![], Ending::Closed));
    assert_eq!(head(&files).n, 19);
    // Any part of it alone is whole as well.
    for at in 0..files.len() {
        assert_eq!(wrongs(&files[at..], &[], None).0, [""; 0]);
    }
}

#[test]
fn any_change_of_a_byte_is_found_in_files_with_and_without_a_key() {
    for binding in [Binding::Plain, Binding::keyed(b"secret")] {
        let files = life(binding.clone()).files();
        for file in 0..files.len() {
            for at in 0..files[file].1.len() {
                let mut changed = files.clone();
                changed[file].1[at] ^= 1 << (at % 8);
                let (found, _) = wrongs(&changed, std::slice::from_ref(&binding), None);
                assert_ne!(found, [""; 0], "{file} {at}");
            }
        }
    }
}

#[test]
fn a_removed_doubled_or_swapped_line_is_found() {
    let files = life(Binding::Plain).files();
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    for file in 0..files.len() {
        let whole = lines(&files[file].1);
        for at in 0..whole.len() {
            // The very last one is found by its hash alone.
            let expected = Some(head(&files).hash);
            let try_with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
                let mut changed = whole.clone();
                change(&mut changed);
                if changed == whole {
                    return;
                }
                let mut all = files.clone();
                all[file].1 = changed.concat();
                let (found, _) = wrongs(&all, &[], expected);
                assert_ne!(found, [""; 0], "{file} {at}");
            };
            try_with(&|lines| _ = lines.remove(at));
            try_with(&|lines| lines.insert(at, lines[at].clone()));
            try_with(&|lines| lines.truncate(at));
            for other in 0..whole.len() {
                try_with(&|lines| lines.swap(at, other));
            }
        }
    }
}

#[test]
fn a_cut_at_any_byte_is_found_or_leaves_the_file_open_without_its_head() {
    let files = life(Binding::Plain).files();
    for file in 0..files.len() {
        for at in 0..files[file].1.len() {
            let mut cut = files.clone();
            cut[file].1.truncate(at);
            let (found, _) = wrongs(&cut, &[], Some(head(&files).hash));
            assert_ne!(found, [""; 0], "{file} {at}");
            let (found, ending) = wrongs(&cut, &[], None);
            assert!(!found.is_empty() || ending == Ending::Open, "{file} {at}");
        }
    }
}

#[test]
fn a_missing_file_a_renamed_one_and_a_foreign_one_are_found() {
    let files = life(Binding::Plain).files();
    for at in 1..files.len() - 1 {
        let mut fewer = files.clone();
        fewer.remove(at);
        let (found, _) = wrongs(&fewer, &[], None);
        assert!(found.iter().any(|what| what.contains("lines are missing")), "{found:?}");
        assert!(found.iter().any(|what| what.contains("which is not there")), "{found:?}");
    }
    let mut swapped = files.clone();
    let first = swapped[1].1.clone();
    swapped[1].1 = std::mem::replace(&mut swapped[2].1, first);
    assert_ne!(wrongs(&swapped, &[], None).0, [""; 0]);
    let other = {
        let mut world = World::new(Binding::Plain);
        world.call("another chain");
        world.stop();
        world.files()
    };
    let mut mixed = files;
    mixed[3].1 = other[0].1.clone();
    assert_ne!(wrongs(&mixed, &[], None).0, [""; 0]);
}

/// Whoever may write the file can hash, too: then other things tell.
#[test]
fn a_forged_end_is_found() {
    let mut world = World::new(Binding::Plain);
    world.call("f");
    world.stop();
    let files = world.files();
    let forged = |event: &str, fields: Fields, from: Head| {
        let mut text = String::new();
        let mut at = from;
        let end = (&mut at, &mut Stamps::default());
        let fields = |line: Fields| line.all(&fields);
        chain::append(&mut text, &Binding::Plain, end, UNIX_EPOCH, event, fields);
        let mut all = files.clone();
        all[0].1.extend_from_slice(text.as_bytes());
        wrongs(&all, &[], None).0
    };
    let end = head(&files);
    let seal = |lines: u64, file: &str| Fields::default().text("file", file).number("lines", lines);
    assert_eq!(forged("seal", seal(4, "audit-2026-11-23.jsonl"), end), [""; 0]);
    assert_ne!(forged("seal", seal(5, "audit-2026-11-23.jsonl"), end), [""; 0]);
    assert_ne!(forged("seal", seal(4, "audit-2026-11-24.jsonl"), end), [""; 0]);
    assert_ne!(forged("call", Fields::default(), Head { n: end.n + 1, ..end }), [""; 0]);
    assert_ne!(forged("call", Fields::default(), Head { hash: Hash([1; 32]), ..end }), [""; 0]);
    assert_ne!(forged("begin", Fields::default(), end), [""; 0]);
    let found = forged("gap", Fields::default().number("missing", 7), end);
    assert!(found[0].contains("7 lines could not be written"), "{found:?}");
}

#[test]
fn without_the_key_a_chain_cannot_be_made_anew() {
    let key = Binding::keyed(b"secret");
    let keyed = life(key.clone()).files();
    assert_eq!(wrongs(&keyed, std::slice::from_ref(&key), None).0, [""; 0]);
    // Another key, no key.
    for keys in [vec![Binding::keyed(b"guess")], vec![]] {
        let (found, _) = wrongs(&keyed, &keys, None);
        assert!(found.iter().any(|what| what.contains("a key that was not given")), "{found:?}");
    }
    // All of it, or its end, made anew without the key.
    let anew = life(Binding::Plain).files();
    assert_ne!(wrongs(&anew, std::slice::from_ref(&key), None).0, [""; 0]);
    let mut world = life(key.clone());
    world.binding = Binding::Plain;
    world.start();
    world.call("forged");
    world.stop();
    let (found, _) = wrongs(&world.files(), &[key], None);
    assert!(found.iter().any(|what| what.contains("without the key")), "{found:?}");
}

#[test]
fn a_key_may_be_given_and_changed_later() {
    let (first, second) = (Binding::keyed(b"first"), Binding::keyed(b"second"));
    let mut world = life(Binding::Plain);
    for binding in [&first, &second] {
        world.binding = binding.clone();
        world.start();
        world.call("f");
        world.stop();
    }
    let files = world.files();
    assert_eq!(wrongs(&files, &[first.clone(), second], None).0, [""; 0]);
    assert_ne!(wrongs(&files, &[first], None).0, [""; 0]);
}

#[test]
fn a_day_without_the_service_has_no_file_and_is_no_gap() {
    let mut world = World::new(Binding::Plain);
    world.call("f");
    world.stop();
    world.pass(5 * DAY);
    world.start();
    world.call("g");
    world.stop();
    let files = world.files();
    assert_eq!(files[1].0, "audit-2026-11-28.jsonl");
    assert_eq!(events(&files[0].1), ["begin", "start", "call", "stop", "seal"]);
    assert_eq!(wrongs(&files, &[], None), (vec![], Ending::Closed));
}

#[test]
fn a_clock_that_goes_back_makes_no_older_file() {
    let mut world = life(Binding::Plain);
    *world.now.lock().unwrap() -= 2 * DAY;
    world.start();
    world.call("f");
    world.stop();
    let files = world.files();
    assert_eq!(files.len(), 4);
    assert_eq!(wrongs(&files, &[], None).0, [""; 0]);
}

#[test]
fn after_a_crash_the_torn_line_is_cut_and_told() {
    let mut whole = World::new(Binding::Plain);
    whole.call("before");
    let (name, bytes) = whole.files().remove(0);
    let last = bytes.len() - 1;
    let begun = bytes[..last].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for at in begun..=last + 1 {
        let mut world = World::new(Binding::Plain);
        world.disk = Disk::default();
        world.disk.create(&name).unwrap().write_at(&bytes[..at], 0).unwrap();
        world.start();
        world.call("after");
        world.stop();
        let files = world.files();
        assert_eq!(wrongs(&files, &[], None), (vec![], Ending::Closed), "{at}");
        let told = events(&files[0].1);
        let position = told.iter().position(|event| event == "recovered").unwrap();
        assert_eq!(told[position + 1], "start", "{told:?}");
        let cut = if at == last + 1 { 0 } else { at - begun };
        let text = String::from_utf8_lossy(&files[0].1).into_owned();
        assert!(text.contains(&format!("\"cut_bytes\":{cut},")), "{at}");
        if cut > 0 {
            assert!(text.contains(&Hash::of(&bytes[begun..at]).to_string()), "{at}");
        }
    }
}

/// The power may go at any write: what is found then goes on as one chain.
#[test]
fn a_power_cut_at_any_moment_leaves_a_chain() {
    for cut in 0..60 {
        let mut world = World::new(Binding::Plain);
        world.disk.cut_after(cut);
        for day in 0..3 {
            world.tell(What::Told("call", Fields::default().number("day", day)));
            let _ = world.writer().round();
            world.pass(DAY);
        }
        for image in world.disk.images() {
            let mut after = World::new(Binding::Plain);
            after.disk = image;
            *after.now.lock().unwrap() = *world.now.lock().unwrap();
            after.start();
            after.call("after");
            after.stop();
            let files = after.files();
            let (found, ending) = wrongs(&files, &[], None);
            // Writes that were lost before others that were not leave a hole, which is found.
            let hole = files.iter().any(|(_, bytes)| bytes.contains(&0));
            assert_eq!((found.is_empty(), ending), (!hole, Ending::Closed), "{cut}: {found:?}");
        }
        if !world.disk.is_cut() {
            return;
        }
    }
    panic!("the life is longer than was tried");
}

#[test]
fn while_the_disk_is_full_nothing_is_lost_and_afterwards_all_is_told() {
    let mut world = World::new(Binding::Plain);
    world.disk.limit_bytes(Some(world.disk.written() + 100));
    for call in 0..5 {
        world.tell(What::Told("call", Fields::default().number("call", call)));
        assert!(world.writer().round().is_err());
    }
    assert!(world.shared.failing.load(Ordering::Acquire));
    world.shared.refused.store(9, Ordering::Release);
    // Part of a line is there. A crash now loses what was in memory, and tells of it.
    let mut crashed = World::new(Binding::Plain);
    crashed.disk = world.disk.copy();
    crashed.disk.limit_bytes(None);
    crashed.start();
    crashed.stop();
    assert_eq!(events(&crashed.files()[0].1), ["begin", "start", "recovered", "start", "stop"]);
    assert_eq!(wrongs(&crashed.files(), &[], None).0, [""; 0]);

    world.disk.limit_bytes(None);
    world.writer().round().unwrap();
    assert!(!world.shared.failing.load(Ordering::Acquire));
    world.stop();
    let files = world.files();
    assert_eq!(wrongs(&files, &[], None).0, [""; 0]);
    let told = events(&files[0].1);
    assert_eq!(told.iter().filter(|event| *event == "call").count(), 5);
    assert!(told.contains(&"interrupted".to_owned()), "{told:?}");
    assert!(String::from_utf8_lossy(&files[0].1).contains("\"refused_calls\":9"));
}

#[test]
fn a_day_that_ends_on_a_full_disk_is_sealed_later() {
    for limit in [0, 100, 400] {
        let mut world = World::new(Binding::Plain);
        world.call("f");
        world.disk.limit_bytes(Some(world.disk.written() + limit));
        world.pass(DAY);
        world.tell(What::Told("call", Fields::default()));
        for _ in 0..3 {
            assert!(world.writer().round().is_err());
        }
        world.disk.limit_bytes(None);
        world.writer().round().unwrap();
        world.stop();
        let files = world.files();
        assert_eq!(files.len(), 2);
        assert_eq!(wrongs(&files, &[], None), (vec![], Ending::Closed), "{limit}");
    }
}

#[test]
fn a_file_that_somebody_removes_or_cuts_is_noticed_at_once() {
    let deeds: [fn(&Disk); 2] = [
        |disk| disk.remove("audit-2026-11-23.jsonl").unwrap(),
        |disk| disk.open("audit-2026-11-23.jsonl").unwrap().set_len(9).unwrap(),
    ];
    for deed in deeds {
        let mut world = World::new(Binding::Plain);
        world.call("f");
        deed(&world.disk);
        let error = world.writer().sync().unwrap_err().to_string();
        assert!(error.contains("somebody else"), "{error}");
    }
}

/// An audit log whose writer does nothing.
fn stalled(refuse: bool) -> (Audit, crossbeam_channel::Receiver<Entry>) {
    let (inbox, told) = crossbeam_channel::bounded(WAITING);
    let (stop, _) = crossbeam_channel::bounded(1);
    let shared = Arc::new(Shared { max_hashed: usize::MAX, ..Shared::default() });
    let lock = std::fs::File::open("/").unwrap();
    (Audit(Some(Arc::new(On { inbox, stop, shared, refuse, _lock: lock }))), told)
}

#[test]
fn half_of_the_room_is_for_what_was_accepted() {
    let who = Who { peer: [10, 0, 0, 1].into(), kind: "stranger", key: None };
    for refuse in [true, false] {
        let (audit, _told) = stalled(refuse);
        let shared = audit.0.as_ref().unwrap().shared.clone();
        let call = || audit.call("a:B", "r", "f", &who, 200, None);
        (0..WAITING / 2).for_each(|_| call());
        assert_eq!(audit.accepts(), !refuse);
        // A flood takes none of the rest.
        (0..10).for_each(|_| audit.refused("GET", "/x", &who, 403, None));
        assert_eq!(shared.refused.load(Ordering::Acquire), 10);
        (0..WAITING / 2).for_each(|_| call());
        assert_eq!(shared.missing.load(Ordering::Acquire), 0);
        (0..3).for_each(|_| call());
        assert_eq!(shared.missing.load(Ordering::Acquire), 3);
    }
}

#[test]
fn while_it_cannot_be_written_refused_calls_are_only_counted() {
    let who = Who { peer: [10, 0, 0, 1].into(), kind: "stranger", key: None };
    let (audit, told) = stalled(false);
    let shared = audit.0.as_ref().unwrap().shared.clone();
    shared.failing.store(true, Ordering::Release);
    assert!(audit.accepts(), "it goes on");
    audit.refused("GET", "/x", &who, 403, None);
    assert_eq!((told.len(), shared.refused.load(Ordering::Acquire)), (0, 1));
    drop(told);
    audit.call("a:B", "r", "f", &who, 200, None);
    assert_eq!(shared.missing.load(Ordering::Acquire), 1, "the writer has ended");
}

#[test]
fn payloads_are_held_up_to_a_limit_and_hashed_by_who_tells_beyond() {
    let who = Who { peer: [127, 0, 0, 1].into(), kind: "loopback", key: None };
    let (audit, told) = stalled(true);
    let payload = crate::http::Body::from(vec![b'x'; 5 << 20]);
    for id in 0..10 {
        audit.accepted(&uuid::Uuid::from_u128(id), "arn", &who, payload.clone());
    }
    let held: Vec<usize> = told.try_iter().map(|entry| entry.what.held()).collect();
    assert_eq!(held.iter().filter(|held| **held > 0).count(), HELD_BYTES / (5 << 20));
    let hash = Hash::of(&payload).to_string();
    audit.accepted(&uuid::Uuid::nil(), "arn", &who, payload);
    let What::Told(_, fields) = told.recv().unwrap().what else { panic!("it is held") };
    assert!(fields.0.contains(&hash));
}

#[test]
fn what_found_no_room_is_counted_in_the_log() {
    let mut world = World::new(Binding::Plain);
    world.shared.missing.store(3, Ordering::Release);
    world.writer().round().unwrap();
    world.stop();
    let (found, _) = wrongs(&world.files(), &[], None);
    assert_eq!(found, ["3: 3 lines could not be written before this one"]);
}

#[test]
fn a_file_that_is_none_of_ours_is_not_gone_on_with() {
    for content in [&b"hello\n"[..], b"{\"n\":1}\n", &[b'x'; 200_000]] {
        let disk = Disk::default();
        disk.create("audit-2026-11-23.jsonl").unwrap().write_at(content, 0).unwrap();
        let error = super::files::end(&disk).unwrap_err();
        assert!(error.to_string().contains("audit-2026-11-23.jsonl"), "{error}");
    }
}
