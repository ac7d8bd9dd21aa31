//! Images: inspect, list, pull, import, commit, tag, remove.
//!
//! No registry credentials, no build: an image that this program makes itself is imported from an
//! archive that it writes.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;

use super::engine::{Call, Engine, Payload, Streamed, Wait};
use super::error::EngineError;
use super::lines::{Line, Lines};
use super::wire::{Target, null_as_default};

/// How long a pull or an import may be without a sign of life. Unpacking a large layer is silent
/// for a while.
pub(super) const SILENCE: Duration = Duration::from_secs(300);

/// The longest line of a progress stream, and the most of the stream that is read: a pull reports
/// each layer many times a second.
const LINE_LIMIT_BYTES: usize = 64 * 1024;
const STREAM_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// An image as inspect tells it. What the image does not set is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    pub id: String,
    pub architecture: String,
    pub os: String,
    pub size_bytes: u64,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub labels: BTreeMap<String, String>,
    /// `name@sha256:...` for each registry that the image is known to.
    pub repo_digests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireImage {
    id: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    size: u64,
    #[serde(default, deserialize_with = "null_as_default")]
    config: WireConfig,
    #[serde(default, deserialize_with = "null_as_default")]
    repo_digests: Vec<String>,
}

/// Engine 29 leaves out what is not set, older ones write `null` or something empty.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WireConfig {
    #[serde(deserialize_with = "null_as_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    working_dir: String,
    #[serde(deserialize_with = "null_as_default")]
    user: String,
    #[serde(deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
}

impl From<WireImage> for Image {
    fn from(wire: WireImage) -> Self {
        Image {
            id: wire.id,
            architecture: wire.architecture,
            os: wire.os,
            size_bytes: wire.size,
            entrypoint: wire.config.entrypoint,
            command: wire.config.cmd,
            env: wire.config.env,
            working_dir: wire.config.working_dir,
            user: wire.config.user,
            labels: wire.config.labels,
            repo_digests: wire.repo_digests,
        }
    }
}

/// An image as the list tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    pub id: String,
    /// `repository:tag` each; none for an image that has lost its last name.
    pub names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireSummary {
    id: String,
    #[serde(default, deserialize_with = "null_as_default")]
    repo_tags: Vec<String>,
}

impl From<WireSummary> for ImageSummary {
    fn from(wire: WireSummary) -> Self {
        // The classic image store writes this for an image without a name.
        let named = |name: &String| name != "<none>:<none>";
        ImageSummary { id: wire.id, names: wire.repo_tags.into_iter().filter(named).collect() }
    }
}

/// A line of the progress of a pull or an import.
#[derive(Deserialize, Debug, PartialEq)]
struct Progress {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    progress: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

impl Progress {
    /// As the docker command line shows it.
    fn line(&self) -> String {
        let id = self.id.as_deref().map(|id| format!("{id}: ")).unwrap_or_default();
        let status = self.status.as_deref().unwrap_or_default();
        match self.progress.as_deref() {
            None | Some("") => format!("{id}{status}"),
            Some(bar) => format!("{id}{status} {bar}"),
        }
    }
}

/// Splits an image's name into repository and tag. The colon of a registry's port is before the
/// last slash.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// Adds the repository and tag of `name` to a call's query. A digest stays with the repository;
/// with neither, a pull would fetch every tag there is.
fn named(target: Target, key: &str, name: &str) -> Target {
    if name.contains('@') {
        return target.query(key, name);
    }
    let (repository, tag) = split_tag(name);
    target.query(key, repository).query("tag", tag.unwrap_or("latest"))
}

impl Engine {
    /// Inspects an image by name or id.
    pub fn image(&self, name: &str) -> Result<Option<Image>, EngineError> {
        match self.find(Call::get(Target::image(name, "/json")?))? {
            Some(answer) => Ok(Some(answer.json::<WireImage>()?.into())),
            None => Ok(None),
        }
    }

    /// Pulls an image from its registry and hands each line of the progress to `progress`.
    pub fn pull_image(
        &self,
        name: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), EngineError> {
        let target = named(Target::fixed("/images/create"), "fromImage", name);
        let call = Call::post(target).wait(Wait::Silence(SILENCE));
        self.follow(self.stream(call)?, &mut |line| progress(&line.line()))
    }

    /// Makes an image of a tar archive, which becomes its only layer, and gives its id.
    ///
    /// `changes` are instructions of a Dockerfile, as `ENTRYPOINT ["/bootstrap"]`. An error of
    /// `tar` itself comes back as [`EngineError::Interrupted`].
    pub fn import_image(
        &self,
        tar: &mut dyn Read,
        name: &str,
        changes: &[String],
    ) -> Result<String, EngineError> {
        let target = Target::fixed("/images/create").query("fromSrc", "-");
        let mut target = named(target, "repo", name);
        for change in changes {
            target = target.query("changes", change);
        }
        let call = Call::post(target).payload(Payload::Tar(tar)).wait(Wait::Silence(SILENCE));
        let streamed = self.stream(call)?;
        let name = streamed.call.clone();
        let mut id = None;
        self.follow(streamed, &mut |line| {
            if line.status.as_deref().is_some_and(|status| status.starts_with("sha256:")) {
                id.clone_from(&line.status);
            }
        })?;
        id.ok_or_else(|| EngineError::Malformed {
            call: name,
            reason: "no image id in the answer".to_owned(),
        })
    }

