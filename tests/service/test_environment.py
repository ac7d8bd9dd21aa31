"""What a function finds in its environment: Lambda's own variables, its own, and credentials only where they are
configured; and what a function may not set."""

import json
import re
from pathlib import Path

import boto3
import botocore.exceptions
import pytest

from conftest import build_function
from docker_cli import docker, inspect
from harness import REGION, ROLE, archive
from runtime_images import runtime_image

FAST = {"Delay": 1, "MaxAttempts": 90}
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
RESERVED = [
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
]  # fmt: skip
UNABLE = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
)


@pytest.fixture(scope="module")
def base(run_id):
    return f"{run_id}-base:al2023"


@pytest.fixture(scope="module")
def service(make_module_service, base):
    return make_module_service(docker={"base_image": base})


def create(client, name, files=None, modes=None, **settings):
    files = files or {"bootstrap": build_function().read_bytes()}
    settings = {"Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 20, **settings}
    client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": archive(files, modes)}, **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=FAST)


def call(client, name, event=None, **options):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event or {"op": "env"}), **options)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


def variables(client, name, **options):
    error, answer = call(client, name, **options)
    assert error is None, answer
    return answer


def test_lambdas_variables(service):
    client = service.boto()
    own = {"EQUALS": "a=b=c", "EMPTY": "", "UNICODE": "é☃", "LINES": "a\nb", "TZ": "Europe/Berlin"}
    create(client, "env", MemorySize=192, Handler="some.handler", Environment={"Variables": own})
    client.publish_version(FunctionName="env")
    for version, options in (("$LATEST", {}), ("1", {"Qualifier": "1"})):
        found = variables(client, "env", **options)
        assert {name: found[name] for name in own} == own
        assert found["_HANDLER"] == "some.handler"
        assert (found["AWS_LAMBDA_FUNCTION_NAME"], found["AWS_LAMBDA_FUNCTION_VERSION"]) == ("env", version)
        assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "192"
        assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
        assert found["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/env"
        stream = re.escape(f"[{version}]")
        assert re.fullmatch(rf"\d{{4}}/\d\d/\d\d/{stream}[0-9a-f]{{32}}", found["AWS_LAMBDA_LOG_STREAM_NAME"])
        assert (found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == (REGION, REGION)
        assert (found["LAMBDA_TASK_ROOT"], found["LAMBDA_RUNTIME_DIR"]) == ("/var/task", "/var/runtime")
        assert re.fullmatch(r"[\d.]+:\d+", found["AWS_LAMBDA_RUNTIME_API"])
        assert "AWS_EXECUTION_ENV" not in found, "not for an OS-only runtime"
        assert found["LANG"] and found["PATH"]
    create(client, "utc")
    assert variables(client, "utc")["TZ"] == ":UTC"


def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    told = caught.value.response
    return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"], told["Error"]["Message"]


def test_reserved_variables_cannot_be_set(service):
    client = service.boto()
    create(client, "reserved")
    before = client.get_function_configuration(FunctionName="reserved")
    new = {"Role": ROLE, "Runtime": "provided.al2023", "Handler": "x", "Code": {"ZipFile": archive({"a": "b"})}}
    for name in RESERVED:
        environment = {"Variables": {"FINE": "1", name: "x"}}
        told = (
            400,
            "InvalidParameterValueException",
            f"{UNABLE}contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {name}",
        )
        assert refused(client.create_function, FunctionName="new", Environment=environment, **new) == told
        update = client.update_function_configuration
        assert refused(update, FunctionName="reserved", Environment=environment) == told
    after = client.get_function_configuration(FunctionName="reserved")
    assert {**after, "ResponseMetadata": 0} == {**before, "ResponseMetadata": 0}


def test_four_kilobytes_are_the_limit(service):
    client = service.boto()
    create(client, "large")
    update = client.update_function_configuration
    # As JSON: {"KEY":"..."}
    fits = "x" * (4_096 - len('{"KEY":""}'))
    update(FunctionName="large", Environment={"Variables": {"KEY": fits}})
    client.get_waiter("function_updated_v2").wait(FunctionName="large", WaiterConfig=FAST)
    assert variables(client, "large")["KEY"] == fits
    told = refused(update, FunctionName="large", Environment={"Variables": {"KEY": fits + "x"}})
    assert told == (
        400,
        "InvalidParameterValueException",
        f'{UNABLE}exceeded the 4KB limit. String measured: {{"KEY":"{fits}x"}}',
    )


WRAPPER = """#!/bin/sh
export WRAPPED="by $0"
exec "$@"
"""
WRAPPED = {
    "python3.11": {"app.py": "import os\ndef handler(event, context): return dict(os.environ)\n"},
    "nodejs22.x": {"app.mjs": "export const handler = async () => process.env;\n"},
}


@pytest.fixture(scope="module")
def runtimes(run_id, make_module_service):
    return make_module_service(runtimes={runtime: runtime_image(run_id, runtime) for runtime in WRAPPED})


@pytest.mark.timeout(900)
@pytest.mark.parametrize("runtime", list(WRAPPED))
def test_a_wrapper_starts_the_runtime(runtimes, runtime):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html"""
    client = runtimes.boto()
    name = f"wrapped-{runtime[:4]}"
    content = {"ZipFile": archive({"wrapper": WRAPPER}, {"wrapper": 0o700})}
    layer = client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    settings = {"Runtime": runtime, "Handler": "app.handler", "Layers": [layer]}
    wrapper = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}}
    create(client, name, WRAPPED[runtime], Environment=wrapper, **settings)
    found = variables(client, name)
    assert found["WRAPPED"] == "by /opt/wrapper"
    assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"
    missing = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/none"}}
    client.update_function_configuration(FunctionName=name, Environment=missing)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
    error, answer = call(client, name)
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")


SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def test_there_are_no_credentials_unless_they_are_configured(make_service, base, tmp_path):
    service = make_service(start=False, docker={"base_image": base})
    # Those of whoever starts the service are not the function's.
    service.start(AWS_ACCESS_KEY_ID="operator", AWS_SECRET_ACCESS_KEY="operators", AWS_SESSION_TOKEN="token")
    create(service.boto(), "none")
    found = variables(service.boto(), "none")
    assert not set(SECRETS) & set(found) and "operator" not in str(found)

    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    keys = {"function_access_key_id": "FUNCTION", "function_secret_access_key_file": str(secret)}
    service = make_service(docker={"base_image": base}, aws=keys)
    create(service.boto(), "some")
    found = variables(service.boto(), "some")
    assert [found.get(name) for name in SECRETS] == ["FUNCTION", "s3cret", None]
    assert "s3cret" not in service.log()


def test_a_function_lives_in_the_region_that_the_signature_names(service):
    """One endpoint for several regions; a request without a signature is for the configured one."""
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    here, there = (
        boto3.client("lambda", endpoint_url=service.url, region_name=region, **keys) for region in (REGION, "eu-west-1")
    )
    create(here, "both", Environment={"Variables": {"WHERE": "here"}})
    assert refused(there.get_function, FunctionName="both")[:2] == (404, "ResourceNotFoundException")
    create(there, "both", Environment={"Variables": {"WHERE": "there"}})
    create(there, "only-there")
    for client, region, where in ((here, REGION, "here"), (there, "eu-west-1", "there")):
        arn = client.get_function_configuration(FunctionName="both")["FunctionArn"]
        assert arn == f"arn:aws:lambda:{region}:000000000000:function:both"
        found = variables(client, "both")
        assert (found["WHERE"], found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == (where, region, region)
        assert variables(client, arn)["WHERE"] == where
    names = [function["FunctionName"] for function in there.list_functions()["Functions"]]
    assert names == ["both", "only-there"]
    assert service.invoke("both", {"op": "env"}).json()["WHERE"] == "here", "without a signature"
    other = "arn:aws:lambda:eu-west-1:000000000000:function:both"
    assert refused(here.invoke, FunctionName=other) == (
        404,
        "ResourceNotFoundException",
        f"Functions from 'eu-west-1' are not reachable in this region ('{REGION}')",
    )
    layer = there.publish_layer_version(LayerName="l", Content={"ZipFile": archive({"a": "b"})})
    assert ":eu-west-1:" in layer["LayerVersionArn"]
    assert here.list_layer_versions(LayerName="l")["LayerVersions"] == []
    there.delete_function(FunctionName="both")
    assert variables(here, "both")["WHERE"] == "here"


def test_the_engines_default_seccomp_profile_is_kept(service):
    if "name=seccomp" not in docker("info", "--format", "{{.SecurityOptions}}"):
        pytest.skip("this Engine runs without seccomp")
    client = service.boto()
    create(client, "filtered")
    variables(client, "filtered")
    (container,) = service.sandboxes("filtered")
    # The process itself, as the kernel shows it to the host: 2 is a filter.
    process = Path(f"/proc/{inspect(container)['State']['Pid']}/status").read_text()
    told = dict(line.split(":\t", 1) for line in process.splitlines() if ":\t" in line)
    assert (told["Seccomp"], told["NoNewPrivs"], told["CapEff"]) == ("2", "1", "0" * 16)
