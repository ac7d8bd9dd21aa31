//! Every key with values at and beyond its limits, and every environment variable.

use std::path::Path;

use super::*;
use crate::config::PullPolicy;

fn no_environment(_: &str) -> Option<String> {
    None
}

fn read(text: &str) -> Result<Config, ConfigError> {
    config(Source { file: "config.toml", text }, &no_environment)
}

/// The message that refuses `value` for `section.key`.
fn refusal(full: &str, value: &str) -> String {
    let (section, key) = full.split_once('.').unwrap();
    match read(&format!("[{section}]\n{key} = {value}\n")) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{full} = {value} was accepted"),
    }
}

fn with_variable(name: &'static str, value: &'static str) -> Result<Config, ConfigError> {
    let env = move |asked: &str| (asked == name).then(|| value.to_owned());
    config(Source { file: "config.toml", text: "[server]\nport = 9000\n" }, &env)
}

#[test]
fn every_number_is_held_to_its_range_and_type() {
    for range in ranges::ALL {
        let (section, key) = range.key.split_once('.').unwrap();
        let with = |value: u64| read(&format!("[{section}]\n{key} = {value}\n"));
        assert!(with(range.min).is_ok(), "{}", range.key);
        assert!(with(range.max).is_ok(), "{}", range.key);
        let below = i128::from(range.min) - 1;
        let above = range.max + 1;
        for bad in
            [below.to_string(), above.to_string(), "9".repeat(26), "\"10\"".into(), "1.5".into()]
        {
            assert_eq!(
                refusal(range.key, &bad),
                format!(
                    "config.toml:2: {} = {bad} is not allowed: \
                     must be a whole number from {} to {}",
                    range.key, range.min, range.max
                )
            );
        }
    }
}

#[test]
fn cpus_are_a_fraction() {
    for (text, cpus) in [("0.01", 0.01), ("2", 2.0), ("256.0", 256.0)] {
        let config = read(&format!("[execution]\nmax_cpu_shares = {text}\n")).unwrap();
        assert!((config.execution.max_cpu_shares - cpus).abs() < f64::EPSILON);
    }
    for bad in ["0", "0.001", "256.1", "-1", "nan", "inf", "\"1\"", "true"] {
        assert_eq!(
            refusal("execution.max_cpu_shares", bad),
            format!(
                "config.toml:2: execution.max_cpu_shares = {bad} is not allowed: \
                 must be a number from 0.01 to 256"
            )
        );
    }
}

#[test]
fn every_text_is_held_to_its_rule_and_type() {
    for (key, bad, allowed) in [
        ("server.address", "\"localhost\"", text::ADDRESS),
        ("server.address", "\"127.0.0.1:80\"", text::ADDRESS),
        ("storage.path", "\"data\"", text::PATH),
        ("storage.path", "5", text::PATH),
        ("docker.network_name", "\"host\"", text::NETWORK_NAME),
        ("docker.subnet", "\"172.30.0.1/16\"", Subnet::ALLOWED),
        ("docker.container_prefix", "\"-x\"", text::CONTAINER_PREFIX),
        ("docker.container_prefix", "\"\"", text::CONTAINER_PREFIX),
        ("docker.socket", "\"unix:///var/run/docker.sock\"", text::SOCKET),
        ("docker.pull_policy", "\"always\"", text::PULL_POLICY),
        ("aws.region", "\"US East\"", text::REGION),
        ("aws.account_id", "123456789012", text::ACCOUNT_ID),
        ("aws.account_id", "\"1234\"", text::ACCOUNT_ID),
        ("aws.account_id", "[1]", text::ACCOUNT_ID),
    ] {
        assert_eq!(
            refusal(key, bad),
            format!("config.toml:2: {key} = {bad} is not allowed: must be {allowed}")
        );
    }
}

#[test]
fn values_arrive_typed() {
    let config = read(
        "[server]\naddress = \"::1\"\nworkers = 3\n\
         [http]\nmax_buffered_mb = 16\nhead_timeout_ms = 1500\n\
         [storage]\npath = \"/srv/lambda\"\n\
         [docker]\nsubnet = \"10.1.0.0/20\"\npull_policy = \"never\"\nsocket = \"/run/d.sock\"\n\
         [aws]\naccount_id = \"123456789012\"\n",
    )
    .unwrap();
    assert!(config.server.address.is_ipv6());
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.http.max_buffered_bytes, 16 * 1024 * 1024);
    assert_eq!(config.http.head_timeout, Duration::from_millis(1500));
    assert_eq!(config.storage.path, Path::new("/srv/lambda"));
    assert_eq!(config.docker.subnet.unwrap().to_string(), "10.1.0.0/20");
    assert_eq!(config.docker.pull_policy, PullPolicy::Never);
    assert_eq!(config.docker.socket, Path::new("/run/d.sock"));
    assert_eq!(config.aws.account_id, "123456789012");
    assert_eq!(config.execution.idle_timeout, Duration::from_secs(600));
}

#[test]
fn workers_are_resolved() {
    let workers = read("").unwrap().server.workers;
    assert!((1..=ranges::MAX_DEFAULT_WORKERS).contains(&workers));
}

#[test]
fn the_environment_goes_over_the_file() {
    assert_eq!(with_variable("UNRELATED", "1").unwrap().server.port, 9000);
    assert_eq!(with_variable(PORT_VARIABLE, "9001").unwrap().server.port, 9001);
    assert_eq!(with_variable(PORT_VARIABLE, "").unwrap().server.port, 9000);
    let config = with_variable(HOST_VARIABLE, "127.0.0.1").unwrap();
    assert!(config.server.address.is_loopback());
    let config = with_variable(DOCKER_VARIABLE, "unix:///run/user/1000/docker.sock").unwrap();
    assert_eq!(config.docker.socket, Path::new("/run/user/1000/docker.sock"));
}

#[test]
fn a_bad_variable_is_named() {
    for (name, bad, allowed) in [
        (PORT_VARIABLE, "0", "a whole number from 1 to 65535"),
        (PORT_VARIABLE, "65536", "a whole number from 1 to 65535"),
        (PORT_VARIABLE, "+80", "a whole number from 1 to 65535"),
        (PORT_VARIABLE, "80 ", "a whole number from 1 to 65535"),
        (HOST_VARIABLE, "localhost", text::ADDRESS),
        (DOCKER_VARIABLE, "tcp://127.0.0.1:2375", text::DOCKER_HOST),
    ] {
        assert_eq!(
            with_variable(name, bad).unwrap_err().to_string(),
            format!("environment: {name} = {bad} is not allowed: must be {allowed}")
        );
    }
    let text = with_variable(HOST_VARIABLE, "a\nb").unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1);
}
