//! The `[auth]` section: which callers may come from elsewhere, as whom, and what they may do.
//!
//! The files that it names are read here, so that `--check-config` finds what is wrong with them; a
//! running service reads the section again at SIGHUP. A secret has to be readable by its owner alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeValue;

use super::aws::{self, Secret};
use super::error::ConfigError;
use super::raw::{RawAuth, Setting};
use super::text;
use super::validate::Check;
use crate::access::policy::{self, Policy};

const MAX_KEYS: usize = 1024;
const MAX_ROLES: usize = 1024;
const MAX_PROXIES: usize = 64;

const REQUIRE: &str = "\"remote\" or \"always\"";
const PROXIES: &str = "a list of at most 64 IP addresses";
const KEYS: &str = "a list of at most 1024 tables, each with access_key_id (1 to 128 letters, \
    digits, '_', '-' or '.', each another one), secret_file and policy_file (absolute paths)";
const ROLES: &str = "a list of at most 1024 tables, each with arn (arn:...:iam::ACCOUNT:role/NAME, \
    each another one) and policy_file (an absolute path)";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Whether callers on loopback have to sign as others do.
    pub always: bool,
    /// Reverse proxies: who calls through one is not who its address says.
    pub trusted_proxies: Vec<IpAddr>,
    /// By access key id.
    pub keys: HashMap<String, AccessKey>,
    /// What functions may do that have this role, by its ARN.
    pub roles: HashMap<String, Arc<Policy>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub secret: Secret,
    pub policy: Arc<Policy>,
}

pub(super) fn auth(check: &Check<'_>, raw: &RawAuth<'_>) -> Result<Auth, ConfigError> {
    let require = |text: &str| match text {
        "remote" => Some(false),
        "always" => Some(true),
        _ => None,
    };
    let address = |text: &str| text.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    let mut auth = Auth {
        always: check
            .text("auth.require_signature", &raw.require_signature, REQUIRE, require)?
            .unwrap_or(false),
        trusted_proxies: check.texts(
            "auth.trusted_proxies",
            &raw.trusted_proxies,
            PROXIES,
            MAX_PROXIES,
            address,
        )?,
        keys: HashMap::new(),
        roles: HashMap::new(),
    };
    let names = ["access_key_id", "secret_file", "policy_file"];
    for (item, [id, secret, policy]) in
        check.tables("auth.keys", &raw.keys, KEYS, MAX_KEYS, names)?
    {
        let id = text::access_key_id(&id).flatten().filter(|id| !auth.keys.contains_key(id));
        let (Some(id), Some(secret), Some(policy)) = (id, text::path(&secret), text::path(&policy))
        else {
            return Err(check.refuse(item, "auth.keys", KEYS));
        };
        let key = AccessKey { secret: read_secret(&secret)?, policy: read_policy(&policy)? };
        auth.keys.insert(id, key);
    }
    for (item, [arn, policy]) in
        check.tables("auth.roles", &raw.roles, ROLES, MAX_ROLES, ["arn", "policy_file"])?
    {
        let is_role = arn.starts_with("arn:") && arn.contains(":iam::") && arn.contains(":role/");
        let (Some(policy), true, false) =
            (text::path(&policy), is_role, auth.roles.contains_key(&arn))
        else {
            return Err(check.refuse(item, "auth.roles", ROLES));
        };
        auth.roles.insert(arn, read_policy(&policy)?);
    }
    Ok(auth)
}

fn read_secret(path: &Path) -> Result<Secret, ConfigError> {
    let private = || {
        // The file that is read is the one that was looked at.
        let file = File::open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            let rule = "it must be readable by its owner alone (chmod 600)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, rule));
        }
        aws::one_line(file)
    };
    private().map_err(|source| ConfigError::SecretFile { file: path.display().to_string(), source })
}

fn read_policy(path: &Path) -> Result<Arc<Policy>, ConfigError> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(policy::MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
        if text.len() > policy::MAX_BYTES {
            let rule = format!("a policy has at most {} bytes", policy::MAX_BYTES);
            return Err(io::Error::new(io::ErrorKind::InvalidData, rule));
        }
        Policy::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    read()
        .map(Arc::new)
        .map_err(|source| ConfigError::PolicyFile { file: PathBuf::from(path), source })
}

