"""Every error that botocore's model documents for an operation of the service: how it is provoked, or in one line why
it cannot occur here.

`PROVOKED` maps (operation, error) to a call on the world that `test_contract_errors` has made; `EXPLAINED` maps it to
the reason, where the operation may be `*` for all that document the error. A pair that is in neither fails the test.
"""

from botocore import xform_name

from harness import REGION, ROLE, archive

ARN = f"arn:aws:lambda:{REGION}:000000000000"
ELSEWHERE = "arn:aws:lambda:eu-west-1:000000000000"
ROUTING = {"AdditionalVersionWeights": {"1": 0.5}}
SIX_LAYERS = [f"{ARN}:layer:l{number}:1" for number in range(6)]
GRANT = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
SHARE = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
CSC = f"{ARN}:code-signing-config:csc-0123456789abcdefg"


def function(name="absent", **more):
    return {"FunctionName": name, **more}


def layer(name="absent", version=1, **more):
    return {"LayerName": name, "VersionNumber": version, **more}


NEW = {"Role": ROLE, "Runtime": "provided.al2023", "Handler": "x", "Code": {"ZipFile": archive({"a": "b"})}}

# A well-formed call of each operation on what is not there.
ABSENT = {
    "AddLayerVersionPermission": layer(**SHARE),
    "AddPermission": function(**GRANT),
    "CreateAlias": function(Name="a", FunctionVersion="1"),
    "CreateFunction": function(f"{ELSEWHERE}:function:absent", **NEW),
    "CreateFunctionUrlConfig": function(AuthType="NONE"),
    "DeleteAlias": function(Name="a"),
    "DeleteFunction": function(),
    "DeleteFunctionCodeSigningConfig": function(),
    "DeleteFunctionConcurrency": function(),
    "DeleteFunctionEventInvokeConfig": function(),
    "DeleteFunctionUrlConfig": function(),
    "DeleteLayerVersion": layer(f"{ELSEWHERE}:layer:absent"),
    "DeleteProvisionedConcurrencyConfig": function(Qualifier="1"),
    "GetAccountSettings": {},
    "GetAlias": function(Name="a"),
    "GetFunction": function(),
    "GetFunctionCodeSigningConfig": function(),
    "GetFunctionConcurrency": function(),
    "GetFunctionConfiguration": function(),
    "GetFunctionEventInvokeConfig": function(),
    "GetFunctionRecursionConfig": function(),
    "GetFunctionUrlConfig": function(),
    "GetLayerVersion": layer(),
    "GetLayerVersionByArn": {"Arn": f"{ARN}:layer:absent:1"},
    "GetLayerVersionPolicy": layer(),
    "GetPolicy": function(),
    "GetProvisionedConcurrencyConfig": function(Qualifier="1"),
    "GetRuntimeManagementConfig": function(),
    "Invoke": function(),
    "ListAliases": function(),
    "ListFunctionEventInvokeConfigs": function(),
    "ListFunctionUrlConfigs": function(),
    "ListFunctions": {},
    "ListLayerVersions": {"LayerName": f"{ELSEWHERE}:layer:absent"},
    "ListLayers": {},
    "ListProvisionedConcurrencyConfigs": function(),
    "ListTags": {"Resource": f"{ARN}:function:absent"},
    "ListVersionsByFunction": function(),
    "PublishLayerVersion": {"LayerName": f"{ELSEWHERE}:layer:absent", "Content": {"ZipFile": archive({"a": "b"})}},
    "PublishVersion": function(),
    "PutFunctionCodeSigningConfig": function(CodeSigningConfigArn=CSC),
    "PutFunctionConcurrency": function(ReservedConcurrentExecutions=1),
    "PutFunctionEventInvokeConfig": function(MaximumRetryAttempts=1),
    "PutFunctionRecursionConfig": function(RecursiveLoop="Allow"),
    "PutProvisionedConcurrencyConfig": function(Qualifier="1", ProvisionedConcurrentExecutions=1),
    "PutRuntimeManagementConfig": function(UpdateRuntimeOn="Auto"),
    "RemoveLayerVersionPermission": layer(StatementId="s"),
    "RemovePermission": function(StatementId="s"),
    "TagResource": {"Resource": f"{ARN}:function:absent", "Tags": {"a": "b"}},
    "UntagResource": {"Resource": f"{ARN}:function:absent", "TagKeys": ["a"]},
    "UpdateAlias": function(Name="a"),
    "UpdateFunctionCode": function(ZipFile=archive({"a": "b"})),
    "UpdateFunctionConfiguration": function(),
    "UpdateFunctionEventInvokeConfig": function(MaximumRetryAttempts=1),
    "UpdateFunctionUrlConfig": function(),
}
NEVER_ABSENT = {"GetAccountSettings", "ListFunctions", "ListLayers"}

