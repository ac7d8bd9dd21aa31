"""Code from S3, as SAM, CDK and Terraform send it: moto's server as the endpoint, which checks every signature."""

import base64
import hashlib
import http.server
import json
import subprocess
import sys
import threading

import boto3
import botocore.exceptions
import pytest

from conftest import build_function
from harness import REGION, ROLE, ROOT, archive

FAST = {"Delay": 1, "MaxAttempts": 90}
NEW = {"Role": ROLE, "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 20}


@pytest.fixture(scope="module")
def store():
    """The endpoint of tests/s3: the buckets `code` (with versions) and `forbidden`, one user, and where it is."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests/s3/endpoint.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)


@pytest.fixture(scope="module")
def service(run_id, make_module_service, store, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(store["secret_access_key"] + "\n")
    return make_module_service(
        docker={"base_image": f"{run_id}-base:al2023"},
        aws={
            "endpoint_url": store["url"],
            "access_key_id": store["access_key_id"],
            "secret_access_key_file": str(secret),
        },
    )


@pytest.fixture(scope="module")
def packages(store):
    """Two versions of one object, as (version, zip)."""
    s3 = boto3.client(
        "s3",
        endpoint_url=store["url"],
        region_name=REGION,
        aws_access_key_id=store["owner_access_key_id"],
        aws_secret_access_key=store["owner_secret_access_key"],
    )
    program = build_function().read_bytes()
    made = []
    for number in (1, 2):
        zipped = archive({"bootstrap": program, "number": str(number)})
        made.append((s3.put_object(Bucket="code", Key="a folder/f (1).zip", Body=zipped)["VersionId"], zipped))
    s3.put_object(Bucket="code", Key="no.zip", Body=b"no zip")
    return made


def sha(zipped):
    return base64.b64encode(hashlib.sha256(zipped).digest()).decode()


def code(**more):
    return {"S3Bucket": "code", "S3Key": "a folder/f (1).zip", **more}


def works(client, name, zipped):
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=FAST)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
    got = client.get_function_configuration(FunctionName=name)
    assert (got["CodeSha256"], got["CodeSize"]) == (sha(zipped), len(zipped))
    answer = client.invoke(FunctionName=name, Payload=b'{"op": "echo"}')
    assert json.loads(answer["Payload"].read())["event"] == {"op": "echo"} and "FunctionError" not in answer


def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    told = caught.value.response
    return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"], told["Error"]["Message"]


def test_the_newest_and_an_older_version_of_an_object(service, packages):
    client = service.boto()
    (first_version, first), (_, second) = packages
    client.create_function(FunctionName="newest", Code=code(), **NEW)
    works(client, "newest", second)
    client.create_function(FunctionName="older", Code=code(S3ObjectVersion=first_version), **NEW)
    works(client, "older", first)
    client.update_function_code(FunctionName="newest", **code(S3ObjectVersion=first_version))
    works(client, "newest", first)
    client.update_function_code(FunctionName="newest", **code())
    works(client, "newest", second)


def test_a_layer_from_s3(service, packages):
    client = service.boto()
    (first_version, first), (_, second) = packages
    for content, zipped in ((code(), second), (code(S3ObjectVersion=first_version), first)):
        layer = client.publish_layer_version(LayerName="l", Content=content)
        assert (layer["Content"]["CodeSha256"], layer["Content"]["CodeSize"]) == (sha(zipped), len(zipped))


def test_it_is_fetched_once_at_deploy_time(run_id, make_service):
    asked = []
    zipped = archive({"bootstrap": build_function().read_bytes()})

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(zipped)))
            self.end_headers()
            self.wfile.write(zipped)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{endpoint.server_address[1]}"
        service = make_service(docker={"base_image": f"{run_id}-base:al2023"}, aws={"endpoint_url": url})
        client = service.boto()
        client.create_function(FunctionName="kept", Code=code(), **NEW)
        works(client, "kept", zipped)
        endpoint.shutdown()
    service.stop()
    service.start()
    client.update_function_configuration(FunctionName="kept", Timeout=19)
    works(client, "kept", zipped)
    assert asked == ["/code/a%20folder/f%20%281%29.zip"]


def test_what_s3_refuses_is_told(service, packages):
    create = service.boto().create_function
    invalid = (400, "InvalidParameterValueException")
    told = refused(create, FunctionName="f", Code=code(S3Key="unknown.zip"), **NEW)
    assert told == (
        *invalid,
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
    )
    told = refused(create, FunctionName="f", Code=code(S3ObjectVersion="00000000000000000000000000000000"), **NEW)
    assert told[:2] == invalid and "S3 Error Code: NoSuchVersion" in told[2]
    told = refused(create, FunctionName="f", Code={"S3Bucket": "forbidden", "S3Key": "f.zip"}, **NEW)
    assert told[:2] == (403, "AccessDeniedException") and "GetObject for forbidden/f.zip" in told[2]
    told = refused(create, FunctionName="f", Code=code(S3Key="no.zip"), **NEW)
    assert told[:2] == invalid and told[2].startswith("Could not unzip uploaded file.")
    both = refused(create, FunctionName="f", Code={**code(), "ZipFile": b"x"}, **NEW)
    assert both[:2] == invalid and "ZipFile" in both[2]
    assert service.http("GET", "/2015-03-31/functions/f").status == 404


def test_without_an_endpoint_the_error_says_what_to_set(make_service):
    service = make_service()
    told = refused(service.boto().create_function, FunctionName="f", Code=code(), **NEW)
    assert told[:2] == (400, "InvalidParameterValueException")
    assert "endpoint_url" in told[2] and "AWS_ENDPOINT_URL_S3" in told[2]


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_environment_names_the_endpoint(run_id, make_service, store, packages, variable):
    service = make_service(start=False, docker={"base_image": f"{run_id}-base:al2023"})
    keys = {"AWS_ACCESS_KEY_ID": store["access_key_id"], "AWS_SECRET_ACCESS_KEY": store["secret_access_key"]}
    service.start(**{variable: store["url"]}, **keys)
    client = service.boto()
    client.create_function(FunctionName="f", Code=code(), **NEW)
    works(client, "f", packages[1][1])
