//! The Engine itself: is it there, which version, on what machine; and which API version to speak.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::engine::{Call, Engine};
use super::error::EngineError;
use super::wire::{Target, null_as_default};

/// The oldest API that this client speaks (Engine 19.03): every call it makes is in it.
pub(super) const MINIMUM_API: ApiVersion = ApiVersion { major: 1, minor: 40 };

/// The newest API that this client was written against (Engine 27.2); newer Engines accept it.
const MAXIMUM_API: ApiVersion = ApiVersion { major: 1, minor: 47 };

/// A version of the Engine's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    pub major: u16,
    pub minor: u16,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(ApiVersion { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is not an API version"))
    }
}

/// The version to speak with an Engine that offers `minimum` to `newest`.
fn choose(minimum: ApiVersion, newest: ApiVersion) -> Result<ApiVersion, EngineError> {
    if newest < MINIMUM_API {
        return Err(EngineError::TooOld { engine: newest, minimum: MINIMUM_API });
    }
    if minimum > MAXIMUM_API {
        return Err(EngineError::TooNew { engine_minimum: minimum, maximum: MAXIMUM_API });
    }
    Ok(newest.min(MAXIMUM_API))
}

/// What the Engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineVersion {
    pub version: String,
    /// The newest API version that it offers, which is not always the one in use.
    pub api_version: String,
    pub os: String,
    pub arch: String,
}

/// The machine that the Engine runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    pub cpus: u32,
    pub memory_bytes: u64,
    pub operating_system: String,
    pub storage_driver: String,
    /// `1` or `2`; empty when the Engine does not say.
    pub cgroup_version: String,
    /// Whether the Engine runs without root: then it cannot enforce every limit.
    pub rootless: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireVersion {
    #[serde(default)]
    version: String,
    api_version: String,
    /// Absent from Engines before 1.13, which are too old anyway.
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: Option<String>,
    #[serde(default)]
    os: String,
    #[serde(default)]
    arch: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireInfo {
    #[serde(rename = "NCPU")]
    cpus: u32,
    mem_total: u64,
    #[serde(default)]
    operating_system: String,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    cgroup_version: String,
    #[serde(default, deserialize_with = "null_as_default")]
    security_options: Vec<String>,
}

impl Engine {
    /// Asks whether the Engine answers.
    pub fn ping(&self) -> Result<(), EngineError> {
        self.call(Call::get(Target::unversioned("/_ping"))).map(drop)
    }

    pub fn version(&self) -> Result<EngineVersion, EngineError> {
        let wire: WireVersion = self.wire_version()?;
        Ok(EngineVersion {
            version: wire.version,
            api_version: wire.api_version,
            os: wire.os,
            arch: wire.arch,
        })
    }

    pub fn info(&self) -> Result<EngineInfo, EngineError> {
        let wire: WireInfo = self.call(Call::get(Target::fixed("/info")))?.json()?;
        Ok(EngineInfo {
            cpus: wire.cpus,
            memory_bytes: wire.mem_total,
            operating_system: wire.operating_system,
            storage_driver: wire.driver,
            cgroup_version: wire.cgroup_version,
            rootless: wire.security_options.iter().any(|option| option == "name=rootless"),
        })
    }

    /// The API version to speak with the Engine as it is now.
    pub(super) fn offered_api(&self) -> Result<ApiVersion, EngineError> {
        let wire = self.wire_version()?;
        let malformed = |reason| EngineError::Malformed { call: "GET /version".to_owned(), reason };
        let newest: ApiVersion = wire.api_version.parse().map_err(malformed)?;
        let minimum = match wire.min_api_version.as_deref() {
            None | Some("") => newest.min(MINIMUM_API),
            Some(text) => text.parse().map_err(malformed)?,
        };
        choose(minimum, newest)
    }

    fn wire_version(&self) -> Result<WireVersion, EngineError> {
        self.call(Call::get(Target::unversioned("/version")))?.json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> ApiVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_numbers_not_text() {
        assert!(v("1.9") < v("1.41"));
        assert_eq!(v("1.41").to_string(), "1.41");
        for bad in ["", "1", "1.", "1.x", "1.41.0", "-1.4"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn speaks_the_newest_that_both_know() {
        assert_eq!(choose(v("1.12"), v("1.41")).unwrap(), v("1.41"));
        assert_eq!(choose(v("1.44"), v("1.52")).unwrap(), MAXIMUM_API);
        assert_eq!(choose(v("1.47"), v("1.60")).unwrap(), MAXIMUM_API);
        assert!(matches!(choose(v("1.12"), v("1.39")), Err(EngineError::TooOld { .. })));
        assert!(matches!(choose(v("1.48"), v("1.60")), Err(EngineError::TooNew { .. })));
    }
}
