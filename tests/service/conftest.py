"""Fixtures of the whole-service tests: the function's image once per run, a service per module or per test.

Each run has an id that begins the name of everything it creates on the Engine; the session removes all of it,
also after failures. The service's log is printed with each failed test.
"""

import os
import resource
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

import docker_cli
import hostile
from harness import ROOT, Service

STATIC_TARGET = "x86_64-unknown-linux-gnu"


def pytest_addoption(parser):
    parser.addoption("--kill-runs", type=int, default=10, help="how often test_async_kill.py kills the service")


def pytest_sessionstart(session):
    # 2,000 connections of a test need that many descriptors here, and the service inherits the limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for service in item.session.stash.get(SERVICES, []):
            report.sections.append((f"log of {service.name}", service.log()[-8000:]))


def pytest_terminal_summary(terminalreporter):
    if hostile.REPORT:
        terminalreporter.section("what neighbours of hostile functions met with")
        for line in hostile.REPORT:
            terminalreporter.write_line(line)


SERVICES = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def run_id():
    """Begins the name of every container, network, image and directory of this run."""
    name = f"lrt{uuid.uuid4().hex[:6]}"
    yield name
    docker_cli.remove_all(name)
    docker_cli.remove_holder_images()


def build_function():
    """The static test function: LAMBDA_TEST_FUNCTION names a built one, else cargo builds it."""
    named = os.environ.get("LAMBDA_TEST_FUNCTION")
    if named:
        return Path(named)
    target = ROOT / "target" / "test-function"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--target", STATIC_TARGET, "--target-dir", target],
        cwd=ROOT / "tests" / "functions" / "rust",
        env=dict(os.environ, RUSTFLAGS="-C target-feature=+crt-static"),
        check=True,
    )
    return target / STATIC_TARGET / "release" / "bootstrap"


def build_image(tag, dockerfile, bootstrap, *arguments, name=None):
    """An image from a Dockerfile whose context holds the one program only, under its own name or this one."""
    with tempfile.TemporaryDirectory() as context:
        shutil.copy(dockerfile, Path(context) / "Dockerfile")
        shutil.copy(bootstrap, Path(context) / (name or Path(bootstrap).name))
        docker_cli.docker("build", "--quiet", "--tag", tag, *arguments, context, timeout=120)
    return tag


@pytest.fixture(scope="session")
def image(run_id):
    """The image of the test function (tests/functions/rust)."""
    return build_image(f"{run_id}-function:latest", ROOT / "tests/functions/rust/Dockerfile", build_function())


@pytest.fixture(scope="session")
def hostile_image(run_id):
    """The image of the function that attacks, whose program is built beside the other one's."""
    program = build_function().with_name("hostile")
    return build_image(f"{run_id}-hostile:latest", ROOT / "tests/functions/rust/Dockerfile", program, name="bootstrap")


def running(run_id, request):
    """Makes services for one scope and removes them at its end."""
    made = []
    request.session.stash.setdefault(SERVICES, [])

    def make(start=True, **overrides):
        service = Service(run_id, **overrides)
        made.append(service)
        request.session.stash[SERVICES].append(service)
        return service.start() if start else service

    yield make
    for service in made:
        request.session.stash[SERVICES].remove(service)
        service.clean_up()


@pytest.fixture
def make_service(run_id, request):
    """A factory for tests that need a service of their own."""
    yield from running(run_id, request)


@pytest.fixture(scope="module")
def make_module_service(run_id, request):
    yield from running(run_id, request)


@pytest.fixture(scope="module")
def service(make_module_service):
    """The module's shared service with the default limits."""
    return make_module_service()


@pytest.fixture(scope="module")
def function(service, image):
    """The test function on the module's service."""
    return service.create("probe", image, Timeout=10, MemorySize=256)
