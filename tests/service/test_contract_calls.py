"""Each implemented operation called with boto3, and each answer held against botocore's model as it comes over the
wire: status, members, types, enumerations, bounds.

One long story, since most operations need what others have made; at its end no operation of the service is left.
"""

import json
import platform

import pytest

from conftest import build_function
from contract import IMPLEMENTED, Judge
from harness import REGION, ROLE, archive

ACCOUNT = "000000000000"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
# No code signing configuration can be made here, so none can be put on a function.
NEVER = {"PutFunctionCodeSigningConfig"}
FAST = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture(scope="module")
def service(run_id, make_module_service):
    return make_module_service(docker={"base_image": f"{run_id}-base:al2023"})


def settings_of_each_kind(layers):
    """Every member of CreateFunction's model that is acted on or kept."""
    return {
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Role": ROLE,
        "Description": "one of each",
        "Timeout": 20,
        "MemorySize": 128,
        "Publish": False,
        "PackageType": "Zip",
        "EphemeralStorage": {"Size": 1024},
        "Environment": {"Variables": {"KEY": "value = more"}},
        "Tags": {"team": "a b"},
        "Layers": layers,
        "Architectures": [ARCHITECTURE],
        "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k",
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
        "TracingConfig": {"Mode": "Active"},
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": True},
        "SnapStart": {"ApplyOn": "None"},
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "INFO", "LogGroup": "/g"},
    }


def test_every_operation_answers_as_the_model_says(service):
    judge = Judge()
    client = judge.listen(service.boto())
    functions(client)
    versions_and_aliases(client)
    what_hangs_on_a_function(client)
    layers(client)
    the_end(client)
    assert not judge.faults, "\n".join(judge.faults)
    assert judge.errors == set()
    assert judge.succeeded == set(IMPLEMENTED) - NEVER


def functions(client):
    zipped = archive({"bootstrap": build_function().read_bytes()})
    content = archive({"data": "x"})
    layer = client.publish_layer_version(
        LayerName="one",
        Description="d",
        Content={"ZipFile": content},
        CompatibleRuntimes=["provided.al2023", "python3.13"],
        CompatibleArchitectures=["x86_64", "arm64"],
        LicenseInfo="MIT",
    )
    assert layer["CompatibleArchitectures"] == ["x86_64", "arm64"]
    wanted = settings_of_each_kind([layer["LayerVersionArn"]])
    made = client.create_function(FunctionName="one", Code={"ZipFile": zipped}, **wanted)
    client.get_waiter("function_active_v2").wait(FunctionName="one", WaiterConfig=FAST)
    got = client.get_function(FunctionName="one")
    assert got["Tags"] == wanted["Tags"]
    kept = got["Configuration"]
    assert kept["CodeSize"] == len(zipped) == made["CodeSize"]
    for member, value in wanted.items():
        if member in ("Publish", "Tags"):
            continue
        if member == "Layers":
            assert kept[member] == [{"Arn": value[0], "CodeSize": len(content)}]
        elif member == "SnapStart":
            assert kept[member] == {**value, "OptimizationStatus": "Off"}
        elif member == "VpcConfig":
            assert kept[member] == {**value, "VpcId": ""}
        else:
            assert kept[member] == value, member
    assert client.get_function_configuration(FunctionName="one")["RevisionId"] == kept["RevisionId"]
    event = json.dumps({"op": "echo"})
    assert json.loads(client.invoke(FunctionName="one", Payload=event)["Payload"].read())["event"] == {"op": "echo"}
    assert client.invoke(FunctionName="one", InvocationType="DryRun")["StatusCode"] == 204
    tail = client.invoke(FunctionName="one", Payload=event, LogType="Tail")
    assert tail["LogResult"] and tail["ExecutedVersion"] == "$LATEST"
    client.update_function_configuration(FunctionName="one", Description="changed", RevisionId=kept["RevisionId"])
    client.get_waiter("function_updated_v2").wait(FunctionName="one", WaiterConfig=FAST)
    client.update_function_code(FunctionName="one", ZipFile=zipped, Architectures=[ARCHITECTURE])
    client.get_waiter("function_updated_v2").wait(FunctionName="one", WaiterConfig=FAST)
    assert [one["FunctionName"] for one in client.list_functions()["Functions"]] == ["one"]