/// The members of a table that are all there and all texts, in the order of their names.
pub(super) fn members<const N: usize>(item: &Setting<'_>, names: [&str; N]) -> Option<[String; N]> {
    let DeValue::Table(table) = item.get_ref() else { return None };
    if table.len() != N {
        return None;
    }
    let mut found = [const { String::new() }; N];
    for (slot, name) in found.iter_mut().zip(names) {
        *slot = table.get(name)?.get_ref().as_str()?.to_owned();
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::raw::Source;
    use super::super::validate;
    use super::*;

    const ALL: &str = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

    /// A directory of files for one test, gone afterwards.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Files {
            let path =
                std::env::temp_dir().join(format!("lambda-auth-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Files(path)
        }

        fn with(&self, name: &str, text: &str, mode: u32) -> String {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn read(section: &str) -> Result<Auth, String> {
        let text = format!("[auth]\n{section}");
        let source = Source { file: "config.toml", text: &text };
        let config = validate::config(source, &|_| None).map_err(|error| error.to_string());
        config.map(|config| config.auth)
    }

    #[test]
    fn keys_and_roles_come_with_their_files() {
        let files = Files::new("good");
        let secret = files.with("s", "very/secret\n", 0o600);
        let policy = files.with("p", ALL, 0o644);
        let auth = read(&format!(
            "require_signature = \"always\"\ntrusted_proxies = [\"127.0.0.1\", \"::ffff:10.0.0.1\"]\n\
             roles = [{{ arn = \"arn:aws:iam::000000000000:role/r\", policy_file = \"{policy}\" }}]\n\
             [[auth.keys]]\naccess_key_id = \"AK\"\nsecret_file = \"{secret}\"\npolicy_file = \"{policy}\"\n"
        ))
        .unwrap();
        assert!(auth.always && auth.roles.contains_key("arn:aws:iam::000000000000:role/r"));
        assert_eq!(auth.trusted_proxies[1], IpAddr::from([10, 0, 0, 1]));
        assert_eq!(auth.keys["AK"].secret.reveal(), "very/secret");
        assert!(!format!("{auth:?}").contains("very"));
        let none = read("").unwrap();
        assert!(!none.always && none.keys.is_empty() && none.trusted_proxies.is_empty());
    }

    #[test]
    fn what_others_can_read_is_no_secret() {
        let files = Files::new("open");
        let policy = files.with("p", ALL, 0o644);
        for mode in [0o640, 0o604, 0o666] {
            let secret = files.with("s", "x\n", mode);
            let text = read(&format!(
                "keys = [{{ access_key_id = \"A\", secret_file = \"{secret}\", policy_file = \"{policy}\" }}]"
            ))
            .unwrap_err();
            assert!(text.ends_with("readable by its owner alone (chmod 600)"), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let files = Files::new("bad");
        let secret = files.with("s", "x\n", 0o600);
        let policy = files.with("p", ALL, 0o644);
        let broken = files.with("b", "{}", 0o644);
        let key = |id: &str, policy: &str| {
            format!(
                "{{ access_key_id = \"{id}\", secret_file = \"{secret}\", policy_file = \"{policy}\" }}"
            )
        };
        let (good, twice) = (key("A", &policy), format!("{0}, {0}", key("A", &policy)));
        assert!(read(&format!("keys = [{good}]")).is_ok());
        for (text, told) in [
            (format!("keys = [{twice}]"), "config.toml:2: auth.keys = "),
            (format!("keys = [{}]", key("", &policy)), "config.toml:2: auth.keys = "),
            (format!("keys = [{}]", key("A", "p")), "config.toml:2: auth.keys = "),
            ("keys = [{ access_key_id = \"A\" }]".to_owned(), "config.toml:2: auth.keys = "),
            ("keys = [1]".to_owned(), "config.toml:2: auth.keys = 1 is not allowed"),
            ("keys = 1".to_owned(), "config.toml:2: auth.keys = 1 is not allowed"),
            (format!("keys = [{}]", key("A", &broken)), "cannot read the policy: a policy needs"),
            (format!("keys = [{}]", key("A", "/nonexistent")), "cannot read the policy: "),
            ("roles = [{ arn = \"r\", policy_file = \"/x\" }]".to_owned(), "auth.roles = "),
            ("require_signature = \"never\"".to_owned(), "must be \"remote\" or \"always\""),
            ("trusted_proxies = [\"proxy\"]".to_owned(), "must be a list of at most 64 IP"),
        ] {
            let found = read(&text).unwrap_err();
            assert!(found.contains(told), "{text}: {found}");
        }
    }
}
