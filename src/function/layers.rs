//! Layers: what a published version is, and what the rest of the program asks about them.
//!
//! A version never changes but for its policy, and its number is never given again, also not after
//! its deletion. The records know the content by its hash only; the bytes are `package`'s.
//! It does not validate and knows nothing of functions that use a layer: AWS lets them keep it when
//! it is deleted.

use serde::{Deserialize, Serialize};

use super::error::FunctionError;
use super::name::Place;
use super::registry::Registry;
use super::settings::Policy;

/// The content of a layer as `package` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCode {
    pub sha256_hex: String,
    /// Of the zip file.
    pub size: u64,
}

/// What a version is published with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerDetails {
    pub description: String,
    pub license: Option<String>,
    /// The model's names; `None` where the request had no list.
    pub runtimes: Option<Vec<String>>,
    /// The model's names; `None` where the request had no list.
    pub architectures: Option<Vec<String>>,
    pub code: LayerCode,
    pub created_ms: u64,
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerVersion {
    pub region: String,
    pub name: String,
    pub version: u64,
    pub details: LayerDetails,
    /// Who else may use it. Kept and returned, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

impl LayerVersion {
    /// Whether it names this runtime and this architecture, where one is asked for.
    pub fn fits(&self, runtime: Option<&str>, architecture: Option<&str>) -> bool {
        let names = |list: &Option<Vec<String>>, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| list.iter().flatten().any(|name| name == wanted))
        };
        names(&self.details.runtimes, runtime) && names(&self.details.architectures, architecture)
    }
}

/// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`
pub fn arn(place: Place<'_>, name: &str) -> String {
    // The function's ARN has the same form with another word.
    place.arn(name, None).replacen(":function:", ":layer:", 1)
}

impl Registry {
    /// The packages of all layers of all regions, by their SHA-256.
    pub fn layer_packages(&self) -> Result<Vec<String>, FunctionError> {
        Ok(self.writer().layer_packages()?)
    }

    /// Publishes the next version of a layer, which is made with its first one.
    pub fn publish_layer(
        &self,
        region: &str,
        name: &str,
        details: LayerDetails,
    ) -> Result<LayerVersion, FunctionError> {
        Ok(self.writer().publish_layer(region, name, details)?)
    }

    pub fn layer_version(
        &self,
        region: &str,
        name: &str,
        version: u64,
    ) -> Result<Option<LayerVersion>, FunctionError> {
        Ok(self.writer().layer_version(region, name, version)?)
    }

    /// The versions of a layer, the newest first.
    pub fn layer_versions(
        &self,
        region: &str,
        name: &str,
    ) -> Result<Vec<LayerVersion>, FunctionError> {
        let mut versions = self.writer().layers(region, Some(name))?;
        versions.reverse();
        Ok(versions)
    }

    /// All versions of all layers of a region, by name, the oldest first.
    pub fn layers(&self, region: &str) -> Result<Vec<LayerVersion>, FunctionError> {
        Ok(self.writer().layers(region, None)?)
    }

    /// Replaces a version's policy by what `change` makes of it, and returns it; `None` where there
    /// is no such version. What `change` refuses changes nothing.
    pub fn change_layer_policy<E: From<FunctionError>>(
        &self,
        (region, name, version): (&str, &str, u64),
        change: impl FnOnce(Option<&Policy>) -> Result<Option<Policy>, E>,
    ) -> Result<Option<Option<Policy>>, E> {
        // Held from the reading to the commit, so no other change comes in between.
        let store = self.writer();
        let stored = |error| E::from(FunctionError::Store(error));
        let Some(mut layer) = store.layer_version(region, name, version).map_err(stored)? else {
            return Ok(None);
        };
        layer.policy = change(layer.policy.as_ref())?;
        store.put_layer(&layer).map_err(stored)?;
        Ok(Some(layer.policy))
    }

