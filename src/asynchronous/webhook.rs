//! Records to the webhook of the configuration: one POST for each, signed, over plain HTTP.
//!
//! `X-Lambda-Signature: sha256=HEX` is the HMAC-SHA256, by the configured secret, of the text of
//! `X-Lambda-Timestamp` (seconds since 1970), a full stop and the body. So a receiver knows who
//! sent it and when, and can refuse what is old. `X-Lambda-Request-Id` is the same each time a record
//! is sent, which may be more than once. Any 2xx takes the record; nothing else does. It does not
//! retry, follow redirects or look at an answer's body.

use std::fmt::Write as _;
use std::time::Duration;

use ureq::Agent;
use uuid::Uuid;

use crate::config::Webhook as Settings;
use crate::package::hosts;
use crate::sigv4;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole exchange: a receiver takes a record and works on it later.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Webhook {
    agent: Agent,
    settings: Settings,
}

impl Webhook {
    pub(super) fn new(settings: Settings) -> Webhook {
        let config = Agent::config_builder()
            .proxy(None) // else ureq takes one from the environment
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(2)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TIMEOUT))
            .build();
        Webhook { agent: hosts::agent(config), settings }
    }

    pub(super) fn post(&self, id: Uuid, record: &[u8], now_ms: u64) -> Result<(), String> {
        let Settings { endpoint, path, secret } = &self.settings;
        let timestamp = (now_ms / 1000).to_string();
        let answer = self
            .agent
            .post(format!("{endpoint}{path}"))
            .header("content-type", "application/json")
            .header("x-lambda-request-id", id.to_string())
            .header("x-lambda-signature", signature(secret.reveal(), &timestamp, record))
            .header("x-lambda-timestamp", timestamp)
            .send(record);
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the webhook answered {}", answer.status().as_u16())),
            Err(error) => Err(format!("the webhook could not be asked: {error}")),
        }
    }
}

fn signature(secret: &str, timestamp: &str, record: &[u8]) -> String {
    let signed = [timestamp.as_bytes(), b".", record].concat();
    sigv4::keyed(secret.as_bytes(), &signed).iter().fold("sha256=".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Endpoint, Secret};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn the_signature_is_an_hmac_that_openssl_gives_too() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature("key", "1700000000", br#"{"a":1}"#),
            "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
    }

    fn webhook(port: u16) -> Webhook {
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        let secret = Secret::for_tests("key");
        Webhook::new(Settings { endpoint, path: "/hook?x=1".to_owned(), secret })
    }

    #[test]
    fn only_a_success_takes_a_record() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let answers = ["204 No Content", "500 No", "302 Found"];
            answers.map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    head += &line;
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let head_of_answer =
                    format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head_of_answer.as_bytes()).unwrap();
                (head.to_lowercase(), body)
            })
        });
        let webhook = webhook(port);
        let id = crate::random::uuid();
        let post = || webhook.post(id, br#"{"a":1}"#, 1_700_000_000_999);
        assert_eq!(post(), Ok(()));
        assert_eq!(post(), Err("the webhook answered 500".to_owned()));
        assert_eq!(post(), Err("the webhook answered 302".to_owned()));
        let [(head, body), ..] = server.join().unwrap();
        assert!(head.starts_with("post /hook?x=1 http/1.1\r\n"), "{head}");
        assert!(head.contains("x-lambda-timestamp: 1700000000\r\n"), "{head}");
        assert!(head.contains(&format!("x-lambda-request-id: {id}\r\n")), "{head}");
        let signed = signature("key", "1700000000", &body);
        assert!(head.contains(&format!("x-lambda-signature: {signed}\r\n")), "{head}");
        let error = post().unwrap_err();
        assert!(error.starts_with("the webhook could not be asked"), "{error}");
    }
}
