"""Every constraint that botocore's model has on a member of a request, broken once: the answer is an error of the
caller's, and never a success or an error of the service's.

The values are made from the model: too long, too short, outside the pattern, the set or the range. boto3 would keep
most of them to itself, so its own validation is off.
"""

import re

import boto3
import botocore.config
import botocore.exceptions
import pytest
from botocore import xform_name

from contract import IMPLEMENTED, MODEL
from contract_errors import ABSENT, GRANT, NEW, SHARE
from harness import REGION, archive

# Some operations take 140 characters of a name and others 256. No function has so long a name, and which bound one
# breaks is all that differs: here it is 256 for all, and within it the function is not found.
SHORTER = {("FunctionName", "max"): (404, "ResourceNotFoundException")}


def broken(shape):
    """Values that the shape's constraints forbid, each with what it breaks."""
    bounds = shape.metadata
    kind = shape.type_name
    if kind == "string":
        if "max" in bounds and bounds["max"] <= 10_000:
            yield "max", "a" * (bounds["max"] + 1)
        if bounds.get("min", 0) > 0:
            yield "min", ""
        if shape.enum:
            yield "enum", "NoSuchValue"
        if "pattern" in bounds and not re.fullmatch(java(bounds["pattern"]), "! \t"):
            yield "pattern", "! \t"
    elif kind in ("integer", "long", "double", "float"):
        if "max" in bounds:
            yield "max", bounds["max"] + 1
        if "min" in bounds:
            yield "min", bounds["min"] - 1
    elif kind == "list":
        if "max" in bounds:
            yield "max", [sample(shape.member)] * (bounds["max"] + 1)
        if bounds.get("min", 0) > 0:
            yield "min", []
        for what, value in broken(shape.member):
            yield f"member {what}", [value]
    elif kind == "map":
        for what, value in broken(shape.key):
            yield f"key {what}", {value: sample(shape.value)}
        for what, value in broken(shape.value):
            yield f"value {what}", {sample(shape.key): value}
    elif kind == "structure":
        for name, member in shape.members.items():
            for what, value in broken(member):
                yield f"{name} {what}", {**required(shape), name: value}


def java(pattern):
    """The model's patterns are Java's; Python reads all but the classes of Unicode."""
    return pattern.replace(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]", r"[\w .:/=+\-@]")


def sample(shape):
    """Some value of the shape that the model allows."""
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "a" * max(shape.metadata.get("min", 1), 1)
    return {"integer": 1, "double": 0.5, "boolean": True}.get(shape.type_name) or {}


def required(shape):
    return {name: sample(shape.members[name]) for name in shape.required_members}


def requests():
    for operation in IMPLEMENTED:
        shape = MODEL.operation_model(operation).input_shape
        for name, member in (shape.members if shape else {}).items():
            for what, value in broken(member):
                # Nothing at all in a path is another path.
                if not (value == "" and member.serialization.get("location") == "uri"):
                    yield operation, name, what, value


REQUESTS = list(requests())


@pytest.fixture(scope="module")
def client(run_id, make_module_service):
    service = make_module_service(docker={"base_image": f"{run_id}-base:al2023"})
    client = service.boto()
    client.create_function(**{**NEW, "FunctionName": "made"})
    client.get_waiter("function_active_v2").wait(FunctionName="made", WaiterConfig={"Delay": 1})
    client.publish_version(FunctionName="made")
    client.create_alias(FunctionName="made", Name="a", FunctionVersion="1")
    client.add_permission(FunctionName="made", **GRANT)
    client.publish_layer_version(LayerName="made", Content={"ZipFile": archive({"a": "b"})})
    client.add_layer_version_permission(LayerName="made", VersionNumber=1, **SHARE)
    config = botocore.config.Config(parameter_validation=False, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client("lambda", endpoint_url=service.url, region_name=REGION, config=config, **keys)


def on_what_is_there(operation):
    changes = {"FunctionName": "made", "LayerName": "made", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:made"}
    given = {name: changes.get(name, value) for name, value in ABSENT[operation].items()}
    if operation == "CreateFunction":
        given["FunctionName"] = "new"
    return given


def test_there_are_requests():
    assert len(REQUESTS) > 300


@pytest.mark.parametrize("operation", IMPLEMENTED)
def test_broken_constraints_are_refused(client, operation):
    passed = []
    for _, name, what, value in (one for one in REQUESTS if one[0] == operation):
        try:
            getattr(client, xform_name(operation))(**{**on_what_is_there(operation), name: value})
        except botocore.exceptions.ClientError as error:
            answer = error.response
            status, kind = answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]
            if status == 400 or (status, kind) == SHORTER.get((name, what)):
                continue
            passed.append((name, what, str(value)[:60], status, kind))
        else:
            passed.append((name, what, str(value)[:60], "success"))
    assert not passed, "\n".join(map(str, passed))
