//! Whose signature a request carries, and whether it is right: AWS Signature Version 4, verified.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//! Both forms are read: the header `Authorization`, and the query of a presigned URL. Pure: the
//! clock is given, and keys are somebody else's. [`Claim::read`] needs the head alone, so that a
//! body of a stranger is never read; [`Claim::verify`] needs the body's hash too.
//!
//! Invariants: what decides about a request is signed: `host` and every `x-amz-` field, or it is
//! refused. Signatures are compared in constant time.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;

use crate::function::name::is_region;
use crate::http::Head;
use crate::observe::time::days;
use crate::sigv4::{self, ALGORITHM, Scope, Signed};

/// How far clocks may be apart.
pub const SKEW: Duration = Duration::from_secs(5 * 60);
/// A presigned URL lives for a week at most, as on AWS.
const MAX_EXPIRES_S: u64 = 604_800;
/// More than any client sends in either; a credential has five parts.
const MAX_CREDENTIAL_BYTES: usize = 512;
const MAX_TOKEN_BYTES: usize = 4096;

/// What stands for the hash of a body that is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const CONTENT_HASH: &str = "x-amz-content-sha256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// Why a request's signature is refused; the text is AWS's where AWS has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// It is not whole, or no signature.
    Incomplete(String),
    /// It is one, but not of this request, this service or this time.
    Invalid(String),
    /// No such key, or not its token.
    UnknownKey,
}

impl Refusal {
    /// AWS's name of the error.
    pub fn error_type(&self) -> &'static str {
        match self {
            Refusal::Missing => "MissingAuthenticationTokenException",
            Refusal::Incomplete(_) => "IncompleteSignatureException",
            Refusal::Invalid(_) => "InvalidSignatureException",
            Refusal::UnknownKey => "UnrecognizedClientException",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Missing => "Missing Authentication Token",
            Refusal::Incomplete(message) | Refusal::Invalid(message) => message,
            Refusal::UnknownKey => "The security token included in the request is invalid.",
        })
    }
}

impl std::error::Error for Refusal {}

const MISMATCH: &str = "The request signature we calculated does not match the signature you \
    provided. Check your AWS Secret Access Key and signing method. Consult the service \
    documentation for details.";

fn invalid<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Invalid(message.into()))
}

fn incomplete<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Incomplete(message.into()))
}

/// A name and a value of a query.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What of a request can be signed.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub method: &'a str,
    /// As it was sent.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Message<'a> {
    pub fn of(head: &Head<'a>) -> Message<'a> {
        let Head { method, path, query, .. } = *head;
        Message { method, path, query, headers: head.fields().collect() }
    }

    /// The first field of this name, which is in lower case, as text.
    fn header(&self, name: &str) -> Option<&'a str> {
        let mut found = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        found.next().and_then(|(_, value)| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// The query's pairs, decoded. A plus sign is a plus sign: clients send `%20` for a space.
    fn pairs(&self) -> Result<Vec<Pair<'a>>, Refusal> {
        let decode = |text: &'a str| percent_decode_str(text).decode_utf8();
        let parts = self.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        parts
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| match (decode(name), decode(value)) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                _ => invalid("The request's query is not UTF-8."),
            })
            .collect()
    }
}

/// Whether a request carries a signature, right or wrong.
pub fn is_signed(head: &Head<'_>) -> bool {
    head.header("authorization").is_some()
        || head.query.is_some_and(|query| {
            query.split('&').any(|pair| {
                ["X-Amz-Signature=", "X-Amz-Algorithm=", "X-Amz-Credential="]
                    .iter()
                    .any(|name| pair.starts_with(name))
            })
        })
}

/// The key id that a request names, right or wrong.
pub fn key_id<'a>(head: &Head<'a>) -> Option<Cow<'a, str>> {
    let credential = claimed_credential(head)?;
    match credential {
        Cow::Borrowed(text) => text.split('/').next().map(Cow::Borrowed),
        Cow::Owned(text) => text.split('/').next().map(|id| Cow::Owned(id.to_owned())),
    }
}

