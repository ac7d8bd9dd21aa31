"""Versions, aliases and updates, with boto3: what each of them runs, and what stays over a restart."""

import json
import tempfile
import threading
from pathlib import Path

import botocore.exceptions
import pytest

import docker_cli
from harness import ROLE, wait_for

STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


@pytest.fixture(scope="module")
def other_image(run_id, image):
    """The test function once more, as other code: its environment says so."""
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(f"FROM {image}\nENV CODE=other\n")
        tag = f"{run_id}-other:latest"
        docker_cli.docker("build", "--quiet", "--tag", tag, context, timeout=120)
    return tag


@pytest.fixture
def client(service):
    return service.boto()


def make(client, name, image, **settings):
    """Creates a function and waits for it as scripts do."""
    wanted = {"FunctionName": name, "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": image}, "Timeout": 10}
    told = client.create_function(**{**wanted, **settings})
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return told


def update(client, name, image=None, **settings):
    if image:
        client.update_function_code(FunctionName=name, ImageUri=image)
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    if settings:
        client.update_function_configuration(FunctionName=name, **settings)
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def call(client, name, qualifier=None, event=None):
    """The executed version and the answer."""
    which = {"Qualifier": qualifier} if qualifier else {}
    told = client.invoke(FunctionName=name, Payload=json.dumps(event or {"op": "env"}).encode(), **which)
    answer = json.loads(told["Payload"].read())
    assert "FunctionError" not in told, answer
    return told["ExecutedVersion"], answer


def code_of(client, name, qualifier=None):
    version, variables = call(client, name, qualifier)
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == version
    return version, variables.get("CODE", "first")


def refused(status, error_type, action, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        action(**parameters)
    answer = error.value.response
    told = answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]
    assert told == (status, error_type), answer
    return answer["Error"]["Message"]


def test_each_version_runs_its_own_code_and_configuration(client, image, other_image):
    make(client, "code", image, Environment={"Variables": {"COLOR": "red"}})
    one = client.publish_version(FunctionName="code", Description="the first")
    assert (one["Version"], one["Description"], one["State"]) == ("1", "the first", "Active")
    assert one["FunctionArn"].endswith(":function:code:1")
    assert code_of(client, "code", "1") == ("1", "first")
    update(client, "code", other_image, Environment={"Variables": {"COLOR": "blue"}})
    assert code_of(client, "code") == ("$LATEST", "other")
    assert code_of(client, "code", "$LATEST") == ("$LATEST", "other")
    assert code_of(client, "code", "1") == ("1", "first")
    two = client.publish_version(FunctionName="code")
    assert two["Version"] == "2" and two["CodeSha256"] != one["CodeSha256"]
    assert call(client, "code", "1")[1]["COLOR"] == "red"
    assert call(client, "code", "2")[1]["COLOR"] == "blue"
    got = client.get_function_configuration(FunctionName="code", Qualifier="1")
    assert {key: got[key] for key in ("CodeSha256", "Description", "Version", "RevisionId")} == {
        key: one[key] for key in ("CodeSha256", "Description", "Version", "RevisionId")
    }
    versions = client.list_versions_by_function(FunctionName="code")["Versions"]
    assert [entry["Version"] for entry in versions] == ["$LATEST", "1", "2"]
    listed = client.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 1})
    mine = [one["Version"] for page in listed for one in page["Functions"] if one["FunctionName"] == "code"]
    assert mine == ["$LATEST", "1", "2"]


def test_the_function_is_called_by_the_arn_that_the_caller_used(client, image):
    make(client, "arns", image)
    client.publish_version(FunctionName="arns")
    client.create_alias(FunctionName="arns", Name="live", FunctionVersion="1")
    arn = client.get_function_configuration(FunctionName="arns")["FunctionArn"]
    for qualifier, version in ((None, "$LATEST"), ("$LATEST", "$LATEST"), ("1", "1"), ("live", "1")):
        executed, answer = call(client, "arns", qualifier, {"op": "echo"})
        assert executed == version
        assert answer["arn"] == (f"{arn}:{qualifier}" if qualifier else arn)
    assert call(client, f"{arn}:live", None, {"op": "echo"})[1]["arn"] == f"{arn}:live"
    shown = client.get_function(FunctionName="arns", Qualifier="live")["Configuration"]
    assert (shown["Version"], shown["FunctionArn"]) == ("1", f"{arn}:live")


