//! Code as an image: the runtime's image, with the layers in `/opt` and the code in `/var/task` as
//! one more layer of the image.
//!
//! The Engine makes it without a builder: a container is created (and never started), the archives
//! are unpacked in it as a stream, and it is committed. The image's tag is a digest of all that
//! goes into it, so equal packages share one image and an image that the Engine has lost is made
//! again from the stored files. What runs in it, and how, stays the runtime image's affair.
//!
//! Invariants: a tag names a complete image or none; one tag is built once at a time; the container
//! is removed also after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, PipeReader, PipeWriter, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::archive::{Archive, Limits};
use super::digest::Digest;
use super::error::PackageError;
use super::files::Files;
use crate::docker::{ContainerSpec, Engine, EngineError, NetworkMode, TarWriter};

/// The repository of all images of code.
pub(super) const REPOSITORY: &str = "lambda-runtime-api-server/code";

/// The label of these images and of the containers that become them; its value is the owner. It is
/// not the sandboxes' label: containers inherit the labels of their image, and one that a user
/// starts from such an image is no sandbox of the service.
pub(super) const LABEL: &str = "lambda-runtime-api-server.code-owner";

/// How the names of the containers begin that become images.
const CONTAINER_PREFIX: &str = "lambda-runtime-api-server-code-";

/// Changes with the way in which the same packages become another image.
const FORMAT: &str = "1";

/// How often the making of an image tells how far it is.
const TELL: Duration = Duration::from_secs(1);

/// Hears how far the making of an image is.
pub type Told<'a> = &'a dyn Fn(String);

/// What an image of code is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeImage {
    /// The runtime's image, by name.
    pub base: String,
    /// The zips of the layers; a later one's files replace those of an earlier one.
    pub layers: Vec<Digest>,
    /// The zip of the code. None: the code is mounted.
    pub code: Option<Digest>,
}

/// The images of code on one Engine.
#[derive(Debug)]
pub struct CodeImages {
    engine: Engine,
    files: Files,
    owner: String,
    /// A lock for each tag that is being made.
    building: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

/// An image that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// With its repository.
    pub tag: String,
    /// False when it was there already.
    pub built: bool,
}

impl CodeImages {
    /// `owner` tells this service's images from those of another one on the same Engine.
    pub fn new(engine: Engine, files: Files, owner: &str) -> CodeImages {
        CodeImages { engine, files, owner: owner.to_owned(), building: Mutex::default() }
    }

