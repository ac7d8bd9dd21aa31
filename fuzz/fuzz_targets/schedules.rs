#![no_main]

use lambda_runtime_api_server::schedule::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::expression(data));
