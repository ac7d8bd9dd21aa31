"""The process: how it starts, what it says when it can't, how it stops, and what a crash leaves behind."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import docker_cli
from harness import binary, environment, free_port, toml, wait_for
from wire import InBackground


def run(*arguments, program=None, timeout=20, user=None, **variables):
    """The program from its start to its end."""
    return subprocess.run(
        [program or binary(), *arguments],
        capture_output=True, text=True, timeout=timeout, env=environment(**variables), user=user,
        extra_groups=[] if user is not None else None, cwd="/",
    )  # fmt: skip


# Stopping.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_lets_running_invocations_finish(make_service, image, number):
    service = make_service()
    service.create("busy", image, Timeout=20)
    assert service.invoke("busy", {"op": "where"}).status == 200
    running = InBackground(service.invoke, "busy", {"op": "sleep", "ms": 2_000})
    time.sleep(0.5)
    service.signal(number)
    time.sleep(0.3)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", service.port), 2)
    answer = running.result()
    assert (answer.status, answer.json()["slept_ms"]) == (200, 2_000)
    assert service.wait() == 0
    assert service.containers() == []


def test_idle_stop_is_quick(make_service):
    service = make_service()
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 5


def test_kill_under_load_leaves_nothing_behind_after_the_next_start(make_service, image):
    service = make_service()
    service.create("loaded", image, Timeout=30)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(service.invoke, "loaded", {"op": "sleep", "ms": 20_000})
        wait_for(lambda: len(service.containers()) >= 4, 30, "four sandboxes run")
        time.sleep(0.5)
        service.kill()
    orphans = set(service.containers())
    assert len(orphans) >= 4, "a killed service can't clean up"
    service.start()
    wait_for(lambda: not orphans & set(service.containers()), 15, "the orphans are gone")
    answer = service.invoke("loaded", {"op": "where"})
    assert answer.status == 200 and answer.json()["sandbox"]
    assert service.stop() == 0
    assert service.containers() == []


def test_two_services_leave_each_other_alone(make_service, image):
    first, second = make_service(), make_service()
    first.create("mine", image)
    assert first.invoke("mine", {"op": "where"}).status == 200
    before = first.containers()
    second.kill()
    second.start()
    assert second.stop() == 0
    assert first.containers() == before
    assert first.invoke("mine", {"op": "where"}).status == 200


# The command line.


def test_version_and_help():
    version = run("--version")
    assert version.returncode == 0
    assert version.stdout.split()[0] == "lambda-runtime-api-server" and version.stdout.count("\n") == 1
    told = run("--help")
    assert told.returncode == 0
    for word in ("--config", "--check-config", "--version", "RUST_LOG", "LAMBDA_RUNTIME_API_PORT", "DOCKER_HOST"):
        assert word in told.stdout


def test_unknown_option():
    done = run("--frobnicate")
    assert done.returncode not in (0, 101) and "--frobnicate" in done.stderr


def test_the_shipped_configuration_is_valid():
    root = Path(__file__).resolve().parents[2]
    done = run("--config", root / "config.toml", "--check-config")
    assert done.returncode == 0, done.stderr


def test_environment_overrides_the_file(make_service):
    service = make_service(start=False)
    in_file, service.port = service.port, free_port()
    service.start(LAMBDA_RUNTIME_API_PORT=str(service.port), LAMBDA_RUNTIME_API_HOST="127.0.0.1")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", in_file), 1)


# What it says when it can't start: one line that names the thing and what to do.


def refused(done, *words):
    """Failed in the documented way: an exit code that is not a panic's, and a message with these words."""
    told = done.stdout + done.stderr
    assert done.returncode not in (0, 101) and done.returncode > 0, told
    assert "panicked" not in told
    for word in words:
        assert str(word) in told, f"{word!r} is not in: {told}"
    return told


