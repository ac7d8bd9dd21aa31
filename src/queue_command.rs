//! `lambda-runtime-api-server queue ...`: the asynchronous queue of the running service, for people
//! and for scripts.
//!
//! It asks the service over loopback, by the calls of `api::queue`, and touches no file of it: two
//! processes must not have the queue open. What the service says is shown as a table, or with
//! `--json` as it came.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use serde_json::value::RawValue;
use ureq::Agent;

use crate::config::arguments::{EXIT_FAILURE, EXIT_USAGE};
use crate::config::{self, Config};
use crate::package::hosts;
use crate::sigv4::{self, Scope, Signed, encode_part};

/// Nothing is there that the command is about.
pub const EXIT_NOTHING: u8 = 3;

pub const HELP: &str = "\
The asynchronous queue of the running service.

Usage: lambda-runtime-api-server queue list   [--events] [FILTER] [--json]
       lambda-runtime-api-server queue show   ID [--json]
       lambda-runtime-api-server queue retry  ID | FILTER | --all
       lambda-runtime-api-server queue purge  ID | FILTER | --all  --yes
       lambda-runtime-api-server queue export [FILTER]

  list    each function with what waits of it; with --events each event and dead letter
  show    one event or dead letter with its payload
  retry   try now what waits, and replay dead letters
  purge   throw away; needs --yes
  export  all of it with payloads, a JSON object on each line

Options:
  --function NAME[:QUALIFIER]  those of this function, or of it by this version or alias
  --state STATE    queued, retrying, delivering, ending or dead (a dead letter)
  --json           JSON instead of a table
  --config FILE    the service's configuration, which says its port; else ./config.toml if it exists
  --endpoint URL   http://ADDRESS:PORT of the service, instead of a configuration

Exit codes:
  0  done
  1  the service cannot be asked, or refuses
  2  the command line or the configuration is wrong
  3  nothing is there that the command is about
";

/// From the question to the whole answer: replaying many dead letters takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);
/// A page of events with payloads.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// What ends the command early: its exit code and the line for the operator.
type Failed = (u8, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    List,
    Show,
    Retry,
    Purge,
    Export,
}

#[derive(Debug, Default)]
struct Options {
    id: Option<String>,
    function: Option<String>,
    state: Option<String>,
    config: Option<PathBuf>,
    endpoint: Option<String>,
    events: bool,
    json: bool,
    all: bool,
    yes: bool,
}

/// Runs the command with what stands behind `queue`.
pub fn run(arguments: &[OsString], out: &mut dyn Write) -> Result<(), Failed> {
    let Some((verb, options)) = parse(arguments)? else { return print(out, HELP) };
    let service = Service { agent: agent(), url: url(&options)? };
    let filter = filter(&options);
    match verb {
        Verb::List if options.events => service.events(&filter, false, &mut |page| {
            if options.json {
                return lines(out, page);
            }
            page.iter().try_for_each(|event| print(out, &event_row(&value(event))))
        })?,
        Verb::List => {
            let body = service.ask("GET", "/queue", &[])?;
            print(out, &if options.json { body.to_string() } else { summary(&body) })?;
        }
        Verb::Show => {
            let mut found = 0;
            service.events(&filter, true, &mut |page| {
                found += page.len();
                if options.json {
                    return lines(out, page);
                }
                page.iter().try_for_each(|event| {
                    print(out, &serde_json::to_string_pretty(&value(event)).unwrap_or_default())
                })
            })?;
            something(found)?;
        }
        Verb::Export => {
            service.events(&filter, true, &mut |page| lines(out, page))?;
        }
        Verb::Retry => something(service.change("/queue/retry", &filter, &options, out)?)?,
        Verb::Purge => {
            let filter = [&filter[..], &[("confirm", "yes".to_owned())]].concat();
            something(service.change("/queue/purge", &filter, &options, out)?)?;
        }
    }
    Ok(())
}

fn something(found: usize) -> Result<(), Failed> {
    if found > 0 {
        return Ok(());
    }
    Err((EXIT_NOTHING, "nothing in the queue matches".to_owned()))
}

fn usage(message: impl Into<String>) -> Failed {
    (EXIT_USAGE, format!("{}; see queue --help", message.into()))
}

