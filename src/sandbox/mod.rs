//! Sandboxes: containers that run one function each.
//!
//! [`state`] is a sandbox's life, [`launcher`] makes and removes containers at dispatch's orders,
//! [`spec`] says what such a container is, [`network`] where it lives, [`watcher`] hears of its
//! death, [`adoption`] knows those that somebody else has started, [`frost`] whether an idle one is
//! frozen, [`pressure`] when the host is short of memory, [`base_image`] is what a function without a base can be built on. Nothing here knows
//! HTTP or an AWS shape.

pub mod adoption;
pub mod base_image;
pub mod frost;
pub mod launcher;
pub mod network;
pub mod pressure;
mod spec;
pub mod state;
pub mod watcher;

/// Label of every container and network of the service: the id of its storage, so that two
/// services on one Engine leave each other alone.
pub const OWNER_LABEL: &str = "lambda-runtime-api-server.owner";
pub const FUNCTION_LABEL: &str = "lambda-runtime-api-server.function";
pub const VERSION_LABEL: &str = "lambda-runtime-api-server.version";
pub const SANDBOX_LABEL: &str = "lambda-runtime-api-server.sandbox";
