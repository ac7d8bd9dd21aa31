//! What is kept of a group beside its events, and the name of its directory.
//!
//! A record is written under another name, brought to the disk and then renamed: after a crash the
//! old one or the new one is there, whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const FILE: &str = "group.json";
const UNFINISHED: &str = "group.json.unfinished";
/// No record is larger: 50 tags of 384 characters, and a name.
const RECORD_LIMIT_BYTES: u64 = 1 << 20;
/// Letters of a group's name in that of its directory, for who looks there.
const SHOWN: usize = 100;

/// What is kept of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) region: String,
    pub(super) name: String,
    pub(super) created_ms: i64,
    pub(super) retention_days: Option<u32>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn load(directory: &Path) -> io::Result<Record> {
        let path = directory.join(FILE);
        if fs::metadata(&path)?.len() > RECORD_LIMIT_BYTES {
            return Err(damaged("it is too large"));
        }
        let value: Value = serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)?;
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let tags = value.get("tags").and_then(Value::as_object).map(|tags| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            tags.iter().map(|(key, value)| (key.clone(), text(value))).collect()
        });
        let days = value.get("retention_days").and_then(Value::as_u64);
        Ok(Record {
            region: text("region").ok_or_else(|| damaged("it has no region"))?,
            name: text("name").ok_or_else(|| damaged("it has no name"))?,
            created_ms: value.get("created_ms").and_then(Value::as_i64).unwrap_or_default(),
            retention_days: days.and_then(|days| u32::try_from(days).ok()),
            tags: tags.unwrap_or_default(),
        })
    }

    /// When it returns, the record survives a loss of power.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let text = json!({
            "region": self.region,
            "name": self.name,
            "created_ms": self.created_ms,
            "retention_days": self.retention_days,
            "tags": self.tags,
        });
        let unfinished = directory.join(UNFINISHED);
        let written = write(&unfinished, text.to_string().as_bytes())
            .and_then(|()| fs::rename(&unfinished, directory.join(FILE)))
            .and_then(|()| sync(directory));
        if written.is_err() {
            // A full disk must not stay full of what could not be written.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

/// Removes a directory where no record was ever whole and nothing else is; whether it could.
pub(super) fn remove_unfinished(directory: &Path) -> bool {
    if directory.join(FILE).exists() {
        return false;
    }
    let _ = fs::remove_file(directory.join(UNFINISHED));
    fs::remove_dir(directory).is_ok()
}

fn write(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// New and removed names are on the disk when their directory is.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The name of a group's directory. Names of groups are anybody's words and longer than names of
/// files may be: the digest tells them apart, the rest is for people.
pub(super) fn directory_name(region: &str, group: &str) -> String {
    let digest = Sha256::digest(format!("{region}\n{group}"));
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let shown: String = group.chars().take(SHOWN).map(plain).collect();
    // First the digest: no name begins with a dot.
    format!("{digest}-{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_directory_or_meets_another() {
        let long = "x/".repeat(256);
        let names =
            ["/aws/lambda/f", "..", "../../etc/passwd", ".", "", "a/b", "a_b", "é\0\n", &long];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            for region in ["us-east-1", "eu-west-1"] {
                let file = directory_name(region, name);
                assert!(file.len() <= 133 && !file.starts_with('.'), "{file}");
                assert!(file.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
                assert!(seen.insert(file));
            }
        }
        assert!(directory_name("us-east-1", "/aws/lambda/f").ends_with("-_aws_lambda_f"));
    }

    #[test]
    fn a_record_is_kept_and_a_damaged_one_is_told() {
        let place = std::env::temp_dir().join(format!("log-record-{}", crate::random::uuid()));
        fs::create_dir(&place).unwrap();
        let record = Record {
            region: "us-east-1".into(),
            name: "a/\"é\"".into(),
            created_ms: 12,
            retention_days: Some(7),
            tags: [("k".to_owned(), "v".to_owned())].into(),
        };
        record.save(&place).unwrap();
        assert_eq!(Record::load(&place).unwrap(), record);
        let forever = Record { retention_days: None, ..record };
        forever.save(&place).unwrap();
        assert_eq!(Record::load(&place).unwrap(), forever);
        for text in ["", "{", "{}", "[1]", "{\"region\":\"r\"}"] {
            fs::write(place.join(FILE), text).unwrap();
            assert!(Record::load(&place).is_err(), "{text}");
        }
        fs::remove_dir_all(&place).unwrap();
        assert!(forever.save(&place).is_err());
    }
}
