//! Which paths and which symbolic links a package may have. Pure.
//!
//! Nothing is repaired but `./`: a path that some other reader would understand differently is
//! refused, because a reader that turns `../../etc/evil` into `etc/evil` hides an attack.

use std::cmp::Ordering;

use super::error::Problem;

/// As long as Linux lets a path be that a function can still open below `/var/task`, and more than
/// any real package has.
pub(super) const PATH_LIMIT_BYTES: usize = 1024;
/// Linux's own (NAME_MAX).
pub(super) const PART_LIMIT_BYTES: usize = 255;
/// Each entry of a hostile archive could otherwise imply hundreds of directories.
pub(super) const DEPTH_LIMIT: usize = 64;
pub(super) const LINK_LIMIT_BYTES: usize = 1024;

/// The path of an entry by the name that the archive has for it, without a slash at its end. Empty
/// for the package's own directory, `./`.
pub(super) fn clean(name: &[u8]) -> Result<String, Problem> {
    let name = std::str::from_utf8(name).map_err(|_| Problem::NotUtf8)?;
    if name.is_empty() {
        return Err(Problem::NoName);
    }
    if name.len() > PATH_LIMIT_BYTES {
        return Err(Problem::PathTooLong { limit_bytes: PATH_LIMIT_BYTES });
    }
    if name.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    if name.contains('\\') {
        return Err(Problem::Backslash);
    }
    if name.starts_with('/') {
        return Err(Problem::Absolute);
    }
    let path = name.strip_suffix('/').unwrap_or(name);
    for (index, part) in path.split('/').enumerate() {
        match part {
            "" => return Err(Problem::EmptyPart),
            ".." => return Err(Problem::Parent),
            _ if part.len() > PART_LIMIT_BYTES => {
                return Err(Problem::PartTooLong { limit_bytes: PART_LIMIT_BYTES });
            }
            _ if index >= DEPTH_LIMIT => return Err(Problem::TooDeep { limit: DEPTH_LIMIT }),
            _ => {}
        }
    }
    let parts: Vec<&str> = path.split('/').filter(|&part| part != ".").collect();
    Ok(parts.join("/"))
}

/// The target of the symbolic link at `path`, which must stay in the package.
///
/// `..` may stand at its beginning only. The link's own directory is a real one (nothing lies under
/// a link), so from there the steps up can be counted; behind another link they could not. Every
/// link that is passed on the way down obeys the same rule, so none leads out.
pub(super) fn link_target(path: &str, target: &[u8]) -> Result<String, Problem> {
    let target = std::str::from_utf8(target).map_err(|_| Problem::LinkText)?;
    if target.is_empty() || target.chars().any(|c| c.is_control() || c == '\\') {
        return Err(Problem::LinkText);
    }
    if target.starts_with('/') {
        return Err(Problem::LinkAbsolute);
    }
    let (mut left, mut down) = (path.split('/').count() - 1, false);
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if down => return Err(Problem::LinkSteps),
            ".." => left = left.checked_sub(1).ok_or(Problem::LinkLeaves)?,
            _ => down = true,
        }
    }
    Ok(target.to_owned())
}

/// Orders paths so that a directory comes right before everything in it.
pub(super) fn tree_order(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// Whether `path` lies in `directory`, at any depth.
pub(super) fn is_under(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The directories that `path` lies in and that the path before it in tree order neither is nor
/// lies in, outermost first.
pub(super) fn new_directories<'a>(
    before: &'a str,
    path: &'a str,
) -> impl Iterator<Item = &'a str> + 'a {
    path.match_indices('/')
        .map(|(at, _)| &path[..at])
        .filter(move |&directory| before != directory && !is_under(before, directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_stay_as_they_are() {
        for (name, path) in [
            ("a", "a"),
            ("a/b.c", "a/b.c"),
            ("dir/", "dir"),
            ("./a/./b", "a/b"),
            ("./", ""),
            (".hidden/..x", ".hidden/..x"),
            ("ünï/ço dé", "ünï/ço dé"),
        ] {
            assert_eq!(clean(name.as_bytes()).unwrap(), path);
        }
        let depth = vec!["d"; DEPTH_LIMIT].join("/");
        assert_eq!(clean(depth.as_bytes()).unwrap(), depth);
    }

    #[test]
    fn hostile_paths_are_refused() {
        let long = format!("{}/a", "a".repeat(255)).repeat(5);
        let part = "a".repeat(256);
        let deep = vec!["d"; DEPTH_LIMIT + 1].join("/");
        for (name, problem) in [
            ("", Problem::NoName),
            ("/", Problem::Absolute),
            ("/etc/passwd", Problem::Absolute),
            ("//a", Problem::Absolute),
            ("..", Problem::Parent),
            ("../a", Problem::Parent),
            ("a/../b", Problem::Parent),
            ("a/..", Problem::Parent),
            ("a//b", Problem::EmptyPart),
            ("a//", Problem::EmptyPart),
            ("a\\b", Problem::Backslash),
            ("..\\..\\a", Problem::Backslash),
            ("C:\\a", Problem::Backslash),
            ("a\0b", Problem::Control),
            ("a\nb", Problem::Control),
            ("a\u{9b}b", Problem::Control),
            (&long, Problem::PathTooLong { limit_bytes: 1024 }),
            (&part, Problem::PartTooLong { limit_bytes: 255 }),
            (&deep, Problem::TooDeep { limit: 64 }),
        ] {
            assert_eq!(clean(name.as_bytes()), Err(problem), "{name:?}");
        }
        assert_eq!(clean(b"a\xff"), Err(Problem::NotUtf8));
    }

    #[test]
    fn links_stay_inside() {
        for (path, target) in [
            ("l", "a"),
            ("l", "./a/b"),
            ("a/l", "../b"),
            ("a/b/l", "../../c"),
            ("a/l", ".."),
            ("l", "dir/"),
        ] {
            assert_eq!(link_target(path, target.as_bytes()).unwrap(), target);
        }
        for (path, target, problem) in [
            ("l", "", Problem::LinkText),
            ("l", "a\0b", Problem::LinkText),
            ("l", "/etc/passwd", Problem::LinkAbsolute),
            ("l", "..", Problem::LinkLeaves),
            ("a/l", "../../b", Problem::LinkLeaves),
            ("a/l", ".././../b", Problem::LinkLeaves),
            ("l", "a/../b", Problem::LinkSteps),
            ("a/l", "../b/../../c", Problem::LinkSteps),
        ] {
            assert_eq!(link_target(path, target.as_bytes()), Err(problem), "{path} {target:?}");
        }
    }

    #[test]
    fn a_directory_is_followed_by_what_is_in_it() {
        let mut paths = ["a-b", "a/z", "b", "a", "a/b/c", "a.b"];
        paths.sort_by(|a, b| tree_order(a, b));
        assert_eq!(paths, ["a", "a/b/c", "a/z", "a-b", "a.b", "b"]);
        let new = |before, path| new_directories(before, path).collect::<Vec<_>>();
        assert_eq!(new("", "a/b/c"), ["a", "a/b"]);
        assert_eq!(new("a", "a/b/c"), ["a/b"]);
        assert_eq!(new("a/b/c", "a/z"), Vec::<&str>::new());
        assert_eq!(new("a/bc/d", "a/b/c"), ["a/b"]);
    }
}
