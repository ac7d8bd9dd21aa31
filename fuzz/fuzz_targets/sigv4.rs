#![no_main]

use lambda_runtime_api_server::access::signature::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::signature(data));
