//! The configuration as it is written: which sections and keys exist, and where each value stands.
//!
//! Values keep their place in the text and are not judged here, so that `validate` can answer a
//! wrong type and a wrong range with the same sentence. A key that is not listed below is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, nearest, shown};
use super::runtimes;

/// A value of any type together with its place in the text.
pub(super) type Setting<'a> = Spanned<DeValue<'a>>;

/// One list of names makes the structs, the way into them and `KEYS`: none can forget a key of
/// another.
macro_rules! sections {
    ($($section:ident: $type:ident { $($key:ident),+ $(,)? })+) => {
        /// The whole file; a section or key that is missing is `None` or all `None`.
        #[derive(Debug, Default)]
        pub(super) struct RawConfig<'a> {
            $(pub(super) $section: $type<'a>,)+
            /// The one section whose keys are words of another model; its own file judges them.
            pub(super) runtimes: BTreeMap<String, Setting<'a>>,
        }

        $(
            #[derive(Debug, Default)]
            pub(super) struct $type<'a> { $(pub(super) $key: Option<Setting<'a>>,)+ }
        )+

        impl<'a> RawConfig<'a> {
            /// Where the value of a key belongs. None: there is no such key.
            fn place_of(&mut self, section: &str, key: &str) -> Option<&mut Option<Setting<'a>>> {
                match (section, key) {
                    $($((stringify!($section), stringify!($key)) => {
                        Some(&mut self.$section.$key)
                    })+)+
                    _ => None,
                }
            }
        }

        /// Every section with its keys.
        pub(super) const KEYS: &[(&str, &[&str])] =
            &[$((stringify!($section), &[$(stringify!($key)),+])),+];
    };
}

sections! {
    server: RawServer { address, port, workers, blocking_threads, max_waiting_calls }
    http: RawHttp {
        max_connections, max_connections_per_address, max_head_bytes, max_sandbox_head_bytes,
        max_header_count, max_uri_bytes, max_buffered_mb, head_timeout_ms, body_timeout_ms,
        write_timeout_ms, keep_alive_timeout_ms,
    }
    storage: RawStorage { path }
    docker: RawDocker {
        network_name, subnet, none_out_functions, network_slots, container_prefix, socket, pull_policy, base_image,
        call_timeout_ms,
    }
    execution: RawExecution {
        max_concurrent_executions, max_memory_mb, max_cpu_shares, init_timeout_ms,
        idle_timeout_ms, max_parallel_starts, shutdown_grace_ms, max_total_memory_mb,
        min_available_memory_mb, max_queue_wait_ms, freeze_after_ms,
    }
    logs: RawLogs { max_mb_per_group, max_total_mb, retention_days }
    asynchronous: RawAsynchronous {
        max_queued_events, max_queue_mb, max_deliveries, retry_delay_ms, dead_letters,
        max_dead_letters_mb, webhook_url, webhook_secret_file,
    }
    audit: RawAudit { path, key_file, on_failure, max_hashed_kb }
    schedules: RawSchedules { max_schedules, missed_runs, max_missed_runs }
    aws: RawAws {
        region, account_id, endpoint_url, access_key_id, secret_access_key_file,
        function_access_key_id, function_secret_access_key_file,
    }
    auth: RawAuth { require_signature, trusted_proxies, keys, roles }
    development: RawDevelopment { hot_reload_paths }
}

/// A text with the name of the file that it comes from, for the places in errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { file: self.file.to_owned(), line }
    }

    /// The value as its author wrote it.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn parse(&self) -> Result<RawConfig<'a>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| ConfigError::Syntax {
            place: self.place(&error.span().unwrap_or_default()),
            key: None,
            message: shown(error.message()),
        })?;
        let mut raw = RawConfig::default();
        for (section, value) in table.into_inner() {
            let (section_span, section) = (section.span(), section.into_inner());
            let runtimes = section == runtimes::SECTION;
            if !runtimes && !KEYS.iter().any(|(known, _)| *known == section) {
                return Err(self.unknown(&section_span, &[&section]));
            }
            let value_span = value.span();
            let keys = match value.into_inner() {
                DeValue::Table(keys) => keys,
                other => {
                    let place = self.place(&value_span);
                    let message = format!("invalid type: {}, expected a section", other.type_str());
                    return Err(ConfigError::Syntax { place, key: Some(section.into()), message });
                }
            };
            for (key, value) in keys {
                let (key_span, key) = (key.span(), key.into_inner());
                if runtimes {
                    raw.runtimes.insert(key.into_owned(), value);
                } else if let Some(place) = raw.place_of(&section, &key) {
                    *place = Some(value);
                } else {
                    return Err(self.unknown(&key_span, &[&section, &key]));
                }
            }
        }
        Ok(raw)
    }

    fn unknown(&self, span: &Range<usize>, path: &[&str]) -> ConfigError {
        let known = [KEYS, &[(runtimes::SECTION, &[])]].concat();
        let nearest = nearest(path, &known);
        ConfigError::UnknownKey { place: self.place(span), key: path.join("."), nearest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Source { file: "config.toml", text }.parse().unwrap_err().to_string()
    }

    #[test]
    fn a_value_keeps_its_line_and_its_spelling() {
        let source = Source { file: "f", text: "# first\n[server]\n\nport = 0x1f90 # odd\n" };
        let port = source.parse().unwrap().server.port.unwrap();
        assert_eq!(source.place(&port.span()).to_string(), "f:4");
        assert_eq!(source.excerpt(&port.span()), "0x1f90");
        let value = port.get_ref().as_integer().unwrap();
        assert_eq!((value.as_str(), value.radix()), ("1f90", 16));
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_one() {
        assert_eq!(
            refusal("[server]\naddress = \"::\"\nprot = 80\n"),
            "config.toml:3: unknown key server.prot; the nearest known key is server.port"
        );
        assert_eq!(
            refusal("[docker]\nmax_head_byte = 1\n"),
            "config.toml:2: unknown key docker.max_head_byte; \
             the nearest known key is http.max_head_bytes"
        );
        assert_eq!(
            refusal("port = 80\n"),
            "config.toml:1: unknown key port; the nearest known key is server.port"
        );
        assert_eq!(
            refusal("[serer]\nport = 80\n"),
            "config.toml:1: unknown key serer; the nearest known key is server"
        );
        assert_eq!(
            refusal("[runtime]\nnodejs = \"a\"\n"),
            "config.toml:1: unknown key runtime; the nearest known key is runtimes"
        );
        assert_eq!(
            refusal("docker.sokket = \"/x\"\n"),
            "config.toml:1: unknown key docker.sokket; the nearest known key is docker.socket"
        );
        assert_eq!(
            refusal("http = { max_uri_byte = 1 }\n"),
            "config.toml:1: unknown key http.max_uri_byte; \
             the nearest known key is http.max_uri_bytes"
        );
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let text = refusal("[server]\nport = = 1\n");
        assert!(text.starts_with("config.toml:2: not readable as configuration: "), "{text}");
        let text = refusal("[server]\nport = 1\nport = 2\n");
        assert!(text.starts_with("config.toml:3: "), "{text}");
        assert!(text.contains("duplicate key"), "{text}");
        let text = refusal("server = 5\n");
        assert_eq!(
            text,
            "config.toml:1: server is not readable as configuration: \
             invalid type: integer, expected a section"
        );
        assert_eq!(refusal("[server").lines().count(), 1);
    }
}
