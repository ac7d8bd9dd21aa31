//! The example function: a whole Lambda runtime in plain std Rust.
//!
//! It asks the Runtime API for an event, answers `{"message":"Hello, NAME!", ...}`, and asks again,
//! all on one connection. What fails while it starts goes to `/init/error`, what fails in an
//! event goes to `/error`; what it cannot report ends it, and Lambda starts another.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//!
//! It deliberately has no JSON library: `handler.rs` reads the one field that it greets with.

mod handler;
mod runtime;

use std::env;
use std::process::ExitCode;

use runtime::RuntimeApi;

fn main() -> ExitCode {
    match serve() {
        Ok(never) => match never {},
        Err(message) => {
            eprintln!("hello: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Serves events until the Runtime API cannot be reached or refuses an answer.
fn serve() -> Result<std::convert::Infallible, String> {
    let address = env::var("AWS_LAMBDA_RUNTIME_API")
        .map_err(|_| "AWS_LAMBDA_RUNTIME_API is not set: this program runs inside Lambda")?;
    let mut api = RuntimeApi::connect(&address).map_err(|error| format!("{address}: {error}"))?;
    // The greeting is configuration, so that a wrong one shows how an init error looks.
    let greeting = env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned());
    let function = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    if greeting.contains(['"', '\\', '\n']) {
        let message = "GREETING has a quote, a backslash or a line break";
        api.init_error("Hello.InvalidGreeting", message).map_err(|error| error.to_string())?;
        return Err(message.to_owned());
    }
    loop {
        let served = api.next().and_then(|event| {
            match handler::handle(&event.body, &greeting, &function, &event.request_id) {
                Ok(answer) => api.response(&event.request_id, &answer),
                Err(message) => api.error(&event.request_id, "Hello.InvalidEvent", &message),
            }
        });
        served.map_err(|error| error.to_string())?;
    }
}
