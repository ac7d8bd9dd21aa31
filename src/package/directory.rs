//! Code that stays where it is: a directory of this host, which containers see as it is now (hot
//! reload, for development).
//!
//! Says which directories may be mounted. It is asked when a function is deployed and again before
//! each mount, because a directory may go, or become a link to another place, at any time. What it
//! cannot know is what happens between its answer and the Engine's mount: who may write below an
//! allowed directory is trusted not to swap it in that moment.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Read and enter, for everybody: the function's user is nobody's on the host.
const READABLE: u32 = 0o005;

/// The directories that may be mounted: those below the configured ones, and these themselves.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Without symbolic links on their way.
    allowed: Vec<PathBuf>,
}

/// Why a directory cannot be a function's code. The texts are for who deploys or invokes.
#[derive(Debug)]
pub enum DirectoryError {
    Off,
    /// It is not the plain absolute path of anything.
    Path,
    Outside(String),
    Unreachable(String, io::Error),
    NotADirectory(String),
    NotReadable(String),
}

impl Directories {
    /// None allowed: hot reload is off.
    pub fn new(allowed: Vec<PathBuf>) -> Directories {
        Directories { allowed }
    }

    pub fn is_off(&self) -> bool {
        self.allowed.is_empty()
    }

    /// The directory's path without symbolic links, if it may be mounted now.
    pub fn resolve(&self, path: &str) -> Result<String, DirectoryError> {
        if self.is_off() {
            return Err(DirectoryError::Off);
        }
        let plain = |part: Component<'_>| part != Component::ParentDir;
        let given = Path::new(path);
        if !given.is_absolute() || !given.components().all(plain) || path.contains(char::is_control)
        {
            return Err(DirectoryError::Path);
        }
        let told = || path.to_owned();
        let found = match given.canonicalize() {
            Ok(found) => found,
            // What lies elsewhere is not even told to be missing.
            Err(_) if !self.allows(given) => return Err(DirectoryError::Outside(told())),
            Err(error) => return Err(DirectoryError::Unreachable(told(), error)),
        };
        if !self.allows(&found) {
            return Err(DirectoryError::Outside(told()));
        }
        let metadata =
            fs::metadata(&found).map_err(|error| DirectoryError::Unreachable(told(), error))?;
        if !metadata.is_dir() {
            return Err(DirectoryError::NotADirectory(told()));
        }
        if metadata.permissions().mode() & READABLE != READABLE {
            return Err(DirectoryError::NotReadable(told()));
        }
        // The Engine takes JSON: a name that is no UTF-8 cannot be said to it.
        found.into_os_string().into_string().map_err(|_| DirectoryError::Path)
    }

    fn allows(&self, path: &Path) -> bool {
        self.allowed.iter().any(|allowed| path.starts_with(allowed))
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Off => f.write_str(
                "Hot reload is off: no directory is named in hot_reload_paths, section \
                 [development] of config.toml.",
            ),
            DirectoryError::Path => f.write_str(
                "The directory of a hot-reload function must be given as an absolute path without \
                 .. and control characters.",
            ),
            DirectoryError::Outside(path) => write!(
                f,
                "Directory {path:?}, its symbolic links followed, is not below one that \
                 hot_reload_paths, section [development] of config.toml, allows."
            ),
            DirectoryError::Unreachable(path, error) => match error.kind() {
                io::ErrorKind::NotFound => write!(f, "Directory {path:?} is not there."),
                _ => write!(f, "Directory {path:?} cannot be reached by the service: {error}."),
            },
            DirectoryError::NotADirectory(path) => write!(f, "{path:?} is not a directory."),
            DirectoryError::NotReadable(path) => write!(
                f,
                "Directory {path:?} is closed to the function's user: let everybody read and enter \
                 it (chmod o+rx)."
            ),
        }
    }
}