def test_nothing_new_makes_no_new_version(client, image):
    make(client, "same", image)
    first = client.publish_version(FunctionName="same")
    again = client.publish_version(FunctionName="same", Description="again")
    assert (again["Version"], again["RevisionId"]) == ("1", first["RevisionId"])
    update(client, "same", Description="changed")
    assert client.publish_version(FunctionName="same")["Version"] == "2"
    update(client, "same", image)
    assert client.publish_version(FunctionName="same")["Version"] == "3"
    client.delete_function(FunctionName="same", Qualifier="3")
    assert client.publish_version(FunctionName="same")["Version"] == "4", "a number is never given again"


def test_create_and_update_can_publish(client, image, other_image):
    told = make(client, "publish", image, Publish=True)
    assert told["Version"] == "1" and told["FunctionArn"].endswith(":publish:1")
    assert code_of(client, "publish", "1") == ("1", "first")
    told = client.update_function_code(FunctionName="publish", ImageUri=other_image, Publish=True)
    assert told["Version"] == "2"
    client.get_waiter("published_version_active").wait(
        FunctionName="publish", Qualifier="2", WaiterConfig={"Delay": 1}
    )
    assert code_of(client, "publish", "2") == ("2", "other")
    assert code_of(client, "publish", "1") == ("1", "first")


def test_a_dry_run_changes_nothing(client, image, other_image):
    make(client, "dry", image)
    before = client.get_function(FunctionName="dry")["Configuration"]
    told = client.update_function_code(FunctionName="dry", ImageUri=other_image, DryRun=True)
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.get_function(FunctionName="dry")["Configuration"] == before


