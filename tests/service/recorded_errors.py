"""Errors as AWS itself has answered them, recorded by others and told here by how they are provoked: all that were
recorded of the operations of this service but the one of a VPC whose subnet is not there.

Each row: the operation, its parameters, then status, type and message word for word. The world is that of
`test_recorded_errors`: the function `made` with version 1 and the alias `live` that points at it, and the layer `made`
with two versions, of which the first has a policy with the statement `s3`.
"""

from harness import REGION, ROLE, archive

ARN = f"arn:aws:lambda:{REGION}:000000000000"
ZIPPED = {"Code": {"ZipFile": archive({"a": "b"})}, "Role": ROLE, "Handler": "a.b"}
NEW = {"FunctionName": "new", "Runtime": "python3.12", **ZIPPED}
GRANT = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
SHARE = {"StatementId": "s3", "Action": "lambda:GetLayerVersion", "Principal": "*"}
CSC = f"{ARN}:code-signing-config:csc-0123456789abcdefg"
EVENT_SOURCE = f"{ARN}:event-source-mapping:4487a0ac-6cd8-4ec2-a23d-04bd0c8ba4e4"
LARGE = {"SMALL_VAR": "ok", "LARGE_VAR": "x" * 4_096}

FUNCTION_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
LAYER_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:"
    r"[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
RESOURCE_PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}"
    r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|capacity-provider:[a-zA-Z0-9-_]+)"
)
DESTINATION_PATTERN = (
    r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
    r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)"
)
RUNTIMES = (
    "[nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, "
    "dotnet6, nodejs18.x, provided.al2, java8.al2]"
)


def name(name="made", **more):
    return {"FunctionName": name, **more}


def layer(name="made", version=1, **more):
    return {"LayerName": name, "VersionNumber": version, **more}


def to(when, arn):
    return {"DestinationConfig": {when: {"Destination": arn}}}


def routed(version, **weights):
    config = {"AdditionalVersionWeights": {key.replace("latest", "$LATEST").lstrip("v"): w for key, w in weights.items()}}
    return name(Name="new", FunctionVersion=version, RoutingConfig=config)


def missing(message):
    return 404, "ResourceNotFoundException", message


def no_function(rest):
    return missing(f"Function not found: {ARN}:function:{rest}")


def no_alias(rest):
    return missing(f"Cannot find alias arn: {ARN}:function:{rest}")


def no_event_config(rest):
    return missing(f"The function {ARN}:function:{rest} doesn't have an EventInvokeConfig")


def no_layer(rest):
    return missing(f"Layer version {ARN}:layer:{rest} does not exist.")


def invalid(message):
    return 400, "InvalidParameterValueException", message


def violated(field, value, constraint):
    text = f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"
    return 400, "ValidationException", text


def pattern(text):
    return f"Member must satisfy regular expression pattern: {text}"


def stale(api):
    text = f"The Revision Id provided does not match the latest Revision Id. Call the {api} API to retrieve the latest Revision Id"
    return 412, "PreconditionFailedException", text


def runtime(value):
    return invalid(
        f"Value {value} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: {RUNTIMES} or be a "
        "valid ARN"
    )


