//! What a function is: the record as the store keeps it.
//!
//! It deliberately does not validate: `api::functions` lets only valid values in. The serialized
//! form is the store's; a change that old records don't fit raises `store::FORMAT`, a new optional
//! field needs `#[serde(default)]` only.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::state::{LastUpdate, State, Step};
use crate::random;

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
    #[serde(default)]
    pub runtime: Option<String>,
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
    /// The id of the prepared image, in hex; empty until then, and in records of early builds.
    #[serde(default)]
    pub image_id: String,
    /// In the order in which they are laid over each other; never there for an image.
    #[serde(default)]
    pub layers: Vec<LayerUse>,
    pub image_config: Option<ImageConfig>,
    pub architecture: Architecture,
    pub tags: BTreeMap<String, String>,
    pub tracing: TracingMode,
    pub logging: Logging,
    pub dead_letter_target: Option<String>,
    /// Kept and returned, not acted on.
    pub kms_key_arn: Option<String>,
    /// Kept and returned, not acted on.
    pub vpc: Option<Vpc>,
    pub last_modified_ms: u64,
    /// Changes with everything that a client can see of the record.
    pub revision_id: String,
    /// Changes with what sandboxes are made of, and with nothing else: two records with the same
    /// one run the same. Empty in a record of the first format that was never updated.
    #[serde(default)]
    pub content_id: String,
    pub state: State,
    /// `None` until the function was Active once.
    pub last_update: Option<LastUpdate>,
    /// What is invoked while an update is being prepared, and after one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Box<Function>>,
    /// In `$LATEST`: the last number that a version was given. Numbers are never given again.
    #[serde(default)]
    pub last_version: u64,
}

/// Where a version's code comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    Image {
        uri: String,
        /// The image by digest, once it is prepared and where it has one.
        resolved_uri: Option<String>,
    },
    /// A checked zip package, kept by its content.
    Zip { sha256_hex: String, size: u64 },
    /// A directory of this host, mounted as it is (hot reload): its path without symbolic links.
    Directory { path: String },
}

/// What stands for the hash of files that may change at any time; LocalStack's word for it.
const NO_HASH: &str = "hot-reloading-hash-not-available";

impl Code {
    /// `CodeSha256` and `CodeSize`. What an image is, its preparation finds out.
    pub fn identity(&self) -> (String, u64) {
        match self {
            Code::Image { .. } => (String::new(), 0),
            Code::Zip { sha256_hex, size } => (base64_of_hex(sha256_hex), *size),
            Code::Directory { .. } => (NO_HASH.to_owned(), 0),
        }
    }
}