# For InvalidParameterValueException: what differs from the call above.
INVALID = {
    "AddLayerVersionPermission": layer(version=0),
    "AddPermission": function("made:a", Qualifier="b"),
    "CreateAlias": function(FunctionVersion="$LATEST", RoutingConfig=ROUTING),
    "CreateFunction": function("new", Layers=SIX_LAYERS),
    "CreateFunctionUrlConfig": function("made:a", Qualifier="b"),
    "DeleteAlias": function("made:1"),
    "DeleteFunction": function("made", Qualifier="$LATEST"),
    "DeleteFunctionConcurrency": function("made:1"),
    "DeleteFunctionEventInvokeConfig": function("made:a", Qualifier="b"),
    "DeleteFunctionUrlConfig": function("made:a", Qualifier="b"),
    "DeleteLayerVersion": layer(version=0),
    "DeleteProvisionedConcurrencyConfig": function("made", Qualifier="$LATEST"),
    "GetAlias": function("made:1"),
    "GetFunction": function("made:a", Qualifier="b"),
    "GetFunctionConcurrency": function("made:1"),
    "GetFunctionConfiguration": function("made:a", Qualifier="b"),
    "GetFunctionEventInvokeConfig": function("made:a", Qualifier="b"),
    "GetFunctionUrlConfig": function("made:a", Qualifier="b"),
    "GetLayerVersion": layer(version=0),
    "GetLayerVersionPolicy": layer(version=0),
    "GetPolicy": function("made:a", Qualifier="b"),
    "GetProvisionedConcurrencyConfig": function("made", Qualifier="$LATEST"),
    "GetRuntimeManagementConfig": function("made", Qualifier="live"),
    "Invoke": function("made:a", Qualifier="b"),
    "ListAliases": function("made:1"),
    "ListFunctions": {"Marker": "no marker"},
    "ListLayerVersions": {"LayerName": "made", "Marker": "no marker"},
    "ListTags": {"Resource": f"{ARN}:function:made:live"},
    "ListVersionsByFunction": function("made:1"),
    "PublishLayerVersion": {"LayerName": "new", "Content": {"ZipFile": b"no zip"}},
    "PublishVersion": function("made:1"),
    "PutFunctionConcurrency": function("made:1"),
    "PutFunctionEventInvokeConfig": function(
        "made", DestinationConfig={"OnSuccess": {"Destination": f"{ARN}:function:made"}}
    ),
    "PutProvisionedConcurrencyConfig": function("made", Qualifier="$LATEST"),
    "PutRuntimeManagementConfig": function("made", UpdateRuntimeOn="Manual"),
    "RemoveLayerVersionPermission": layer(version=0),
    "RemovePermission": function("made:a", Qualifier="b"),
    "TagResource": {"Resource": f"{ARN}:function:made:live"},
    "UntagResource": {"Resource": f"{ARN}:function:made:live"},
    "UpdateAlias": function("made:1"),
    "UpdateFunctionCode": function("zipped", ZipFile=b"no zip"),
    "UpdateFunctionConfiguration": function("made", Layers=SIX_LAYERS),
    "UpdateFunctionEventInvokeConfig": function("made:a", Qualifier="b"),
    "UpdateFunctionUrlConfig": function("made:a", Qualifier="b"),
}

