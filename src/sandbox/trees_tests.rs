//! Trees with the real kernel; only the time is played.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// A directory of its own for one test: `root/sub/deep`.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("lambda-trees-{}-{name}", std::process::id());
        let place = Place(std::env::temp_dir().canonicalize().unwrap().join(name));
        fs::create_dir_all(place.0.join("root/sub/deep")).unwrap();
        place
    }

    fn path(&self, under: &str) -> PathBuf {
        self.0.join(under)
    }

    fn text(&self, under: &str) -> String {
        self.path(under).to_str().unwrap().to_owned()
    }

    fn write(&self, under: &str) {
        fs::write(self.path(under), "x").unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Trees with their clock.
struct Watched {
    trees: Trees,
    now: Instant,
}

impl Watched {
    fn new(limits: Limits) -> Watched {
        Watched { trees: Trees::new(limits).unwrap(), now: Instant::now() }
    }

    fn watch(&self, root: &str, user: &str) {
        assert_eq!(self.trees.watch(root, user, |_| true), None);
    }

    /// What has changed when this time has passed.
    fn after(&mut self, time: Duration) -> Vec<Changed> {
        self.now += time;
        self.trees.changed(self.now).unwrap()
    }

    /// Whether what was just done is a change of the tree at `root`, which is watched for `f`.
    fn sees(&mut self, root: &str) -> bool {
        assert_eq!(self.after(Duration::ZERO), [], "it may not be over");
        let changed = self.after(QUIET);
        let expected = Changed { root: root.to_owned(), users: vec!["f".to_owned()] };
        assert!(changed.is_empty() || changed == [expected], "{changed:?}");
        !changed.is_empty()
    }

    fn watches(&self) -> usize {
        self.trees.lock().iter().map(|tree| tree.watches.len()).sum()
    }
}

#[test]
fn every_change_is_seen_once_at_any_depth() {
    let (place, mut watched) = (Place::new("changes"), Watched::new(LIMITS));
    let root = place.text("root");
    let path = |under: &str| place.path(under);
    place.write("root/sub/deep/there");
    let changes: [(&str, &dyn Fn()); 8] = [
        ("a new file", &|| place.write("root/new")),
        ("a new text", &|| place.write("root/sub/deep/there")),
        ("another mode", &|| {
            fs::set_permissions(path("root/new"), Permissions::from_mode(0o755)).unwrap();
        }),
        ("another name", &|| fs::rename(path("root/new"), path("root/sub/newer")).unwrap()),
        ("a link", &|| symlink("nowhere", path("root/sub/link")).unwrap()),
        ("a directory", &|| fs::create_dir(path("root/sub/made")).unwrap()),
        ("a file that goes", &|| fs::remove_file(path("root/sub/deep/there")).unwrap()),
        ("everything", &|| fs::remove_dir_all(path("root")).unwrap()),
    ];
    for (what, change) in changes {
        watched.watch(&root, "f");
        assert!(!watched.sees(&root), "before {what}");
        change();
        assert!(watched.sees(&root), "{what}");
        place.write("unwatched");
        assert!(!watched.sees(&root) && watched.watches() == 0, "the tree was let go");
    }
}

#[test]
fn what_no_function_reads_is_no_change() {
    let (place, mut watched) = (Place::new("noise"), Watched::new(LIMITS));
    let root = place.text("root");
    fs::create_dir(place.path("root/.git")).unwrap();
    watched.watch(&root, "f");
    place.write("root/.git/index.lock");
    place.write("beside");
    for name in [".a.py.swp", "a.py~", ".#a.py", "#a.py#", "4913"] {
        place.write(&format!("root/sub/{name}"));
    }
    fs::create_dir(place.path("root/__pycache__")).unwrap();
    fs::read(place.path("root/sub/a.py~")).unwrap();
    assert!(!watched.sees(&root));
    for name in ["swp", "a.swp", ".env", "#", "git", "4913.py", "tilde~.py"] {
        watched.watch(&root, "f");
        place.write(&format!("root/sub/{name}"));
        // A single # is both ends of its name.
        assert_eq!(watched.sees(&root), name != "#", "{name}");
    }
}

#[test]
fn changes_are_over_when_it_is_still_or_after_the_longest_time() {
    let (place, mut watched) = (Place::new("still"), Watched::new(LIMITS));
    let root = place.text("root");
    watched.watch(&root, "f");
    let step = QUIET - Duration::from_millis(1);
    place.write("root/a");
    assert_eq!(watched.after(Duration::ZERO), []);
    let begun = watched.now;
    while watched.now + step < begun + LONGEST {
        place.write("root/a");
        assert_eq!(watched.after(step), [], "it is not still yet");
    }
    place.write("root/a");
    assert_eq!(watched.after(step).len(), 1, "it never is");
    watched.watch(&root, "f");
    place.write("root/a");
    assert_eq!(watched.after(Duration::ZERO), []);
    place.write("root/a");
    assert_eq!(watched.after(step), []);
    assert_eq!(watched.after(step), []);
    assert_eq!(watched.after(QUIET - step).len(), 1);
}

#[test]
fn trees_that_overlap_are_told_apart_and_keep_what_they_share() {
    let (place, mut watched) = (Place::new("overlap"), Watched::new(LIMITS));
    let (root, sub) = (place.text("root"), place.text("root/sub"));
    watched.watch(&root, "outer");
    watched.watch(&sub, "inner");
    watched.watch(&sub, "inner, too");
    watched.watch(&sub, "inner");
    place.write("root/a");
    watched.after(Duration::ZERO);
    let outer = Changed { root, users: vec!["outer".to_owned()] };
    assert_eq!(watched.after(QUIET), [outer]);
    place.write("root/sub/deep/a");
    watched.after(Duration::ZERO);
    let users = vec!["inner".to_owned(), "inner, too".to_owned()];
    assert_eq!(watched.after(QUIET), [Changed { root: sub, users }]);
}

#[test]
fn who_is_not_in_use_any_more_is_let_go() {
    let (place, watched) = (Place::new("unused"), Watched::new(LIMITS));
    fs::create_dir(place.path("other")).unwrap();
    watched.watch(&place.text("root"), "gone");
    watched.watch(&place.text("root/sub"), "stays");
    watched.watch(&place.text("root/sub"), "gone");
    assert_eq!(watched.watches(), 5);
    watched.trees.watch(&place.text("other"), "new", |user| user != "gone");
    let trees = watched.trees.lock();
    let users: Vec<String> = trees.iter().flat_map(|tree| tree.users.clone()).collect();
    assert_eq!(users, ["stays", "new"]);
    assert_eq!(trees.iter().map(|tree| tree.watches.len()).sum::<usize>(), 3);
}

#[test]
fn a_tree_that_took_the_place_of_the_watched_one_is_a_change() {
    let (place, mut watched) = (Place::new("replaced"), Watched::new(LIMITS));
    let deep = place.text("root/sub/deep");
    watched.watch(&deep, "f");
    // Nothing happens to the watched directory itself.
    fs::rename(place.path("root"), place.path("old")).unwrap();
    fs::create_dir_all(place.path("root/sub/deep")).unwrap();
    assert!(!watched.sees(&deep));
    let replaced = watched.trees.watch(&deep, "g", |_| true);
    assert_eq!(replaced, Some(Changed { root: deep.clone(), users: vec!["f".to_owned()] }));
    place.write("old/sub/deep/a");
    assert_eq!(watched.after(QUIET), []);
    place.write("root/sub/deep/a");
    watched.after(Duration::ZERO);
    assert_eq!(watched.after(QUIET).len(), 1);
}

#[test]
fn a_tree_beyond_the_limits_is_watched_from_its_root_as_far_as_they_go() {
    let place = Place::new("limits");
    let root = place.text("root");
    for number in 0..6 {
        fs::create_dir(place.path(&format!("root/sub/{number}"))).unwrap();
    }
    let mut watched = Watched::new(Limits { directories: 4, entries: 100 });
    watched.watch(&root, "f");
    assert_eq!(watched.watches(), 4);
    fs::create_dir(place.path("other")).unwrap();
    watched.watch(&place.text("other"), "g");
    assert_eq!(watched.watches(), 4, "of all trees together");
    place.write("root/sub/seen");
    assert!(watched.sees(&root));

    let mut watched = Watched::new(Limits { directories: 100, entries: 3 });
    watched.watch(&root, "f");
    assert_eq!(watched.watches(), 2, "root and sub, whose entries are too many");
    place.write("root/sub/seen");
    assert!(watched.sees(&root));

    let watched = Watched::new(Limits { directories: 0, entries: 3 });
    watched.watch(&root, "f");
    watched.watch(&root, "f"); // which is no other tree than before, as far as one can know
    assert_eq!(watched.watches(), 0);
}

#[test]
fn lost_events_are_a_change_of_every_tree() {
    let (place, watched) = (Place::new("overflow"), Watched::new(LIMITS));
    watched.watch(&place.text("root"), "f");
    fs::create_dir(place.path("other")).unwrap();
    watched.watch(&place.text("other"), "g");
    let mut trees = watched.trees.lock();
    note(&mut trees, -1, ReadFlags::QUEUE_OVERFLOW, b"", watched.now);
    assert!(trees.iter().all(|tree| tree.changes.is_some()));
    assert!(Path::new(&trees[0].root).is_dir());
}
