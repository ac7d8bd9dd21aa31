//! How an invocation or a start ended, in the words of a log. Pure.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::format::Status;
use crate::dispatch::{Failure, InitFailure};

/// The longest error type that is taken over from a runtime.
const TYPE_CHARS: usize = 256;

/// The end of an invocation.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) id: Uuid,
    /// When it was handed over, or would have been.
    pub(super) started: SystemTime,
    pub(super) duration: Duration,
    pub(super) init: Option<Duration>,
    /// None when the runtime has answered, if only with an error of the handler.
    pub(super) failed: Option<Failed>,
    pub(super) trace: Option<Box<str>>,
}

impl Ending {
    pub(super) fn at(&self) -> SystemTime {
        self.started + self.duration
    }
}

/// A failure as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) status: Status,
    /// What stands before `END`, after the request id.
    pub(super) words: Option<String>,
    /// Why the Engine could not start it.
    pub(super) not_started: Option<String>,
}

impl Failed {
    fn named(kind: &str, words: Option<String>) -> Failed {
        Failed { status: Status::Error(kind.to_owned()), words, not_started: None }
    }

    /// A function that failed without saying so itself.
    pub(super) fn of(failure: &Failure) -> Failed {
        let with = |kind: &str, words: &dyn std::fmt::Display| {
            Failed::named(kind, Some(format!("{words}\n{kind}")))
        };
        match failure {
            Failure::TimedOut { after } | Failure::InitTimedOut { after } => {
                let words = format!("Task timed out after {:.2} seconds", after.as_secs_f64());
                Failed { status: Status::Timeout, words: Some(words), not_started: None }
            }
            Failure::Exited(exit) if exit.out_of_memory => with("Runtime.OutOfMemory", exit),
            Failure::Exited(exit) => with("Runtime.ExitError", exit),
            Failure::ResponseTooLarge { limit } => {
                let words = format!(
                    "Response payload size exceeded maximum allowed payload size ({limit} bytes)."
                );
                with("Function.ResponseSizeTooLarge", &words)
            }
            Failure::NoAnswer => {
                with("Runtime.Unknown", &"Runtime asked for the next event without an answer")
            }
        }
    }

    /// The service has ended the sandbox, or lost it, while it ran.
    pub(super) fn cut_off() -> Failed {
        let words = "The service has ended the sandbox\nSandbox.Failure".to_owned();
        Failed::named("Sandbox.Failure", Some(words))
    }

    /// A runtime that reported its failure, in this body.
    pub(super) fn reported(error: &[u8]) -> Failed {
        let object: Option<Map<String, Value>> = serde_json::from_slice(error).ok();
        let kind = object.as_ref().and_then(|object| object.get("errorType")?.as_str());
        let kind: String = kind.map_or_else(
            || "Runtime.Unknown".to_owned(),
            |kind| kind.chars().filter(|c| !c.is_control()).take(TYPE_CHARS).collect(),
        );
        Failed::named(&kind, None)
    }

    /// A start that came to nothing.
    pub(super) fn start(failure: &InitFailure) -> Failed {
        match failure {
            InitFailure::Reported(error) => Failed::reported(error),
            InitFailure::Failed(failure) => Failed { words: None, ..Failed::of(failure) },
            InitFailure::NotStarted(why) => Failed {
                not_started: Some(format!("The container could not be started: {why}")),
                ..Failed::named("Sandbox.Failure", None)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Exit;

    #[test]
    fn failures_have_awss_names_and_words() {
        let told = |failure: Failure| {
            let failed = Failed::of(&failure);
            (failed.status, failed.words.unwrap())
        };
        let error = |kind: &str| Status::Error(kind.to_owned());
        let exit = |code, out_of_memory| Failure::Exited(Exit { code, out_of_memory });
        assert_eq!(
            told(exit(3, false)),
            (
                error("Runtime.ExitError"),
                "Runtime exited with error: exit status 3\nRuntime.ExitError".to_owned()
            )
        );
        assert_eq!(told(exit(137, true)).0, error("Runtime.OutOfMemory"));
        let after = Duration::from_secs(3);
        let timeout = (Status::Timeout, "Task timed out after 3.00 seconds".to_owned());
        assert_eq!(told(Failure::TimedOut { after }), timeout);
        assert_eq!(told(Failure::NoAnswer).0, error("Runtime.Unknown"));
    }

    #[test]
    fn a_reported_type_cannot_forge_a_line() {
        let kind = |error: &str| Failed::reported(error.as_bytes()).status;
        let error = |kind: &str| Status::Error(kind.to_owned());
        assert_eq!(
            kind(r#"{"errorType":"Runtime.ImportModuleError"}"#),
            error("Runtime.ImportModuleError")
        );
        assert_eq!(kind(r#"{"errorType":"a\nREPORT\tb"}"#), error("aREPORTb"));
        for bad in ["", "[]", r#"{"errorType":1}"#, "\u{0}"] {
            assert_eq!(kind(bad), error("Runtime.Unknown"));
        }
        assert_eq!(
            kind(&format!(r#"{{"errorType":"{}"}}"#, "x".repeat(999))),
            error(&"x".repeat(256))
        );
    }
}
