//! A function's way from Pending to Active: its image is found, pulled or built.
//!
//! What takes long runs on threads of its own, and the function's state says how far it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::builder::Builder;
use super::elf;
use super::error::PackageError;
use crate::docker::{Engine, EngineError, Image};
use crate::function::model::{Code, Function};
use crate::function::registry::Registry;
use crate::function::state::{Prepared, ReasonCode, Step};

/// Images that are pulled or built at the same time.
const WORKERS: usize = 2;
/// Functions that wait for their image; more are refused with a reason.
const MAX_WAITING: usize = 1024;
/// How long after a deletion its image is removed.
const COLLECT_AFTER: Duration = Duration::from_secs(3);
/// How often a function's state tells of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// Prepares functions. See the module's text.
#[derive(Debug, Clone)]
pub struct Packages {
    shop: Arc<Shop>,
    jobs: Sender<(Arc<Registry>, Arc<Function>)>,
    /// At most one waits: it will see what all callers before it have seen.
    collections: Sender<Arc<Registry>>,
}

/// What the threads work with.
#[derive(Debug)]
struct Shop {
    engine: Engine,
    builder: Arc<Builder>,
    may_pull: bool,
}

impl Packages {
    /// Starts the threads that pull and build, which end with the program.
    pub fn start(
        engine: Engine,
        builder: Arc<Builder>,
        may_pull: bool,
    ) -> std::io::Result<Packages> {
        let shop = Arc::new(Shop { engine, builder, may_pull });
        let (jobs, waiting) = crossbeam_channel::bounded(MAX_WAITING);
        for index in 0..WORKERS {
            let (shop, waiting) = (shop.clone(), waiting.clone());
            std::thread::Builder::new()
                .name(format!("packages-{index}"))
                .spawn(move || shop.work(&waiting))?;
        }
        let (collections, asked) = crossbeam_channel::bounded::<Arc<Registry>>(1);
        let collector = shop.clone();
        std::thread::Builder::new()
            .name("collector".into())
            .spawn(move || asked.iter().for_each(|registry| collector.collect(&registry)))?;
        Ok(Packages { shop, jobs, collections })
    }

    /// Takes up the functions that an earlier run of the service has left Pending.
    pub fn resume(&self, registry: &Arc<Registry>) {
        for function in registry.all() {
            if function.is_unprepared() {
                self.prepare(registry, &function);
            }
        }
    }

    /// Removes the images and packages that nothing uses any more, in the background.
    pub fn collect(&self, registry: &Arc<Registry>) {
        // Full: one is about to begin, which is what was wanted.
        let _ = self.collections.try_send(registry.clone());
    }

    /// Makes a function ready: at once when its image is there, in the background when it has to
    /// be pulled or built. Blocks for an Engine call and a commit.
    pub fn prepare(&self, registry: &Arc<Registry>, function: &Arc<Function>) {
        match self.shop.present(function) {
            Ok(Some(image)) => set(registry, function, &ready(function, &image)),
            Ok(None) => {
                let waiting = match &function.code {
                    Code::Image { uri, .. } => format!("Waiting for image {uri} to be pulled."),
                    Code::Zip { .. } | Code::Directory { .. } => {
                        "Waiting for the package's image to be built.".to_owned()
                    }
                };
                set(registry, function, &Step::Progress(waiting));
                if self.jobs.try_send((registry.clone(), function.clone())).is_err() {
                    let reason = "Too many functions wait for their images; try again later.";
                    set(registry, function, &fail(ReasonCode::InternalError, reason.to_owned()));
                }
            }
            Err(step) => set(registry, function, &step),
        }
    }
}

impl Shop {
    /// The function's image if it is there and nothing has to be done; the end of the preparation
    /// if it cannot be had at all.
    fn present(&self, function: &Function) -> Result<Option<Image>, Step> {
        // After a change of the configuration alone the image stays, wherever its tag is now.
        let known = function.image_reference();
        let name = match (&function.code, &known) {
            (_, Some(reference)) => reference,
            (Code::Image { uri, .. }, None) => uri,
            (Code::Zip { .. } | Code::Directory { .. }, None) => return Ok(None),
        };
        match (self.engine.image(name), &function.code) {
            (Ok(None), Code::Image { uri, .. }) if !self.may_pull => {
                let what_to_do = format!(
                    "Build it (docker build -t {uri} .) or load it (docker load -i FILE), then run \
                     aws lambda update-function-code --function-name {} --image-uri {uri}",
                    function.name
                );
                Err(absent(uri, &what_to_do))
            }
            (Ok(found), _) => Ok(found),
            (Err(error), _) => Err(failed(name, &error)),
        }
    }

    fn work(&self, waiting: &Receiver<(Arc<Registry>, Arc<Function>)>) {
        for (registry, function) in waiting {
            let step = self.finish(&registry, &function);
            set(&registry, &function, &step);
        }
    }

    fn finish(&self, registry: &Registry, function: &Arc<Function>) -> Step {
        match &function.code {
            Code::Image { uri, .. } => match self.pull(uri, registry, function) {
                Ok(image) => ready(function, &image),
                Err(step) => step,
            },
            Code::Zip { .. } | Code::Directory { .. } => self.build(registry, function),
        }
    }

    fn collect(&self, registry: &Registry) {
        // The containers of what was just deleted hold its image for a moment.
        std::thread::sleep(COLLECT_AFTER);
        let collected = registry.layer_packages().map_err(|error| error.to_string());
        let collected = collected.and_then(|layers| {
            let functions = registry.every_version();
            self.builder.collect(&functions, &layers).map_err(|e| format!("{e} {}", e.cause()))
        });
        if let Err(error) = collected {
            log::warn!("unused images and packages stay for now: {error}");
        }
    }

