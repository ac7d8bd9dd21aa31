//! What the heads of the journal's frames say: entries, attempts, ends; to bytes and back.
//!
//! Lengths stand before texts, numbers are little-endian. A head that cannot be read is a damaged
//! one (its checksum was right), so reading gives `None` and never panics.

use std::fmt;

use uuid::Uuid;

use super::destination::Carrier;

/// The function that an entry is about, as it was called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub region: String,
    pub name: String,
    /// A version or an alias.
    pub qualifier: Option<String>,
    /// Whether it was created; else only its runtimes know it.
    pub created: bool,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.name)?;
        match &self.qualifier {
            Some(qualifier) => write!(f, ":{qualifier}"),
            None => Ok(()),
        }
    }
}

/// What the sender of an event asks for, beside what is configured for its function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Tries after the first.
    pub max_retries: u8,
    pub max_age_s: u32,
    /// Where it goes as well when it has failed.
    pub dead_letter: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Content {
    /// An event of a function; its body is the payload.
    Event,
    /// The record of an invocation that is to be carried there; its body is the record.
    Record(Carrier),
}

/// An entry without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: Uuid,
    pub(super) content: Content,
    pub(super) function: Address,
    /// Milliseconds since 1970, as all times here.
    pub(super) accepted_ms: u64,
    /// How often the function has failed; of a record, how often it could not be carried.
    pub(super) attempts: u8,
    /// Not before this time.
    pub(super) until_ms: u64,
    pub(super) trace_id: String,
    /// The last error; of a record, the destination that was asked for where it is another one.
    pub(super) note: String,
    /// Only events have them.
    pub(super) terms: Option<Terms>,
}

/// How often an entry was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) id: Uuid,
    pub(super) attempts: u8,
    pub(super) until_ms: u64,
}

/// Texts are cut to this where they come from outside and nothing depends on them.
const NOTE_BYTES_MAX: usize = 400;

impl Stored {
    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.trace_id.len() + self.note.len());
        out.extend_from_slice(self.id.as_bytes());
        out.push(match self.content {
            Content::Event => 0,
            Content::Record(Carrier::Letters) => 1,
            Content::Record(Carrier::Webhook) => 2,
        });
        out.push(u8::from(self.function.created));
        out.push(self.attempts);
        out.extend_from_slice(&self.accepted_ms.to_le_bytes());
        out.extend_from_slice(&self.until_ms.to_le_bytes());
        put_text(&mut out, &self.function.region);
        put_text(&mut out, &self.function.name);
        put_text(&mut out, self.function.qualifier.as_deref().unwrap_or_default());
        put_text(&mut out, &self.trace_id);
        put_text(&mut out, short(&self.note));
        // Heads of before there were terms end here.
        if let Some(terms) = &self.terms {
            out.push(terms.max_retries);
            out.extend_from_slice(&terms.max_age_s.to_le_bytes());
            put_text(&mut out, terms.dead_letter.as_deref().unwrap_or_default());
        }
        out
    }

    pub(super) fn of(head: &[u8]) -> Option<Stored> {
        let mut from = Reader(head);
        let id = from.id()?;
        let [content, created, attempts] = from.take::<3>()?;
        let content = match content {
            0 => Content::Event,
            1 => Content::Record(Carrier::Letters),
            2 => Content::Record(Carrier::Webhook),
            _ => return None,
        };
        let (accepted_ms, until_ms) = (from.number()?, from.number()?);
        let (region, name, qualifier) = (from.text()?, from.text()?, from.text()?);
        let qualifier = Some(qualifier).filter(|qualifier| !qualifier.is_empty());
        let function = Address { region, name, qualifier, created: created != 0 };
        let (trace_id, note) = (from.text()?, from.text()?);
        let terms = if from.0.is_empty() { None } else { Some(from.terms()?) };
        Some(Stored {
            id,
            content,
            function,
            accepted_ms,
            attempts,
            until_ms,
            trace_id,
            note,
            terms,
        })
    }
}

impl Attempt {
    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = self.id.as_bytes().to_vec();
        out.push(self.attempts);
        out.extend_from_slice(&self.until_ms.to_le_bytes());
        out
    }

    pub(super) fn of(head: &[u8]) -> Option<Attempt> {
        let mut from = Reader(head);
        let id = from.id()?;
        let [attempts] = from.take::<1>()?;
        Some(Attempt { id, attempts, until_ms: from.number()? })
    }
}

/// The head of an `End`: ids, one after the other.
pub(super) fn end_head(ids: impl Iterator<Item = Uuid>) -> Vec<u8> {
    ids.flat_map(Uuid::into_bytes).collect()
}

pub(super) fn ids_of(head: &[u8]) -> impl Iterator<Item = Uuid> {
    head.as_chunks::<16>().0.iter().map(|bytes| Uuid::from_bytes(*bytes))
}

/// The beginning of a text, up to a limit and never within a character.
pub(super) fn short(text: &str) -> &str {
    let end = (0..=NOTE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// A text of more than 64 KB has been refused before.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn id(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn terms(&mut self) -> Option<Terms> {
        let [max_retries] = self.take::<1>()?;
        let max_age_s = u32::from_le_bytes(self.take()?);
        let dead_letter = Some(self.text()?).filter(|arn| !arn.is_empty());
        Some(Terms { max_retries, max_age_s, dead_letter })
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample(name: &str) -> Stored {
        Stored {
            id: crate::random::uuid(),
            content: Content::Event,
            function: Address {
                region: "us-east-1".to_owned(),
                name: name.to_owned(),
                qualifier: None,
                created: true,
            },
            accepted_ms: 1_700_000_000_000,
            attempts: 0,
            until_ms: 0,
            trace_id: "Root=1-00000000-000000000000000000000001".to_owned(),
            note: String::new(),
            terms: None,
        }
    }

    #[test]
    fn heads_are_read_as_they_were_written() {
        let mut stored = sample("f");
        assert_eq!(Stored::of(&stored.head()), Some(stored.clone()));
        stored.function.qualifier = Some("live".to_owned());
        stored.function.created = false;
        stored.content = Content::Record(Carrier::Webhook);
        (stored.attempts, stored.until_ms, stored.note) = (2, 7, "é".to_owned());
        assert_eq!(Stored::of(&stored.head()), Some(stored.clone()));
        for dead_letter in [None, Some("arn:aws:sqs:us-east-1:000000000000:q".to_owned())] {
            stored.terms = Some(Terms { max_retries: 185, max_age_s: 86_400, dead_letter });
            let head = stored.head();
            assert_eq!(Stored::of(&head), Some(stored.clone()));
            assert_eq!(Stored::of(&head[..head.len() - 1]), None);
        }
        let attempt = Attempt { id: stored.id, attempts: 3, until_ms: u64::MAX };
        assert_eq!(Attempt::of(&attempt.head()), Some(attempt));
        let ids = [stored.id, sample("g").id];
        assert_eq!(ids_of(&end_head(ids.into_iter())).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_head_that_is_cut_or_foreign_is_none() {
        let head = sample("f").head();
        for length in 0..head.len() {
            assert_eq!(Stored::of(&head[..length]), None, "{length}");
        }
        let mut foreign = head;
        foreign[16] = 9;
        assert_eq!(Stored::of(&foreign), None);
        assert_eq!(Attempt::of(&[0; 24]), None);
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        let note = "é".repeat(NOTE_BYTES_MAX);
        let stored = Stored { note, ..sample("f") };
        let read = Stored::of(&stored.head()).unwrap().note;
        assert_eq!(read, "é".repeat(NOTE_BYTES_MAX / 2));
    }
}
