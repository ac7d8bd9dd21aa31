//! What a sandbox's container is: its environment as Lambda has it, its limits, its hardening.
//!
//! Pure: from a function and the service's settings to a [`ContainerSpec`].

use std::time::SystemTime;

use crate::access::keys::Issued;
use crate::config::Credentials;
use crate::dispatch::StartOrder;
use crate::docker::{ContainerSpec, Image, LogDriver, NetworkMode, ReadOnlyMount};
use crate::function::model::Function;
use crate::logs::collect::stream_name;

/// Lambda's own limits of processes and of open files.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const PROCESSES: u32 = 1024;
const OPEN_FILES: u32 = 1024;
/// The memory for which Lambda gives one whole CPU.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MEMORY_MB_PER_CPU: u32 = 1769;
/// The user and group that AWS runs functions as.
const USER: &str = "993:990";
/// How much of a container's output the Engine keeps.
const LOG_SIZE: &str = "10m";

/// The variable that names the log stream.
const LOG_STREAM: &str = "AWS_LAMBDA_LOG_STREAM_NAME=";

/// What all sandboxes of a service have in common.
#[derive(Debug, Clone)]
pub struct Common {
    pub owner: String,
    pub container_prefix: String,
    /// The most CPU that one sandbox may use, and the CPUs there are.
    pub max_cpus: f64,
    /// Whose key functions have, if any.
    pub credentials: Option<Credentials>,
}

/// The container of one sandbox. `runtime_api` is `host:port` as it reaches that; never with a
/// scheme, which real runtimes do not understand.
pub(super) fn container(
    common: &Common,
    runtime_api: &str,
    order: &StartOrder,
    function: &Function,
    image: &Image,
    network: NetworkMode,
    now: SystemTime,
) -> ContainerSpec {
    let target = &order.target;
    let config = function.image_config.clone().unwrap_or_default();
    let entrypoint = config.entry_point.filter(|words| !words.is_empty());
    // The Engine drops the image's command when the entry point is replaced; Lambda doesn't.
    let command = config
        .command
        .filter(|words| !words.is_empty())
        .or_else(|| entrypoint.is_some().then(|| image.command.clone()))
        // The entry point of AWS's base images takes the handler as its argument.
        .or_else(|| function.handler.clone().map(|handler| vec![handler]));
    let handler = command.as_ref().or(Some(&image.command)).and_then(|words| words.first());
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    ContainerSpec {
        // By its id: a tag that was given to another image meanwhile is not this function's.
        image: image.id.clone(),
        env: environment(common, runtime_api, order, function, handler.map(String::as_str), now),
        labels: [
            label(super::OWNER_LABEL, &common.owner),
            label(super::FUNCTION_LABEL, &target.name),
            label(super::VERSION_LABEL, &target.version),
            label(super::SANDBOX_LABEL, &order.sandbox.to_string()),
        ]
        .into(),
        entrypoint,
        command,
        working_dir: config.working_directory.filter(|path| !path.is_empty()),
        user: Some(USER.to_owned()),
        network,
        read_only_root: true,
        tmpfs: [(
            "/tmp".to_owned(),
            // Without `exec` the Engine mounts it `noexec`; Lambda's /tmp is executable.
            format!("rw,exec,nosuid,nodev,mode=1777,size={}m", function.ephemeral_storage_mb),
        )]
        .into(),
        memory_bytes: Some(u64::from(function.memory_mb) << 20),
        nano_cpus: Some(nano_cpus(common.max_cpus)),
        cpu_shares: Some(cpu_shares(function.memory_mb)),
        pids_limit: Some(PROCESSES),
        open_files: Some(OPEN_FILES),
        // A function goes before the service and the Engine when the host runs out of memory.
        oom_score_adj: Some(500),
        drop_capabilities: true,
        no_new_privileges: true,
        init: true,
        // Lambda has no shared memory; here it would be writable memory outside /tmp's limit.
        ipc_mode: Some("none".to_owned()),
        log_driver: Some(LogDriver {
            name: "json-file".to_owned(),
            options: [label("max-size", LOG_SIZE), label("max-file", "1")].into(),
        }),
        stop_signal: Some("SIGTERM".to_owned()),
        ..ContainerSpec::default()
    }
}

