//! What the text values may be. Pure functions from text to a typed value; `None` is a refusal,
//! which `validate` turns into an error with the sentence that stands beside each rule.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::PullPolicy;

pub(super) const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(super) const DEFAULT_STORAGE_PATH: &str = "/tmp/lambda-functions";
pub(super) const DEFAULT_NETWORK_NAME: &str = "lambda-network";
pub(super) const DEFAULT_BASE_IMAGE: &str = "lambda-runtime-api-server/provided:al2023";
pub(super) const DEFAULT_CONTAINER_PREFIX: &str = "lambda-";
pub(super) const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
pub(super) const DEFAULT_PULL_POLICY: PullPolicy = PullPolicy::Missing;
pub(super) const DEFAULT_REGION: &str = "us-east-1";
pub(super) const DEFAULT_ACCOUNT_ID: &str = "000000000000";

/// Linux: PATH_MAX without the closing NUL.
const MAX_PATH_BYTES: usize = 4095;
/// `sun_path` of unix(7) without the closing NUL.
const MAX_SOCKET_PATH_BYTES: usize = 107;

pub(super) const ADDRESS: &str = "an IP address, such as 0.0.0.0, 127.0.0.1 or ::";

pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

pub(super) const PATH: &str = "an absolute path of at most 4095 bytes without control characters";

/// Absolute, because a service's working directory is rarely the one its operator thinks of.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    let fits = text.starts_with('/') && text.len() <= MAX_PATH_BYTES;
    (fits && !text.contains(char::is_control)).then(|| PathBuf::from(text))
}

pub(super) const SOCKET: &str =
    "the absolute path of a Unix socket, at most 107 bytes without control characters";

pub(super) fn socket(text: &str) -> Option<PathBuf> {
    path(text).filter(|_| text.len() <= MAX_SOCKET_PATH_BYTES)
}

pub(super) const DOCKER_HOST: &str = "unix:// and the absolute path of a Unix socket, such as \
     unix:///var/run/docker.sock; other ways to an Engine are not supported";

pub(super) fn docker_host(text: &str) -> Option<PathBuf> {
    socket(text.strip_prefix("unix://")?)
}

pub(super) const MAX_FUNCTION_PATTERNS: usize = 100;
pub(super) const FUNCTION_PATTERNS: &str = "a list of at most 100 names of functions, each of 1 to \
     64 letters, digits, '_' or '-', where '*' stands for any of them and '?' for one";

/// A function's name, or what stands for several.
pub(super) fn function_pattern(text: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '?');
    ((1..=64).contains(&text.len()) && text.chars().all(known)).then(|| text.to_owned())
}

pub(super) const NETWORK_NAME: &str = "1 to 128 letters, digits, '_', '.' or '-', the first one a \
     letter or digit; bridge, host, none and default are the Engine's own";

/// The predefined networks cannot give a container a fixed address, which is its identity here.
pub(super) fn network_name(text: &str) -> Option<String> {
    let predefined = matches!(text, "bridge" | "host" | "none" | "default");
    (docker_name(text, 128) && !predefined).then(|| text.to_owned())
}

pub(super) const CONTAINER_PREFIX: &str =
    "1 to 32 letters, digits, '_', '.' or '-', the first one a letter or digit";

pub(super) fn container_prefix(text: &str) -> Option<String> {
    docker_name(text, 32).then(|| text.to_owned())
}

/// The Engine's rule for names of containers: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn docker_name(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

pub(super) const PULL_POLICY: &str = "\"missing\" or \"never\"";

pub(super) fn pull_policy(text: &str) -> Option<PullPolicy> {
    match text {
        "missing" => Some(PullPolicy::Missing),
        "never" => Some(PullPolicy::Never),
        _ => None,
    }
}

pub(super) const BASE_IMAGE: &str =
    "a local image's name and tag such as name/part:tag, at most 200 characters, or \"\" for none";

/// The Engine judges the name itself; this keeps out what cannot be one.
pub(super) fn base_image(text: &str) -> Option<String> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._/:-".contains(&byte);
    let tagged = text
        .rsplit_once(':')
        .is_some_and(|(name, tag)| !name.is_empty() && !tag.is_empty() && !tag.contains('/'));
    let fits = text.len() <= 200 && text.bytes().all(allowed) && tagged;
    (text.is_empty() || fits).then(|| text.to_owned())
}

pub(super) const REGION: &str =
    "a region such as us-east-1: at most 32 lower-case letters, digits and single hyphens";

