//! The queue as an operator sees it: figures, functions, entries. It changes nothing.

use std::collections::{BTreeMap, BinaryHeap};
use std::io;

use uuid::Uuid;

use super::core::{Core, Entry, Lane};
use super::letters::{Letter, Opened};
use super::operator::Filter;
use super::state::State;
use super::stored::{Address, Content, Stored};
use super::{Counters, Queue, lock};
use crate::asynchronous::Carrier;

/// Payloads of one page; more make it shorter.
const PAGE_BYTES: u64 = 8 << 20;

/// The state of a dead letter, beside those of entries.
pub(super) const DEAD: &str = "dead";
/// The state of a record that is to be carried.
pub(super) const ENDING: &str = "ending";
/// What a filter can ask for.
pub(super) const STATES: [&str; 5] = ["queued", "retrying", "delivering", ENDING, DEAD];

/// The queue in figures.
#[derive(Debug)]
pub struct QueueView {
    /// Entries by state, in the order of [`STATES`] but for dead letters.
    pub by_state: [(&'static str, usize); 4],
    pub bytes: u64,
    pub max_entries: usize,
    pub max_bytes: u64,
    /// What its files take.
    pub disk_bytes: u64,
    pub oldest_ms: Option<u64>,
    pub letters: usize,
    pub letters_bytes: u64,
    pub max_letters_bytes: u64,
}

/// What waits of a function, over all its versions and regions.
#[derive(Debug, Default)]
pub struct FunctionView {
    pub by_state: BTreeMap<&'static str, usize>,
    pub oldest_ms: Option<u64>,
    /// When the first of it is tried next that cannot be tried now.
    pub next_try_ms: Option<u64>,
    pub last_error: Option<String>,
}

/// One entry, or one dead letter.
#[derive(Debug)]
pub struct EntryView {
    pub id: Uuid,
    /// Where the next page goes on; of a letter its file's name.
    pub after: String,
    pub function: Address,
    pub state: &'static str,
    pub attempts: u8,
    /// Of a letter, when it ended.
    pub since_ms: u64,
    pub next_try_ms: Option<u64>,
    pub last_error: Option<String>,
    pub bytes: u64,
    /// Where its record goes, or was to go.
    pub destination: Option<String>,
    pub payload: Option<Vec<u8>>,
    /// Of a letter and of what is to be carried, as JSON.
    pub record: Option<String>,
}

/// The state as a filter names it: what is left of an event is its record.
fn state_of(entry: &Entry, lane: &Lane) -> &'static str {
    match lane.key.content {
        Content::Event => entry.state.name(),
        Content::Record(_) => ENDING,
    }
}

fn next_try(entry: &Entry, lane: &Lane, now_ms: u64) -> Option<u64> {
    match entry.state {
        State::Waiting { until_ms } => Some(until_ms),
        State::Ready => Some(lane.not_before_ms).filter(|at| *at > now_ms),
        _ => None,
    }
}

impl Filter {
    pub(super) fn takes(&self, core: &Core, entry: &Entry) -> bool {
        core.lane_of(entry).is_some_and(|lane| {
            self.takes_state(state_of(entry, lane))
                && self.takes_id(entry.id)
                && self.function.as_deref().is_none_or(|wanted| names(&lane.key.function, wanted))
        })
    }

    pub(super) fn takes_state(&self, state: &str) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
    }

    fn takes_id(&self, id: Uuid) -> bool {
        self.id.is_none_or(|wanted| wanted == id)
    }

    /// A letter's name knows its function without a qualifier.
    pub(super) fn takes_letter(&self, letter: &Letter) -> bool {
        let bare = self.function.as_deref().map(|wanted| wanted.split(':').next().unwrap_or(""));
        self.takes_id(letter.id) && bare.is_none_or(|wanted| wanted == letter.function)
    }
}

