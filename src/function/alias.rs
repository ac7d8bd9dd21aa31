//! An alias: a name of a function's own for one of its versions, or for two with a weight.
//!
//! It only says what an alias is and which version one request gets; whether the versions exist is
//! the registry's to check, and which weights are valid the API's.

use serde::{Deserialize, Serialize};

use super::model;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    pub region: String,
    pub function: String,
    pub name: String,
    pub version: String,
    pub description: String,
    /// The version that gets a part of the requests; AWS allows no more than one.
    pub additional: Option<Additional>,
    pub revision_id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Additional {
    pub version: String,
    /// The part of the requests, from 0 to 1.
    pub weight: f64,
}

impl Alias {
    /// The key of this alias in its table of the store.
    pub fn key(&self) -> String {
        model::key(&self.region, &self.function, &self.name)
    }

    /// The version of one request; `draw` is random, evenly from 0 to below 1.
    pub fn version_for(&self, draw: impl FnOnce() -> f64) -> &str {
        match &self.additional {
            Some(additional) if draw() < additional.weight => &additional.version,
            _ => &self.version,
        }
    }

    /// The versions that it points at.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        let additional = self.additional.as_ref().map(|additional| additional.version.as_str());
        std::iter::once(self.version.as_str()).chain(additional)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(function: &str, name: &str, version: &str) -> Alias {
        Alias {
            region: "us-east-1".to_owned(),
            function: function.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
            additional: None,
            revision_id: "33333333-3333-4333-8333-333333333333".to_owned(),
        }
    }

    #[test]
    fn the_weight_decides_which_version_a_request_gets() {
        let mut alias = sample("f", "live", "1");
        assert_eq!(alias.version_for(|| 0.0), "1");
        alias.additional = Some(Additional { version: "2".to_owned(), weight: 0.25 });
        let drawn: Vec<&str> =
            [0.0, 0.24, 0.25, 0.99].into_iter().map(|draw| alias.version_for(|| draw)).collect();
        assert_eq!(drawn, ["2", "2", "1", "1"]);
        assert_eq!(alias.versions().collect::<Vec<_>>(), ["1", "2"]);
        alias.additional = Some(Additional { version: "2".to_owned(), weight: 1.0 });
        assert_eq!(alias.version_for(|| 0.999_999), "2");
        alias.additional = Some(Additional { version: "2".to_owned(), weight: 0.0 });
        assert_eq!(alias.version_for(|| 0.0), "1");
    }
}
