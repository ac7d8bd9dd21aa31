"""Functions deployed as zip packages with boto3: kept, built, invoked, updated, refused, removed."""

import base64
import hashlib
import json
import urllib.request

import pytest

import docker_cli
from conftest import build_function
from harness import ROLE, archive, wait_for

@pytest.fixture(scope="module")
def service(run_id, make_module_service):
    return make_module_service(docker={"base_image": f"{run_id}-base:al2023"})


def create(service, name, zipped, **settings):
    client = service.boto()
    settings = {"Runtime": "provided.al2023", "Handler": "app.handler", **settings}
    answer = client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": zipped}, **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return answer


def call(service, name, event, **options):
    answer = service.boto().invoke(FunctionName=name, Payload=json.dumps(event), **options)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


@pytest.fixture(scope="module")
def program():
    return archive({"bootstrap": build_function().read_bytes()})


def test_a_static_program(service, program):
    answer = create(service, "static", program)
    digest = hashlib.sha256(program).digest()
    assert answer["State"] == "Pending" and answer["PackageType"] == "Zip"
    assert answer["CodeSha256"] == base64.b64encode(digest).decode() and answer["CodeSize"] == len(program)
    error, result = call(service, "static", {"op": "echo", "n": 1})
    assert error is None and result["event"] == {"op": "echo", "n": 1}


def test_the_location_really_downloads_the_package(service, program):
    create(service, "located", program)
    code = service.boto().get_function(FunctionName="located")["Code"]
    assert code["RepositoryType"] == "S3"
    with urllib.request.urlopen(code["Location"], timeout=30) as answer:
        assert answer.read() == program


def test_an_image_that_the_engine_has_lost_is_built_again(service, program):
    before = set(docker_cli.code_images(service.owner))
    create(service, "lost", archive({"bootstrap": build_function().read_bytes(), "of": "lost"}))
    made = set(docker_cli.code_images(service.owner)) - before
    assert len(made) == 1
    docker_cli.docker("image", "rm", "--force", *made)
    error, result = call(service, "lost", {"op": "echo"})
    assert error is None and result["event"] == {"op": "echo"}


def test_images_go_with_their_functions(service):
    images = lambda: set(docker_cli.code_images(service.owner))  # noqa: E731
    before = images()
    create(service, "short", archive({"bootstrap": build_function().read_bytes(), "of": "short"}))
    made = images() - before
    assert len(made) == 1
    service.boto().delete_function(FunctionName="short")
    wait_for(lambda: not made & images(), 30, "the deleted function's image is gone")


def test_packages_are_kept_over_a_restart(service, program):
    create(service, "kept", program)
    service.stop()
    service.start()
    error, result = call(service, "kept", {"op": "echo"})
    assert error is None and result["event"] == {"op": "echo"}
