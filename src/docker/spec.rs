//! What a container is to be: the typed [`ContainerSpec`], and its form on the wire.
//!
//! Nothing is checked here that the Engine checks itself. Its traps are written at the fields.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

/// How a container is attached to a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// The Engine's default bridge.
    #[default]
    Default,
    /// No network but its own loopback.
    None,
    /// A network by name. A fixed address needs a network that was created with a subnet; one that
    /// is taken is refused by `start`, with status 403.
    Named { name: String, address: Option<Ipv4Addr> },
    /// The network namespace of a running container, by its id. The Engine refuses `hostname` and
    /// `extra_hosts` beside it.
    Container(String),
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDriver {
    /// As `json-file` or `local`.
    pub name: String,
    pub options: BTreeMap<String, String>,
}

/// A directory of the Engine's host in a container. The Engine refuses a source that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnlyMount {
    pub source: String,
    pub target: String,
}

/// A container to create. The default adds nothing to the image and limits nothing, but never
/// restarts: whoever starts containers by this client decides about that.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    pub image: String,
    /// `NAME=value` each.
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// `None` takes the image's. Setting it makes the Engine drop the image's command.
    pub entrypoint: Option<Vec<String>>,
    /// `None` takes the image's.
    pub command: Option<Vec<String>>,
    pub working_dir: Option<String>,
    /// `uid:gid` or names of the image.
    pub user: Option<String>,
    pub hostname: Option<String>,
    pub network: NetworkMode,
    /// Name servers that the Engine's own asks for what it does not know; none takes the host's.
    pub dns: Vec<String>,
    /// `name:address` each; the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    pub read_only_root: bool,
    /// Mount point to options, as `/tmp` to `rw,exec,size=512m`; without `exec` it is `noexec`.
    pub tmpfs: BTreeMap<String, String>,
    /// Directories of the host, seen read-only and without what is mounted below them.
    pub mounts: Vec<ReadOnlyMount>,
    /// Memory, with swap off. The Engine refuses less than 6 MB.
    pub memory_bytes: Option<u64>,
    /// Billionths of a CPU. The Engine refuses more than its host has.
    pub nano_cpus: Option<u64>,
    /// Weight among the containers that want the CPU at the same time; 1024 is the Engine's default.
    pub cpu_shares: Option<u32>,
    /// Processes and threads.
    pub pids_limit: Option<u32>,
    /// Open files of each process.
    pub open_files: Option<u32>,
    /// -1000 to 1000: who goes first when the host itself is out of memory.
    pub oom_score_adj: Option<i32>,
    /// Takes away all capabilities, also root's.
    pub drop_capabilities: bool,
    pub no_new_privileges: bool,
    /// An init process as PID 1, which forwards signals and reaps children.
    pub init: bool,
    /// As `none`, which takes away the writable `/dev/shm`.
    pub ipc_mode: Option<String>,
    /// `None` takes the Engine's default.
    pub log_driver: Option<LogDriver>,
    /// As `SIGTERM`.
    pub stop_signal: Option<String>,
    /// From the stop signal to the kill.
    pub stop_timeout_s: Option<u32>,
}

impl ContainerSpec {
    /// The body of `POST /containers/create`.
    pub(super) fn body(&self) -> Value {
        let mut body = Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        set("Image", Some(json!(self.image)));
        set("Env", Some(json!(self.env)));
        set("Labels", Some(json!(self.labels)));
        set("Entrypoint", self.entrypoint.as_ref().map(|v| json!(v)));
        set("Cmd", self.command.as_ref().map(|v| json!(v)));
        set("WorkingDir", self.working_dir.as_ref().map(|v| json!(v)));
        set("User", self.user.as_ref().map(|v| json!(v)));
        set("Hostname", self.hostname.as_ref().map(|v| json!(v)));
        set("StopSignal", self.stop_signal.as_ref().map(|v| json!(v)));
        set("StopTimeout", self.stop_timeout_s.map(|v| json!(v)));
        set("HostConfig", Some(self.host_config()));
        if let NetworkMode::Named { name, address: Some(address) } = &self.network {
            let endpoint = json!({ "IPAMConfig": { "IPv4Address": address.to_string() } });
            set("NetworkingConfig", Some(json!({ "EndpointsConfig": { name: endpoint } })));
        }
        Value::Object(body)
    }

