//! What becomes of a run whose time has come: it runs, or it was missed and is caught up or skipped.
//!
//! A run is missed when it is found more than a minute late: the service was not there, or its clock
//! was set forward. Pure; seconds are those since 1970.

use std::collections::VecDeque;

use super::record::Plan;
use crate::config::MissedRuns;

/// AWS's own precision is a minute.
const GRACE: i64 = 60;
/// So many runs that are too old are counted; beyond, it is said that there were more.
const COUNTED: usize = 1000;

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The run to hand over.
    pub(super) run: Option<i64>,
    /// It was missed, and is made up for.
    pub(super) late: bool,
    pub(super) skipped: Skipped,
    /// Without a run: what comes next.
    pub(super) next: Option<i64>,
}

/// Runs that will never be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) count: usize,
    /// There were more than are counted.
    pub(super) more: bool,
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
}

impl Skipped {
    fn add(&mut self, run: i64) {
        self.count += 1;
        self.first = self.first.or(Some(run));
        self.last = Some(run);
    }
}

/// What to do about the run `next`, whose time has come.
pub(super) fn decide(plan: &Plan, next: i64, now: i64, missed: MissedRuns) -> Decision {
    let is_missed = |run: i64| run + plan.window + GRACE < now;
    let mut skipped = Skipped::default();
    if !is_missed(next) {
        return Decision { run: Some(next), late: false, skipped, next: None };
    }
    let oldest = now - plan.max_age;
    let mut run = Some(next);
    while let Some(old) = run.filter(|run| *run < oldest) {
        skipped.add(old);
        run = plan.timing.first_after(old);
        if skipped.count == COUNTED {
            skipped.more = run.is_some_and(|run| run < oldest);
            run = run.and_then(|run| plan.timing.first_from(run.max(oldest)));
        }
    }
    let most = match missed {
        MissedRuns::Skip => 0,
        MissedRuns::Once => 1,
        MissedRuns::All(most) => most,
    };
    // Not more than there are minutes in the greatest age, a day.
    let mut kept = VecDeque::new();
    while let Some(late) = run.filter(|run| is_missed(*run)) {
        kept.push_back(late);
        if kept.len() > most
            && let Some(over) = kept.pop_front()
        {
            skipped.add(over);
        }
        run = plan.timing.first_after(late);
    }
    match kept.pop_front() {
        Some(late) => Decision { run: Some(late), late: true, skipped, next: None },
        None => Decision { run: None, late: false, skipped, next: run },
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;

    const ANCHOR: i64 = 1_795_737_600;

    fn plan(expression: &str) -> Plan {
        sample(expression).plan().unwrap()
    }

    fn runs(decision: &Decision) -> (Option<i64>, usize, Option<i64>) {
        let relative = |run: i64| (run - ANCHOR) / 60;
        (decision.run.map(relative), decision.skipped.count, decision.next.map(relative))
    }

    #[test]
    fn what_is_a_minute_late_is_not_missed() {
        let minutely = plan("rate(1 minute)");
        for late in [0, 60] {
            let decision = decide(&minutely, ANCHOR, ANCHOR + late, MissedRuns::Skip);
            assert_eq!((runs(&decision), decision.late), ((Some(0), 0, None), false), "{late}");
        }
        let decision = decide(&minutely, ANCHOR, ANCHOR + 61, MissedRuns::Skip);
        assert_eq!(runs(&decision), (None, 1, Some(1)));
        let window = Plan { window: 900, ..minutely };
        let decision = decide(&window, ANCHOR, ANCHOR + 960, MissedRuns::Skip);
        assert_eq!(runs(&decision), (Some(0), 0, None));
    }

    #[test]
    fn missed_runs_are_skipped_or_made_up_for() {
        let plan = plan("rate(10 minutes)");
        let after = |missed| decide(&plan, ANCHOR, ANCHOR + 35 * 60, missed);
        assert_eq!(runs(&after(MissedRuns::Skip)), (None, 4, Some(40)));
        let once = after(MissedRuns::Once);
        assert_eq!((runs(&once), once.late), ((Some(30), 3, None), true));
        assert_eq!(once.skipped.first, Some(ANCHOR));
        assert_eq!(once.skipped.last, Some(ANCHOR + 20 * 60));
        assert_eq!(runs(&after(MissedRuns::All(9))), (Some(0), 0, None));
        assert_eq!(runs(&after(MissedRuns::All(2))), (Some(20), 2, None));
        // And so on with the next of them, which is none too many.
        let next = decide(&plan, ANCHOR + 30 * 60, ANCHOR + 35 * 60, MissedRuns::All(2));
        assert_eq!(runs(&next), (Some(30), 0, None));
    }

    #[test]
    fn what_is_too_old_is_skipped_in_any_case() {
        let aged = Plan { max_age: 1200, ..plan("rate(10 minutes)") };
        let decision = decide(&aged, ANCHOR, ANCHOR + 35 * 60, MissedRuns::All(9));
        assert_eq!(runs(&decision), (Some(20), 2, None));
        let once = Plan { max_age: 60, ..plan("at(2026-11-27T00:00:00)") };
        let run = once.timing.first_from(0).unwrap();
        let decision = decide(&once, run, run + 61, MissedRuns::Once);
        assert_eq!((decision.run, decision.next, decision.skipped.count), (None, None, 1));
    }

    #[test]
    fn years_of_missed_minutes_are_not_looked_at_one_by_one() {
        for expression in ["rate(1 minute)", "cron(* * * * ? *)"] {
            let minutely = plan(expression);
            let now = ANCHOR + 50 * 365 * 86_400 + 30;
            let decision = decide(&minutely, ANCHOR, now, MissedRuns::Once);
            assert_eq!(decision.run, Some(now - 90), "{expression}");
            assert!(decision.late && decision.skipped.more);
            assert!(decision.skipped.count < 2500, "{}", decision.skipped.count);
        }
    }

    #[test]
    fn the_last_run_of_a_schedule_is_made_up_for_too() {
        let mut plan = plan("rate(10 minutes)");
        plan.timing.end = Some(ANCHOR + 15 * 60);
        let decision = decide(&plan, ANCHOR, ANCHOR + 3600, MissedRuns::Once);
        assert_eq!(runs(&decision), (Some(10), 1, None));
        let decision = decide(&plan, ANCHOR, ANCHOR + 3600, MissedRuns::Skip);
        assert_eq!(runs(&decision), (None, 2, None));
    }
}
