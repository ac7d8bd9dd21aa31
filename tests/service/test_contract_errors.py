"""Each error that botocore's model documents for an implemented operation, provoked at least once or explained, with
the status, the type and the members that the model has for it."""

import socket
from types import SimpleNamespace

import botocore.exceptions
import pytest

import docker_cli
from conftest import build_function
from contract import IMPLEMENTED, MODEL, Judge
from contract_errors import ABSENT, EXPLAINED, GRANT, NEW, PROVOKED, SHARE
from harness import ROLE, archive, wait_for
from registry import Registry
from wire import InBackground

PAIRS = [(name, shape.name) for name in IMPLEMENTED for shape in MODEL.operation_model(name).error_shapes]


def explained(pair):
    return EXPLAINED.get(pair) or EXPLAINED.get(("*", pair[1]))


def test_every_documented_error_is_provoked_or_explained():
    assert set(ABSENT) == set(IMPLEMENTED)
    assert [pair for pair in PAIRS if pair not in PROVOKED and not explained(pair)] == []
    assert [pair for pair in PROVOKED if pair not in PAIRS] == [], "the model does not document them"
    operations = {name for name, _ in EXPLAINED} - {"*"}
    assert operations <= set(IMPLEMENTED)
    assert [pair for pair in EXPLAINED if pair[0] != "*" and pair in PROVOKED] == [], "both provoked and explained"


@pytest.fixture(scope="module")
def stalled():
    """An S3 endpoint that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture(scope="module")
def full(make_module_service, stalled):
    """A service all of whose threads for the control API are at work, with as many calls waiting as may wait."""
    endpoint = f"http://127.0.0.1:{stalled.getsockname()[1]}"
    service = make_module_service(
        server={"blocking_threads": 1, "max_waiting_calls": 1}, aws={"endpoint_url": endpoint}
    )
    code = {"Code": {"S3Bucket": "bucket", "S3Key": "key"}}

    def deploy():
        try:
            service.boto().create_function(FunctionName="f", **{**NEW, **code})
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]

    calls = [InBackground(deploy)]
    connection, _ = stalled.accept()
    # One of these waits, and the others are told that they cannot.
    calls += [InBackground(deploy) for _ in range(3)]
    wait_for(lambda: sum(call.done for call in calls) == 2, 20, "one call waits")
    yield service
    connection.close()


@pytest.fixture(scope="module")
def world(run_id, image, make_module_service, full):
    registry = Registry(build_function().read_bytes())
    service = make_module_service(docker={"base_image": f"{run_id}-base:al2023"})
    client = service.boto()
    service.create("made", image)
    client.publish_version(FunctionName="made")
    client.create_alias(FunctionName="made", Name="live", FunctionVersion="1")
    client.add_permission(FunctionName="made", **GRANT)
    client.create_function_url_config(FunctionName="made", AuthType="NONE")
    for name in ("made", "crowded"):
        client.publish_layer_version(LayerName=name, Content={"ZipFile": archive({"a": "b"})})
    client.add_layer_version_permission(LayerName="made", VersionNumber=1, **SHARE)
    client.create_function(FunctionName="zipped", **NEW)
    client.get_waiter("function_active_v2").wait(FunctionName="zipped", WaiterConfig={"Delay": 1})
    service.create("stopped", image)
    client.put_function_concurrency(FunctionName="stopped", ReservedConcurrentExecutions=0)
    # Its image is pulled for as long as the tests take.
    uri = registry.image(f"{run_id}-never")
    client.create_function(FunctionName="pending", Role=ROLE, PackageType="Image", Code={"ImageUri": uri})
    tag = f"{run_id}-gone:1"
    docker_cli.docker("build", "--quiet", "--tag", tag, "-", stdin=f"FROM {image}\nENV GONE=1\n")
    service.create("gone", tag)
    docker_cli.docker("image", "rm", "--force", tag)
    judge = Judge()
    listening = SimpleNamespace(judge=judge, client=judge.listen(client), full=judge.listen(full.boto()))
    yield listening
    client.delete_function(FunctionName="pending")
    registry.close()


@pytest.mark.parametrize(("operation", "error"), sorted(PROVOKED), ids=lambda part: part)
def test_error(world, operation, error):
    world.judge.faults.clear()
    with pytest.raises(botocore.exceptions.ClientError) as provoked:
        PROVOKED[operation, error](world)
    answer = provoked.value.response
    assert answer["Error"]["Code"] == error, answer
    assert answer["Error"]["Message"], "it says what is wrong"
    assert not world.judge.faults, "\n".join(world.judge.faults)