    /// Deletes a version; one that is not there is no error, as with AWS.
    pub fn delete_layer_version(
        &self,
        region: &str,
        name: &str,
        version: u64,
    ) -> Result<(), FunctionError> {
        Ok(self.writer().delete_layer_version(region, name, version)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::power_cut::Backend;
    use super::*;

    pub(crate) fn details(runtimes: &[&str]) -> LayerDetails {
        let names = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
        LayerDetails {
            description: "d".to_owned(),
            license: None,
            runtimes: names(runtimes),
            architectures: None,
            code: LayerCode { sha256_hex: "00ff".to_owned(), size: 7 },
            created_ms: 0,
        }
    }

    #[test]
    fn numbers_are_never_given_again() {
        let backend = Backend::default();
        let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
        let publish = |registry: &Registry, name: &str| {
            registry.publish_layer("r", name, details(&[])).unwrap().version
        };
        assert_eq!((publish(&registry, "l"), publish(&registry, "l")), (1, 2));
        assert_eq!(publish(&registry, "other"), 1);
        registry.delete_layer_version("r", "l", 2).unwrap();
        registry.delete_layer_version("r", "l", 1).unwrap();
        registry.delete_layer_version("r", "l", 1).unwrap();
        drop(registry);
        let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
        assert_eq!(publish(&registry, "l"), 3);
        assert_eq!(registry.layer_version("r", "l", 1).unwrap(), None);
        assert_eq!(registry.layer_version("r", "l", 3).unwrap().unwrap().details, details(&[]));
    }

    #[test]
    fn a_policy_is_a_versions_own_and_goes_with_it() {
        let backend = Backend::default();
        let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
        for _ in 0..2 {
            registry.publish_layer("r", "l", details(&[])).unwrap();
        }
        let policy = || Policy { revision_id: "1".to_owned(), statements: Vec::new() };
        let put = |registry: &Registry, version| {
            registry.change_layer_policy(("r", "l", version), |earlier| {
                assert_eq!(earlier, None);
                Ok::<_, FunctionError>(Some(policy()))
            })
        };
        assert_eq!(put(&registry, 2).unwrap(), Some(Some(policy())));
        assert_eq!(put(&registry, 3).unwrap(), None);
        let refused = registry.change_layer_policy(("r", "l", 1), |_| {
            Err::<Option<Policy>, _>(FunctionError::OtherRevision)
        });
        assert!(matches!(refused, Err(FunctionError::OtherRevision)));
        drop(registry);
        let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
        let kept = |version| {
            registry.layer_version("r", "l", version).unwrap().and_then(|layer| layer.policy)
        };
        assert_eq!((kept(1), kept(2)), (None, Some(policy())));
        let none = |_: Option<&Policy>| Ok::<_, FunctionError>(None);
        assert_eq!(registry.change_layer_policy(("r", "l", 2), none).unwrap(), Some(None));
        assert_eq!(kept(2), None);
    }

    #[test]
    fn lists_are_of_one_region_and_of_one_name() {
        let registry = Registry::new(Backend::default().open().unwrap(), "123456789012").unwrap();
        assert_eq!(registry.layers("r").unwrap(), []);
        for name in ["l", "l-2", "l", "m"] {
            registry.publish_layer("r", name, details(&[])).unwrap();
        }
        registry.publish_layer("s", "l", details(&[])).unwrap();
        let told = |list: Vec<LayerVersion>| -> Vec<(String, u64)> {
            list.into_iter().map(|layer| (layer.name, layer.version)).collect()
        };
        let l = |version| ("l".to_owned(), version);
        assert_eq!(told(registry.layer_versions("r", "l").unwrap()), [l(2), l(1)]);
        let all = told(registry.layers("r").unwrap());
        assert_eq!(all, [("l-2".to_owned(), 1), l(1), l(2), ("m".to_owned(), 1)]);
    }

    #[test]
    fn a_filter_takes_what_names_it() {
        let registry = Registry::new(Backend::default().open().unwrap(), "123456789012").unwrap();
        let layer = registry.publish_layer("r", "l", details(&["python3.13"])).unwrap();
        assert!(layer.fits(None, None) && layer.fits(Some("python3.13"), None));
        assert!(!layer.fits(Some("nodejs22.x"), None) && !layer.fits(None, Some("arm64")));
    }
}