@pytest.mark.parametrize(
    "text, words",
    [
        ("[server]\nportt = 1\n", ["portt"]),
        ("[sever]\nport = 1\n", ["sever"]),
        ('[server]\nport = "many"\n', ["port"]),
        ("[server]\nport = 70000\n", ["port", "70000"]),
        ('[server]\naddress = "nowhere"\n', ["address", "nowhere"]),
        ("[execution]\nmax_concurrent_executions = 0\n", ["max_concurrent_executions", "0"]),
        ("[execution]\nmax_memory_mb = 1\n", ["max_memory_mb", "1"]),
        ("[execution]\nmax_cpu_shares = -1.0\n", ["max_cpu_shares", "-1"]),
        ('[docker]\ncontainer_prefix = "no/slash"\n', ["container_prefix", "no/slash"]),
        ("[docker]\nnetwork_slots = 65\n", ["network_slots", "65", "64"]),
        ('[docker]\nnetwork_slots = "four"\n', ["network_slots", "four"]),
        ("[server\n", []),
    ],
    ids=lambda value: value.replace("\n", " ").strip() if isinstance(value, str) else None,
)
def test_bad_configuration(tmp_path, text, words):
    config = tmp_path / "mine.toml"
    config.write_text(text)
    done = run("--config", config, "--check-config")
    refused(done, "mine.toml", *words)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_missing_configuration_file():
    refused(run("--config", "/nonexistent/mine.toml"), "/nonexistent/mine.toml")


@pytest.mark.parametrize("name, value", [("LAMBDA_RUNTIME_API_PORT", "many"), ("DOCKER_HOST", "ssh://elsewhere")])
def test_bad_environment(tmp_path, name, value):
    config = tmp_path / "mine.toml"
    config.write_text("")
    refused(run("--config", config, "--check-config", **{name: value}), name, value)


def start_with(make_service, **overrides):
    """Starts a service that is expected to fail."""
    service = make_service(start=False, **overrides)
    return service, run("--config", service.config_path, timeout=40)


def test_port_in_use(make_service):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        _, done = start_with(make_service, server={"port": port})
    refused(done, port, "in use")


def test_missing_socket(make_service):
    _, done = start_with(make_service, docker={"socket": "/nonexistent/docker.sock"})
    refused(done, "/nonexistent/docker.sock")


def test_unreachable_engine(make_service, tmp_path):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        # Bound but never listening: connecting is refused, as with an Engine that has stopped.
        dead.bind(str(path))
        _, done = start_with(make_service, docker={"socket": str(path)})
    refused(done, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as somebody else")
def test_forbidden_socket(run_id):
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix=run_id) as directory:
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        program = shutil.copy(binary(), directory)
        engine = Path(directory) / "forbidden.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(engine))
            listener.listen()
            engine.chmod(0o600)
            config = Path(directory) / "config.toml"
            config.write_text(
                toml({
                    "server": {"address": "127.0.0.1", "port": free_port()},
                    "storage": {"path": f"{directory}/storage"},
                    "docker": {"socket": str(engine)},
                })
            )
            config.chmod(0o644)
            done = run("--config", config, program=program, user=nobody.pw_uid, timeout=40)
    refused(done, engine, "docker")
    assert "ermission" in done.stdout + done.stderr


def test_storage_that_can_not_be_written(make_service, tmp_path):
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    _, done = start_with(make_service, storage={"path": str(blocked)})
    refused(done, blocked)


def test_a_second_service_on_one_storage_is_refused(make_service):
    first = make_service()
    _, done = start_with(make_service, storage={"path": str(first.directory / "storage")})
    refused(done, first.directory)
    assert first.http("GET", "/health").status == 200


def test_network_and_prefix_are_the_configured_ones(make_service, image):
    service = make_service()
    service.create("named", image)
    assert service.invoke("named", {"op": "where"}).status == 200
    (container,) = service.containers()
    told = docker_cli.inspect(container)
    assert told["Name"].startswith(f"/{service.prefix}named-")
    assert service.network in (told["NetworkSettings"]["Networks"] or {}) or told["HostConfig"][
        "NetworkMode"
    ].startswith("container:")
