//! The code that a request brings: an image, a package, or where a package or its files are.
//!
//! It only sorts the members and checks their form; nothing is fetched, unpacked or stored here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::AwsError;
use super::functions::invalid;
use super::rules::{length, matching};
use super::shapes::FunctionCode;
use crate::function::violation::Violations;

/// The largest zip package inside a request.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const ZIP_MAX_BYTES: usize = 52_428_800;
const IMAGE_URI_MAX: usize = 1_024;
const BUCKET_PATTERN: &str = r"[0-9A-Za-z\.\-_]*(?<!\.)";

/// Code as a request names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NewCode {
    Image(String),
    Zip(Vec<u8>),
    S3 {
        bucket: String,
        key: String,
        version: Option<String>,
    },
    /// A directory of this host by its path, whatever that may be.
    Directory(String),
}

/// The bucket that stands for this host's directories, as in LocalStack.
pub(super) const HOT_RELOAD: &str = "hot-reload";

/// The model's constraints on the members.
pub(super) fn check_model(code: &FunctionCode, field: &str, found: &mut Violations) {
    let bucket = code.s3_bucket.as_deref();
    length(found, &format!("{field}s3Bucket"), bucket, 3, 63);
    matching(found, &format!("{field}s3Bucket"), bucket, BUCKET_PATTERN, |bucket| {
        bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
            && !bucket.ends_with('.')
    });
    length(found, &format!("{field}s3Key"), code.s3_key.as_deref(), 1, 1_024);
    length(found, &format!("{field}s3ObjectVersion"), code.s3_object_version.as_deref(), 1, 1_024);
}

/// The image of a function whose package is one.
pub(super) fn image(code: FunctionCode) -> Result<NewCode, AwsError> {
    if code.zip_file.is_some()
        || code.s3_bucket.is_some()
        || code.s3_key.is_some()
        || code.s3_object_version.is_some()
        || code.s3_object_storage_mode.is_some()
        || code.source_kms_key_arn.is_some()
    {
        return Err(invalid(
            "Please provide only ImageUri as the source for function code when the intended \
             function PackageType is Image.",
        ));
    }
    match code.image_uri {
        None => Err(no_source()),
        Some(uri) if uri.is_empty() => Err(no_source()),
        Some(uri) if !is_image(&uri) => {
            Err(invalid(format!("Source image {uri} is not valid. Provide a valid source image.")))
        }
        Some(uri) => Ok(NewCode::Image(uri)),
    }
}

/// The package of a function that has one, or where it is.
pub(super) fn zip(code: FunctionCode) -> Result<NewCode, AwsError> {
    if code.source_kms_key_arn.is_some() {
        return Err(invalid("SourceKMSKeyArn is not supported by this service."));
    }
    if code.s3_object_storage_mode.is_some() {
        return Err(invalid("S3ObjectStorageMode is not supported by this service."));
    }
    let s3 = code.s3_bucket.is_some() || code.s3_key.is_some() || code.s3_object_version.is_some();
    match (code.zip_file, code.image_uri) {
        (_, Some(_)) => Err(invalid(
            "Please don't provide ImageUri when the intended function PackageType is Zip.",
        )),
        (Some(_), None) if s3 => Err(invalid(
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        )),
        (Some(text), None) => decode(&text).map(NewCode::Zip),
        (None, None) => match (code.s3_bucket, code.s3_key) {
            (Some(bucket), Some(_)) if bucket == HOT_RELOAD && code.s3_object_version.is_some() => {
                Err(invalid("Please don't provide S3ObjectVersion with S3Bucket hot-reload."))
            }
            (Some(bucket), Some(key)) if bucket == HOT_RELOAD => Ok(NewCode::Directory(key)),
            (Some(bucket), Some(key)) => {
                Ok(NewCode::S3 { bucket, key, version: code.s3_object_version })
            }
            _ => Err(no_source()),
        },
    }
}

