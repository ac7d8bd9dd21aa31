//! AWS Lambda as one static binary over the Docker Engine.

pub mod api;
pub mod config;
pub mod dispatch;
pub mod docker;
pub mod function;
pub mod http;
pub mod observe;
pub mod sandbox;
