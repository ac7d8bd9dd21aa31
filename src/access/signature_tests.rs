//! AWS's published test suite, and what has to be refused.

use super::*;

const SUITE: &str = include_str!("signature_suite.txt");
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AT: &str = "20150830T123600Z";

/// A request as a text: the request line, fields, and behind an empty line the body.
struct Text {
    method: String,
    path: String,
    query: Option<String>,
    fields: Vec<(String, String)>,
    body: String,
}

impl Text {
    fn new(text: &str) -> Text {
        let (head, body) = text.split_once("\n\n").unwrap_or_else(|| (text.trim_end(), ""));
        let mut lines = head.lines();
        let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
        let target = rest.rsplit_once(' ').unwrap().0;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.to_owned())
        };
        Text {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            fields: lines.map(field).collect(),
            body: body.trim_end_matches('\n').to_owned(),
        }
    }

    fn message(&self) -> Message<'_> {
        Message {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: self.fields.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect(),
        }
    }

    fn check_at(&self, now: &str) -> Result<(), Refusal> {
        let message = self.message();
        let claim = Claim::read(&message, "service", instant(now).unwrap())?;
        assert_eq!(claim.key_id, "AKIDEXAMPLE");
        claim.verify(&message, SECRET, || sigv4::hash(self.body.as_bytes()))
    }

    fn check(&self) -> Result<(), Refusal> {
        self.check_at(AT)
    }
}

fn suite() -> impl Iterator<Item = (&'static str, Text)> {
    SUITE.split("\n## ").skip(1).map(|block| {
        let (name, text) = block.split_once('\n').unwrap();
        (name, Text::new(text))
    })
}

fn example(name: &str) -> Text {
    suite().find(|(known, _)| *known == name).unwrap().1
}

/// A request with all that can be signed, signed by our own signer.
fn signed(change: impl FnOnce(&mut Vec<(String, String)>)) -> Text {
    let mut fields: Vec<(String, String)> = [
        ("Host", "h:8080"),
        ("X-Amz-Date", AT),
        ("X-Amz-Invocation-Type", "Event"),
        ("Content-Type", "a/b"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    change(&mut fields);
    let hash = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_HASH));
    let hash = hash.map_or_else(|| sigv4::hash(b"{}"), |(_, value)| value.clone());
    let headers: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let authorization = Signed {
        method: "POST",
        path: "/f/a%253Ab",
        query: &[("Qualifier", "$LATEST")],
        headers: &headers,
        payload_hash: &hash,
    }
    .authorization(
        &Scope { timestamp: AT, region: "us-east-1", service: "service" },
        "AKIDEXAMPLE",
        SECRET,
    );
    fields.push(("Authorization".to_owned(), authorization));
    Text {
        method: "POST".to_owned(),
        path: "/f/a%3Ab".to_owned(),
        query: Some("Qualifier=%24LATEST".to_owned()),
        fields,
        body: "{}".to_owned(),
    }
}

#[test]
fn aws_own_suite_is_verified() {
    let mut count = 0;
    for (name, request) in suite() {
        assert_eq!(request.check(), Ok(()), "{name}");
        count += 1;
    }
    assert_eq!(count, 58);
}

#[test]
fn a_changed_request_has_another_signature() {
    for (name, request) in suite() {
        let wrong = |change: &dyn Fn(&mut Text)| {
            let mut request = Text { fields: request.fields.clone(), ..copy(&request) };
            change(&mut request);
            assert!(request.check().is_err(), "{name}");
        };
        wrong(&|request| request.method = "PUT".to_owned());
        wrong(&|request| request.path.push('x'));
        wrong(&|request| request.query.get_or_insert_default().push_str("&x=1"));
        wrong(&|request| request.body.push(' '));
        wrong(&|request| request.fields[0].1.push('x'));
        wrong(&|request| request.fields.retain(|(n, _)| !n.eq_ignore_ascii_case("host")));
    }
}

fn copy(request: &Text) -> Text {
    Text {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        fields: request.fields.clone(),
        body: request.body.clone(),
    }
}

