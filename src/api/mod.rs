//! One file per AWS surface: turns HTTP into calls and errors into AWS's error shapes.

pub mod error;
