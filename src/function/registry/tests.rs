//! The registry over a store in memory.

use super::*;
use crate::function::alias::Alias;
use crate::function::alias::tests::sample as alias;
use crate::function::model::LATEST;
use crate::function::model::tests::{ready, sample};
use crate::function::power_cut::Backend;
use crate::function::settings::Provisioned;
use crate::function::state::ReasonCode;

pub(super) const HERE: &str = "us-east-1";

pub(super) fn registry() -> Registry {
    Registry::new(Backend::default().open().unwrap(), "123456789012").unwrap()
}

fn reference(name: &str, qualifier: Option<Qualifier>) -> FunctionRef {
    FunctionRef { name: name.to_owned(), qualifier }
}

#[test]
fn what_is_created_is_found_in_its_region_only() {
    let registry = registry();
    registry.create(sample("f"), false).unwrap();
    assert_eq!(*registry.get(HERE, &reference("f", None)).unwrap(), sample("f"));
    assert!(registry.get(HERE, &reference("f", Some(Qualifier::Latest))).is_ok());
    assert!(registry.get("eu-west-1", &reference("f", None)).is_err());
    let version = reference("f", Some(Qualifier::Version("3".to_owned())));
    assert!(matches!(registry.get(HERE, &version), Err(FunctionError::NotFound { arn })
            if arn == "arn:aws:lambda:us-east-1:123456789012:function:f:3"));
}

#[test]
fn what_may_change_at_any_time_is_not_published() {
    let registry = registry();
    let mut function = sample("f");
    function.set_code(Code::Directory { path: "/src".to_owned() });
    let refused = |result: Result<_, FunctionError>| {
        assert!(matches!(result.map(drop), Err(FunctionError::NotPublishable)));
    };
    refused(registry.create(function.clone(), true).map(|_| ()));
    assert!(registry.latest(HERE, "f").is_none(), "nothing of it is kept");
    registry.create(sample("f"), true).unwrap();
    registry.set_state(&sample("f"), &ready()).unwrap();
    let change = |_: &Function| Ok::<_, FunctionError>(function.clone());
    refused(registry.update(HERE, "f", None, true, change).map(|_| ()));
    assert!(matches!(registry.latest(HERE, "f").unwrap().code, Code::Image { .. }));
    registry.update(HERE, "f", None, false, change).unwrap();
    refused(registry.publish(HERE, "f", &Publication::default()).map(|_| ()));
    let page = registry.versions(HERE, "f", None, 9).unwrap();
    assert_eq!(page.items.len(), 2, "the version that there was before stays");
}

#[test]
fn a_name_is_taken_once() {
    let registry = registry();
    registry.create(sample("f"), false).unwrap();
    assert!(matches!(registry.create(sample("f"), false),
        Err(FunctionError::AlreadyExists { name }) if name == "f"));
}

#[test]
fn pages_follow_each_other_without_gap() {
    let registry = registry();
    for name in ["c", "a", "b", "e", "d"] {
        registry.create(sample(name), false).unwrap();
    }
    let names = |after: Option<&str>| {
        let page = registry.list(HERE, after, 2);
        let names: Vec<String> = page.items.iter().map(|f| f.name.clone()).collect();
        (names.concat(), page.more)
    };
    assert_eq!(names(None), ("ab".to_owned(), true));
    // The marker's function may be gone by now.
    registry.delete(HERE, &reference("b", None)).unwrap();
    assert_eq!(names(Some("b")), ("cd".to_owned(), true));
    assert_eq!(names(Some("d")), ("e".to_owned(), false));
    assert!(registry.list("eu-west-1", None, 2).items.is_empty());
}

#[test]
fn deletion_is_of_whole_functions() {
    let registry = registry();
    registry.create(sample("f"), false).unwrap();
    let delete = |qualifier| registry.delete(HERE, &reference("f", qualifier)).unwrap_err();
    assert!(matches!(delete(Some(Qualifier::Latest)), FunctionError::LatestNotDeletable));
    let alias = Qualifier::Alias("live".to_owned());
    assert!(matches!(delete(Some(alias)), FunctionError::AliasNotDeletable));
    let version = Qualifier::Version("1".to_owned());
    assert!(matches!(delete(Some(version)), FunctionError::NotFound { .. }));
    registry.delete(HERE, &reference("f", None)).unwrap();
    assert!(matches!(delete(None), FunctionError::NotFound { .. }));
    assert!(registry.writer().functions().unwrap().is_empty());
}

#[test]
fn states_are_stored_and_wrong_steps_refused() {
    let registry = registry();
    let f = registry.create(sample("f"), false).unwrap().latest;
    let progress = Step::Progress("pulling".to_owned());
    let pending = registry.set_state(&f, &progress).unwrap();
    assert!(matches!(&pending.state, State::Pending { reason, .. } if reason == "pulling"));
    let active = registry.set_state(&f, &ready()).unwrap();
    assert_eq!(active.state, State::Active);
    assert_eq!(registry.writer().functions().unwrap(), [(*active).clone()]);
    assert!(matches!(
        registry.set_state(&f, &Step::Restore),
        Err(FunctionError::Transition { from: "Active", .. })
    ));
    assert!(matches!(
        registry.set_state(&Function { content_id: "older".to_owned(), ..sample("f") }, &ready()),
        Err(FunctionError::NotFound { .. })
    ));
}

