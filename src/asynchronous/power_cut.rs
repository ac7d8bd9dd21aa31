//! A disk that loses its power: what was not synced may be there, in part or not at all.
//!
//! It keeps what a file system would. Bytes are durable after their file's sync, names after the
//! directory's. After the cut nothing gets through any more. `images` gives the disks that may be
//! found afterwards. It can also be full, of bytes or of files.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::storage::{Blob, Storage};

type FileId = usize;

#[derive(Debug, Clone)]
enum Written {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Written {
    fn apply(&self, image: &mut Vec<u8>, share: usize) {
        match self {
            Written::Length(length) => image.resize(*length, 0),
            Written::Bytes(at, bytes) => {
                // A write may have reached the disk in part.
                let bytes = &bytes[..bytes.len() * share / 100];
                if image.len() < at + bytes.len() {
                    image.resize(at + bytes.len(), 0);
                }
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Content {
    fn taken(&self) -> usize {
        self.live.len().max(self.allocated)
    }
}

#[derive(Debug, Clone)]
enum Named {
    Put(String, FileId),
    Removed(String),
}

impl Named {
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Named::Put(name, id) => _ = names.insert(name.clone(), *id),
            Named::Removed(name) => _ = names.remove(name),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Written>,
    /// Space is taken up to here.
    allocated: usize,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    /// Each is a change that is there whole or not: a rename is one.
    pending_names: Vec<Vec<Named>>,
    operations: u32,
    cut_at: Option<u32>,
    max_bytes: Option<usize>,
    max_files: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct File(Disk, FileId);

impl State {
    /// Counts one change; an error once the power is gone.
    fn step(&mut self) -> io::Result<()> {
        if self.cut_at.is_some_and(|cut| self.operations >= cut) {
            return Err(io::Error::other("the power is gone"));
        }
        self.operations += 1;
        Ok(())
    }

    fn rename(&mut self, changes: Vec<Named>) {
        for change in &changes {
            change.apply(&mut self.names);
        }
        self.pending_names.push(changes);
    }

    fn used(&self) -> usize {
        self.names.values().map(|id| self.files[*id].taken()).sum()
    }
}

impl Disk {
    /// Cuts the power after so many further changes.
    pub(crate) fn cut_after(&self, operations: u32) {
        let mut state = self.0.lock().unwrap();
        state.cut_at = Some(state.operations + operations);
    }

    pub(crate) fn is_cut(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.cut_at.is_some_and(|cut| state.operations >= cut)
    }

    pub(crate) fn limit_bytes(&self, max: Option<usize>) {
        self.0.lock().unwrap().max_bytes = max;
    }

    pub(crate) fn limit_files(&self, max: Option<usize>) {
        self.0.lock().unwrap().max_files = max;
    }

    /// What is taken, by content or for it.
    pub(crate) fn used(&self) -> usize {
        self.0.lock().unwrap().used()
    }

    /// The length of all files.
    pub(crate) fn written(&self) -> usize {
        let state = self.0.lock().unwrap();
        state.names.values().map(|id| state.files[*id].live.len()).sum()
    }

    /// Another disk with the same on it.
    pub(crate) fn copy(&self) -> Disk {
        Disk(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    /// Flips a bit where the file is.
    pub(crate) fn damage(&self, name: &str, at: usize) {
        let mut state = self.0.lock().unwrap();
        let id = state.names[name];
        state.files[id].live[at] ^= 1;
        state.files[id].durable[at] ^= 1;
    }

    /// What may be found after the cut: each choice of unsynced content with each of unsynced names.
    pub(crate) fn images(&self) -> Vec<Disk> {
        // Which of the changes are there, and how much of a write.
        let contents: [fn(usize, usize) -> usize; 6] = [
            |_, _| 0,
            |_, _| 100,
            |index, _| if index % 2 == 0 { 100 } else { 0 },
            |index, _| if index % 2 == 1 { 100 } else { 0 },
            |index, count| if index + 1 == count { 50 } else { 100 },
            |_, _| 50,
        ];
        // A journal keeps the order of names.
        let names: [fn(usize, usize) -> bool; 3] =
            [|_, _| false, |_, _| true, |index, count| index < count / 2];
        let state = self.0.lock().unwrap();
        let mut images = Vec::new();
        for content in contents {
            for kept in names {
                let mut after = State::default();
                for file in &state.files {
                    let mut image = file.durable.clone();
                    for (index, change) in file.pending.iter().enumerate() {
                        match content(index, file.pending.len()) {
                            0 => {}
                            share => change.apply(&mut image, share),
                        }
                    }
                    let (live, durable) = (image.clone(), image);
                    after.files.push(Content { live, durable, ..Content::default() });
                }
                let mut found = state.durable_names.clone();
                for (index, changes) in state.pending_names.iter().enumerate() {
                    if kept(index, state.pending_names.len()) {
                        changes.iter().for_each(|change| change.apply(&mut found));
                    }
                }
                (after.names, after.durable_names) = (found.clone(), found);
                images.push(Disk(Arc::new(Mutex::new(after))));
            }
        }
        images
    }
}

impl Storage for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let state = self.0.lock().unwrap();
        let id = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(File(self.clone(), *id)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let mut state = self.0.lock().unwrap();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.max_files.is_some_and(|max| state.names.len() >= max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.step()?;
        state.files.push(Content::default());
        let id = state.files.len() - 1;
        state.rename(vec![Named::Put(name.to_owned(), id)]);
        Ok(Arc::new(File(self.clone(), id)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let id = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.step()?;
        state.rename(vec![Named::Removed(from.to_owned()), Named::Put(to.to_owned(), id)]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        state.rename(vec![Named::Removed(name.to_owned())]);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

impl File {
    fn change(&self, change: Written) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        state.step()?;
        if let Written::Bytes(at, bytes) = &change
            && let Some(max) = state.max_bytes
        {
            let grown = (at + bytes.len()).saturating_sub(state.files[self.1].taken());
            let free = max.saturating_sub(state.used());
            if grown > free {
                // As much as there is room for is written, as write(2) does it.
                let part = Written::Bytes(*at, bytes[..bytes.len() - (grown - free)].to_vec());
                let file = &mut state.files[self.1];
                part.apply(&mut file.live, 100);
                file.pending.push(part);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = &mut state.files[self.1];
        if let Written::Length(length) = &change {
            file.allocated = *length;
        }
        change.apply(&mut file.live, 100);
        file.pending.push(change);
        Ok(())
    }
}

impl Blob for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().files[self.1].live.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.0.0.lock().unwrap();
        let at = usize::try_from(at).unwrap();
        let found = state.files[self.1].live.get(at..at + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change(Written::Bytes(usize::try_from(at).unwrap(), bytes.to_vec()))
    }

    fn allocate(&self, end: u64) -> io::Result<()> {
        let end = usize::try_from(end).unwrap();
        let mut state = self.0.0.lock().unwrap();
        let grown = end.saturating_sub(state.files[self.1].taken());
        if state.max_bytes.is_some_and(|max| state.used() + grown > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.files[self.1];
        file.allocated = file.allocated.max(end);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Written::Length(usize::try_from(len).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        state.step()?;
        let file = &mut state.files[self.1];
        file.durable = file.live.clone();
        file.pending.clear();
        Ok(())
    }
}