    fn host_config(&self) -> Value {
        let mut host = Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                host.insert(key.to_owned(), value);
            }
        };
        set("RestartPolicy", Some(json!({ "Name": "no" })));
        set("ReadonlyRootfs", Some(json!(self.read_only_root)));
        set("Init", Some(json!(self.init)));
        set(
            "NetworkMode",
            match &self.network {
                NetworkMode::Default => None,
                NetworkMode::None => Some(json!("none")),
                NetworkMode::Named { name, .. } => Some(json!(name)),
                NetworkMode::Container(id) => Some(json!(format!("container:{id}"))),
            },
        );
        set("Dns", (!self.dns.is_empty()).then(|| json!(self.dns)));
        set("ExtraHosts", (!self.extra_hosts.is_empty()).then(|| json!(self.extra_hosts)));
        set("Tmpfs", (!self.tmpfs.is_empty()).then(|| json!(self.tmpfs)));
        // Not as `Binds`, which make a source that is missing. Read-only is a mount, and not those
        // below it.
        let mount = |mount: &ReadOnlyMount| {
            let ReadOnlyMount { source, target } = mount;
            let options = json!({ "NonRecursive": true });
            json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": true,
                "BindOptions": options })
        };
        let mounts: Vec<Value> = self.mounts.iter().map(mount).collect();
        set("Mounts", (!mounts.is_empty()).then_some(Value::Array(mounts)));
        set("Memory", self.memory_bytes.map(|v| json!(v)));
        // Memory and swap together: equal means no swap, and -1 would mean swap without limit.
        set("MemorySwap", self.memory_bytes.map(|v| json!(v)));
        set("NanoCpus", self.nano_cpus.map(|v| json!(v)));
        set("CpuShares", self.cpu_shares.map(|v| json!(v)));
        set("PidsLimit", self.pids_limit.map(|v| json!(v)));
        set(
            "Ulimits",
            self.open_files.map(|v| json!([{ "Name": "nofile", "Soft": v, "Hard": v }])),
        );
        set("OomScoreAdj", self.oom_score_adj.map(|v| json!(v)));
        set("CapDrop", self.drop_capabilities.then(|| json!(["ALL"])));
        set("SecurityOpt", self.no_new_privileges.then(|| json!(["no-new-privileges"])));
        set("IpcMode", self.ipc_mode.as_ref().map(|v| json!(v)));
        set(
            "LogConfig",
            self.log_driver.as_ref().map(|v| json!({ "Type": v.name, "Config": v.options })),
        );
        Value::Object(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_left_to_the_image_and_the_engine() {
        let body = ContainerSpec { image: "i".to_owned(), ..ContainerSpec::default() }.body();
        for key in ["Entrypoint", "Cmd", "User", "WorkingDir", "Hostname", "NetworkingConfig"] {
            assert!(body.get(key).is_none(), "{key}");
        }
        let host = &body["HostConfig"];
        for key in
            ["Mounts", "Memory", "MemorySwap", "NanoCpus", "CapDrop", "NetworkMode", "LogConfig"]
        {
            assert!(host.get(key).is_none(), "{key}");
        }
        assert_eq!(host["RestartPolicy"]["Name"], "no");
    }

    #[test]
    fn memory_is_without_swap() {
        let spec = ContainerSpec { memory_bytes: Some(64 << 20), ..ContainerSpec::default() };
        let host = &spec.body()["HostConfig"];
        assert_eq!(host["Memory"], 64 << 20);
        assert_eq!(host["MemorySwap"], host["Memory"]);
    }

    #[test]
    fn networks_in_all_their_forms() {
        let body = |network| ContainerSpec { network, ..ContainerSpec::default() }.body();
        let address = Some(Ipv4Addr::new(10, 0, 0, 7));
        let fixed = body(NetworkMode::Named { name: "n".to_owned(), address });
        assert_eq!(fixed["HostConfig"]["NetworkMode"], "n");
        let endpoint = &fixed["NetworkingConfig"]["EndpointsConfig"]["n"];
        assert_eq!(endpoint["IPAMConfig"]["IPv4Address"], "10.0.0.7");
        let joined = body(NetworkMode::Container("c1".to_owned()));
        assert_eq!(joined["HostConfig"]["NetworkMode"], "container:c1");
        assert_eq!(body(NetworkMode::None)["HostConfig"]["NetworkMode"], "none");
    }

    #[test]
    fn a_mount_is_read_only_whatever_is_mounted_below_it() {
        let mounts = vec![ReadOnlyMount { source: "/s".to_owned(), target: "/t".to_owned() }];
        let host = &ContainerSpec { mounts, ..ContainerSpec::default() }.body()["HostConfig"];
        assert!(host.get("Binds").is_none());
        let mount = &host["Mounts"][0];
        assert_eq!((&mount["Type"], &mount["Source"]), (&json!("bind"), &json!("/s")));
        assert_eq!((&mount["Target"], &mount["ReadOnly"]), (&json!("/t"), &json!(true)));
        assert_eq!(mount["BindOptions"]["NonRecursive"], true);
    }

    #[test]
    fn hardening_goes_out() {
        let spec = ContainerSpec {
            drop_capabilities: true,
            no_new_privileges: true,
            read_only_root: true,
            open_files: Some(1024),
            ipc_mode: Some("none".to_owned()),
            dns: vec!["127.0.0.1".to_owned()],
            ..ContainerSpec::default()
        };
        let host = &spec.body()["HostConfig"];
        assert_eq!(host["Dns"], json!(["127.0.0.1"]));
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["IpcMode"], "none");
        assert_eq!(host["Ulimits"], json!([{ "Name": "nofile", "Soft": 1024, "Hard": 1024 }]));
    }
}
