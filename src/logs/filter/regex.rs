//! The regular expressions of filter patterns: single characters and classes, repeated, in
//! alternatives, with anchors; CloudWatch has no groups.
//!
//! All ways are followed at once, so a match takes at most the length of the text times the number
//! of [`STATES`], whatever the expression is.

use super::BadPattern;

/// Characters that an expression may match in one alternative, repetitions written out.
const STATES: usize = 256;

#[derive(Debug)]
pub(super) struct Regex {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Default)]
struct Alternative {
    from_start: bool,
    to_end: bool,
    states: Vec<State>,
}

/// One character of the text.
#[derive(Debug, Clone)]
struct State {
    class: Class,
    /// It may be passed over.
    optional: bool,
    /// It may come again.
    repeats: bool,
}

#[derive(Debug, Clone)]
enum Class {
    Any,
    One(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Class {
    fn has(&self, c: char) -> bool {
        match self {
            Class::Any => true,
            Class::One(one) => *one == c,
            Class::Set { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

impl Regex {
    /// Parses what stands between the percent signs.
    pub(super) fn parse(text: &str) -> Result<Regex, BadPattern> {
        let mut parser = Parser(text.chars().peekable());
        let mut alternatives = vec![Alternative::default()];
        while let Some(c) = parser.0.next() {
            let Some(current) = alternatives.last_mut() else { break };
            match c {
                '|' => alternatives.push(Alternative::default()),
                '^' if current.states.is_empty() && !current.from_start => {
                    current.from_start = true;
                }
                '$' if matches!(parser.0.peek(), None | Some('|')) => current.to_end = true,
                c => {
                    let class = parser.class(c)?;
                    parser.repeat(&class, &mut current.states)?;
                }
            }
        }
        // One that is empty would match everything.
        let is_empty = |one: &Alternative| one.states.is_empty() && !one.from_start && !one.to_end;
        if alternatives.iter().any(is_empty) {
            return Err(BadPattern::invalid());
        }
        Ok(Regex { alternatives })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(text))
    }
}

impl Alternative {
    fn matches(&self, text: &str) -> bool {
        // `active[n]`: the states before n are done, and n may take the next character.
        let end = self.states.len();
        let mut active = vec![false; end + 1];
        let mut next = vec![false; end + 1];
        // The last one that is active: mostly it is an early one.
        let mut last = self.reach(&mut active, 0);
        let mut chars = text.chars();
        loop {
            if active[end] && (!self.to_end || chars.as_str().is_empty()) {
                return true;
            }
            let Some(c) = chars.next() else { return false };
            next.fill(false);
            let mut next_last = 0;
            for (index, state) in self.states.iter().enumerate().take(last + 1) {
                if active[index] && state.class.has(c) {
                    let from = if state.repeats { index } else { index + 1 };
                    next_last = next_last.max(self.reach(&mut next, from));
                    if state.repeats {
                        next_last = next_last.max(self.reach(&mut next, index + 1));
                    }
                }
            }
            if !self.from_start {
                next_last = next_last.max(self.reach(&mut next, 0));
            }
            if next_last == 0 && !next[0] {
                return false;
            }
            std::mem::swap(&mut active, &mut next);
            last = next_last;
        }
    }

    /// Marks a state and those that are reached from it by passing over; the last one of them.
    fn reach(&self, active: &mut [bool], from: usize) -> usize {
        let mut last = from;
        while last + 1 < active.len() && !active[last] && self.states[last].optional {
            active[last] = true;
            last += 1;
        }
        active[last] = true;
        last
    }
}

struct Parser<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl Parser<'_> {
    fn class(&mut self, first: char) -> Result<Class, BadPattern> {
        match first {
            '.' => Ok(Class::Any),
            '[' => self.set(),
            '\\' => self.escape(),
            c if c.is_ascii_alphanumeric() || " :_#=@/;,-".contains(c) => Ok(Class::One(c)),
            c => Err(BadPattern::characters(&c.to_string())),
        }
    }

    fn escape(&mut self) -> Result<Class, BadPattern> {
        let c = self.0.next().ok_or_else(BadPattern::invalid)?;
        let ranges: &[(char, char)] = match c.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            's' => &[(' ', ' '), ('\t', '\r')],
            'w' => &[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')],
            'x' if c == 'x' => {
                let mut digit = || self.0.next().and_then(|c| c.to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(BadPattern::invalid());
                };
                let code = char::from_u32(high * 16 + low).filter(char::is_ascii);
                return code.map(Class::One).ok_or_else(BadPattern::invalid);
            }
            _ if c.is_ascii_alphanumeric() => return Err(BadPattern::invalid()),
            _ => return Ok(Class::One(c)),
        };
        Ok(Class::Set { negated: c.is_ascii_uppercase(), ranges: ranges.to_vec() })
    }

    fn set(&mut self) -> Result<Class, BadPattern> {
        let negated = self.0.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            let from = match self.0.next().ok_or_else(BadPattern::invalid)? {
                ']' if !ranges.is_empty() => return Ok(Class::Set { negated, ranges }),
                '\\' => match self.escape()? {
                    Class::One(c) => c,
                    Class::Set { negated: false, ranges: more } => {
                        ranges.extend(more);
                        continue;
                    }
                    _ => return Err(BadPattern::invalid()),
                },
                c => c,
            };
            let mut ahead = self.0.clone();
            // A minus before the end is itself.
            let is_range = ahead.next() == Some('-') && !matches!(ahead.peek(), None | Some(']'));
            let to = match is_range {
                true => {
                    self.0.next();
                    self.0.next().ok_or_else(BadPattern::invalid)?
                }
                false => from,
            };
            if to < from {
                return Err(BadPattern::invalid());
            }
            ranges.push((from, to));
        }
    }

    /// Adds a class as often as what follows it says.
    fn repeat(&mut self, class: &Class, states: &mut Vec<State>) -> Result<(), BadPattern> {
        let (least, most) = match self.0.next_if(|c| "*+?{".contains(*c)) {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some(_) => self.bounds()?,
            None => (1, Some(1)),
        };
        if matches!(self.0.peek(), Some('*' | '+' | '?' | '{')) {
            return Err(BadPattern::invalid());
        }
        let count = most.unwrap_or_else(|| least.max(1));
        if count < least || states.len() + count > STATES {
            return Err(BadPattern::invalid());
        }
        for index in 0..count {
            let is_last = index + 1 == count;
            states.push(State {
                class: class.clone(),
                optional: index >= least,
                repeats: most.is_none() && is_last,
            });
        }
        Ok(())
    }

    /// What stands in braces: `3`, `3,`, `,5` or `3,5`.
    fn bounds(&mut self) -> Result<(usize, Option<usize>), BadPattern> {
        let mut text = String::new();
        loop {
            match self.0.next().ok_or_else(BadPattern::invalid)? {
                '}' => break,
                c if text.len() < 16 => text.push(c),
                _ => return Err(BadPattern::invalid()),
            }
        }
        let number = |text: &str| match text.trim() {
            "" => Ok(None),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map(Some).map_err(|_| BadPattern::invalid())
            }
            _ => Err(BadPattern::invalid()),
        };
        match text.split_once(',') {
            Some((least, most)) => Ok((number(least)?.unwrap_or(0), number(most)?)),
            None => {
                let exactly = number(&text)?.ok_or_else(BadPattern::invalid)?;
                Ok((exactly, Some(exactly)))
            }
        }
    }
}
