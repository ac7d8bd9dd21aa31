//! The threads that carry records to where no function is: to the dead letters, to the webhook.
//!
//! A record stays in the queue until it is carried; what fails is tried again by the queue, not
//! here. Both ways take the same record twice without harm: a letter is the same file, and a
//! webhook sees the same id.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use super::Clock;
use super::core::Index;
use super::deliver::{Carried, Message};
use super::destination::Carrier;
use super::letters::Letters;
use super::source::Source;
use super::webhook::Webhook;

/// As many records are carried at one time.
pub(super) const CARRIERS: usize = 2;

/// A record that is to be carried.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) index: Index,
    pub(super) by: Carrier,
}

/// What the threads share.
pub(super) struct Outbox {
    pub(super) source: Source,
    pub(super) letters: Arc<Letters>,
    pub(super) webhook: Option<Webhook>,
    pub(super) clock: Clock,
    pub(super) carried: Sender<Message>,
}

impl Outbox {
    pub(super) fn start(self, loads: &Receiver<Load>) -> io::Result<Vec<JoinHandle<()>>> {
        let outbox = Arc::new(self);
        (0..CARRIERS)
            .map(|number| {
                let (outbox, loads) = (outbox.clone(), loads.clone());
                thread::Builder::new().name(format!("queue-out-{number}")).spawn(move || {
                    if number == 0
                        && let Err(error) = outbox.letters.count()
                    {
                        log::warn!("the dead letters could not be counted: {error}");
                    }
                    for load in loads {
                        let result = outbox.carry(&load);
                        // The queue ends before its threads do; then nobody waits.
                        let _ = outbox.carried.send(Message::Carried(load.index, result));
                    }
                })
            })
            .collect()
    }

    fn carry(&self, load: &Load) -> Carried {
        let (stored, record) = match self.source.read(load.index) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Carried::Lost(error.to_string());
            }
            Err(error) => return Carried::Failed(format!("the record cannot be read: {error}")),
        };
        let result = match (load.by, &self.webhook) {
            (Carrier::Webhook, Some(webhook)) => webhook.post(stored.id, &record, (self.clock)()),
            // A webhook that is not configured any more loses nothing.
            (Carrier::Letters, _) | (Carrier::Webhook, None) => self
                .letters
                .put(&stored, &record)
                .map_err(|error| format!("the dead letter cannot be written: {error}")),
        };
        result.map_or_else(Carried::Failed, |()| Carried::Done)
    }
}
