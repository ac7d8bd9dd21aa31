//! Cron expressions in AWS's form: minutes, hours, day of the month, month, day of the week, year.
//!
//! It knows local times only; which of them there are, and when, is the zone's.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based>

use crate::observe::time::{date, days};

const DAY_MINUTES: i64 = 1440;
const FIRST_YEAR: u32 = 1970;
const LAST_YEAR: u32 = 2199;
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A set of numbers is a word with a bit for each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    /// From 1970 on.
    years: [u64; 4],
}

/// Days of a month. Weekdays are counted from 0, Sunday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    OfMonth(u64),
    /// `L`, `L-3`: so many days before the last.
    BeforeLast(u32),
    /// `15W`: the day from Monday to Friday that is nearest, in the same month.
    NearestWorkday(u32),
    /// `LW`
    LastWorkday,
    OfWeek(u64),
    /// `6L`
    LastOfWeek(u32),
    /// `3#2`
    NthOfWeek(u32, u32),
}

/// What a field may hold.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

impl Field {
    const fn numbers(min: u32, max: u32) -> Field {
        Field { min, max, names: &[] }
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(index) => u32::try_from(index).ok()? + self.min,
            None => whole(text)?,
        };
        (self.min..=self.max).contains(&number).then_some(number)
    }

    /// `*`, `a`, `a-b`, each with `/step`, and lists of them; `take` gets each number.
    fn each(&self, text: &str, mut take: impl FnMut(u32)) -> Option<()> {
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(whole(step).filter(|step| *step > 0)?)),
                None => (part, None),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.min, self.max),
                Some((first, last)) => (self.number(first)?, self.number(last)?),
                None => {
                    let first = self.number(range)?;
                    (first, if step.is_some() { self.max } else { first })
                }
            };
            if first > last {
                return None;
            }
            let step = usize::try_from(step.unwrap_or(1)).ok()?;
            (first..=last).step_by(step).for_each(&mut take);
        }
        Some(())
    }

    fn set(&self, text: &str) -> Option<u64> {
        let mut set = 0;
        self.each(text, |number| set |= 1 << number)?;
        Some(set)
    }
}

/// Digits and nothing else.
fn whole(text: &str) -> Option<u32> {
    (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

const OF_MONTH: Field = Field::numbers(1, 31);
const OF_WEEK: Field = Field { min: 1, max: 7, names: &WEEKDAYS };

impl Cron {
    /// The six fields. None where AWS knows no such expression.
    pub fn parse(text: &str) -> Option<Cron> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, of_month, months, of_week, years] = fields[..] else { return None };
        let days = match (of_month, of_week) {
            ("?", "?") => return None,
            ("?", of_week) => week_days(of_week)?,
            (of_month, "?") => month_days(of_month)?,
            // Both would be meant, and AWS takes one only.
            _ => return None,
        };
        let mut year_set = [0; 4];
        Field::numbers(FIRST_YEAR, LAST_YEAR).each(years, |year| {
            let index = (year - FIRST_YEAR) as usize;
            year_set[index / 64] |= 1_u64 << (index % 64);
        })?;
        Some(Cron {
            minutes: Field::numbers(0, 59).set(minutes)?,
            hours: Field::numbers(0, 23).set(hours)?,
            days,
            months: Field { min: 1, max: 12, names: &MONTHS }.set(months)?,
            years: year_set,
        })
    }

    /// The first local time from this second on.
    pub fn first_from(&self, local: i64) -> Option<i64> {
        let minute = local.div_euclid(60) + i64::from(local.rem_euclid(60) > 0);
        let today = minute.div_euclid(DAY_MINUTES);
        let (year, month, day) = date(today.into());
        let (this_year, this_month) = (u32::try_from(year).ok()?, u32::try_from(month).ok()?);
        let day = u32::try_from(day).ok()?;
        for year in this_year.max(FIRST_YEAR)..=LAST_YEAR {
            let index = (year - FIRST_YEAR) as usize;
            if self.years[index / 64] >> (index % 64) & 1 == 0 {
                continue;
            }
            let from_month = if year == this_year { this_month } else { 1 };
            for month in bits(self.months & u64::MAX << from_month) {
                let now = (year, month) == (this_year, this_month);
                let from_day = if now { day } else { 1 };
                let first = days(year.into(), month.into(), 1);
                for day in bits(self.days.of(year, month) & u64::MAX << from_day) {
                    let number = first + i64::from(day) - 1;
                    let from = if number == today { minute.rem_euclid(DAY_MINUTES) } else { 0 };
                    if let Some(found) = self.time_from(u32::try_from(from).ok()?) {
                        return Some((number * DAY_MINUTES + i64::from(found)) * 60);
                    }
                }
            }
        }
        None
    }

    /// The first minute of a day from this one on.
    fn time_from(&self, minute: u32) -> Option<u32> {
        let (hour, minute) = (minute / 60, minute % 60);
        bits(self.hours & u64::MAX << hour).find_map(|found| {
            let from = if found == hour { minute } else { 0 };
            let minute = bits(self.minutes & u64::MAX << from).next()?;
            Some(found * 60 + minute)
        })
    }
}

