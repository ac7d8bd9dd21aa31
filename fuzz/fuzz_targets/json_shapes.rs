#![no_main]

use lambda_runtime_api_server::api::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::shapes(data));