/// Whether this is `name`, or `name:qualifier`.
fn names(function: &Address, wanted: &str) -> bool {
    match wanted.split_once(':') {
        Some((name, qualifier)) => {
            function.name == name && function.qualifier.as_deref() == Some(qualifier)
        }
        None => function.name == wanted,
    }
}

impl Queue {
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn view(&self) -> QueueView {
        let (letters, letters_bytes) = self.letters.held();
        let mut by_state = STATES.map(|state| (state, 0));
        let core = lock(&self.source.core);
        let mut oldest_ms = None;
        for entry in core.entries.iter().flatten() {
            let Some(lane) = core.lane_of(entry) else { continue };
            let state = state_of(entry, lane);
            if let Some((_, count)) = by_state.iter_mut().find(|(name, _)| *name == state) {
                *count += 1;
            }
            oldest_ms = oldest(oldest_ms, entry.accepted_ms);
        }
        let bytes = core.used().bytes;
        drop(core);
        let [queued, retrying, delivering, ending, _] = by_state;
        QueueView {
            by_state: [queued, retrying, delivering, ending],
            bytes,
            max_entries: self.limits.max_entries,
            max_bytes: self.limits.max_bytes,
            disk_bytes: self.source.segments.bytes(),
            oldest_ms,
            letters,
            letters_bytes,
            max_letters_bytes: self.settings.max_dead_letters_bytes,
        }
    }

    /// Functions by name, with what waits of them and their dead letters.
    pub fn functions(&self) -> io::Result<BTreeMap<String, FunctionView>> {
        let now_ms = (self.clock)();
        let mut found: BTreeMap<String, FunctionView> = BTreeMap::new();
        let core = lock(&self.source.core);
        for entry in core.entries.iter().flatten() {
            let Some(lane) = core.lane_of(entry) else { continue };
            let name = &lane.key.function.name;
            // A name is copied for its first entry only.
            if !found.contains_key(name) {
                found.insert(name.clone(), FunctionView::default());
            }
            let Some(view) = found.get_mut(name) else { continue };
            *view.by_state.entry(state_of(entry, lane)).or_default() += 1;
            view.oldest_ms = oldest(view.oldest_ms, entry.accepted_ms);
            if let Some(at) = next_try(entry, lane, now_ms) {
                view.next_try_ms = oldest(view.next_try_ms, at);
            }
            if view.last_error.is_none() {
                view.last_error.clone_from(&lane.last_error);
            }
        }
        drop(core);
        for (name, letters) in self.letters.by_function()? {
            found.entry(name).or_default().by_state.insert(DEAD, letters);
        }
        Ok(found)
    }

