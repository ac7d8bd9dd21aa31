//! The files of the audit log: their names, and where the chain ends when the service starts.
//!
//! A file is one day's, in UTC. Only the end of the last one can be torn, by a crash in the middle of a
//! write, for a file is sealed and synced before the next one is made. What stands behind the last line
//! that can be read is cut off, and told in the log. Nothing else is ever removed: where a power cut has
//! left a hole before that line, `verify` finds it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::chain::{Hash, Head, LINE_BYTES_MAX, Line, PREFIX, SUFFIX};
use crate::asynchronous::storage::{Blob, Storage};
use crate::observe::time;

/// Why the audit log cannot be gone on with.
#[derive(Debug)]
pub enum AuditError {
    Io(io::Error),
    /// Another service has the directory.
    Locked,
    /// This file does not end with a line of the log.
    Damaged(String),
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuditError::Io(source) => write!(f, "cannot be written: {source}"),
            AuditError::Locked => f.write_str("is in use by another service"),
            AuditError::Damaged(name) => write!(
                f,
                "cannot be gone on with: the last lines of {name} are none of an audit log; see \
                 what has happened with `audit verify`, then move the files away to begin anew"
            ),
        }
    }
}

impl std::error::Error for AuditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AuditError::Io(source) => Some(source),
            AuditError::Locked | AuditError::Damaged(_) => None,
        }
    }
}

impl From<io::Error> for AuditError {
    fn from(error: io::Error) -> AuditError {
        AuditError::Io(error)
    }
}

/// Days since 1970-01-01, in UTC.
pub(super) type Day = i64;

pub(super) fn day_of(at: SystemTime) -> Day {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Day::try_from(seconds / 86_400).unwrap_or(Day::MAX)
}

pub(super) fn name_of(day: Day) -> String {
    let (year, month, day) = time::date(day.into());
    format!("{PREFIX}{year:04}-{month:02}-{day:02}{SUFFIX}")
}

/// The day of a file of the audit log; none for another file.
pub fn named(name: &str) -> Option<i64> {
    let date = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let number = |from, to| date.get(from..to)?.parse().ok();
    let day = time::days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    (name_of(day) == name).then_some(day)
}

/// A file that lines are added to.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) name: String,
    pub(super) day: Day,
    pub(super) blob: Arc<dyn Blob>,
    /// Up to the end of its last line.
    pub(super) len: u64,
    pub(super) lines: u64,
    pub(super) sealed: bool,
}

/// Where the chain ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) head: Head,
    /// The newest file; without lines where a crash was between its making and its first line.
    pub(super) file: Option<Open>,
    /// The one before the newest, if that has no line.
    pub(super) after: Option<String>,
    /// The run before has not stopped by itself.
    pub(super) unclean: bool,
    /// What was torn: how many bytes, and their hash.
    pub(super) cut: Option<(u64, Hash)>,
}

/// Finds the end, and cuts off what is torn.
pub(super) fn end(storage: &dyn Storage) -> Result<End, AuditError> {
    let mut names: Vec<String> = storage.names()?;
    names.retain(|name| named(name).is_some());
    names.sort_unstable();
    let Some(name) = names.pop() else {
        return Ok(End { head: Head::NONE, file: None, after: None, unclean: false, cut: None });
    };
    let (mut open, head, mut event, cut) = read(storage, name)?;
    let mut end = End { head: Head::NONE, file: None, after: None, unclean: cut.is_some(), cut };
    match head {
        Some(head) => end.head = head,
        None => {
            if let Some(before) = names.pop() {
                let (open, head, its_event, cut) = read(storage, before)?;
                // A file is made after the one before was sealed.
                if cut.is_some() || !open.sealed {
                    return Err(AuditError::Damaged(open.name));
                }
                (end.head, event) = (head.unwrap_or(Head::NONE), its_event);
                end.after = Some(open.name);
            }
        }
    }
    end.unclean |= !matches!(event.as_str(), "" | "stop" | "seal");
    open.sealed = head.is_some() && event == "seal";
    end.file = Some(open);
    Ok(end)
}

type Read = (Open, Option<Head>, String, Option<(u64, Hash)>);

/// Reads the first and the last line of a file.
fn read(storage: &dyn Storage, name: String) -> Result<Read, AuditError> {
    let blob = storage.open(&name)?;
    let len = blob.len()?;
    let piece = |from: u64, to: u64| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX)];
        blob.read_at(&mut bytes, from)?;
        Ok(bytes)
    };
    let most = LINE_BYTES_MAX as u64;
    // The torn end, and the whole of the line before.
    let from = len.saturating_sub(2 * most);
    let tail = piece(from, len)?;
    let damaged = || AuditError::Damaged(name.clone());
    let (last, whole) = match last_line(&tail) {
        Some((line, end)) => (Some(line), end),
        // Not even the first line is there, or this is no audit log.
        None if from == 0 && !tail.contains(&b'\n') => (None, 0),
        None => return Err(damaged()),
    };
    let cut = &tail[whole..];
    let cut = (!cut.is_empty()).then(|| (cut.len() as u64, Hash::of(cut)));
    let end = from + whole as u64;
    if cut.is_some() {
        blob.set_len(end)?;
        blob.sync()?;
    }
    let day = named(&name).ok_or_else(damaged)?;
    let mut open =
        Open { name: name.clone(), day, blob: blob.clone(), len: end, lines: 0, sealed: false };
    let Some(last) = last else { return Ok((open, None, String::new(), cut)) };
    let front = piece(0, end.min(most))?;
    let first = front.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = Line::read(first).filter(|first| first.n <= last.n).ok_or_else(damaged)?;
    open.lines = last.n - first.n + 1;
    open.sealed = last.event == "seal";
    Ok((open, Some(last.head()), last.event.to_owned(), cut))
}

/// The last line that can be read, and where its end is.
fn last_line(tail: &[u8]) -> Option<(Line<'_>, usize)> {
    let mut end = tail.len();
    loop {
        end = tail[..end].iter().rposition(|byte| *byte == b'\n')?;
        let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Some(line) = Line::read(&tail[begin..end]) {
            return Some((line, end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_file_is_named_by_its_day_and_no_other_is_ours() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_424_571);
        assert_eq!(name_of(day_of(at)), "audit-2026-11-23.jsonl");
        assert_eq!(named("audit-2026-11-23.jsonl"), Some(day_of(at)));
        let others = [
            "audit-2026-11-31.jsonl",
            "audit-2026-1-23.jsonl",
            "audit-2026-11-23.jsonl.gz",
            "audit-+026-11-23.jsonl",
            "audit-.jsonl",
            "x",
        ];
        for other in others {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
