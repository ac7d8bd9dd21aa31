//! The code and the layers of a request, taken in: the one place where packages come from.

use std::sync::Arc;

use crate::api::Api;
use crate::api::create_function::Accept;
use crate::api::error::AwsError;
use crate::api::functions::invalid;
use crate::api::new_code::NewCode;
use crate::function::model::{Code, LayerUse};

/// Takes what a request brings for this service.
pub(super) struct Accepted<'a>(pub(super) &'a Arc<Api>);

impl Accept for Accepted<'_> {
    fn code(&self, code: NewCode) -> Result<Code, AwsError> {
        accept_code(self.0, code)
    }

    fn layers(&self, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
        accept_layers(self.0, arns)
    }
}

fn accept_code(_api: &Arc<Api>, code: NewCode) -> Result<Code, AwsError> {
    match code {
        NewCode::Image(uri) => Ok(Code::Image { uri, resolved_uri: None }),
        NewCode::Zip(_) | NewCode::S3 { .. } => Err(invalid(
            "This build of the service takes functions with PackageType Image only; zip packages \
             (ZipFile, S3Bucket, S3Key) are not supported.",
        )),
    }
}

fn accept_layers(_api: &Arc<Api>, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
    match arns.first() {
        None => Ok(Vec::new()),
        Some(arn) => Err(invalid(format!("Layer version {arn} does not exist."))),
    }
}