fn month_days(text: &str) -> Option<Days> {
    if text == "L" {
        return Some(Days::BeforeLast(0));
    }
    if text == "LW" {
        return Some(Days::LastWorkday);
    }
    if let Some(before) = text.strip_prefix("L-") {
        return whole(before).filter(|days| *days <= 30).map(Days::BeforeLast);
    }
    match text.strip_suffix('W') {
        Some(day) => OF_MONTH.number(day).map(Days::NearestWorkday),
        None => OF_MONTH.set(text).map(Days::OfMonth),
    }
}

fn week_days(text: &str) -> Option<Days> {
    if text == "L" {
        // The last day of a week.
        return Some(Days::OfWeek(1 << 6));
    }
    if let Some((weekday, nth)) = text.split_once('#') {
        let nth = whole(nth).filter(|nth| (1..=5).contains(nth))?;
        return Some(Days::NthOfWeek(OF_WEEK.number(weekday)? - 1, nth));
    }
    match text.strip_suffix('L') {
        Some(weekday) => OF_WEEK.number(weekday).map(|weekday| Days::LastOfWeek(weekday - 1)),
        None => OF_WEEK.set(text).map(|set| Days::OfWeek(set >> 1)),
    }
}

impl Days {
    /// The days of a month, from bit 1 on.
    fn of(self, year: u32, month: u32) -> u64 {
        let first = days(year.into(), month.into(), 1);
        let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let length = u32::try_from(days(next_year.into(), next.into(), 1) - first).unwrap_or(31);
        let all = (1 << (length + 1)) - 2;
        // 1970-01-01 was a Thursday.
        let first_weekday = u32::try_from((first + 4).rem_euclid(7)).unwrap_or_default();
        let weekday = |day: u32| (first_weekday + day - 1) % 7;
        let first_of = |wanted: u32| (7 + wanted - first_weekday) % 7 + 1;
        let day = match self {
            Days::OfMonth(set) => return set & all,
            Days::OfWeek(set) => {
                return (1..=length)
                    .filter(|day| set >> weekday(*day) & 1 == 1)
                    .fold(0, |found, day| found | 1 << day);
            }
            Days::BeforeLast(before) => length.saturating_sub(before),
            Days::LastWorkday => match weekday(length) {
                6 => length - 1,
                0 => length - 2,
                _ => length,
            },
            Days::NearestWorkday(day) if day > length => 0,
            Days::NearestWorkday(day) => match weekday(day) {
                6 if day == 1 => 3,
                6 => day - 1,
                0 if day == length => day - 2,
                0 => day + 1,
                _ => day,
            },
            Days::LastOfWeek(wanted) => {
                let first = first_of(wanted);
                first + (length - first) / 7 * 7
            }
            Days::NthOfWeek(wanted, nth) => first_of(wanted) + (nth - 1) * 7,
        };
        // Day 0, and one after the last, is none.
        1 << day & all
    }
}

/// The numbers of a set, from the smallest on.
fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros())?;
        set &= set - 1;
        Some(lowest)
    })
}

#[cfg(test)]
mod tests;
