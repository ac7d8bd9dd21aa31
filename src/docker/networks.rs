//! Networks: find, list, create, remove.
//!
//! Only bridge networks are created. IPv6 subnets are not reported.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::engine::{Call, Engine, Payload};
use super::error::EngineError;
use super::ipv4net::Ipv4Net;
use super::wire::{Target, null_as_default};

/// The bridge driver's option for traffic between the containers of one network.
const INTER_CONTAINER: &str = "com.docker.network.bridge.enable_icc";

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub subnets: Vec<Ipv4Net>,
    /// The host's own address on it.
    pub gateway: Option<Ipv4Addr>,
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

impl Network {
    /// Whether its containers can reach each other; the bridge driver's default is that they can.
    pub fn inter_container(&self) -> bool {
        self.options.get(INTER_CONTAINER).is_none_or(|value| value != "false")
    }
}

/// A network to create.
#[derive(Debug, Clone, Default)]
pub struct NetworkSpec {
    pub name: String,
    /// The Engine chooses one if there is none, but gives containers fixed addresses only on a
    /// network that was created with one.
    pub subnet: Option<Ipv4Net>,
    pub gateway: Option<Ipv4Addr>,
    /// Whether its containers can reach each other.
    pub inter_container: bool,
    /// Without a way to the outside; the host itself stays reachable.
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireNetwork {
    id: String,
    name: String,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    internal: bool,
    #[serde(rename = "IPAM", default, deserialize_with = "null_as_default")]
    ipam: WireIpam,
    #[serde(default, deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_as_default")]
    options: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct WireIpam {
    #[serde(default, deserialize_with = "null_as_default")]
    config: Vec<WirePool>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WirePool {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

impl From<WireNetwork> for Network {
    fn from(wire: WireNetwork) -> Self {
        let pools = &wire.ipam.config;
        let address = |text: &String| text.split('/').next().and_then(|text| text.parse().ok());
        Network {
            subnets: pools.iter().filter_map(|p| p.subnet.as_ref()?.parse().ok()).collect(),
            gateway: pools.iter().find_map(|p| p.gateway.as_ref().and_then(address)),
            id: wire.id,
            name: wire.name,
            driver: wire.driver,
            internal: wire.internal,
            labels: wire.labels,
            options: wire.options,
        }
    }
}

fn create_body(spec: &NetworkSpec) -> serde_json::Value {
    let mut body = serde_json::json!({
        "Name": spec.name,
        "Driver": "bridge",
        // Engines before API 1.44 would create a second network of the same name.
        "CheckDuplicate": true,
        "Internal": spec.internal,
        "Options": { INTER_CONTAINER: spec.inter_container.to_string() },
        "Labels": spec.labels,
    });
    if spec.subnet.is_some() {
        let pool = WirePool {
            subnet: spec.subnet.map(|net| net.to_string()),
            gateway: spec.gateway.map(|address| address.to_string()),
        };
        body["IPAM"] = serde_json::json!({ "Driver": "default", "Config": [pool] });
    }
    body
}

impl Engine {
    /// The network called `name`.
    pub fn network(&self, name: &str) -> Result<Option<Network>, EngineError> {
        let answer = self.find(Call::get(Target::named("/networks", name, "")?))?;
        let Some(answer) = answer else { return Ok(None) };
        let network = Network::from(answer.json::<WireNetwork>()?);
        // The Engine also takes the beginning of an id for a name.
        Ok((network.name == name || network.id == name).then_some(network))
    }

    /// All networks.
    pub fn networks(&self) -> Result<Vec<Network>, EngineError> {
        let wire: Vec<WireNetwork> = self.call(Call::get(Target::fixed("/networks")))?.json()?;
        Ok(wire.into_iter().map(Network::from).collect())
    }

    /// Creates a bridge network and gives its id. A conflict means that the name is taken; a
    /// subnet that overlaps another network's is refused with status 403.
    pub fn create_network(&self, spec: &NetworkSpec) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let body = create_body(spec).to_string().into_bytes();
        let call = Call::post(Target::fixed("/networks/create")).payload(Payload::Json(body));
        Ok(self.call(call)?.json::<Created>()?.id)
    }

    /// Removes a network; that there is none is fine.
    pub fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.find(Call::delete(Target::named("/networks", name, "")?)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_engines_leave_out() {
        let wire: WireNetwork =
            serde_json::from_str(r#"{"Id":"i","Name":"n","IPAM":{"Config":null},"Labels":null}"#)
                .unwrap();
        let network = Network::from(wire);
        assert_eq!((network.subnets.len(), network.gateway), (0, None));
        assert!(network.inter_container());
    }

    #[test]
    fn takes_the_ipv4_part() {
        let wire: WireNetwork = serde_json::from_str(
            r#"{"Id":"i","Name":"n","IPAM":{"Config":[{"Subnet":"fd00::/64","Gateway":"fd00::1"},
                {"Subnet":"172.30.0.0/16","Gateway":"172.30.0.1/16"}]},
                "Options":{"com.docker.network.bridge.enable_icc":"false"}}"#,
        )
        .unwrap();
        let network = Network::from(wire);
        assert_eq!(network.subnets, ["172.30.0.0/16".parse().unwrap()]);
        assert_eq!(network.gateway, Some(Ipv4Addr::new(172, 30, 0, 1)));
        assert!(!network.inter_container());
    }

    #[test]
    fn asks_for_what_the_spec_says() {
        let spec = NetworkSpec {
            name: "n".to_owned(),
            subnet: Some("10.9.0.0/24".parse().unwrap()),
            gateway: Some(Ipv4Addr::new(10, 9, 0, 1)),
            ..NetworkSpec::default()
        };
        let body = create_body(&spec);
        assert_eq!(body["IPAM"]["Config"][0]["Subnet"], "10.9.0.0/24");
        assert_eq!(body["IPAM"]["Config"][0]["Gateway"], "10.9.0.1");
        assert_eq!(body["Options"][INTER_CONTAINER], "false");
        assert_eq!(body["CheckDuplicate"], true);
        assert!(create_body(&NetworkSpec::default()).get("IPAM").is_none());
    }
}