/// Keep it from asking anybody for names. The Engine's own name server would ask the host's, some
/// versions of it from the host, whatever network the container has; with this address it asks the
/// container itself.
pub(super) fn resolve_nothing(spec: &mut ContainerSpec) {
    spec.dns = vec!["127.0.0.1".to_owned()];
}

/// Where a function finds its code.
const TASK_ROOT: &str = "/var/task";

/// Has the container run what is in this directory of the host.
pub(super) fn mount_code(spec: &mut ContainerSpec, source: String) {
    spec.mounts.push(ReadOnlyMount { source, target: TASK_ROOT.to_owned() });
    // As the images of packages have it.
    spec.working_dir.get_or_insert_with(|| TASK_ROOT.to_owned());
}

/// Lets the function call this service as itself: its SDK finds key and address by these names. What
/// the function sets itself stays.
pub(super) fn give_key(spec: &mut ContainerSpec, key: &Issued, runtime_api: &str) {
    let given = [
        ("AWS_ACCESS_KEY_ID", key.key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.reveal()),
        ("AWS_SESSION_TOKEN", key.token.reveal()),
    ];
    spec.env.retain(|line| !given.iter().any(|(name, _)| line.split('=').next() == Some(*name)));
    spec.env.extend(given.map(|(name, value)| format!("{name}={value}")));
    if !spec.env.iter().any(|line| line.starts_with(ENDPOINT)) {
        spec.env.push(format!("{ENDPOINT}http://{runtime_api}"));
    }
}

/// Where AWS's SDKs call Lambda.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT: &str = "AWS_ENDPOINT_URL_LAMBDA=";

/// The log stream that a container's environment names.
pub(super) fn log_stream(spec: &ContainerSpec) -> String {
    let named = spec.env.iter().find_map(|line| line.strip_prefix(LOG_STREAM));
    named.unwrap_or_default().to_owned()
}

/// One sandbox alone may use the CPU that the service allows; several at once share it in
/// proportion to their memory, as on Lambda. A quota by memory would make a small function wait
/// for most of each period while the CPU is idle.
fn cpu_shares(memory_mb: u32) -> u32 {
    (memory_mb * 1024 / MEMORY_MB_PER_CPU).max(2) // the kernel's least
}

fn nano_cpus(cpus: f64) -> u64 {
    // Between 0.01 and thousands of CPUs by validation: it fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let nano = (cpus * 1e9) as u64;
    nano
}

