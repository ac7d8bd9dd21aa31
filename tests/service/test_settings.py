"""What hangs on a function: reserved concurrency, tags, permissions, URLs and the configurations that are kept.

Each call goes through boto3 with full parsing; its success status is held against botocore's model.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import botocore.exceptions
import pytest

from harness import REGION, archive, wait_for

ARN = f"arn:aws:lambda:{REGION}:000000000000:function"
LIMIT = 10


def client_of(service):
    """A client that compares the status of each success with the model's."""
    client = service.boto()

    def compare(http_response, model, **_):
        status = http_response.status_code
        if status < 300 and model.name != "DeleteFunction":  # its model leaves the status open
            assert status == model.http.get("responseCode", 200), f"{model.name}: {status}"

    client.meta.events.register("after-call.lambda", compare)
    return client


@pytest.fixture(scope="module")
def client(service):
    return client_of(service)


@pytest.fixture(scope="module")
def name(service, image):
    return service.create("settled", image, Timeout=20)


def refused(call, **arguments):
    """The error of a call: status, type, message."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def missing(message):
    return 404, "ResourceNotFoundException", message


def invalid(message):
    return 400, "InvalidParameterValueException", message


# Reserved concurrency.


def test_reservations_are_put_read_and_deleted(client, name):
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    assert put["ReservedConcurrentExecutions"] == 3
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 3
    limit = client.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (LIMIT, LIMIT - 3)
    client.delete_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)


def test_reservations_that_cannot_be_are_refused(client, name):
    put = client.put_function_concurrency
    assert refused(put, FunctionName=name, ReservedConcurrentExecutions=LIMIT) == invalid(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [1]."
    )
    assert refused(put, FunctionName=f"{name}:1", ReservedConcurrentExecutions=1) == invalid(
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )
    assert refused(put, FunctionName="absent", ReservedConcurrentExecutions=1) == missing(
        f"Function not found: {ARN}:absent:$LATEST"
    )
    gone = missing(f"Function not found: {ARN}:absent")
    assert refused(client.get_function_concurrency, FunctionName="absent") == gone
    assert refused(client.delete_function_concurrency, FunctionName="absent") == gone


def throttle(answer):
    return answer.status, answer.error_type, answer.json().get("Reason")


RESERVED = (429, "TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded")
UNRESERVED = (429, "TooManyRequestsException", "ConcurrentInvocationLimitExceeded")


def test_nothing_reserved_stops_the_function(service, client, name):
    assert service.invoke(name, {"op": "echo"}).status == 200
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = service.invoke(name, {"op": "echo"})
    assert throttle(answer) == RESERVED and int(answer.headers["retry-after"]) >= 0
    client.delete_function_concurrency(FunctionName=name)
    assert service.invoke(name, {"op": "echo"}).status == 200


def test_a_reservation_bounds_its_function_and_keeps_others_out(make_service, image):
    service = make_service(execution={"max_concurrent_executions": 4})
    client = client_of(service)
    reserved, other = service.create("reserved", image, Timeout=20), service.create("other", image, Timeout=20)
    client.put_function_concurrency(FunctionName=reserved, ReservedConcurrentExecutions=1)
    sleep = {"op": "sleep", "ms": 6_000}
    with ThreadPoolExecutor(8) as pool:
        # The others take all that they can: three of the four.
        others = [pool.submit(service.invoke, other, sleep) for _ in range(3)]
        status = lambda: json.loads(service.http("GET", "/status").body)
        wait_for(lambda: len(service.containers()) >= 3, 15, "three sandboxes of the other function")
        assert throttle(service.invoke(other, {"op": "echo"})) == UNRESERVED, status()
        # The reserved one is still there, and it is one only.
        ours = pool.submit(service.invoke, reserved, {"op": "sleep", "ms": 2_000})
        time.sleep(0.5)
        assert throttle(service.invoke(reserved, {"op": "echo"})) == RESERVED
        assert ours.result().status == 200
        assert not any(call.done() for call in others), "it did not have to wait for the others"
        assert [call.result().status for call in others] == [200] * 3


# Tags.


def test_tags_are_added_listed_and_removed(client, name):
    arn = f"{ARN}:{name}"
    client.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    client.tag_resource(Resource=arn, Tags={"b": "3", "k c": "x y"})
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "1", "b": "3", "k c": "x y"}
    assert client.get_function(FunctionName=name)["Tags"]["b"] == "3"
    client.untag_resource(Resource=arn, TagKeys=["a", "k c", "absent"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "3"}
    client.untag_resource(Resource=arn, TagKeys=["b"])
    assert client.list_tags(Resource=arn)["Tags"] == {}


def test_tags_that_cannot_be_are_refused(client, service, name):
    arn = f"{ARN}:{name}"
    client.tag_resource(Resource=arn, Tags={f"k{n}": "v" for n in range(50)})
    over = invalid("Number of tags exceeds resource tag limit.")
    assert refused(client.tag_resource, Resource=arn, Tags={"one more": "v"}) == over
    client.untag_resource(Resource=arn, TagKeys=[f"k{n}" for n in range(50)])
    assert refused(client.tag_resource, Resource=arn, Tags={"aws:x": "v"})[:2] == invalid("")[:2]
    aliases = invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
    for call, arguments in [
        (client.tag_resource, {"Tags": {"a": "b"}}),
        (client.untag_resource, {"TagKeys": ["a"]}),
        (client.list_tags, {}),
    ]:
        assert refused(call, Resource=f"{arn}:live", **arguments) == aliases
        assert refused(call, Resource=f"{ARN}:absent", **arguments) == missing(f"Function not found: {ARN}:absent")
        bad = refused(call, Resource=f"arn:aws:lambda:{REGION}:000000000000:foobar:x", **arguments)
        assert bad[:2] == (400, "ValidationException") and "at 'resource' failed" in bad[2]
    answer = service.http("DELETE", f"/2017-03-31/tags/{arn}")
    assert (answer.status, answer.json()["message"]) == (
        400,
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    )


# Permissions.


def test_permissions_make_a_policy(client, name):
    arn = f"{ARN}:{name}"
    assert refused(client.get_policy, FunctionName=name) == missing("The resource you requested does not exist.")
    none = missing("No policy is associated with the given resource.")
    assert refused(client.remove_permission, FunctionName=name, StatementId="s3") == none
    s3 = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::bucket"}
    added = client.add_permission(FunctionName=name, StatementId="s3", **s3)
    statement = {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
    }
    assert json.loads(added["Statement"]) == statement
    got = client.get_policy(FunctionName=name)
    assert json.loads(got["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert refused(client.add_permission, FunctionName=name, StatementId="s3", **s3) == (
        409,
        "ResourceConflictException",
        "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing "
        "statement.",
    )
    stale = (
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the "
        "latest Revision Id",
    )
    assert refused(client.add_permission, FunctionName=name, StatementId="b", RevisionId="no", **s3) == stale
    client.add_permission(FunctionName=name, StatementId="s3_2", RevisionId=got["RevisionId"], **s3)
    latest = client.get_policy(FunctionName=name)["RevisionId"]
    assert latest != got["RevisionId"]
    unknown = missing("Statement absent is not found in resource policy.")
    assert refused(client.remove_permission, FunctionName=name, StatementId="absent") == unknown
    assert refused(client.remove_permission, FunctionName=name, StatementId="s3", RevisionId="no") == stale
    client.remove_permission(FunctionName=name, StatementId="s3", RevisionId=latest)
    client.remove_permission(FunctionName=name, StatementId="s3_2")
    assert refused(client.get_policy, FunctionName=name) == missing("The resource you requested does not exist.")


def test_permissions_of_what_is_not_there_are_refused(client, name):
    allow = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    add = client.add_permission
    assert refused(add, FunctionName="absent", **allow) == missing(f"Function not found: {ARN}:absent")
    version = missing(f"Function not found: {ARN}:{name}:42")
    assert refused(add, FunctionName=name, Qualifier="42", **allow) == version
    alias = missing(f"Cannot find alias arn: {ARN}:{name}:absent")
    assert refused(add, FunctionName=name, Qualifier="absent", **allow) == alias
    assert refused(add, FunctionName=f"{name}:a", Qualifier="b", **allow) == invalid(
        "The derived qualifier from the function name does not match the specified qualifier."
    )
    assert refused(client.remove_permission, FunctionName="absent", StatementId="s") == missing(
        f"No policy found for: {ARN}:absent"
    )


# Function URLs.


def test_urls_are_kept(client, name):
    nothing = missing("The resource you requested does not exist.")
    for call in (client.get_function_url_config, client.delete_function_url_config, client.update_function_url_config):
        assert refused(call, FunctionName=name) == nothing
        assert refused(call, FunctionName="absent") == nothing
    cors = {"AllowOrigins": ["https://example.org"], "AllowMethods": ["GET"], "MaxAge": 5, "AllowCredentials": True}
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
    assert (made["AuthType"], made["Cors"], made["FunctionArn"]) == ("NONE", cors, f"{ARN}:{name}")
    assert 40 <= len(made["FunctionUrl"]) <= 100 and made["CreationTime"]
    again = refused(client.create_function_url_config, FunctionName=name, AuthType="NONE")
    assert again[:2] == (409, "ResourceConflictException")
    changed = client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    assert (changed["AuthType"], changed["Cors"], changed["FunctionUrl"]) == ("AWS_IAM", cors, made["FunctionUrl"])
    got = client.get_function_url_config(FunctionName=name)
    assert got["InvokeMode"] == "RESPONSE_STREAM" and got["LastModifiedTime"] >= got["CreationTime"]
    listed = client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert [one["FunctionUrl"] for one in listed] == [made["FunctionUrl"]]
    client.delete_function_url_config(FunctionName=name)
    assert client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []


def test_urls_that_cannot_be_are_refused(client, name):
    create = client.create_function_url_config
    assert refused(create, FunctionName="absent", AuthType="NONE") == missing("Function does not exist")
    assert refused(client.list_function_url_configs, FunctionName="absent") == missing("Function does not exist")
    for qualifier in ("1", "$LATEST"):
        for call, more in [
            (create, {"AuthType": "NONE"}),
            (client.get_function_url_config, {}),
            (client.update_function_url_config, {}),
            (client.delete_function_url_config, {}),
        ]:
            assert refused(call, FunctionName=name, Qualifier=qualifier, **more) == (
                400,
                "ValidationException",
                f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
            )
    assert refused(create, FunctionName=f"{name}:a", Qualifier="b", AuthType="NONE") == invalid(
        "The derived qualifier from the function name does not match the specified qualifier."
    )
    assert refused(create, FunctionName=name, AuthType="NONE", Cors={"MaxAge": 90_000})[0] == 400


# Asynchronous invocation.


def test_event_invoke_configurations_are_kept(client, name):
    arn = f"{ARN}:{name}:$LATEST"
    none = missing(f"The function {arn} doesn't have an EventInvokeConfig")
    assert refused(client.get_function_event_invoke_config, FunctionName=name) == none
    assert refused(client.delete_function_event_invoke_config, FunctionName=name) == none
    assert refused(client.update_function_event_invoke_config, FunctionName=name, MaximumRetryAttempts=1) == none
    put = client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60
    )
    assert put["FunctionArn"] == arn and put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert abs(put["LastModified"].timestamp() - time.time()) < 60
    queue = f"arn:aws:sqs:{REGION}:000000000000:q"
    changed = client.update_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": queue}}
    )
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 60)
    assert changed["DestinationConfig"]["OnFailure"] == {"Destination": queue}
    replaced = client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    assert "MaximumEventAgeInSeconds" not in replaced
    got = client.get_function_event_invoke_config(FunctionName=name)
    assert got["MaximumRetryAttempts"] == 2
    listed = client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert [one["FunctionArn"] for one in listed] == [arn]
    client.delete_function_event_invoke_config(FunctionName=name, Qualifier="$LATEST")
    assert refused(client.get_function_event_invoke_config, FunctionName=name) == none


def test_event_invoke_configurations_that_cannot_be_are_refused(client, name):
    put = client.put_function_event_invoke_config
    gone = missing("The function doesn't exist.")
    assert refused(put, FunctionName="absent", MaximumRetryAttempts=1) == gone
    assert refused(client.update_function_event_invoke_config, FunctionName="absent", MaximumRetryAttempts=1) == gone
    assert refused(client.list_function_event_invoke_configs, FunctionName="absent") == gone
    to = lambda arn: {"DestinationConfig": {"OnSuccess": {"Destination": arn}}}
    assert refused(put, FunctionName=name, **to(f"{ARN}:{name}")) == invalid(
        "You can't specify the function as a destination for itself."
    )
    role = f"arn:aws:iam:{REGION}:000000000000:function:x"
    assert refused(put, FunctionName=name, **to(role)) == invalid(
        f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={role}), onFailure=null) "
        "is invalid."
    )
    bad = f"arn:aws:_-/!lambda:{REGION}:000000000000:function:x"
    found = refused(put, FunctionName=name, DestinationConfig={"OnFailure": {"Destination": bad}})
    assert found[:2] == (400, "ValidationException")
    assert f"Value '{bad}' at 'destinationConfig.onFailure.destination' failed" in found[2]


# Provisioned concurrency, runtime management, recursion, code signing.


def test_provisioned_concurrency_is_for_published_versions(client, service, name):
    put = client.put_provisioned_concurrency_config
    assert refused(put, FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1) == invalid(
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    )
    unpublished = invalid("The function resource provided must be an alias or a published version.")
    for call in (client.get_provisioned_concurrency_config, client.delete_provisioned_concurrency_config):
        assert refused(call, FunctionName=name, Qualifier="$LATEST") == unpublished
        version = missing(f"Function not found: {ARN}:{name}:10")
        assert refused(call, FunctionName=name, Qualifier="10") == version
        alias = missing(f"Cannot find alias arn: {ARN}:absent:noalias")
        assert refused(call, FunctionName="absent", Qualifier="noalias") == alias
    version = missing(f"Function not found: {ARN}:absent:1")
    assert refused(put, FunctionName="absent", Qualifier="1", ProvisionedConcurrentExecutions=1) == version
    path = f"/2019-09-30/functions/{name}/provisioned-concurrency?Qualifier=1"
    zero = service.http("PUT", path, b'{"ProvisionedConcurrentExecutions": 0}')
    assert (zero.status, zero.json()["message"]) == (
        400,
        "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1",
    )
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


def test_settings_of_a_version_and_an_alias_go_with_them(client, service, image):
    name = service.create("qualified", image)
    version = client.publish_version(FunctionName=name)["Version"]
    client.update_function_configuration(FunctionName=name, Description="another version")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    second = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=second)
    for qualifier in (version, "live"):
        put = client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=2
        )
        assert (put["Status"], put["AvailableProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)
        got = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        assert got["RequestedProvisionedConcurrentExecutions"] == 2
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [one["FunctionArn"] for one in listed] == [f"{ARN}:{name}:{version}", f"{ARN}:{name}:live"]
    allow = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
    added = client.add_permission(FunctionName=name, Qualifier="live", **allow)
    assert json.loads(added["Statement"])["Resource"] == f"{ARN}:{name}:live"
    assert refused(client.get_policy, FunctionName=name)[0] == 404
    client.delete_alias(FunctionName=name, Name="live")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=second)
    assert refused(client.get_policy, FunctionName=name, Qualifier="live")[0] == 404
    none = refused(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="live")
    assert none[:2] == (404, "ProvisionedConcurrencyConfigNotFoundException")
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


def test_runtime_management_is_kept(client, name):
    got = client.get_runtime_management_config(FunctionName=name)
    assert (got["UpdateRuntimeOn"], got["FunctionArn"]) == ("Auto", f"{ARN}:{name}:$LATEST")
    put = client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert put["UpdateRuntimeOn"] == "FunctionUpdate"
    runtime = f"arn:aws:lambda:{REGION}::runtime:0123456789abcdef"
    client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime)
    assert client.get_runtime_management_config(FunctionName=name)["RuntimeVersionArn"] == runtime
    assert refused(client.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual")[0] == 400
    gone = missing(f"Function not found: {ARN}:absent")
    assert refused(client.get_runtime_management_config, FunctionName="absent") == gone


def test_recursion_is_kept(client, name):
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert refused(client.put_function_recursion_config, FunctionName=name, RecursiveLoop="InvalidValue") == (
        400,
        "ValidationException",
        "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: Member "
        "must satisfy enum value set: [Terminate, Allow]",
    )


def test_there_is_no_code_signing(client, name):
    assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(FunctionName=name)
    client.delete_function_code_signing_config(FunctionName=name)
    arn = f"arn:aws:lambda:{REGION}:000000000000:code-signing-config:csc-0123456789abcdefg"
    put = client.put_function_code_signing_config
    assert refused(put, FunctionName=name, CodeSigningConfigArn=arn) == (
        404,
        "CodeSigningConfigNotFoundException",
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
        f"{arn}.",
    )
    gone = missing(f"Function not found: {ARN}:absent")
    assert refused(put, FunctionName="absent", CodeSigningConfigArn=arn) == gone
    assert refused(client.get_function_code_signing_config, FunctionName="absent") == gone
    assert refused(client.delete_function_code_signing_config, FunctionName="absent") == gone


def test_account_settings_count(client, service, image):
    before = client.get_account_settings()["AccountUsage"]
    service.create("counted", image)
    after = client.get_account_settings()["AccountUsage"]
    assert after["FunctionCount"] == before["FunctionCount"] + 1
    assert after["TotalCodeSize"] >= before["TotalCodeSize"]
    client.delete_function(FunctionName="counted")
    assert client.get_account_settings()["AccountUsage"] == before


# Layers.


def test_layers_that_are_not_there(client, service):
    nothing = missing("The resource you requested does not exist.")
    layer = f"arn:aws:lambda:{REGION}:000000000000:layer:absent"
    assert refused(client.get_layer_version, LayerName="absent", VersionNumber=1) == nothing
    assert refused(client.get_layer_version_by_arn, Arn=f"{layer}:1") == nothing
    zero = invalid("Layer Version Cannot be less than 1")
    assert refused(client.get_layer_version, LayerName="absent", VersionNumber=0) == zero
    bad = refused(client.get_layer_version_by_arn, Arn=layer)
    assert bad[:2] == (400, "ValidationException") and f"Value '{layer}' at 'arn' failed" in bad[2]
    client.delete_layer_version(LayerName="absent", VersionNumber=1)
    assert client.list_layers(CompatibleRuntime="python3.13", CompatibleArchitecture="arm64")["Layers"] == []
    assert client.list_layer_versions(LayerName="absent")["LayerVersions"] == []
    found = refused(
        client.publish_layer_version,
        LayerName="l",
        Content={"ZipFile": b"x"},
        CompatibleRuntimes=["invalidruntime", "nodejs20.x"],
        CompatibleArchitectures=["invalidarch", "x86_64"],
    )
    assert found[:2] == (400, "ValidationException") and found[2].startswith(
        "2 validation errors detected: Value '[invalidruntime, nodejs20.x]' at 'compatibleRuntimes' failed"
    )


def test_permissions_of_a_layer_make_a_policy(client, service):
    layer = f"arn:aws:lambda:{REGION}:000000000000:layer"
    version = {"LayerName": "shared", "VersionNumber": 1}
    allow = {"Action": "lambda:GetLayerVersion", "Principal": "*"}
    add, get, remove = (
        client.add_layer_version_permission,
        client.get_layer_version_policy,
        client.remove_layer_version_permission,
    )
    absent = missing(f"Layer version {layer}:shared:1 does not exist.")
    assert refused(add, StatementId="s1", **allow, **version) == absent
    assert refused(get, **version) == absent
    assert refused(remove, StatementId="s1", **version) == absent
    client.publish_layer_version(LayerName="shared", Content={"ZipFile": archive({"a": "b"})})
    none = missing("No policy is associated with the given resource.")
    assert refused(get, **version) == none
    assert refused(remove, StatementId="s1", **version) == none

    added = add(StatementId="s1", **allow, **version)
    first = {"Sid": "s1", "Effect": "Allow", **allow, "Resource": f"{layer}:shared:1"}
    assert json.loads(added["Statement"]) == first
    again = (
        409,
        "ResourceConflictException",
        "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing "
        "statement.",
    )
    assert refused(add, StatementId="s1", **allow, **version) == again
    stale = (
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the "
        "latest Revision Id",
    )
    assert refused(add, StatementId="s2", RevisionId="no", **allow, **version) == stale
    members = {**allow, "OrganizationId": "o-0123456789"}
    second = add(StatementId="s2", RevisionId=added["RevisionId"], **members, **version)
    got = get(**{**version, "LayerName": f"{layer}:shared"})
    assert got["RevisionId"] == second["RevisionId"] != added["RevisionId"]
    condition = {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}
    statements = [first, {**first, "Sid": "s2", "Condition": condition}]
    assert json.loads(got["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": statements}
    service.kill()
    service.start()
    assert {**get(**version), "ResponseMetadata": 0} == {**got, "ResponseMetadata": 0}

    unknown = missing("Statement absent is not found in resource policy.")
    assert refused(remove, StatementId="absent", **version) == unknown
    assert refused(remove, StatementId="s1", RevisionId=added["RevisionId"], **version) == stale
    remove(StatementId="s1", RevisionId=got["RevisionId"], **version)
    account = add(StatementId="s3", **{**allow, "Principal": "123456789012"}, **version)
    assert json.loads(account["Statement"])["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    remove(StatementId="s2", **version)
    remove(StatementId="s3", **version)
    assert refused(get, **version) == none
    assert refused(add, StatementId="s", **{**allow, "Action": "*"}, **version) == (
        400,
        "ValidationException",
        "1 validation error detected: Value '*' at 'action' failed to satisfy constraint: Member must satisfy regular "
        "expression pattern: lambda:GetLayerVersion",
    )
    # A policy goes with its version.
    add(StatementId="s1", **allow, **version)
    client.delete_layer_version(**version)
    assert refused(get, **version) == absent


# All of it.


def test_settings_are_kept_over_a_restart_and_go_with_the_function(make_service, image):
    service = make_service()
    client = client_of(service)
    name = service.create("kept", image)
    arn = f"{ARN}:{name}"
    allow = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}

    def everything():
        policy, url = client.get_policy(FunctionName=name), client.get_function_url_config(FunctionName=name)
        return [
            client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"],
            client.list_tags(Resource=arn)["Tags"],
            (policy["Policy"], policy["RevisionId"]),
            (url["FunctionUrl"], url["CreationTime"]),
            client.get_function_event_invoke_config(FunctionName=name)["MaximumRetryAttempts"],
            client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"],
            client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"],
        ]

    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    client.tag_resource(Resource=arn, Tags={"k": "v"})
    client.add_permission(FunctionName=name, **allow)
    client.create_function_url_config(FunctionName=name, AuthType="NONE")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    before = everything()
    service.kill()
    service.start()
    assert everything() == before
    assert throttle(service.invoke(name, {"op": "echo"})) == RESERVED
    client.delete_function(FunctionName=name)
    service.create(name, image)
    assert service.invoke(name, {"op": "echo"}).status == 200
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    assert refused(client.get_policy, FunctionName=name)[0] == 404
    assert refused(client.get_function_url_config, FunctionName=name)[0] == 404
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
