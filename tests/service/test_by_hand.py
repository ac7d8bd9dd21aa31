"""Runtimes that a user starts by hand: plain `docker run`, and the README's curl walk-through word for word."""

import json
import re
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

import docker_cli
from docker_cli import docker
from harness import ROOT, environment, wait_for
from wire import invoke_known

WALK_THROUGH = re.compile(r"<!-- walk-through: start -->(.*?)<!-- walk-through: end -->", re.DOTALL)
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def by_hand(service, image):
    """Starts containers as the README says, and removes them."""
    started = []

    def start(name, where="default bridge"):
        container = f"{service.name}-hand-{uuid.uuid4().hex[:6]}"
        started.append(container)
        if where == "default bridge":
            place = ["--add-host", "host.docker.internal:host-gateway"]
            host = "host.docker.internal"
        elif where == "default bridge by address":
            place, host = [], docker_cli.gateway("bridge")
        else:
            place, host = ["--network", service.network], docker_cli.gateway(service.network)
        docker(
            "run", "-d", "--name", container, *place, "-e", f"AWS_LAMBDA_RUNTIME_API={host}:{service.port}",
            "-e", "HANDLER=index.handler", "-e", f"AWS_LAMBDA_FUNCTION_NAME={name}",
            # What AWS's clients insist on and Lambda itself would set.
            "-e", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "-e", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
            image,
        )  # fmt: skip
        return container

    yield start
    for container in started:
        docker("rm", "--force", container, check=False)


def hostname(service, name):
    answer = invoke_known(service.port, name, b'{"op": "where"}')
    assert answer.status == 200, answer
    return answer.json()["hostname"]


@pytest.mark.parametrize("where", ["default bridge", "default bridge by address", "the service's network"])
def test_invoked_by_name_and_gone_with_its_container(service, by_hand, where):
    name = f"by-hand-{uuid.uuid4().hex[:6]}"
    container = by_hand(name, where)
    assert docker_cli.inspect(container)["Id"].startswith(hostname(service, name))
    answer = service.invoke(name, {"op": "echo", "n": 1})
    assert answer.json()["event"] == {"op": "echo", "n": 1}
    assert answer.json()["arn"].endswith(f":function:{name}")
    docker("rm", "--force", container)
    wait_for(lambda: service.invoke(name).status == 404, 10, "the function is gone with its container")


def test_several_of_one_name_serve_at_once(service, by_hand):
    name = "my-function"
    for _ in range(3):
        by_hand(name)

    def three_at_once(milliseconds):
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(invoke_known, service.port, name, sleep(milliseconds)) for _ in range(3)]
        answers = [call.result() for call in calls]
        assert [answer.status for answer in answers] == [200] * 3
        return len({answer.json()["hostname"] for answer in answers}) == 3

    wait_for(lambda: three_at_once(200), 15, "all three containers have polled")
    started = time.monotonic()
    assert three_at_once(1_000)
    assert time.monotonic() - started < 1.9, "three containers, one second"


def sleep(milliseconds):
    return json.dumps({"op": "sleep", "ms": milliseconds}).encode()


def test_a_crash_is_told_at_once(service, by_hand):
    by_hand("crashing")
    hostname(service, "crashing")
    started = time.monotonic()
    answer = service.invoke("crashing", {"op": "exit", "code": 3})
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json()["errorType"] == "Runtime.ExitError"
    assert time.monotonic() - started < 3


def test_the_service_does_not_remove_what_it_did_not_make(make_service, image):
    service = make_service()
    container = f"{service.name}-theirs"
    docker(
        "run", "-d", "--name", container, "--network", service.network, "-e", "AWS_LAMBDA_FUNCTION_NAME=theirs",
        "-e", "AWS_LAMBDA_FUNCTION_VERSION=1", "-e", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
        "-e", f"AWS_LAMBDA_RUNTIME_API={docker_cli.gateway(service.network)}:{service.port}", image,
    )  # fmt: skip
    assert invoke_known(service.port, "theirs", b'{"op": "where"}').status == 200
    assert service.stop() == 0
    assert docker_cli.inspect(container)["Id"], "an operator's container is the operator's to remove"


def test_the_readme_walk_through_word_for_word(service, tmp_path):
    section = WALK_THROUGH.search((ROOT / "README.md").read_text())
    assert section, "README.md has its walk-through between the two comments"
    blocks = SHELL_BLOCK.findall(section[1])
    assert blocks, "the walk-through has shell blocks"
    script = "\n".join(blocks).replace("8080", str(service.port))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n--- says\n{done.stdout}{done.stderr}"
    assert re.search(r'"status": ?"OK"', done.stdout), f"the response was accepted:\n{done.stdout}{done.stderr}"
