//! Code from S3 against a server that is not ours and checks every signature: moto's, from PyPI.
//!
//! `scripts/test-bare-service.sh` installs it and names its Python in `LAMBDA_TEST_PYTHON`; without
//! the variable the test says so and checks nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lambda_runtime_api_server::config;
use lambda_runtime_api_server::package::s3::{Object, S3, S3Error};

const REGION: &str = "us-east-1";
const LARGE: usize = 4 << 20;

/// moto's process and what it said about itself.
struct Endpoint {
    process: Child,
    told: serde_json::Value,
}

impl Endpoint {
    fn start() -> Option<Endpoint> {
        let Some(python) = std::env::var_os("LAMBDA_TEST_PYTHON") else {
            println!("skipped: LAMBDA_TEST_PYTHON names no Python with moto[s3,server] and boto3");
            return None;
        };
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/endpoint.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap();
        Some(Endpoint { process, told })
    }

    fn text(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }

    /// A client as the service makes it from its environment.
    fn client(&self, secret: Option<&str>) -> S3 {
        let env = |name: &str| match name {
            "AWS_ENDPOINT_URL_S3" => Some(self.text("url").to_owned()),
            "AWS_ACCESS_KEY_ID" => secret.map(|_| self.text("access_key_id").to_owned()),
            "AWS_SECRET_ACCESS_KEY" => secret.map(str::to_owned),
            _ => None,
        };
        S3::new(&config::load(Some(Path::new("/dev/null")), &env).unwrap().aws)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // The end of its standard input ends it; a process that hangs is killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn code<'a>(key: &'a str, version: Option<&'a str>) -> Object<'a> {
    Object { bucket: "code", key, version }
}

#[test]
fn a_server_that_checks_signatures_gives_code_to_who_may_have_it() {
    let Some(endpoint) = Endpoint::start() else { return };
    let key = endpoint.text("key");
    let s3 = endpoint.client(Some(endpoint.text("secret_access_key")));
    let limit = LARGE as u64;

    assert_eq!(s3.get(REGION, &code(key, None), limit).unwrap(), b"second");
    let version = Some(endpoint.text("first_version"));
    assert_eq!(s3.get(REGION, &code(key, version), limit).unwrap(), b"first");
    let large = s3.get(REGION, &code("large", None), limit).unwrap();
    assert_eq!((large.len(), large[LARGE - 1]), (LARGE, 255));

    let refused = s3.get(REGION, &code("large", None), limit - 1).unwrap_err();
    assert!(matches!(refused, S3Error::TooLarge { .. }), "{refused}");
    let refused = s3.get(REGION, &code("missing", None), limit).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The \
         specified key does not exist."
    );
    let other = Object { bucket: "forbidden", key: "f.zip", version: None };
    let refused = s3.get(REGION, &other, limit).unwrap_err();
    assert!(refused.is_denied(), "{refused}");

    for wrong in [Some("wrong"), None] {
        let refused = endpoint.client(wrong).get(REGION, &code(key, None), limit).unwrap_err();
        assert!(refused.is_denied(), "{wrong:?}: {refused}");
    }
}
