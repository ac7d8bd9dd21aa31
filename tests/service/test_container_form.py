"""The service itself in a container: the shipped Dockerfile, the static binary, the Engine's socket mounted."""

import time

import pytest

import docker_cli
import wire
from conftest import build_image
from docker_cli import docker
from harness import ROOT, binary, wait_for


@pytest.fixture(scope="module")
def service_image(run_id):
    build_image(f"{run_id}-service:latest", ROOT / "Dockerfile", binary(), "--build-arg", f"BINARY={binary().name}")
    return f"{run_id}-service:latest"


def test_the_image_holds_the_program(service_image):
    told = docker("run", "--rm", service_image, "--version")
    assert told.startswith("lambda-runtime-api-server ")


def test_on_the_hosts_network(make_service, service_image, image):
    """What the README recommends: everything is as on the host."""
    service = make_service(start=False)
    container = f"{service.name}-itself"
    storage = service.directory / "storage"
    storage.mkdir()
    docker(
        "run", "-d", "--name", container, "--network", "host",
        "-v", "/var/run/docker.sock:/var/run/docker.sock",
        "-v", f"{service.config_path}:/etc/lambda/config.toml:ro",
        "-v", f"{storage}:{storage}",
        service_image, "--config", "/etc/lambda/config.toml",
    )  # fmt: skip
    try:
        wait_for(lambda: healthy(service.port), 20, "the service in the container is healthy")
        service.create("inside", image, Timeout=20)
        answer = service.invoke("inside", {"op": "echo", "n": 1})
        assert answer.status == 200 and answer.json()["event"]["n"] == 1, answer
        started = time.monotonic()
        docker("stop", "--time", "20", container)
        assert time.monotonic() - started < 15
        assert docker_cli.inspect(container)["State"]["ExitCode"] == 0
        assert service.containers() == [], "the stop removed the sandboxes"
    except BaseException:
        print(docker("logs", container, check=False))
        raise
    finally:
        docker("rm", "--force", container, check=False)


def healthy(port):
    try:
        return wire.request(port, "GET", "/health", timeout=3).status == 200
    except OSError:
        return False
