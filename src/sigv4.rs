//! AWS Signature Version 4, as pure functions from a request to its signature
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//!
//! Each step has its own text (canonical request, string to sign, signature), as in AWS's test
//! suite. It does no I/O, reads no clock and does not know whose key it is given. The caller gives a
//! path that is already canonical: S3 encodes a path once, every other service twice.

use std::fmt::Write;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::observe::time::Civil;

/// The only algorithm: the asymmetric one is for several regions at once.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// RFC 3986 section 2.3: the unreserved characters stay, and nothing else does.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Where and when a signature is valid.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// As in `x-amz-date`: `20150830T123600Z`.
    pub timestamp: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl Scope<'_> {
    /// The credential scope: `20150830/us-east-1/s3/aws4_request`.
    pub fn credential(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date(), self.region, self.service)
    }

    fn date(&self) -> &str {
        self.timestamp.get(..8).unwrap_or(self.timestamp)
    }
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// Encoded as the service's rules want it; see [`encode_path`].
    pub path: &'a str,
    /// Decoded names and values, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// Names in any case and order.
    pub headers: &'a [(&'a str, &'a str)],
    /// [`hash`] of the body, or the word that stands for it in `x-amz-content-sha256`.
    pub payload_hash: &'a str,
}

impl Signed<'_> {
    /// The canonical request.
    pub fn canonical(&self) -> String {
        let mut headers = String::new();
        for (name, values) in self.merged() {
            let _ = writeln!(headers, "{name}:{}", values.join(","));
        }
        format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.method,
            self.path,
            encode_query(self.query),
            self.names(),
            self.payload_hash
        )
    }

    /// The names of the signed headers, as they stand in `Authorization`.
    pub fn names(&self) -> String {
        let names: Vec<String> = self.merged().into_iter().map(|(name, _)| name).collect();
        names.join(";")
    }

    pub fn string_to_sign(&self, scope: &Scope<'_>) -> String {
        let request = hash(self.canonical().as_bytes());
        format!("{ALGORITHM}\n{}\n{}\n{request}", scope.timestamp, scope.credential())
    }

    /// The signature, in hexadecimal digits.
    pub fn signature(&self, scope: &Scope<'_>, secret: &str) -> String {
        let key = signing_key(scope, secret);
        hex(&keyed(&key, self.string_to_sign(scope).as_bytes()))
    }

    /// Whether this is the signature, found out in a time that tells nothing of the right one.
    pub fn is_signature(&self, scope: &Scope<'_>, secret: &str, signature: &[u8; 32]) -> bool {
        let key = signing_key(scope, secret);
        let text = self.string_to_sign(scope);
        Hmac::<Sha256>::new_from_slice(&key)
            .is_ok_and(|mac| mac.chain_update(text.as_bytes()).verify_slice(signature).is_ok())
    }

    /// The value of the header `Authorization`.
    pub fn authorization(&self, scope: &Scope<'_>, key_id: &str, secret: &str) -> String {
        format!(
            "{ALGORITHM} Credential={key_id}/{}, SignedHeaders={}, Signature={}",
            scope.credential(),
            self.names(),
            self.signature(scope, secret)
        )
    }

    /// Lower-case names in order; values with single spaces inside and none around; the values of
    /// a name that comes more than once stay in the order of the request.
    fn merged(&self) -> Vec<(String, Vec<String>)> {
        let mut merged: Vec<(String, Vec<String>)> = Vec::new();
        for (name, value) in self.headers {
            let name = name.to_ascii_lowercase();
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => merged.push((name, vec![value])),
            }
        }
        merged.sort_unstable();
        merged
    }
}

/// A query as it is signed, and best sent: encoded, then in order.
pub fn encode_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> =
        query.iter().map(|(name, value)| (encode_part(name), encode_part(value))).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A single part of a path or query: everything encoded that is not unreserved.
pub fn encode_part(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A path with everything encoded but its slashes.
pub fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, RESERVED_IN_PATH).to_string()
}

/// SHA-256 in hexadecimal digits.
pub fn hash(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// A point in time as `x-amz-date` has it.
pub fn timestamp(time: SystemTime) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from(time);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Whether two secrets are the same, found out in a time that tells nothing of either.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let key = [0; 32];
    let tag = keyed(&key, one.as_bytes());
    Hmac::<Sha256>::new_from_slice(&key)
        .is_ok_and(|mac| mac.chain_update(other.as_bytes()).verify_slice(&tag).is_ok())
}

