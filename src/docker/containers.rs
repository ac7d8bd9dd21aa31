//! Containers: create, fill, start, stop, kill, remove, inspect, list.
//!
//! Their logs and figures are in `logs` and `stats`, what can be asked of a new one in `spec`.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use super::engine::{Call, Engine, Payload, Wait};
use super::error::EngineError;
use super::images::SILENCE;
use super::spec::ContainerSpec;
use super::wire::{Target, null_as_default};

/// A container as inspect tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    /// Without the slash that the Engine puts in front.
    pub name: String,
    pub running: bool,
    /// Of the last run; 0 while it runs and before it was started.
    pub exit_code: i64,
    /// Of the last run. When the kernel killed only a child, it is true after the exit only.
    pub oom_killed: bool,
    pub labels: BTreeMap<String, String>,
    pub env: Vec<String>,
    /// The image's name as it was given to create.
    pub image: String,
    /// The network's name and the container's address on it; an address is there while it runs.
    pub addresses: Vec<(String, IpAddr)>,
}

/// A container as the list tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSummary {
    pub id: String,
    pub names: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    pub addresses: Vec<(String, IpAddr)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireContainer {
    id: String,
    name: String,
    state: WireState,
    config: WireConfig,
    #[serde(default, deserialize_with = "null_as_default")]
    network_settings: WireNetworks,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireState {
    running: bool,
    exit_code: i64,
    #[serde(rename = "OOMKilled", default)]
    oom_killed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireConfig {
    #[serde(default, deserialize_with = "null_as_default")]
    image: String,
    #[serde(default, deserialize_with = "null_as_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct WireNetworks {
    #[serde(default, deserialize_with = "null_as_default")]
    networks: BTreeMap<String, Option<WireEndpoint>>,
}

#[derive(Deserialize)]
struct WireEndpoint {
    #[serde(rename = "IPAddress", default, deserialize_with = "null_as_default")]
    address: String,
    #[serde(rename = "GlobalIPv6Address", default, deserialize_with = "null_as_default")]
    address_v6: String,
}

impl WireNetworks {
    /// An endpoint of a stopped container has an empty address.
    fn addresses(self) -> Vec<(String, IpAddr)> {
        let mut addresses = Vec::new();
        for (name, endpoint) in self.networks {
            let Some(endpoint) = endpoint else { continue };
            for text in [endpoint.address, endpoint.address_v6] {
                if let Ok(address) = text.parse() {
                    addresses.push((name.clone(), address));
                }
            }
        }
        addresses
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireSummary {
    id: String,
    #[serde(default, deserialize_with = "null_as_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "null_as_default")]
    network_settings: WireNetworks,
}

/// The name without the slash in front of it.
fn bare(mut name: String) -> String {
    if name.starts_with('/') {
        name.remove(0);
    }
    name
}

impl From<WireContainer> for Container {
    fn from(wire: WireContainer) -> Self {
        Container {
            id: wire.id,
            name: bare(wire.name),
            running: wire.state.running,
            exit_code: wire.state.exit_code,
            oom_killed: wire.state.oom_killed,
            labels: wire.config.labels,
            env: wire.config.env,
            image: wire.config.image,
            addresses: wire.network_settings.addresses(),
        }
    }
}

impl From<WireSummary> for ContainerSummary {
    fn from(wire: WireSummary) -> Self {
        ContainerSummary {
            id: wire.id,
            names: wire.names.into_iter().map(bare).collect(),
            labels: wire.labels,
            state: wire.state,
            addresses: wire.network_settings.addresses(),
        }
    }
}

impl Engine {
    /// Creates a container and gives its id. A conflict means that the name is taken, "not found"
    /// that the image is missing.
    pub fn create_container(
        &self,
        name: &str,
        spec: &ContainerSpec,
    ) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
            #[serde(default, deserialize_with = "null_as_default")]
            warnings: Vec<String>,
        }
        let target = Target::fixed("/containers/create").query("name", name);
        let body = spec.body().to_string().into_bytes();
        let created: Created =
            self.call(Call::post(target).payload(Payload::Json(body)))?.json()?;
        for warning in created.warnings {
            log::warn!("docker engine on creating container {name:?}: {warning:?}");
        }
        Ok(created.id)
    }

    /// Unpacks a tar archive in a container's directory `path`. What it has replaces what is there,
    /// but directories are merged. An error of `tar` itself comes back as
    /// [`EngineError::Interrupted`]; what came before it is then unpacked.
    pub fn put_archive(
        &self,
        container: &str,
        path: &str,
        tar: &mut dyn Read,
    ) -> Result<(), EngineError> {
        let target = Target::named("/containers", container, "/archive")?.query("path", path);
        let call = Call::put(target).payload(Payload::Tar(tar)).wait(Wait::Silence(SILENCE));
        self.call(call).map(drop)
    }

    /// Starts a container; that it runs already is fine.
    pub fn start_container(&self, id: &str) -> Result<(), EngineError> {
        self.call(Call::post(Target::named("/containers", id, "/start")?)).map(drop)
    }

    /// Sends a signal, as `SIGKILL`. A conflict means that the container does not run.
    pub fn kill_container(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let target = Target::named("/containers", id, "/kill")?.query("signal", signal);
        self.call(Call::post(target)).map(drop)
    }

    /// Freezes a container's processes. A conflict means that it does not run, or is frozen.
    pub fn pause_container(&self, id: &str) -> Result<(), EngineError> {
        self.call(Call::post(Target::named("/containers", id, "/pause")?)).map(drop)
    }

    /// Lets a frozen container's processes run.
    pub fn unpause_container(&self, id: &str) -> Result<(), EngineError> {
        self.call(Call::post(Target::named("/containers", id, "/unpause")?)).map(drop)
    }

    /// Sends the stop signal and, `grace_s` later, the kill. It returns when the container has
    /// stopped; that it was not running is fine.
    pub fn stop_container(&self, id: &str, grace_s: u32) -> Result<(), EngineError> {
        let target = Target::named("/containers", id, "/stop")?.query("t", &grace_s.to_string());
        let wait = self.settings().call_timeout + Duration::from_secs(grace_s.into());
        self.call(Call::post(target).wait(Wait::Whole(wait))).map(drop)
    }

    /// Removes a container with its anonymous volumes; `force` kills it first. That it is gone or
    /// just being removed is fine.
    pub fn remove_container(&self, id: &str, force: bool) -> Result<(), EngineError> {
        let target = Target::named("/containers", id, "")?
            .query("force", if force { "1" } else { "0" })
            .query("v", "1");
        match self.find(Call::delete(target)) {
            Err(EngineError::Status { status: 409, message, .. })
                if message.contains("already in progress") =>
            {
                Ok(())
            }
            removed => removed.map(drop),
        }
    }

    /// Inspects a container by id or name.
    pub fn container(&self, id: &str) -> Result<Option<Container>, EngineError> {
        match self.find(Call::get(Target::named("/containers", id, "/json")?))? {
            Some(answer) => Ok(Some(answer.json::<WireContainer>()?.into())),
            None => Ok(None),
        }
    }

    /// Lists the containers that have every one of `labels` (`key` or `key=value`); those that do
    /// not run only if `all`.
    pub fn containers(
        &self,
        labels: &[&str],
        all: bool,
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let mut target =
            Target::fixed("/containers/json").query("all", if all { "1" } else { "0" });
        if !labels.is_empty() {
            let filters = serde_json::json!({ "label": labels });
            target = target.query("filters", &filters.to_string());
        }
        let wire: Vec<WireSummary> = self.call(Call::get(target))?.json()?;
        Ok(wire.into_iter().map(ContainerSummary::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inspect_tolerates_null_and_empty() {
        let wire: WireContainer = serde_json::from_str(
            r#"{"Id":"i","Name":"/n","State":{"Running":false,"ExitCode":137,"OOMKilled":true},
                "Config":{"Image":"x","Env":null,"Labels":null},
                "NetworkSettings":{"Networks":{"a":{"IPAddress":""},"b":null,
                "c":{"IPAddress":"10.0.0.2","GlobalIPv6Address":"fd00::2"}}}}"#,
        )
        .unwrap();
        let container = Container::from(wire);
        assert_eq!(container.name, "n");
        assert!(container.oom_killed && !container.running);
        assert_eq!(container.exit_code, 137);
        let expected =
            [("c", "10.0.0.2"), ("c", "fd00::2")].map(|(n, a)| (n.to_owned(), a.parse().unwrap()));
        assert_eq!(container.addresses, expected);
    }

    #[test]
    fn summaries_have_bare_names() {
        let wire: WireSummary =
            serde_json::from_str(r#"{"Id":"i","Names":["/n"],"State":"created"}"#).unwrap();
        assert_eq!(ContainerSummary::from(wire).names, ["n"]);
    }
}
