//! Code from S3: one GetObject from the S3-compatible endpoint that the configuration names, signed
//! with Signature Version 4 when there are credentials.
//!
//! Plain TCP and path style (`/bucket/key`), which every such service understands and which needs
//! no name of its own for each bucket. It does not retry, follow redirects or look at the
//! object. Invariants: an object is read within its limit and each wait is bounded; a secret
//! is sent nowhere and logged never.

use std::fmt;
use std::io::Read;
use std::time::{Duration, SystemTime};

use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::hosts;
use crate::config::{Aws, Credentials, Endpoint};
use crate::sigv4::{self, Scope, Signed};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The whole object: 250 MB at 1 MB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// An error is a short XML text.
const MAX_ERROR_BYTES: u64 = 64 * 1024;
/// A foreign text in a message is cut here.
const MAX_TEXT_CHARS: usize = 500;

/// Which object.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub version: Option<&'a str>,
}

/// The configured endpoint and who asks it.
#[derive(Debug)]
pub struct S3 {
    agent: Agent,
    endpoint: Option<Endpoint>,
    credentials: Option<Credentials>,
}

impl S3 {
    /// Opens no connection, and is fine without an endpoint: then every `get` says what to set.
    pub fn new(aws: &Aws) -> S3 {
        let config = Agent::config_builder()
            .proxy(None) // else ureq takes one from the environment
            .http_status_as_error(false) // the service's reason is in the body
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0) // deployments are rare
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .build();
        S3 {
            agent: hosts::agent(config),
            endpoint: aws.endpoint.clone(),
            credentials: aws.credentials.clone(),
        }
    }

    /// Fetches an object of at most `max_bytes`. `region` is the function's: AWS wants the bucket
    /// in it, and others sign for any.
    pub fn get(
        &self,
        region: &str,
        object: &Object<'_>,
        max_bytes: u64,
    ) -> Result<Vec<u8>, S3Error> {
        let endpoint = self.endpoint.as_ref().ok_or(S3Error::NoEndpoint)?;
        let response = self.ask(endpoint, region, object).map_err(|error| match error {
            ureq::Error::HostNotFound => S3Error::UnknownHost(endpoint.host.clone()),
            error => S3Error::Failed { endpoint: endpoint.clone(), source: error },
        })?;
        let failed = |source| S3Error::Failed { endpoint: endpoint.clone(), source };
        let status = response.status().as_u16();
        if status != 200 {
            let text = read(response, MAX_ERROR_BYTES).map_err(failed)?;
            return Err(refusal(status, &text, object));
        }
        // The promised length is checked first: nothing is read of what is refused anyway.
        if response.body().content_length().is_some_and(|length| length > max_bytes) {
            return Err(S3Error::TooLarge { max_bytes });
        }
        let data = read(response, max_bytes.saturating_add(1)).map_err(failed)?;
        if data.len() as u64 > max_bytes {
            return Err(S3Error::TooLarge { max_bytes });
        }
        Ok(data)
    }

    fn ask(
        &self,
        endpoint: &Endpoint,
        region: &str,
        object: &Object<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let path =
            format!("/{}/{}", sigv4::encode_part(object.bucket), sigv4::encode_path(object.key));
        let version = object.version.map(|version| ("versionId", version));
        let query = sigv4::encode_query(version.as_slice());
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        // The default port is left out, as clients do: the server signs what it reads here.
        let host = match endpoint.port {
            80 => endpoint.host.clone(),
            port => format!("{}:{port}", endpoint.host),
        };
        let uri: Uri = format!("{endpoint}{target}")
            .parse()
            .map_err(|error: ureq::http::uri::InvalidUri| ureq::Error::BadUri(error.to_string()))?;
        let timestamp = sigv4::timestamp(SystemTime::now());
        let nothing = sigv4::hash(b"");
        let token = self.credentials.as_ref().and_then(|of| of.session_token.as_ref());
        let mut headers = vec![
            ("host", host.as_str()),
            ("x-amz-content-sha256", nothing.as_str()),
            ("x-amz-date", timestamp.as_str()),
        ];
        headers.extend(token.map(|token| ("x-amz-security-token", token.reveal())));
        let mut request = self.agent.get(uri);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        if let Some(Credentials { access_key_id, secret_access_key, .. }) = &self.credentials {
            let signed = Signed {
                method: "GET",
                path: &path,
                query: version.as_slice(),
                headers: &headers,
                payload_hash: &nothing,
            };
            let scope = Scope { timestamp: &timestamp, region, service: "s3" };
            let proof = signed.authorization(&scope, access_key_id, secret_access_key.reveal());
            request = request.header("authorization", proof);
        }
        request.call()
    }
}