# For ResourceConflictException.
CONFLICTING = {
    "AddLayerVersionPermission": layer("made"),
    "AddPermission": function("made"),
    "CreateAlias": function("made", Name="live"),
    "CreateFunction": function("made"),
    "CreateFunctionUrlConfig": function("made"),
    "DeleteFunction": function("made", Qualifier="1"),
    "Invoke": function("pending"),
    "PublishVersion": function("pending"),
    "UpdateFunctionCode": function("pending"),
    "UpdateFunctionConfiguration": function("pending"),
}

# For PreconditionFailedException: a revision that nobody has seen.
GUARDED = {
    "AddLayerVersionPermission": layer("made", StatementId="t"),
    "AddPermission": function("made", StatementId="t"),
    "PublishVersion": function("made"),
    "RemoveLayerVersionPermission": layer("made"),
    "RemovePermission": function("made"),
    "UpdateAlias": function("made", Name="live"),
    "UpdateFunctionCode": function("zipped"),
    "UpdateFunctionConfiguration": function("made"),
}


def calls(operation, changes):
    """A call of the operation on a world, with changes over the well-formed one."""
    return lambda world: getattr(world.client, xform_name(operation))(**{**ABSENT[operation], **changes})


def crowd(operation, **grant):
    """Adds statements until there are too many."""

    def provoke(world):
        for number in range(1_000):
            calls(operation, {**grant, "StatementId": f"{number:0>100}"})(world)

    return provoke


def unanswered(operation):
    """The one call of a world that has no thread left for it."""
    return lambda world: getattr(world.full, xform_name(operation))(**ABSENT[operation])


def looped(world):
    """An invocation of `made` that comes out of sixteen others, as the trace header of a chain tells."""
    value = 0x811C9DC5  # FNV-1a of the function's region and name
    for byte in f"{REGION}/made".encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    trace = f"Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Lineage={value:08x}:16"

    def add(request, **_):
        request.headers["X-Amzn-Trace-Id"] = trace

    world.client.meta.events.register("before-sign.lambda.Invoke", add)
    try:
        calls("Invoke", function("made"))(world)
    finally:
        world.client.meta.events.unregister("before-sign.lambda.Invoke", add)


MISSING, CONFLICT = "ResourceNotFoundException", "ResourceConflictException"
PROVOKED = {
    **{(name, MISSING): calls(name, {}) for name in ABSENT if name not in NEVER_ABSENT},
    **{(name, "InvalidParameterValueException"): calls(name, changes) for name, changes in INVALID.items()},
    **{(name, CONFLICT): calls(name, changes) for name, changes in CONFLICTING.items()},
    **{
        (name, "PreconditionFailedException"): calls(name, {**changes, "RevisionId": "none"})
        for name, changes in GUARDED.items()
    },
    **{(name, "ServiceException"): unanswered(name) for name in ABSENT if name != "Invoke"},
    ("Invoke", "ServiceException"): calls("Invoke", function("gone")),
    ("Invoke", "TooManyRequestsException"): calls("Invoke", function("stopped")),
    ("Invoke", "RequestTooLargeException"): calls("Invoke", function("made", Payload=b" " * ((6 << 20) + 1))),
    ("Invoke", "InvalidRequestContentException"): calls("Invoke", function("made", Payload=b"{")),
    ("Invoke", "RecursiveInvocationException"): looped,
    ("Invoke", "NoPublishedVersionException"): calls("Invoke", function("zipped", Qualifier="$LATEST.PUBLISHED")),
    ("AddPermission", "PolicyLengthExceededException"): crowd(
        "AddPermission", FunctionName="made", Qualifier="live", SourceArn=f"arn:aws:s3:::{'b' * 3_000}"
    ),
    ("AddLayerVersionPermission", "PolicyLengthExceededException"): crowd("AddLayerVersionPermission", LayerName="crowded"),
    ("CreateFunction", "CodeSigningConfigNotFoundException"): calls(
        "CreateFunction", function("new", CodeSigningConfigArn=CSC)
    ),
    ("PutFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException"): calls(
        "PutFunctionCodeSigningConfig", function("made")
    ),
    ("GetProvisionedConcurrencyConfig", "ProvisionedConcurrencyConfigNotFoundException"): calls(
        "GetProvisionedConcurrencyConfig", function("made")
    ),
}

