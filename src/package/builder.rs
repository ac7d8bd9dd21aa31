//! Which images a function's package is made of: its runtime's, its layers, its code.

use super::digest::Digest;
use super::error::PackageError;
use super::image::{CodeImage, CodeImages};
use crate::config::Runtimes;
use crate::docker::{Engine, Image};
use crate::function::model::{Code, Function};

/// Makes the images of zip packages. See the module's text.
#[derive(Debug)]
pub struct Builder {
    engine: Engine,
    images: CodeImages,
    runtimes: Runtimes,
}

impl Builder {
    pub fn new(engine: Engine, images: CodeImages, runtimes: Runtimes) -> Builder {
        Builder { engine, images, runtimes }
    }

    /// The image of the function's runtime, by name. None when the runtime has none here.
    pub fn base(&self, function: &Function) -> Option<&str> {
        self.runtimes.image(function.runtime.as_deref()?)
    }

    /// The image of a zip function, which is built unless the Engine has it. Blocks.
    pub fn ensure(&self, function: &Function) -> Result<Image, PackageError> {
        let image = self.code_image(function)?;
        let ensured = self.images.ensure(&image)?;
        if ensured.built {
            log::info!("built image {} for function {}", ensured.tag, function.name);
        }
        let found = self.engine.image(&ensured.tag)?;
        found.ok_or(PackageError::BaseMissing { image: ensured.tag })
    }

    fn code_image(&self, function: &Function) -> Result<CodeImage, PackageError> {
        let runtime = || function.runtime.clone().unwrap_or_default();
        let Code::Zip { sha256_hex, .. } = &function.code else {
            return Err(PackageError::BaseMissing { image: function.name.clone() });
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
            code: digest(sha256_hex)?,
        })
    }
}

fn digest(hex: &str) -> Result<Digest, PackageError> {
    Digest::from_hex(hex)
        .ok_or_else(|| PackageError::Unreadable { cause: format!("digest {hex:?} in the store") })
}