#[test]
fn another_secret_does_not_fit() {
    let request = example("get-vanilla header");
    let message = request.message();
    let claim = Claim::read(&message, "service", instant(AT).unwrap()).unwrap();
    let hash = || sigv4::hash(b"");
    assert!(claim.verify(&message, SECRET, hash).is_ok());
    assert_eq!(claim.verify(&message, "other", hash), invalid(MISMATCH));
}

#[test]
fn a_clock_may_be_five_minutes_off() {
    let request = example("get-vanilla header");
    for (now, message) in [
        ("20150830T123100Z", None),
        ("20150830T124100Z", None),
        (
            "20150830T123059Z",
            Some(
                "Signature not yet current: 20150830T123600Z is still later than \
                 20150830T123559Z (20150830T123059Z + 5 min.)",
            ),
        ),
        (
            "20150830T124101Z",
            Some(
                "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
                 (20150830T124101Z - 5 min.)",
            ),
        ),
    ] {
        let expected = message.map_or(Ok(()), invalid);
        assert_eq!(request.check_at(now), expected, "{now}");
    }
    let presigned = example("get-vanilla query");
    assert_eq!(presigned.check_at("20150830T133600Z"), Ok(()));
    assert!(presigned.check_at("20150830T133601Z").is_err());
    assert_eq!(presigned.check_at("20150830T123100Z"), Ok(()));
    assert!(presigned.check_at("20150830T123059Z").is_err());
}

#[test]
fn what_decides_about_a_request_is_signed() {
    assert_eq!(signed(|_| ()).check(), Ok(()));
    let mut added = signed(|_| ());
    added.fields.push(("X-Amz-Log-Type".to_owned(), "Tail".to_owned()));
    let text = added.check().unwrap_err().to_string();
    assert!(text.ends_with("which were not signed: x-amz-log-type"), "{text}");
    added.fields.pop();
    added.fields.push(("X-Amz-User-Agent".to_owned(), "x".to_owned()));
    added.fields.push(("X-Amzn-Trace-Id".to_owned(), "x".to_owned()));
    assert_eq!(added.check(), Ok(()));
    let mut changed = signed(|_| ());
    changed.fields[2].1 = "DryRun".to_owned();
    assert_eq!(changed.check(), invalid(MISMATCH));
    let without = signed(|fields| fields.retain(|(name, _)| name != "Host"));
    assert!(without.check().unwrap_err().to_string().starts_with("'Host' or"));
}

#[test]
fn a_payload_may_be_left_unsigned_if_the_signature_says_so() {
    let with = |value: &str| {
        let value = value.to_owned();
        signed(|fields| fields.push((CONTENT_HASH.to_owned(), value)))
    };
    let mut unsigned = with(UNSIGNED_PAYLOAD);
    unsigned.body = "anything".to_owned();
    assert_eq!(unsigned.check(), Ok(()));
    assert_eq!(with(&sigv4::hash(b"{}")).check(), Ok(()));
    let text = with(&sigv4::hash(b"other")).check().unwrap_err().to_string();
    assert!(text.contains("x-amz-content-sha256"), "{text}");
    assert!(with("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").check().is_err());
    // Nobody can say so afterwards.
    let mut later = signed(|_| ());
    later.fields.push((CONTENT_HASH.to_owned(), UNSIGNED_PAYLOAD.to_owned()));
    assert!(later.check().is_err());
}

