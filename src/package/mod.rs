//! Deployment packages: what a function's code is, made ready before its first invocation.
//!
//! A zip is checked by [`archive`], kept by its content in [`files`], and becomes an image on top
//! of its runtime's by [`image`]; [`builder`] knows which images belong together, and [`prepare`]
//! moves a function from Pending to Active. A function whose image is there is Active at once; else
//! it is Pending while the image is pulled or built, and its state says how far that is. [`s3`]
//! fetches packages. [`directory`] says which directories of this host may be code as they are.
//! Nothing here knows an HTTP surface.

mod archive;
#[cfg(test)]
mod archive_tests;
mod builder;
mod digest;
mod directory;
pub mod elf;
mod error;
mod files;
pub(crate) mod hosts;
mod image;
mod inflate;
mod path;
mod prepare;
pub mod s3;
#[cfg(test)]
mod zip_builder;

pub use archive::{Archive, Limits};
pub use builder::Builder;
pub use digest::Digest;
pub use directory::{Directories, DirectoryError};
pub use error::{PackageError, Problem};
pub use files::Files;
pub use image::{CodeImage, CodeImages, Ensured, Told};
pub use inflate::Damage;
pub use prepare::Packages;