impl std::error::Error for DirectoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DirectoryError::Unreachable(_, error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree of its own for one test: `allowed/code/app.py` and `secret/`.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let name = format!("lambda-directory-{}-{name}", std::process::id());
            let place = Place(std::env::temp_dir().canonicalize().unwrap().join(name));
            for directory in ["allowed/code", "allowedly", "secret"] {
                fs::create_dir_all(place.0.join(directory)).unwrap();
                let open = fs::Permissions::from_mode(0o755);
                fs::set_permissions(place.0.join(directory), open).unwrap();
            }
            fs::write(place.0.join("allowed/code/app.py"), "").unwrap();
            place
        }

        fn path(&self, under: &str) -> String {
            self.0.join(under).to_str().unwrap().to_owned()
        }

        fn directories(&self) -> Directories {
            Directories::new(vec![self.0.join("allowed")])
        }

        fn refusal(&self, under: &str) -> DirectoryError {
            self.directories().resolve(&self.path(under)).unwrap_err()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_below_an_allowed_directory_is_taken_without_its_links() {
        let place = Place::new("taken");
        symlink(place.path("allowed/code"), place.path("allowed/link")).unwrap();
        symlink(place.path("allowed"), place.path("secret/back")).unwrap();
        let code = place.path("allowed/code");
        let directories = place.directories();
        for given in ["allowed/code", "allowed/code/", "allowed/./code", "allowed/link"] {
            assert_eq!(directories.resolve(&place.path(given)).unwrap(), code, "{given}");
        }
        assert_eq!(directories.resolve(&place.path("secret/back/code")).unwrap(), code);
        let itself = place.path("allowed");
        assert_eq!(directories.resolve(&itself).unwrap(), itself);
    }

    #[test]
    fn nothing_leads_out() {
        let place = Place::new("out");
        symlink(place.path("secret"), place.path("allowed/absolute")).unwrap();
        symlink("../secret", place.path("allowed/relative")).unwrap();
        symlink("loop", place.path("allowed/loop")).unwrap();
        for outside in ["allowed/absolute", "allowed/relative", "secret", "allowedly", "", "no"] {
            let refusal = place.refusal(outside);
            assert!(matches!(refusal, DirectoryError::Outside(_)), "{outside}: {refusal}");
        }
        for parent in ["allowed/../secret", "allowed/code/..", "allowed/../allowed/code"] {
            assert!(matches!(place.refusal(parent), DirectoryError::Path), "{parent}");
        }
        let refusal = place.refusal("allowed/loop");
        assert!(matches!(refusal, DirectoryError::Unreachable(..)), "{refusal}");
    }

    #[test]
    fn what_cannot_be_mounted_says_why() {
        let place = Place::new("why");
        let text = |under: &str| place.refusal(under).to_string();
        assert!(text("allowed/gone").ends_with("allowed/gone\" is not there."));
        assert!(text("allowed/code/app.py").ends_with("app.py\" is not a directory."));
        assert!(text("allowed/code/app.py/x").contains("cannot be reached by the service"));
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(place.0.join("allowed/code"), closed).unwrap();
        assert!(text("allowed/code").ends_with("(chmod o+rx)."));
        for path in ["", "relative", "./code", "$PWD/code", "/a\0b", "/a\nb", "~/code"] {
            let refusal = place.directories().resolve(path).unwrap_err();
            assert!(matches!(refusal, DirectoryError::Path), "{path:?}");
        }
        let odd = place.0.join("allowed").join(OsStr::from_bytes(b"\xff"));
        fs::create_dir(&odd).unwrap();
        fs::set_permissions(&odd, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&odd, place.path("allowed/to-odd")).unwrap();
        assert!(matches!(place.refusal("allowed/to-odd"), DirectoryError::Path));
    }

    #[test]
    fn without_an_allowed_directory_nothing_is() {
        let off = Directories::new(Vec::new());
        assert!(off.is_off() && matches!(off.resolve("/usr").unwrap_err(), DirectoryError::Off));
    }
}