/// Any region that could exist: the list grows, and local names such as `eu-home-1` are fine.
pub(super) fn region(text: &str) -> Option<String> {
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let fits = text.len() <= 32 && text.starts_with(|first: char| first.is_ascii_lowercase());
    (fits && text.split('-').all(word)).then(|| text.to_owned())
}

pub(super) const ACCOUNT_ID: &str = "exactly 12 digits in quotes";

pub(super) fn account_id(text: &str) -> Option<String> {
    let fits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.to_owned())
}

pub(super) const ENDPOINT_URL: &str = "http://host or http://host:port; TLS is not built in, so \
     name a local plain endpoint, or a proxy that speaks TLS for it";

/// A host's name, or an IPv4 address, which looks like one.
pub(super) fn host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= 253 && text.split('.').all(label)
}

pub(super) const ACCESS_KEY_ID: &str =
    "at most 128 letters, digits, '_', '-' or '.', or \"\" for none";

/// AWS's have 20 letters and digits; other services' keys are names. An empty one is none.
pub(super) fn access_key_id(text: &str) -> Option<Option<String>> {
    let fits = text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    fits.then(|| Some(text.to_owned()).filter(|text| !text.is_empty()))
}

pub(super) const WEBHOOK_URL: &str = "http://host:port/path of at most 2048 bytes, or \"\" for none; \
     TLS is not built in, so name a local plain receiver, or a proxy that speaks TLS for it";

pub(super) const DEAD_LETTERS: &str = "\"file\", \"webhook\" or \"none\"";

pub(super) const SECRET_FILE: &str =
    "an absolute path of at most 4095 bytes without control characters, or \"\" for none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_their_own_rules() {
        assert!(path(DEFAULT_STORAGE_PATH).is_some());
        assert!(network_name(DEFAULT_NETWORK_NAME).is_some());
        assert!(container_prefix(DEFAULT_CONTAINER_PREFIX).is_some());
        assert!(socket(DEFAULT_SOCKET).is_some());
        assert!(base_image(DEFAULT_BASE_IMAGE).is_some());
        assert!(region(DEFAULT_REGION).is_some());
        assert!(account_id(DEFAULT_ACCOUNT_ID).is_some());
    }

    #[test]
    fn a_base_image_has_a_tag_or_is_none() {
        for good in ["", "a:1", "name/part:al2023", "host.name:5000/a:b"] {
            assert!(base_image(good).is_some(), "{good:?}");
        }
        for bad in ["a", "A:1", ":1", "a:", "a b:1", "host:5000/a", &"a".repeat(201)] {
            assert!(base_image(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn names_follow_the_engine() {
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", "a:b", &"a".repeat(33)] {
            assert_eq!(container_prefix(bad), None, "{bad}");
        }
        for bad in ["host", "bridge", "none", "default", "", &"a".repeat(129)] {
            assert_eq!(network_name(bad), None, "{bad}");
        }
        assert!(network_name("my_net.1-a").is_some());
    }

    #[test]
    fn paths_are_absolute_and_bounded() {
        for bad in ["", "relative", "./here", "/a\nb", "/a\0b"] {
            assert_eq!(path(bad), None, "{bad:?}");
        }
        assert!(path(&format!("/{}", "a".repeat(4094))).is_some());
        assert_eq!(path(&format!("/{}", "a".repeat(4095))), None);
        assert!(socket(&format!("/{}", "a".repeat(106))).is_some());
        assert_eq!(socket(&format!("/{}", "a".repeat(107))), None);
    }

    #[test]
    fn only_unix_sockets_reach_an_engine() {
        assert_eq!(docker_host("unix:///run/d.sock"), Some(PathBuf::from("/run/d.sock")));
        for bad in ["tcp://127.0.0.1:2375", "ssh://me@there", "/run/d.sock", "unix://run/d.sock"] {
            assert_eq!(docker_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn region_and_account_have_their_form() {
        for good in ["us-east-1", "ap-southeast-2", "us-gov-west-1", "local"] {
            assert!(region(good).is_some(), "{good}");
        }
        for bad in ["", "US-EAST-1", "us--east", "us-east-", "-us", "1us", "us/east", "us east"] {
            assert_eq!(region(bad), None, "{bad}");
        }
        for bad in ["", "12345678901", "1234567890123", "12345678901a", "٠٠٠٠٠٠"] {
            assert_eq!(account_id(bad), None, "{bad}");
        }
    }
}
