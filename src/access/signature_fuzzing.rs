//! What holds of any request's signature; see the crate's `fuzzing`.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::fuzzing::Seed;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AT: &str = "20150830T123600Z";
const SERVICE: &str = "service";

/// A request as the seeds write it: method and target, fields, an empty line, the body.
#[derive(Clone)]
struct Text<'a> {
    method: &'a str,
    path: String,
    query: Option<String>,
    fields: Vec<(&'a str, String)>,
    body: String,
}

impl<'a> Text<'a> {
    /// None where HTTP would let no such request through.
    fn new(text: &'a str) -> Option<Text<'a>> {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.split('\n');
        let (method, target) = lines.next()?.split_once(' ')?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let is_token = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !text.is_empty() && text.bytes().all(fits)
        };
        let fields: Option<Vec<_>> = lines
            .map(|line| line.split_once(':'))
            .map(|field| field.filter(|(name, value)| is_token(name) && !value.contains('\0')))
            .map(|field| field.map(|(name, value)| (name, value.trim().to_owned())))
            .collect();
        let graphic = target.bytes().all(|byte| byte.is_ascii_graphic());
        (is_token(method) && graphic && path.starts_with('/')).then_some(())?;
        let (path, body) = (path.to_owned(), body.to_owned());
        Some(Text { method, path, query, fields: fields?, body })
    }

    fn message(&self) -> Message<'_> {
        Message {
            method: self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: self.fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        }
    }

    fn check_at(&self, now: SystemTime) -> Result<(), Refusal> {
        let message = self.message();
        let claim = Claim::read(&message, SERVICE, now)?;
        claim.verify(&message, SECRET, || sigv4::hash(self.body.as_bytes()))
    }
}

fn now() -> SystemTime {
    instant(AT).unwrap()
}

/// What is read of a signature is the same when it is written again; a signature is of its request
/// and no other. What our own signer signs is verified, and nothing of it can be changed.
pub fn signature(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(request) = Text::new(text) else { return };
    read(&request);
    sign(request);
}

fn read(request: &Text<'_>) {
    let message = request.message();
    let claim = match Claim::read(&message, SERVICE, now()) {
        Ok(claim) => claim,
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty() && refusal.error_type().ends_with("Exception"));
            return;
        }
    };
    assert!(claim.names.iter().any(|name| name == "host") && claim.key_id.len() <= 512);
    let hash = || sigv4::hash(request.body.as_bytes());
    if claim.verify(&message, SECRET, hash).is_ok() {
        for bit in 0..8 {
            let mut other = claim.clone();
            other.signature[bit * 4] ^= 1 << bit;
            assert!(other.verify(&message, SECRET, hash).is_err());
        }
        assert!(claim.verify(&message, "another", hash).is_err());
    }
    if !claim.presigned {
        let digits: Vec<String> = claim.signature.iter().map(|b| format!("{b:02x}")).collect();
        let written = format!(
            "{ALGORITHM} Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={}",
            claim.key_id,
            &claim.timestamp[..8],
            claim.region,
            claim.service,
            claim.names.join(";"),
            digits.concat()
        );
        let mut again = request.clone();
        again.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        again.fields.push(("Authorization", written));
        assert_eq!(Claim::read(&again.message(), SERVICE, now()).as_ref(), Ok(&claim));
    }
}

fn sign(mut request: Text<'_>) {
    let ours = ["host", "authorization", DATE, TOKEN, CONTENT_HASH];
    request.fields.retain(|(name, _)| !ours.iter().any(|one| one.eq_ignore_ascii_case(name)));
    request.fields.push(("Host", "h".to_owned()));
    request.fields.push(("X-Amz-Date", AT.to_owned()));
    let Ok(pairs) = request.message().pairs() else { return };
    if pairs.iter().any(|(name, _)| name == "X-Amz-Algorithm") {
        return;
    }
    let query: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let headers: Vec<(&str, &str)> =
        request.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let scope = Scope { timestamp: AT, region: "us-east-1", service: SERVICE };
    let authorization = Signed {
        method: request.method,
        path: &sigv4::encode_path(&normalized(&request.path)),
        query: &query,
        headers: &headers,
        payload_hash: &sigv4::hash(request.body.as_bytes()),
    }
    .authorization(&scope, "AKID", SECRET);
    drop((query, headers));
    drop(pairs);
    let signed = request.fields.len();
    let mut request = request.clone();
    request.fields.push(("Authorization", authorization));
    assert_eq!(request.check_at(now()), Ok(()), "our own signature");

    let refused = |change: &dyn Fn(&mut Text<'_>)| {
        let mut other = request.clone();
        change(&mut other);
        assert!(other.check_at(now()).is_err(), "a changed request has its signature");
    };
    refused(&|other| other.method = if other.method == "PUT" { "POST" } else { "PUT" });
    refused(&|other| other.path.push('x'));
    refused(&|other| other.query.get_or_insert_default().push_str("&x"));
    refused(&|other| other.body.push('x'));
    refused(&|other| other.fields.push(("x-amz-invocation-type", "Event".to_owned())));
    for index in 0..signed {
        refused(&|other| other.fields[index].1.push('x'));
        refused(&|other| drop(other.fields.remove(index)));
    }
    let day = Duration::from_secs(86_400);
    assert!(request.check_at(now() + day).is_err() && request.check_at(now() - day).is_err());
}

pub const SEEDS: &[Seed] = &[
    ("vanilla", b"GET /\nHost:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("presigned", b"GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=0000000000000000000000000000000000000000000000000000000000000000\nHost: h"),
    ("post", b"POST /a/../b//c%20d?Qualifier=%24LATEST&b=+&a\nX-A:  v  w \nx-a: z\nx-amz-log-type: Tail\n\n{}"),
    ("token", b"GET /x\nHost: h\nDate: 20150830T123600Z\nX-Amz-Security-Token: t\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/service/aws4_request,SignedHeaders=host;date;x-amz-security-token;x-amz-content-sha256,Signature=0000000000000000000000000000000000000000000000000000000000000000"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::run_in_small;

    #[test]
    fn a_signature_is_of_its_request_and_no_other() {
        let vanilla = Text::new(std::str::from_utf8(SEEDS[0].1).unwrap()).unwrap();
        assert_eq!(vanilla.check_at(now()), Ok(()), "AWS's own");
        run_in_small(SEEDS, b"=/;% ", signature);
    }
}