    /// Lists the images with this label (`key` or `key=value`).
    pub fn images_with_label(&self, label: &str) -> Result<Vec<ImageSummary>, EngineError> {
        let filters = serde_json::json!({ "label": [label] });
        let target = Target::fixed("/images/json").query("filters", &filters.to_string());
        let wire: Vec<WireSummary> = self.call(Call::get(target))?.json()?;
        Ok(wire.into_iter().map(ImageSummary::from).collect())
    }

    /// Makes an image of what a container has changed, and gives its id. Configuration and labels
    /// are the container's, which has them of its image and its creation; `changes` are
    /// instructions of a Dockerfile. An image that had the name before loses it.
    pub fn commit(
        &self,
        container: &str,
        name: &str,
        changes: &[String],
    ) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        struct Committed {
            #[serde(rename = "Id")]
            id: String,
        }
        let target = Target::fixed("/commit").query("container", container);
        let mut target = named(target, "repo", name);
        for change in changes {
            target = target.query("changes", change);
        }
        // A large layer is written and hashed without a sign of life.
        let call = Call::post(target).wait(Wait::Silence(SILENCE));
        Ok(self.call(call)?.json::<Committed>()?.id)
    }

    /// Gives an image one more name.
    pub fn tag_image(&self, image: &str, name: &str) -> Result<(), EngineError> {
        let target = named(Target::image(image, "/tag")?, "repo", name);
        self.call(Call::post(target)).map(drop)
    }

    /// Removes an image's name, and the image with its last one; that there is none is fine. A
    /// conflict means that a container uses it.
    pub fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        self.find(Call::delete(Target::image(name, "")?)).map(drop)
    }

    /// Reads a stream of progress to its end. The status was sent before the work began, so an
    /// error of the work is a line of the stream.
    fn follow(
        &self,
        mut streamed: Streamed,
        each: &mut dyn FnMut(&Progress),
    ) -> Result<(), EngineError> {
        let call = streamed.call.clone();
        let malformed = |reason: String| EngineError::Malformed { call: call.clone(), reason };
        let reader = streamed.body.with_config().limit(STREAM_LIMIT_BYTES).reader();
        let mut lines = Lines::new(reader, LINE_LIMIT_BYTES);
        let mut failure = None;
        loop {
            let line = match lines.next_line() {
                Ok(Line::Whole(line)) => line,
                Ok(Line::End) => break,
                Ok(Line::CutShort) => return Err(malformed("it ends within a line".to_owned())),
                Ok(Line::TooLong) => {
                    let limit_bytes = LINE_LIMIT_BYTES as u64;
                    return Err(EngineError::TooLarge { call, limit_bytes });
                }
                Err(e) => {
                    drop(lines);
                    return Err(streamed.error(&self.settings().socket, e));
                }
            };
            if line.is_empty() {
                continue;
            }
            let progress: Progress =
                crate::json::from_slice(&line).map_err(|e| malformed(e.to_string()))?;
            match progress.error {
                Some(message) => failure = Some(message),
                None => each(&progress),
            }
        }
        match failure {
            Some(message) => Err(EngineError::Failed { call, message }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_from_ports() {
        assert_eq!(split_tag("alpine"), ("alpine", None));
        assert_eq!(split_tag("alpine:3"), ("alpine", Some("3")));
        assert_eq!(split_tag("host:5000/a/b"), ("host:5000/a/b", None));
        assert_eq!(split_tag("host:5000/a/b:v1"), ("host:5000/a/b", Some("v1")));
    }

    #[test]
    fn a_name_without_tag_means_latest() {
        let uri = |name| {
            let target = named(Target::fixed("/images/create"), "fromImage", name);
            target.uri("1.41".parse().unwrap())
        };
        assert!(uri("alpine").ends_with("?fromImage=alpine&tag=latest"));
        assert!(uri("a/b:3").ends_with("?fromImage=a%2Fb&tag=3"));
        assert!(uri("a@sha256:00").ends_with("?fromImage=a%40sha256%3A00"));
    }

    #[test]
    fn inspect_tolerates_what_engines_leave_out() {
        for config in ["", r#","Config":null"#, r#","Config":{}"#, r#","Config":{"Cmd":null}"#] {
            let json = format!(r#"{{"Id":"sha256:1","RepoDigests":null{config}}}"#);
            let image = Image::from(serde_json::from_str::<WireImage>(&json).unwrap());
            assert!(image.entrypoint.is_empty() && image.command.is_empty(), "{json}");
        }
        let json = r#"{"Id":"i","Config":{"Entrypoint":["/x"],"Cmd":["a"],"User":"1:2"}}"#;
        let image = Image::from(serde_json::from_str::<WireImage>(json).unwrap());
        assert_eq!((image.entrypoint, image.command), (vec!["/x".into()], vec!["a".into()]));
        assert_eq!(image.user, "1:2");
    }

    #[test]
    fn a_list_tolerates_images_without_names() {
        for tags in ["null", "[]", r#"["<none>:<none>"]"#] {
            let json = format!(r#"{{"Id":"sha256:1","RepoTags":{tags}}}"#);
            let image = ImageSummary::from(serde_json::from_str::<WireSummary>(&json).unwrap());
            assert_eq!(image.names, Vec::<String>::new());
        }
    }

    #[test]
    fn progress_reads_as_on_the_command_line() {
        let line = |json| serde_json::from_str::<Progress>(json).unwrap().line();
        assert_eq!(line(r#"{"status":"Pulling from a/b","id":"3"}"#), "3: Pulling from a/b");
        assert_eq!(
            line(r#"{"status":"Downloading","progress":"[=>] 1kB","id":"ab"}"#),
            "ab: Downloading [=>] 1kB"
        );
    }
}
