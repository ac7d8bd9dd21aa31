//! Sandboxes: containers that run one function each.

pub mod state;
