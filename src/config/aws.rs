//! The `[aws]` section: region and account in ARNs, where and as whom code is fetched from S3, and
//! whose key functions have.
//!
//! The variables are the ones that AWS's own clients read; they go over the file, but not for the
//! key of functions: the one of whoever starts the service is not theirs. The endpoint has
//! no TLS: a second implementation of it, C code included, would be linked for a fetch that happens
//! once per deployment, and a local plain endpoint or proxy does the same.
//!
//! Invariant: a secret is in no error, no log line and no `Debug` text. The secret's own file is
//! read here, so that `--check-config` finds it unreadable.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::{ConfigError, Place};
use super::raw::{RawAws, Setting};
use super::text;
use super::validate::Check;

/// The more special one goes first, as in AWS's clients:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
const KEY_VARIABLE: &str = "AWS_ACCESS_KEY_ID";
const SECRET_VARIABLE: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN_VARIABLE: &str = "AWS_SESSION_TOKEN";

/// AWS's secrets have 40 characters; other services' some more.
const MAX_SECRET_BYTES: u64 = 256;
/// AWS names no limit; its tokens have about 1 KB and travel in one header.
const MAX_TOKEN_BYTES: u64 = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    pub region: String,
    /// 12 digits, leading zeros included.
    pub account_id: String,
    /// The S3-compatible service that code is fetched from; None: code cannot come from S3.
    pub endpoint: Option<Endpoint>,
    /// Who fetches it; None: requests are not signed.
    pub credentials: Option<Credentials>,
    /// What functions find in their environment; None: nothing.
    pub function_credentials: Option<Credentials>,
}

/// `http://host[:port]`, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    /// Belongs to temporary credentials only.
    pub session_token: Option<Secret>,
}

