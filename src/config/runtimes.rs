//! Which image a runtime's identifier (`python3.13`, `provided.al2023`, ...) stands for.
//!
//! The identifiers are those of the `Runtime` type in AWS's model of Lambda; a word that is none of
//! them is refused, so that a typing mistake does not become a runtime nobody can use. It does not
//! ask whether an image exists: that is found out when a function needs it.

use std::collections::BTreeMap;

use super::error::{ConfigError, nearest};
use super::raw::{Setting, Source};

pub(super) const SECTION: &str = "runtimes";

/// AWS publishes its base images here: <https://docs.aws.amazon.com/lambda/latest/dg/images-create.html>
const REPOSITORY: &str = "public.ecr.aws/lambda";

/// The identifiers of AWS's model, each with the name and tag of AWS's image; None where AWS has
/// never published one, or where the service's own base image takes its place.
const IDENTIFIERS: [(&str, Option<&str>); 51] = [
    ("nodejs", None),
    ("nodejs4.3", None),
    ("nodejs4.3-edge", None),
    ("nodejs6.10", None),
    ("nodejs8.10", None),
    ("nodejs10.x", Some("nodejs:10")),
    ("nodejs12.x", Some("nodejs:12")),
    ("nodejs14.x", Some("nodejs:14")),
    ("nodejs16.x", Some("nodejs:16")),
    ("nodejs18.x", Some("nodejs:18")),
    ("nodejs20.x", Some("nodejs:20")),
    ("nodejs22.x", Some("nodejs:22")),
    ("nodejs24.x", Some("nodejs:24")),
    ("nodejs26.x", Some("nodejs:26")),
    ("java8", Some("java:8")),
    ("java8.al2", Some("java:8.al2")),
    ("java8.al2023", Some("java:8.al2023")),
    ("java11", Some("java:11")),
    ("java11.al2023", Some("java:11.al2023")),
    ("java17", Some("java:17")),
    ("java17.al2023", Some("java:17.al2023")),
    ("java21", Some("java:21")),
    ("java25", Some("java:25")),
    ("python2.7", Some("python:2.7")),
    ("python3.6", Some("python:3.6")),
    ("python3.7", Some("python:3.7")),
    ("python3.8", Some("python:3.8")),
    ("python3.9", Some("python:3.9")),
    ("python3.10", Some("python:3.10")),
    ("python3.11", Some("python:3.11")),
    ("python3.12", Some("python:3.12")),
    ("python3.13", Some("python:3.13")),
    ("python3.14", Some("python:3.14")),
    ("python3.15", Some("python:3.15")),
    ("dotnetcore1.0", None),
    ("dotnetcore2.0", None),
    ("dotnetcore2.1", Some("dotnet:core2.1")),
    ("dotnetcore3.1", Some("dotnet:core3.1")),
    ("dotnet6", Some("dotnet:6")),
    ("dotnet8", Some("dotnet:8")),
    ("dotnet10", Some("dotnet:10")),
    ("ruby2.5", Some("ruby:2.5")),
    ("ruby2.7", Some("ruby:2.7")),
    ("ruby3.2", Some("ruby:3.2")),
    ("ruby3.3", Some("ruby:3.3")),
    ("ruby3.4", Some("ruby:3.4")),
    ("ruby4.0", Some("ruby:4.0")),
    ("go1.x", Some("go:1")),
    ("provided", Some("provided:alami")),
    ("provided.al2", Some("provided:al2")),
    ("provided.al2023", Some("provided:al2023")),
];

/// These run static programs as they are, so the image that the service makes itself is enough.
const ON_OWN_BASE: [&str; 2] = ["provided.al2", "provided.al2023"];

const IMAGE: &str = "an image's name such as name/part:tag or host:5000/name@sha256:..., at most \
     255 characters; an identifier with a dot is written in quotes, such as \"python3.13\"";

const MAX_IMAGE_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// The image of each identifier that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtimes(BTreeMap<&'static str, String>);

impl Runtimes {
    /// The image that runs functions of this runtime. None: there is no such runtime, or it has no
    /// image unless the configuration names one.
    pub fn image(&self, identifier: &str) -> Option<&str> {
        self.0.get(identifier).map(String::as_str)
    }

    /// Every identifier that has an image, with it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(identifier, image)| (*identifier, image.as_str()))
    }

    fn defaults(base_image: &str) -> Runtimes {
        let image = |identifier: &str, published: &str| {
            if ON_OWN_BASE.contains(&identifier) && !base_image.is_empty() {
                base_image.to_owned()
            } else {
                format!("{REPOSITORY}/{published}")
            }
        };
        let known = IDENTIFIERS.iter();
        Runtimes(known.filter_map(|(name, of)| Some((*name, image(name, (*of)?)))).collect())
    }
}

