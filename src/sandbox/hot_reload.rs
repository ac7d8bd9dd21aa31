//! Functions whose code is a directory of this host: it is mounted read-only, and when something in
//! it changes the function gets new sandboxes.
//!
//! A launcher's thread asks [`HotReload::source`] before it makes a container, so the tree is
//! watched before the container can have read any of it. The one thread here hears of changes and
//! tells dispatch, whose affair everything else is. Without an allowed directory there is no thread.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::trees::{Changed, LIMITS, Trees};
use crate::dispatch::Dispatcher;
use crate::package::{Directories, DirectoryError};

/// After an error of the kernel's, which should not be.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub struct HotReload {
    directories: Directories,
    dispatcher: Arc<Dispatcher>,
    trees: Option<Trees>,
}

impl HotReload {
    /// Starts the thread, which ends with the program, unless hot reload is off.
    pub fn start(
        directories: Directories,
        dispatcher: Arc<Dispatcher>,
    ) -> io::Result<Arc<HotReload>> {
        let off = directories.is_off();
        let trees = if off { None } else { Some(Trees::new(LIMITS)?) };
        let hot_reload = Arc::new(HotReload { directories, dispatcher, trees });
        if !off {
            let watching = hot_reload.clone();
            thread::Builder::new().name("hot-reload".into()).spawn(move || watching.run())?;
        }
        Ok(hot_reload)
    }

    /// The directory to mount for a sandbox of the function with this key, watched from here on.
    /// Blocks while the tree is looked through.
    pub(super) fn source(&self, directory: &str, key: &str) -> Result<String, DirectoryError> {
        let source = self.directories.resolve(directory)?;
        let in_use = |key: &str| self.dispatcher.has_sandboxes(key);
        let trees = self.trees.as_ref();
        if let Some(replaced) = trees.and_then(|trees| trees.watch(&source, key, in_use)) {
            self.reload(&replaced);
        }
        Ok(source)
    }

    fn run(&self) {
        let Some(trees) = &self.trees else { return };
        loop {
            match trees.wait().and_then(|()| trees.changed(Instant::now())) {
                Ok(changed) => changed.iter().for_each(|changed| self.reload(changed)),
                Err(error) => {
                    log::error!("hot reload cannot hear of changes: {error}");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn reload(&self, changed: &Changed) {
        for key in &changed.users {
            log::info!("{key}: {:?} has changed, its sandboxes are replaced", changed.root);
            self.dispatcher.reload(key);
        }
    }
}
