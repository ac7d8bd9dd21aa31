//! Whose log it is: where its lines go, and what the service's own lines say of the function.

use std::sync::Arc;
use std::time::SystemTime;

use super::levels::Style;
use crate::dispatch::{Kind, Target};
use crate::observe::time::Civil;
use crate::random;

/// A stream of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub region: String,
    pub group: String,
    pub stream: String,
}

/// A sandbox as its log tells of it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) place: Arc<Place>,
    pub(super) style: Style,
    pub(super) function: String,
    pub(super) version: String,
    pub(super) arn: String,
    pub(super) kind: Kind,
    pub(super) memory_mb: u32,
    /// The runtime's identifier and what stands for its version; none for a container image, as on
    /// AWS.
    pub(super) runtime: Option<(String, String)>,
}

impl Subject {
    pub(super) fn of(target: &Target, kind: Kind, stream: String) -> Subject {
        let function = target.function.as_ref();
        // The key begins with the region.
        let region = target.key.split('/').next().unwrap_or_default();
        let group = || format!("/aws/lambda/{}", target.name);
        Subject {
            place: Arc::new(Place {
                region: region.to_owned(),
                group: function.map_or_else(group, |function| function.logging.group.clone()),
                stream,
            }),
            style: function.map_or(Style::TEXT, |function| Style::of(&function.logging)),
            function: target.name.clone(),
            version: target.version.clone(),
            arn: target.arn.clone(),
            kind,
            memory_mb: target.memory_mb,
            // AWS's runtime versions exist there only. Here the image is what runs, and its id is
            // a digest of as many digits.
            runtime: function.and_then(|function| {
                let runtime = function.runtime.clone()?;
                let arn = format!("arn:aws:lambda:{region}::runtime:{}", function.image_id);
                Some((runtime, arn))
            }),
        }
    }
}

/// The name of a new stream as Lambda gives it: `2026/11/23/[$LATEST]` and 32 digits.
pub fn stream_name(version: &str, now: SystemTime) -> String {
    let Civil { year, month, day, .. } = Civil::from(now);
    format!("{year:04}/{month:02}/{day:02}/[{version}]{}", random::uuid().simple())
}
