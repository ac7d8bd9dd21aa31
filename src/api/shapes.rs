//! The control API's JSON, both ways, as AWS's model has it.
//!
//! Only the form: which values are valid is said in `function_rules` and where a request is read. An unknown member is
//! ignored, as AWS does; `null` is the same as absent. Numbers are wide here so that one out of
//! range is told as that, and not as bad JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// CreateFunction, and UpdateFunctionConfiguration with a part of the members.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct FunctionRequest {
    pub(super) function_name: Option<String>,
    pub(super) runtime: Option<String>,
    pub(super) role: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) code: Option<FunctionCode>,
    pub(super) description: Option<String>,
    pub(super) timeout: Option<i64>,
    pub(super) memory_size: Option<i64>,
    pub(super) publish: Option<bool>,
    pub(super) publish_to: Option<String>,
    pub(super) revision_id: Option<String>,
    pub(super) vpc_config: Option<VpcConfig>,
    pub(super) package_type: Option<String>,
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    pub(super) environment: Option<Environment>,
    #[serde(rename = "KMSKeyArn")]
    pub(super) kms_key_arn: Option<String>,
    pub(super) tracing_config: Option<TracingConfig>,
    pub(super) tags: Option<Pairs>,
    pub(super) layers: Option<Vec<String>>,
    pub(super) file_system_configs: Option<Vec<IgnoredAny>>,
    pub(super) code_signing_config_arn: Option<String>,
    pub(super) image_config: Option<ImageConfig>,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) ephemeral_storage: Option<EphemeralStorage>,
    pub(super) snap_start: Option<SnapStartRequest>,
    pub(super) logging_config: Option<LoggingConfig>,
    pub(super) tenancy_config: Option<IgnoredAny>,
    pub(super) capacity_provider_config: Option<IgnoredAny>,
    pub(super) durable_config: Option<IgnoredAny>,
    pub(super) runtime_config: Option<IgnoredAny>,
    pub(super) accelerator_config: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct FunctionCode {
    pub(super) zip_file: Option<String>,
    #[serde(rename = "S3Bucket")]
    pub(super) s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    pub(super) s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    pub(super) s3_object_version: Option<String>,
    #[serde(rename = "S3ObjectStorageMode")]
    pub(super) s3_object_storage_mode: Option<IgnoredAny>,
    pub(super) image_uri: Option<String>,
    #[serde(rename = "SourceKMSKeyArn")]
    pub(super) source_kms_key_arn: Option<IgnoredAny>,
}

/// UpdateFunctionCode, without the members of [`FunctionCode`], which stand beside these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UpdateFunctionCodeRequest {
    pub(super) architectures: Option<Vec<String>>,
    pub(super) publish: Option<bool>,
    pub(super) publish_to: Option<String>,
    pub(super) dry_run: Option<bool>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PublishVersionRequest {
    pub(super) code_sha256: Option<String>,
    pub(super) description: Option<String>,
    pub(super) revision_id: Option<String>,
    pub(super) publish_to: Option<String>,
}

/// CreateAlias, and UpdateAlias without the name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AliasRequest {
    pub(super) name: Option<String>,
    pub(super) function_version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) routing_config: Option<RoutingConfig>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RoutingConfig {
    pub(super) additional_version_weights: Option<BTreeMap<String, f64>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct VpcConfig {
    pub(super) subnet_ids: Option<Vec<String>>,
    pub(super) security_group_ids: Option<Vec<String>>,
    #[serde(skip_deserializing)]
    pub(super) vpc_id: String,
    pub(super) ipv6_allowed_for_dual_stack: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DeadLetterConfig {
    pub(super) target_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Environment {
    pub(super) variables: Option<Pairs>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TracingConfig {
    pub(super) mode: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ImageConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entry_point: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) working_directory: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EphemeralStorage {
    pub(super) size: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SnapStartRequest {
    pub(super) apply_on: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct LoggingConfig {
    pub(super) log_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application_log_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system_log_level: Option<String>,
    pub(super) log_group: Option<String>,
}

/// A JSON object of strings in the order of the request: AWS repeats it in messages.
///
/// Of a name that stands twice the last value counts.
#[derive(Default)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl Pairs {
    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0.into_iter().collect()
    }
}

/// Values may be secrets: only the names are shown.
impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// `FunctionConfiguration`. Members that are `None` are left out, as AWS leaves them out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FunctionConfiguration<'a> {
    pub(super) function_name: &'a str,
    pub(super) function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtime: Option<&'a str>,
    pub(super) role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handler: Option<&'a str>,
    pub(super) code_size: u64,
    pub(super) description: &'a str,
    pub(super) timeout: u32,
    pub(super) memory_size: u32,
    pub(super) last_modified: String,
    pub(super) code_sha256: &'a str,
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vpc_config: Option<VpcConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<EnvironmentResponse<'a>>,
    #[serde(rename = "KMSKeyArn", skip_serializing_if = "Option::is_none")]
    pub(super) kms_key_arn: Option<&'a str>,
    pub(super) tracing_config: TracingConfig,
    pub(super) revision_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) layers: Vec<LayerResponse<'a>>,
    #[serde(flatten)]
    pub(super) states: States<'a>,
    pub(super) package_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_config_response: Option<ImageConfigResponse>,
    pub(super) architectures: [&'static str; 1],
    pub(super) ephemeral_storage: EphemeralStorage,
    pub(super) snap_start: SnapStartResponse,
    pub(super) logging_config: LoggingConfig,
}

/// The part of a configuration that the entries of a list don't have.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct States<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_reason_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_update_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_update_status_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_update_status_reason_code: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LayerResponse<'a> {
    pub(super) arn: &'a str,
    pub(super) code_size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EnvironmentResponse<'a> {
    pub(super) variables: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageConfigResponse {
    pub(super) image_config: ImageConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SnapStartResponse {
    pub(super) apply_on: &'static str,
    pub(super) optimization_status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetFunctionResponse<'a> {
    pub(super) configuration: FunctionConfiguration<'a>,
    pub(super) code: FunctionCodeLocation<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FunctionCodeLocation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
    pub(super) repository_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resolved_image_uri: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListFunctionsResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
    pub(super) functions: Vec<FunctionConfiguration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListVersionsResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
    pub(super) versions: Vec<FunctionConfiguration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AliasResponse<'a> {
    pub(super) alias_arn: String,
    pub(super) name: &'a str,
    pub(super) function_version: &'a str,
    pub(super) description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) routing_config: Option<RoutingConfig>,
    pub(super) revision_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListAliasesResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
    pub(super) aliases: Vec<AliasResponse<'a>>,
}
