//! The registry: functions, their configuration and their states, kept durably.
//!
//! `name` says which function a request means, `model` and `alias` what it is, `state` how its state
//! moves, `store` keeps it on disk (and, by `rows`, the tables of other folders), `registry` is what the rest of the program asks; `settings` is
//! what hangs on a function beside its versions.
//!
//! It deliberately knows no containers, no HTTP and no JSON shape of AWS's.

pub mod alias;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod layer_store;
pub mod layers;
pub mod model;
pub mod name;
#[cfg(test)]
pub(crate) mod power_cut;
pub mod registry;
mod rows;
pub mod settings;
mod settings_store;
pub mod state;
pub mod store;
pub mod store_error;
pub mod violation;

pub(crate) use self::rows::Row;
