//! Deployment packages: what a function's code is, made ready before its first invocation.
//!
//! For now a package is an image that the Engine has or can pull. A function whose image is there
//! is Active at once; else it is Pending while the image is pulled, and its state says how far
//! that is. Knows no HTTP.

mod hosts;
pub mod s3;
mod archive;
#[cfg(test)]
mod archive_tests;
mod digest;
pub mod elf;
mod error;
mod files;
mod image;
mod inflate;
mod path;
#[cfg(test)]
mod zip_builder;

pub use archive::{Archive, Limits};
pub use digest::Digest;
pub use error::{PackageError, Problem};
pub use files::Files;
pub use image::{CodeImage, CodeImages, Ensured};
pub use inflate::Damage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::docker::{Engine, EngineError, Image};
use crate::function::model::{Code, Function};
use crate::function::registry::Registry;
use crate::function::state::{Prepared, ReasonCode, Step};

/// Images that are pulled at the same time.
const PULLERS: usize = 2;
/// Functions whose image waits to be pulled; more are refused with a reason.
const MAX_WAITING: usize = 1024;
/// How often a function's state tells of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// Prepares functions. See the module's text.
#[derive(Debug, Clone)]
pub struct Packages {
    engine: Engine,
    may_pull: bool,
    pulls: Sender<(Arc<Registry>, Arc<Function>)>,
}

impl Packages {
    /// Starts the threads that pull, which end with the program.
    pub fn start(engine: Engine, may_pull: bool) -> std::io::Result<Packages> {
        let (pulls, waiting) = crossbeam_channel::bounded(MAX_WAITING);
        for index in 0..PULLERS {
            let (engine, waiting) = (engine.clone(), waiting.clone());
            std::thread::Builder::new()
                .name(format!("puller-{index}"))
                .spawn(move || pull_all(&engine, &waiting))?;
        }
        Ok(Packages { engine, may_pull, pulls })
    }

    /// Takes up the functions that an earlier run of the service has left Pending.
    pub fn resume(&self, registry: &Arc<Registry>) {
        for function in registry.all() {
            if function.is_unprepared() {
                self.prepare(registry, &function);
            }
        }
    }

    /// Makes a function ready: at once when its image is there, in the background when it has to
    /// be pulled. Blocks for an Engine call and a commit.
    pub fn prepare(&self, registry: &Arc<Registry>, function: &Arc<Function>) {
        let Code::Image { uri, .. } = &function.code else {
            let reason = "This build of the service cannot prepare zip packages.".to_owned();
            return set(registry, function, &fail(ReasonCode::InvalidConfiguration, reason));
        };
        // After a change of the configuration alone the image stays, wherever its tag is now.
        let reference = function.image_reference();
        match self.engine.image(reference.as_deref().unwrap_or(uri)) {
            Ok(Some(image)) => set(registry, function, &ready(&image)),
            Ok(None) if self.may_pull => {
                set(registry, function, &Step::Progress(format!("Pulling image {uri}.")));
                if self.pulls.try_send((registry.clone(), function.clone())).is_err() {
                    let reason = "Too many images wait to be pulled; delete the function and \
                                  create it again later.";
                    set(registry, function, &fail(ReasonCode::InternalError, reason.to_owned()));
                }
            }
            Ok(None) => {
                let reason = format!(
                    "Image {uri} is not on this host's Engine and docker.pull_policy is never. \
                     Load it (docker load, docker build), then delete the function and create it \
                     again."
                );
                set(registry, function, &fail(ReasonCode::ImageAccessDenied, reason));
            }
            Err(error) => set(registry, function, &failed(uri, &error)),
        }
    }
}

fn pull_all(engine: &Engine, waiting: &Receiver<(Arc<Registry>, Arc<Function>)>) {
    for (registry, function) in waiting {
        let step = pull(engine, &registry, &function);
        set(&registry, &function, &step);
    }
}

fn pull(engine: &Engine, registry: &Registry, function: &Arc<Function>) -> Step {
    let Code::Image { uri, .. } = &function.code else {
        return fail(ReasonCode::InvalidConfiguration, "The code is no image.".to_owned());
    };
    log::info!("pulling image {uri} for function {}", function.name);
    let mut told = Instant::now();
    let mut progress = |line: &str| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let line: String = line.chars().take(200).collect();
            log::info!("pulling image {uri}: {line:?}");
            set(registry, function, &Step::Progress(format!("Pulling image {uri}: {line}")));
        }
    };
    match engine.pull_image(uri, &mut progress).and_then(|()| engine.image(uri)) {
        Ok(Some(image)) => ready(&image),
        Ok(None) => {
            let reason = format!("Image {uri} was pulled and is not on the Engine all the same.");
            fail(ReasonCode::InvalidImage, reason)
        }
        Err(error) => failed(uri, &error),
    }
}

fn ready(image: &Image) -> Step {
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    Step::Ready(Prepared {
        code_sha256: id.to_owned(),
        code_size: image.size_bytes,
        resolved_uri: image.repo_digests.first().cloned(),
    })
}

fn failed(uri: &str, error: &EngineError) -> Step {
    log::error!("image {uri} could not be had: {error}");
    let code = if error.is_unreachable() {
        ReasonCode::InternalError
    } else {
        ReasonCode::ImageAccessDenied
    };
    fail(code, format!("Image {uri} could not be had: {error}."))
}

fn fail(code: ReasonCode, reason: String) -> Step {
    Step::Fail { code, reason }
}

/// Moves the function's state, unless it was deleted meanwhile.
fn set(registry: &Registry, function: &Function, step: &Step) {
    let name = &function.name;
    match registry.set_state(function, step) {
        Ok(now) => log::info!("function {name} is {}", now.state.name()),
        Err(error) => log::warn!("function {name} could not become {}: {error}", step.name()),
    }
}
