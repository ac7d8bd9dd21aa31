//! The command line, by hand: four options need no library. It does no I/O and decides nothing:
//! `main` prints and exits.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Exit codes, as `--help` documents them.
pub const EXIT_OK: u8 = 0;
pub const EXIT_FAILURE: u8 = 1;
/// Kept apart from failures, so that a supervisor does not restart what cannot start.
pub const EXIT_USAGE: u8 = 2;

/// `--version`, without a line end.
pub const VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// `--help`.
pub const HELP: &str = "\
AWS Lambda as one static binary over the Docker Engine.

Usage: lambda-runtime-api-server [--config FILE] [--check-config | --print-access]
       lambda-runtime-api-server queue list|show|retry|purge|export ... (see queue --help)
       lambda-runtime-api-server audit verify FILE...|DIRECTORY ... (see audit --help)

Options:
  --config FILE   read FILE; else ./config.toml if it exists, else the defaults
  --check-config  read and check the configuration, then exit
  --print-access  print who may call what, then exit
  --version       print the version, then exit
  --help          print this text, then exit

Environment:
  LAMBDA_RUNTIME_API_HOST  IP address to listen on, over [server] address
  LAMBDA_RUNTIME_API_PORT  port to listen on, over [server] port
  DOCKER_HOST              the Engine's socket as unix:///path, over [docker] socket
  AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
                           where code is fetched from S3, over [aws] endpoint_url
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
                           as whom, over [aws] access_key_id and secret_access_key_file
  RUST_LOG                 a level (off, error, warn, info, debug, trace) or target=level,
                           separated by commas, such as info,docker=debug; default info

Exit codes:
  0  stopped by a signal as asked, or a check, --version or --help succeeded
  1  the service could not start or go on: the port is taken, the Engine is out of reach, ...
  2  the command line, the configuration or the environment is wrong
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Run {
        config: Option<PathBuf>,
    },
    CheckConfig {
        config: Option<PathBuf>,
    },
    Version,
    /// The table of who may call what.
    PrintAccess,
    Help,
    /// The sub-command `queue`, with what stands behind it.
    Queue(Vec<OsString>),
    /// The sub-command `audit`.
    Audit(Vec<OsString>),
}

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    Unknown(String),
    MissingFile,
    Repeated(&'static str),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Unknown(argument) => write!(
                f,
                "unknown argument {argument}; allowed are --config FILE, --check-config, \
                 --print-access, --version and --help"
            ),
            UsageError::MissingFile => f.write_str("--config needs the name of a file"),
            UsageError::Repeated(option) => write!(f, "{option} is given more than once"),
        }
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments after the program's name. `--help` and `--version` win over everything that
/// makes sense beside them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "queue").is_some() {
        return Ok(Command::Queue(arguments.collect()));
    }
    if arguments.next_if(|first| first == "audit").is_some() {
        return Ok(Command::Audit(arguments.collect()));
    }
    let mut config: Option<PathBuf> = None;
    let (mut check, mut version, mut help, mut access) = (false, false, false, false);
    while let Some(argument) = arguments.next() {
        let file = match argument.to_str() {
            Some("--check-config") => {
                check = true;
                continue;
            }
            Some("--print-access") => {
                access = true;
                continue;
            }
            Some("--version") => {
                version = true;
                continue;
            }
            Some("--help") => {
                help = true;
                continue;
            }
            Some("--config") => arguments.next().ok_or(UsageError::MissingFile)?,
            Some(text) => match text.strip_prefix("--config=") {
                Some(file) => file.into(),
                None => return Err(unknown(text)),
            },
            None => return Err(unknown(&argument.to_string_lossy())),
        };
        if file.is_empty() {
            return Err(UsageError::MissingFile);
        }
        if config.replace(file.into()).is_some() {
            return Err(UsageError::Repeated("--config"));
        }
    }
    Ok(match (help, version, check) {
        (true, _, _) => Command::Help,
        (_, true, _) => Command::Version,
        _ if access => Command::PrintAccess,
        (_, _, true) => Command::CheckConfig { config },
        _ => Command::Run { config },
    })
}

fn unknown(argument: &str) -> UsageError {
    UsageError::Unknown(super::error::shown(argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, UsageError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn every_form_is_read() {
        let config = Some(PathBuf::from("a.toml"));
        assert_eq!(read(&[]), Ok(Command::Run { config: None }));
        assert_eq!(read(&["--config", "a.toml"]), Ok(Command::Run { config: config.clone() }));
        assert_eq!(read(&["--config=a.toml"]), Ok(Command::Run { config: config.clone() }));
        assert_eq!(
            read(&["--check-config", "--config", "a.toml"]),
            Ok(Command::CheckConfig { config })
        );
        assert_eq!(read(&["--version"]), Ok(Command::Version));
        assert_eq!(read(&["--print-access"]), Ok(Command::PrintAccess));
        let behind = ["list", "--json"].map(OsString::from).to_vec();
        assert_eq!(read(&["queue", "list", "--json"]), Ok(Command::Queue(behind)));
        let behind = ["verify", "x"].map(OsString::from).to_vec();
        assert_eq!(read(&["audit", "verify", "x"]), Ok(Command::Audit(behind)));
        assert_eq!(read(&["--version", "--help", "--check-config"]), Ok(Command::Help));
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        assert_eq!(read(&["--config"]), Err(UsageError::MissingFile));
        assert_eq!(read(&["--config="]), Err(UsageError::MissingFile));
        assert_eq!(read(&["--config", ""]), Err(UsageError::MissingFile));
        assert_eq!(read(&["--config=a", "--config=b"]), Err(UsageError::Repeated("--config")));
        for bad in ["-v", "--port", "config.toml", "", "--configx", "--help\n", "--"] {
            let text = read(&[bad]).unwrap_err().to_string();
            assert!(text.starts_with("unknown argument"), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
        assert!(read(&["--help", "--bogus"]).is_err());
    }

    #[test]
    fn a_file_name_needs_no_utf8_but_an_option_does() {
        use std::os::unix::ffi::OsStringExt;
        let odd = || OsString::from_vec(b"\xff.toml".to_vec());
        let read = parse(["--config".into(), odd()]).unwrap();
        assert_eq!(read, Command::Run { config: Some(odd().into()) });
        assert!(matches!(parse([odd()]), Err(UsageError::Unknown(_))));
    }

    #[test]
    fn the_help_documents_every_exit_code() {
        for code in [EXIT_OK, EXIT_FAILURE, EXIT_USAGE] {
            assert!(HELP.contains(&format!("\n  {code}  ")));
        }
    }
}