/// `None`: the help is wanted.
fn parse(arguments: &[OsString]) -> Result<Option<(Verb, Options)>, Failed> {
    let mut texts = Vec::new();
    for argument in arguments {
        let text = argument.to_str().ok_or_else(|| usage("an argument is not UTF-8"))?;
        texts.push(text);
    }
    if texts.contains(&"--help") {
        return Ok(None);
    }
    let mut rest = texts.into_iter();
    let verb = match rest.next() {
        Some("list") => Verb::List,
        Some("show") => Verb::Show,
        Some("retry") => Verb::Retry,
        Some("purge") => Verb::Purge,
        Some("export") => Verb::Export,
        Some(other) => return Err(usage(format!("unknown command queue {other:?}"))),
        None => return Err(usage("queue needs a command")),
    };
    let mut options = Options::default();
    while let Some(argument) = rest.next() {
        let mut value = |slot: &mut Option<String>| match rest.next() {
            Some(text) if !text.is_empty() && slot.is_none() => {
                *slot = Some(text.to_owned());
                Ok(())
            }
            _ => Err(usage(format!("{argument} needs a value, once"))),
        };
        match argument {
            "--function" => value(&mut options.function)?,
            "--state" => value(&mut options.state)?,
            "--endpoint" => value(&mut options.endpoint)?,
            "--config" => {
                let mut file = None;
                value(&mut file)?;
                options.config = file.map(PathBuf::from);
            }
            "--events" if verb == Verb::List => options.events = true,
            "--json" => options.json = true,
            "--all" if matches!(verb, Verb::Retry | Verb::Purge) => options.all = true,
            "--yes" if verb == Verb::Purge => options.yes = true,
            id if !id.starts_with('-') && options.id.is_none() => options.id = Some(id.to_owned()),
            other => return Err(usage(format!("unknown argument {other:?}"))),
        }
    }
    let filtered = options.function.is_some() || options.state.is_some();
    let chosen = [options.id.is_some(), filtered, options.all];
    match verb {
        Verb::Show if options.id.is_none() => Err(usage("queue show needs a request id")),
        Verb::Retry | Verb::Purge if chosen.iter().filter(|one| **one).count() != 1 => {
            Err(usage("name a request id, or a filter, or --all"))
        }
        Verb::Purge if !options.yes => Err(usage("queue purge throws away: confirm it with --yes")),
        Verb::List if options.id.is_some() => Err(usage("queue list takes no request id")),
        Verb::List if filtered && !options.events => Err(usage("a filter needs --events")),
        _ => Ok(Some((verb, options))),
    }
}

fn filter(options: &Options) -> Vec<(&'static str, String)> {
    let members = [("id", &options.id), ("function", &options.function), ("state", &options.state)];
    members.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

/// Where the service is: on loopback, whatever else it listens on.
fn url(options: &Options) -> Result<String, Failed> {
    if let Some(endpoint) = &options.endpoint {
        let bare = endpoint.strip_prefix("http://").unwrap_or_default().trim_end_matches('/');
        return match bare.contains('/') || bare.is_empty() {
            true => Err(usage("--endpoint is http://ADDRESS:PORT")),
            false => Ok(format!("http://{bare}")),
        };
    }
    let config: Config = config::load(options.config.as_deref(), &|name| std::env::var(name).ok())
        .map_err(|error| (EXIT_USAGE, error.to_string()))?;
    let host = match config.server.address {
        IpAddr::V6(address) if !address.is_unspecified() => "[::1]",
        _ => "127.0.0.1",
    };
    Ok(format!("http://{host}:{}", config.server.port))
}

fn agent() -> Agent {
    hosts::agent(
        Agent::config_builder()
            .proxy(None) // else ureq takes one from the environment
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIMEOUT))
            .build(),
    )
}

/// Shows a page of events.
type Show<'a> = dyn FnMut(&[Box<RawValue>]) -> Result<(), Failed> + 'a;

struct Service {
    agent: Agent,
    url: String,
}

