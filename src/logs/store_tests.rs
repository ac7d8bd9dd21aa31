//! The store against its limits, hostile names, crashes at every byte and a disk that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use super::group::SEGMENT_STREAMS;
use super::segment::tests::event;
use super::select::{From, Page, Place, Query};
use super::store::{LogLimits, LogStore};
use super::world::Host;
use super::{LogError, LogEvent};

const DAY_MS: i64 = 86_400_000;
const MB: u64 = 1 << 20;
const R: &str = "us-east-1";

/// A clock that is set, and a disk that has room for so many bytes more.
#[derive(Debug)]
struct Held {
    now_ms: AtomicI64,
    room: AtomicUsize,
}

#[derive(Debug)]
struct HeldHost(Arc<Held>);

impl Host for HeldHost {
    fn now_ms(&self) -> i64 {
        self.0.now_ms.load(Relaxed)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        let room = self.0.room.load(Relaxed);
        file.write_all(&bytes[..bytes.len().min(room)])?;
        self.0.room.store(room.saturating_sub(bytes.len()), Relaxed);
        if bytes.len() > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// A store in a directory of its own, gone with it.
pub(super) struct Scratch {
    path: PathBuf,
    limits: LogLimits,
    held: Arc<Held>,
    pub(super) store: LogStore,
}

impl Scratch {
    pub(super) fn new(limits: LogLimits) -> Scratch {
        let path = std::env::temp_dir().join(format!("log-store-{}", crate::random::uuid()));
        let held =
            Held { now_ms: AtomicI64::new(100 * DAY_MS), room: AtomicUsize::new(usize::MAX) };
        let held = Arc::new(held);
        let store = LogStore::open_on(Box::new(HeldHost(held.clone())), &path, limits).unwrap();
        Scratch { path, limits, held, store }
    }

    fn of_mb(per_group: u64) -> Scratch {
        Scratch::new(LogLimits {
            max_bytes_per_group: per_group * MB,
            max_total_bytes: 1024 * MB,
            retention_days: None,
        })
    }

    /// The service ends and starts again.
    fn restart(&mut self) {
        let host = Box::new(HeldHost(self.held.clone()));
        self.store = LogStore::open_on(host, &self.path, self.limits).unwrap();
    }

    fn directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path.join("logs")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The segments of the only group.
    fn segments(&self) -> Vec<PathBuf> {
        let [group] = &self.directories()[..] else { panic!("one group") };
        let names = fs::read_dir(group).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<PathBuf> =
            names.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
        names.sort();
        names
    }

    fn add(&self, stream: &str, events: &[LogEvent]) {
        self.store.append(R, "g", stream, events).unwrap();
    }

    fn page(&self, from: From, range: (Place, Place), limit: usize) -> Page {
        let query = Query { from, range, limit, stream: &|_| true, event: &|_| true };
        self.store.select(R, "g", &query).unwrap()
    }

    fn texts(&self) -> Vec<String> {
        let all = self.page(From::Start, (Place::FIRST, Place::END), usize::MAX);
        all.events.into_iter().map(|found| found.message).collect()
    }

    fn stream_names(&self) -> Vec<String> {
        self.store.streams(R, "g").unwrap().into_keys().map(String::from).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[test]
fn events_of_all_streams_come_back_in_the_order_of_time() {
    let mut scratch = Scratch::of_mb(1);
    scratch.add("a", &[event(10, "a10"), event(30, "a30")]);
    scratch.add("b", &[event(20, "b20"), event(30, "b30")]);
    scratch.add("a", &[event(5, "a5")]);
    for _ in 0..2 {
        assert_eq!(scratch.texts(), ["a5", "a10", "b20", "a30", "b30"]);
        let streams = scratch.store.streams(R, "g").unwrap();
        assert_eq!(streams["a"].events_ms, Some((5, 30, 100 * DAY_MS)));
        scratch.restart();
    }
    let only = |name: &str| name == "b";
    let range = (Place::at(20), Place::at(30));
    let query = Query { from: From::Start, range, limit: 9, stream: &only, event: &|_| true };
    let page = scratch.store.select(R, "g", &query).unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!((&*page.events[0].stream, page.events[0].timestamp_ms), ("b", 20));
}

#[test]
fn regions_and_groups_are_apart() {
    let scratch = Scratch::of_mb(1);
    scratch.store.append("eu-west-1", "g", "s", &[event(1, "there")]).unwrap();
    scratch.add("s", &[event(1, "here")]);
    assert_eq!(scratch.texts(), ["here"]);
    assert_eq!(scratch.store.groups("eu-west-1", None, 9, |_| true).0.len(), 1);
    assert!(matches!(scratch.store.streams("eu-west-2", "g"), Err(LogError::NoGroup)));
}

#[test]
fn pages_from_either_end_meet_without_gap_or_doubling() {
    let scratch = Scratch::of_mb(1);
    // Two streams, times in a mess, many in one millisecond, over several segments.
    for batch in 0..300_i64 {
        let times = [batch * 7 % 50, batch % 3, 49 - batch % 50];
        let text = |n: usize| format!("{batch}/{n}/{}", "x".repeat(150));
        let events: Vec<LogEvent> =
            times.iter().enumerate().map(|(n, time)| event(*time, &text(n))).collect();
        scratch.add(["a", "b"][usize::try_from(batch % 2).unwrap()], &events);
    }
    assert!(scratch.segments().len() > 3);
    let all = scratch.page(From::Start, (Place::FIRST, Place::END), usize::MAX).events;
    assert_eq!(all.len(), 900);
    assert!(all.is_sorted_by_key(|found| found.place));
    let sorted = all.iter().map(|found| (found.timestamp_ms, &found.message));
    assert_eq!(sorted.collect::<BTreeSet<_>>().len(), 900);

    let mut range = (Place::FIRST, Place::END);
    let mut forward = Vec::new();
    loop {
        let page = scratch.page(From::Start, range, 7);
        forward.extend(page.events);
        range.0 = page.seen.1;
        if !page.more {
            break;
        }
    }
    assert_eq!(forward, all);
    let mut range = (Place::FIRST, Place::END);
    let mut backward: Vec<Vec<_>> = Vec::new();
    loop {
        let page = scratch.page(From::End, range, 11);
        backward.push(page.events);
        range.1 = page.seen.0;
        if !page.more {
            break;
        }
    }
    backward.reverse();
    assert_eq!(backward.concat(), all);
}

#[test]
fn a_page_ends_early_where_that_leaves_nothing_out() {
    let scratch = Scratch::of_mb(1);
    let text = "x".repeat(1000);
    for batch in 0..300_i64 {
        // Each segment is later than the one before, but for a straggler here and there.
        let time = if batch % 50 == 49 { batch - 40 } else { batch };
        scratch.add("s", &[event(time, &format!("{batch} {text}"))]);
    }
    assert!(scratch.segments().len() > 5);
    let everything = scratch.page(From::Start, (Place::FIRST, Place::END), usize::MAX).events;
    for from in [From::Start, From::End] {
        let mut range = (Place::FIRST, Place::END);
        let (mut pages, mut all) = (0, Vec::new());
        loop {
            let query = Query { from, range, limit: 10_000, stream: &|_| true, event: &|_| true };
            let page = scratch.store.view(R, "g").select_within(&query, 1).unwrap();
            all.extend(page.events);
            pages += 1;
            match from {
                From::Start => range.0 = page.seen.1,
                From::End => range.1 = page.seen.0,
            }
            if !page.more {
                break;
            }
        }
        all.sort_by_key(|found| found.place);
        assert_eq!(all, everything, "{from:?}");
        assert!(pages > 3, "{pages}");
    }
}

#[test]
fn a_page_has_one_megabyte_and_at_least_one_event() {
    let scratch = Scratch::of_mb(64);
    let large = "x".repeat(400 << 10);
    for time in 0..5 {
        scratch.add("s", &[event(time, &large)]);
    }
    scratch.add("s", &[event(9, &"y".repeat(2 << 20))]);
    let page = scratch.page(From::Start, (Place::FIRST, Place::END), 100);
    assert_eq!(page.events.len(), 2);
    assert!(page.more);
    let page = scratch.page(From::End, (Place::FIRST, Place::END), 100);
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].timestamp_ms, 9);
}

#[test]
fn the_oldest_segments_go_first_by_size() {
    let mut scratch = Scratch::of_mb(1);
    let text = "x".repeat(1000);
    for time in 0..3000 {
        scratch.add("s", &[event(time, &text)]);
        let bytes = scratch.store.stats().bytes;
        assert!(bytes <= MB + 1100, "{bytes}");
    }
    let page = scratch.page(From::Start, (Place::FIRST, Place::END), 1);
    let oldest = page.events[0].timestamp_ms;
    assert!((1900..2150).contains(&oldest), "{oldest}");
    let sizes = |scratch: &Scratch| -> u64 {
        scratch.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    assert_eq!(sizes(&scratch), scratch.store.stats().bytes);
    scratch.restart();
    assert_eq!(sizes(&scratch), scratch.store.stats().bytes);
    let page = scratch.page(From::Start, (Place::FIRST, Place::END), 1);
    assert_eq!(page.events[0].timestamp_ms, oldest);
}

#[test]
fn the_largest_group_pays_when_all_together_are_too_large() {
    let scratch = Scratch::new(LogLimits {
        max_bytes_per_group: 64 * MB,
        max_total_bytes: 5 * MB,
        retention_days: None,
    });
    scratch.store.append(R, "quiet", "s", &[event(1, "kept")]).unwrap();
    let large = "x".repeat(100 << 10);
    for time in 0..200 {
        scratch.store.append(R, "loud", "s", &[event(time, &large)]).unwrap();
        assert!(scratch.store.stats().bytes <= 5 * MB);
    }
    assert!(scratch.store.group_info(R, "loud").unwrap().bytes > 2 * MB);
    assert_eq!(scratch.store.streams(R, "quiet").unwrap().len(), 1);
}

#[test]
fn many_groups_of_one_segment_are_bounded_too() {
    let scratch = Scratch::new(LogLimits {
        max_bytes_per_group: 64 * MB,
        max_total_bytes: MB,
        retention_days: None,
    });
    let large = "x".repeat(100 << 10);
    for n in 0..30 {
        scratch.store.append(R, &format!("g{n}"), "s", &[event(n, &large)]).unwrap();
    }
    assert!(scratch.store.stats().bytes <= MB);
    assert_eq!(scratch.store.stats().groups, 30);
    // Whose only segment went can go on.
    scratch.store.append(R, "g0", "s", &[event(40, "again")]).unwrap();
    assert!(scratch.store.group_info(R, "g0").unwrap().bytes > 0);
}

#[test]
fn short_lived_streams_are_bounded() {
    let mut scratch = Scratch::of_mb(4);
    let count = 70 * SEGMENT_STREAMS;
    for n in 0..count {
        scratch.add(&format!("{n:06}"), &[event(i64::try_from(n).unwrap(), "x")]);
    }
    let names = scratch.stream_names();
    assert!(
        (60 * SEGMENT_STREAMS..=64 * SEGMENT_STREAMS).contains(&names.len()),
        "{}",
        names.len()
    );
    assert_eq!(*names.last().unwrap(), format!("{:06}", count - 1));
    assert!(scratch.segments().len() <= 64);
    scratch.restart();
    assert_eq!(scratch.stream_names(), names);
}

#[test]
fn events_older_than_the_retention_are_not_shown_and_then_not_there() {
    let mut scratch = Scratch::of_mb(1);
    let now_ms = |scratch: &Scratch| scratch.held.now_ms.load(Relaxed);
    let set_retention = |scratch: &Scratch, days: Option<u32>| {
        let change = |kept: &mut Option<u32>, _: &mut BTreeMap<String, String>| {
            *kept = days;
            Ok::<(), LogError>(())
        };
        scratch.store.change_group(R, "g", change).unwrap();
    };
    let first = now_ms(&scratch);
    scratch.add("old", &[event(first - 10 * DAY_MS, "ten days"), event(first, "today")]);
    assert_eq!(scratch.texts().len(), 2);
    set_retention(&scratch, Some(3));
    assert_eq!(scratch.texts(), ["today"]);
    scratch.restart();
    assert_eq!(scratch.store.group_info(R, "g").unwrap().retention_days, Some(3));
    assert_eq!(scratch.texts(), ["today"]);
    // An eighth of three days later the segment is closed, so that its age can tell.
    scratch.held.now_ms.store(first + DAY_MS, Relaxed);
    scratch.add("new", &[event(first + DAY_MS, "tomorrow")]);
    assert_eq!(scratch.segments().len(), 2);
    for (path, at) in scratch.segments().iter().zip([first, first + DAY_MS]) {
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap());
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    scratch.held.now_ms.store(first + 3 * DAY_MS + 1000, Relaxed);
    assert_eq!(scratch.texts(), ["tomorrow"]);
    assert_eq!(scratch.segments().len(), 1);
    assert_eq!(scratch.stream_names(), ["new"]);
    // Without a policy nothing is too old.
    set_retention(&scratch, None);
    scratch.held.now_ms.store(first + 1000 * DAY_MS, Relaxed);
    assert_eq!(scratch.texts(), ["tomorrow"]);
}

#[test]
fn a_kill_at_any_byte_costs_the_torn_batch_and_nothing_else() {
    let mut scratch = Scratch::of_mb(1);
    scratch.add("a", &[event(1, "one")]);
    scratch.add("b", &[event(2, "two"), event(3, "three")]);
    let [path] = &scratch.segments()[..] else { panic!() };
    let path = path.clone();
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        for zeros in [false, true] {
            let mut torn = whole[..cut].to_vec();
            if zeros {
                torn.resize(whole.len(), 0);
            }
            fs::write(&path, &torn).unwrap();
            scratch.restart();
            // Reading needs no repair, and writing goes on where it ended.
            let before = scratch.texts();
            let kept = ["one", "two", "three"];
            assert!(kept.starts_with(&before.iter().map(String::as_str).collect::<Vec<_>>()));
            scratch.add("c", &[event(4, "after")]);
            let after = scratch.texts();
            assert_eq!(after.len(), before.len() + 1, "{cut}");
            scratch.restart();
            assert_eq!(scratch.texts(), after);
        }
    }
}

#[test]
fn a_segment_that_was_sealed_last_is_not_written_to() {
    let mut scratch = Scratch::of_mb(1);
    for n in 0..SEGMENT_STREAMS {
        scratch.add(&format!("s{n}"), &[event(1, "x")]);
    }
    scratch.add("one more", &[event(2, "y")]);
    let [first, second] = &scratch.segments()[..] else { panic!() };
    let sealed = fs::read(first).unwrap();
    // As if the end had come between the two.
    fs::remove_file(second).unwrap();
    scratch.restart();
    scratch.add("z", &[event(3, "z")]);
    assert_eq!(fs::read(&scratch.segments()[0]).unwrap(), sealed);
    assert_eq!(scratch.stream_names().len(), SEGMENT_STREAMS + 1);
    // An index that is damaged is not needed.
    let mut damaged = sealed.clone();
    let at = damaged.len() - 30;
    damaged[at] ^= 0xff;
    fs::write(&scratch.segments()[0], damaged).unwrap();
    assert_eq!(scratch.stream_names().len(), SEGMENT_STREAMS + 1);
}

#[test]
fn a_full_disk_drops_whole_batches_and_is_over_when_there_is_room() {
    let mut scratch = Scratch::of_mb(1);
    scratch.add("s", &[event(1, "before")]);
    let len = fs::metadata(&scratch.segments()[0]).unwrap().len();
    for room in 0..60 {
        scratch.held.room.store(room, Relaxed);
        let batch = [event(2, "does not"), event(3, "fit")];
        let error = scratch.store.append(R, "g", "s", &batch).unwrap_err();
        assert!(matches!(error, LogError::Io { .. }), "{error}");
        assert_eq!(fs::metadata(&scratch.segments()[0]).unwrap().len(), len);
        assert_eq!(scratch.texts(), ["before"]);
    }
    assert_eq!(scratch.store.stats().dropped, 120);
    // Also where the file itself is new.
    assert!(scratch.store.append(R, "other", "s", &[event(1, "x")]).is_err());
    scratch.held.room.store(usize::MAX, Relaxed);
    scratch.add("s", &[event(4, "after")]);
    scratch.store.append(R, "other", "s", &[event(1, "x")]).unwrap();
    assert_eq!(scratch.texts(), ["before", "after"]);
    assert_eq!((scratch.store.stats().taken, scratch.store.stats().dropped), (124, 121));
    scratch.restart();
    assert_eq!(scratch.texts(), ["before", "after"]);
    assert_eq!(scratch.store.streams(R, "other").unwrap().len(), 1);
}

#[test]
fn hostile_names_stay_inside() {
    let mut scratch = Scratch::of_mb(1);
    let long = "/".repeat(512);
    let names = ["..", "../../x", "/", "/etc/passwd", ".", "a\0b", "removed-1", "g\n", &long];
    for name in names {
        scratch.store.append(R, name, "../../[$LATEST]\0", &[event(1, name)]).unwrap();
        scratch.store.append("../..", name, name, &[event(1, name)]).unwrap();
    }
    assert_eq!(scratch.directories().len(), 2 * names.len());
    let beside: Vec<_> = fs::read_dir(&scratch.path).unwrap().collect();
    assert_eq!(beside.len(), 1);
    scratch.restart();
    for name in names {
        let streams = scratch.store.streams(R, name).unwrap();
        assert!(streams.contains_key("../../[$LATEST]\0"), "{name:?}");
        scratch.store.delete_group(R, name).unwrap();
    }
    assert_eq!(scratch.directories().len(), names.len());
}

#[test]
fn deleted_streams_are_gone_also_from_older_segments_and_can_come_again() {
    let mut scratch = Scratch::of_mb(1);
    let text = "x".repeat(1000);
    for time in 0..100 {
        scratch.add("gone", &[event(time, &text)]);
        scratch.add("kept", &[event(time, "k")]);
    }
    assert!(scratch.segments().len() > 2);
    scratch.store.delete_stream(R, "g", "gone").unwrap();
    let missing = scratch.store.delete_stream(R, "g", "gone");
    assert!(matches!(missing, Err(LogError::NoStream)));
    assert!(matches!(scratch.store.put(R, "g", "gone", &[]), Err(LogError::NoStream)));
    for _ in 0..2 {
        assert_eq!(scratch.stream_names(), ["kept"]);
        assert_eq!(scratch.texts().len(), 100);
        scratch.restart();
    }
    scratch.store.create_stream(R, "g", "gone").unwrap();
    assert!(matches!(scratch.store.create_stream(R, "g", "gone"), Err(LogError::StreamExists)));
    assert_eq!(scratch.store.streams(R, "g").unwrap()["gone"].events_ms, None);
    scratch.store.put(R, "g", "gone", &[event(500, "again")]).unwrap();
    for _ in 0..2 {
        assert_eq!(scratch.texts().len(), 101);
        assert_eq!(scratch.texts().last().unwrap(), "again");
        scratch.restart();
    }
}

#[test]
fn groups_are_made_listed_and_deleted() {
    let mut scratch = Scratch::of_mb(1);
    let tags = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    scratch.store.create_group(R, "a", tags.clone()).unwrap();
    assert!(matches!(scratch.store.create_group(R, "a", tags.clone()), Err(LogError::GroupExists)));
    for name in ["b", "c", "d"] {
        scratch.store.append(R, name, "s", &[event(1, "x")]).unwrap();
    }
    scratch.restart();
    let names = |after, limit| {
        let (page, more) = scratch.store.groups(R, after, limit, |name| name != "b");
        (page.into_iter().map(|group| group.name).collect::<Vec<_>>(), more)
    };
    assert_eq!(names(None, 2), (vec!["a".to_owned(), "c".to_owned()], true));
    assert_eq!(names(Some("c"), 2), (vec!["d".to_owned()], false));
    let group = scratch.store.group_info(R, "a").unwrap();
    assert_eq!((group.created_ms, group.tags), (100 * DAY_MS, tags));

    scratch.store.delete_group(R, "c").unwrap();
    assert!(matches!(scratch.store.delete_group(R, "c"), Err(LogError::NoGroup)));
    scratch.store.append(R, "c", "new", &[event(1, "x")]).unwrap();
    assert_eq!(scratch.store.streams(R, "c").unwrap().len(), 1);
    assert_eq!(scratch.directories().len(), 4);
}

#[test]
fn what_is_damaged_or_foreign_keeps_nobody_from_starting() {
    let mut scratch = Scratch::of_mb(1);
    scratch.add("s", &[event(1, "x")]);
    let [group] = &scratch.directories()[..] else { panic!() };
    let group = group.clone();
    let logs = scratch.path.join("logs");
    fs::write(logs.join("README"), "not ours").unwrap();
    fs::create_dir(logs.join("made-but-empty")).unwrap();
    fs::create_dir_all(logs.join("removed-half/x")).unwrap();
    let copy = logs.join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(group.join("group.json"), copy.join("group.json")).unwrap();
    scratch.restart();
    assert_eq!(scratch.store.stats().groups, 1);
    assert_eq!(scratch.texts(), ["x"]);
    assert!(!logs.join("removed-half").exists() && !logs.join("made-but-empty").exists());

    // A record that is lost costs retention and tags; the events come back with the group.
    fs::write(group.join("group.json"), "{").unwrap();
    scratch.restart();
    assert_eq!(scratch.store.stats().groups, 0);
    scratch.add("s", &[event(2, "y")]);
    assert_eq!(scratch.texts(), ["x", "y"]);
}

#[test]
fn writers_readers_and_deletion_go_side_by_side() {
    let scratch = Scratch::of_mb(1);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let store = &scratch.store;
            scope.spawn(move || {
                for n in 0..300 {
                    let text = format!("{writer}-{n}-{}", "x".repeat(500));
                    store.append(R, "g", &format!("s{writer}"), &[event(n, &text)]).unwrap();
                }
            });
        }
        for _ in 0..100 {
            let query = Query {
                from: From::Start,
                range: (Place::FIRST, Place::END),
                limit: 10_000,
                stream: &|_| true,
                event: &|_| true,
            };
            match scratch.store.select(R, "g", &query) {
                Ok(page) => assert!(page.events.is_sorted_by_key(|found| found.place)),
                Err(error) => assert!(matches!(error, LogError::NoGroup), "{error}"),
            }
        }
        let _ = scratch.store.delete_group(R, "g");
    });
    assert_eq!(scratch.store.stats().dropped, 0);
    assert_eq!(scratch.store.group_info(R, "g").unwrap().bytes, scratch.store.stats().bytes);
}