/// Lambda's reserved variables, then the function's own.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
fn environment(
    common: &Common,
    runtime_api: &str,
    order: &StartOrder,
    function: &Function,
    handler: Option<&str>,
    now: SystemTime,
) -> Vec<String> {
    let target = &order.target;
    let mut env = vec![
        format!("AWS_LAMBDA_RUNTIME_API={runtime_api}"),
        format!("AWS_LAMBDA_FUNCTION_NAME={}", target.name),
        format!("AWS_LAMBDA_FUNCTION_VERSION={}", target.version),
        format!("AWS_LAMBDA_FUNCTION_MEMORY_SIZE={}", function.memory_mb),
        format!("AWS_LAMBDA_INITIALIZATION_TYPE={}", order.kind.name()),
        format!("AWS_LAMBDA_LOG_GROUP_NAME={}", function.logging.group),
        format!("{LOG_STREAM}{}", stream_name(&target.version, now)),
        format!("AWS_REGION={}", function.region),
        format!("AWS_DEFAULT_REGION={}", function.region),
        "LAMBDA_TASK_ROOT=/var/task".to_owned(),
        "LAMBDA_RUNTIME_DIR=/var/runtime".to_owned(),
        "TZ=:UTC".to_owned(),
    ];
    // AWS's runtimes and loggers act on these; without them they print text.
    let logging = &function.logging;
    if logging.json {
        env.push("AWS_LAMBDA_LOG_FORMAT=JSON".to_owned());
        let level = logging.application_level.as_deref().unwrap_or("INFO");
        env.push(format!("AWS_LAMBDA_LOG_LEVEL={level}"));
    }
    if let Some(Credentials { access_key_id, secret_access_key, .. }) = &common.credentials {
        env.push(format!("AWS_ACCESS_KEY_ID={access_key_id}"));
        env.push(format!("AWS_SECRET_ACCESS_KEY={}", secret_access_key.reveal()));
    }
    if let Some(runtime) = function.runtime.as_deref().filter(|r| !r.starts_with("provided")) {
        env.push(format!("AWS_EXECUTION_ENV=AWS_Lambda_{runtime}"));
    }
    if let Some(handler) = handler {
        env.push(format!("_HANDLER={handler}"));
        env.push(format!("HANDLER={handler}"));
    }
    // A function may set what is not reserved, such as TZ. Of two lines of one name most programs
    // would see the first.
    let own = function.environment.iter().flatten();
    env.retain(|line| {
        let name = line.split('=').next().unwrap_or_default();
        !own.clone().any(|(given, _)| given == name)
    });
    env.extend(own.map(|(name, value)| format!("{name}={value}")));
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Kind, Target};
    use crate::function::model::{ImageConfig, tests::sample};
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    fn spec(change: impl FnOnce(&mut Function)) -> ContainerSpec {
        let mut function = sample("f");
        change(&mut function);
        let common = Common {
            owner: "o".into(),
            container_prefix: "lambda-".into(),
            max_cpus: 1.5,
            credentials: None,
        };
        let target = Arc::new(Target {
            key: "k".into(),
            name: "f".into(),
            version: "$LATEST".into(),
            arn: "a".into(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            function: Some(Arc::new(function.clone())),
        });
        let order = StartOrder { sandbox: 7, target, kind: Kind::OnDemand };
        let image = Image { command: vec!["app.handler".into()], ..Image::default() };
        let now = UNIX_EPOCH + Duration::from_millis(1_795_424_571_123);
        let api = "172.30.0.1:8080";
        container(&common, api, &order, &function, &image, NetworkMode::None, now)
    }

    #[test]
    fn the_environment_is_lambdas() {
        let spec = spec(|_| ());
        let value = |name: &str| {
            let prefix = format!("{name}=");
            spec.env.iter().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
        };
        assert_eq!(value("AWS_LAMBDA_RUNTIME_API").as_deref(), Some("172.30.0.1:8080"));
        assert_eq!(value("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").as_deref(), Some("128"));
        assert_eq!(value("_HANDLER").as_deref(), Some("app.handler"));
        assert_eq!(value("KEY").as_deref(), Some("secret"));
        let stream = value("AWS_LAMBDA_LOG_STREAM_NAME").unwrap();
        assert_eq!(log_stream(&spec), stream);
        assert_eq!(value("AWS_LAMBDA_LOG_FORMAT"), None);
        assert!(stream.starts_with("2026/11/23/[$LATEST]") && stream.len() == 52, "{stream}");
        assert_eq!(value("AWS_ACCESS_KEY_ID"), None, "nobody has configured one");
    }

    #[test]
    fn a_sandbox_has_its_own_key_and_finds_the_service() {
        let secret = |text: &str| crate::config::Secret::for_tests(text);
        let key = Issued { key_id: "ASIA".into(), secret: secret("s"), token: secret("t") };
        let mut plain = spec(|_| ());
        plain.env.push("AWS_ACCESS_KEY_ID=shared".to_owned());
        give_key(&mut plain, &key, "172.30.0.1:8080");
        let lines: Vec<&str> = plain.env.iter().map(String::as_str).collect();
        for line in [
            "AWS_ACCESS_KEY_ID=ASIA",
            "AWS_SECRET_ACCESS_KEY=s",
            "AWS_SESSION_TOKEN=t",
            "AWS_ENDPOINT_URL_LAMBDA=http://172.30.0.1:8080",
        ] {
            assert!(lines.contains(&line), "{lines:?}");
        }
        assert!(!lines.contains(&"AWS_ACCESS_KEY_ID=shared"));
        let own = "AWS_ENDPOINT_URL_LAMBDA=http://elsewhere";
        let mut set = spec(|function| {
            let (name, value) = own.split_once('=').unwrap();
            function.environment = Some([(name.to_owned(), value.to_owned())].into());
        });
        give_key(&mut set, &key, "172.30.0.1:8080");
        let of = |line: &&String| line.starts_with(ENDPOINT);
        assert_eq!(set.env.iter().filter(of).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn a_function_replaces_what_is_not_reserved() {
        let spec = spec(|function| {
            let own = [("TZ", "Europe/Berlin"), ("HANDLER", "a=b"), ("OWN", "")];
            function.environment =
                Some(own.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        });
        let lines = |name: &str| -> Vec<&str> {
            let of = |line: &&String| line.split('=').next() == Some(name);
            spec.env.iter().filter(of).map(String::as_str).collect()
        };
        assert_eq!(lines("TZ"), ["TZ=Europe/Berlin"]);
        assert_eq!((lines("HANDLER"), lines("OWN")), (vec!["HANDLER=a=b"], vec!["OWN="]));
        assert_eq!(lines("_HANDLER"), ["_HANDLER=app.handler"]);
    }

    #[test]
    fn an_entry_point_of_the_function_keeps_the_images_command() {
        let with = |entry: Option<&str>, command: Option<&str>| {
            let words = |word: Option<&str>| word.map(|word| vec![word.to_owned()]);
            let spec = spec(|function| {
                function.image_config = Some(ImageConfig {
                    entry_point: words(entry),
                    command: words(command),
                    working_directory: None,
                });
            });
            (spec.entrypoint, spec.command)
        };
        let words = |word: &str| Some(vec![word.to_owned()]);
        assert_eq!(with(None, None), (None, None));
        assert_eq!(with(Some("/e"), None), (words("/e"), words("app.handler")));
        assert_eq!(with(None, Some("b")), (None, words("b")));
        assert_eq!(with(Some("/e"), Some("b")), (words("/e"), words("b")));
    }

    #[test]
    fn mounted_code_is_where_the_function_looks_for_it() {
        let mut spec = spec(|_| ());
        assert!(spec.mounts.is_empty());
        mount_code(&mut spec, "/home/me/src".to_owned());
        let mount =
            ReadOnlyMount { source: "/home/me/src".to_owned(), target: "/var/task".to_owned() };
        assert_eq!((&spec.mounts, spec.working_dir.as_deref()), (&vec![mount], Some("/var/task")));
        assert!(spec.env.contains(&"LAMBDA_TASK_ROOT=/var/task".to_owned()));
    }

    #[test]
    fn limits_and_hardening_are_set() {
        let spec = spec(|function| function.memory_mb = 1769);
        assert_eq!(spec.memory_bytes, Some(1769 << 20));
        assert_eq!((spec.nano_cpus, spec.cpu_shares), (Some(1_500_000_000), Some(1024)));
        assert_eq!(cpu_shares(128), 74);
        assert!(spec.read_only_root && spec.drop_capabilities && spec.no_new_privileges);
        assert!(spec.init && spec.pids_limit == Some(1024) && spec.open_files == Some(1024));
        assert_eq!(spec.user.as_deref(), Some("993:990"));
        assert!(spec.tmpfs["/tmp"].contains("exec") && spec.tmpfs["/tmp"].ends_with("size=512m"));
    }
}
