//! What a function gets from its schedule.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::observe::time::Civil;

/// One run of a schedule.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    pub arn: &'a str,
    pub region: &'a str,
    pub account_id: &'a str,
    /// Seconds since 1970.
    pub scheduled: i64,
    pub id: Uuid,
    pub attempt: u32,
}

/// The id of a run: the same whenever it is asked for, so that one which is sent twice is known.
pub(super) fn run_id(schedule: Uuid, scheduled: i64) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(schedule.as_bytes());
    hash.update(scheduled.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Where in its flexible window a run is, in milliseconds: the same whenever it is asked for.
pub(super) fn offset_ms(id: Uuid, window: i64) -> u64 {
    let window = u64::try_from(window).unwrap_or(0) * 1000;
    let (high, _) = id.as_u64_pair();
    if window == 0 { 0 } else { high % window }
}

/// `2022-03-22T18:59:43Z`
pub(super) fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let text = Civil::from(UNIX_EPOCH + since).to_string();
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

/// The input with its context attributes, or without any what AWS sends then.
pub fn payload(input: Option<&str>, run: &Run<'_>) -> String {
    let Some(input) = input else {
        // In AWS's order; `detail` is a text there.
        return format!(
            r#"{{"version":"0","id":"{}","detail-type":"Scheduled Event","source":"aws.scheduler","account":"{}","time":"{}","region":"{}","resources":{},"detail":"{{}}"}}"#,
            run.id,
            run.account_id,
            time(run.scheduled),
            run.region,
            json!([run.arn])
        );
    };
    if !input.contains("<aws.scheduler.") {
        return input.to_owned();
    }
    input
        .replace("<aws.scheduler.schedule-arn>", run.arn)
        .replace("<aws.scheduler.scheduled-time>", &time(run.scheduled))
        .replace("<aws.scheduler.execution-id>", &run.id.to_string())
        .replace("<aws.scheduler.attempt-number>", &run.attempt.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const ARN: &str = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/s";

    fn run() -> Run<'static> {
        Run {
            arn: ARN,
            region: "us-east-1",
            account_id: "000000000000",
            scheduled: 1_795_737_600,
            id: run_id(Uuid::nil(), 1_795_737_600),
            attempt: 2,
        }
    }

    #[test]
    fn attributes_are_replaced_and_nothing_else_is() {
        let run = run();
        let input = r#"{"a":"<aws.scheduler.schedule-arn>","t":"<aws.scheduler.scheduled-time>",
            "e":"x-<aws.scheduler.execution-id>","n":<aws.scheduler.attempt-number>,"o":"<aws.other>"}"#;
        let read: Value = serde_json::from_str(&payload(Some(input), &run)).unwrap();
        assert_eq!(read["a"], ARN);
        assert_eq!(read["t"], "2026-11-27T00:00:00Z");
        assert_eq!(read["e"], format!("x-{}", run.id));
        assert_eq!((&read["n"], &read["o"]), (&2.into(), &"<aws.other>".into()));
        assert_eq!(payload(Some(" [1] "), &run), " [1] ");
    }

    #[test]
    fn without_an_input_it_is_awss_notification() {
        let run = run();
        let read: Value = serde_json::from_str(&payload(None, &run)).unwrap();
        let wanted = json!({
            "version": "0",
            "id": run.id.to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": "000000000000",
            "time": "2026-11-27T00:00:00Z",
            "region": "us-east-1",
            "resources": [ARN],
            "detail": "{}",
        });
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_run_has_one_id_and_one_place_in_its_window() {
        let id = run_id(Uuid::nil(), 5);
        assert_eq!(id, run_id(Uuid::nil(), 5));
        assert_ne!(id, run_id(Uuid::nil(), 6));
        assert_ne!(id, run_id(Uuid::max(), 5));
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(offset_ms(id, 0), 0);
        let offsets: Vec<u64> =
            (0..1000).map(|run| offset_ms(run_id(Uuid::nil(), run), 60)).collect();
        assert!(offsets.iter().all(|offset| *offset < 60_000));
        // They are spread over it.
        assert!(offsets.iter().any(|o| *o < 6_000) && offsets.iter().any(|o| *o > 54_000));
    }
}
