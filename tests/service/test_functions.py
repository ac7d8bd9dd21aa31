"""The functions of the service: created, read, listed and deleted with boto3 and awscli, and kept over a restart."""

import json

import botocore.exceptions
import pytest

from awscli_tool import aws
from conftest import build_function, build_image
from harness import ROLE, wait_for


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_awscli_from_create_to_delete(service, image, tmp_path):
    created = aws(
        service, "create-function", "--function-name", "by-cli", "--role", ROLE, "--package-type", "Image",
        "--code", f"ImageUri={image}", "--timeout", "5", "--memory-size", "128",
        "--environment", "Variables={COLOR=blue}",
    )  # fmt: skip
    told = json.loads(created.stdout)
    assert (told["FunctionName"], told["PackageType"], told["Timeout"]) == ("by-cli", "Image", 5)
    aws(service, "wait", "function-active-v2", "--function-name", "by-cli")
    output = tmp_path / "out.json"
    invoked = aws(
        service, "invoke", "--function-name", "by-cli", "--payload", '{"op": "env"}', str(output)
    )
    assert json.loads(invoked.stdout)["StatusCode"] == 200
    assert json.loads(output.read_text())["COLOR"] == "blue"
    listed = json.loads(aws(service, "list-functions").stdout)["Functions"]
    assert "by-cli" in [one["FunctionName"] for one in listed]
    aws(service, "delete-function", "--function-name", "by-cli")
    gone = aws(service, "get-function", "--function-name", "by-cli", check=False)
    assert gone.returncode != 0 and "ResourceNotFoundException" in gone.stderr


def test_create_answers_in_aws_shape(service, image):
    client = service.boto()
    told = client.create_function(
        FunctionName="shape",
        Role=ROLE,
        PackageType="Image",
        Code={"ImageUri": image},
        Description="what it is for",
        MemorySize=256,
        Timeout=9,
        Environment={"Variables": {"COLOR": "1"}},
    )
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert told["State"] in ("Pending", "Active")
    assert told["FunctionArn"].endswith(":function:shape")
    assert told["Version"] == "$LATEST" and told["RevisionId"] and told["LastModified"]
    wait_for(
        lambda: client.get_function(FunctionName="shape")["Configuration"]["State"] == "Active", 20, "Active"
    )
    got = client.get_function(FunctionName="shape")
    assert got["Code"]["ImageUri"] == image
    configuration = got["Configuration"]
    assert configuration["Description"] == "what it is for"
    assert (configuration["MemorySize"], configuration["Timeout"]) == (256, 9)
    assert configuration["Environment"]["Variables"] == {"COLOR": "1"}
    assert configuration["Role"] == ROLE
    client.delete_function(FunctionName="shape")


def test_a_name_is_taken_once(service, image, function):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        service.create(function, image)
    assert code(refused) == ("ResourceConflictException", 409)


def test_list_pages(service, image):
    names = [service.create(f"page-{number}", image) for number in range(3)]
    pages = service.boto().get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
    found = [one["FunctionName"] for page in pages for one in page["Functions"]]
    assert sorted(set(names) & set(found)) == names and len(found) == len(set(found))
    for name in names:
        service.boto().delete_function(FunctionName=name)


def test_deleting_what_is_not_there(service):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        service.boto().delete_function(FunctionName="nobody")
    assert code(refused) == ("ResourceNotFoundException", 404)


def test_delete_takes_the_sandboxes_along(service, image):
    name = service.create("short-lived", image)
    before = len(service.containers())
    assert service.invoke(name, {"op": "where"}).status == 200
    assert len(service.containers()) > before
    service.boto().delete_function(FunctionName=name)
    assert service.invoke(name).status == 404
    wait_for(lambda: len(service.containers()) <= before, 15, "the deleted function's containers are gone")


def test_missing_image_is_told(service):
    client = service.boto()
    absent = "absent.invalid/no-such-image:1"
    try:
        client.create_function(FunctionName="absent", Role=ROLE, PackageType="Image", Code={"ImageUri": absent})
    except botocore.exceptions.ClientError as refused:
        assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert absent in refused.response["Error"]["Message"]
        return
    configuration = wait_for(
        lambda: (got := client.get_function(FunctionName="absent")["Configuration"])["State"] != "Pending" and got,
        45,
        "the creation has an outcome",
    )
    assert configuration["State"] == "Failed" and absent in configuration["StateReason"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"", b'{"FunctionName": 7}', b"\xff\xfe", b"[" * 20_000],
    ids=["cut short", "a list", "empty", "wrong type", "not UTF-8", "nested"],
)
def test_bad_json_is_refused(service, body):
    answer = service.http("POST", "/2015-03-31/functions", body, {"Content-Type": "application/json"})
    assert answer.status == 400, answer
    assert answer.error_type in ("InvalidRequestContentException", "SerializationException", "ValidationException")
    assert json.loads(answer.body)


@pytest.mark.parametrize(
    "changes",
    [
        {"MemorySize": 64},
        {"MemorySize": 20_000},
        {"Timeout": 901},
        {"FunctionName": "no spaces allowed"},
        {"Environment": {"Variables": {"BIG": "x" * 5_000}}},
        {"Code": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_impossible_settings_are_refused(service, image, changes):
    wanted = {
        "FunctionName": "impossible",
        "Role": ROLE,
        "PackageType": "Image",
        "Code": {"ImageUri": image},
        **changes,
    }
    answer = service.http("POST", "/2015-03-31/functions", json.dumps(wanted).encode())
    assert answer.status == 400 and answer.error_type, answer
    assert service.http("GET", "/2015-03-31/functions/impossible").status == 404


def test_zip_package_is_refused_clearly_until_it_is_there(service):
    wanted = {"FunctionName": "zipped", "Role": ROLE, "Runtime": "python3.13", "Handler": "a.b", "Code": {"ZipFile": "UEs="}}
    answer = service.http("POST", "/2015-03-31/functions", json.dumps(wanted).encode())
    assert 400 <= answer.status < 600 and answer.error_type
    assert service.http("GET", "/2015-03-31/functions/zipped").status == 404


def test_functions_are_kept_over_a_restart(make_service, image):
    service = make_service()
    service.create("kept", image, {"COLOR": "1"}, Timeout=7)
    service.create("dropped", image)
    service.boto().delete_function(FunctionName="dropped")
    before = service.boto().get_function(FunctionName="kept")["Configuration"]
    assert service.stop() == 0
    service.start()
    after = service.boto().get_function(FunctionName="kept")["Configuration"]
    assert {key: after[key] for key in ("RevisionId", "Timeout", "FunctionArn", "Environment", "State")} == {
        key: before[key] for key in ("RevisionId", "Timeout", "FunctionArn", "Environment", "State")
    }
    assert service.http("GET", "/2015-03-31/functions/dropped").status == 404
    assert service.invoke("kept", {"op": "where"}).status == 200


def test_a_static_program_on_the_services_own_base_image(run_id, make_service, tmp_path):
    base = f"{run_id}-base:al2023"
    service = make_service(docker={"base_image": base})
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {base}\nCOPY bootstrap /var/task/bootstrap\n")
    name = service.create("based", build_image(f"{run_id}-based:1", dockerfile, build_function()))
    answer = service.invoke(name, {"op": "echo", "n": 1})
    assert answer.json()["event"] == {"op": "echo", "n": 1}
    fs = service.invoke(name, {"op": "fs"}).json()
    assert fs, "the program sees its file system"