/// Text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Printable ASCII without spaces: what AWS's keys and tokens are made of, and a header can hold.
    fn new(text: String, max_bytes: u64) -> Option<Secret> {
        let fits = !text.is_empty() && text.len() as u64 <= max_bytes;
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(Secret(text))
    }

    /// One that was made here.
    pub(crate) fn of_random(text: String) -> Secret {
        Secret(text)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The text itself, for who signs with it or sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

pub(super) fn aws(
    check: &Check<'_>,
    raw: &RawAws,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Aws, ConfigError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let in_file =
        check.text("aws.endpoint_url", &raw.endpoint_url, text::ENDPOINT_URL, endpoint)?;
    let variable = ENDPOINT_VARIABLES.iter().find_map(|name| Some((*name, set(name)?)));
    let endpoint = match variable {
        Some((name, url)) => endpoint(&url).ok_or_else(|| ConfigError::Value {
            place: Place::Environment,
            key: name.to_owned(),
            value: url,
            allowed: text::ENDPOINT_URL.to_owned(),
        })?,
        None => in_file.flatten(),
    };
    let aws = Aws {
        region: check
            .text("aws.region", &raw.region, text::REGION, text::region)?
            .unwrap_or_else(|| text::DEFAULT_REGION.to_owned()),
        account_id: check
            .text("aws.account_id", &raw.account_id, text::ACCOUNT_ID, text::account_id)?
            .unwrap_or_else(|| text::DEFAULT_ACCOUNT_ID.to_owned()),
        endpoint,
        credentials: credentials(check, raw, &set)?,
        function_credentials: pair_of_file(
            check,
            ("aws.function_access_key_id", &raw.function_access_key_id),
            ("aws.function_secret_access_key_file", &raw.function_secret_access_key_file),
        )?,
    };
    Ok(aws)
}

/// The key and its secret are taken from one place: a half from each would sign with a wrong pair.
fn credentials(
    check: &Check<'_>,
    raw: &RawAws,
    set: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Credentials>, ConfigError> {
    match (set(KEY_VARIABLE), set(SECRET_VARIABLE)) {
        (Some(id), Some(secret)) => {
            let access_key_id =
                text::access_key_id(&id).flatten().ok_or_else(|| ConfigError::Value {
                    place: Place::Environment,
                    key: KEY_VARIABLE.to_owned(),
                    value: id,
                    allowed: text::ACCESS_KEY_ID.to_owned(),
                })?;
            let session_token = set(TOKEN_VARIABLE)
                .map(|token| {
                    Secret::new(token, MAX_TOKEN_BYTES)
                        .ok_or(ConfigError::Secret { name: TOKEN_VARIABLE, limit: MAX_TOKEN_BYTES })
                })
                .transpose()?;
            let secret_access_key = Secret::new(secret, MAX_SECRET_BYTES)
                .ok_or(ConfigError::Secret { name: SECRET_VARIABLE, limit: MAX_SECRET_BYTES })?;
            Ok(Some(Credentials { access_key_id, secret_access_key, session_token }))
        }
        (Some(_), None) => Err(ConfigError::Alone(KEY_VARIABLE, SECRET_VARIABLE)),
        (None, Some(_)) => Err(ConfigError::Alone(SECRET_VARIABLE, KEY_VARIABLE)),
        (None, None) => pair_of_file(
            check,
            ("aws.access_key_id", &raw.access_key_id),
            ("aws.secret_access_key_file", &raw.secret_access_key_file),
        ),
    }
}

/// A key of the file with the content of the file that holds its secret.
fn pair_of_file(
    check: &Check<'_>,
    (id_key, id): (&'static str, &Option<Setting>),
    (file_key, file): (&'static str, &Option<Setting>),
) -> Result<Option<Credentials>, ConfigError> {
    let id = check.text(id_key, id, text::ACCESS_KEY_ID, text::access_key_id)?.flatten();
    match (id, secret_file(check, file_key, file)?) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Ok(Some(Credentials { access_key_id, secret_access_key, session_token: None }))
        }
        (Some(_), None) => Err(ConfigError::Alone(id_key, file_key)),
        (None, Some(_)) => Err(ConfigError::Alone(file_key, id_key)),
        (None, None) => Ok(None),
    }
}

/// The secret in the file that a key names; an empty name is the written form of "none".
pub(super) fn secret_file(
    check: &Check<'_>,
    key: &str,
    setting: &Option<Setting>,
) -> Result<Option<Secret>, ConfigError> {
    let name = |text: &str| {
        if text.is_empty() { Some(None) } else { text::path(text).map(Some) }
    };
    let Some(file) = check.text(key, setting, text::SECRET_FILE, name)?.flatten() else {
        return Ok(None);
    };
    read_secret(&file)
        .map(Some)
        .map_err(|source| ConfigError::SecretFile { file: file.display().to_string(), source })
}

/// One line; the line end that every editor writes is not part of the secret.
fn read_secret(file: &Path) -> io::Result<Secret> {
    one_line(File::open(file)?)
}

pub(super) fn one_line(file: File) -> io::Result<Secret> {
    let mut text = String::new();
    file.take(MAX_SECRET_BYTES + 2).read_to_string(&mut text)?;
    let line = text.trim_end_matches(['\r', '\n']).to_owned();
    Secret::new(line, MAX_SECRET_BYTES).ok_or_else(|| {
        let rule = "the file must hold one line of 1 to 256 printable characters without spaces";
        io::Error::new(io::ErrorKind::InvalidData, rule)
    })
}

/// An empty text is the written form of "none".
pub(super) fn endpoint(text: &str) -> Option<Option<Endpoint>> {
    if text.is_empty() {
        return Some(None);
    }
    let authority = text.strip_prefix("http://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "80"),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    let numeric = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => false,
    };
    (numeric || text::host_name(host)).then(|| Some(Endpoint { host: host.to_owned(), port }))
}

#[cfg(test)]
mod tests {
    use super::super::raw::Source;
    use super::super::{Config, validate};
    use super::*;

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let find = |asked: &str| {
            env.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
        };
        validate::config(Source { file: "config.toml", text }, &find)
    }

    fn refusal(text: &str, env: &[(&str, &str)]) -> String {
        read(text, env).unwrap_err().to_string()
    }

    #[test]
    fn the_more_special_variable_goes_over_the_other_and_both_over_the_file() {
        let file = "[aws]\nendpoint_url = \"http://127.0.0.1:9000/\"\n";
        let shown = |env: &[(&str, &str)]| {
            read(file, env).unwrap().aws.endpoint.map(|endpoint| endpoint.to_string())
        };
        let general = ("AWS_ENDPOINT_URL", "http://store");
        assert_eq!(shown(&[]).as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(shown(&[general]).as_deref(), Some("http://store:80"));
        let special = ("AWS_ENDPOINT_URL_S3", "http://[::1]:1");
        assert_eq!(shown(&[general, special]).as_deref(), Some("http://[::1]:1"));
        assert_eq!(read("", &[]).unwrap().aws.endpoint, None);
    }

    #[test]
    fn what_is_no_plain_endpoint_is_refused() {
        for bad in [
            "https://store",
            "store:9000",
            "http://",
            "http://a:0",
            "http://a:70000",
            "http://a:+1",
            "http://a/b",
            "http://u@a",
            "http://a b",
            "http://[::1",
            "http://[1.2.3.4]",
            "http://a?b",
        ] {
            let text = refusal(&format!("[aws]\nendpoint_url = \"{bad}\"\n"), &[]);
            assert!(text.starts_with("config.toml:2: aws.endpoint_url = "), "{text}");
            assert!(text.ends_with(text::ENDPOINT_URL), "{text}");
        }
        let text = refusal("", &[("AWS_ENDPOINT_URL", "https://store")]);
        assert!(text.starts_with("environment: AWS_ENDPOINT_URL = https://store is not"), "{text}");
        assert!(text.contains("TLS is not built in"), "{text}");
    }

    #[test]
    fn credentials_come_whole_from_one_place() {
        let pair = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "very/secret+1")];
        let config = read("", &pair).unwrap();
        let found = config.aws.credentials.clone().unwrap();
        assert_eq!(found.access_key_id, "AKID");
        assert_eq!(found.secret_access_key.reveal(), "very/secret+1");
        assert!(!format!("{config:?}").contains("very"));

        let text = refusal("", &pair[..1]);
        assert_eq!(
            text,
            "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: set both or none"
        );
        assert!(read("", &pair[1..]).is_err());
        let text = refusal("[aws]\naccess_key_id = \"AKID\"\n", &[]);
        assert!(text.contains("without aws.secret_access_key_file"), "{text}");
        let text = refusal("", &[pair[0], ("AWS_SECRET_ACCESS_KEY", "two words")]);
        assert!(!text.contains("two") && text.contains("AWS_SECRET_ACCESS_KEY"), "{text}");
    }

    #[test]
    fn functions_have_a_key_of_their_own_or_none() {
        let service = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        assert_eq!(read("", &service).unwrap().aws.function_credentials, None);
        let text = refusal("[aws]\nfunction_access_key_id = \"F\"\n", &service);
        assert!(text.contains("without aws.function_secret_access_key_file"), "{text}");
        let file = std::env::temp_dir().join(format!("function-secret-{}", std::process::id()));
        std::fs::write(&file, "theirs\n").unwrap();
        let text = format!(
            "[aws]\nfunction_access_key_id = \"F\"\nfunction_secret_access_key_file = \"{}\"\n",
            file.display()
        );
        let aws = read(&text, &service).unwrap().aws;
        std::fs::remove_file(&file).unwrap();
        let found = aws.function_credentials.unwrap();
        assert_eq!(
            (found.access_key_id.as_str(), found.secret_access_key.reveal()),
            ("F", "theirs")
        );
        assert_eq!(aws.credentials.unwrap().access_key_id, "AKID");
    }

    #[test]
    fn a_secret_is_the_line_of_its_file() {
        let file = std::env::temp_dir().join(format!("lambda-secret-{}", std::process::id()));
        let text = format!(
            "[aws]\naccess_key_id = \"AKID\"\nsecret_access_key_file = \"{}\"\n",
            file.display()
        );
        let error = read(&text, &[]).unwrap_err();
        assert!(error.to_string().contains("cannot read the secret"), "{error}");
        std::fs::write(&file, "s3cret\n").unwrap();
        let found = read(&text, &[]).unwrap().aws.credentials.unwrap();
        assert_eq!(found.secret_access_key.reveal(), "s3cret");
        for bad in ["", "\n", "a\nb\n", "a b", &"x".repeat(257)] {
            std::fs::write(&file, bad).unwrap();
            assert!(read(&text, &[]).is_err(), "{bad:?}");
        }
        std::fs::remove_file(&file).unwrap();
    }
}
