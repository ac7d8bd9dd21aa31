#![no_main]

use lambda_runtime_api_server::logs::filter::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::filter(data));