/// The region that a request says it was signed for, right or wrong: also one that nobody checks is
/// meant for that region.
pub fn region<'a>(head: &Head<'a>) -> Option<&'a str> {
    let region = match head.header_str("authorization") {
        Some(header) => header.split_once("Credential=")?.1.split(',').next()?.split('/').nth(2)?,
        None => {
            // A region has nothing to encode; the slashes around it have.
            let value = query_credential(head.query?)?;
            value.split(['/', '%']).map(|part| part.trim_start_matches("2F")).nth(2)?
        }
    };
    is_region(region).then_some(region)
}

fn query_credential(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))
}

fn claimed_credential<'a>(head: &Head<'a>) -> Option<Cow<'a, str>> {
    if let Some(header) = head.header_str("authorization") {
        let rest = header.split_once("Credential=")?.1;
        return rest.split(',').next().map(Cow::Borrowed);
    }
    percent_decode_str(query_credential(head.query?)?).decode_utf8().ok()
}

/// The parts of a signature, as its sender claims them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    pub key_id: Cow<'a, str>,
    pub region: Cow<'a, str>,
    pub service: Cow<'a, str>,
    /// The session token of temporary credentials.
    pub token: Option<Cow<'a, str>>,
    /// The time of signing, as it was sent and as it is.
    timestamp: Cow<'a, str>,
    /// The names of the signed fields: in lower case, in order.
    names: Vec<String>,
    signature: [u8; 32],
    presigned: bool,
}

/// The three parts before they were looked at.
struct Parts<'a> {
    credential: Cow<'a, str>,
    names: Cow<'a, str>,
    signature: Cow<'a, str>,
}

