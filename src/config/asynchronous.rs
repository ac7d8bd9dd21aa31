//! The `[asynchronous]` section: how large the queue of events may be, how it is delivered, and
//! where the events go that nobody could process.

use std::time::Duration;

use super::aws::{self, Endpoint, Secret};
use super::error::ConfigError;
use super::raw::RawAsynchronous;
use super::validate::Check;
use super::{ranges, text};
use crate::asynchronous::{Carrier, DeadLetters};

const BYTES_PER_MB: u64 = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asynchronous {
    /// Events and records that wait or are in delivery.
    pub max_queued_events: usize,
    pub max_queue_bytes: u64,
    /// Events in delivery at one time; already resolved, never 0.
    pub max_deliveries: usize,
    /// From a function's first failure to its second try.
    pub retry_delay: Duration,
    pub dead_letters: DeadLetters,
    pub max_dead_letters_bytes: u64,
    pub webhook: Option<Webhook>,
}

/// Where records can be posted, and what signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub endpoint: Endpoint,
    /// With the query.
    pub path: String,
    pub secret: Secret,
}

pub(super) fn asynchronous(
    check: &Check<'_>,
    raw: &RawAsynchronous,
    max_concurrent_executions: usize,
) -> Result<Asynchronous, ConfigError> {
    let megabytes = |setting, range| {
        check.whole(setting, range).map(|count| count.saturating_mul(BYTES_PER_MB))
    };
    let webhook = webhook(check, raw)?;
    let key = "asynchronous.dead_letters";
    let dead_letters = check
        .text(key, &raw.dead_letters, text::DEAD_LETTERS, dead_letters)?
        .unwrap_or(DeadLetters::Kept(Carrier::Letters));
    if dead_letters == DeadLetters::Kept(Carrier::Webhook) && webhook.is_none() {
        return Err(ConfigError::Alone("asynchronous.dead_letters", "asynchronous.webhook_url"));
    }
    let max_deliveries = match check.count(&raw.max_deliveries, &ranges::MAX_DELIVERIES)? {
        // Synchronous callers keep the other half.
        0 => max_concurrent_executions.div_ceil(2),
        count => count,
    };
    Ok(Asynchronous {
        max_queued_events: check.count(&raw.max_queued_events, &ranges::MAX_QUEUED_EVENTS)?,
        max_queue_bytes: megabytes(&raw.max_queue_mb, &ranges::MAX_QUEUE_MB)?,
        max_deliveries,
        retry_delay: check.millis(&raw.retry_delay_ms, &ranges::RETRY_DELAY_MS)?,
        dead_letters,
        max_dead_letters_bytes: megabytes(&raw.max_dead_letters_mb, &ranges::MAX_DEAD_LETTERS_MB)?,
        webhook,
    })
}

fn dead_letters(text: &str) -> Option<DeadLetters> {
    match text {
        "file" => Some(DeadLetters::Kept(Carrier::Letters)),
        "webhook" => Some(DeadLetters::Kept(Carrier::Webhook)),
        "none" => Some(DeadLetters::Discarded),
        _ => None,
    }
}

/// There is no webhook without a secret: a receiver has to know who posts.
fn webhook(check: &Check<'_>, raw: &RawAsynchronous) -> Result<Option<Webhook>, ConfigError> {
    let (url_key, secret_key) = ("asynchronous.webhook_url", "asynchronous.webhook_secret_file");
    let url = check.text(url_key, &raw.webhook_url, text::WEBHOOK_URL, url)?.flatten();
    let secret = aws::secret_file(check, secret_key, &raw.webhook_secret_file)?;
    match (url, secret) {
        (Some((endpoint, path)), Some(secret)) => Ok(Some(Webhook { endpoint, path, secret })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::Alone(url_key, secret_key)),
        (None, Some(_)) => Err(ConfigError::Alone(secret_key, url_key)),
    }
}

/// `http://host[:port][/path]`. An empty text is the written form of "none".
fn url(text: &str) -> Option<Option<(Endpoint, String)>> {
    if text.is_empty() {
        return Some(None);
    }
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let endpoint = aws::endpoint(&format!("http://{authority}"))??;
    let sendable = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    (text.len() <= 2048 && path.bytes().all(sendable)).then(|| Some((endpoint, path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::super::raw::Source;
    use super::super::{Config, validate};
    use super::*;

    fn read(section: &str) -> Result<Config, ConfigError> {
        let text = format!("[execution]\nmax_concurrent_executions = 7\n[asynchronous]\n{section}");
        validate::config(Source { file: "config.toml", text: &text }, &|_| None)
    }

    #[test]
    fn deliveries_leave_half_to_others_by_default() {
        assert_eq!(read("").unwrap().asynchronous.max_deliveries, 4);
        assert_eq!(read("max_deliveries = 9").unwrap().asynchronous.max_deliveries, 9);
        let kept = DeadLetters::Kept(Carrier::Letters);
        assert_eq!(read("").unwrap().asynchronous.dead_letters, kept);
        let none = read("dead_letters = \"none\"").unwrap().asynchronous.dead_letters;
        assert_eq!(none, DeadLetters::Discarded);
    }

    #[test]
    fn a_webhook_is_an_http_url_with_a_secret() {
        let file = std::env::temp_dir().join(format!("lambda-secret-{}", crate::random::uuid()));
        std::fs::write(&file, "s3cret\n").unwrap();
        let with = |url: &str| {
            let secret = file.display();
            read(&format!("webhook_url = {url:?}\nwebhook_secret_file = \"{secret}\""))
        };
        let webhook = with("http://localhost:9/a?b=c").unwrap().asynchronous.webhook.unwrap();
        assert_eq!(webhook.endpoint, Endpoint { host: "localhost".to_owned(), port: 9 });
        assert_eq!((webhook.path.as_str(), webhook.secret.reveal()), ("/a?b=c", "s3cret"));
        assert!(!format!("{webhook:?}").contains("s3cret"));
        assert_eq!(with("http://h").unwrap().asynchronous.webhook.unwrap().path, "/");
        for bad in ["https://h/", "http://", "http:///a", "http://h/a b", "http://h/#a", "h/a"] {
            assert!(with(bad).unwrap_err().to_string().contains("webhook_url"), "{bad}");
        }
        assert!(matches!(with(""), Err(ConfigError::Alone(..))));
        std::fs::remove_file(&file).unwrap();
        assert!(with("http://h/").unwrap_err().to_string().contains("cannot read the secret"));
        for alone in ["webhook_url = \"http://h/\"", "dead_letters = \"webhook\""] {
            assert!(matches!(read(alone), Err(ConfigError::Alone(..))), "{alone}");
        }
        assert!(read("dead_letters = \"sqs\"").unwrap_err().to_string().contains("\"none\""));
    }
}
