//! The program: command line, configuration, log, signals; the rest is the library.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lambda_runtime_api_server::access::{self, keys::Keys};
use lambda_runtime_api_server::audit::Audit;
use lambda_runtime_api_server::audit_command;
use lambda_runtime_api_server::config::arguments::{
    self, Command, EXIT_FAILURE, EXIT_OK, EXIT_USAGE, HELP, VERSION,
};
use lambda_runtime_api_server::config::{self, Config};
use lambda_runtime_api_server::observe;
use lambda_runtime_api_server::queue_command;
use lambda_runtime_api_server::service::Service;
use lambda_runtime_api_server::systemd::{Systemd, notify::Notifier};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err((code, message)) => {
            let _ = writeln!(std::io::stderr(), "lambda-runtime-api-server: {message}");
            ExitCode::from(code)
        }
    }
}

/// What ends the program early: its exit code and the line for the operator.
type Failed = (u8, String);

fn run() -> Result<(), Failed> {
    let usage = |error: &dyn std::fmt::Display| (EXIT_USAGE, error.to_string());
    match arguments::parse(std::env::args_os().skip(1)).map_err(|error| usage(&error))? {
        Command::Help => say(HELP),
        Command::Version => say(VERSION),
        Command::PrintAccess => say(&access::table()),
        Command::Queue(arguments) => queue_command::run(&arguments, &mut std::io::stdout()),
        Command::Audit(arguments) => audit_command::run(&arguments, &mut std::io::stdout()),
        Command::CheckConfig { config } => {
            let config = load(config.as_deref())?;
            let rust_log = std::env::var("RUST_LOG").ok();
            observe::log::check(rust_log.as_deref()).map_err(|error| usage(&error))?;
            let from = config
                .file
                .map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
            say(&format!("{from}: ok"))
        }
        Command::Run { config } => {
            let config = load(config.as_deref())?;
            let rust_log = std::env::var("RUST_LOG").ok();
            observe::log::init(rust_log.as_deref()).map_err(|error| usage(&error))?;
            let systemd = Systemd::from_environment().map_err(|error| usage(&error))?;
            serve(&config, systemd)
        }
    }
}

fn load(path: Option<&Path>) -> Result<Config, Failed> {
    config::load(path, &|name| std::env::var(name).ok())
        .map_err(|error| (EXIT_USAGE, error.to_string()))
}

fn say(text: &str) -> Result<(), Failed> {
    writeln!(std::io::stdout(), "{}", text.trim_end())
        .map_err(|error| (EXIT_FAILURE, format!("cannot write to standard output: {error}")))
}

/// Runs until SIGTERM or SIGINT. A second signal hurries.
fn serve(config: &Config, mut systemd: Systemd) -> Result<(), Failed> {
    let failed = |error: &dyn std::fmt::Display| (EXIT_FAILURE, error.to_string());
    let mut ends = signals(&[SIGTERM, SIGINT]).map_err(|error| failed(&error))?;
    // From here on SIGHUP does not end the program.
    let hangups = signals(&[SIGHUP]).map_err(|error| failed(&error))?;
    match &config.file {
        Some(file) => log::info!("{VERSION}, configuration {}", file.display()),
        None => log::info!("{VERSION}, no configuration file: defaults"),
    }
    let service = Service::start(config, systemd.take_sockets()).map_err(|error| failed(&error))?;
    let status = format!("Serving on {}", service.addresses());
    systemd.ready(&status, service.pulse());
    let keys = (service.keys(), service.audit());
    reload_keys(hangups, keys, config.file.clone(), (systemd.notifier(), status));
    wait(&mut ends);
    systemd.stopping();
    log::info!("stopping; a second signal hurries");
    let hurry = Arc::new(AtomicBool::new(false));
    let seen = hurry.clone();
    let watcher = std::thread::Builder::new().name("signals".into()).spawn(move || {
        wait(&mut ends);
        seen.store(true, Ordering::Release);
    });
    if let Err(error) = watcher {
        log::warn!("a second signal will not be heard: {error}");
    }
    service.stop(|| hurry.load(Ordering::Acquire));
    log::info!("stopped");
    Ok(())
}

/// Reads the section `[auth]` with its files again at each SIGHUP. What cannot be read changes nothing.
fn reload_keys(
    mut hangups: UnixStream,
    (keys, audit): (Arc<Keys>, Audit),
    file: Option<PathBuf>,
    (systemd, status): (Notifier, String),
) {
    let reload = move || {
        while wait(&mut hangups) {
            systemd.reloading();
            match load(file.as_deref()) {
                Ok(config) => {
                    let (count, roles) = (config.auth.keys.len(), config.auth.roles.len());
                    keys.replace(config.auth);
                    audit.reloaded(&format!("{count} access keys, {roles} roles"));
                    log::info!("SIGHUP: {count} access keys and {roles} roles are valid now");
                }
                Err((_, message)) => {
                    log::error!("SIGHUP: access keys and roles stay as they were: {message}");
                }
            }
            systemd.ready(&status);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("reload".into()).spawn(reload) {
        log::warn!("SIGHUP will not be heard: {error}");
    }
}

/// A stream that becomes readable at each of these signals.
fn signals(of: &[i32]) -> std::io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    for &signal in of {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Waits for a signal; false when there will be none.
fn wait(signals: &mut UnixStream) -> bool {
    let mut byte = [0u8];
    while let Err(error) = std::io::Read::read_exact(signals, &mut byte) {
        if error.kind() != std::io::ErrorKind::Interrupted {
            return false;
        }
    }
    true
}
