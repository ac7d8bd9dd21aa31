//! The `[schedules]` section: how many there may be, and what becomes of runs that were missed.

use super::error::ConfigError;
use super::ranges;
use super::raw::RawSchedules;
use super::validate::Check;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedules {
    pub max_schedules: usize,
    pub missed_runs: MissedRuns,
}

/// What becomes of runs for which the service was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedRuns {
    Skip,
    /// The last one of each schedule runs, for all of them.
    Once,
    /// So many of each schedule run, the newest.
    All(usize),
}

const MISSED_RUNS: &str = "\"once\", \"all\" or \"skip\"";

pub(super) fn schedules(
    check: &Check<'_>,
    raw: &RawSchedules<'_>,
) -> Result<Schedules, ConfigError> {
    let most = check.count(&raw.max_missed_runs, &ranges::MAX_MISSED_RUNS)?;
    let missed_runs = |text: &str| match text {
        "skip" => Some(MissedRuns::Skip),
        "once" => Some(MissedRuns::Once),
        "all" => Some(MissedRuns::All(most)),
        _ => None,
    };
    Ok(Schedules {
        max_schedules: check.count(&raw.max_schedules, &ranges::MAX_SCHEDULES)?,
        missed_runs: check
            .text("schedules.missed_runs", &raw.missed_runs, MISSED_RUNS, missed_runs)?
            .unwrap_or(MissedRuns::Once),
    })
}

#[cfg(test)]
mod tests {
    use super::super::raw::Source;
    use super::super::{Config, validate};
    use super::*;

    fn read(section: &str) -> Result<Config, ConfigError> {
        let text = format!("[schedules]\n{section}");
        validate::config(Source { file: "config.toml", text: &text }, &|_| None)
    }

    #[test]
    fn missed_runs_are_one_of_three_words() {
        let missed = |section: &str| read(section).unwrap().schedules.missed_runs;
        assert_eq!(missed(""), MissedRuns::Once);
        assert_eq!(missed("missed_runs = \"skip\""), MissedRuns::Skip);
        assert_eq!(missed("missed_runs = \"all\"\nmax_missed_runs = 7"), MissedRuns::All(7));
        let refused = read("missed_runs = \"twice\"").unwrap_err().to_string();
        assert!(refused.contains("schedules.missed_runs") && refused.contains("\"skip\""));
        assert!(read("max_missed_runs = 0").is_err() && read("max_schedules = 0").is_err());
    }
}
