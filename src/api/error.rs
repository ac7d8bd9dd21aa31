//! AWS's error shape: what a client reads, and apart from it the cause that only the log gets.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// An error as one of AWS's surfaces answers it. Small, for it stands in the result of nearly
/// every function of these surfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError(Box<Told>);

/// What an [`AwsError`] says.
///
/// `message` goes to the client word for word; `internal` never leaves the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    /// The exception's name: `x-amzn-ErrorType` and, on the Runtime API, `errorType`.
    pub error_type: &'static str,
    pub message: String,
    /// The inner cause, for the log.
    pub internal: Option<String>,
    /// `Reason` of a throttling error.
    pub reason: Option<&'static str>,
    /// Seconds for `Retry-After`.
    pub retry_after_s: Option<u32>,
}

impl AwsError {
    pub fn new(status: u16, error_type: &'static str, message: impl Into<String>) -> Self {
        AwsError(Box::new(Told {
            status,
            error_type,
            message: message.into(),
            internal: None,
            reason: None,
            retry_after_s: None,
        }))
    }

    /// 500 with a text that tells the client nothing of the inside; the cause goes to the log.
    pub fn service(internal: impl fmt::Display) -> Self {
        let mut error =
            AwsError::new(500, "ServiceException", "An error occurred inside the service.");
        error.internal = Some(internal.to_string());
        error
    }

    /// Adds the cause for the log.
    pub fn because(mut self, internal: impl fmt::Display) -> Self {
        self.internal = Some(internal.to_string());
        self
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.error_type, self.message)?;
        match &self.internal {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl Deref for AwsError {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl DerefMut for AwsError {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

impl std::error::Error for AwsError {}
