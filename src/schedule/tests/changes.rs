//! What changes of schedules and groups do.

use super::*;

fn told(result: Result<(), ScheduleError>) -> String {
    format!("{:?}", result.unwrap_err())
}

#[test]
fn a_name_is_taken_once_and_the_same_call_is_no_other() {
    let world = World::new(MissedRuns::Once);
    let create = |token: &str, expression: &str| {
        world.schedules.create(named("s"), definition(expression), token)
    };
    create("t", "rate(1 hour)").unwrap();
    create("t", "rate(1 hour)").unwrap();
    for (token, expression) in [("u", "rate(1 hour)"), ("", "rate(1 hour)"), ("t", "rate(2 hours)")]
    {
        assert_eq!(told(create(token, expression)), "ScheduleExists(\"s\")");
    }
    world.schedules.delete(named("s"), Some("d")).unwrap();
    world.schedules.delete(named("s"), Some("d")).unwrap();
    assert_eq!(told(world.schedules.delete(named("s"), Some("e"))), "NoSchedule(\"s\")");
    assert_eq!(told(world.schedules.delete(named("s"), None)), "NoSchedule(\"s\")");
    let nowhere = Name { region: HERE, group: "g", name: "s" };
    assert_eq!(told(world.schedules.delete(nowhere, None)), "NoGroup(\"g\")");
    let create = world.schedules.create(nowhere, definition("rate(1 hour)"), "");
    assert_eq!(told(create), "NoGroup(\"g\")");
}

#[test]
fn there_are_as_many_as_may_be() {
    let world = World::new(MissedRuns::Once);
    for number in 0..5 {
        world.create(&format!("s{number}"), "rate(1 hour)");
    }
    let one_more = || world.schedules.create(named("x"), definition("rate(1 hour)"), "");
    assert_eq!(told(one_more()), "TooMany(5)");
    world.schedules.delete(named("s0"), None).unwrap();
    one_more().unwrap();
}

#[test]
fn a_time_that_has_passed_is_no_time() {
    let world = World::new(MissedRuns::Once);
    let create = |name: &str, at: &str| {
        world.schedules.create(named(name), definition(&format!("at(2026-11-26T{at})")), "")
    };
    create("a", "23:59:00").unwrap();
    assert_eq!(told(create("b", "23:58:59")), "Over");
}

#[test]
fn an_update_keeps_the_time_of_runs_that_it_does_not_concern() {
    let mut world = World::new(MissedRuns::Once);
    world.create("s", "rate(1 hour)");
    assert_eq!(world.run().len(), 1);
    world.pass(600);
    let mut asked = definition("rate(1 hour)");
    asked["Target"]["Input"] = "\"other\"".into();
    world.schedules.update(named("s"), asked.clone(), "t").unwrap();
    assert!(world.run().is_empty());
    let modified_ms = world.schedules.get(named("s")).unwrap().modified_ms;
    world.pass(1);
    // The same call again changes nothing.
    world.schedules.update(named("s"), asked, "t").unwrap();
    assert_eq!(world.schedules.get(named("s")).unwrap().modified_ms, modified_ms);
    assert_eq!(world.next("s"), Some(3600));
    world.set(START + 3600);
    assert_eq!(world.run(), ["\"other\""]);
    // Another rate begins anew.
    world.pass(100);
    world.schedules.update(named("s"), definition("rate(2 hours)"), "").unwrap();
    assert_eq!(world.run(), [time("01:01:40")]);
    let record = world.schedules.get(named("s")).unwrap();
    assert_eq!(record.created_ms, START as u64 * 1000);
    assert_eq!(
        told(world.schedules.update(named("x"), definition("rate(1 day)"), "")),
        "NoSchedule(\"x\")"
    );
}

#[test]
fn a_schedule_that_is_over_can_be_changed_and_made_to_run_again() {
    let mut world = World::new(MissedRuns::Once);
    let once = "at(2026-11-27T00:10:00)";
    world.create("s", once);
    world.pass(600);
    assert_eq!(world.run(), [time("00:10:00")]);
    world.pass(600);
    for state in ["DISABLED", "ENABLED"] {
        let mut asked = definition(once);
        asked["State"] = state.into();
        world.schedules.update(named("s"), asked, "").unwrap();
        assert!(world.run().is_empty());
    }
    let other = definition("at(2026-11-27T00:11:00)");
    assert_eq!(told(world.schedules.update(named("s"), other, "")), "Over");
    world.schedules.update(named("s"), definition("at(2026-11-27T00:30:00)"), "").unwrap();
    let mut world = world.restarted();
    world.pass(600);
    assert_eq!(world.run(), [time("00:30:00")]);
}

#[test]
fn what_changes_while_its_run_is_sent_goes_its_own_way() {
    let mut world = World::new(MissedRuns::Once);
    world.create("changed", "rate(1 hour)");
    world.create("deleted", "rate(1 hour)");
    world.create("renewed", "rate(1 hour)");
    let sent = world.look();
    assert_eq!(sent.len(), 3);
    world.schedules.delete(named("deleted"), None).unwrap();
    world.create("deleted", "cron(0 5 * * ? *)");
    world.schedules.update(named("changed"), definition("cron(0 6 * * ? *)"), "").unwrap();
    let mut asked = definition("rate(1 hour)");
    asked["Description"] = "x".into();
    world.schedules.update(named("renewed"), asked, "").unwrap();
    for one in sent {
        world.answer(one, Ok(()));
    }
    assert_eq!(world.next("deleted"), Some(5 * 3600));
    assert_eq!(world.next("changed"), Some(6 * 3600));
    assert_eq!(world.next("renewed"), Some(3600));
    assert!(world.run().is_empty());
}

