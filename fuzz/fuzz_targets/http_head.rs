#![no_main]

use lambda_runtime_api_server::http::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::head(data));