impl<'a> Claim<'a> {
    /// Reads the signature of a request to this service, and checks all that can be checked
    /// without the key.
    pub fn read(
        message: &Message<'a>,
        service: &str,
        now: SystemTime,
    ) -> Result<Claim<'a>, Refusal> {
        let pairs = message.pairs()?;
        let presigned = pairs.iter().any(|(name, _)| name == "X-Amz-Algorithm");
        let value = |name: &str| {
            pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
        };
        // Who reads the query elsewhere reads the same of it.
        let own = |(name, _): &&Pair<'_>| name.starts_with("X-Amz-");
        let named: Vec<&Cow<'_, str>> = pairs.iter().filter(own).map(|(name, _)| name).collect();
        let plain = named.iter().all(|name| matches!(name, Cow::Borrowed(_)));
        let twice = (1..named.len()).any(|index| named[..index].contains(&named[index]));
        if twice || !plain {
            return incomplete("A parameter of the signature is there twice, or encoded.");
        }
        let (parts, timestamp, token, expires) = match (message.header("authorization"), presigned)
        {
            (Some(_), true) => {
                return incomplete(
                    "A request is signed by its header or by its query, not by both.",
                );
            }
            (Some(header), false) => {
                let timestamp = message.header(DATE).or_else(|| message.header("date"));
                let Some(timestamp) = timestamp else {
                    return incomplete(
                        "Authorization header requires existence of either a 'X-Amz-Date' or a \
                         'Date' header.",
                    );
                };
                let token = message.header(TOKEN).map(Cow::Borrowed);
                (header_parts(header)?, Cow::Borrowed(timestamp), token, None)
            }
            (None, true) => {
                let need = |name: &str| {
                    value(name).map_or_else(
                        || {
                            incomplete(format!(
                                "AWS query-string parameters must include '{name}'."
                            ))
                        },
                        Ok,
                    )
                };
                if need("X-Amz-Algorithm")? != ALGORITHM {
                    return incomplete(format!("X-Amz-Algorithm must be '{ALGORITHM}'."));
                }
                let parts = Parts {
                    credential: need("X-Amz-Credential")?,
                    names: need("X-Amz-SignedHeaders")?,
                    signature: need("X-Amz-Signature")?,
                };
                let expires = need("X-Amz-Expires")?.parse().ok();
                let expires = expires.filter(|seconds| (1..=MAX_EXPIRES_S).contains(seconds));
                let Some(expires) = expires else {
                    return incomplete("X-Amz-Expires must be a number from 1 to 604800.");
                };
                let token = value("X-Amz-Security-Token");
                (parts, need("X-Amz-Date")?, token, Some(Duration::from_secs(expires)))
            }
            (None, false) => return Err(Refusal::Missing),
        };
        if token.as_ref().is_some_and(|token| token.len() > MAX_TOKEN_BYTES) {
            return Err(Refusal::UnknownKey);
        }
        let [key_id, date, region, named] = credential(&parts.credential)?;
        if named != service {
            return invalid(format!(
                "Credential should be scoped to correct service: '{service}'."
            ));
        }
        if !is_region(&region) {
            return invalid("Credential should be scoped to a valid region.");
        }
        let Some(signed_at) = instant(&timestamp) else {
            return incomplete(
                "Date must be in ISO-8601 'basic format', such as 20150830T123600Z.",
            );
        };
        if !timestamp.starts_with(&*date) {
            return invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP.",
            );
        }
        in_time(&timestamp, signed_at, expires, now)?;
        let Some(signature) = unhex(&parts.signature) else { return invalid(MISMATCH) };
        Ok(Claim {
            key_id: key_id.into(),
            region: region.into(),
            service: named.into(),
            token,
            timestamp,
            names: names(&parts.names, message)?,
            signature,
            presigned,
        })
    }

    /// Whether the signature needs the hash of the body, which costs time by the byte.
    pub fn signs_payload(&self, message: &Message<'_>) -> bool {
        message.header(CONTENT_HASH) != Some(UNSIGNED_PAYLOAD)
    }

    /// Whether the signature is this key's, of this request. `payload_hash` gives the body's
    /// SHA-256 in hexadecimal digits, where it is needed.
    pub fn verify(
        &self,
        message: &Message<'_>,
        secret: &str,
        payload_hash: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        let payload_hash = match message.header(CONTENT_HASH) {
            Some(UNSIGNED_PAYLOAD) => UNSIGNED_PAYLOAD.to_owned(),
            Some(declared) => {
                let hash = payload_hash();
                if !declared.eq_ignore_ascii_case(&hash) {
                    return invalid(
                        "The provided 'x-amz-content-sha256' header does not match what was \
                         computed.",
                    );
                }
                // As it was sent: so it was signed.
                declared.to_owned()
            }
            None => payload_hash(),
        };
        let path = sigv4::encode_path(&normalized(message.path));
        let pairs = message.pairs()?;
        let query: Vec<(&str, &str)> = pairs
            .iter()
            .filter(|(name, _)| !(self.presigned && name == "X-Amz-Signature"))
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let mut headers = Vec::with_capacity(self.names.len());
        for (name, value) in &message.headers {
            if self.names.iter().any(|signed| signed.eq_ignore_ascii_case(name)) {
                let Ok(value) = std::str::from_utf8(value) else { return invalid(MISMATCH) };
                headers.push((*name, value));
            }
        }
        let signed = Signed {
            method: message.method,
            path: &path,
            query: &query,
            headers: &headers,
            payload_hash: &payload_hash,
        };
        let scope =
            Scope { timestamp: &self.timestamp, region: &self.region, service: &self.service };
        match signed.is_signature(&scope, secret, &self.signature) {
            true => Ok(()),
            false => invalid(MISMATCH),
        }
    }
}

