"""Twenty functions deployed at once, each by the calls that Terraform's provider makes: create, wait, update the code,
wait, publish, alias, tags, read all of it back, delete."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import docker_cli
from conftest import build_function
from harness import REGION, ROLE, archive, wait_for

AT_ONCE = 20
FAST = {"Delay": 1, "MaxAttempts": 120}


def deploy(service, number, start):
    """The whole life of one function; what its last step has returned."""
    client = service.boto()
    name = f"terraform-{number}"
    named = {"FunctionName": name}
    arn = f"arn:aws:lambda:{REGION}:000000000000:function:{name}"
    program = build_function().read_bytes()
    # Every second function shares its code with another one, the others have code of their own.
    codes = [archive({"bootstrap": program, "of": f"{step} {number // 2}"}) for step in ("first", "second")]
    start.wait()
    made = client.create_function(
        Role=ROLE, Runtime="provided.al2023", Handler="bootstrap", Timeout=30, MemorySize=128,
        Code={"ZipFile": codes[0]}, Tags={"number": str(number)},
        Environment={"Variables": {"NUMBER": str(number)}}, Publish=False, **named,
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(WaiterConfig=FAST, **named)
    # What a provider reads after each change.
    read = client.get_function(**named)
    assert read["Configuration"]["CodeSha256"] == made["CodeSha256"] and read["Tags"] == {"number": str(number)}
    assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(**named)
    assert len(client.list_versions_by_function(**named)["Versions"]) == 1

    before = read["Configuration"]["RevisionId"]
    updated = client.update_function_code(ZipFile=codes[1], RevisionId=before, **named)
    assert updated["CodeSha256"] != made["CodeSha256"]
    client.get_waiter("function_updated_v2").wait(WaiterConfig=FAST, **named)
    version = client.publish_version(CodeSha256=updated["CodeSha256"], Description="by terraform", **named)
    assert version["Version"] == "1"
    alias = client.create_alias(Name="live", FunctionVersion="1", **named)
    assert client.get_alias(Name="live", **named)["RevisionId"] == alias["RevisionId"]
    client.tag_resource(Resource=arn, Tags={"more": "x"})
    client.untag_resource(Resource=arn, TagKeys=["number"])
    assert client.list_tags(Resource=arn)["Tags"] == {"more": "x"}
    allow = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"}
    client.add_permission(Qualifier="live", **allow, **named)
    assert json.loads(client.get_policy(Qualifier="live", **named)["Policy"])["Statement"][0]["Resource"] == f"{arn}:live"

    answer = client.invoke(Qualifier="live", Payload=json.dumps({"op": "env"}), **named)
    variables = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer and answer["ExecutedVersion"] == "1", variables
    assert variables["NUMBER"] == str(number)

    client.remove_permission(StatementId="s", Qualifier="live", **named)
    client.delete_alias(Name="live", **named)
    client.delete_function(**named)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(**named)
    return name


@pytest.mark.timeout(600)
def test_twenty_functions_are_deployed_at_once(run_id, make_service):
    service = make_service(
        docker={"base_image": f"{run_id}-base:al2023"}, execution={"max_concurrent_executions": AT_ONCE}
    )
    start = threading.Barrier(AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        deployments = [pool.submit(deploy, service, number, start) for number in range(AT_ONCE)]
        names = {deployment.result() for deployment in deployments}
    assert len(names) == AT_ONCE
    client = service.boto()
    assert client.list_functions(FunctionVersion="ALL")["Functions"] == []
    assert client.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    wait_for(lambda: not service.containers(), 60, "no container is left")
    wait_for(lambda: not docker_cli.code_images(service.owner), 60, "no image is left")
    assert " ERROR " not in service.log()
