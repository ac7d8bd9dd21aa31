//! When a schedule runs: its expression, its zone, its first and its last moment. Pure; seconds are
//! those since 1970.
//!
//! A local time that the clocks are set over is no run of a cron expression; one that they show
//! twice is one, the first time. `at()` runs once in any case: a time that is skipped is taken as
//! the clock before the change counts on. `rate()` knows no clocks.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

use super::cron::Cron;
use super::zone::{Shown, Zone};
use crate::observe::time::{date, days};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Once, at this local second.
    At(i64),
    /// Every so many seconds.
    Rate(i64),
    Cron(Box<Cron>),
}

impl Expression {
    /// None where AWS says `Invalid Schedule Expression`.
    pub fn parse(text: &str) -> Option<Expression> {
        let (kind, inside) = text.strip_suffix(')')?.split_once('(')?;
        match kind {
            "at" => at(inside).map(Expression::At),
            "rate" => rate(inside).map(Expression::Rate),
            "cron" => Cron::parse(inside).map(|cron| Expression::Cron(Box::new(cron))),
            _ => None,
        }
    }
}

/// `yyyy-mm-ddThh:mm:ss`
fn at(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let fits = bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => byte == wanted,
        });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let whole = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !whole || year < 1970 {
        return None;
    }
    let number = days(year, month, day);
    // 31 April is another date than it says.
    let same = date(number.into()) == (year.into(), month.into(), day.into());
    same.then_some(number * 86_400 + hour * 3600 + minute * 60 + second)
}

/// `value unit`. AWS takes the singular and the plural for any value.
fn rate(text: &str) -> Option<i64> {
    let (value, unit) = text.split_once(' ')?;
    let digits = value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit());
    let value: i64 = digits.then(|| value.parse().ok())??;
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    (value > 0).then_some(value * seconds)
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Timing {
    pub expression: Expression,
    pub zone: Zone,
    /// From when a rate counts.
    pub anchor: i64,
    /// `StartDate` and `EndDate`, of no meaning for `at()`.
    pub start: Option<i64>,
    pub end: Option<i64>,
}

impl Timing {
    /// The first run from this second on.
    pub fn first_from(&self, from: i64) -> Option<i64> {
        let start = self.start.unwrap_or(i64::MIN).max(from);
        let run = match &self.expression {
            Expression::At(local) => {
                let (Shown::At(run) | Shown::Skipped(run)) = self.zone.shown(*local);
                return (run >= from).then_some(run);
            }
            Expression::Rate(seconds) => {
                let periods = (start - self.anchor).max(0);
                let periods = periods / seconds + i64::from(periods % seconds > 0);
                self.anchor + periods * seconds
            }
            Expression::Cron(cron) => self.cron_from(cron, start)?,
        };
        self.end.is_none_or(|end| run <= end).then_some(run)
    }

    pub fn first_after(&self, run: i64) -> Option<i64> {
        self.first_from(run + 1)
    }

    fn cron_from(&self, cron: &Cron, from: i64) -> Option<i64> {
        let mut local = self.zone.local(from);
        loop {
            local = cron.first_from(local)?;
            match self.zone.shown(local) {
                Shown::At(run) if run >= from => return Some(run),
                // Not there, or shown before and now again.
                _ => local += 60,
            }
        }
    }

    pub fn is_once(&self) -> bool {
        matches!(self.expression, Expression::At(_))
    }
}

#[cfg(test)]
mod tests;