impl Service {
    fn ask(
        &self,
        method: &str,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<Value, Failed> {
        self.ask_for_text(method, path, query).map(|text| value(&text))
    }

    /// The text of an answer; it is JSON.
    fn ask_for_text(
        &self,
        method: &str,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<Box<RawValue>, Failed> {
        let encoded: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encode_part(value))).collect();
        let url = format!("{}{path}?{}", self.url, encoded.join("&"));
        let failed =
            |error: ureq::Error| (EXIT_FAILURE, format!("cannot ask {}: {error}", self.url));
        let signature = self.signature(method, path, query);
        let answer = match method {
            "GET" => signed(self.agent.get(url), signature).call(),
            _ => signed(self.agent.post(url), signature).send_empty(),
        };
        let mut answer = answer.map_err(failed)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text: Box<RawValue> = serde_json::from_slice(&body.read_to_vec().map_err(failed)?)
            .map_err(|_| (EXIT_FAILURE, format!("{} is no such service", self.url)))?;
        if answer.status().is_success() {
            return Ok(text);
        }
        let body = value(&text);
        let told = body.get("message").or_else(|| body.get("Message"));
        let told = told.and_then(Value::as_str).unwrap_or("it gives no reason");
        Err((EXIT_FAILURE, format!("the service refuses: {told}")))
    }

