//! The requests that an endpoint sees and what is made of its answers, against a stand-in on
//! loopback. Whether a real S3 accepts the signature is tested in tests/s3.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::config;

const CODE: Object<'static> = Object { bucket: "code", key: "a b/f.zip", version: None };

fn aws(port: u16, credentials: bool) -> Aws {
    let env = move |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(format!("http://127.0.0.1:{port}")),
        "AWS_ACCESS_KEY_ID" if credentials => Some("AKID".to_owned()),
        "AWS_SECRET_ACCESS_KEY" if credentials => Some("hidden".to_owned()),
        "AWS_SESSION_TOKEN" if credentials => Some("token".to_owned()),
        _ => None,
    };
    config::load(Some(std::path::Path::new("/dev/null")), &env).unwrap().aws
}

/// Answers one request with these bytes, and gives its head back.
fn endpoint(answer: impl Into<Vec<u8>>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0);
        }
        stream.write_all(&answer).unwrap();
        head
    });
    (port, handle)
}

fn get(answer: &str, max_bytes: u64) -> Result<Vec<u8>, S3Error> {
    let (port, handle) = endpoint(answer);
    let result = S3::new(&aws(port, false)).get("us-east-1", &CODE, max_bytes);
    handle.join().unwrap();
    result
}

#[test]
fn a_request_is_signed_in_path_style() {
    let (port, handle) = endpoint("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nzip");
    let object = Object { version: Some("v/1"), ..CODE };
    let s3 = S3::new(&aws(port, true));
    assert_eq!(s3.get("eu-west-1", &object, 3).unwrap(), b"zip");
    let head = handle.join().unwrap();
    assert!(head.starts_with("GET /code/a%20b/f.zip?versionId=v%2F1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{head}");
    assert!(head.contains("/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;"));
    assert!(head.contains("x-amz-security-token: token\r\n"), "{head}");
    assert!(!head.contains("hidden") && !format!("{s3:?}").contains("hidden"));
}

#[test]
fn without_credentials_nothing_is_signed() {
    let (port, handle) = endpoint("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(S3::new(&aws(port, false)).get("us-east-1", &CODE, 1).unwrap().is_empty());
    assert!(!handle.join().unwrap().contains("authorization"));
}

#[test]
fn an_object_is_held_to_its_limit_whatever_it_promises() {
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234";
    assert_eq!(get(sized, 4).unwrap(), b"1234");
    assert!(matches!(get(sized, 3), Err(S3Error::TooLarge { max_bytes: 3 })));
    let unsized_ = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n1234";
    assert!(matches!(get(unsized_, 3), Err(S3Error::TooLarge { .. })));
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234";
    assert!(matches!(get(broken, 9), Err(S3Error::Failed { .. })));
}

#[test]
fn the_services_reason_is_told_in_awss_words() {
    let xml = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key \
               does not exist.</Message><Key>a</Key></Error>";
    let head = |status: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{xml}");
    let error = get(&head("404 Not Found"), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The \
         specified key does not exist."
    );
    assert!(!error.is_denied());
    let error = get(&head("403 Forbidden"), 1).unwrap_err();
    assert!(error.is_denied());
    assert!(error.to_string().contains("GetObject for code/a b/f.zip. S3 Error Code: "));
    let moved = "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert!(get(moved, 1).unwrap_err().to_string().contains("S3 Error Code: 301."));
}

#[test]
fn entities_are_read_once() {
    assert_eq!(element("<M>a &amp;lt; &lt;b&gt;\n</M>", "M").unwrap(), "a &lt; <b> ");
    assert_eq!(element("<M>open", "M"), None);
}

#[test]
fn what_is_missing_is_named() {
    let unset = config::load(Some(std::path::Path::new("/dev/null")), &|_| None).unwrap().aws;
    let error = S3::new(&unset).get("us-east-1", &CODE, 1).unwrap_err().to_string();
    assert!(error.contains("endpoint_url") && error.contains("AWS_ENDPOINT_URL_S3"), "{error}");

    let mut unknown = aws(1, false);
    unknown.endpoint.as_mut().unwrap().host = "store.invalid".to_owned();
    let error = S3::new(&unknown).get("us-east-1", &CODE, 1).unwrap_err();
    assert!(matches!(&error, S3Error::UnknownHost(host) if host == "store.invalid"), "{error}");

    // Bound and closed again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = S3::new(&aws(port, false)).get("us-east-1", &CODE, 1).unwrap_err();
    assert!(matches!(error, S3Error::Failed { .. }), "{error}");
}
