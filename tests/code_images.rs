//! Images of code, made by a real Docker Engine from zips and looked into through its API.
//!
//! As with `docker_engine.rs` it needs an Engine, fails without one, and skips only when
//! `LAMBDA_TEST_NO_DOCKER` is set. No container is started: the images hold no program. Each test
//! is an owner of its own, and its base image is its own, so no tag meets another test's.

// clippy.toml lets tests panic and print; helpers of an integration test count as none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime_api_server::docker::{ContainerSpec, Engine, Settings, TarEntry, TarWriter};
use lambda_runtime_api_server::package::{CodeImage, CodeImages, Digest, Files, PackageError};
use zip_builder::{ZipEntry, zip};

#[path = "../src/package/zip_builder.rs"]
mod zip_builder;

const LABEL: &str = "lambda-runtime-api-server.code-owner";

/// A name that no other test and no other run has.
fn unique(kind: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("code-images-test-{kind}-{}-{number}-{:x}", std::process::id(), time.subsec_nanos())
}

fn socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").into()
}

/// Files, a base image and an owner; all of it goes when the test ends.
struct Place {
    engine: Engine,
    storage: PathBuf,
    files: Files,
    images: CodeImages,
    owner: String,
    base: String,
    containers: Vec<String>,
}

impl Place {
    fn new() -> Option<Place> {
        if std::env::var_os("LAMBDA_TEST_NO_DOCKER").is_some() {
            println!("skipped: LAMBDA_TEST_NO_DOCKER is set");
            return None;
        }
        let settings = Settings {
            socket: socket(),
            call_timeout: Duration::from_secs(60),
            max_idle_connections: 4,
        };
        let engine = Engine::connect(&settings).expect("these tests need a Docker Engine");
        let storage = std::env::temp_dir().join(unique("storage"));
        std::fs::create_dir(&storage).unwrap();
        let files = Files::open(&storage).unwrap();
        let (owner, base) = (unique("owner"), format!("{}:v1", unique("base")));
        let images = CodeImages::new(engine.clone(), files.clone(), &owner);
        let mut tar = TarWriter::new(Vec::new());
        for path in ["opt", "var", "var/task"] {
            tar.directory(TarEntry::root(path, 0o755)).unwrap();
        }
        // Its own name makes the image, and so every tag upon it, this test's own.
        let name = base.as_bytes();
        tar.file(TarEntry::root("name", 0o644), name.len() as u64, &mut &name[..]).unwrap();
        let changes = ["ENTRYPOINT [\"/entry\"]", "ENV A=b", "WORKDIR /", "LABEL k=v"];
        let tar = tar.finish().unwrap();
        engine.import_image(&mut &tar[..], &base, &changes.map(str::to_owned)).unwrap();
        let containers = Vec::new();
        Some(Place { engine, storage, files, images, owner, base, containers })
    }

    fn image(&self, layers: &[Digest], entries: &[ZipEntry]) -> CodeImage {
        let code = self.files.put(&zip(entries)).unwrap();
        CodeImage { base: self.base.clone(), layers: layers.to_vec(), code: Some(code) }
    }

    fn container(&mut self, name: &str, image: &str, labels: BTreeMap<String, String>) -> String {
        let spec = ContainerSpec { image: image.to_owned(), labels, ..ContainerSpec::default() };
        let id = self.engine.create_container(name, &spec).unwrap();
        self.containers.push(id.clone());
        id
    }

