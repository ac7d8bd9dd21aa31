//! Reads entries back from the journal while its owner goes on writing, and moves them.

use std::io;
use std::sync::{Arc, Mutex};

use super::core::{Core, Index};
use super::journal::Segments;
use super::lock;
use super::stored::Stored;

/// An entry that moves again and again while it is being read does not exist.
const TRIES: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) core: Arc<Mutex<Core>>,
    pub(super) segments: Segments,
}

impl Source {
    /// An entry with its payload. `NotFound` when it is gone, `InvalidData` when the disk does not
    /// give back what was written.
    pub(super) fn read(&self, index: Index) -> io::Result<(Stored, Vec<u8>)> {
        let mut tries = TRIES;
        loop {
            let found = lock(&self.core).entry(index).map(|entry| (entry.id, entry.place));
            let (id, place) = found.ok_or(io::ErrorKind::NotFound)?;
            tries -= 1;
            match self.segments.read(&place) {
                Ok((head, body)) => {
                    let stored = Stored::of(&head).ok_or(io::ErrorKind::InvalidData)?;
                    if stored.id == id {
                        return Ok((stored, body));
                    }
                    // The place has been used again.
                    if tries == 0 {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
                // A file that ends too early is a damaged one.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