#[test]
fn a_run_of_this_second_does_not_run_again_for_an_update() {
    let mut world = World::new(MissedRuns::Once);
    world.create("s", "cron(* * * * ? *)");
    assert_eq!(world.run(), [time("00:00:00")]);
    let mut asked = definition("cron(* * * * ? *)");
    asked["EndDate"] = (START + 86_400).into();
    world.schedules.update(named("s"), asked, "").unwrap();
    assert!(world.run().is_empty());
    assert_eq!(world.next("s"), Some(60));
}

#[test]
fn lists_have_pages_and_filters() {
    let world = World::new(MissedRuns::Once);
    world.schedules.create_group(HERE, "g", Default::default(), "").unwrap();
    for (group, name) in [("default", "a1"), ("default", "a2"), ("default", "b"), ("g", "a1")] {
        let name = Name { region: HERE, group, name };
        world.schedules.create(name, definition("rate(1 hour)"), "").unwrap();
    }
    let mut asked = definition("rate(1 hour)");
    asked["State"] = "DISABLED".into();
    world.schedules.update(named("a2"), asked, "").unwrap();
    let list = |filter: Filter<'_>, max| {
        let (found, more) = world.schedules.list(&Filter { region: HERE, ..filter }, max).unwrap();
        let names = found.into_iter().map(|s| format!("{}/{}", s.group, s.name));
        (names.collect::<Vec<_>>(), more)
    };
    let all = ["default/a1", "default/a2", "default/b", "g/a1"];
    assert_eq!(list(Filter::default(), 4), (all.map(str::to_owned).to_vec(), false));
    assert!(list(Filter::default(), 3).1);
    let after = |last| Filter { after: Some(last), ..Filter::default() };
    assert_eq!(list(after("default/b"), 3), (vec!["g/a1".to_owned()], false));
    let prefix = Filter { prefix: Some("a"), group: Some("default"), ..Filter::default() };
    assert_eq!(list(prefix, 9).0, all[..2]);
    let disabled = Filter { enabled: Some(false), ..Filter::default() };
    assert_eq!(list(disabled, 9).0, all[1..2]);
    let elsewhere = Filter { region: "eu-west-1", ..Filter::default() };
    assert!(world.schedules.list(&elsewhere, 9).unwrap().0.is_empty());
    let unknown = Filter { region: HERE, group: Some("x"), ..Filter::default() };
    assert!(matches!(world.schedules.list(&unknown, 9), Err(ScheduleError::NoGroup(_))));
}

#[test]
fn a_group_is_there_with_its_tags_and_goes_with_its_schedules() {
    let world = World::new(MissedRuns::Once);
    let tags = std::collections::BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let create = |token: &str| world.schedules.create_group(HERE, "g", tags.clone(), token);
    create("t").unwrap();
    create("t").unwrap();
    assert_eq!(told(create("u")), "GroupExists(\"g\")");
    let name = Name { region: HERE, group: "g", name: "s" };
    world.schedules.create(name, definition("rate(1 hour)"), "").unwrap();
    let world = world.restarted();
    let change = |kept: &mut std::collections::BTreeMap<String, String>| {
        kept.remove("k");
        kept.insert("l".to_owned(), "w".to_owned());
        Ok::<(), ScheduleError>(())
    };
    world.schedules.change_tags(HERE, "g", change).unwrap();
    let world = world.restarted();
    let group = world.schedules.group(HERE, "g").unwrap();
    assert_eq!(group.tags.into_iter().collect::<Vec<_>>(), [("l".to_owned(), "w".to_owned())]);
    let names = |prefix: &str, after: Option<&str>, max| {
        let (found, more) = world.schedules.groups(HERE, prefix, after, max);
        (found.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), more)
    };
    let both = vec!["default".to_owned(), "g".to_owned()];
    assert_eq!(names("", None, 9), (both.clone(), false));
    assert_eq!(names("", None, 1), (both[..1].to_vec(), true));
    assert_eq!(names("", Some("default"), 1), (both[1..].to_vec(), false));
    assert_eq!(names("g", None, 9).0, both[1..]);
    world.schedules.delete_group(HERE, "g").unwrap();
    assert_eq!(told(world.schedules.delete_group(HERE, "g")), "NoGroup(\"g\")");
    assert!(world.names().is_empty() && world.schedules.get(name).is_err());
    for result in [
        world.schedules.delete_group(HERE, DEFAULT_GROUP),
        world.schedules.change_tags(HERE, DEFAULT_GROUP, change),
    ] {
        assert_eq!(told(result), "DefaultGroup");
    }
    assert_eq!(
        told(world.schedules.create_group(HERE, DEFAULT_GROUP, tags, "")),
        "GroupExists(\"default\")"
    );
    assert!(world.restarted().names().is_empty());
}
