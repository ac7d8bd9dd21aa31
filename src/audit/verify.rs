//! Whether a chain is whole: fed line by line, it tells what is wrong, and goes on behind that.
//!
//! Pure, and of bounded memory: it keeps the end of what it has seen. What it cannot know: whether
//! lines are missing at the very end of the last file, for which [`Verifier::expect`] takes a head that
//! was kept elsewhere; and, without a key, whether all of it was made anew by someone who could.

use std::collections::BTreeSet;

use super::chain::{Binding, Hash, Head, Line};
use super::files::named;

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its day is over.
    Sealed,
    /// The service has stopped.
    Closed,
    /// The service runs, or has ended otherwise.
    Open,
}

/// Something that is wrong, with its line; 0 for the file as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub line: u64,
    pub what: String,
}

/// See the module's text.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<Binding>,
    expected: BTreeSet<[u8; 32]>,
    /// The last line; none before the first, and after one that could not be read.
    head: Option<Head>,
    /// The last file with its first line.
    last_file: Option<String>,
    file: File,
    keyed: bool,
    pub lines: u64,
    pub unkeyed: u64,
    pub recovered: u64,
    /// The first file follows this one, which was not shown.
    pub follows: Option<(String, Hash)>,
}

#[derive(Debug)]
struct File {
    name: String,
    lines: u64,
    ending: Ending,
    binding: Option<Binding>,
}

impl Verifier {
    /// With the keys that lines may be hashed with.
    pub fn new(keys: Vec<Binding>) -> Verifier {
        let file = File { name: String::new(), lines: 0, ending: Ending::Open, binding: None };
        Verifier {
            keys,
            expected: BTreeSet::new(),
            head: None,
            last_file: None,
            file,
            keyed: false,
            lines: 0,
            unkeyed: 0,
            recovered: 0,
            follows: None,
        }
    }

    /// A head that was kept elsewhere: the chain must have it.
    pub fn expect(&mut self, hash: Hash) {
        self.expected.insert(hash.0);
    }

    /// Goes on with the next file. `name` has no directory.
    pub fn begin(&mut self, name: &str) -> Option<Wrong> {
        let first = self.file.name.is_empty();
        let wrong = (!first && self.file.ending != Ending::Sealed).then(|| {
            let what = format!("{} has no seal: its end is missing", self.file.name);
            Wrong { line: 0, what }
        });
        let binding = self.file.binding.take();
        self.file = File { name: name.to_owned(), lines: 0, ending: Ending::Open, binding };
        wrong
    }

    /// Looks at a line without its end.
    pub fn line(&mut self, bytes: &[u8]) -> Vec<Wrong> {
        self.file.lines += 1;
        self.lines += 1;
        let at = self.file.lines;
        let mut wrongs = Vec::new();
        let mut wrong = |what: String| wrongs.push(Wrong { line: at, what });
        let Some(line) = Line::read(bytes) else {
            wrong("is no line of an audit log, or was changed".to_owned());
            self.head = None;
            return wrongs;
        };
        if self.file.ending == Ending::Sealed {
            wrong("stands behind the seal".to_owned());
        }
        if (at == 1) != (line.event == "begin") {
            wrong("the first line of a file, and no other, is its begin".to_owned());
        }
        // What is hashed with what is said where a file and a run of the service begin.
        let members = match line.event {
            "begin" | "start" | "seal" | "gap" => line.members().unwrap_or_default(),
            _ => serde_json::Map::new(),
        };
        let text = |name: &str| members.get(name).and_then(|value| value.as_str());
        if matches!(line.event, "begin" | "start") {
            let found = match text("key") {
                None => Some(Binding::Plain),
                Some(key) => self.keys.iter().find(|one| one.key() == Some(key)).cloned(),
            };
            if found.is_none() {
                wrong("is hashed with a key that was not given".to_owned());
            }
            self.file.binding = found;
        }
        if let Some(binding) = &self.file.binding {
            if !line.is_whole(binding) {
                wrong("was changed: its hash is another one".to_owned());
            }
            match binding.key() {
                Some(_) => self.keyed = true,
                None if self.keyed => wrong("is hashed without the key of the lines before".into()),
                None => self.unkeyed += 1,
            }
        }
        match self.head {
            Some(head) => wrongs.extend(follows(head, &line, at)),
            // The beginning of all, or of what was shown.
            None if self.lines == 1 => match (line.n, text("after")) {
                (1, None) if line.previous == Hash::NONE => {}
                (2.., Some(after)) => self.follows = Some((after.to_owned(), line.previous)),
                _ => wrongs
                    .push(Wrong { line: at, what: "neither begins a chain nor goes on".into() }),
            },
            None => {}
        }
        let mut wrong = |what: String| wrongs.push(Wrong { line: at, what });
        match line.event {
            "begin" => {
                let named_here = text("file").unwrap_or_default();
                // A copy may have any other name.
                if named(&self.file.name).is_some() && named_here != self.file.name {
                    wrong(format!("belongs to {named_here}"));
                }
                if let (Some(last), Some(after)) = (&self.last_file, text("after"))
                    && last != after
                {
                    wrong(format!("follows {after}, which is not there"));
                }
                self.last_file = Some(named_here.to_owned());
            }
            "seal" => {
                let lines = members.get("lines").and_then(serde_json::Value::as_u64);
                if lines != Some(at - 1) || text("file") != self.last_file.as_deref() {
                    wrong(format!("seals another file than this one of {} lines", at - 1));
                }
            }
            "gap" => {
                let missing = members.get("missing").and_then(serde_json::Value::as_u64);
                let missing = missing.unwrap_or_default();
                wrong(format!("{missing} lines could not be written before this one"));
            }
            "recovered" => self.recovered += 1,
            _ => {}
        }
        self.file.ending = match line.event {
            "seal" => Ending::Sealed,
            "stop" => Ending::Closed,
            _ => Ending::Open,
        };
        self.expected.remove(&line.hash.0);
        self.head = Some(line.head());
        wrongs
    }

    /// What stands behind the last whole line of a file.
    pub fn torn(&self, bytes: usize) -> Wrong {
        let what = format!("the last line is cut off: {bytes} bytes of it are there");
        Wrong { line: self.file.lines + 1, what }
    }

    /// The end of all files.
    pub fn end(&self) -> Vec<Wrong> {
        let mut whats = Vec::new();
        if self.lines == 0 {
            whats.push("there is no line".to_owned());
        }
        if !self.keys.is_empty() && !self.keyed && self.lines > 0 {
            whats.push("a key was given, and no line is hashed with one".to_owned());
        }
        for hash in &self.expected {
            whats.push(format!("no line has the hash {}: it was cut off, or changed", Hash(*hash)));
        }
        whats.into_iter().map(|what| Wrong { line: 0, what }).collect()
    }

    pub fn head(&self) -> Option<Head> {
        self.head
    }

    pub fn ending(&self) -> Ending {
        self.file.ending
    }
}

/// What is wrong between a line and the one before.
fn follows(head: Head, line: &Line<'_>, at: u64) -> Option<Wrong> {
    let next = head.n.saturating_add(1);
    let what = if line.n > next {
        format!("{} lines are missing before it ({next} to {})", line.n - next, line.n - 1)
    } else if line.n < next {
        format!("stands in the wrong place: it is line {} of all, behind {}", line.n, head.n)
    } else if line.previous != head.hash {
        "does not follow the line before, which is another one".to_owned()
    } else {
        return None;
    };
    Some(Wrong { line: at, what })
}
