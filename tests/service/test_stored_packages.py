"""Packages that are stored by themselves (PUT /packages/SHA256) and named afterwards: what an import does with them."""

import hashlib
import io
import zipfile

import pytest

import bundles
from harness import ROLE
from test_zip import archive


@pytest.fixture(scope="module")
def service(run_id, make_module_service):
    return make_module_service(docker={"pull_policy": "never", "base_image": f"{run_id}-stored:al2023"})


@pytest.mark.timeout(600)
def test_a_package_beyond_what_a_request_carries(service, tmp_path):
    client = service.boto()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as zipped:
        zipped.writestr("app.py", "def handler(e, c): return len(open('/var/task/big', 'rb').read())\n")
        zipped.writestr("big", bytes(53_000_000))
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    assert service.http("PUT", f"/packages/{sha256}", data.getvalue()).status == 201
    client.create_function(
        FunctionName="big",
        Role=ROLE,
        Runtime="provided.al2023",
        Handler="app.handler",
        Code={"S3Bucket": "_packages", "S3Key": sha256},
    )
    bundles.ready(client, "big")
    bundle = bundles.export(service, tmp_path / "big.tar", "big")
    client.delete_function(FunctionName="big")
    bundles.take(service, bundle)
    assert client.get_function(FunctionName="big")["Configuration"]["CodeSize"] == len(data.getvalue())


def test_stored_packages_are_checked(service):
    zipped = archive({"a": "b"})
    sha256 = hashlib.sha256(zipped).hexdigest()
    for digest, content, told in (
        (sha256, zipped + b"x", "another SHA-256"),
        ("00", zipped, "another SHA-256"),
        (hashlib.sha256(b"no zip").hexdigest(), b"no zip", ""),
    ):
        answer = service.http("PUT", f"/packages/{digest}", content)
        assert answer.status == 400 and told in answer.body.decode(), answer
        assert answer.error_type == "InvalidParameterValueException"
    with pytest.raises(
        service.boto().exceptions.InvalidParameterValueException, match="There is no stored package 00."
    ):
        service.boto().publish_layer_version(LayerName="l", Content={"S3Bucket": "_packages", "S3Key": "00"})