def url_qualifier(value):
    return violated("qualifier", value, pattern(r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"))


def other_region(text="eu-west-1"):
    return missing(f"Functions from '{text}' are not reachable in this region ('{REGION}')")


def twins(one, other):
    return invalid(
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{one} and {other} are versions of the same layer."
    )


MISMATCH = invalid("The derived qualifier from the function name does not match the specified qualifier.")
NOTHING = missing("The resource you requested does not exist.")
NO_POLICY = missing("No policy is associated with the given resource.")
ALIAS_TAGS = invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
UNPUBLISHED = invalid("The function resource provided must be an alias or a published version.")
DERIVED = name("made:a", Qualifier="b")
THERE = "arn:aws:lambda:eu-west-1:000000000000:function:made"
GET_FUNCTION = "GetFunction/GetAlias"

ROWS = [
    ("AddLayerVersionPermission", layer(**{**SHARE, "Action": "*"}), violated("action", "*", pattern("lambda:GetLayerVersion"))),
    ("AddLayerVersionPermission", layer("made-doesnotexist", **SHARE), no_layer("made-doesnotexist:1")),
    ("AddLayerVersionPermission", layer(**{**SHARE, "StatementId": "s4"}, RevisionId="x"), stale("GetLayerPolicy")),
    ("AddPermission", {**DERIVED, **GRANT}, MISMATCH),
    (
        "AddPermission",
        name(**GRANT, Qualifier="invalid-qualifier-with-?-char"),
        violated("qualifier", "invalid-qualifier-with-?-char", pattern(r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+")),
    ),
    ("AddPermission", name(**GRANT, Qualifier="alias-doesnotexist"), no_alias("made:alias-doesnotexist")),
    ("AddPermission", name(**GRANT, Qualifier="42"), no_function("made:42")),
    ("AddPermission", name("doesnotexist", **GRANT), no_function("doesnotexist")),
    (
        "AddPermission",
        name(**GRANT),
        (
            409,
            "ResourceConflictException",
            "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing "
            "statement.",
        ),
    ),
    ("AddPermission", name(**{**GRANT, "StatementId": "s4"}, RevisionId="x"), stale("GetPolicy")),
    ("CreateAlias", routed("$LATEST", v1=0.5), invalid("$LATEST is not supported for an alias pointing to more than 1 version")),
    (
        "CreateAlias",
        routed("1", v1=0.5),
        invalid("Invalid function version 1. Function version 1 is already included in routing configuration."),
    ),
    (
        "CreateAlias",
        routed("1", v2=0.5, v3=0.5),
        invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"),
    ),
    (
        "CreateAlias",
        routed("1", latest=0.5),
        violated(
            "routingConfig.additionalVersionWeights",
            "{$LATEST=0.5}",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have "
            "length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]",
        ),
    ),
    (
        "CreateAlias",
        routed("1", v2=-1.0),
        violated(
            "routingConfig.additionalVersionWeights",
            "{2=-1.0}",
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value "
            "greater than or equal to 0.0, Member must not be null]",
        ),
    ),
    ("CreateAlias", name("made-unknown", Name="new", FunctionVersion="1"), no_function("made-unknown:1")),
    ("CreateAlias", name(Name="new", FunctionVersion="10"), no_function("made:10")),
    (
        "CreateFunction",
        {**NEW, "FunctionName": "a" * 65},
        invalid(
            f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: Member must "
            "have length less than or equal to 64"
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "Layers": [f"{ARN}:layer:l{n}:1" for n in range(6)]},
        invalid("Cannot reference more than 5 layers."),
    ),
    (
        "CreateFunction",
        {**NEW, "Code": {"ZipFile": b"this is not a zipfile, just a random string"}},
        invalid("Could not unzip uploaded file. Please check your file, then try to upload again."),
    ),
    (
        "CreateFunction",
        {**NEW, "Code": {"S3Bucket": "code-doesntexist", "S3Key": "code.zip"}},
        invalid(
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not "
            "exist"
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "Code": {"S3Bucket": "code", "S3Key": "unknown.zip"}},
        invalid(
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "Environment": {"Variables": LARGE}},
        invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided "
            f'exceeded the 4KB limit. String measured: {{"SMALL_VAR":"ok","LARGE_VAR":"{"x" * 4_096}"}}'
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "Layers": ["arn:aws:lambda:eu-west-1:000000000000:layer:made:1"]},
        invalid(
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1."
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "Tags": {f"k{n}": "v" for n in range(51)}},
        invalid("Number of tags exceeds resource tag limit."),
    ),
    ("CreateFunction", {**NEW, "Runtime": "PYTHON3.9"}, runtime("PYTHON3.9")),
    ("CreateFunction", {**NEW, "Runtime": "non-existent-runtime"}, runtime("non-existent-runtime")),
    (
        "CreateFunction",
        {**NEW, "VpcConfig": {"SubnetIds": ["bad-deadbeef"], "SecurityGroupIds": ["sg-1"]}},
        violated(
            "vpcConfig.subnetIds",
            "[bad-deadbeef]",
            "Member must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length "
            "greater than or equal to 0, Member must satisfy regular expression pattern: subnet-[0-9a-z]*]",
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "Architectures": ["x86_64", "arm64"]},
        violated("architectures", "[x86_64, arm64]", "Member must have length less than or equal to 1"),
    ),
    (
        "CreateFunction",
        {**NEW, "FunctionName": f"{ARN}:function:{'a' * 100}"},
        violated("functionName", f"{ARN}:function:{'a' * 100}", "Member must have length less than or equal to 140"),
    ),
    (
        "CreateFunction",
        {**NEW, "FunctionName": "invalid:function:name"},
        violated("functionName", "invalid:function:name", pattern(FUNCTION_PATTERN)),
    ),
    (
        "CreateFunction",
        {**NEW, "SnapStart": {"ApplyOn": "invalidOption"}},
        violated("snapStart.applyOn", "invalidOption", "Member must satisfy enum value set: [PublishedVersions, None]"),
    ),
    (
        "CreateFunction",
        {**NEW, "Layers": [f"arn:aws:lambda:{REGION}:111111111111:layer:theirs:1"]},
        (
            403,
            "AccessDeniedException",
            "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:GetLayerVersion on resource: "
            f"arn:aws:lambda:{REGION}:111111111111:layer:theirs:1 because no resource-based policy allows the "
            "lambda:GetLayerVersion action",
        ),
    ),
    (
        "CreateFunction",
        {**NEW, "FunctionName": "arn:aws:lambda:ap-southeast-1:000000000000:function:new"},
        other_region("ap-southeast-1"),
    ),
    (
        "CreateFunction",
        {**NEW, "Code": {"ZipFile": b"x" * 52_428_801}},
        (413, "RequestEntityTooLargeException", "Zipped size must be smaller than 52428800 bytes"),
    ),
    ("CreateFunctionUrlConfig", {**DERIVED, "AuthType": "NONE"}, MISMATCH),
    ("CreateFunctionUrlConfig", name(Qualifier="1", AuthType="NONE"), url_qualifier("1")),
    ("CreateFunctionUrlConfig", name("doesnotexist", AuthType="NONE"), missing("Function does not exist")),
    (
        "DeleteFunction",
        name(Qualifier="$LATEST"),
        invalid("$LATEST version cannot be deleted without deleting the function."),
    ),
    ("DeleteFunction", DERIVED, MISMATCH),
    ("DeleteFunction", name("doesnotexist"), no_function("doesnotexist")),
    ("DeleteFunction", name(THERE), other_region()),
    ("DeleteFunctionCodeSigningConfig", name("csc-test-doesnotexist"), no_function("csc-test-doesnotexist")),
    ("DeleteFunctionEventInvokeConfig", name(), no_event_config("made:$LATEST")),
    *[("DeleteFunctionUrlConfig", name(Qualifier=q), url_qualifier(q)) for q in ("$LATEST", "1", "2")],
    ("DeleteFunctionUrlConfig", name(), NOTHING),
    ("DeleteProvisionedConcurrencyConfig", name(Qualifier="$LATEST"), UNPUBLISHED),
    ("DeleteProvisionedConcurrencyConfig", name(Qualifier="10"), no_function("made:10")),
    ("DeleteProvisionedConcurrencyConfig", name("doesnotexist", Qualifier="1"), no_function("doesnotexist:1")),
    ("GetAlias", name(Name="non-existent"), no_alias("made:non-existent")),
    ("GetFunction", name(Qualifier="1221"), no_function("made:1221")),
    ("GetFunction", name(Qualifier="aliasdoesnotexist"), no_function("made:aliasdoesnotexist")),
    ("GetFunction", name("some-function", Qualifier="$LATEST"), no_function("some-function:$LATEST")),
    ("GetFunctionCodeSigningConfig", name("doesnotexist"), no_function("doesnotexist")),
    ("GetFunctionCodeSigningConfig", name(THERE), other_region()),
    ("GetFunctionConcurrency", name("doesnotexist"), no_function("doesnotexist")),
    ("GetFunctionConfiguration", name(Qualifier="1221"), no_function("made:1221")),
    ("GetFunctionConfiguration", name("doesnotexist"), no_function("doesnotexist")),
    ("GetFunctionConfiguration", name("some-function", Qualifier="$LATEST"), no_function("some-function:$LATEST")),
    ("GetFunctionConfiguration", name(THERE), other_region()),
    *[("GetFunctionEventInvokeConfig", name(Qualifier=q), no_event_config(f"made:{q}")) for q in ("1221", "1", "none", "live")],
    ("GetFunctionEventInvokeConfig", name("doesnotexist"), no_event_config("doesnotexist:$LATEST")),
    ("GetFunctionUrlConfig", name(Qualifier="1"), url_qualifier("1")),
    ("GetFunctionUrlConfig", name(THERE), other_region()),
    ("GetFunctionUrlConfig", name(), NOTHING),
    ("GetLayerVersion", layer(version=-1), invalid("Layer Version Cannot be less than 1")),
    ("GetLayerVersionByArn", {"Arn": f"{ARN}:layer:made"}, violated("arn", f"{ARN}:layer:made", pattern(LAYER_PATTERN))),
    ("GetLayerVersionByArn", {"Arn": f"{ARN}:layer:made:10"}, NOTHING),
    ("GetLayerVersionPolicy", layer("made-doesnotexist"), no_layer("made-doesnotexist:1")),
    ("GetLayerVersionPolicy", layer(version=2), NO_POLICY),
    ("GetPolicy", name(Qualifier="live"), NOTHING),
    ("GetProvisionedConcurrencyConfig", name(Qualifier="$LATEST"), UNPUBLISHED),
    (
        "GetProvisionedConcurrencyConfig",
        name(Qualifier="1"),
        (
            404,
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
        ),
    ),
    ("GetProvisionedConcurrencyConfig", name(Qualifier="noalias"), no_alias("made:noalias")),
    ("GetProvisionedConcurrencyConfig", name("doesnotexist", Qualifier="noalias"), no_alias("doesnotexist:noalias")),
    ("Invoke", name(THERE), other_region()),
    ("ListFunctionEventInvokeConfigs", name("doesnotexist"), missing("The function doesn't exist.")),
    ("ListFunctionUrlConfigs", name("doesnotexist"), missing("Function does not exist")),
    (
        "ListFunctions",
        {"FunctionVersion": "invalid"},
        violated("functionVersion", "invalid", "Member must satisfy enum value set: [ALL]"),
    ),
    ("ListTags", {"Resource": f"{ARN}:function:made:live"}, ALIAS_TAGS),
    *[
        ("ListTags", {"Resource": arn}, violated("resource", arn, pattern(RESOURCE_PATTERN)))
        for arn in (f"{EVENT_SOURCE}:alias", f"{ARN}:foobar:made")
    ],
    ("ListTags", {"Resource": f"{ARN}:capacity-provider:p"}, missing(f"Capacity provider not found: {ARN}:capacity-provider:p")),
    ("ListTags", {"Resource": EVENT_SOURCE}, missing(f"Event source mapping not found: {EVENT_SOURCE}")),
    ("ListTags", {"Resource": f"{ARN}:function:doesnotexist"}, no_function("doesnotexist")),
    (
        "PublishLayerVersion",
        {
            "LayerName": "new",
            "Content": {"ZipFile": archive({"a": "b"})},
            "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
            "CompatibleArchitectures": ["invalidarch", "x86_64"],
        },
        (
            400,
            "ValidationException",
            "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
            f"failed to satisfy constraint: Member must satisfy enum value set: {RUNTIMES}; Value '[invalidarch, x86_64]' "
            "at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy constraint: [Member must "
            "satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
    ),
    ("PublishVersion", name(RevisionId="x"), stale(GET_FUNCTION)),
    (
        "PutFunctionCodeSigningConfig",
        name(CodeSigningConfigArn=CSC),
        (
            404,
            "CodeSigningConfigNotFoundException",
            f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {CSC}.",
        ),
    ),
    ("PutFunctionCodeSigningConfig", name("csc-test-doesnotexist", CodeSigningConfigArn=CSC), no_function("csc-test-doesnotexist")),
    (
        "PutFunctionConcurrency",
        name(ReservedConcurrentExecutions=10),
        invalid(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
            "its minimum value of [1]."
        ),
    ),
    (
        "PutFunctionConcurrency",
        name("made:1", ReservedConcurrentExecutions=1),
        invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        ),
    ),
    ("PutFunctionConcurrency", name("doesnotexist", ReservedConcurrentExecutions=1), no_function("doesnotexist:$LATEST")),
    (
        "PutFunctionEventInvokeConfig",
        name(**to("OnSuccess", f"arn:aws:iam:{REGION}:000000000000:function:made")),
        invalid(
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            f"arn:aws:iam:{REGION}:000000000000:function:made), onFailure=null) is invalid."
        ),
    ),
    (
        "PutFunctionEventInvokeConfig",
        name(**to("OnSuccess", f"{ARN}:function:made")),
        invalid("You can't specify the function as a destination for itself."),
    ),
    (
        "PutFunctionEventInvokeConfig",
        name(**to("OnFailure", f"arn:aws:_-/!lambda:{REGION}:000000000000:function:made")),
        violated(
            "destinationConfig.onFailure.destination",
            f"arn:aws:_-/!lambda:{REGION}:000000000000:function:made",
            pattern(DESTINATION_PATTERN),
        ),
    ),
    (
        "PutFunctionRecursionConfig",
        name(RecursiveLoop="InvalidValue"),
        violated("recursiveLoop", "InvalidValue", "Member must satisfy enum value set: [Terminate, Allow]"),
    ),
    (
        "PutProvisionedConcurrencyConfig",
        name(Qualifier="$LATEST", ProvisionedConcurrentExecutions=1),
        invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
    ),
    (
        "PutProvisionedConcurrencyConfig",
        name(Qualifier="1", ProvisionedConcurrentExecutions=10),
        invalid(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            "minimum value of [1]."
        ),
    ),
    (
        "PutProvisionedConcurrencyConfig",
        name(Qualifier="1", ProvisionedConcurrentExecutions=11),
        invalid("Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [10]."),
    ),
    (
        "PutProvisionedConcurrencyConfig",
        name(Qualifier="1", ProvisionedConcurrentExecutions=0),
        violated("provisionedConcurrentExecutions", "0", "Member must have value greater than or equal to 1"),
    ),
    *[
        ("PutProvisionedConcurrencyConfig", name(of, Qualifier=q, ProvisionedConcurrentExecutions=1), answer)
        for of, q, answer in (
            ("made", "doesnotexist", no_alias("made:doesnotexist")),
            ("doesnotexist", "noalias", no_alias("doesnotexist:noalias")),
            ("made", "10", no_function("made:10")),
            ("doesnotexist", "1", no_function("doesnotexist:1")),
        )
    ],
    ("RemoveLayerVersionPermission", layer(version=3, StatementId="s3"), no_layer("made:3")),
    (
        "RemoveLayerVersionPermission",
        layer(StatementId="doesnotexist"),
        missing("Statement doesnotexist is not found in resource policy."),
    ),
    ("RemoveLayerVersionPermission", layer(StatementId="s3", RevisionId="x"), stale("GetLayerPolicy")),
    (
        "RemovePermission",
        name("doesnotexist", StatementId="s3"),
        missing(f"No policy found for: {ARN}:function:doesnotexist"),
    ),
    ("RemovePermission", name(StatementId="s3", Qualifier="live"), NO_POLICY),
    ("TagResource", {"Resource": f"{ARN}:function:made:1", "Tags": {"a": "b"}}, ALIAS_TAGS),
    (
        "TagResource",
        {"Resource": "arn:aws:something", "Tags": {"a": "b"}},
        violated("resource", "arn:aws:something", pattern(RESOURCE_PATTERN)),
    ),
    ("TagResource", {"Resource": EVENT_SOURCE, "Tags": {"a": "b"}}, missing(f"Event source mapping not found: {EVENT_SOURCE}")),
    ("TagResource", {"Resource": f"{ARN}:function:doesnotexist", "Tags": {"a": "b"}}, no_function("doesnotexist")),
    (
        "UntagResource",
        {"Resource": f"{ARN}:function:made", "TagKeys": []},
        (
            400,
            "ValidationException",
            "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
        ),
    ),
    (
        "UntagResource",
        {"Resource": f"{ARN}:capacity-provider:p", "TagKeys": ["a"]},
        missing(f"Capacity provider not found: {ARN}:capacity-provider:p"),
    ),
    ("UntagResource", {"Resource": f"{ARN}:function:doesnotexist", "TagKeys": ["a"]}, no_function("doesnotexist")),
    ("UpdateAlias", name(Name="non-existent"), missing(f"Alias not found: {ARN}:function:made:non-existent")),
    ("UpdateFunctionCode", name(ZipFile=archive({"a": "b"}), RevisionId="x"), stale(GET_FUNCTION)),
    *[
        ("UpdateFunctionConfiguration", name(Layers=[f"{ARN}:layer:made:1", f"{ARN}:layer:made:{n}"]), twins(f"{ARN}:layer:made:1", f"{ARN}:layer:made:{n}"))
        for n in (1, 2)
    ],
    ("UpdateFunctionConfiguration", name(Runtime="PYTHON3.9"), runtime("PYTHON3.9")),
    (
        "UpdateFunctionConfiguration",
        name(Layers=[f"{ARN}:layer:made"]),
        violated(
            "layers",
            f"[{ARN}:layer:made]",
            "Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length "
            f"greater than or equal to 1, {pattern(LAYER_PATTERN)}, Member must not be null]",
        ),
    ),
    ("UpdateFunctionConfiguration", name(Description="d", RevisionId="x"), stale(GET_FUNCTION)),
    ("UpdateFunctionEventInvokeConfig", name(Qualifier="live", MaximumRetryAttempts=1), no_event_config("made:live")),
    ("UpdateFunctionEventInvokeConfig", name("doesnotexist", MaximumRetryAttempts=1), missing("The function doesn't exist.")),
    ("UpdateFunctionUrlConfig", {**DERIVED, "AuthType": "NONE"}, MISMATCH),
    ("UpdateFunctionUrlConfig", name(Qualifier="$LATEST"), url_qualifier("$LATEST")),
    ("UpdateFunctionUrlConfig", name(), NOTHING),
]  # fmt: skip