/// `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`.
fn header_parts(header: &str) -> Result<Parts<'_>, Refusal> {
    let Some(rest) = header.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with([' ', '\t']))
    else {
        return incomplete(format!("Authorization header must begin with '{ALGORITHM}'."));
    };
    let mut found: [Option<&str>; 3] = [None; 3];
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let place = part.split_once('=').and_then(|(name, value)| {
            NAMES.iter().position(|known| *known == name).map(|index| (index, value))
        });
        match place {
            Some((index, value)) if found[index].is_none() => found[index] = Some(value),
            _ => {
                return incomplete(
                    "Authorization header has a part that is none of its parameters, or is there \
                     twice.",
                );
            }
        }
    }
    let missing: Vec<String> = (NAMES.iter().zip(found))
        .filter(|(_, found)| found.is_none_or(str::is_empty))
        .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
        .collect();
    match found {
        [Some(credential), Some(names), Some(signature)] if missing.is_empty() => Ok(Parts {
            credential: credential.into(),
            names: names.into(),
            signature: signature.into(),
        }),
        _ => incomplete(missing.join(" ")),
    }
}

/// Key, date, region and service of `KEY/20150830/us-east-1/lambda/aws4_request`.
fn credential(text: &str) -> Result<[String; 4], Refusal> {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().filter(|part| !part.is_empty());
    if let (Some(key), Some(date), Some(region), Some(service), Some("aws4_request"), None) =
        (next(), next(), next(), next(), next().as_deref(), next())
        && text.len() <= MAX_CREDENTIAL_BYTES
        && date.len() == 8
    {
        return Ok([key, date, region, service]);
    }
    incomplete(
        "Credential must have exactly 5 slash-delimited elements, e.g. \
         keyid/date/region/service/term.",
    )
}

/// The names of the signed fields, which have to be there, and have to be all that decide.
fn names(text: &str, message: &Message<'_>) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = text.split(';').map(str::to_ascii_lowercase).collect();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if !has("host") {
        return invalid(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        );
    }
    if let Some(absent) = names
        .iter()
        .find(|name| !message.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)))
    {
        return invalid(format!("The signed header {absent:?} is not in the request."));
    }
    // Some clients add what tells of themselves after they have signed.
    let decides = |name: &str| name.starts_with("x-amz-") && name != "x-amz-user-agent";
    let unsigned = message.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let unsigned: Vec<String> = unsigned.filter(|name| decides(name) && !has(name)).collect();
    match unsigned.as_slice() {
        [] => Ok(names),
        _ => invalid(format!(
            "There were headers present in the request which were not signed: {}",
            unsigned.join(", ")
        )),
    }
}

/// The time must be near: within the skew for a request, within its life for a presigned URL.
fn in_time(
    text: &str,
    signed_at: SystemTime,
    expires: Option<Duration>,
    now: SystemTime,
) -> Result<(), Refusal> {
    let told = sigv4::timestamp(now);
    if signed_at > now + SKEW {
        let latest = sigv4::timestamp(now + SKEW);
        return invalid(format!(
            "Signature not yet current: {text} is still later than {latest} ({told} + 5 min.)"
        ));
    }
    if now > signed_at + expires.unwrap_or(SKEW) {
        return invalid(match expires {
            Some(_) => format!("Signature expired: it was valid from {text}, and it is {told} now"),
            None => {
                let earliest = sigv4::timestamp(now.checked_sub(SKEW).unwrap_or(UNIX_EPOCH));
                format!(
                    "Signature expired: {text} is now earlier than {earliest} ({told} - 5 min.)"
                )
            }
        });
    }
    Ok(())
}

/// A time as `x-amz-date` has it: `20150830T123600Z`.
fn instant(text: &str) -> Option<SystemTime> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    if bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &bytes[from..to];
        let value = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, value))
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let known = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !known || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days =
        days(i64::try_from(year).ok()?, i64::try_from(month).ok()?, i64::try_from(day).ok()?);
    let seconds = u64::try_from(days).ok()? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A path without empty and dot segments, as every service but S3 has it signed.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) && !kept.is_empty();
    format!("/{}{}", kept.join("/"), if folder { "/" } else { "" })
}

/// 64 hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "signature_fuzzing.rs"]
pub mod fuzzing;