    /// Path, mode and content of what an image has under `path`.
    fn content(&mut self, image: &str, path: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
        let id = self.container(&unique("look"), image, BTreeMap::new());
        let mut stream = UnixStream::connect(socket()).unwrap();
        // HTTP/1.0, so that the answer is neither chunked nor kept open.
        write!(stream, "GET /containers/{id}/archive?path={path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let tar = &answer[head + 4..];
        let text = |field: &[u8]| {
            String::from_utf8(field.split(|&b| b == 0).next().unwrap().to_vec()).unwrap()
        };
        let octal = |field: &[u8]| u32::from_str_radix(&text(field), 8).unwrap();
        let (mut found, mut at) = (BTreeMap::new(), 0);
        while tar[at] != 0 {
            let head = &tar[at..at + 512];
            let size = octal(&head[124..135]) as usize;
            let data = match head[156] {
                b'2' => text(&head[157..257]).into_bytes(),
                _ => tar[at + 512..at + 512 + size].to_vec(),
            };
            let name = text(&head[..100]).trim_end_matches('/').to_owned();
            found.insert(name, (octal(&head[100..107]) & 0o777, data));
            at += 512 + size.div_ceil(512) * 512;
        }
        found
    }

    fn containers_with_label(&self) -> usize {
        let label = format!("{LABEL}={}", self.owner);
        self.engine.containers(&[&label], true).unwrap().len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for id in &self.containers {
            let _ = self.engine.remove_container(id, true);
        }
        let removed = self.images.remove_unused(&BTreeSet::new());
        let base = self.engine.remove_image(&self.base);
        if removed.is_err() || base.is_err() {
            eprintln!("not removed: {removed:?}, {base:?}");
        }
        let _ = std::fs::remove_dir_all(&self.storage);
    }
}

fn code() -> Vec<ZipEntry> {
    vec![
        ZipEntry::deflated("bootstrap", b"#!/opt/run\n").mode(0o100_600),
        ZipEntry::stored("lib/data.txt", b"data").streamed(),
        ZipEntry::link("link", "lib/data.txt"),
        ZipEntry::stored(&format!("{}/{}", "d".repeat(120), "f".repeat(200)), b"long"),
    ]
}

#[test]
fn an_image_has_the_code_and_stays_what_the_base_is() {
    let Some(mut place) = Place::new() else { return };
    let image = place.image(&[], &code());
    let heard = RefCell::new(Vec::new());
    let made = place.images.ensure(&image, &|far| heard.borrow_mut().push(far)).unwrap();
    assert!(made.built);
    assert_eq!(heard.into_inner().last().unwrap(), "Saving the package's image.");
    assert_eq!(made.tag, place.images.tag(&image).unwrap());

    let found = place.engine.image(&made.tag).unwrap().unwrap();
    assert_eq!((found.entrypoint, found.working_dir), (vec!["/entry".into()], "/var/task".into()));
    assert!(found.env.contains(&"A=b".to_owned()), "{:?}", found.env);
    assert_eq!((found.labels["k"].as_str(), found.labels[LABEL].as_str()), ("v", &*place.owner));
    let base = place.engine.image(&place.base).unwrap().unwrap();
    assert_eq!(found.architecture, base.architecture);

    let content = place.content(&made.tag, "/var/task");
    assert_eq!(content["task/bootstrap"], (0o755, b"#!/opt/run\n".to_vec()));
    assert_eq!(content["task/lib"].0, 0o755);
    assert_eq!(content["task/lib/data.txt"], (0o644, b"data".to_vec()));
    assert_eq!(content["task/link"].1, b"lib/data.txt");
    assert!(content.values().any(|(_, data)| data == b"long"), "{:?}", content.keys());
}

#[test]
fn equal_packages_share_an_image_that_is_made_once_and_again_when_lost() {
    let Some(place) = Place::new() else { return };
    let (first, second) = (place.image(&[], &code()), place.image(&[], &code()));
    let built = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for image in [&first, &second, &first, &second] {
            scope.spawn(|| {
                let made = place.images.ensure(image, &|_| ()).unwrap();
                built.fetch_add(usize::from(made.built), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(built.into_inner(), 1);
    assert_eq!(place.containers_with_label(), 0);
    let started = Instant::now();
    let again = place.images.ensure(&first, &|_| ()).unwrap();
    assert!(!again.built && started.elapsed() < Duration::from_secs(2));
    place.engine.remove_image(&again.tag).unwrap();
    assert!(place.images.ensure(&first, &|_| ()).unwrap().built);
}

#[test]
fn layers_are_merged_in_their_order() {
    let Some(mut place) = Place::new() else { return };
    let layer = |entries: &[ZipEntry]| place.files.put(&zip(entries)).unwrap();
    let under = layer(&[
        ZipEntry::stored("both", b"under"),
        ZipEntry::stored("only", b"under"),
        ZipEntry::link("turns", "both"),
    ]);
    let over = layer(&[ZipEntry::stored("both", b"over"), ZipEntry::stored("turns/x", b"over")]);
    let image = place.image(&[under, over], &code());
    let tag = place.images.ensure(&image, &|_| ()).unwrap().tag;
    let content = place.content(&tag, "/opt");
    let data = |name: &str| String::from_utf8(content[name].1.clone()).unwrap();
    assert_eq!((data("opt/both"), data("opt/only")), ("over".into(), "under".into()));
    // A directory takes the place of a link; nothing is written through it.
    assert_eq!(data("opt/turns/x"), "over");

    let other = CodeImage { layers: vec![over, under], ..image };
    let tag = place.images.ensure(&other, &|_| ()).unwrap().tag;
    assert_eq!(place.content(&tag, "/opt")["opt/both"].1, b"under");
}

#[test]
fn a_failure_leaves_neither_an_image_nor_a_container() {
    let Some(place) = Place::new() else { return };
    let lost = CodeImage { code: Some(Digest::of(b"gone")), ..place.image(&[], &code()) };
    assert!(matches!(place.images.ensure(&lost, &|_| ()), Err(PackageError::Lost { .. })));
    // The archive is cut off in the middle of a file.
    let large = vec![7; 3_000_000];
    let damaged = ZipEntry { crc: 1, ..ZipEntry::stored("large", &large) };
    let damaged = place.image(&[], &[ZipEntry::stored("a", b"a"), damaged]);
    let error = place.images.ensure(&damaged, &|_| ()).unwrap_err();
    assert!(matches!(error, PackageError::Entry { .. }), "{error:?}");
    for image in [&lost, &damaged] {
        assert_eq!(place.engine.image(&place.images.tag(image).unwrap()).unwrap(), None);
    }
    let baseless = CodeImage { base: unique("none"), ..lost };
    assert!(matches!(
        place.images.ensure(&baseless, &|_| ()),
        Err(PackageError::BaseMissing { .. })
    ));
    assert_eq!(place.containers_with_label(), 0);
}

#[test]
fn unused_images_go_and_used_ones_stay() {
    let Some(mut place) = Place::new() else { return };
    let [live, busy, unused] = [b"1", b"2", b"3"].map(|data| {
        let image = place.image(&[], &[ZipEntry::stored("f", data)]);
        place.images.ensure(&image, &|_| ()).unwrap().tag
    });
    let user = place.container(&unique("user"), &busy, BTreeMap::new());
    let live_tags = BTreeSet::from([live.clone()]);
    assert_eq!(place.images.remove_unused(&live_tags).unwrap(), 1);
    let there = |tag: &str| place.engine.image(tag).unwrap().is_some();
    assert_eq!([there(&live), there(&busy), there(&unused)], [true, true, false]);
    // The container of a finished image is no leftover, though it inherits the label.
    let labels = [(LABEL.to_owned(), place.owner.clone())];
    let name = format!("lambda-runtime-api-server-code-{}", unique("left"));
    let base = place.base.clone();
    let left = place.container(&name, &base, labels.into());
    assert_eq!(place.images.remove_leftovers().unwrap(), 1);
    assert_eq!(place.engine.container(&left).unwrap(), None);
    assert!(place.engine.container(&user).unwrap().is_some());
}

/// The Engine names an image after it has made it: until then it looks like one that is left over.
#[test]
fn an_image_that_is_being_made_is_not_taken_for_a_leftover() {
    let Some(place) = Place::new() else { return };
    let images: Vec<CodeImage> = (0..8)
        .map(|n| place.image(&[], &[ZipEntry::stored("f", format!("made {n}").as_bytes())]))
        .collect();
    let live = images.iter().map(|image| place.images.tag(image).unwrap()).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(place.images.remove_unused(&live).unwrap(), 0);
            }
        });
        let made: Vec<_> = images.iter().map(|one| place.images.ensure(one, &|_| ())).collect();
        done.store(true, Ordering::Relaxed);
        collector.join().unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    });
}