/// At most `limit` bytes of a body; the caller judges a body that is that long.
fn read(response: Response<Body>, limit: u64) -> Result<Vec<u8>, ureq::Error> {
    let mut data = Vec::new();
    let mut body = response.into_body();
    body.as_reader().take(limit).read_to_end(&mut data)?;
    Ok(data)
}

/// `<Error><Code>NoSuchKey</Code><Message>...</Message>...</Error>`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn refusal(status: u16, body: &[u8], object: &Object<'_>) -> S3Error {
    let text = String::from_utf8_lossy(body);
    let (code, message) = match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), message) => (code, message.unwrap_or_default()),
        // Not every service that is asked by mistake speaks S3.
        (None, _) => (status.to_string(), "The endpoint gave no reason that S3 has.".to_owned()),
    };
    S3Error::Refused {
        denied: status == 403,
        object: format!("{}/{}", object.bucket, object.key),
        code,
        message,
    }
}

/// The text of the first element of this name, on one line and bounded.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    // `&amp;` comes last, so that what it leaves is not read again.
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(line.take(MAX_TEXT_CHARS).collect())
}

/// Why an object could not be had.
#[derive(Debug)]
pub enum S3Error {
    /// The configuration names none.
    NoEndpoint,
    /// The endpoint's name stands nowhere.
    UnknownHost(String),
    /// No connection, no answer in time, or one that broke off.
    Failed {
        endpoint: Endpoint,
        source: ureq::Error,
    },
    /// The service's own answer.
    Refused {
        denied: bool,
        object: String,
        code: String,
        message: String,
    },
    TooLarge {
        max_bytes: u64,
    },
}

impl S3Error {
    /// Whether the service forbids it, as opposed to what is wrong with the request or the way.
    pub fn is_denied(&self) -> bool {
        matches!(self, S3Error::Refused { denied: true, .. })
    }
}

/// AWS's own sentences where it has one, so they begin with a capital letter.
impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            S3Error::NoEndpoint => f.write_str(
                "Code from S3 needs an S3-compatible endpoint. Set endpoint_url in the section \
                 [aws] of config.toml, or AWS_ENDPOINT_URL_S3 in the service's environment, to \
                 http://host:port; or send the code as ZipFile.",
            ),
            S3Error::UnknownHost(host) => write!(
                f,
                "The S3 endpoint's host {host} is neither an address nor in /etc/hosts of the \
                 service's host, and the service asks no DNS server."
            ),
            S3Error::Failed { endpoint, source } => {
                write!(f, "The S3 endpoint {endpoint} could not be asked: {source}.")
            }
            S3Error::Refused { denied: true, object, code, message } => write!(
                f,
                "Your access has been denied by S3, please make sure your request credentials \
                 have permission to GetObject for {object}. S3 Error Code: {code}. S3 Error \
                 Message: {message}"
            ),
            S3Error::Refused { code, message, .. } => write!(
                f,
                "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: \
                 {message}"
            ),
            S3Error::TooLarge { max_bytes } => {
                write!(f, "The object in S3 is larger than the limit of {max_bytes} bytes.")
            }
        }
    }
}

impl std::error::Error for S3Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            S3Error::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
