//! Sandboxes: containers that run one function each.
//!
//! [`state`] is a sandbox's life, [`launcher`] makes and removes containers at dispatch's orders,
//! [`spec`] says what such a container is, [`network`] where it lives, [`slots`] keeps networks
//! ready for it (what they are is decided in [`slot_table`], what holds them is a [`holder`]),
//! [`watcher`] hears of its death, [`adoption`] knows those that somebody else has started,
//! [`frost`] whether an idle one is frozen, [`pressure`] when the host is short of memory,
//! [`base_image`] is what a function without a base can be built on, [`hot_reload`] replaces those
//! whose files change. Nothing here knows HTTP or an AWS shape.

pub mod adoption;
pub mod base_image;
pub mod frost;
mod holder;
pub mod hot_reload;
pub mod launcher;
pub mod network;
pub mod pressure;
mod removal;
pub mod site;
mod slot_table;
pub mod slots;
mod spec;
pub mod state;
mod trees;
pub mod watcher;

/// Label of every container and network of the service: the id of its storage, so that two
/// services on one Engine leave each other alone.
pub const OWNER_LABEL: &str = "lambda-runtime-api-server.owner";
pub const FUNCTION_LABEL: &str = "lambda-runtime-api-server.function";
pub const VERSION_LABEL: &str = "lambda-runtime-api-server.version";
pub const SANDBOX_LABEL: &str = "lambda-runtime-api-server.sandbox";
/// Label of the service's containers that are no sandboxes: what they are for.
pub const ROLE_LABEL: &str = "lambda-runtime-api-server.role";
/// It only keeps a network that a sandbox can join.
pub const ROLE_SLOT: &str = "slot";
