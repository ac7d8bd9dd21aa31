//! Raw values -> `Config`: each value is checked against its range or rule, missing ones become
//! defaults, the environment goes last. It does no I/O but asks how many CPUs there are
//! (and `aws` reads the files of secrets, `development` looks up directories).

use std::thread;
use std::time::Duration;

use toml::de::DeValue;

use super::error::{ConfigError, Place};
use super::ranges::{self, Range};
use super::raw::{Setting, Source};
use super::{
    Config, Docker, Execution, Http, Logs, Server, Storage, Subnet, TotalMemory, asynchronous,
    audit, auth, aws, development, runtimes, schedules, text,
};

const PORT_VARIABLE: &str = "LAMBDA_RUNTIME_API_PORT";
const HOST_VARIABLE: &str = "LAMBDA_RUNTIME_API_HOST";
const DOCKER_VARIABLE: &str = "DOCKER_HOST";

const BYTES_PER_MB: usize = 1024 * 1024;

pub(super) fn config(
    source: Source<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let raw = source.parse()?;
    let check = Check { source };
    let docker = docker(&check, &raw.docker)?;
    let runtimes = runtimes::runtimes(source, &raw.runtimes, &docker.base_image)?;
    let execution = execution(&check, &raw.execution)?;
    let most = execution.max_concurrent_executions;
    let mut config = Config {
        file: None,
        server: Server {
            address: check
                .text("server.address", &raw.server.address, text::ADDRESS, text::address)?
                .unwrap_or(text::DEFAULT_ADDRESS),
            port: port(check.whole(&raw.server.port, &ranges::PORT)?),
            workers: workers(check.count(&raw.server.workers, &ranges::WORKERS)?),
            blocking_threads: check
                .count(&raw.server.blocking_threads, &ranges::BLOCKING_THREADS)?,
            max_waiting_calls: check
                .count(&raw.server.max_waiting_calls, &ranges::MAX_WAITING_CALLS)?,
        },
        http: Http {
            max_connections: check.count(&raw.http.max_connections, &ranges::MAX_CONNECTIONS)?,
            max_connections_per_address: check.count(
                &raw.http.max_connections_per_address,
                &ranges::MAX_CONNECTIONS_PER_ADDRESS,
            )?,
            max_head_bytes: check.count(&raw.http.max_head_bytes, &ranges::MAX_HEAD_BYTES)?,
            max_sandbox_head_bytes: check
                .count(&raw.http.max_sandbox_head_bytes, &ranges::MAX_SANDBOX_HEAD_BYTES)?,
            max_header_count: check.count(&raw.http.max_header_count, &ranges::MAX_HEADER_COUNT)?,
            max_uri_bytes: check.count(&raw.http.max_uri_bytes, &ranges::MAX_URI_BYTES)?,
            max_buffered_bytes: check
                .count(&raw.http.max_buffered_mb, &ranges::MAX_BUFFERED_MB)?
                .saturating_mul(BYTES_PER_MB),
            head_timeout: check.millis(&raw.http.head_timeout_ms, &ranges::HEAD_TIMEOUT_MS)?,
            body_timeout: check.millis(&raw.http.body_timeout_ms, &ranges::BODY_TIMEOUT_MS)?,
            write_timeout: check.millis(&raw.http.write_timeout_ms, &ranges::WRITE_TIMEOUT_MS)?,
            keep_alive_timeout: check
                .millis(&raw.http.keep_alive_timeout_ms, &ranges::KEEP_ALIVE_TIMEOUT_MS)?,
        },
        storage: Storage {
            path: check
                .text("storage.path", &raw.storage.path, text::PATH, text::path)?
                .unwrap_or_else(|| text::DEFAULT_STORAGE_PATH.into()),
        },
        docker,
        execution,
        logs: logs(&check, &raw.logs)?,
        asynchronous: asynchronous::asynchronous(&check, &raw.asynchronous, most)?,
        schedules: schedules::schedules(&check, &raw.schedules)?,
        audit: audit::audit(&check, &raw.audit)?,
        runtimes,
        aws: aws::aws(&check, &raw.aws, env)?,
        auth: auth::auth(&check, &raw.auth)?,
        development: development::development(&check, &raw.development)?,
    };
    override_by(env, &mut config)?;
    Ok(config)
}