#[test]
fn a_failed_commit_changes_nothing_in_the_view() {
    let backend = Backend::default();
    let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
    let f = registry.create(sample("f"), false).unwrap().latest;
    backend.cut();
    assert!(matches!(registry.create(sample("g"), false), Err(FunctionError::Store(_))));
    assert!(registry.delete(HERE, &reference("f", None)).is_err());
    assert!(registry.set_state(&f, &ready()).is_err());
    assert!(update(&registry, "f", true).is_err());
    assert!(registry.create_alias(alias("f", "live", LATEST)).is_err());
    assert_eq!(registry.all(), [f]);
    assert!(registry.alias(HERE, "f", "live").is_err());
}

fn update(registry: &Registry, name: &str, publish: bool) -> Result<Written, FunctionError> {
    let change = |function: &Function| {
        Ok(Function { timeout_s: function.timeout_s + 1, ..function.clone() })
    };
    registry.update::<FunctionError>(HERE, name, None, publish, change)
}

/// A function with versions 1 to `count`, each with a longer timeout than the one before.
pub(super) fn published(registry: &Registry, name: &str, count: u32) {
    let f = registry.create(sample(name), false).unwrap().latest;
    registry.set_state(&f, &ready()).unwrap();
    for _ in 0..count {
        let f = update(registry, name, false).unwrap().latest;
        registry.set_state(&f, &ready()).unwrap();
        registry.publish(HERE, name, &Publication::default()).unwrap();
    }
}

fn version(number: &str) -> FunctionRef {
    reference("f", Some(Qualifier::Version(number.to_owned())))
}

#[test]
fn a_version_stays_as_it_was_published() {
    let registry = registry();
    published(&registry, "f", 2);
    let timeout = |number| registry.get(HERE, &version(number)).unwrap().timeout_s;
    assert_eq!((timeout("1"), timeout("2")), (4, 5));
    let one = registry.get(HERE, &version("1")).unwrap();
    update(&registry, "f", false).unwrap();
    assert_eq!(registry.get(HERE, &version("1")).unwrap(), one);
    // Else an alias for it would not keep version 1 from being deleted.
    assert!(registry.get(HERE, &version("01")).is_err());
    let last = registry.get(HERE, &reference("f", Some(Qualifier::LatestPublished))).unwrap();
    assert_eq!(last.version, "2");
}

#[test]
fn nothing_new_is_published_as_nothing() {
    let registry = registry();
    published(&registry, "f", 1);
    let before = registry.latest(HERE, "f").unwrap();
    let wanted = Publication { description: Some("again".to_owned()), ..Publication::default() };
    let again = registry.publish(HERE, "f", &wanted).unwrap();
    assert_eq!((again.version.as_str(), again.description.as_str()), ("1", ""));
    assert_eq!(registry.latest(HERE, "f").unwrap(), before);
    // A number is not given again, also when its version is gone.
    registry.delete(HERE, &version("1")).unwrap();
    assert_eq!(registry.publish(HERE, "f", &wanted).unwrap().version, "2");
    assert_ne!(registry.latest(HERE, "f").unwrap().revision_id, before.revision_id);
}

#[test]
fn what_is_published_is_what_the_caller_has_seen() {
    let registry = registry();
    published(&registry, "f", 0);
    let publish = |wanted: Publication| registry.publish(HERE, "f", &wanted);
    let stale = Publication { revision_id: Some("old".to_owned()), ..Publication::default() };
    assert!(matches!(publish(stale), Err(FunctionError::OtherRevision)));
    let other = Publication { code_sha256: Some("cd34".to_owned()), ..Publication::default() };
    assert!(matches!(publish(other), Err(FunctionError::OtherCode { latest, .. })
        if latest == "ab12"));
    let latest = registry.latest(HERE, "f").unwrap();
    let seen = Publication {
        revision_id: Some(latest.revision_id.clone()),
        code_sha256: Some("ab12".to_owned()),
        description: Some("first".to_owned()),
    };
    assert_eq!(publish(seen).unwrap().description, "first");
}

#[test]
fn nothing_is_changed_or_published_in_the_middle_of_a_preparation() {
    let registry = registry();
    let f = registry.create(sample("f"), false).unwrap().latest;
    let publish = || registry.publish(HERE, "f", &Publication::default());
    assert!(matches!(publish(), Err(FunctionError::NotReady { state: "Pending" })));
    assert!(matches!(update(&registry, "f", false), Err(FunctionError::NotReady { .. })));
    registry.set_state(&f, &ready()).unwrap();
    update(&registry, "f", false).unwrap();
    assert!(matches!(publish(), Err(FunctionError::UpdateInProgress { arn })
        if arn.ends_with(":function:f")));
    assert!(matches!(update(&registry, "f", false), Err(FunctionError::UpdateInProgress { .. })));
    assert!(update(&registry, "g", false).is_err());
}

