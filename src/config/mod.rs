//! `config.toml` and the environment -> raw values -> a validated, typed `Config`.
//!
//! Invariants: a `Config` is complete and within its ranges, so nobody checks it again; each key's
//! unit is in its name; an unknown key is an error. Nothing here knows how another folder works, and
//! nothing but `load` does I/O (and `aws` and `audit`, which read the files of secrets, and `development`, which
//! looks up directories). The environment goes over the file, the file over the defaults.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod arguments;
mod asynchronous;
mod audit;
mod auth;
mod aws;
mod development;
mod error;
mod ranges;
mod raw;
mod runtimes;
mod schedules;
mod subnet;
mod text;
mod validate;

pub use asynchronous::{Asynchronous, Webhook};
pub use audit::{Audit, OnFailure};
pub use auth::{AccessKey, Auth};
pub use aws::{Aws, Credentials, Endpoint, Secret};
pub use development::Development;
pub use error::{ConfigError, Place};
pub use runtimes::Runtimes;
pub use schedules::{MissedRuns, Schedules};
pub use subnet::Subnet;

/// Read when no file is named, if it exists in the working directory.
pub const DEFAULT_FILE: &str = "config.toml";

/// A configuration has a few KiB; a path to something else must not fill the memory.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Everything an operator can set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that was read, for the log; None when the defaults apply.
    pub file: Option<PathBuf>,
    pub server: Server,
    pub http: Http,
    pub storage: Storage,
    pub docker: Docker,
    pub execution: Execution,
    pub logs: Logs,
    pub asynchronous: Asynchronous,
    pub schedules: Schedules,
    pub audit: Audit,
    pub runtimes: Runtimes,
    pub aws: Aws,
    pub auth: Auth,
    pub development: Development,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub address: IpAddr,
    pub port: u16,
    /// Event loops; already resolved, never 0.
    pub workers: usize,
    /// Threads for calls that may block.
    pub blocking_threads: usize,
    /// Calls that may wait for a blocking thread; beyond them 503.
    pub max_waiting_calls: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_head_bytes: usize,
    /// The same for known sandboxes and loopback; runtimes' error headers are longer.
    pub max_sandbox_head_bytes: usize,
    pub max_header_count: usize,
    pub max_uri_bytes: usize,
    /// All bodies together that are being received or held.
    pub max_buffered_bytes: usize,
    /// From the first byte of a head to its end.
    pub head_timeout: Duration,
    /// From the end of a head to the end of its body.
    pub body_timeout: Duration,
    /// How long a client may take none of its answer.
    pub write_timeout: Duration,
    pub keep_alive_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    pub network_name: String,
    /// None: the service takes the first free private one.
    pub subnet: Option<Subnet>,
    /// Patterns of the names of functions that are to reach nothing but the Runtime API.
    pub none_out_functions: Vec<String>,
    /// How many networks are kept ready for sandboxes to join.
    pub network_slots: usize,
    pub container_prefix: String,
    pub socket: PathBuf,
    pub pull_policy: PullPolicy,
    /// The image that the service makes for functions without a base; empty for none.
    pub base_image: String,
    pub call_timeout: Duration,
}

/// Whether an image that the Engine does not have is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Missing,
    Never,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub max_concurrent_executions: usize,
    pub max_memory_mb: usize,
    /// CPUs of one sandbox at most; 0.5 is half a CPU.
    pub max_cpu_shares: f64,
    pub init_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_parallel_starts: usize,
    pub shutdown_grace: Duration,
    /// Memory of all sandboxes together.
    pub max_total_memory: TotalMemory,
    /// Idle sandboxes go while the host has less than this; 0 for never.
    pub min_available_memory_mb: u64,
    /// How long an invocation waits for room; zero refuses it at once.
    pub max_queue_wait: Duration,
    /// How long a sandbox is idle before it is frozen; `None` for never.
    pub freeze_after: Option<Duration>,
}

/// How much memory the sandboxes may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalMemory {
    Mb(u64),
    /// A share of what the host has.
    Percent(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    pub max_bytes_per_group: u64,
    pub max_total_bytes: u64,
    /// None: events are kept until there is no room for them.
    pub retention_days: Option<u32>,
}