fn docker(check: &Check<'_>, raw: &super::raw::RawDocker) -> Result<Docker, ConfigError> {
    // An empty subnet is the written form of "none": the shipped file shows the key that way.
    let subnet = |text: &str| match text {
        "" => Some(None),
        text => Subnet::parse(text).map(Some),
    };
    Ok(Docker {
        network_name: check
            .text("docker.network_name", &raw.network_name, text::NETWORK_NAME, text::network_name)?
            .unwrap_or_else(|| text::DEFAULT_NETWORK_NAME.to_owned()),
        subnet: check.text("docker.subnet", &raw.subnet, Subnet::ALLOWED, subnet)?.flatten(),
        none_out_functions: check.texts(
            "docker.none_out_functions",
            &raw.none_out_functions,
            text::FUNCTION_PATTERNS,
            text::MAX_FUNCTION_PATTERNS,
            text::function_pattern,
        )?,
        network_slots: check.count(&raw.network_slots, &ranges::NETWORK_SLOTS)?,
        container_prefix: check
            .text(
                "docker.container_prefix",
                &raw.container_prefix,
                text::CONTAINER_PREFIX,
                text::container_prefix,
            )?
            .unwrap_or_else(|| text::DEFAULT_CONTAINER_PREFIX.to_owned()),
        socket: check
            .text("docker.socket", &raw.socket, text::SOCKET, text::socket)?
            .unwrap_or_else(|| text::DEFAULT_SOCKET.into()),
        pull_policy: check
            .text("docker.pull_policy", &raw.pull_policy, text::PULL_POLICY, text::pull_policy)?
            .unwrap_or(text::DEFAULT_PULL_POLICY),
        base_image: check
            .text("docker.base_image", &raw.base_image, text::BASE_IMAGE, text::base_image)?
            .unwrap_or_else(|| text::DEFAULT_BASE_IMAGE.to_owned()),
        call_timeout: check.millis(&raw.call_timeout_ms, &ranges::CALL_TIMEOUT_MS)?,
    })
}

fn execution(check: &Check<'_>, raw: &super::raw::RawExecution) -> Result<Execution, ConfigError> {
    Ok(Execution {
        max_concurrent_executions: check
            .count(&raw.max_concurrent_executions, &ranges::MAX_CONCURRENT_EXECUTIONS)?,
        max_memory_mb: check.count(&raw.max_memory_mb, &ranges::MAX_MEMORY_MB)?,
        max_cpu_shares: check.cpus(&raw.max_cpu_shares)?,
        init_timeout: check.millis(&raw.init_timeout_ms, &ranges::INIT_TIMEOUT_MS)?,
        idle_timeout: check.millis(&raw.idle_timeout_ms, &ranges::IDLE_TIMEOUT_MS)?,
        max_parallel_starts: check.count(&raw.max_parallel_starts, &ranges::MAX_PARALLEL_STARTS)?,
        shutdown_grace: check.millis(&raw.shutdown_grace_ms, &ranges::SHUTDOWN_GRACE_MS)?,
        max_total_memory: match check
            .whole(&raw.max_total_memory_mb, &ranges::MAX_TOTAL_MEMORY_MB)?
        {
            0 => TotalMemory::Percent(ranges::MEMORY_SHARE_PERCENT),
            mb => TotalMemory::Mb(mb),
        },
        min_available_memory_mb: check
            .whole(&raw.min_available_memory_mb, &ranges::MIN_AVAILABLE_MEMORY_MB)?,
        max_queue_wait: check.millis(&raw.max_queue_wait_ms, &ranges::MAX_QUEUE_WAIT_MS)?,
        freeze_after: Some(check.millis(&raw.freeze_after_ms, &ranges::FREEZE_AFTER_MS)?)
            .filter(|after| !after.is_zero()),
    })
}

fn logs(check: &Check<'_>, raw: &super::raw::RawLogs) -> Result<Logs, ConfigError> {
    let bytes = |setting, range| -> Result<u64, ConfigError> {
        Ok(check.whole(setting, range)?.saturating_mul(BYTES_PER_MB as u64))
    };
    let days = check.whole(&raw.retention_days, &ranges::LOG_RETENTION_DAYS)?;
    Ok(Logs {
        max_bytes_per_group: bytes(&raw.max_mb_per_group, &ranges::MAX_LOG_MB_PER_GROUP)?,
        max_total_bytes: bytes(&raw.max_total_mb, &ranges::MAX_LOG_TOTAL_MB)?,
        retention_days: u32::try_from(days).ok().filter(|days| *days > 0),
    })
}

fn override_by(
    env: &dyn Fn(&str) -> Option<String>,
    config: &mut Config,
) -> Result<(), ConfigError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let refuse = |name: &str, value: &str, allowed: String| ConfigError::Value {
        place: Place::Environment,
        key: name.to_owned(),
        value: value.to_owned(),
        allowed,
    };
    if let Some(value) = set(PORT_VARIABLE) {
        // `parse` takes a sign as well; a port has none.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        config.server.port = match value.parse::<u16>() {
            Ok(port) if digits && u64::from(port) >= ranges::PORT.min => port,
            _ => return Err(refuse(PORT_VARIABLE, &value, ranges::PORT.allowed())),
        };
    }
    if let Some(value) = set(HOST_VARIABLE) {
        config.server.address = text::address(&value)
            .ok_or_else(|| refuse(HOST_VARIABLE, &value, text::ADDRESS.to_owned()))?;
    }
    if let Some(value) = set(DOCKER_VARIABLE) {
        config.docker.socket = text::docker_host(&value)
            .ok_or_else(|| refuse(DOCKER_VARIABLE, &value, text::DOCKER_HOST.to_owned()))?;
    }
    Ok(())
}

