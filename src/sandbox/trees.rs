//! Directory trees, watched for their next change by inotify(7).
//!
//! A tree is watched from before a container sees it until its next change is over; whoever starts
//! the container after that has it watched anew. So nothing here follows directories as they come
//! and go: each coming and going is a change, and with the change the tree is let go.
//! It knows of functions only the keys that it is given, and decides nothing about them. What it
//! cannot see: changes that another machine makes on a network's or a virtual machine's file system.

use std::collections::VecDeque;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::{self, Errno};

/// How long a tree must be still until its change is over: a build writes many files.
const QUIET: Duration = Duration::from_millis(100);
/// A tree that never is still has changed after this time.
const LONGEST: Duration = Duration::from_secs(2);

/// What of a directory's events is a change. Reading is none.
const EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

/// Directories and files that tools write and no function reads.
const NOISE: [&[u8]; 7] =
    [b".git", b".hg", b".svn", b".idea", b".vscode", b"__pycache__", b"4913" /* vim's */];

/// How much is watched; the rest of a larger tree is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Directories of all trees together; the kernel keeps about 1 KiB for each.
    pub(super) directories: usize,
    /// Files and directories of one tree, which are looked through before its container starts.
    pub(super) entries: usize,
}

pub(super) const LIMITS: Limits = Limits { directories: 16_384, entries: 200_000 };

/// See the module's text.
#[derive(Debug)]
pub(super) struct Trees {
    inotify: OwnedFd,
    limits: Limits,
    trees: Mutex<Vec<Tree>>,
}

#[derive(Debug)]
struct Tree {
    root: String,
    /// None where the limits leave nothing for this tree, or the kernel does.
    root_watch: Option<i32>,
    /// Sorted. Trees that overlap share the kernel's watches.
    watches: Vec<i32>,
    users: Vec<String>,
    changes: Option<Changes>,
}

/// A tree that has changed, and the keys of those whose containers see it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) root: String,
    pub(super) users: Vec<String>,
}

/// The time in which a tree changes.
#[derive(Debug, Clone, Copy)]
struct Changes {
    first: Instant,
    last: Instant,
}