fn signing_key(scope: &Scope<'_>, secret: &str) -> [u8; 32] {
    let date = keyed(format!("AWS4{secret}").as_bytes(), scope.date().as_bytes());
    let region = keyed(&date, scope.region.as_bytes());
    let service = keyed(&region, scope.service.as_bytes());
    keyed(&service, b"aws4_request")
}

/// HMAC-SHA256.
pub(crate) fn keyed(key: &[u8], data: &[u8]) -> [u8; 32] {
    // A key of any length will do (RFC 2104 section 2); the type cannot say so.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(data).finalize().into_bytes().into())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// AWS's own examples: the published test suite of Signature Version 4, and those of S3's manual
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SUITE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const SUITE: Scope<'_> =
        Scope { timestamp: "20150830T123600Z", region: "us-east-1", service: "service" };
    const SUITE_HEADERS: &[(&str, &str)] =
        &[("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")];

    fn get<'a>(
        path: &'a str,
        query: &'a [(&'a str, &'a str)],
        headers: &'a [(&'a str, &'a str)],
    ) -> Signed<'a> {
        Signed { method: "GET", path, query, headers, payload_hash: EMPTY }
    }

    #[test]
    fn each_step_of_the_suites_vanilla_request() {
        let signed = get("/", &[], SUITE_HEADERS);
        assert_eq!(
            signed.canonical(),
            format!(
                "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n\
                 host;x-amz-date\n{EMPTY}"
            )
        );
        assert_eq!(
            signed.string_to_sign(&SUITE),
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n\
             bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63"
        );
        assert_eq!(
            signed.authorization(&SUITE, "AKIDEXAMPLE", SUITE_SECRET),
            "AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn the_suites_orders_encodings_and_spaces() {
        let sign = |signed: Signed<'_>| signed.signature(&SUITE, SUITE_SECRET);
        let query = [("Param2", "value2"), ("Param1", "value1")];
        assert_eq!(
            sign(get("/", &query, SUITE_HEADERS)),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
        assert_eq!(
            sign(get(&encode_path("/\u{1234}"), &[], SUITE_HEADERS)),
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"
        );
        let trimmed = [
            ("Host", "example.amazonaws.com"),
            ("My-Header1", " value1"),
            ("My-Header2", " \"a   b   c\""),
            ("X-Amz-Date", "20150830T123600Z"),
        ];
        assert_eq!(
            sign(get("/", &[], &trimmed)),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
        );
        let posted = Signed { method: "POST", ..get("/", &[], SUITE_HEADERS) };
        assert_eq!(
            sign(posted),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }

    #[test]
    fn repeated_headers_are_one() {
        let headers = [("B", " 2"), ("a", "x"), ("b", "1 "), ("A", "y  z")];
        let text = get("/", &[], &headers).canonical();
        assert!(text.starts_with("GET\n/\n\na:x,y z\nb:2,1\n\na;b\n"), "{text}");
    }

    #[test]
    fn the_examples_of_s3() {
        let scope = Scope { timestamp: "20130524T000000Z", region: "us-east-1", service: "s3" };
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let base = [
            ("Host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let ranged = [base[0], ("Range", "bytes=0-9"), base[1], base[2]];
        for (path, query, headers, signature) in [
            (
                "/test.txt",
                &[][..],
                &ranged[..],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/",
                &[("lifecycle", "")],
                &base[..],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "/",
                &[("max-keys", "2"), ("prefix", "J")],
                &base[..],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let signed = get(path, query, headers);
            assert_eq!(signed.signature(&scope, secret), signature, "{path} {query:?}");
        }
    }

    #[test]
    fn the_signing_key_of_the_manual() {
        let scope = Scope { timestamp: "20150830T123600Z", region: "us-east-1", service: "iam" };
        assert_eq!(
            hex(&signing_key(&scope, SUITE_SECRET)),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }

    #[test]
    fn a_timestamp_has_no_separators() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_440_938_160_999);
        assert_eq!(timestamp(time), "20150830T123600Z");
    }
}
