//! Watches the host's memory: while it is short, idle sandboxes go, the longest idle first.
//!
//! The limits of dispatch count what functions may use, this looks at what is really left: other
//! programs live on the host too.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::dispatch::Dispatcher;
use crate::observe::host::Memory;

/// How often the host is looked at; and one sandbox goes each time, for its memory comes free only
/// when the Engine has removed it.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the thread, which ends with the program.
pub fn start(dispatcher: Arc<Dispatcher>, min_available_mb: u64) -> std::io::Result<()> {
    if min_available_mb == 0 {
        return Ok(());
    }
    let thread = thread::Builder::new().name("pressure".into());
    thread.spawn(move || {
        let mut short = false;
        loop {
            match Memory::read() {
                Ok(memory) => short = look(&dispatcher, memory, min_available_mb, short),
                Err(error) => {
                    log::warn!("the host's memory is not watched: {error}");
                    return;
                }
            }
            thread::sleep(LOOK);
        }
    })?;
    Ok(())
}

/// Whether the host is short of memory; said once.
fn look(dispatcher: &Dispatcher, memory: Memory, min_available_mb: u64, was_short: bool) -> bool {
    let short = memory.available_mb < min_available_mb;
    if short {
        let relieved = dispatcher.relieve();
        if !was_short || relieved {
            let what = if relieved { "an idle sandbox goes" } else { "no sandbox is idle" };
            log::warn!("the host has {} MB of memory left: {what}", memory.available_mb);
        }
    }
    short
}
