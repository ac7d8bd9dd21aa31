//! How a function's state moves: one enum, one transition function.
//!
//! It says what may follow what. Who prepares an image, and when, is not its business.

use serde::{Deserialize, Serialize};

/// `State` of AWS's model, as far as this service has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The code is being prepared; the text tells how far it is.
    Pending {
        code: ReasonCode,
        reason: String,
    },
    Active,
    /// The code cannot run; the text says why and what helps.
    Failed {
        code: ReasonCode,
        reason: String,
    },
}

/// `StateReasonCode` of AWS's model: those that this service gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReasonCode {
    Creating,
    Restoring,
    ImageDeleted,
    ImageAccessDenied,
    InvalidImage,
    InvalidConfiguration,
    InternalError,
}

impl ReasonCode {
    /// The name in AWS's model.
    pub fn as_str(self) -> &'static str {
        match self {
            ReasonCode::Creating => "Creating",
            ReasonCode::Restoring => "Restoring",
            ReasonCode::ImageDeleted => "ImageDeleted",
            ReasonCode::ImageAccessDenied => "ImageAccessDenied",
            ReasonCode::InvalidImage => "InvalidImage",
            ReasonCode::InvalidConfiguration => "InvalidConfiguration",
            ReasonCode::InternalError => "InternalError",
        }
    }
}

/// What happened to a function's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The preparation goes on; the text replaces the reason.
    Progress(String),
    /// The image is there.
    Ready(Prepared),
    /// The image cannot be had, or is lost.
    Fail { code: ReasonCode, reason: String },
    /// A failed function is prepared again.
    Restore,
}

impl Step {
    /// The step's goal, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Progress(_) => "further in its preparation",
            Step::Ready(_) => "Active",
            Step::Fail { .. } => "Failed",
            Step::Restore => "Pending",
        }
    }
}

/// What the preparation found out about the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The id of the image to start, in hex, without the `sha256:` in front.
    pub image_id: String,
    /// The image's id or digest in hex, without the `sha256:` in front, as AWS gives it.
    pub code_sha256: String,
    pub code_size: u64,
    /// The image by digest, where it has one.
    pub resolved_uri: Option<String>,
}

impl State {
    /// The state of a function that was just accepted, in AWS's words.
    pub fn new() -> Self {
        State::Pending {
            code: ReasonCode::Creating,
            reason: "The function is being created.".to_owned(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            State::Pending { .. } => "Pending",
            State::Active => "Active",
            State::Failed { .. } => "Failed",
        }
    }

    /// The state after `step`, or `None` where the step cannot follow.
    pub fn next(&self, step: &Step) -> Option<State> {
        match (self, step) {
            (State::Pending { code, .. }, Step::Progress(reason)) => {
                Some(State::Pending { code: *code, reason: reason.clone() })
            }
            // A failed one becomes Active when its image appears after all, an Active one stays so
            // when its image was looked at again.
            (_, Step::Ready(_)) => Some(State::Active),
            (_, Step::Fail { code, reason }) => {
                Some(State::Failed { code: *code, reason: reason.clone() })
            }
            (State::Failed { .. }, Step::Restore) => Some(State::Pending {
                code: ReasonCode::Restoring,
                reason: "The function is being restored.".to_owned(),
            }),
            (State::Active | State::Failed { .. }, Step::Progress(_))
            | (State::Pending { .. } | State::Active, Step::Restore) => None,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        State::new()
    }
}

/// `LastUpdateStatus` of AWS's model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastUpdate {
    Successful,
    /// The text tells how far it is.
    InProgress {
        reason: String,
    },
    Failed {
        code: ReasonCode,
        reason: String,
    },
}

impl LastUpdate {
    /// An update that was just accepted, in the words that AWS has for it.
    pub fn new() -> Self {
        LastUpdate::InProgress { reason: "The function is being created.".to_owned() }
    }

    /// An update in progress after `step`, or `None` where the step cannot follow.
    pub fn after(step: &Step) -> Option<LastUpdate> {
        match step {
            Step::Progress(reason) => Some(LastUpdate::InProgress { reason: reason.clone() }),
            Step::Ready(_) => Some(LastUpdate::Successful),
            Step::Fail { code, reason } => {
                Some(LastUpdate::Failed { code: *code, reason: reason.clone() })
            }
            Step::Restore => None,
        }
    }
}

impl Default for LastUpdate {
    fn default() -> Self {
        LastUpdate::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Step {
        Step::Ready(Prepared {
            image_id: "ab".to_owned(),
            code_sha256: "ab".to_owned(),
            code_size: 1,
            resolved_uri: None,
        })
    }

    fn fail() -> Step {
        Step::Fail { code: ReasonCode::InvalidImage, reason: "no".to_owned() }
    }

    #[test]
    fn every_step_from_every_state() {
        let failed = State::Failed { code: ReasonCode::InvalidImage, reason: "no".to_owned() };
        let progress = Step::Progress("pulling".to_owned());
        let cases = [
            (State::new(), &progress, Some("Pending")),
            (State::new(), &ready(), Some("Active")),
            (State::new(), &fail(), Some("Failed")),
            (State::new(), &Step::Restore, None),
            (State::Active, &progress, None),
            (State::Active, &ready(), Some("Active")),
            (State::Active, &fail(), Some("Failed")),
            (State::Active, &Step::Restore, None),
            (failed.clone(), &progress, None),
            (failed.clone(), &ready(), Some("Active")),
            (failed.clone(), &fail(), Some("Failed")),
            (failed, &Step::Restore, Some("Pending")),
        ];
        for (from, step, to) in cases {
            assert_eq!(from.next(step).map(|s| s.name()), to, "{from:?} {step:?}");
        }
    }

    #[test]
    fn progress_keeps_the_code_and_replaces_the_text() {
        assert_eq!(
            State::new().next(&Step::Progress("pulling".to_owned())),
            Some(State::Pending { code: ReasonCode::Creating, reason: "pulling".to_owned() })
        );
    }
}
