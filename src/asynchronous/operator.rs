//! What an operator can do: try again now, replay dead letters, purge.
//!
//! Nothing in delivery is touched. A letter is replayed as an event of the same id with all its
//! tries, and goes once that event is on the disk; so a crash in between leaves both.

use std::fmt;
use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use uuid::Uuid;

use super::committer::{Job, Settle};
use super::counters::Count;
use super::letters::Letter;
use super::view::DEAD;
use super::{Acceptance, NewEvent, Queue, Refused, lineage, lock};

/// Letters of one call: it has to be answered in time. Who wants more calls again.
const LETTERS_PER_CALL: usize = 1000;
/// Replayed letters whose payloads are in memory at one time.
const LETTERS_AT_ONCE: usize = 64;
/// How long the disk is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which entries and letters; an absent member takes all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `name` or `name:qualifier`.
    pub function: Option<String>,
    /// One of [`super::view::STATES`].
    pub state: Option<&'static str>,
    pub id: Option<Uuid>,
}

impl Filter {
    /// The state of that name.
    pub fn state_named(name: &str) -> Option<&'static str> {
        super::view::STATES.into_iter().find(|state| *state == name)
    }
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub events: usize,
    pub letters: usize,
    /// Those in delivery, and letters whose payload is lost.
    pub skipped: usize,
    /// There are more letters.
    pub more: bool,
}

/// Why something was not done.
#[derive(Debug)]
pub enum OperatorError {
    Letters(io::Error),
    /// Not all were replayed.
    Refused(Refused, Done),
    /// It is not on the disk yet.
    Unwritten,
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperatorError::Letters(error) => write!(f, "the dead letters: {error}"),
            OperatorError::Refused(why, done) => {
                let why = match why {
                    Refused::Full => "the queue is full",
                    Refused::Disk => "the disk does not take them",
                    Refused::TooLarge => "one is larger than an event may be",
                    Refused::Stopped => "the service is stopping",
                };
                write!(f, "{} dead letters were replayed, then: {why}", done.letters)
            }
            OperatorError::Unwritten => {
                write!(f, "the disk has not taken it yet; the queue goes on trying")
            }
        }
    }
}

impl std::error::Error for OperatorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OperatorError::Letters(error) => Some(error),
            _ => None,
        }
    }
}

/// Waits for replayed letters to be on the disk.
struct Replayed {
    letter: usize,
    told: Sender<(usize, Result<(), Refused>)>,
}

impl Acceptance for Replayed {
    fn settled(self: Box<Self>, result: Result<(), Refused>) {
        let _ = self.told.send((self.letter, result));
    }
}

impl Queue {
    /// Tries again now what waits, and replays dead letters.
    pub fn retry(&self, filter: &Filter) -> Result<Done, OperatorError> {
        let mut done = Done::default();
        let mut core = lock(&self.source.core);
        for index in self.matching(&core, filter) {
            if core.hurry(index) {
                done.events += 1;
            } else {
                done.skipped += 1;
            }
        }
        drop(core);
        self.waker.wake();
        let letters = self.letters_of(filter, &mut done)?;
        for some in letters.chunks(LETTERS_AT_ONCE) {
            done = self.replay(some, done)?;
        }
        Ok(done)
    }

    fn replay(&self, letters: &[Letter], mut done: Done) -> Result<Done, OperatorError> {
        let (told, heard) = crossbeam_channel::unbounded();
        let mut asked = 0;
        for (number, letter) in letters.iter().enumerate() {
            let opened = match self.letters.read(letter) {
                Ok(opened) => opened,
                // Somebody else has taken it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    log::warn!("dead letter {} cannot be replayed: {error}", letter.file);
                    done.skipped += 1;
                    continue;
                }
            };
            let Some(payload) = opened.payload else {
                done.skipped += 1;
                continue;
            };
            let event = NewEvent {
                id: letter.id,
                function: opened.function,
                // Whatever chain it was in, an operator begins a new one.
                trace_id: lineage::fresh(&opened.trace_id),
                payload: payload.into(),
                terms: None,
            };
            let reply = Replayed { letter: number, told: told.clone() };
            self.accept(event, Box::new(reply));
            asked += 1;
        }
        let mut refused = None;
        for _ in 0..asked {
            let (number, result) =
                heard.recv_timeout(PATIENCE).map_err(|_| OperatorError::Unwritten)?;
            match result {
                Ok(()) => {
                    self.letters.remove(&letters[number]).map_err(OperatorError::Letters)?;
                    done.letters += 1;
                }
                Err(why) => refused = Some(why),
            }
        }
        if done.letters > 0 {
            self.letters.sync().map_err(OperatorError::Letters)?;
        }
        match refused {
            Some(why) => Err(OperatorError::Refused(why, done)),
            None => Ok(done),
        }
    }

    /// Throws away what waits, and dead letters.
    pub fn purge(&self, filter: &Filter) -> Result<Done, OperatorError> {
        let mut done = Done::default();
        let mut ends: Vec<Uuid> = Vec::new();
        let mut core = lock(&self.source.core);
        for index in self.matching(&core, filter) {
            let delivering = core
                .entry(index)
                .is_some_and(|entry| matches!(entry.state, super::state::State::Delivering));
            let id = core.entry(index).map(|entry| entry.id);
            if let Some(id) = id.filter(|_| !delivering && core.conclude(index)) {
                ends.push(id);
            } else {
                done.skipped += 1;
            }
        }
        drop(core);
        done.events = ends.len();
        if !ends.is_empty() {
            self.counters.add(Count::Purged, ends.len() as u64);
            let (told, written): (Sender<()>, Receiver<()>) = crossbeam_channel::bounded(1);
            let settle = Settle { ends, told: Some(told), ..Settle::default() };
            let _ = self.jobs.send(Job::Settle(settle));
            written.recv_timeout(PATIENCE).map_err(|_| OperatorError::Unwritten)?;
        }
        let letters = self.letters_of(filter, &mut done)?;
        for letter in &letters {
            self.letters.remove(letter).map_err(OperatorError::Letters)?;
        }
        done.letters = letters.len();
        if done.letters > 0 {
            self.counters.add(Count::Purged, done.letters as u64);
            self.letters.sync().map_err(OperatorError::Letters)?;
        }
        Ok(done)
    }

    /// In the order in which they were accepted.
    fn matching(&self, core: &super::core::Core, filter: &Filter) -> Vec<super::core::Index> {
        if filter.state == Some(DEAD) {
            return Vec::new();
        }
        let entries = core.entries.iter().enumerate();
        let mut found: Vec<_> = entries
            .filter_map(|(index, entry)| {
                let entry = entry.as_ref().filter(|entry| filter.takes(core, entry))?;
                Some((entry.number, super::core::Index::try_from(index).ok()?))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, index)| index).collect()
    }

    fn letters_of(&self, filter: &Filter, done: &mut Done) -> Result<Vec<Letter>, OperatorError> {
        if !filter.takes_state(DEAD) {
            return Ok(Vec::new());
        }
        let mut letters = self.letters.list().map_err(OperatorError::Letters)?;
        letters.retain(|letter| filter.takes_letter(letter));
        done.more = letters.len() > LETTERS_PER_CALL;
        letters.truncate(LETTERS_PER_CALL);
        Ok(letters)
    }
}
