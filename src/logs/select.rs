//! Which events a question means: a page of them in the order of time, from either end.
//!
//! Events are ordered by their time, and within one millisecond as they came; [`Place`] is that
//! order as a number. Streams and writers need not be in order, so a page is found by looking at
//! every segment that can have a part in it and keeping the nearest ones, in bounded memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::LogError;
use super::segment::{Block, Blocks};
use super::view::{Loaded, View};

/// What a page counts for an event beside its text, as PutLogEvents does.
pub const EVENT_OVERHEAD_BYTES: usize = 26;
/// The events of one page.
pub const PAGE_BYTES: usize = 1 << 20;
/// When so much was read, or it took so long, a page ends where the order of time allows it,
/// whatever was found.
const READ_BYTES: u64 = 64 << 20;
const READ_TIME: Duration = Duration::from_secs(3);

/// A place in the order of all events of a group: the time, then the segment, then the place in it.
/// As a boundary it is before the event that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u128);

impl Place {
    pub const FIRST: Place = Place(0);
    pub const END: Place = Place(u128::MAX);

    /// Before all events of this time.
    pub fn at(time_ms: i64) -> Place {
        Place(u128::from(u64::try_from(time_ms).unwrap_or(0)) << 64)
    }

    fn of(time_ms: i64, segment: u32, offset: u32) -> Place {
        Place(Place::at(time_ms).0 | u128::from(segment) << 32 | u128::from(offset))
    }

    /// After the event that is here.
    pub fn after(self) -> Place {
        Place(self.0.saturating_add(1))
    }
}

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub place: Place,
    pub stream: Box<str>,
    pub timestamp_ms: i64,
    pub ingested_ms: i64,
    pub message: String,
}

/// Which end of the range a page is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    End,
}

/// A question.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    pub from: From,
    /// From the first of these up to, and without, the second.
    pub range: (Place, Place),
    pub limit: usize,
    pub stream: &'a dyn Fn(&str) -> bool,
    pub event: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("from", &self.from).finish_non_exhaustive()
    }
}

/// A page: events in the order of time, and what of the range was looked at for them.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<Found>,
    /// Everything in the question's range that is in this range, too, is in `events`.
    pub seen: (Place, Place),
    /// Whether more may come beyond `seen`.
    pub more: bool,
}

/// The nearest events so far.
struct Nearest<'a> {
    query: &'a Query<'a>,
    found: BTreeMap<Place, Found>,
    bytes: usize,
    /// What is still of interest: it shrinks as the page fills.
    range: (Place, Place),
}

impl Nearest<'_> {
    fn wants(&self, place: Place) -> bool {
        self.range.0 <= place && place < self.range.1
    }

    fn wants_some(&self, first_ms: i64, last_ms: i64) -> bool {
        Place::at(first_ms) < self.range.1 && self.range.0 < Place::at(last_ms.saturating_add(1))
    }

    fn take(&mut self, event: Found) {
        self.bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
        self.found.insert(event.place, event);
        while self.found.len() > self.query.limit || self.bytes > PAGE_BYTES && self.found.len() > 1
        {
            let farthest = match self.query.from {
                From::Start => self.found.pop_last(),
                From::End => self.found.pop_first(),
            };
            let Some((place, event)) = farthest else { return };
            self.bytes -= event.message.len() + EVENT_OVERHEAD_BYTES;
            match self.query.from {
                From::Start => self.range.1 = place,
                From::End => self.range.0 = place.after(),
            }
        }
    }

    fn look(&mut self, loaded: &Loaded, wanted: &[bool], bytes: &[u8]) {
        let Some((blocks, _)) = Blocks::of(bytes) else { return };
        for block in blocks {
            let Block::Events(events) = block else { continue };
            let index = usize::try_from(events.stream).unwrap_or(usize::MAX);
            if wanted.get(index) != Some(&true) || !self.wants_some(events.first_ms, events.last_ms)
            {
                continue;
            }
            for (offset, timestamp_ms, message) in events {
                let place = Place::of(timestamp_ms, loaded.number, offset);
                if !self.wants(place) {
                    continue;
                }
                let Ok(message) = std::str::from_utf8(message) else { continue };
                if (self.query.event)(message) {
                    self.take(Found {
                        place,
                        stream: loaded.table.streams[index].name.clone(),
                        timestamp_ms,
                        ingested_ms: events.ingested_ms,
                        message: message.to_owned(),
                    });
                }
            }
        }
    }
}

/// A segment that may have a part in the page.
struct Candidate<'a> {
    loaded: &'a Loaded,
    wanted: Vec<bool>,
    first_ms: i64,
    last_ms: i64,
}

fn candidate<'a>(loaded: &'a Loaded, query: &Query<'_>) -> Option<Candidate<'a>> {
    let (mut first_ms, mut last_ms) = (i64::MAX, i64::MIN);
    let streams = loaded.table.streams.iter().zip(&loaded.live);
    let wanted = streams
        .map(|(stream, live)| {
            let wanted = *live && stream.has_events() && (query.stream)(&stream.name);
            if wanted {
                first_ms = first_ms.min(stream.first_ms);
                last_ms = last_ms.max(stream.last_ms);
            }
            wanted
        })
        .collect();
    (first_ms <= last_ms).then_some(Candidate { loaded, wanted, first_ms, last_ms })
}

impl View {
    /// The page of events that are nearest to the asked end of the range.
    pub(super) fn select(&self, query: &Query<'_>) -> Result<Page, LogError> {
        self.select_within(query, READ_BYTES)
    }

    /// With another bound, for tests.
    pub(super) fn select_within(
        &self,
        query: &Query<'_>,
        read_bytes: u64,
    ) -> Result<Page, LogError> {
        let segments = self.load()?;
        let mut candidates: Vec<Candidate<'_>> =
            segments.iter().filter_map(|loaded| candidate(loaded, query)).collect();
        match query.from {
            From::Start => candidates.sort_by_key(|candidate| candidate.first_ms),
            From::End => candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.last_ms)),
        }
        let mut nearest = Nearest { query, found: BTreeMap::new(), bytes: 0, range: query.range };
        let mut read = 0;
        let begun = Instant::now();
        for candidate in candidates {
            if !nearest.wants_some(candidate.first_ms, candidate.last_ms) {
                continue;
            }
            let is_enough = read >= read_bytes || begun.elapsed() >= READ_TIME;
            if is_enough && nearest.end_before(&candidate) {
                break;
            }
            if let Some(bytes) = self.read(candidate.loaded)? {
                read += bytes.len() as u64;
                nearest.look(candidate.loaded, &candidate.wanted, &bytes);
            }
        }
        let Nearest { range, mut found, .. } = nearest;
        found.retain(|place, _| range.0 <= *place && *place < range.1);
        let more = range != query.range;
        Ok(Page { events: found.into_values().collect(), seen: range, more })
    }
}

impl Nearest<'_> {
    /// Ends the page before what this and the further segments have, if it gets on by that.
    fn end_before(&mut self, candidate: &Candidate<'_>) -> bool {
        let (first, last) = self.range;
        match self.query.from {
            From::Start => {
                let end = Place::at(candidate.first_ms);
                let gets_on = first < end;
                if gets_on {
                    self.range.1 = end.min(last);
                }
                gets_on
            }
            From::End => {
                let start = Place::at(candidate.last_ms.saturating_add(1));
                let gets_on = start < last;
                if gets_on {
                    self.range.0 = start.max(first);
                }
                gets_on
            }
        }
    }
}
