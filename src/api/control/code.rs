//! The code and the layers of a request, taken in: the one place where packages come from.

use std::sync::Arc;

use crate::api::Api;
use crate::api::create_function::Accept;
use crate::api::error::AwsError;
use crate::api::functions::invalid;
use crate::api::new_code::NewCode;
use crate::function::model::{Architecture, Code, LayerUse};
use crate::package::s3::Object;
use crate::package::{Archive, Limits, PackageError, elf};

/// Takes what a request brings for this service.
pub(super) struct Accepted<'a> {
    pub(super) api: &'a Arc<Api>,
    pub(super) region: &'a str,
}

impl Accept for Accepted<'_> {
    fn code(&self, code: NewCode) -> Result<Code, AwsError> {
        accept_code(self.api, self.region, code)
    }

    fn layers(&self, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
        accept_layers(self.api, arns)
    }
}

fn accept_code(api: &Arc<Api>, region: &str, code: NewCode) -> Result<Code, AwsError> {
    match code {
        NewCode::Image(uri) => Ok(Code::Image { uri, resolved_uri: None }),
        NewCode::Zip(zip) => keep(api, &zip, &Limits::INLINE),
        NewCode::S3 { bucket, key, version } => {
            let object = Object { bucket: &bucket, key: &key, version: version.as_deref() };
            let limits = Limits::FETCHED;
            keep(api, &api.s3.get(region, &object, limits.zipped_bytes)?, &limits)
        }
    }
}

/// Checks a zip package and keeps it by its content.
fn keep(api: &Arc<Api>, zip: &[u8], limits: &Limits) -> Result<Code, AwsError> {
    let archive = Archive::check(zip, limits).map_err(refused)?;
    if let Some(head) = archive.bootstrap_head() {
        let host = match api.settings.architecture {
            Architecture::X86_64 => elf::Architecture::X86_64,
            Architecture::Arm64 => elf::Architecture::Arm64,
        };
        elf::check_program("bootstrap", &head, host).map_err(refused)?;
    }
    let digest = api.files.put(zip).map_err(refused)?;
    Ok(Code::Zip { sha256_hex: digest.to_string(), size: zip.len() as u64 })
}

fn refused(error: PackageError) -> AwsError {
    let (status, error_type) = error.aws();
    AwsError::new(status, error_type, error.to_string()).because(error.cause())
}

fn accept_layers(_api: &Arc<Api>, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
    match arns.first() {
        None => Ok(Vec::new()),
        Some(arn) => Err(invalid(format!("Layer version {arn} does not exist."))),
    }
}
