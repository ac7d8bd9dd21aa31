//! The table of slots, by hand and by random steps; time is an argument.

use std::collections::BTreeMap;

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

/// A table, a clock, and the Engine's part of the work.
struct Play {
    table: Table,
    now: Instant,
    made: u8,
}

impl Play {
    fn new(size: usize) -> Play {
        let now = Instant::now();
        Play { table: Table::new(size, now), now, made: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn next(&mut self) -> Next {
        self.table.next(self.now, &|_| true)
    }

    /// Makes one slot as the thread does; gives its holder.
    fn make(&mut self) -> Arc<str> {
        self.made += 1;
        let holder: Arc<str> = Arc::from(format!("h{}", self.made));
        let slot = self.table.begin(Ipv4Addr::new(10, 0, 0, self.made), self.now);
        self.table.created(slot, holder.clone());
        self.table.made(slot, self.now);
        holder
    }

    /// Does everything there is to do now; how many slots were made and removed.
    fn work(&mut self) -> (usize, usize) {
        self.pass(PATIENCE);
        let (mut made, mut removed) = (0, 0);
        loop {
            match self.next() {
                Next::Make => {
                    self.make();
                    made += 1;
                }
                Next::Remove(slot, _) => {
                    self.table.forget(slot, self.now);
                    removed += 1;
                }
                Next::Rejoice => {}
                Next::Wait(_) | Next::Stop => return (made, removed),
            }
        }
    }

    fn take(&mut self, sandbox: SandboxId, function: &str) -> Option<Arc<str>> {
        let place = self.table.take(sandbox, function, self.now)?;
        let occupant = Arc::from(format!("c{sandbox}"));
        assert!(self.table.joined(sandbox, &occupant));
        Some(place.holder)
    }

    fn leave(&mut self, sandbox: SandboxId, how: Left) -> bool {
        self.table.leave(sandbox, how, self.now)
    }

    fn counts(&self) -> [usize; 4] {
        let SlotCounts { making, ready, taken, resting } = self.table.counts();
        [making, ready, taken, resting]
    }
}

#[test]
fn every_step_has_its_place() {
    use State::*;
    let states = [Making, Ready, Taken(1), Resting, Broken];
    let steps = [Step::Made, Step::Take(1), Step::Unused, Step::Left, Step::Rested, Step::Break];
    let allowed: Vec<(State, Step, State)> = states
        .into_iter()
        .flat_map(|state| steps.map(|step| (state, step)))
        .filter_map(|(state, step)| Some((state, step, state.next(step)?)))
        .collect();
    assert_eq!(
        allowed,
        [
            (Making, Step::Made, Ready),
            (Making, Step::Break, Broken),
            (Ready, Step::Take(1), Taken(1)),
            (Ready, Step::Break, Broken),
            (Taken(1), Step::Unused, Ready),
            (Taken(1), Step::Left, Resting),
            (Taken(1), Step::Break, Broken),
            (Resting, Step::Rested, Ready),
            (Resting, Step::Break, Broken),
        ]
    );
}

#[test]
fn what_is_taken_is_made_again_beside_it() {
    let mut play = Play::new(2);
    assert_eq!(play.work(), (2, 0));
    assert_eq!(play.counts(), [0, 2, 0, 0]);
    assert!(play.take(1, "f").is_some());
    assert_eq!(play.work(), (1, 0));
    assert_eq!(play.counts(), [0, 2, 1, 0]);
    assert_eq!(play.next(), Next::Wait(None));
}

#[test]
fn zero_is_off() {
    let mut play = Play::new(0);
    assert!(play.table.is_off());
    assert_eq!(play.take(1, "f"), None);
    assert_eq!(play.work(), (0, 0));
    play.table.failed(Stage::Join, play.now);
    assert_eq!(play.work(), (0, 0));
}

#[test]
fn the_engine_is_left_to_the_starts() {
    let mut play = Play::new(2);
    play.work();
    play.table.start_begins();
    play.take(1, "f");
    assert!(matches!(play.next(), Next::Wait(Some(_))));
    play.table.start_ends(play.now);
    assert!(matches!(play.next(), Next::Wait(Some(_))), "the next start may follow at once");
    play.pass(PAUSE_AFTER_STARTS);
    assert_eq!(play.next(), Next::Make);
}

#[test]
fn a_start_without_end_does_not_hold_up_slots_for_ever() {
    let mut play = Play::new(1);
    play.table.start_begins();
    assert!(matches!(play.next(), Next::Wait(Some(_))));
    play.pass(PATIENCE);
    assert_eq!(play.next(), Next::Make);
}

#[test]
fn a_used_network_is_for_the_same_function_only_and_after_a_rest() {
    let mut play = Play::new(1);
    play.work();
    let holder = play.take(1, "f").unwrap();
    assert!(play.leave(1, Left::Gone));
    assert_eq!(play.take(2, "f"), None, "what the old sandbox has sent may still arrive");
    play.pass(REST);
    assert_eq!(play.table.next(play.now, &|_| false), Next::Make);
    assert_eq!(play.take(2, "f"), None, "somebody is still connected from its address");
    play.next();
    assert_eq!(play.take(2, "g"), None, "another function never gets it");
    assert_eq!(play.take(2, "f"), Some(holder));
}

#[test]
fn a_network_that_nobody_has_used_goes_first() {
    let mut play = Play::new(1);
    play.work();
    let used = play.take(1, "f").unwrap();
    play.leave(1, Left::Gone);
    play.pass(REST);
    play.work();
    let fresh = play.take(2, "f").unwrap();
    assert_ne!(fresh, used);
    assert_eq!(play.take(3, "f"), Some(used));
}

#[test]
fn a_network_that_is_never_quiet_is_given_up() {
    let mut play = Play::new(1);
    play.work();
    play.take(1, "f");
    play.leave(1, Left::Gone);
    play.pass(LONGEST_REST + LOOK);
    play.table.next(play.now, &|_| false);
    assert_eq!(play.counts()[3], 0);
    assert_eq!(play.work(), (1, 1));
}

#[test]
fn a_used_network_is_kept_for_a_while_and_not_in_numbers() {
    let mut play = Play::new(2);
    for sandbox in 1..=4 {
        play.work();
        assert!(play.take(sandbox, "f").is_some());
    }
    (1..=4).for_each(|sandbox| assert!(play.leave(sandbox, Left::Gone)));
    play.pass(REST);
    play.work();
    play.work();
    assert_eq!(play.counts(), [0, 2 + 2, 0, 0], "as many used ones as fresh ones");
    play.pass(KEEP);
    play.work();
    play.work();
    assert_eq!(play.counts(), [0, 2, 0, 0]);
}

#[test]
fn starts_that_find_none_make_it_more_for_a_while() {
    let mut play = Play::new(2);
    play.work();
    for sandbox in 1..=9 {
        play.take(sandbox, "f");
    }
    play.work();
    assert_eq!(play.counts(), [0, 4, 2, 0], "twice as many, however many found none");
    play.pass(GROWN_FOR);
    play.work();
    play.work();
    assert_eq!(play.counts()[1], 3);
    play.pass(GROWN_FOR);
    play.work();
    play.work();
    assert_eq!(play.counts()[1], 2);
    assert_eq!(play.next(), Next::Wait(None));
}

#[test]
fn what_was_never_started_leaves_no_trace() {
    let mut play = Play::new(1);
    play.work();
    let holder = play.take(1, "f");
    assert!(play.leave(1, Left::Unused));
    assert!(!play.leave(1, Left::Gone), "it has left already");
    assert_eq!(play.take(2, "g"), holder);
}

#[test]
fn a_lost_holder_takes_its_sandbox_along_once() {
    let mut play = Play::new(1);
    play.work();
    let holder = play.take(7, "f").unwrap();
    let occupant: Option<Arc<str>> = Some(Arc::from("c7"));
    assert_eq!(play.table.lost(&holder, play.now), (occupant, false));
    assert_eq!(play.table.lost(&holder, play.now), (None, false));
    assert!(!play.table.joined(7, &Arc::from("c7")));
    assert!(!play.leave(7, Left::Gone), "that is no slot any more");
    assert_eq!(play.work(), (1, 1));
    assert_eq!(play.table.lost("somebody else's", play.now), (None, false));
}

#[test]
fn a_holder_that_could_not_be_removed_is_removed_later() {
    let mut play = Play::new(1);
    play.work();
    let holder = play.take(1, "f").unwrap();
    play.leave(1, Left::Spoiled);
    play.pass(PATIENCE);
    let Next::Remove(slot, named) = play.next() else { panic!("it is broken") };
    assert_eq!(named, holder);
    play.table.still_there(slot, play.now);
    assert_eq!(play.next(), Next::Make, "it holds up nothing");
    assert_eq!(play.work(), (1, 1));
}

#[test]
fn holders_that_do_not_stay_up_are_tried_ever_more_seldom() {
    let mut play = Play::new(2);
    let (mut tried, mut told) = (Vec::new(), 0);
    let begun = play.now;
    while play.now < begun + S(20) {
        match play.next() {
            Next::Make => {
                tried.push((play.now - begun).as_secs());
                let holder = play.make();
                if play.table.lost(&holder, play.now).1 {
                    told += usize::from(play.table.failed(Stage::Make, play.now));
                }
                assert_eq!(play.table.lost(&holder, play.now), (None, false), "another event");
            }
            Next::Remove(slot, _) => play.table.forget(slot, play.now),
            _ => play.pass(S(1)),
        }
    }
    assert_eq!(tried, [1, 1, 1, 2, 4, 8, 16], "two may have been removed by somebody");
    assert_eq!(told, 1);
    play.pass(S(60));
    assert_eq!(play.next(), Next::Make);
    play.make();
    assert_ne!(play.next(), Next::Make, "first it has to live");
    play.pass(LIFE);
    assert_eq!(play.next(), Next::Rejoice);
    assert_eq!(play.next(), Next::Make);
}

#[test]
fn one_slot_finds_out_whether_they_work_again() {
    let mut play = Play::new(3);
    play.work();
    play.take(1, "f");
    play.leave(1, Left::Spoiled);
    assert!(play.table.failed(Stage::Join, play.now));
    play.pass(S(2));
    play.work();
    play.work();
    assert_eq!(play.counts(), [0, 1, 0, 0]);
    assert!(play.take(2, "f").is_some());
    assert!(play.table.works(), "it was in trouble");
    assert!(!play.table.works());
    play.work();
    assert_eq!(play.counts(), [0, 3, 1, 0]);
}

#[test]
fn slots_that_can_not_be_made_leave_those_that_are_there() {
    let mut play = Play::new(3);
    play.work();
    play.take(1, "f");
    assert!(play.table.failed(Stage::Make, play.now));
    assert!(!play.table.failed(Stage::Make, play.now), "it is told once");
    assert_eq!(play.counts(), [0, 2, 1, 0]);
    play.pass(PAUSE_AFTER_STARTS);
    assert!(matches!(play.next(), Next::Wait(_)));
    play.table.try_now(play.now);
    assert_eq!(play.work(), (1, 0));
    play.pass(LIFE);
    assert_eq!(play.next(), Next::Rejoice);
    assert_eq!(play.counts(), [0, 3, 1, 0]);
}

#[test]
fn closed_is_closed() {
    let mut play = Play::new(2);
    play.work();
    play.take(1, "f");
    play.table.close();
    assert_eq!(play.next(), Next::Stop);
    assert!(play.leave(1, Left::Gone));
    assert_eq!(play.next(), Next::Stop);
}

/// Two thousand random steps: no slot has two sandboxes, no function gets another's network, no
/// more slots are ready than may be.
#[test]
fn whatever_happens_a_network_is_one_sandboxs_and_one_functions() {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        // SplitMix64.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below
    };
    let mut play = Play::new(3);
    let mut inside: BTreeMap<SandboxId, Arc<str>> = BTreeMap::new();
    let mut function_of: BTreeMap<Arc<str>, &str> = BTreeMap::new();
    let mut reused = 0;
    for sandbox in 1..2000 {
        let function = ["f", "g"][usize::try_from(random(2)).unwrap()];
        match random(6) {
            0 | 1 => {
                if let Some(holder) = play.take(sandbox, function) {
                    assert!(!inside.values().any(|h| *h == holder), "two sandboxes in {holder}");
                    if let Some(before) = function_of.get(&holder) {
                        assert_eq!(*before, function);
                        reused += 1;
                    }
                    function_of.insert(holder.clone(), function);
                    inside.insert(sandbox, holder);
                }
            }
            2 | 3 => {
                if let Some((sandbox, _)) = inside.pop_first() {
                    let how = [Left::Gone, Left::Gone, Left::Spoiled];
                    play.leave(sandbox, how[usize::try_from(random(3)).unwrap()]);
                }
            }
            4 => {
                if let Some((_, holder)) = inside.last_key_value() {
                    play.table.lost(holder, play.now);
                    inside.pop_last();
                }
            }
            _ => {
                if play.made == u8::MAX {
                    break;
                }
                play.pass(S(random(3)));
                play.work();
                assert!(play.counts()[1] <= 2 * 6, "{:?}", play.counts());
                assert_eq!(play.counts()[2], inside.len());
            }
        }
    }
    assert!(reused > 10, "{reused} networks were used again");
}
