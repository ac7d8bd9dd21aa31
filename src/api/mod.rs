//! One file per AWS surface: turns HTTP into calls and errors into AWS's error shapes.

mod create_function;
pub mod error;
pub mod error_body;
pub mod functions;
mod rules;
mod shapes;