#[test]
fn what_is_published_with_a_change_becomes_ready_with_it() {
    let registry = registry();
    let created = registry.create(sample("f"), true).unwrap();
    assert_eq!(created.published.as_ref().unwrap().version, "1");
    registry.set_state(&created.latest, &ready()).unwrap();
    let one = registry.get(HERE, &version("1")).unwrap();
    assert_eq!((&one.state, one.code_sha256.as_str()), (&State::Active, "ab12"));
    let updated = update(&registry, "f", true).unwrap();
    let fail = Step::Fail { code: ReasonCode::InvalidImage, reason: "no".to_owned() };
    let latest = registry.set_state(&updated.latest, &fail).unwrap();
    assert_eq!(latest.state, State::Active);
    assert!(matches!(latest.last_update, Some(LastUpdate::Failed { .. })));
    let again = registry.publish(HERE, "f", &Publication::default());
    assert!(matches!(again, Err(FunctionError::NotReady { state: "Failed" })));
    let two = registry.get(HERE, &version("2")).unwrap();
    assert!(matches!(two.state, State::Failed { .. }));
    assert_eq!(*registry.get(HERE, &version("1")).unwrap(), *one);
}

#[test]
fn a_version_that_an_alias_needs_is_not_deleted() {
    let registry = registry();
    published(&registry, "f", 2);
    registry.create_alias(alias("f", "live", "1")).unwrap();
    assert!(matches!(registry.delete(HERE, &version("1")),
        Err(FunctionError::VersionInUse { aliases }) if aliases == ["live"]));
    let gone = registry.delete(HERE, &version("2")).unwrap();
    assert_eq!(gone[0].key(), "us-east-1/f/2");
    let gone = registry.delete(HERE, &reference("f", None)).unwrap();
    assert_eq!(gone.iter().map(|f| f.version.as_str()).collect::<Vec<_>>(), [LATEST, "1"]);
    assert!(registry.writer().functions().unwrap().is_empty());
    assert!(registry.writer().aliases().unwrap().is_empty());
}

#[test]
fn pages_of_versions_follow_each_other_without_gap() {
    let registry = registry();
    published(&registry, "f", 11);
    registry.create(sample("g"), false).unwrap();
    let page = |after, max| {
        let page = registry.versions(HERE, "f", after, max).unwrap();
        let versions: Vec<&str> = page.items.iter().map(|f| f.version.as_str()).collect();
        (versions.join(","), page.more)
    };
    assert_eq!(page(None, 3), ("$LATEST,1,2".to_owned(), true));
    assert_eq!(page(Some(LATEST), 1), ("1".to_owned(), true));
    assert_eq!(page(Some("8"), 9), ("9,10,11".to_owned(), false));
    let all = |after, max| {
        let page = registry.list_all(HERE, after, max);
        let keys: Vec<String> =
            page.items.iter().map(|f| format!("{}:{}", f.name, f.version)).collect();
        (keys.join(","), page.more)
    };
    assert_eq!(all(Some(("f", "9")), 9), ("f:10,f:11,g:$LATEST".to_owned(), false));
    assert_eq!(all(None, 2), ("f:$LATEST,f:1".to_owned(), true));
    assert_eq!(all(Some(("f", "11")), 1), ("g:$LATEST".to_owned(), false));
    assert_eq!(all(Some(("a", "1")), 1), ("f:$LATEST".to_owned(), true));
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let backend = Backend::default();
    let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
    published(&registry, "f", 2);
    registry.create_alias(alias("f", "live", "1")).unwrap();
    let restarted = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
    assert_eq!(restarted.all(), registry.all());
    for number in ["1", "2"] {
        let found = |registry: &Registry| registry.get(HERE, &version(number)).unwrap();
        assert_eq!(found(&restarted), found(&registry));
    }
    assert_eq!(*restarted.alias(HERE, "f", "live").unwrap(), alias("f", "live", "1"));
}

#[test]
fn an_alias_with_provisioned_concurrency_moves_only_to_what_can_run() {
    let registry = registry();
    published(&registry, "f", 1);
    registry.create_alias(alias("f", "live", "1")).unwrap();
    registry.create_alias(alias("f", "test", "1")).unwrap();
    let live = reference("f", Some(Qualifier::Alias("live".to_owned())));
    let promised = registry.change_promise(HERE, &live, |settings, others| {
        let provisioned = Provisioned { requested: 1, modified_ms: 0 };
        settings.provisioned.insert("live".to_owned(), provisioned);
        Ok::<_, FunctionError>(others)
    });
    assert_eq!(promised.unwrap(), 0, "its own promises are none of the others'");
    update(&registry, "f", true).unwrap(); // version 2, whose code is still to be prepared
    let point = |name: &str| {
        let change =
            |old: &Alias| Ok::<_, FunctionError>(Alias { version: "2".to_owned(), ..old.clone() });
        registry.update_alias((HERE, "f", name), None, change)
    };
    assert!(matches!(point("live"), Err(FunctionError::NotReady { state: "Pending" })));
    assert_eq!(registry.alias(HERE, "f", "live").unwrap().version, "1");
    assert_eq!(point("test").unwrap().version, "2");
}