ONE_WRITER = "changes wait for each other, so none finds another one halfway, and nothing else can be in its way"
CONSTRAINED = "whatever can be wrong with it breaks a constraint of the model, which is a ValidationException"
EXPLAINED = {
    ("*", "TooManyRequestsException"): "the control API has no rate: where too much waits it is ServiceException, 503",
    ("*", CONFLICT): ONE_WRITER,
    ("*", "InvalidParameterValueException"): CONSTRAINED,
    ("*", "CodeSigningConfigNotFoundException"): "no function has a code signing configuration, and AWS answers so",
    ("*", "CodeStorageExceededException"): "the disk bounds what is stored; when it is full it is ServiceException",
    ("*", "InvalidCodeSignatureException"): "no code signing configuration can be made, so no signature is asked for",
    ("*", "CodeVerificationFailedException"): "no code signing configuration can be made, so no signature is checked",
    ("*", "PublicPolicyException"): "public access cannot be blocked: a policy opens nothing here",
    ("*", "FunctionVersionsPerCapacityProviderLimitExceededException"): "there are no capacity providers",
    ("CreateAlias", "AliasLimitExceededException"): "a function may have any number of aliases",
    ("Invoke", "ResourceNotReadyException"): "a VPC's connection is kept as a record only",
    ("Invoke", "ServiceQuotaExceededException"): "there are no quotas but those that have errors of their own",
    ("Invoke", "UnsupportedMediaTypeException"): "a payload is judged by what it is, whatever its content type says",
    ("Invoke", "SerializedRequestEntityTooLargeException"): "there are no durable executions",
    ("Invoke", "DurableExecutionAlreadyStartedException"): "there are no durable executions",
    ("Invoke", "ModeNotSupportedException"): "there are no functions for one mode of invocation only",
    ("Invoke", "InvalidZipFileException"): "a package is checked before it is kept",
    ("Invoke", "InvalidRuntimeException"): "a function whose runtime has no image is Failed, which is a conflict",
    ("Invoke", "RuntimeAliasDeletedException"): "the images that [runtimes] names are the runtimes",
    ("Invoke", "RuntimeVersionDeletedException"): "the images that [runtimes] names are the runtimes",
    **{
        ("Invoke", f"{name}Exception"): reason
        for reason, names in {
            "a VPC's configuration is kept as a record only": (
                "InvalidSecurityGroupID", "InvalidSubnetID", "SubnetIPAddressLimitReached", "ENILimitReached",
                "ENINotReady", "EC2Throttled", "EC2Unexpected", "EC2AccessDenied",
            ),
            "a key's ARN is kept as a record only": ("KMSAccessDenied", "KMSDisabled", "KMSNotFound", "KMSInvalidState"),
            "SnapStart is refused": (
                "SnapStart", "SnapStartNotReady", "SnapStartTimeout", "SnapStartRegenerationFailure",
            ),
            "file systems are refused": (
                "EFSMountConnectivity", "EFSMountTimeout", "EFSMountFailure", "EFSIO", "S3FilesMountConnectivity",
                "S3FilesMountFailure", "S3FilesMountTimeout",
            ),
            "code comes as a zip, from S3 or as an image": (
                "CodeArtifactUserDeleted", "CodeArtifactUserPending", "CodeArtifactUserFailed",
            ),
        }.items()
        for name in names
    },
}  # fmt: skip