/// A layer version that a function uses, as it was when the function was changed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUse {
    pub arn: String,
    pub sha256_hex: String,
    pub size: u64,
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

    pub fn is_latest(&self) -> bool {
        self.version == LATEST
    }

    /// Replaces the code.
    pub fn set_code(&mut self, code: Code) {
        (self.code_sha256, self.code_size) = code.identity();
        self.image_id.clear();
        self.code = code;
    }

    /// The image to start: by its id once it is known, so that a tag which moves later changes no
    /// function. `None` for what is no image by itself and is not prepared.
    pub fn image_reference(&self) -> Option<String> {
        if !self.image_id.is_empty() {
            return Some(format!("sha256:{}", self.image_id));
        }
        match &self.code {
            Code::Image { uri, .. } if self.code_sha256.is_empty() => Some(uri.clone()),
            Code::Image { .. } => Some(format!("sha256:{}", self.code_sha256)),
            Code::Zip { .. } | Code::Directory { .. } => None,
        }
    }

    /// What an invocation runs now, if anything.
    pub fn invocable(&self) -> Option<&Function> {
        (self.state == State::Active).then(|| self.running.as_deref().unwrap_or(self))
    }

    /// Whether its code is still to be prepared.
    pub fn is_unprepared(&self) -> bool {
        matches!(self.state, State::Pending { .. })
            || matches!(self.last_update, Some(LastUpdate::InProgress { .. }))
    }

    /// Begins the update from `self` to `changed`: a new content, which runs once it is prepared.
    pub fn updated(&self, changed: Function) -> Function {
        let mut updated = Function { running: None, ..changed };
        if (&updated.layers, &updated.runtime) != (&self.layers, &self.runtime) {
            updated.image_id.clear(); // what its image is made of has changed
        }
        updated.content_id = random::uuid().to_string();
        updated.revision_id = random::uuid().to_string();
        match self.invocable() {
            Some(running) => {
                updated.running = Some(Box::new(running.clone()));
                updated.last_update = Some(LastUpdate::new());
            }
            None => {
                updated.state = State::new();
                updated.last_update = None;
            }
        }
        updated
    }

    /// The next version, made from this `$LATEST`: as far prepared as it is.
    pub fn published(&self, description: Option<&str>) -> Function {
        let mut version = Function {
            version: (self.last_version + 1).to_string(),
            revision_id: random::uuid().to_string(),
            running: None,
            last_version: 0,
            tags: BTreeMap::new(),
            ..self.clone()
        };
        if let Some(description) = description {
            description.clone_into(&mut version.description);
        }
        if self.is_unprepared() {
            version.state = State::new();
            version.last_update = None;
        }
        version
    }

    /// This version after `step`, or `None` where the step cannot follow its state.
    pub fn after(&self, step: &Step) -> Option<Function> {
        let mut function = self.clone();
        match &self.last_update {
            // The update moves, and the function stays Active with what it had.
            Some(LastUpdate::InProgress { .. }) => {
                function.last_update = Some(LastUpdate::after(step)?);
            }
            _ => function.state = self.state.next(step)?,
        }
        if let Step::Ready(prepared) = step {
            function.last_update = Some(LastUpdate::Successful);
            function.running = None;
            function.image_id.clone_from(&prepared.image_id);
            if let Code::Image { resolved_uri, .. } = &mut function.code {
                function.code_sha256.clone_from(&prepared.code_sha256);
                function.code_size = prepared.code_size;
                resolved_uri.clone_from(&prepared.resolved_uri);
            }
        }
        // The text of a progress is nothing that a client could overwrite.
        if !matches!(step, Step::Progress(_)) {
            function.revision_id = random::uuid().to_string();
        }
        Some(function)
    }
}

