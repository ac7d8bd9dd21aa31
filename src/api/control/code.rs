//! The code and the layers of a request, taken in: the one place where packages come from.

use std::sync::Arc;

use super::Call;
use crate::access::{self, Caller, Peer, Surface, Verdict};
use crate::api::Api;
use crate::api::create_function::Accept;
use crate::api::error::AwsError;
use crate::api::functions::invalid;
use crate::api::new_code::NewCode;
use crate::function::layers::LayerCode;
use crate::function::model::{Architecture, Code, Function, LayerUse};
use crate::package::s3::Object;
use crate::package::{Archive, Digest, Limits, PackageError, elf};

/// Takes what a request brings for this service.
pub(super) struct Accepted<'a> {
    pub(super) api: &'a Arc<Api>,
    pub(super) call: &'a Call,
}

impl Accept for Accepted<'_> {
    fn code(&self, code: NewCode) -> Result<Code, AwsError> {
        accept_code(self.api, self.call, code)
    }

    fn layers(&self, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
        accept_layers(self.api, arns)
    }
}

fn accept_code(api: &Api, call: &Call, code: NewCode) -> Result<Code, AwsError> {
    let zip = match code {
        NewCode::Image(uri) => return Ok(Code::Image { uri, resolved_uri: None }),
        NewCode::Zip(zip) => zip,
        NewCode::S3 { bucket, key, version } => {
            fetch(api, &call.region, &bucket, &key, version.as_deref())?
        }
        NewCode::Directory(path) => return directory(api, call, &path),
    };
    let digest = keep(api, &zip)?;
    Ok(Code::Zip { sha256_hex: digest.to_string(), size: zip.len() as u64 })
}

/// A directory of this host that may be mounted, for a caller who may have it mounted.
fn directory(api: &Api, call: &Call, path: &str) -> Result<Code, AwsError> {
    let (peer, local) = (api.peer(call.peer), call.peer.is_loopback());
    let caller = if peer == Peer::Loopback { Caller::Loopback } else { Caller::Signed };
    let allowed = match access::verdict(caller, Surface::HostFiles) {
        Verdict::Allowed => true,
        Verdict::IfLocal => local && peer != Peer::Proxy,
        _ => false,
    };
    if !allowed {
        return Err(AwsError::new(403, "AccessDeniedException", access::NOT_LOCAL));
    }
    let path = api.directories.resolve(path).map_err(|error| invalid(error.to_string()))?;
    Ok(Code::Directory { path })
}

/// The bucket of the packages that are stored here, by their SHA-256: those that were `PUT` to
/// `/packages/SHA256`, whatever their size. S3 allows no bucket this name.
pub(super) const STORED: &str = "_packages";

/// A package from the configured S3 endpoint, or a stored one.
pub(super) fn fetch(
    api: &Api,
    region: &str,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Vec<u8>, AwsError> {
    if bucket == STORED {
        let stored = Digest::from_hex(key).and_then(|digest| api.files.read(&digest).ok());
        return stored.ok_or_else(|| invalid(format!("There is no stored package {key}.")));
    }
    let object = Object { bucket, key, version };
    Ok(api.s3.get(region, &object, Limits::FETCHED.zipped_bytes)?)
}

/// Checks a zip package and keeps it by its content. What came inside a request was smaller than
/// what may come from S3 before it was decoded.
pub(super) fn keep(api: &Api, zip: &[u8]) -> Result<Digest, AwsError> {
    let archive = Archive::check(zip, &Limits::FETCHED).map_err(refused)?;
    if let Some(head) = archive.bootstrap_head() {
        let host = match api.settings.architecture {
            Architecture::X86_64 => elf::Architecture::X86_64,
            Architecture::Arm64 => elf::Architecture::Arm64,
        };
        elf::check_program("bootstrap", &head, host).map_err(refused)?;
    }
    api.files.put(zip).map_err(refused)
}

fn refused(error: PackageError) -> AwsError {
    let (status, error_type) = error.aws();
    AwsError::new(status, error_type, error.to_string()).because(error.cause())
}

/// The layer versions that these ARNs name.
fn accept_layers(api: &Api, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
    let mut layers = Vec::new();
    for arn in arns {
        let missing = || invalid(format!("Layer version {arn} does not exist."));
        // `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION`, whose form was checked before.
        let parts: Vec<&str> = arn.split(':').collect();
        let &[_, _, _, region, account, _, name, version] = parts.as_slice() else {
            return Err(missing());
        };
        let version = version.parse().map_err(|_| missing())?;
        if account != api.settings.account_id {
            let message = format!(
                "User: arn:aws:iam::{}:root is not authorized to perform: lambda:GetLayerVersion on \
                 resource: {arn} because no resource-based policy allows the \
                 lambda:GetLayerVersion action",
                api.settings.account_id
            );
            return Err(AwsError::new(403, "AccessDeniedException", message));
        }
        let found = api.registry.layer_version(region, name, version)?.ok_or_else(missing)?;
        let LayerCode { sha256_hex, size } = found.details.code;
        layers.push(LayerUse { arn: arn.clone(), sha256_hex, size });
    }
    Ok(layers)
}

/// Lambda's limit on a function's code and its layers together.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) fn check_together(api: &Api, function: &Function) -> Result<(), AwsError> {
    if function.layers.is_empty() {
        return Ok(()); // the code alone was checked when it came
    }
    let code = match &function.code {
        Code::Zip { sha256_hex, .. } => Some(sha256_hex),
        Code::Image { .. } | Code::Directory { .. } => None,
    };
    let mut bytes = 0;
    for hex in function.layers.iter().map(|layer| &layer.sha256_hex).chain(code) {
        let digest = Digest::from_hex(hex).ok_or_else(|| AwsError::service("a bad digest"))?;
        let zip = api.files.read(&digest).map_err(refused)?;
        bytes += Archive::parse(&zip, &Limits::FETCHED).map_err(refused)?.unzipped_bytes();
    }
    let most = Limits::FETCHED.unzipped_bytes;
    if bytes > most {
        return Err(invalid(format!(
            "Function code combined with layers exceeds the maximum allowed size of {most} bytes. \
             The actual size is {bytes} bytes."
        )));
    }
    Ok(())
}
