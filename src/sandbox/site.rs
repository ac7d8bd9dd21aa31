//! Where sandboxes live: the usual network, and the one without a way out for the functions that
//! the operator names. Which one a function has is the operator's decision and not the deployer's.

use std::sync::Arc;

use super::network::Home;
use crate::access::policy;

/// What the name of the network without a way out has behind that of the usual one.
pub const NONE_OUT: &str = "-none-out";

/// A network, and the Runtime API's address on it.
#[derive(Debug)]
pub struct Site {
    pub home: Arc<Home>,
    pub runtime_api: String,
    /// Nothing but the host is reached from there. Such a network has no slots: a function that may
    /// not reach anything is started alone.
    pub none_out: bool,
}

#[derive(Debug)]
pub struct Sites {
    usual: Site,
    /// With the patterns of the names of its functions.
    none_out: Option<(Vec<String>, Site)>,
}

impl Sites {
    pub fn new(usual: Site, none_out: Option<(Vec<String>, Site)>) -> Arc<Sites> {
        Arc::new(Sites { usual, none_out })
    }

    /// Where a function of this name lives.
    pub fn of(&self, function: &str) -> &Site {
        let named = |patterns: &[String]| patterns.iter().any(|one| policy::matches(one, function));
        match &self.none_out {
            Some((patterns, site)) if named(patterns) => site,
            _ => &self.usual,
        }
    }
}