fn no_source() -> AwsError {
    invalid("Please provide a source for function code.")
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, AwsError> {
    // The size is known before anything is decoded: four characters are three bytes.
    if text.len() / 4 * 3 > ZIP_MAX_BYTES + 2 {
        return Err(too_large());
    }
    let bytes = STANDARD.decode(text).map_err(|error| {
        AwsError::new(400, "SerializationException", format!("ZipFile is not base64: {error}"))
    })?;
    if bytes.len() > ZIP_MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> AwsError {
    let message = format!("Zipped size must be smaller than {ZIP_MAX_BYTES} bytes");
    AwsError::new(413, "RequestEntityTooLargeException", message)
}

/// An image reference by its form: components that start with a letter or digit, so none is `..`,
/// and no byte that means something in the path of an Engine call.
fn is_image(uri: &str) -> bool {
    uri.len() <= IMAGE_URI_MAX
        && uri.split('/').all(|component| {
            component.starts_with(|c: char| c.is_ascii_alphanumeric())
                && component.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(json: serde_json::Value) -> FunctionCode {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_source_is_found() {
        let zipped = zip(code(serde_json::json!({"ZipFile": "UEs="}))).unwrap();
        assert_eq!(zipped, NewCode::Zip(b"PK".to_vec()));
        let s3 = serde_json::json!({"S3Bucket": "bkt", "S3Key": "k", "S3ObjectVersion": "v"});
        let version = Some("v".to_owned());
        let expected = NewCode::S3 { bucket: "bkt".to_owned(), key: "k".to_owned(), version };
        assert_eq!(zip(code(s3)).unwrap(), expected);
        let here = zip(code(serde_json::json!({"S3Bucket": "hot-reload", "S3Key": "/d"}))).unwrap();
        assert_eq!(here, NewCode::Directory("/d".to_owned()));
        let found = image(code(serde_json::json!({"ImageUri": "i:1"}))).unwrap();
        assert_eq!(found, NewCode::Image("i:1".to_owned()));
    }

    #[test]
    fn sources_that_contradict_each_other_or_are_missing_are_refused() {
        let refused = |json| zip(code(json)).unwrap_err().message.clone();
        let source = "Please provide a source for function code.";
        assert_eq!(refused(serde_json::json!({})), source);
        assert_eq!(refused(serde_json::json!({"S3Bucket": "bkt"})), source);
        assert!(refused(serde_json::json!({"ZipFile": "", "S3Key": "k"})).contains("other Func"));
        assert!(refused(serde_json::json!({"ImageUri": "i"})).contains("don't provide ImageUri"));
        let version =
            serde_json::json!({"S3Bucket": "hot-reload", "S3Key": "/d", "S3ObjectVersion": "v"});
        assert!(refused(version).contains("S3ObjectVersion"));
        assert!(refused(serde_json::json!({"ZipFile": "%"})).contains("not base64"));
    }

    #[test]
    fn a_package_has_fifty_mebibytes_at_most() {
        let encoded = |bytes: usize| STANDARD.encode(vec![0; bytes]);
        assert_eq!(decode(&encoded(ZIP_MAX_BYTES)).unwrap().len(), ZIP_MAX_BYTES);
        for bytes in [ZIP_MAX_BYTES + 1, ZIP_MAX_BYTES + 9] {
            let error = decode(&encoded(bytes)).unwrap_err();
            assert_eq!((error.status, error.error_type), (413, "RequestEntityTooLargeException"));
        }
    }

    #[test]
    fn a_bucket_fits_the_model() {
        let mut found = Violations::default();
        check_model(&code(serde_json::json!({"S3Bucket": "b.", "S3Key": ""})), "", &mut found);
        let text = found.into_result().unwrap_err().to_string();
        assert!(
            text.starts_with("3 validation errors detected: Value 'b.' at 's3Bucket'"),
            "{text}"
        );
    }
}