/// Reads single settings; knows the text for the places in its errors.
pub(super) struct Check<'a> {
    source: Source<'a>,
}

impl Check<'_> {
    pub(super) fn refuse(&self, setting: &Setting, key: &str, allowed: &str) -> ConfigError {
        let span = setting.span();
        ConfigError::Value {
            place: self.source.place(&span),
            key: key.to_owned(),
            value: self.source.excerpt(&span).to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    pub(super) fn whole(
        &self,
        setting: &Option<Setting>,
        range: &Range,
    ) -> Result<u64, ConfigError> {
        let Some(setting) = setting else { return Ok(range.default) };
        integer(setting)
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| (range.min..=range.max).contains(value))
            .ok_or_else(|| self.refuse(setting, range.key, &range.allowed()))
    }

    pub(super) fn count(
        &self,
        setting: &Option<Setting>,
        range: &Range,
    ) -> Result<usize, ConfigError> {
        // No range goes beyond 32 bits, so this never saturates.
        self.whole(setting, range).map(|value| usize::try_from(value).unwrap_or(usize::MAX))
    }

    pub(super) fn millis(
        &self,
        setting: &Option<Setting>,
        range: &Range,
    ) -> Result<Duration, ConfigError> {
        self.whole(setting, range).map(Duration::from_millis)
    }

    /// A fraction of CPUs; `2` is as good as `2.0`. NaN is in no range.
    fn cpus(&self, setting: &Option<Setting>) -> Result<f64, ConfigError> {
        let Some(setting) = setting else { return Ok(ranges::CPU_DEFAULT) };
        let value = match setting.get_ref() {
            DeValue::Float(value) => value.as_str().parse().ok(),
            _ => integer(setting).and_then(|value| u32::try_from(value).ok()).map(f64::from),
        };
        value.filter(|value| (ranges::CPU_MIN..=ranges::CPU_MAX).contains(value)).ok_or_else(|| {
            let allowed = format!("a number from {} to {}", ranges::CPU_MIN, ranges::CPU_MAX);
            self.refuse(setting, ranges::CPU_KEY, &allowed)
        })
    }

    pub(super) fn text<T>(
        &self,
        key: &str,
        setting: &Option<Setting>,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(setting) = setting else { return Ok(None) };
        match setting.get_ref().as_str().and_then(parse) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(setting, key, allowed)),
        }
    }

    /// A list of texts; what is wrong with one is told of that one.
    pub(super) fn texts<T>(
        &self,
        key: &str,
        setting: &Option<Setting>,
        allowed: &str,
        max: usize,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(setting) = setting else { return Ok(Vec::new()) };
        let list = setting.get_ref().as_array().filter(|list| list.len() <= max);
        let list = list.ok_or_else(|| self.refuse(setting, key, allowed))?;
        let one = |item: &Setting<'_>| {
            let text = item.get_ref().as_str();
            text.and_then(&parse).ok_or_else(|| self.refuse(item, key, allowed))
        };
        list.iter().map(one).collect()
    }

    /// A list of tables, each with all of these members and no others, which are texts.
    pub(super) fn tables<'s, 'a, const N: usize>(
        &self,
        key: &str,
        setting: &'s Option<Setting<'a>>,
        allowed: &str,
        max: usize,
        names: [&str; N],
    ) -> Result<Vec<(&'s Setting<'a>, [String; N])>, ConfigError> {
        let Some(setting) = setting else { return Ok(Vec::new()) };
        let list = setting.get_ref().as_array().filter(|list| list.len() <= max);
        let list = list.ok_or_else(|| self.refuse(setting, key, allowed))?;
        let one = |item: &'s Setting<'a>| match auth::members(item, names) {
            Some(texts) => Ok((item, texts)),
            None => Err(self.refuse(item, key, allowed)),
        };
        list.iter().map(one).collect()
    }
}

/// None also for one beyond 64 bits: it is beyond each range.
fn integer(setting: &Setting<'_>) -> Option<i64> {
    let value = setting.get_ref().as_integer()?;
    i64::from_str_radix(value.as_str(), value.radix()).ok()
}

/// The range has made sure that it fits.
fn port(checked: u64) -> u16 {
    u16::try_from(checked).unwrap_or(u16::MAX)
}

fn workers(configured: usize) -> usize {
    match configured {
        0 => {
            let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
            cpus.clamp(2, ranges::MAX_DEFAULT_WORKERS)
        }
        count => count,
    }
}

#[cfg(test)]
mod tests;
