#![no_main]

use lambda_runtime_api_server::docker::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::event_stream(data));