impl Changes {
    /// When they are over, if nothing more comes.
    fn end(self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

impl Trees {
    pub(super) fn new(limits: Limits) -> io::Result<Trees> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Trees { inotify, limits, trees: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tree>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the tree below `root` watched for `user` when this returns. Trees whose users are not
    /// `in_use` any more are let go. The result is a tree that is not what was watched under its
    /// name, because one of the directories above it has been replaced.
    pub(super) fn watch(
        &self,
        root: &str,
        user: &str,
        in_use: impl Fn(&str) -> bool,
    ) -> Option<Changed> {
        let mut trees = self.lock();
        let found = trees.iter().position(|tree| tree.root == root);
        let mut known = false; // whether what was under this name before was watched
        if let Some(tree) = found.and_then(|index| trees.get_mut(index)) {
            known = tree.root_watch.is_some();
            if known && inotify::add_watch(&self.inotify, root, EVENTS).ok() == tree.root_watch {
                if !tree.users.iter().any(|known| known == user) {
                    tree.users.push(user.to_owned());
                }
                return None;
            }
        }
        let replaced = found.map(|index| self.let_go(&mut trees, index));
        for index in (0..trees.len()).rev() {
            trees[index].users.retain(|user| in_use(user));
            if trees[index].users.is_empty() {
                self.let_go(&mut trees, index);
            }
        }
        let watched = trees.iter().map(|tree| tree.watches.len()).sum();
        let (watches, unseen) = self.add_all(root, self.limits.directories.saturating_sub(watched));
        if let Some(why) = unseen {
            log::warn!("hot reload does not see all changes below {root:?}: {why}");
        }
        let (root, users) = (root.to_owned(), vec![user.to_owned()]);
        let root_watch = watches.first().copied();
        let mut tree = Tree { root, root_watch, watches, users, changes: None };
        tree.watches.sort_unstable();
        trees.push(tree);
        replaced.filter(|_| known)
    }

    /// Watches directories from the root downwards, each before it is read, so that none that is
    /// made meanwhile is missed. Also why some are not watched.
    fn add_all(&self, root: &str, max: usize) -> (Vec<i32>, Option<String>) {
        let mut watches = Vec::new();
        let mut unseen = None;
        let mut entries = 0;
        let mut waiting = VecDeque::from([PathBuf::from(root)]);
        while let Some(directory) = waiting.pop_front() {
            if watches.len() >= max {
                return (watches, Some(format!("it watches {} directories at most", max)));
            }
            match inotify::add_watch(&self.inotify, &directory, EVENTS) {
                Ok(watch) => watches.push(watch),
                Err(Errno::NOENT) => continue, // a change of the directory that it was in
                Err(Errno::NOSPC) => {
                    let why = "the kernel watches no more (fs.inotify.max_user_watches)";
                    return (watches, Some(why.to_owned()));
                }
                Err(error) => unseen = Some(format!("{directory:?}: {error}")),
            }
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                entries += 1;
                if entries > self.limits.entries {
                    let most = self.limits.entries;
                    return (watches, Some(format!("it looks at {most} files at most")));
                }
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_directory && !is_noise(entry.file_name().as_bytes()) {
                    waiting.push_back(entry.path());
                }
            }
        }
        (watches, unseen)
    }

    fn let_go(&self, trees: &mut Vec<Tree>, index: usize) -> Changed {
        let Tree { root, watches, users, .. } = trees.swap_remove(index);
        for watch in watches {
            if !trees.iter().any(|other| other.watches.binary_search(&watch).is_ok()) {
                // The kernel has ended that of a directory that is gone by itself.
                let _ = inotify::remove_watch(&self.inotify, watch);
            }
        }
        Changed { root, users }
    }

    /// Waits until something happens or changes are over.
    pub(super) fn wait(&self) -> io::Result<()> {
        let end = self.lock().iter().filter_map(|tree| tree.changes).map(Changes::end).min();
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes in what has happened, and lets go of the trees whose changes are over by now.
    pub(super) fn changed(&self, now: Instant) -> io::Result<Vec<Changed>> {
        let mut trees = self.lock();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        // One buffer: more of it comes at the next turn, and others want the lock.
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map_or(&b""[..], |name| name.to_bytes());
                    note(&mut trees, event.wd(), event.events(), name, now);
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        let mut changed = Vec::new();
        for index in (0..trees.len()).rev() {
            if trees[index].changes.is_some_and(|changes| changes.end() <= now) {
                changed.push(self.let_go(&mut trees, index));
            }
        }
        Ok(changed)
    }
}

/// An event is a change of the trees that the directory is in.
fn note(trees: &mut [Tree], watch: i32, what: ReadFlags, name: &[u8], now: Instant) {
    // Events were lost: anything may have happened.
    let all = what.contains(ReadFlags::QUEUE_OVERFLOW);
    if what.contains(ReadFlags::IGNORED) || is_noise(name) {
        return; // the end of a watch, whose cause is told apart
    }
    for tree in trees.iter_mut().filter(|tree| all || tree.watches.binary_search(&watch).is_ok()) {
        tree.changes.get_or_insert(Changes { first: now, last: now }).last = now;
    }
}

/// Whether this is a name of something that no function reads: `NOISE`, and what editors write
/// beside the file that is being edited.
fn is_noise(name: &[u8]) -> bool {
    let hidden = name.starts_with(b".");
    NOISE.contains(&name)
        || name.ends_with(b"~")
        || name.starts_with(b".#")
        || hidden && [".swp", ".swo", ".swx"].iter().any(|end| name.ends_with(end.as_bytes()))
        || name.starts_with(b"#") && name.ends_with(b"#")
}

#[cfg(test)]
#[path = "trees_tests.rs"]
mod tests;