    /// At most `max` entries and letters, entries first, those after the one with that `after`. With
    /// `whole` also their payloads are read, and large ones make the page shorter. An empty page is
    /// the end.
    pub fn entries(
        &self,
        filter: &Filter,
        after: Option<&str>,
        max: usize,
        whole: bool,
    ) -> io::Result<Vec<EntryView>> {
        let mut found = Vec::new();
        let after_letter = after.filter(|after| Letter::of(after).is_some());
        if after_letter.is_none() {
            let after = after.and_then(|after| after.parse().ok()).unwrap_or(0);
            found = self.waiting(filter, after, max, whole);
        }
        let mut bytes: u64 = found.iter().map(|view| view.bytes).sum();
        if found.len() < max && filter.takes_state(DEAD) && !(whole && bytes > PAGE_BYTES) {
            let letters = self.letters.list()?;
            let rest = letters.iter().filter(|letter| {
                filter.takes_letter(letter)
                    && after_letter.is_none_or(|after| letter.file.as_str() > after)
            });
            for letter in rest.take(max - found.len()) {
                // One that is taken away meanwhile, or is none, is left out.
                match self.letters.read(letter) {
                    Ok(opened) => found.push(of_letter(letter, opened, whole)),
                    Err(error) => log::debug!("dead letter {}: {error}", letter.file),
                }
                bytes += found.last().map_or(0, |view| view.bytes);
                if whole && bytes > PAGE_BYTES {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn waiting(&self, filter: &Filter, after: u64, max: usize, whole: bool) -> Vec<EntryView> {
        let now_ms = (self.clock)();
        let core = lock(&self.source.core);
        // The smallest numbers after that one, without sorting everything for each page.
        let mut chosen = BinaryHeap::new();
        for (index, entry) in core.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.number > after) else { continue };
            if filter.takes(&core, entry) {
                chosen.push((entry.number, index));
                if chosen.len() > max {
                    chosen.pop();
                }
            }
        }
        let views = chosen.into_sorted_vec().into_iter().filter_map(|(number, index)| {
            let entry = core.entries.get(index)?.as_ref()?;
            let lane = core.lane_of(entry)?;
            let index = super::core::Index::try_from(index).ok()?;
            Some((index, of_entry(entry, lane, number, now_ms)))
        });
        let views: Vec<_> = views.collect();
        drop(core);
        let mut left = PAGE_BYTES;
        views
            .into_iter()
            .take_while(|(_, view)| {
                let fits = !whole || left > 0;
                left = left.saturating_sub(view.bytes);
                fits
            })
            .filter_map(|(index, mut view)| {
                if whole {
                    match self.source.read(index) {
                        Ok((stored, _)) if stored.id != view.id => return None,
                        Ok((stored, body)) => fill(&mut view, &stored, body),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                        Err(error) => view.last_error = Some(format!("it cannot be read: {error}")),
                    }
                }
                Some(view)
            })
            .collect()
    }
}

fn fill(view: &mut EntryView, stored: &Stored, body: Vec<u8>) {
    match stored.content {
        Content::Event => view.payload = Some(body),
        Content::Record(_) => {
            view.record = String::from_utf8(body).ok();
            if !stored.note.is_empty() {
                view.destination = Some(stored.note.clone());
            }
        }
    }
}

fn of_entry(entry: &Entry, lane: &Lane, number: u64, now_ms: u64) -> EntryView {
    EntryView {
        id: entry.id,
        after: number.to_string(),
        function: lane.key.function.clone(),
        state: state_of(entry, lane),
        attempts: entry.attempts,
        since_ms: entry.accepted_ms,
        next_try_ms: next_try(entry, lane, now_ms),
        last_error: lane.last_error.clone(),
        bytes: entry.place.bytes(),
        destination: match lane.key.content {
            Content::Event => None,
            Content::Record(Carrier::Letters) => Some(super::LETTERS_ARN.to_owned()),
            Content::Record(Carrier::Webhook) => Some(super::WEBHOOK_ARN.to_owned()),
        },
        payload: None,
        record: None,
    }
}

fn of_letter(letter: &Letter, opened: Opened, whole: bool) -> EntryView {
    let Opened { function, destination, payload, record, .. } = opened;
    let context = serde_json::from_str::<serde_json::Value>(record.get()).ok();
    let context = context.as_ref().and_then(|record| record.get("requestContext"));
    let member = |name: &str| context.and_then(|context| context.get(name)).cloned();
    let attempts = member("approximateInvokeCount").and_then(|count| count.as_u64());
    let condition = member("condition").and_then(|one| one.as_str().map(str::to_owned));
    EntryView {
        id: letter.id,
        after: letter.file.clone(),
        function,
        state: DEAD,
        attempts: attempts.and_then(|count| u8::try_from(count).ok()).unwrap_or(u8::MAX),
        since_ms: letter.ended_ms,
        next_try_ms: None,
        last_error: condition,
        bytes: record.get().len() as u64,
        destination,
        payload: payload.filter(|_| whole),
        record: Some(record.get().to_owned()).filter(|_| whole),
    }
}

fn oldest(one: Option<u64>, other: u64) -> Option<u64> {
    Some(one.map_or(other, |one| one.min(other)))
}