#[test]
fn what_is_no_signature_is_told_apart() {
    let with = |authorization: &str| {
        let mut request = signed(|_| ());
        request.fields.pop();
        request.fields.push(("Authorization".to_owned(), authorization.to_owned()));
        request.check().unwrap_err()
    };
    let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
    let names = "host;x-amz-date;x-amz-invocation-type";
    let whole = |scope: &str, names: &str, signature: &str| {
        with(&format!(
            "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"
        ))
    };
    let digits = "0".repeat(64);
    for bad in [
        "",
        "Basic YTpi",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256x",
        "AWS4-HMAC-SHA256 Credential",
        "AWS4-HMAC-SHA256 Credential=a,Credential=b",
        "AWS4-HMAC-SHA256 Credential=a,Other=b",
        "AWS4-ECDSA-P256-SHA256 Credential=a",
    ] {
        assert_eq!(with(bad).error_type(), "IncompleteSignatureException", "{bad}");
    }
    assert_eq!(
        with(&format!("AWS4-HMAC-SHA256 Credential={scope}")).to_string(),
        "Authorization header requires 'SignedHeaders' parameter. \
         Authorization header requires 'Signature' parameter."
    );
    for scope in
        ["a", "a/b/c/d", "a/20150830/us-east-1/service/aws4_request/x", "a//b/c/aws4_request"]
    {
        assert_eq!(whole(scope, names, &digits).error_type(), "IncompleteSignatureException");
    }
    for (scope, names, signature, told) in [
        (scope, names, "xyz", "does not match"),
        (scope, names, digits.as_str(), "does not match"),
        (scope, "host;x-amz-date;x-amz-invocation-type;gone", &digits, "\"gone\" is not in"),
        ("a/20150830/us-east-1/s3/aws4_request", names, &digits, "correct service: 'service'"),
        ("a/20150830/nowhere/service/aws4_request", names, &digits, "valid region"),
        ("a/20150831/us-east-1/service/aws4_request", names, &digits, "does not match YYYYMMDD"),
    ] {
        let refusal = whole(scope, names, signature);
        assert_eq!(refusal.error_type(), "InvalidSignatureException", "{refusal}");
        assert!(refusal.to_string().contains(told), "{refusal}");
    }
    let mut none = signed(|_| ());
    none.fields.pop();
    assert_eq!(none.check(), Err(Refusal::Missing));
    let mut undated = signed(|_| ());
    undated.fields.remove(1);
    assert!(undated.check().unwrap_err().to_string().contains("'X-Amz-Date' or a 'Date'"));
    let mut odd = signed(|_| ());
    odd.fields[1].1 = "Sun, 30 Aug 2015 12:36:00 GMT".to_owned();
    assert!(odd.check().unwrap_err().to_string().starts_with("Date must be in ISO-8601"));
}

#[test]
fn a_presigned_url_needs_all_its_parts() {
    let whole = example("get-vanilla query");
    let query = whole.query.clone().unwrap();
    for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        let rest: Vec<&str> =
            query.split('&').filter(|pair| !pair.starts_with(&format!("X-Amz-{name}="))).collect();
        let request = Text { query: Some(rest.join("&")), ..copy(&whole) };
        let expected = match name {
            "Algorithm" => Refusal::Missing,
            _ => Refusal::Incomplete(format!(
                "AWS query-string parameters must include 'X-Amz-{name}'."
            )),
        };
        assert_eq!(request.check(), Err(expected));
    }
    for expires in ["0", "604801", "x", "-1", ""] {
        let query = query.replace("Expires=3600", &format!("Expires={expires}"));
        let request = Text { query: Some(query), ..copy(&whole) };
        assert!(request.check().unwrap_err().to_string().starts_with("X-Amz-Expires"));
    }
    let mut both = copy(&whole);
    both.fields.push(("Authorization".to_owned(), "x".to_owned()));
    assert!(both.check().unwrap_err().to_string().contains("not by both"));
    let odd = Text { query: Some(format!("{query}&a=%ff")), ..copy(&whole) };
    assert!(odd.check().unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn times_are_strict() {
    assert_eq!(instant("19700101T000001Z"), Some(UNIX_EPOCH + Duration::from_secs(1)));
    assert_eq!(sigv4::timestamp(instant("20240229T235959Z").unwrap()), "20240229T235959Z");
    for bad in [
        "",
        "20150830T123600",
        "20150830 123600Z",
        "2015-08-30T12:36",
        "20151330T123600Z",
        "20150800T123600Z",
        "20150830T243600Z",
        "20150830T12360\u{e9}",
        "+0150830T123600Z",
        "19690830T123600Z",
    ] {
        assert_eq!(instant(bad), None, "{bad}");
    }
}

#[test]
fn paths_are_normalized_as_clients_do() {
    for (path, expected) in [
        ("/", "/"),
        ("", "/"),
        ("//a//b//", "/a/b/"),
        ("/a/./b/..", "/a/"),
        ("/..", "/"),
        ("/a/b", "/a/b"),
        ("/a%2Fb/", "/a%2Fb/"),
    ] {
        assert_eq!(normalized(path), expected, "{path}");
    }
}