    /// The image of a zip package, on top of its runtime's, which is pulled if need be.
    fn build(&self, registry: &Registry, function: &Arc<Function>) -> Step {
        let runtime = function.runtime.as_deref().unwrap_or_default();
        let Some(base) = self.builder.base(function) else {
            let reason = format!(
                "Runtime {runtime} has no image. Name one in the section [runtimes] of config.toml."
            );
            return fail(ReasonCode::InvalidConfiguration, reason);
        };
        match self.engine.image(base) {
            Ok(Some(_)) => {}
            Ok(None) if self.may_pull => {
                if let Err(step) = self.pull(base, registry, function) {
                    return step;
                }
            }
            Ok(None) => return absent(base, &runtime_command(runtime, base)),
            Err(error) => return failed(base, &error),
        }
        set(registry, function, &Step::Progress("Building the package's image.".to_owned()));
        let told = |far: String| set(registry, function, &Step::Progress(far));
        match self.builder.ensure(function, &told) {
            Ok(image) => ready(function, &image),
            Err(error) => {
                log::error!("function {}: {error} {}", function.name, error.cause());
                fail(reason_code(&error), format!("{error} {}", error.cause()))
            }
        }
    }

    fn pull(
        &self,
        name: &str,
        registry: &Registry,
        function: &Arc<Function>,
    ) -> Result<Image, Step> {
        set(registry, function, &Step::Progress(format!("Pulling image {name}.")));
        let mut told = Instant::now();
        let mut progress = |line: &str| {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let line: String = line.chars().take(200).collect();
                set(registry, function, &Step::Progress(format!("Pulling image {name}: {line}")));
            }
        };
        match self.engine.pull_image(name, &mut progress).and_then(|()| self.engine.image(name)) {
            Ok(Some(image)) => Ok(image),
            Ok(None) => {
                let reason =
                    format!("Image {name} was pulled and is not on the Engine all the same.");
                Err(fail(ReasonCode::InvalidImage, reason))
            }
            Err(error) => Err(failed(name, &error)),
        }
    }
}

fn absent(name: &str, what_to_do: &str) -> Step {
    let reason = format!(
        "Image {name} is not on this host's Engine and docker.pull_policy is never. {what_to_do}"
    );
    fail(ReasonCode::ImageAccessDenied, reason)
}

/// What to do about a runtime's image that is not there: the script where it can make one.
fn runtime_command(runtime: &str, image: &str) -> String {
    let makes = match runtime {
        "provided.al2" => Some("provided.al2023"),
        "nodejs22.x" | "nodejs24.x" | "provided.al2023" => Some(runtime),
        _ => runtime.starts_with("python3.").then_some(runtime),
    };
    let command = match makes {
        Some(makes) => format!(
            "Run scripts/build-runtime-image.sh {makes}, name what it makes as \"{runtime}\" in the \
             section [runtimes] of config.toml and restart the service;"
        ),
        None => format!("Run docker pull {image} or docker load -i FILE;"),
    };
    format!("It is the image of runtime {runtime}. {command} then update the function's code.")
}

fn reason_code(error: &PackageError) -> ReasonCode {
    match error.aws() {
        (400, _) => ReasonCode::InvalidConfiguration,
        _ => ReasonCode::InternalError,
    }
}

/// The end of a preparation: the image is there, and this host can run it.
fn ready(function: &Function, image: &Image) -> Step {
    if let Some(host) = elf::Architecture::parse(std::env::consts::ARCH)
        && let Err(error) = elf::check_image(&function.name, &image.architecture, host)
    {
        return fail(ReasonCode::InvalidImage, error.to_string());
    }
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    Step::Ready(Prepared {
        image_id: id.to_owned(),
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
    match (registry.set_state(function, step), step) {
        (Ok(_), Step::Progress(far)) => log::info!("function {name}: {far:?}"),
        (Ok(now), _) => log::info!("function {name} is {}", now.state.name()),
        (Err(error), _) => log::warn!("function {name} could not become {}: {error}", step.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::model::tests::sample;

    #[test]
    fn the_script_is_named_for_what_it_can_make() {
        for (runtime, command) in [
            ("python3.12", "scripts/build-runtime-image.sh python3.12,"),
            ("provided.al2", "scripts/build-runtime-image.sh provided.al2023,"),
            ("java21", "docker pull aws/image:1 "),
            ("nodejs20.x", "docker pull aws/image:1 "),
        ] {
            let text = runtime_command(runtime, "aws/image:1");
            assert!(text.contains(command) && text.contains(runtime), "{text}");
        }
    }

    #[test]
    fn an_image_for_another_machine_fails_and_says_so() {
        let other = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
        let image = |architecture: &str| Image {
            id: "sha256:ab".to_owned(),
            architecture: architecture.to_owned(),
            ..Image::default()
        };
        let function = sample("f");
        match ready(&function, &image(other)) {
            Step::Fail { code: ReasonCode::InvalidImage, reason } => {
                assert!(reason.contains(other), "{reason}");
            }
            step => panic!("{step:?}"),
        }
        assert!(matches!(ready(&function, &image(std::env::consts::ARCH)), Step::Ready(_)));
        assert!(matches!(ready(&function, &image("")), Step::Ready(_)));
    }
}
