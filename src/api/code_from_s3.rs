//! What a caller is told whose code could not be had from S3: AWS's types, and the texts of
//! [`S3Error`], which are AWS's own wherever AWS has one.

use super::error::AwsError;
use crate::package::s3::S3Error;

impl From<S3Error> for AwsError {
    fn from(error: S3Error) -> AwsError {
        // Where the endpoint cannot be asked, the caller can do as much as with a wrong name:
        // a 500 would make every SDK try again and show none of the reason.
        match error.is_denied() {
            true => AwsError::new(403, "AccessDeniedException", error.to_string()),
            false => AwsError::new(400, "InvalidParameterValueException", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_texts_are_awss() {
        let refused = |denied, code: &str, message: &str| {
            AwsError::from(S3Error::Refused {
                denied,
                object: "b/k.zip".to_owned(),
                code: code.to_owned(),
                message: message.to_owned(),
            })
        };
        let missing = refused(false, "NoSuchBucket", "The specified bucket does not exist");
        assert_eq!((missing.status, missing.error_type), (400, "InvalidParameterValueException"));
        assert_eq!(
            missing.message,
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The \
             specified bucket does not exist"
        );
        let denied = refused(true, "AccessDenied", "Access Denied");
        assert_eq!((denied.status, denied.error_type), (403, "AccessDeniedException"));
        assert_eq!(
            denied.message,
            "Your access has been denied by S3, please make sure your request credentials have \
             permission to GetObject for b/k.zip. S3 Error Code: AccessDenied. S3 Error Message: \
             Access Denied"
        );
        assert_eq!(AwsError::from(S3Error::NoEndpoint).status, 400);
    }
}