/// Reads and validates the configuration.
///
/// A named file has to exist. Without a name `./config.toml` is read if it is there, else the
/// defaults apply: the quick start works from the project's folder and from an empty one alike.
/// `env` looks up one variable; an empty one counts as not set, as for the Docker client.
pub fn load(
    path: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let file = path.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    let name = file.display().to_string();
    let text = match read(file) {
        Ok(text) if text.len() as u64 > MAX_FILE_BYTES => {
            return Err(ConfigError::TooLarge { file: name, limit_bytes: MAX_FILE_BYTES });
        }
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_none() => {
            return validate::config(raw::Source { file: "", text: "" }, env);
        }
        Err(source) => return Err(ConfigError::Read { file: name, source }),
    };
    let mut config = validate::config(raw::Source { file: &name, text: &text }, env)?;
    config.file = Some(file.to_owned());
    Ok(config)
}

/// One byte more than allowed is read, so that the caller can tell a full file from a cut one.
fn read(file: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    String::from_utf8(text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_environment(_: &str) -> Option<String> {
        None
    }

    /// A file of its own for one test, gone afterwards.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, content: &[u8]) -> Temporary {
            let name = format!("lambda-config-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, content).unwrap();
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn shipped() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap()
    }

    #[test]
    fn the_shipped_file_states_the_defaults() {
        let text = shipped();
        let source = raw::Source { file: DEFAULT_FILE, text: &text };
        let defaults = raw::Source { file: "", text: "" };
        assert_eq!(
            validate::config(source, &no_environment).unwrap(),
            validate::config(defaults, &no_environment).unwrap()
        );
    }

    #[test]
    fn the_shipped_file_sets_every_key_and_explains_it() {
        let text = shipped();
        for (section, keys) in raw::KEYS {
            let (_, rest) = text.split_once(&format!("\n[{section}]\n")).unwrap();
            let body = rest.split("\n[").next().unwrap();
            for key in *keys {
                let (before, _) = body
                    .split_once(&format!("\n{key} = "))
                    .unwrap_or_else(|| panic!("{section}.{key} is not in config.toml"));
                let comment = before.rsplit("\n\n").next().unwrap().trim_start();
                assert!(comment.starts_with('#'), "{section}.{key} has no comment");
                assert!(comment.contains("Default "), "{section}.{key} names no default");
                let full = format!("{section}.{key}");
                if let Some(range) = ranges::ALL.iter().find(|range| range.key == full) {
                    let stated =
                        format!("Default {}, {} to {}.", range.default, range.min, range.max);
                    assert!(comment.contains(&stated), "{full} does not say {stated:?}");
                }
            }
        }
    }

    #[test]
    fn a_named_file_has_to_exist() {
        let error = load(Some(Path::new("/nonexistent/lambda.toml")), &no_environment).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("/nonexistent/lambda.toml: cannot read"), "{text}");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn a_file_is_read_and_remembered() {
        let file = Temporary::new("good.toml", b"[server]\nport = 9000\n");
        let config = load(Some(&file.0), &no_environment).unwrap();
        assert_eq!(config.server.port, 9000);
        assert_eq!(config.file.as_deref(), Some(file.0.as_path()));
    }

    #[test]
    fn a_file_that_is_no_text_or_too_large_is_refused() {
        let file = Temporary::new("binary.toml", b"\xff\xfe");
        let text = load(Some(&file.0), &no_environment).unwrap_err().to_string();
        assert!(text.ends_with("the text is not UTF-8"), "{text}");

        let largest = usize::try_from(MAX_FILE_BYTES).unwrap();
        let file = Temporary::new("large.toml", &vec![b'#'; largest + 1]);
        let text = load(Some(&file.0), &no_environment).unwrap_err().to_string();
        assert!(text.ends_with("at most 1048576 bytes"), "{text}");
        let file = Temporary::new("full.toml", &vec![b'#'; largest]);
        assert!(load(Some(&file.0), &no_environment).is_ok());

        let text = load(Some(&std::env::temp_dir()), &no_environment).unwrap_err().to_string();
        assert!(text.contains("cannot read the configuration file"), "{text}");
    }
}
