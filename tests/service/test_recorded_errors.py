"""Errors word for word as AWS has answered them: the table in recorded_errors."""

import boto3
import botocore.config
import botocore.exceptions
import pytest
from botocore import xform_name
from moto.server import ThreadedMotoServer

from harness import REGION, archive
from recorded_errors import GRANT, NEW, ROWS, SHARE


@pytest.fixture(scope="module")
def store():
    """An S3 with one bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    boto3.client("s3", endpoint_url=url, region_name=REGION, **keys).create_bucket(Bucket="code")
    yield url
    server.stop()


@pytest.fixture(scope="module")
def client(run_id, make_module_service, store):
    base = f"{run_id}-base:al2023"
    service = make_module_service(
        docker={"base_image": base}, aws={"endpoint_url": store}, runtimes={"python3.12": base}
    )
    client = service.boto()
    client.create_function(**{**NEW, "FunctionName": "made"})
    client.get_waiter("function_active_v2").wait(FunctionName="made", WaiterConfig={"Delay": 1})
    client.publish_version(FunctionName="made")
    client.create_alias(FunctionName="made", Name="live", FunctionVersion="1")
    client.add_permission(FunctionName="made", **GRANT)
    for _ in range(2):
        client.publish_layer_version(LayerName="made", Content={"ZipFile": archive({"a": "b"})})
    client.add_layer_version_permission(LayerName="made", VersionNumber=1, **SHARE)
    # boto3 keeps what the model forbids to itself; AWS has been asked all the same.
    config = botocore.config.Config(parameter_validation=False, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client("lambda", endpoint_url=service.url, region_name=REGION, config=config, **keys)


@pytest.mark.parametrize(
    ("operation", "parameters", "answer"), ROWS, ids=[f"{n}-{row[0]}-{row[2][1]}" for n, row in enumerate(ROWS)]
)
def test_error_is_awss_own(client, operation, parameters, answer):
    with pytest.raises(botocore.exceptions.ClientError) as provoked:
        getattr(client, xform_name(operation))(**parameters)
    told = provoked.value.response
    status, error = told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]
    assert (status, error["Code"], error["Message"]) == answer