    /// The fields of a signature, where the environment has a key: a service may want one from
    /// everybody.
    fn signature(
        &self,
        method: &str,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Vec<(&'static str, String)> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(id), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"))
        else {
            return Vec::new();
        };
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let timestamp = sigv4::timestamp(SystemTime::now());
        let token = set("AWS_SESSION_TOKEN");
        let mut headers = vec![
            ("host", self.url.trim_start_matches("http://").to_owned()),
            ("x-amz-date", timestamp.clone()),
        ];
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let fields: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let pairs: Vec<(&str, &str)> =
            query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let scope = Scope { timestamp: &timestamp, region: &region, service: "lambda" };
        let request = Signed {
            method,
            path: &sigv4::encode_path(path),
            query: &pairs,
            headers: &fields,
            payload_hash: &sigv4::hash(b""),
        };
        let authorization = request.authorization(&scope, &id, &secret);
        // The agent writes Host itself.
        headers.remove(0);
        headers.push(("authorization", authorization));
        headers
    }

    /// Shows page after page.
    fn events(
        &self,
        filter: &[(&'static str, String)],
        whole: bool,
        show: &mut Show<'_>,
    ) -> Result<(), Failed> {
        let mut after = None;
        loop {
            let mut query = filter.to_vec();
            query.extend(whole.then(|| ("whole", "yes".to_owned())));
            query.extend(after.take().map(|after| ("after", after)));
            let body = self.ask_for_text("GET", "/queue/events", &query)?;
            // Payloads stay the text that they are: a number may have more digits than a type has.
            let mut body: HashMap<String, Box<RawValue>> =
                serde_json::from_str(body.get()).unwrap_or_default();
            let page: Option<Vec<Box<RawValue>>> =
                body.remove("events").and_then(|page| serde_json::from_str(page.get()).ok());
            let page = page.unwrap_or_default();
            if page.is_empty() {
                return Ok(());
            }
            show(&page)?;
            after = body.get("next").and_then(|next| value(next).as_str().map(str::to_owned));
        }
    }

    /// Asks for a change again and again until nothing is left; how many it was.
    fn change(
        &self,
        path: &str,
        filter: &[(&'static str, String)],
        options: &Options,
        out: &mut dyn Write,
    ) -> Result<usize, Failed> {
        let (mut events, mut letters, mut skipped) = (0, 0, 0);
        loop {
            let body = self.ask("POST", path, filter)?;
            let count = |name: &str| {
                usize::try_from(body[name].as_u64().unwrap_or(0)).unwrap_or(usize::MAX)
            };
            events += count("events");
            letters += count("dead_letters");
            skipped = skipped.max(count("skipped"));
            if body["more"] != true || count("dead_letters") == 0 {
                break;
            }
        }
        let done = serde_json::json!({
            "events": events, "dead_letters": letters, "skipped": skipped,
        });
        let text = match options.json {
            true => done.to_string(),
            false => format!(
                "{events} events and {letters} dead letters; {skipped} skipped (in delivery, or \
                 without a payload)"
            ),
        };
        print(out, &text)?;
        Ok(events + letters)
    }
}

fn signed<B>(
    request: ureq::RequestBuilder<B>,
    fields: Vec<(&'static str, String)>,
) -> ureq::RequestBuilder<B> {
    fields.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn summary(body: &Value) -> String {
    let mut text = row(&["FUNCTION", "QUEUED", "RETRYING", "DELIVERING", "ENDING", "DEAD"]);
    text += &format!("{:<26}{:<26}LAST ERROR\n", "OLDEST", "NEXT TRY");
    for function in body["functions"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let count = |state: &str| function["by_state"][state].as_u64().unwrap_or(0).to_string();
        let counts = ["queued", "retrying", "delivering", "ending", "dead"].map(count);
        let mut cells = vec![shown(&function["function"])];
        cells.extend(counts);
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let [oldest, next, error] =
            ["oldest", "next_try", "last_error"].map(|name| shown(&function[name]));
        text += &row(&cells);
        text += &format!("{oldest:<26}{next:<26}{error}\n");
    }
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    text + &format!(
        "{} events, {} of {} bytes; {} dead letters, {} of {} bytes",
        number(&body["events"]),
        number(&body["bytes"]),
        number(&body["max_bytes"]),
        number(&body["dead_letters"]["letters"]),
        number(&body["dead_letters"]["bytes"]),
        number(&body["dead_letters"]["max_bytes"]),
    )
}

fn row(cells: &[&str]) -> String {
    let widths = [32, 8, 10, 12, 8, 8];
    cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$} ")).collect()
}

fn event_row(event: &Value) -> String {
    let qualifier = event["qualifier"].as_str().map(|text| format!(":{text}")).unwrap_or_default();
    let function = shown(&event["function"]) + &qualifier;
    let [id, state, since, next, error] =
        ["id", "state", "since", "next_try", "last_error"].map(|name| shown(&event[name]));
    let attempts = event["attempts"].as_u64().unwrap_or(0);
    format!("{id}  {state:<10} {attempts:>3}  {since:<24}  {next:<24}  {function:<32}  {error}")
}

/// A cell: what functions and callers say stays on its line, and harms no terminal.
fn shown(value: &Value) -> String {
    value.as_str().unwrap_or("-").replace(char::is_control, " ")
}

fn value(text: &RawValue) -> Value {
    serde_json::from_str(text.get()).unwrap_or_default()
}

/// Each on a line of its own: a line break within JSON is one between its tokens.
fn lines(out: &mut dyn Write, page: &[Box<RawValue>]) -> Result<(), Failed> {
    page.iter().try_for_each(|event| print(out, &event.get().replace(['\n', '\r'], " ")))
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), Failed> {
    writeln!(out, "{}", text.trim_end())
        .map_err(|error| (EXIT_FAILURE, format!("cannot write to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(Verb, Options)>, Failed> {
        parse(&text.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn commands_are_read() {
        let (verb, options) = read("purge --function f:live --state dead --yes").unwrap().unwrap();
        assert_eq!(verb, Verb::Purge);
        let filter = filter(&options);
        assert_eq!(filter, [("function", "f:live".to_owned()), ("state", "dead".to_owned())]);
        assert!(read("list").unwrap().is_some() && read("retry --all").unwrap().is_some());
        assert!(read("show --help").unwrap().is_none());
    }

    #[test]
    fn what_makes_no_sense_or_is_not_confirmed_is_refused() {
        for bad in [
            "",
            "drop",
            "show",
            "retry",
            "retry x --all",
            "purge --all",
            "purge --yes",
            "list --yes",
            "list --state dead",
            "list --function",
            "list --port 1",
            "export --all",
            "show a b",
        ] {
            let (code, text) = read(bad).err().unwrap_or_else(|| panic!("{bad}"));
            assert_eq!((code, text.lines().count()), (EXIT_USAGE, 1), "{bad}: {text}");
        }
    }

    #[test]
    fn the_endpoint_is_an_address() {
        let of = |endpoint: &str| {
            url(&Options { endpoint: Some(endpoint.to_owned()), ..Options::default() })
        };
        assert_eq!(of("http://127.0.0.1:8080/").unwrap(), "http://127.0.0.1:8080");
        for bad in ["127.0.0.1:8080", "https://a", "http://", "http://a/b"] {
            assert_eq!(of(bad).err().unwrap().0, EXIT_USAGE, "{bad}");
        }
    }

    #[test]
    fn what_is_exported_is_what_was_sent() {
        let sent = "{\"n\": 123456789012345678901234567890,\r\n \"a\": 1.10}";
        let mut out = Vec::new();
        lines(&mut out, &[RawValue::from_string(sent.to_owned()).unwrap()]).unwrap();
        let line = "{\"n\": 123456789012345678901234567890,   \"a\": 1.10}\n";
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }

    #[test]
    fn a_table_shows_no_control_characters() {
        let event = serde_json::json!({"id": "x", "last_error": "a\u{1b}[2Jb\nc"});
        assert!(!event_row(&event).contains(char::is_control));
    }
}
