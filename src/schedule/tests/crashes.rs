//! The power is cut at every write and sync of a schedule's life: no run is lost, and one that comes
//! again has the id that it had.

use super::*;
use std::collections::BTreeMap;

const HOURS: i64 = 3;

fn life() -> Value {
    let mut asked = definition("cron(0 * * * ? *)");
    asked["EndDate"] = (START + HOURS * 3600).into();
    asked["ActionAfterCompletion"] = "DELETE".into();
    asked
}

/// Lives a schedule's life to its end or to the cut. What the queue has taken, by its payload.
fn live(world: &mut World, taken: &mut BTreeMap<String, Vec<uuid::Uuid>>) {
    for _ in 0..=HOURS * 2 + 1 {
        for sent in world.look() {
            taken.entry(sent.text()).or_default().push(sent.event.id);
            world.answer(sent, Ok(()));
        }
        world.pass(1800);
    }
}

#[test]
fn no_run_is_lost_wherever_the_power_goes() {
    let mut repeated = 0;
    for cut in 0.. {
        let now = Arc::new(AtomicU64::new(START as u64 * 1000 - 1000));
        let mut world = World::on(Backend::default(), now, settings(MissedRuns::All(100))).unwrap();
        let id = {
            world.schedules.create(named("s"), life(), "").unwrap();
            world.schedules.get(named("s")).unwrap().id
        };
        world.backend.cut_after(cut);
        let mut before = BTreeMap::new();
        live(&mut world, &mut before);
        let finished = !world.backend.is_cut();
        let (images, now_ms) = (world.backend.images(), world.now.load(Ordering::Relaxed));
        for image in images {
            let mut taken = before.clone();
            let now = Arc::new(AtomicU64::new(now_ms));
            let mut world =
                World::on(Backend::on(image), now, settings(MissedRuns::All(100))).unwrap();
            live(&mut world, &mut taken);
            let runs: Vec<String> =
                (0..=HOURS).map(|hour| time(&format!("{hour:02}:00:00"))).collect();
            assert_eq!(taken.keys().cloned().collect::<Vec<_>>(), runs, "cut {cut}");
            for (hour, ids) in (0..).zip(taken.values()) {
                let expected = payload::run_id(id, START + hour * 3600);
                assert!(ids.iter().all(|id| *id == expected), "cut {cut}");
                repeated += ids.len() - 1;
            }
            assert!(world.names().is_empty(), "cut {cut}: it is over");
        }
        if finished {
            assert!(cut > 10 && repeated > 0, "the cuts were not where they should be: {cut}");
            return;
        }
    }
}

#[test]
fn a_change_is_there_or_not_wherever_the_power_goes() {
    for cut in 0.. {
        let world = World::new(MissedRuns::Once);
        world.create("s", "cron(0 1 * * ? *)");
        world.backend.cut_after(cut);
        let result = world.schedules.update(named("s"), definition("cron(0 2 * * ? *)"), "");
        let finished = !world.backend.is_cut();
        assert!(result.is_ok() || !finished);
        for image in world.backend.images() {
            let now = Arc::new(AtomicU64::new(START as u64 * 1000));
            let found = World::on(Backend::on(image), now, settings(MissedRuns::Once)).unwrap();
            let record = found.schedules.get(named("s")).unwrap();
            let is_new = record.definition["ScheduleExpression"] == "cron(0 2 * * ? *)";
            assert_eq!(found.next("s"), Some(if is_new { 7200 } else { 3600 }), "cut {cut}");
            assert!(is_new || result.is_err(), "cut {cut}: acknowledged and lost");
        }
        if finished {
            return;
        }
    }
}

#[test]
fn a_disk_that_fails_sends_nothing_twice_and_goes_on_when_it_can() {
    let mut world = World::new(MissedRuns::Once);
    world.create("s", "rate(1 hour)");
    let sent = world.look().remove(0);
    world.backend.cut_after(0);
    world.answer(sent, Ok(()));
    world.pass(60);
    assert!(world.look().is_empty(), "it is not sent again");
    assert!(world.count("write_failures") > 0);
    assert!(matches!(world.schedules.delete(named("s"), None), Err(ScheduleError::Store(_))));
    world.backend.cut_after(u32::MAX / 2);
    assert!(world.look().is_empty());
    assert_eq!(world.next("s"), Some(3600));
    world.set(START + 3600);
    assert_eq!(world.run(), [time("01:00:00")]);
}
