//! What a function is: the record as the store keeps it.
//!
//! It deliberately does not validate: `api::functions` lets only valid values in. The serialized
//! form is the store's; a change that old records don't fit raises `store::FORMAT`, a new optional
//! field needs `#[serde(default)]` only.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::state::{LastUpdate, Prepared, State, Step};

pub const TIMEOUT_DEFAULT_S: u32 = 3;
pub const MEMORY_DEFAULT_MB: u32 = 128;
pub const EPHEMERAL_STORAGE_DEFAULT_MB: u32 = 512;

/// The version that is not published yet: the only one that can change.
pub const LATEST: &str = "$LATEST";

/// One version of a function.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    pub region: String,
    pub name: String,
    pub version: String,
    pub role: String,
    /// Never there for an image.
    pub handler: Option<String>,
    pub description: String,
    pub timeout_s: u32,
    pub memory_mb: u32,
    pub ephemeral_storage_mb: u32,
    /// `None` where the request named none: the answer then has no `Environment`.
    pub environment: Option<BTreeMap<String, String>>,
    pub code: Code,
    /// Empty until the code is prepared.
    pub code_sha256: String,
    pub code_size: u64,
    pub image_config: Option<ImageConfig>,
    pub architecture: Architecture,
    pub tags: BTreeMap<String, String>,
    pub tracing: TracingMode,
    pub logging: Logging,
    /// Kept and returned, not acted on.
    pub dead_letter_target: Option<String>,
    /// Kept and returned, not acted on.
    pub kms_key_arn: Option<String>,
    /// Kept and returned, not acted on.
    pub vpc: Option<Vpc>,
    pub last_modified_ms: u64,
    pub revision_id: String,
    pub state: State,
    /// `None` until the function was Active once.
    pub last_update: Option<LastUpdate>,
}

/// Where a version's code comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    Image {
        uri: String,
        /// The image by digest, once it is prepared and where it has one.
        resolved_uri: Option<String>,
    },
}

/// What replaces the image's own settings; an absent member leaves the image's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    pub entry_point: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub working_directory: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    X86_64,
    Arm64,
}

impl Architecture {
    /// The name in AWS's model.
    pub fn as_str(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Arm64 => "arm64",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TracingMode {
    Active,
    #[default]
    PassThrough,
}

impl TracingMode {
    /// The name in AWS's model.
    pub fn as_str(self) -> &'static str {
        match self {
            TracingMode::Active => "Active",
            TracingMode::PassThrough => "PassThrough",
        }
    }
}

/// Levels are the model's names, and only there with the JSON format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub json: bool,
    pub application_level: Option<String>,
    pub system_level: Option<String>,
    pub group: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    pub subnet_ids: Vec<String>,
    pub security_group_ids: Vec<String>,
    pub ipv6_allowed_for_dual_stack: bool,
}

impl Function {
    /// The key of this version in the store. Regions, names and versions have no `/`.
    pub fn key(&self) -> String {
        key(&self.region, &self.name, &self.version)
    }

    /// This version after `step`, or `None` where the step cannot follow its state.
    pub fn after(&self, step: &Step) -> Option<Function> {
        let state = self.state.next(step)?;
        let mut function = Function { state, ..self.clone() };
        if let Step::Ready(Prepared { code_sha256, code_size, resolved_uri: found }) = step {
            function.code_sha256.clone_from(code_sha256);
            function.code_size = *code_size;
            function.last_update = Some(LastUpdate::Successful);
            let Code::Image { resolved_uri, .. } = &mut function.code;
            resolved_uri.clone_from(found);
        }
        Some(function)
    }
}

/// Environment values may be secrets, so `{:?}` in a log line shows their names only.
impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.iter().flat_map(BTreeMap::keys).collect();
        f.debug_struct("Function")
            .field("region", &self.region)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("code", &self.code)
            .field("state", &self.state)
            .field("memory_mb", &self.memory_mb)
            .field("timeout_s", &self.timeout_s)
            .field("environment_names", &names)
            .finish_non_exhaustive()
    }
}

/// The key of a version in the store: sorted, a region's functions and a function's versions are
/// neighbours.
pub fn key(region: &str, name: &str, version: &str) -> String {
    format!("{region}/{name}/{version}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A function as it is stored when it was just accepted.
    pub(crate) fn sample(name: &str) -> Function {
        Function {
            region: "us-east-1".to_owned(),
            name: name.to_owned(),
            version: LATEST.to_owned(),
            role: "arn:aws:iam::123456789012:role/r".to_owned(),
            handler: None,
            description: String::new(),
            timeout_s: TIMEOUT_DEFAULT_S,
            memory_mb: MEMORY_DEFAULT_MB,
            ephemeral_storage_mb: EPHEMERAL_STORAGE_DEFAULT_MB,
            environment: Some(BTreeMap::from([("KEY".to_owned(), "secret".to_owned())])),
            code: Code::Image { uri: "image:1".to_owned(), resolved_uri: None },
            code_sha256: String::new(),
            code_size: 0,
            image_config: None,
            architecture: Architecture::X86_64,
            tags: BTreeMap::new(),
            tracing: TracingMode::PassThrough,
            logging: Logging {
                json: false,
                application_level: None,
                system_level: None,
                group: format!("/aws/lambda/{name}"),
            },
            dead_letter_target: None,
            kms_key_arn: None,
            vpc: None,
            last_modified_ms: 1_700_000_000_123,
            revision_id: "11111111-1111-4111-8111-111111111111".to_owned(),
            state: State::new(),
            last_update: None,
        }
    }

    pub(crate) fn ready() -> Step {
        Step::Ready(Prepared {
            code_sha256: "ab12".to_owned(),
            code_size: 42,
            resolved_uri: Some("image@sha256:ab12".to_owned()),
        })
    }

    #[test]
    fn becoming_ready_takes_over_what_was_found() {
        let function = sample("f").after(&ready()).unwrap();
        assert_eq!(function.state, State::Active);
        assert_eq!((function.code_sha256.as_str(), function.code_size), ("ab12", 42));
        assert_eq!(function.last_update, Some(LastUpdate::Successful));
        let Code::Image { uri, resolved_uri } = function.code;
        assert_eq!((uri.as_str(), resolved_uri.as_deref()), ("image:1", Some("image@sha256:ab12")));
    }

    #[test]
    fn debug_shows_no_environment_value() {
        let text = format!("{:?}", sample("f"));
        assert!(text.contains("KEY") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn the_key_names_region_name_and_version() {
        assert_eq!(sample("f").key(), "us-east-1/f/$LATEST");
    }
}
