"""From Pending to Active: what the states say on the way, also over a kill, and what to do where the way ends."""

import json

import pytest

import docker_cli
from conftest import build_function
from harness import ROLE, archive, wait_for
from registry import Registry

FAST = {"Delay": 1, "MaxAttempts": 90}


@pytest.fixture
def registry():
    made = Registry(build_function().read_bytes())
    names = []

    def image(name):
        names.append(made.image(name))
        return names[-1]

    made.named = image
    yield made
    made.close()
    for name in names:
        docker_cli.docker("image", "rm", "--force", name, check=False)


def create_image(client, name, uri, **settings):
    settings = {"PackageType": "Image", "Code": {"ImageUri": uri}, "Timeout": 20, **settings}
    return client.create_function(FunctionName=name, Role=ROLE, **settings)


def create_zip(client, name, files, **settings):
    settings = {"Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 20, **settings}
    return client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": archive(files)}, **settings)


def configuration(client, name, **which):
    return client.get_function_configuration(FunctionName=name, **which)


def echo(client, name, **which):
    answer = client.invoke(FunctionName=name, Payload=json.dumps({"op": "echo", "of": name}), **which)
    result = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, result
    assert result["event"]["of"] == name
    return answer["ExecutedVersion"]


def test_a_pull_tells_how_far_it_is(service, run_id, registry):
    client = service.boto()
    uri = registry.named(f"{run_id}-slow")
    told = create_image(client, "pulled", uri)
    assert (told["State"], told["StateReasonCode"]) == ("Pending", "Creating")
    reason = lambda: configuration(client, "pulled").get("StateReason", "")  # noqa: E731
    wait_for(lambda: reason().startswith(f"Pulling image {uri}"), 20, "the pull is told")
    registry.manifest.set()
    wait_for(lambda: "Downloading" in reason() and "MB" in reason(), 30, "how much has come is told")
    assert configuration(client, "pulled")["State"] == "Pending"
    refused = service.invoke("pulled")
    assert (refused.status, refused.error_type) == (409, "ResourceConflictException")
    assert refused.json()["message"].endswith("in the following state: Pending")
    registry.layer.set()
    client.get_waiter("function_active_v2").wait(FunctionName="pulled", WaiterConfig=FAST)
    assert "StateReason" not in configuration(client, "pulled")
    assert echo(client, "pulled") == "$LATEST"
    assert f'function pulled: "Pulling image {uri}' in service.log()


def test_an_update_says_that_it_is_in_progress_and_the_old_code_runs(service, run_id, registry, image):
    client = service.boto()
    service.create("updated", image, Timeout=20)
    uri = registry.named(f"{run_id}-next")
    client.update_function_code(FunctionName="updated", ImageUri=uri)
    now = configuration(client, "updated")
    assert (now["State"], now["LastUpdateStatus"]) == ("Active", "InProgress")
    assert uri in now["LastUpdateStatusReason"]
    echo(client, "updated")
    registry.open()
    client.get_waiter("function_updated_v2").wait(FunctionName="updated", WaiterConfig=FAST)
    assert client.get_function(FunctionName="updated")["Code"]["ImageUri"] == uri
    echo(client, "updated")


def test_a_package_and_its_layer_are_told(run_id, make_service):
    service = make_service(docker={"base_image": f"{run_id}-base:al2023"})
    client = service.boto()
    content = {"ZipFile": archive({"data": "x" * 1_000_000})}
    layer = client.publish_layer_version(LayerName="l", Content=content)["LayerVersionArn"]
    files = {"bootstrap": build_function().read_bytes()}
    told = create_zip(client, "built", files, Layers=[layer])
    assert (told["State"], told["StateReason"]) == ("Pending", "The function is being created.")
    client.get_waiter("function_active_v2").wait(FunctionName="built", WaiterConfig=FAST)
    echo(client, "built")
    log = service.log()
    for step in ("Waiting for the package's image to be built.", "Building the package's image.", "Saving the package's"):
        assert f'function built: "{step}' in log


def test_what_was_pending_at_a_kill_becomes_active(run_id, make_service, registry, image):
    base = registry.named(f"{run_id}-base")
    service = make_service(docker={"base_image": ""}, runtimes={"provided.al2023": base})
    client = service.boto()
    service.create("active", image, Timeout=20)
    service.create("changing", image, Timeout=20)
    create_image(client, "image", registry.named(f"{run_id}-image"))
    create_zip(client, "zip", {"bootstrap": build_function().read_bytes()}, Publish=True)
    client.update_function_code(FunctionName="changing", ImageUri=registry.named(f"{run_id}-changed"))
    pending = {"image": {}, "zip": {}, "zip:1": {"Qualifier": "1"}}
    for name, which in pending.items():
        assert configuration(client, name.partition(":")[0], **which)["State"] == "Pending", name
    assert configuration(client, "changing")["LastUpdateStatus"] == "InProgress"

    service.kill()
    service.start()
    client = service.boto()
    echo(client, "active")
    echo(client, "changing")
    assert configuration(client, "zip")["State"] == "Pending", "nothing has come yet"
    registry.open()
    for name, which in pending.items():
        named = {"FunctionName": name.partition(":")[0], **which}
        client.get_waiter("published_version_active").wait(WaiterConfig=FAST, **named)
    client.get_waiter("function_updated_v2").wait(FunctionName="changing", WaiterConfig=FAST)
    for name in ("active", "changing", "image", "zip"):
        assert echo(client, name) == "$LATEST"
    assert echo(client, "zip", Qualifier="1") == "1"


@pytest.fixture(scope="module")
def never(make_module_service):
    return make_module_service(docker={"pull_policy": "never"})


def failed(client, name):
    return wait_for(lambda: (got := configuration(client, name))["State"] == "Failed" and got, 20, f"{name} is Failed")


def test_an_image_that_may_not_be_pulled_says_which_command_helps(never, run_id, image):
    client = never.boto()
    uri = f"{run_id}-late:1"
    create_image(client, "late", uri)
    told = failed(client, "late")
    assert told["StateReasonCode"] == "ImageAccessDenied"
    assert f"docker build -t {uri} ." in told["StateReason"] and "docker load -i FILE" in told["StateReason"]
    command = f"aws lambda update-function-code --function-name late --image-uri {uri}"
    assert told["StateReason"].endswith(command)
    # What it says does help.
    docker_cli.docker("tag", image, uri)
    client.update_function_code(FunctionName="late", ImageUri=uri)
    client.get_waiter("function_active_v2").wait(FunctionName="late", WaiterConfig=FAST)
    echo(client, "late")


@pytest.mark.parametrize(
    ("runtime", "command"),
    [
        ("python3.12", "Run scripts/build-runtime-image.sh python3.12, "),
        ("nodejs22.x", "Run scripts/build-runtime-image.sh nodejs22.x, "),
        ("java21", "Run docker pull public.ecr.aws/lambda/java:21 "),
    ],
)
def test_a_runtime_without_its_image_says_which_command_helps(never, runtime, command):
    client = never.boto()
    name = runtime.replace(".", "-")
    create_zip(client, name, {"app.py": "x"}, Runtime=runtime, Handler="app.handler")
    told = failed(client, name)
    assert command in told["StateReason"]
    refused = never.invoke(name)
    assert (refused.status, refused.error_type) == (409, "ResourceConflictException")