def versions_and_aliases(client):
    assert client.publish_version(FunctionName="one", Description="first")["Version"] == "1"
    client.update_function_configuration(FunctionName="one", Timeout=15)
    client.get_waiter("function_updated_v2").wait(FunctionName="one", WaiterConfig=FAST)
    assert client.publish_version(FunctionName="one")["Version"] == "2"
    assert len(client.list_versions_by_function(FunctionName="one")["Versions"]) == 3
    assert len(client.list_functions(FunctionVersion="ALL")["Functions"]) == 3
    first = client.list_functions(FunctionVersion="ALL", MaxItems=1)
    assert client.list_functions(FunctionVersion="ALL", Marker=first["NextMarker"])["Functions"][0]["Version"] == "1"
    routing = {"AdditionalVersionWeights": {"2": 0.25}}
    client.create_alias(FunctionName="one", Name="live", FunctionVersion="1", RoutingConfig=routing, Description="d")
    assert client.get_alias(FunctionName="one", Name="live")["RoutingConfig"] == routing
    assert len(client.list_aliases(FunctionName="one")["Aliases"]) == 1
    client.update_alias(FunctionName="one", Name="live", Description="e")


def what_hangs_on_a_function(client):
    arn = client.get_function_configuration(FunctionName="one")["FunctionArn"]
    name = {"FunctionName": "one"}
    assert client.get_account_settings()["AccountUsage"]["FunctionCount"] == 1
    client.put_function_concurrency(ReservedConcurrentExecutions=2, **name)
    assert client.get_function_concurrency(**name)["ReservedConcurrentExecutions"] == 2
    client.delete_function_concurrency(**name)
    client.tag_resource(Resource=arn, Tags={"a": "b"})
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "b", "team": "a b"}
    client.untag_resource(Resource=arn, TagKeys=["a"])
    client.add_permission(StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", **name)
    assert json.loads(client.get_policy(**name)["Policy"])["Statement"]
    client.remove_permission(StatementId="s", **name)
    cors = {"AllowOrigins": ["*"], "AllowHeaders": ["x"], "MaxAge": 1, "AllowCredentials": False}
    client.create_function_url_config(AuthType="AWS_IAM", Cors=cors, InvokeMode="BUFFERED", **name)
    client.update_function_url_config(AuthType="NONE", **name)
    assert client.get_function_url_config(**name)["Cors"] == cors
    assert len(client.list_function_url_configs(**name)["FunctionUrlConfigs"]) == 1
    client.delete_function_url_config(**name)
    to = {"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}}
    client.put_function_event_invoke_config(MaximumRetryAttempts=1, DestinationConfig=to, **name)
    client.update_function_event_invoke_config(MaximumEventAgeInSeconds=60, **name)
    assert client.get_function_event_invoke_config(**name)["MaximumRetryAttempts"] == 1
    assert len(client.list_function_event_invoke_configs(**name)["FunctionEventInvokeConfigs"]) == 1
    client.delete_function_event_invoke_config(**name)
    client.put_provisioned_concurrency_config(Qualifier="1", ProvisionedConcurrentExecutions=1, **name)
    client.get_provisioned_concurrency_config(Qualifier="1", **name)
    assert len(client.list_provisioned_concurrency_configs(**name)["ProvisionedConcurrencyConfigs"]) == 1
    client.delete_provisioned_concurrency_config(Qualifier="1", **name)
    client.put_runtime_management_config(UpdateRuntimeOn="FunctionUpdate", **name)
    client.get_runtime_management_config(**name)
    client.put_function_recursion_config(RecursiveLoop="Allow", **name)
    assert client.get_function_recursion_config(**name)["RecursiveLoop"] == "Allow"
    client.get_function_code_signing_config(**name)
    client.delete_function_code_signing_config(**name)


def layers(client):
    version = {"LayerName": "one", "VersionNumber": 1}
    got = client.get_layer_version(**version)
    by_arn = client.get_layer_version_by_arn(Arn=got["LayerVersionArn"])
    assert {**by_arn, "ResponseMetadata": 0} == {**got, "ResponseMetadata": 0}
    assert client.list_layers(CompatibleArchitecture="arm64")["Layers"][0]["LatestMatchingVersion"]["Version"] == 1
    assert client.list_layers(CompatibleRuntime="java21")["Layers"] == []
    assert client.list_layer_versions(LayerName="one")["LayerVersions"][0]["LicenseInfo"] == "MIT"
    allow = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    client.add_layer_version_permission(**allow, **version)
    assert json.loads(client.get_layer_version_policy(**version)["Policy"])["Statement"]
    client.remove_layer_version_permission(StatementId="s", **version)


def the_end(client):
    client.delete_alias(FunctionName="one", Name="live")
    client.delete_function(FunctionName="one", Qualifier="2")
    client.delete_function(FunctionName="one")
    client.delete_layer_version(LayerName="one", VersionNumber=1)
    assert client.list_functions()["Functions"] == [] and client.list_layers()["Layers"] == []