/// The defaults with the file's entries over them.
pub(super) fn runtimes(
    source: Source<'_>,
    raw: &BTreeMap<String, Setting<'_>>,
    base_image: &str,
) -> Result<Runtimes, ConfigError> {
    let mut runtimes = Runtimes::defaults(base_image);
    for (identifier, setting) in raw {
        let place = source.place(&setting.span());
        let key = format!("{SECTION}.{identifier}");
        let image = setting.get_ref().as_str().filter(|text| is_image(text));
        let known = IDENTIFIERS.iter().find(|(name, _)| name == identifier);
        match (known, image) {
            (Some((name, _)), Some(image)) => {
                runtimes.0.insert(name, image.to_owned());
            }
            // An unquoted `python3.13` is a table; the sentence below tells of the quotes.
            (None, _) if !setting.get_ref().is_table() => {
                let names: Vec<&str> = IDENTIFIERS.iter().map(|(name, _)| *name).collect();
                let nearest = nearest(&[SECTION, identifier], &[(SECTION, &names)]);
                return Err(ConfigError::UnknownKey { place, key, nearest });
            }
            _ => {
                let value = source.excerpt(&setting.span()).to_owned();
                return Err(ConfigError::Value { place, key, value, allowed: IMAGE.to_owned() });
            }
        }
    }
    Ok(runtimes)
}

/// `[host[:port]/]part[/part...][:tag][@sha256:digest]`, as the Engine reads names of images
/// (<https://pkg.go.dev/github.com/distribution/reference>). The Engine judges it once more.
fn is_image(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let digest_fits = digest.is_none_or(|digest| {
        digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    });
    // A colon before the last slash belongs to a port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let tag_fits = tag.is_none_or(|tag| {
        (1..=MAX_TAG_BYTES).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    });
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        _ => name,
    };
    text.len() <= MAX_IMAGE_BYTES && digest_fits && tag_fits && path.split('/').all(is_part)
}

/// The first part is a registry only if it looks like one: `library/a` has no host.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "1"));
    (text == "localhost" || text.contains(['.', ':']))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_part(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(word)
        && text.ends_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, validate};
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        validate::config(Source { file: "config.toml", text }, &|_| None)
    }

    fn refusal(line: &str) -> String {
        read(&format!("[runtimes]\n{line}\n")).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_published_images_and_the_own_base() {
        let runtimes = read("").unwrap().runtimes;
        assert_eq!(runtimes.image("python3.13"), Some("public.ecr.aws/lambda/python:3.13"));
        assert_eq!(runtimes.image("nodejs22.x"), Some("public.ecr.aws/lambda/nodejs:22"));
        for own in ON_OWN_BASE {
            assert_eq!(runtimes.image(own), Some("lambda-runtime-api-server/provided:al2023"));
        }
        for none in ["nodejs", "cobol", "", "Python3.13"] {
            assert_eq!(runtimes.image(none), None, "{none}");
        }
        assert!(runtimes.0.values().all(|image| is_image(image)));
    }

    #[test]
    fn without_an_own_base_the_published_one_runs_programs() {
        let runtimes = read("[docker]\nbase_image = \"\"\n").unwrap().runtimes;
        let published = Some("public.ecr.aws/lambda/provided:al2023");
        assert_eq!(runtimes.image("provided.al2023"), published);
    }

    #[test]
    fn an_entry_goes_over_its_default_alone() {
        let runtimes = read(
            "[runtimes]\n\"python3.11\" = \"lambda-runtime/python:3.11\"\nnodejs = \"mine:0.10\"\n",
        )
        .unwrap()
        .runtimes;
        assert_eq!(runtimes.image("python3.11"), Some("lambda-runtime/python:3.11"));
        assert_eq!(runtimes.image("nodejs"), Some("mine:0.10"));
        assert_eq!(runtimes.image("python3.12"), Some("public.ecr.aws/lambda/python:3.12"));
    }

    #[test]
    fn a_bad_entry_is_named() {
        assert_eq!(
            refusal("\"python3.33\" = \"a:1\""),
            "config.toml:2: unknown key runtimes.python3.33; \
             the nearest known key is runtimes.python3.13"
        );
        assert_eq!(
            refusal("\"java21\" = \"A b\""),
            format!("config.toml:2: runtimes.java21 = \"A b\" is not allowed: must be {IMAGE}")
        );
        assert!(refusal("java21 = 5").starts_with("config.toml:2: runtimes.java21 = 5 is not"));
        let unquoted = refusal("python3.13 = \"a:1\"");
        assert!(unquoted.starts_with("config.toml:2: runtimes.python3 = "), "{unquoted}");
        assert!(unquoted.ends_with("in quotes, such as \"python3.13\""), "{unquoted}");
        let error = read("runtimes = 5\n").unwrap_err().to_string();
        assert!(error.starts_with("config.toml:1: runtimes is not readable"), "{error}");
    }

    #[test]
    fn names_of_images_follow_the_engine() {
        let digest = format!("a@sha256:{}", "0f".repeat(32));
        let long = format!("{}:1", "a".repeat(MAX_IMAGE_BYTES - 2));
        for good in
            ["a", "a:1", "a/b-c/d_e.f:T.1", "localhost/a", "h:5000/a:1", "a.b/c", &digest, &long]
        {
            assert!(is_image(good), "{good}");
        }
        let bad_digest = format!("a@sha256:{}", "0F".repeat(32));
        let bad = [
            "",
            "A",
            "a b",
            "a//b",
            "/a",
            "a/",
            "a:",
            ":1",
            "a:.1",
            "a:1:2",
            "h:0/a",
            "a@b",
            "-a",
            "a-",
            "http://a/b",
            "a..b/",
            "h:99999/a",
        ];
        for bad in bad.into_iter().chain([bad_digest.as_str(), &format!("{long}a")]) {
            assert!(!is_image(bad), "{bad}");
        }
    }
}
