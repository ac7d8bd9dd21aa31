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
pub(super) type Setting = Spanned<toml::Value>;

/// The settings of one section.
pub(super) type Section = BTreeMap<String, Setting>;

/// One list of names makes both the structs and `KEYS`: neither can forget a key of the other. The
/// structs are filled by hand: a derived reader for each of them took a fortieth of the program.
macro_rules! sections {
    ($($section:ident: $type:ident { $($key:ident),+ $(,)? })+) => {
        /// The whole file; a section or key that is missing is `None` or all `None`.
        #[derive(Debug)]
        pub(super) struct RawConfig {
            $(pub(super) $section: $type,)+
            /// The one section whose keys are words of another model; its own file judges them.
            pub(super) runtimes: Section,
        }

        impl RawConfig {
            fn of(mut sections: BTreeMap<String, Section>) -> RawConfig {
                let mut section = |name| sections.remove(name).unwrap_or_default();
                RawConfig {
                    $($section: $type::of(section(stringify!($section))),)+
                    runtimes: section(runtimes::SECTION),
                }
            }
        }

        $(
            #[derive(Debug)]
            pub(super) struct $type { $(pub(super) $key: Option<Setting>,)+ }

            impl $type {
                fn of(mut keys: Section) -> $type {
                    $type { $($key: keys.remove(stringify!($key)),)+ }
                }
            }
        )+

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
        network_name, subnet, container_prefix, socket, pull_policy, base_image,
        call_timeout_ms,
    }
    execution: RawExecution {
        max_concurrent_executions, max_memory_mb, max_cpu_shares, init_timeout_ms,
        idle_timeout_ms, max_parallel_starts, shutdown_grace_ms, max_total_memory_mb,
        min_available_memory_mb, max_queue_wait_ms, freeze_after_ms,
    }
    logs: RawLogs { max_mb_per_group, max_total_mb, retention_days }
    aws: RawAws {
        region, account_id, endpoint_url, access_key_id, secret_access_key_file,
        function_access_key_id, function_secret_access_key_file,
    }
}

/// A text with the name of the file that it comes from, for the places in errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { file: self.file.to_owned(), line }
    }

    /// The value as its author wrote it.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn parse(&self) -> Result<RawConfig, ConfigError> {
        let sections = toml::from_str(self.text).map_err(|error| self.explain(&error))?;
        match self.first_unknown() {
            Some((span, path)) => Err(self.unknown(&span, &path)),
            None => Ok(RawConfig::of(sections)),
        }
    }

    /// The first section or key in the text that there is no such, and where its name stands.
    fn first_unknown(&self) -> Option<(Range<usize>, Vec<String>)> {
        let table = DeTable::parse(self.text).ok()?;
        let mut names = Vec::new();
        for (section, value) in table.get_ref() {
            let of = section.get_ref().to_string();
            if let DeValue::Table(keys) = value.get_ref() {
                let keys = keys.iter().map(|(key, _)| key);
                names.extend(
                    keys.map(|key| (key.span(), vec![of.clone(), key.get_ref().to_string()])),
                );
            }
            names.push((section.span(), vec![of]));
        }
        names.retain(|(_, path)| !known(path));
        names.into_iter().min_by_key(|(span, _)| span.start)
    }

    fn unknown(&self, span: &Range<usize>, path: &[String]) -> ConfigError {
        let known = [KEYS, &[(runtimes::SECTION, &[])]].concat();
        let nearest = nearest(path, &known);
        ConfigError::UnknownKey { place: self.place(span), key: path.join("."), nearest }
    }

    /// toml names no key in its errors: this does.
    fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        match self.path_at(span.start) {
            Some(path) if !known(&path) => self.unknown(&span, &path),
            path => ConfigError::Syntax {
                place: self.place(&span),
                key: path.map(|path| path.join(".")),
                message: shown(error.message()),
            },
        }
    }

    /// Which key stands at this offset: its name, after that of its section if it has one.
    /// None where the text is no TOML at all.
    fn path_at(&self, offset: usize) -> Option<Vec<String>> {
        let table = DeTable::parse(self.text).ok()?;
        for (section, value) in table.get_ref() {
            if let DeValue::Table(keys) = value.get_ref() {
                for (key, value) in keys {
                    if key.span().contains(&offset) || value.span().contains(&offset) {
                        return Some(vec![
                            section.get_ref().to_string(),
                            key.get_ref().to_string(),
                        ]);
                    }
                }
            }
            if section.span().contains(&offset) || value.span().contains(&offset) {
                return Some(vec![section.get_ref().to_string()]);
            }
        }
        None
    }
}

fn known(path: &[String]) -> bool {
    if path.first().is_some_and(|section| section == runtimes::SECTION) {
        return true;
    }
    KEYS.iter().any(|(section, keys)| match path {
        [name] => name == section,
        [name, key, ..] => name == section && keys.contains(&key.as_str()),
        [] => false,
    })
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
        assert_eq!(port.get_ref().as_integer(), Some(8080));
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
             invalid type: integer `5`, expected a map"
        );
        let text = refusal("[server]\nport = 99999999999999999999999999\n");
        assert!(text.starts_with("config.toml:2: server.port is not readable"), "{text}");
        assert_eq!(refusal("[server").lines().count(), 1);
    }
}
