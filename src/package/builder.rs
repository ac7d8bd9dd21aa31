//! Which images a function's package is made of: its runtime's, its layers, its code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::digest::Digest;
use super::error::PackageError;
use super::files::Files;
use super::image::{CodeImage, CodeImages, Told};
use crate::config::Runtimes;
use crate::docker::{Engine, Image};
use crate::function::model::{Code, Function};

/// How long a package is kept that no function names.
const YOUNG: Duration = Duration::from_secs(3600);

/// Makes the images of zip packages. See the module's text.
#[derive(Debug)]
pub struct Builder {
    engine: Engine,
    images: CodeImages,
    files: Files,
    runtimes: Runtimes,
}

impl Builder {
    /// `owner` tells this service's images from those of another one on the same Engine.
    pub fn new(engine: Engine, files: Files, owner: &str, runtimes: Runtimes) -> Builder {
        let images = CodeImages::new(engine.clone(), files.clone(), owner);
        Builder { engine, images, files, runtimes }
    }

    /// Removes what a crash has left while an image was made. For the service's start.
    pub fn remove_leftovers(&self) -> Result<(), PackageError> {
        let left = self.images.remove_leftovers()?;
        if left > 0 {
            log::warn!("removed {left} containers that an earlier run has left half made");
        }
        Ok(())
    }

    /// The image of the function's runtime, by name. None when the runtime has none here.
    pub fn base(&self, function: &Function) -> Option<&str> {
        self.runtimes.image(function.runtime.as_deref()?)
    }

    /// The image of a zip function, or below a mounted directory, which is built unless the Engine
    /// has it. Blocks, and tells how far it is.
    pub fn ensure(&self, function: &Function, told: Told<'_>) -> Result<Image, PackageError> {
        let image = self.code_image(function)?;
        let ensured = self.images.ensure(&image, told)?;
        if ensured.built {
            log::info!("built image {} for function {}", ensured.tag, function.name);
        }
        let found = self.engine.image(&ensured.tag)?;
        found.ok_or(PackageError::BaseMissing { image: ensured.tag })
    }

    /// Removes the images and packages that none of `functions` and of `layers` (by SHA-256) is made
    /// of. A package that was kept a moment ago stays: its function may not be stored yet.
    pub fn collect(
        &self,
        functions: &[Arc<Function>],
        layers: &[String],
    ) -> Result<(), PackageError> {
        let (mut tags, mut packages) = (BTreeSet::new(), BTreeSet::new());
        for hex in layers {
            packages.insert(digest(hex)?);
        }
        for function in functions.iter().filter(|f| !matches!(f.code, Code::Image { .. })) {
            let image = self.code_image(function)?;
            packages.extend(image.layers.iter().chain(&image.code));
            // Without its base the tag is not known, so nothing is removed then.
            tags.insert(self.images.tag(&image)?);
        }
        let images = self.images.remove_unused(&tags)?;
        let files = self.files.remove_except(&packages, YOUNG)?;
        if images + files > 0 {
            log::info!("removed {images} images and {files} packages that no function uses");
        }
        Ok(())
    }

    fn code_image(&self, function: &Function) -> Result<CodeImage, PackageError> {
        let runtime = || function.runtime.clone().unwrap_or_default();
        let code = match &function.code {
            Code::Zip { sha256_hex, .. } => Some(digest(sha256_hex)?),
            Code::Directory { .. } => None,
            Code::Image { uri, .. } => {
                return Err(PackageError::BaseMissing { image: uri.clone() });
            }
        };
        let base = self.base(function);
        let base = base.ok_or_else(|| PackageError::BaseMissing { image: runtime() })?;
        Ok(CodeImage {
            base: base.to_owned(),
            layers: function
                .layers
                .iter()
                .map(|l| digest(&l.sha256_hex))
                .collect::<Result<_, _>>()?,
            code,
        })
    }
}

fn digest(hex: &str) -> Result<Digest, PackageError> {
    Digest::from_hex(hex)
        .ok_or_else(|| PackageError::Unreadable { cause: format!("digest {hex:?} in the store") })
}
