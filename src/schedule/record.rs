//! A schedule as it is kept, and what its timer needs of it.
//!
//! The definition is JSON with AWS's names, as GetSchedule answers it; who writes it has checked it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::timing::{Expression, Timing};
use super::zone::Zone;
use crate::asynchronous::Terms;

/// Seconds of a day: AWS's default of `MaximumEventAgeInSeconds`.
const MAX_AGE_S: u32 = 86_400;
const MAX_RETRIES: u8 = 185;

/// See the module's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Of this schedule and no later one of the same name.
    pub id: Uuid,
    pub definition: Value,
    pub created_ms: u64,
    pub modified_ms: u64,
    /// From when a rate counts.
    pub anchor: i64,
    /// `ClientToken` of the call that made it so.
    pub token: String,
}

/// When a schedule runs.
#[derive(Debug, Clone)]
pub struct Plan {
    pub timing: Timing,
    pub enabled: bool,
    /// Seconds of the flexible window; 0 is none.
    pub window: i64,
    /// Seconds after which a run is of no use any more.
    pub max_age: i64,
    /// `ActionAfterCompletion` is `DELETE`.
    pub delete_after: bool,
}

impl Record {
    pub(super) fn bytes(&self) -> Vec<u8> {
        json!({
            "id": self.id.to_string(),
            "definition": self.definition,
            "createdMs": self.created_ms,
            "modifiedMs": self.modified_ms,
            "anchor": self.anchor,
            "token": self.token,
        })
        .to_string()
        .into_bytes()
    }

    pub(super) fn of(bytes: &[u8]) -> Result<Record, String> {
        let mut read: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let text = |name: &str| read[name].as_str().unwrap_or_default().to_owned();
        let millis = |name: &str| read[name].as_u64().ok_or_else(|| format!("it has no {name}"));
        Ok(Record {
            id: Uuid::try_parse(&text("id")).map_err(|error| error.to_string())?,
            created_ms: millis("createdMs")?,
            modified_ms: millis("modifiedMs")?,
            anchor: read["anchor"].as_i64().ok_or("it has no anchor")?,
            token: text("token"),
            definition: read["definition"].take(),
        })
    }

    /// None where the definition is none.
    pub fn plan(&self) -> Option<Plan> {
        let definition = &self.definition;
        let expression = Expression::parse(definition["ScheduleExpression"].as_str()?)?;
        let zone = definition["ScheduleExpressionTimezone"].as_str().unwrap_or("UTC");
        let seconds = |name: &str| definition[name].as_f64().map(whole_seconds);
        let window = &definition["FlexibleTimeWindow"];
        Some(Plan {
            timing: Timing {
                expression,
                zone: Zone::of(zone)?,
                anchor: self.anchor,
                start: seconds("StartDate"),
                end: seconds("EndDate"),
            },
            enabled: definition["State"].as_str() != Some("DISABLED"),
            window: window["MaximumWindowInMinutes"].as_i64().unwrap_or(0) * 60,
            max_age: self.terms().max_age_s.into(),
            delete_after: definition["ActionAfterCompletion"].as_str() == Some("DELETE"),
        })
    }

    pub fn target(&self) -> &str {
        self.definition["Target"]["Arn"].as_str().unwrap_or_default()
    }

    pub(super) fn terms(&self) -> Terms {
        let target = &self.definition["Target"];
        let policy = &target["RetryPolicy"];
        let number = |name: &str| policy[name].as_u64();
        Terms {
            max_retries: number("MaximumRetryAttempts")
                .and_then(|count| u8::try_from(count).ok())
                .unwrap_or(MAX_RETRIES),
            max_age_s: number("MaximumEventAgeInSeconds")
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or(MAX_AGE_S),
            dead_letter: target["DeadLetterConfig"]["Arn"].as_str().map(str::to_owned),
        }
    }
}

/// Dates have fractions where a client sends them. Beyond the calendar they are its ends.
#[allow(clippy::cast_possible_truncation)] // What is beyond is the greatest or the least.
pub fn whole_seconds(seconds: f64) -> i64 {
    seconds.floor() as i64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample(expression: &str) -> Record {
        Record {
            id: crate::random::uuid(),
            definition: json!({
                "ScheduleExpression": expression,
                "ScheduleExpressionTimezone": "UTC",
                "State": "ENABLED",
                "FlexibleTimeWindow": { "Mode": "OFF" },
                "ActionAfterCompletion": "NONE",
                "Target": {
                    "Arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
                    "RoleArn": "arn:aws:iam::000000000000:role/r",
                    "RetryPolicy": {
                        "MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185
                    },
                },
            }),
            created_ms: 1_795_737_600_000,
            modified_ms: 1_795_737_600_001,
            anchor: 1_795_737_600,
            token: "t".to_owned(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = sample("cron(0 10 * * ? *)");
        assert_eq!(Record::of(&record.bytes()), Ok(record.clone()));
        record.definition["StartDate"] = 1_795_737_600.5.into();
        record.definition["FlexibleTimeWindow"] =
            json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15 });
        record.definition["Target"]["DeadLetterConfig"] = json!({ "Arn": "a" });
        let read = Record::of(&record.bytes()).unwrap();
        let plan = read.plan().unwrap();
        assert_eq!((plan.timing.start, plan.timing.end), (Some(1_795_737_600), None));
        assert_eq!((plan.window, plan.max_age, plan.delete_after), (900, 86_400, false));
        let dead_letter = Some("a".to_owned());
        assert_eq!(read.terms(), Terms { max_retries: 185, max_age_s: 86_400, dead_letter });
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [&b""[..], b"{}", b"[]", br#"{"id":"x"}"#] {
            assert!(Record::of(bytes).is_err());
        }
        assert!(sample("cron(x)").plan().is_none());
        let mut record = sample("rate(1 day)");
        record.definition["ScheduleExpressionTimezone"] = "Mars/Olympus".into();
        assert!(record.plan().is_none());
    }
}