    /// Removes the containers that a crash has left while they became images; how many. For the
    /// service's start, before any [`CodeImages::ensure`].
    pub fn remove_leftovers(&self) -> Result<usize, PackageError> {
        let mut removed = 0;
        for container in self.engine.containers(&[&self.label()], true)? {
            let unfinished = container.names.iter().any(|name| name.starts_with(CONTAINER_PREFIX));
            // Containers of the finished images have the label too.
            if unfinished && container.state == "created" {
                self.engine.remove_container(&container.id, true)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The tag of an image of code, there or not; the base's name where nothing goes on top.
    pub fn tag(&self, image: &CodeImage) -> Result<String, PackageError> {
        let missing = || PackageError::BaseMissing { image: image.base.clone() };
        let base = self.engine.image(&image.base)?.ok_or_else(missing)?;
        Ok(tag(&base.id, image))
    }

    /// Makes an image of code unless the Engine has it. Blocks while it is made, by this call, which
    /// tells how far it is, or by another one.
    pub fn ensure(&self, image: &CodeImage, told: Told<'_>) -> Result<Ensured, PackageError> {
        let tag = self.tag(image)?;
        if self.engine.image(&tag)?.is_some() {
            return Ok(Ensured { tag, built: false });
        }
        let turn = Turn::take(&self.building, &tag);
        let guard = turn.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever had the turn before has made it, or has failed and this call tries again.
        let built = self.engine.image(&tag)?.is_none();
        if built {
            self.build(image, &tag, told)?;
        }
        drop(guard);
        drop(turn);
        Ok(Ensured { tag, built })
    }

    /// Removes this owner's images whose tags are not in `live`; how many. Those that are being
    /// made or that a container uses stay. A function's tag must be in `live` before its image is
    /// ensured.
    pub fn remove_unused(&self, live: &BTreeSet<String>) -> Result<usize, PackageError> {
        let mut removed = 0;
        // The Engine names an image after it has made it. So one without a name is left over only
        // where none is being made, which nobody begins while the lock is held.
        let building = self.lock();
        let quiet = building.is_empty();
        let listed = self.engine.images_with_label(&self.label());
        drop(building);
        for image in listed? {
            let unnamed = (image.names.is_empty() && quiet).then_some(&image.id);
            let ours = |name: &&String| name.starts_with(REPOSITORY) && !live.contains(*name);
            for name in image.names.iter().filter(ours).chain(unnamed) {
                // Held during the call, so that nobody begins to make what is being removed.
                let building = self.lock();
                if building.contains_key(name) {
                    continue;
                }
                match self.engine.remove_image(name) {
                    Ok(()) => removed += 1,
                    Err(error) if error.is_conflict() => {
                        log::debug!("image {name} stays: {error}");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(removed)
    }

    fn label(&self) -> String {
        format!("{LABEL}={}", self.owner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<()>>>> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self, image: &CodeImage, tag: &str, told: Told<'_>) -> Result<(), PackageError> {
        let spec = ContainerSpec {
            image: image.base.clone(),
            labels: [(LABEL.to_owned(), self.owner.clone())].into(),
            network: NetworkMode::None,
            ..ContainerSpec::default()
        };
        let name = format!("{CONTAINER_PREFIX}{}", crate::random::uuid());
        let container = match self.engine.create_container(&name, &spec) {
            Err(error) if error.is_not_found() => {
                return Err(PackageError::BaseMissing { image: image.base.clone() });
            }
            created => created?,
        };
        let changes = ["WORKDIR /var/task".to_owned()];
        let made = self.fill(&container, image, told).and_then(|()| {
            told("Saving the package's image.".to_owned());
            Ok(self.engine.commit(&container, tag, &changes)?)
        });
        if let Err(error) = self.engine.remove_container(&container, true) {
            log::warn!("container {name} is left until the next start: {error}");
        }
        made.map(drop)
    }

    /// Unpacks the packages in a container. One thread unzips into a pipe from which the other one
    /// sends, so neither the archive nor its files are anywhere as a whole.
    fn fill(&self, container: &str, image: &CodeImage, told: Told<'_>) -> Result<(), PackageError> {
        let piped = |source| PackageError::Storage { doing: "piping a package", source };
        let (reader, writer) = io::pipe().map_err(piped)?;
        let part = AtomicUsize::new(0);
        let meter =
            Meter { reader, part: &part, layers: image.layers.len(), sent: 0, last: None, told };
        thread::scope(|scope| {
            let unzip = thread::Builder::new()
                .name("unzip".to_owned())
                .spawn_scoped(scope, || self.write(image, writer, &part))
                .map_err(piped)?;
            let sent = self.send(container, meter);
            // A panic in there is one more way not to have written everything.
            let written = unzip.join().unwrap_or_else(|_| {
                Err(PackageError::Unreadable { cause: "unzipping panicked".to_owned() })
            });
            match (written, sent) {
                // The Engine hung up, and has said why.
                (Err(PackageError::Storage { source, .. }), Err(error))
                    if source.kind() == io::ErrorKind::BrokenPipe =>
                {
                    Err(error.into())
                }
                (Err(error), _) => Err(error),
                (Ok(()), sent) => Ok(sent?),
            }
        })
    }

    /// Owns the reading end: when the Engine refuses, its drop ends the thread that writes.
    fn send(&self, container: &str, mut meter: Meter<'_>) -> Result<(), EngineError> {
        self.engine.put_archive(container, "/", &mut meter)
    }

    /// Owns the writing end: its drop is the archive's end, whole or not. `part` is the number of
    /// the zip that is being unpacked.
    fn write(
        &self,
        image: &CodeImage,
        writer: PipeWriter,
        part: &AtomicUsize,
    ) -> Result<(), PackageError> {
        let mut tar = TarWriter::new(BufWriter::with_capacity(64 * 1024, writer));
        let layers = image.layers.iter().map(|digest| (digest, "opt"));
        let code = image.code.iter().map(|code| (code, "var/task"));
        for (index, (digest, prefix)) in layers.chain(code).enumerate() {
            part.store(index, Ordering::Relaxed);
            let zip = self.files.read(digest)?;
            Archive::parse(&zip, &Limits::FETCHED)?.write_tar(prefix, &mut tar)?;
        }
        let unfinished = |source| PackageError::Storage { doing: "sending a package", source };
        tar.finish().map(drop).map_err(unfinished)
    }
}

/// The reading end, which tells once a second what goes through it.
struct Meter<'a> {
    reader: PipeReader,
    part: &'a AtomicUsize,
    layers: usize,
    sent: u64,
    /// When it has told something last; `None` before the first byte.
    last: Option<Instant>,
    told: Told<'a>,
}

impl Read for Meter<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        self.sent += count as u64;
        let last = self.last.get_or_insert_with(Instant::now);
        if last.elapsed() >= TELL {
            *last = Instant::now();
            (self.told)(progress(self.part.load(Ordering::Relaxed), self.layers, self.sent));
        }
        Ok(count)
    }
}

fn progress(part: usize, layers: usize, sent: u64) -> String {
    let what = if part < layers {
        format!("layer {} of {layers}", part + 1)
    } else {
        "the code".to_owned()
    };
    format!("Unpacking {what} into the package's image; {} MB are done.", sent >> 20)
}

fn tag(base_id: &str, image: &CodeImage) -> String {
    if image.layers.is_empty() && image.code.is_none() {
        return image.base.clone(); // nothing goes on top of it
    }
    let mut parts = vec![FORMAT.to_owned(), base_id.to_owned()];
    parts.extend(image.layers.iter().map(Digest::to_string));
    parts.push(image.code.map_or_else(|| "mounted".to_owned(), |code| code.to_string()));
    let digest = Digest::of(parts.join("\n").as_bytes()).to_string();
    format!("{REPOSITORY}:{}", &digest[..32])
}

/// The right to wait for the making of a tag. The last one to go takes the lock away.
struct Turn<'a> {
    building: &'a Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    tag: &'a str,
    lock: Arc<Mutex<()>>,
}

impl<'a> Turn<'a> {
    fn take(building: &'a Mutex<BTreeMap<String, Arc<Mutex<()>>>>, tag: &'a str) -> Turn<'a> {
        let mut locks = building.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = locks.entry(tag.to_owned()).or_default().clone();
        Turn { building, tag, lock }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut locks = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and this one: nobody else can take one while the map is locked.
        if Arc::strong_count(&self.lock) == 2 {
            locks.remove(self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_depends_on_everything_that_goes_in_and_on_the_order() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|data| Digest::of(data));
        let image = |layers: &[Digest], code| CodeImage {
            base: "name".to_owned(),
            layers: layers.to_vec(),
            code,
        };
        let tags: BTreeSet<String> = [
            tag("sha256:1", &image(&[a, b], Some(c))),
            tag("sha256:1", &image(&[b, a], Some(c))),
            tag("sha256:1", &image(&[a], Some(c))),
            tag("sha256:1", &image(&[a, c], None)),
            tag("sha256:1", &image(&[], Some(c))),
            tag("sha256:1", &image(&[], Some(a))),
            tag("sha256:2", &image(&[a, b], Some(c))),
        ]
        .into();
        assert_eq!(tags.len(), 7);
        assert!(tags.iter().all(|tag| tag.len() == REPOSITORY.len() + 1 + 32));
        assert!(tags.contains(&tag("sha256:1", &image(&[a, b], Some(c)))));
        assert_eq!(tag("sha256:1", &image(&[], None)), "name");
    }

    #[test]
    fn progress_names_the_part() {
        assert_eq!(
            progress(1, 2, 34 << 20),
            "Unpacking layer 2 of 2 into the package's image; 34 MB are done."
        );
        assert!(progress(2, 2, 0).contains("the code"));
    }

    #[test]
    fn a_turn_is_forgotten_with_the_last_who_took_it() {
        let building = Mutex::default();
        let (first, second) = (Turn::take(&building, "t"), Turn::take(&building, "t"));
        assert!(Arc::ptr_eq(&first.lock, &second.lock));
        drop(first);
        assert_eq!(building.lock().unwrap().len(), 1);
        drop(second);
        assert!(building.lock().unwrap().is_empty());
    }
}