def test_weights_route(client, image, other_image):
    make(client, "weights", image, Publish=True)
    update(client, "weights", other_image)
    client.publish_version(FunctionName="weights")
    routing = {"AdditionalVersionWeights": {"2": 0.3}}
    client.create_alias(FunctionName="weights", Name="live", FunctionVersion="1", RoutingConfig=routing)
    seen = {"1": 0, "2": 0}
    for _ in range(300):
        version, answer = call(client, "weights", "live")
        assert answer.get("CODE", "first") == {"1": "first", "2": "other"}[version]
        seen[version] += 1
    # 300 draws at 0.3: 90 expected, a standard deviation of 7.9. Six of them fail once in 500 million runs.
    assert 42 <= seen["2"] <= 138, seen
    for weight, version in ((1.0, "2"), (0.0, "1")):
        routing = {"AdditionalVersionWeights": {"2": weight}}
        client.update_alias(FunctionName="weights", Name="live", RoutingConfig=routing)
        assert {call(client, "weights", "live")[0] for _ in range(20)} == {version}
    client.update_alias(
        FunctionName="weights", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert code_of(client, "weights", "live") == ("2", "other")


def test_alias_life(client, image):
    make(client, "aliased", image, Publish=True)
    made = client.create_alias(FunctionName="aliased", Name="live", FunctionVersion="1", Description="d")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["AliasArn"].endswith(":function:aliased:live") and "RoutingConfig" not in made
    got = client.get_alias(FunctionName="aliased", Name="live")
    assert {**got, "ResponseMetadata": 0} == {**made, "ResponseMetadata": 0}
    client.create_alias(FunctionName="aliased", Name="beta", FunctionVersion="$LATEST")
    pages = client.get_paginator("list_aliases").paginate(FunctionName="aliased", PaginationConfig={"PageSize": 1})
    assert [alias["Name"] for page in pages for alias in page["Aliases"]] == ["beta", "live"]
    of_one = client.list_aliases(FunctionName="aliased", FunctionVersion="1")["Aliases"]
    assert [alias["Name"] for alias in of_one] == ["live"]
    changed = client.update_alias(FunctionName="aliased", Name="live", Description="e", RevisionId=got["RevisionId"])
    assert changed["RevisionId"] != got["RevisionId"] and changed["FunctionVersion"] == "1"
    message = refused(
        409, "ResourceConflictException", client.delete_function, FunctionName="aliased", Qualifier="1"
    )
    assert message == "Unable to delete version because the following aliases reference it: [live]"
    assert client.delete_alias(FunctionName="aliased", Name="live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_function(FunctionName="aliased", Qualifier="1")
    refused(404, "ResourceNotFoundException", client.get_function, FunctionName="aliased", Qualifier="1")
    assert call(client, "aliased", "beta")[0] == "$LATEST"


def test_revisions_guard_each_resource(client, image):
    make(client, "guarded", image)
    seen = client.get_function_configuration(FunctionName="guarded")["RevisionId"]
    told = client.update_function_configuration(FunctionName="guarded", Timeout=11, RevisionId=seen)
    assert (told["Timeout"], told["RevisionId"] != seen) == (11, True)
    old = {"FunctionName": "guarded", "RevisionId": seen}
    for action, more in (
        (client.update_function_configuration, {"Timeout": 12}),
        (client.update_function_code, {"ImageUri": image}),
        (client.publish_version, {}),
    ):
        assert refused(412, "PreconditionFailedException", action, **old, **more) == STALE
    now = client.get_function_configuration(FunctionName="guarded")["RevisionId"]
    client.publish_version(FunctionName="guarded", RevisionId=now)
    alias = client.create_alias(FunctionName="guarded", Name="live", FunctionVersion="1")
    client.update_alias(FunctionName="guarded", Name="live", Description="x", RevisionId=alias["RevisionId"])
    stale = {"FunctionName": "guarded", "Name": "live", "RevisionId": alias["RevisionId"]}
    assert refused(412, "PreconditionFailedException", client.update_alias, **stale) == STALE


def test_errors_are_awss_own(service, client, image):
    make(client, "errors", image, Publish=True)
    arn = client.get_function_configuration(FunctionName="errors")["FunctionArn"]
    invalid, validation, missing = (
        "InvalidParameterValueException",
        "ValidationException",
        "ResourceNotFoundException",
    )

    def alias(version, weights=None, function="errors"):
        routing = {"RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else {}
        return {"FunctionName": function, "Name": "a", "FunctionVersion": version, **routing}

    def told(status, kind, action, **parameters):
        return refused(status, kind, action, **parameters)

    create = client.create_alias
    assert (
        told(400, invalid, create, **alias("$LATEST", {"1": 0.5}))
        == "$LATEST is not supported for an alias pointing to more than 1 version"
    )
    assert (
        told(400, invalid, create, **alias("1", {"1": 0.5}))
        == "Invalid function version 1. Function version 1 is already included in routing configuration."
    )
    assert (
        told(400, invalid, create, **alias("1", {"2": 0.5, "3": 0.5}))
        == "Number of items in AdditionalVersionWeights cannot be greater than 1"
    )
    assert told(400, validation, create, **alias("1", {"$LATEST": 0.5})).startswith(
        "1 validation error detected: Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights'"
    )
    # boto3 does not send a weight that is out of range.
    wrong = json.dumps({"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": -1}}})
    answer = service.http("POST", "/2015-03-31/functions/errors/aliases", wrong.encode())
    assert (answer.status, answer.error_type) == (400, validation)
    assert "Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights'" in json.loads(answer.body)["message"]
    assert told(404, missing, create, **alias("10")) == f"Function not found: {arn}:10"
    assert told(404, missing, create, **alias("1", function="nobody")).endswith(":function:nobody:1")
    create(**alias("1"))
    assert told(409, "ResourceConflictException", create, **alias("1")) == f"Alias already exists: {arn}:a"
    name = {"FunctionName": "errors", "Name": "none"}
    assert told(404, missing, client.get_alias, **name) == f"Cannot find alias arn: {arn}:none"
    assert told(404, missing, client.update_alias, **name) == f"Alias not found: {arn}:none"
    version = {"FunctionName": "errors", "Qualifier": "1221"}
    assert told(404, missing, client.get_function_configuration, **version) == f"Function not found: {arn}:1221"
    assert told(404, missing, client.invoke, **version) == f"Function not found: {arn}:1221"
    latest = {"FunctionName": "errors", "Qualifier": "$LATEST"}
    assert (
        told(400, invalid, client.delete_function, **latest)
        == "$LATEST version cannot be deleted without deleting the function."
    )
    other = {"FunctionName": "errors", "CodeSha256": "x"}
    assert told(400, invalid, client.publish_version, **other).startswith("CodeSHA256 (x) is different from")
    zipped = {"FunctionName": "errors", "ZipFile": b"PK"}
    assert "Please provide ImageUri" in told(400, invalid, client.update_function_code, **zipped)
    nobody = {"FunctionName": "nobody", "ImageUri": image}
    assert told(404, missing, client.update_function_code, **nobody).endswith(":function:nobody")
    refusal = service.http("PUT", "/2015-03-31/functions/errors/code", b"{")
    assert (refusal.status, refusal.error_type) == (400, "InvalidRequestContentException")


def test_an_update_that_fails_leaves_the_old_code_running(make_service, image):
    service = make_service(docker={"pull_policy": "never"})
    client = service.boto()
    make(client, "stuck", image)
    client.update_function_code(FunctionName="stuck", ImageUri="absent.invalid/no-such-image:1")
    configuration = client.get_function_configuration(FunctionName="stuck")
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Failed")
    assert "absent.invalid/no-such-image:1" in configuration["LastUpdateStatusReason"]
    assert code_of(client, "stuck") == ("$LATEST", "first")
    update(client, "stuck", image, Timeout=5)
    configuration = client.get_function_configuration(FunctionName="stuck")
    assert (configuration["LastUpdateStatus"], configuration["Timeout"]) == ("Successful", 5)


def test_an_image_stays_what_it_was_when_its_tag_moves(client, run_id, image, other_image):
    tag = f"{run_id}-moving:latest"
    docker_cli.docker("tag", image, tag)
    make(client, "moving", tag, Publish=True)
    docker_cli.docker("tag", other_image, tag)
    assert code_of(client, "moving") == ("$LATEST", "first")
    update(client, "moving", Timeout=9)
    assert code_of(client, "moving") == ("$LATEST", "first"), "a configuration's change looks at no tag"
    update(client, "moving", tag)
    assert code_of(client, "moving") == ("$LATEST", "other")
    assert code_of(client, "moving", "1") == ("1", "first")


def test_only_an_update_replaces_sandboxes(service, client, image):
    make(client, "warm", image)
    host = call(client, "warm", None, {"op": "where"})[1]["sandbox"]
    client.publish_version(FunctionName="warm")
    client.create_alias(FunctionName="warm", Name="live", FunctionVersion="1")
    assert call(client, "warm", None, {"op": "where"})[1]["sandbox"] == host, "publishing restarts nothing"
    old = {"1": call(client, "warm", "1", {"op": "where"})[1]["sandbox"]}
    update(client, "warm", Environment={"Variables": {"A1": "b"}})
    assert call(client, "warm", None, {"op": "where"})[1]["sandbox"] != host
    assert call(client, "warm", "live", {"op": "where"})[1]["sandbox"] == old["1"], "a version keeps its sandboxes"
    client.delete_function(FunctionName="warm")
    prefix = f"{service.prefix}warm-"
    wait_for(lambda: not docker_cli.container_ids(prefix), 15, "every version's containers are gone")


def test_deploying_under_load_fails_no_call(client, service, image, other_image):
    make(client, "loaded", image, Publish=True)
    client.create_alias(FunctionName="loaded", Name="live", FunctionVersion="1")
    done, seen, failures = threading.Event(), set(), []

    def load():
        own = service.boto()
        while not done.is_set():
            try:
                seen.add(code_of(own, "loaded", "live"))
            except Exception as error:  # noqa: BLE001 - any failure is one
                failures.append(repr(error))
                return

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: seen or failures, 20, "a call has come back")
        update(client, "loaded", other_image)
        version = client.publish_version(FunctionName="loaded")["Version"]
        client.update_alias(FunctionName="loaded", Name="live", FunctionVersion=version)
        wait_for(lambda: ("2", "other") in seen or failures, 20, "the new version answers")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures and seen == {("1", "first"), ("2", "other")}


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_everything_is_there_after_a_restart(make_service, image, other_image, ending):
    service = make_service()
    client = service.boto()
    make(client, "kept", image, Publish=True)
    update(client, "kept", other_image, Timeout=7)
    client.publish_version(FunctionName="kept")
    routing = {"AdditionalVersionWeights": {"1": 0.0}}
    client.create_alias(FunctionName="kept", Name="live", FunctionVersion="2", RoutingConfig=routing)
    client.create_alias(FunctionName="kept", Name="gone", FunctionVersion="1")
    client.delete_alias(FunctionName="kept", Name="gone")

    def state():
        found = {
            "functions": client.list_functions(FunctionVersion="ALL")["Functions"],
            "latest": client.get_function(FunctionName="kept")["Configuration"],
            "aliases": client.list_aliases(FunctionName="kept")["Aliases"],
        }
        return found

    before = state()
    if ending == "stopped":
        assert service.stop() == 0
    else:
        service.kill()
    service.start()
    assert state() == before
    assert code_of(client, "kept", "1") == ("1", "first")
    assert code_of(client, "kept", "live") == ("2", "other")
    update(client, "kept", Timeout=8)
    assert client.publish_version(FunctionName="kept")["Version"] == "3"