/// `CodeSha256` as AWS writes it. What is no hexadecimal text stays as it is.
fn base64_of_hex(hex: &str) -> String {
    let bytes = hex.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes.map_or_else(|| hex.to_owned(), |bytes| STANDARD.encode(bytes))
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
    use super::super::state::{Prepared, ReasonCode};
    use super::*;

    /// A function as it is stored when it was just accepted.
    pub(crate) fn sample(name: &str) -> Function {
        Function {
            region: "us-east-1".to_owned(),
            name: name.to_owned(),
            version: LATEST.to_owned(),
            role: "arn:aws:iam::123456789012:role/r".to_owned(),
            runtime: None,
            handler: None,
            description: String::new(),
            timeout_s: TIMEOUT_DEFAULT_S,
            memory_mb: MEMORY_DEFAULT_MB,
            ephemeral_storage_mb: EPHEMERAL_STORAGE_DEFAULT_MB,
            environment: Some(BTreeMap::from([("KEY".to_owned(), "secret".to_owned())])),
            code: Code::Image { uri: "image:1".to_owned(), resolved_uri: None },
            code_sha256: String::new(),
            code_size: 0,
            image_id: String::new(),
            layers: Vec::new(),
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
            content_id: "22222222-2222-4222-8222-222222222222".to_owned(),
            state: State::new(),
            last_update: None,
            running: None,
            last_version: 0,
        }
    }

    pub(crate) fn ready() -> Step {
        Step::Ready(Prepared {
            image_id: "ab12".to_owned(),
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
        assert_ne!(function.revision_id, sample("f").revision_id);
        assert_eq!(function.content_id, sample("f").content_id);
        assert_eq!(function.image_reference().as_deref(), Some("sha256:ab12"));
        let resolved = Some("image@sha256:ab12".to_owned());
        assert_eq!(
            function.code,
            Code::Image { uri: "image:1".to_owned(), resolved_uri: resolved }
        );
    }

    fn fail() -> Step {
        Step::Fail { code: ReasonCode::InvalidImage, reason: "no".to_owned() }
    }

    #[test]
    fn the_old_code_runs_until_an_update_is_prepared() {
        let old = sample("f").after(&ready()).unwrap();
        let changed = old.updated(Function { timeout_s: 9, ..old.clone() });
        assert_ne!(
            (&changed.content_id, &changed.revision_id),
            (&old.content_id, &old.revision_id)
        );
        assert_eq!(changed.state, State::Active);
        assert!(matches!(changed.last_update, Some(LastUpdate::InProgress { .. })));
        assert_eq!(changed.invocable(), Some(&old));
        let progress = changed.after(&Step::Progress("pulling".to_owned())).unwrap();
        assert_eq!(progress.revision_id, changed.revision_id);
        let failed = changed.after(&fail()).unwrap();
        assert_eq!((&failed.state, failed.invocable()), (&State::Active, Some(&old)));
        // The next update still knows what ran.
        let again = failed.updated(Function { timeout_s: 7, ..failed.clone() });
        assert_eq!(again.invocable(), Some(&old));
        let done = again.after(&ready()).unwrap();
        assert_eq!(done.invocable().map(|f| f.timeout_s), Some(7));
        assert_eq!(done.last_update, Some(LastUpdate::Successful));
    }

    #[test]
    fn a_function_that_never_ran_is_pending_again_after_an_update() {
        let failed = sample("f").after(&fail()).unwrap();
        assert_eq!(failed.invocable(), None);
        let updated = failed.updated(failed.clone());
        assert_eq!((&updated.state, &updated.last_update), (&State::new(), &None));
    }

    #[test]
    fn a_version_is_as_far_as_its_latest() {
        let mut pending = sample("f");
        pending.tags.insert("team".to_owned(), "x".to_owned());
        let version = pending.published(Some("first"));
        assert_eq!((version.version.as_str(), version.description.as_str()), ("1", "first"));
        assert_eq!((&version.state, version.tags.len()), (&State::new(), 0));
        let active = Function { last_version: 4, ..pending.after(&ready()).unwrap() };
        let version = active.published(None);
        assert_eq!((version.version.as_str(), &version.state), ("5", &State::Active));
        assert_eq!(version.content_id, active.content_id);
        let updating = active.updated(active.clone()).published(None);
        assert_eq!((&updating.state, updating.invocable()), (&State::new(), None));
    }

    #[test]
    fn a_package_has_its_digest_and_size_at_once() {
        let mut function = sample("f");
        function.set_code(Code::Zip { sha256_hex: "00ff10".to_owned(), size: 7 });
        assert_eq!((function.code_sha256.as_str(), function.code_size), ("AP8Q", 7));
        let ready = function.after(&ready()).unwrap();
        assert_eq!((ready.code_sha256.as_str(), ready.code_size), ("AP8Q", 7));
        assert_eq!(function.image_reference(), None);
        assert_eq!(ready.image_reference().as_deref(), Some("sha256:ab12"));
    }

    #[test]
    fn a_directory_has_no_hash_and_an_image_once_it_is_prepared() {
        let mut function = sample("f");
        function.set_code(Code::Directory { path: "/src".to_owned() });
        let hash = "hot-reloading-hash-not-available";
        assert_eq!((function.code_sha256.as_str(), function.code_size), (hash, 0));
        assert_eq!(function.image_reference(), None);
        let ready = function.after(&ready()).unwrap();
        assert_eq!((ready.code_sha256.as_str(), ready.code_size), (hash, 0));
        assert_eq!(ready.image_reference().as_deref(), Some("sha256:ab12"));
        let stored = serde_json::to_string(&ready).unwrap();
        assert_eq!(serde_json::from_str::<Function>(&stored).unwrap(), ready);
    }

    #[test]
    fn a_record_of_the_first_format_is_read() {
        let mut record = serde_json::to_value(sample("f")).unwrap();
        let members = record.as_object_mut().unwrap();
        for new in ["runtime", "layers", "content_id", "last_version"] {
            assert!(members.remove(new).is_some(), "{new}");
        }
        let read: Function = serde_json::from_value(record).unwrap();
        assert_eq!(read, Function { content_id: String::new(), ..sample("f") });
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
