"""The sub-command `queue`: what an operator types, and what a script reads."""

import json
import subprocess
import threading
import uuid

import pytest

import docker_cli
import wire
from harness import binary, environment, wait_for
from served import Failure, Served

EVENT = {"X-Amz-Invocation-Type": "Event"}


@pytest.fixture(scope="module")
def service(make_module_service):
    return make_module_service(asynchronous={"retry_delay_ms": 600_000})


def queue(service, *arguments, code=0):
    """Runs the command beside the service, as its operator does: with the service's configuration."""
    done = subprocess.run(
        [binary(), "queue", *arguments, "--config", service.config_path],
        capture_output=True, text=True, timeout=60, env=environment(), cwd="/",
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert done.stderr == "" if code == 0 else len(done.stderr.splitlines()) == 1
    return done.stdout if code == 0 else done.stderr


def send(service, name, event):
    answer = service.invoke(name, event, headers=EVENT)
    assert answer.status == 202, answer
    return answer.headers["x-amzn-requestid"]


@pytest.fixture
def failing(service):
    """A function whose first try fails: its events wait for ten minutes."""
    fails = threading.Event()
    fails.set()

    def answer(taken):
        if fails.is_set():
            raise Failure("no luck\x1b[31m today")
        return taken.payload

    with Served(service.port, f"f{uuid.uuid4().hex[:8]}", answer) as served:
        served.fails = fails
        known = f"/{served.name}/"
        wait_for(lambda: known in service.http("GET", "/status").body.decode(), 10, "it is known")
        yield served


def states(service, name):
    listed = queue(service, "list", "--events", "--function", name, "--json")
    return {one["id"]: one["state"] for one in map(json.loads, listed.splitlines())}


def test_what_waits_is_listed_shown_hurried_and_purged(service, failing):
    name = failing.name
    ids = [send(service, name, {"n": n}) for n in range(3)]
    wait_for(lambda: states(service, name) == {one: "retrying" for one in ids}, 10, "all have failed once")
    table = queue(service, "list")
    assert name in table and "LAST ERROR" in table and "no luck" in table
    assert "\x1b" not in table and "3 events" in table
    by_function = {one["function"]: one for one in json.loads(queue(service, "list", "--json"))["functions"]}
    assert by_function[name]["by_state"] == {"retrying": 3}
    assert by_function[name]["next_try"] > by_function[name]["oldest"]
    rows = queue(service, "list", "--events", "--function", name)
    assert len(rows.splitlines()) == 3 and all(one in rows for one in ids)
    shown = json.loads(queue(service, "show", ids[1], "--json"))
    assert (shown["payload"], shown["attempts"], shown["function"]) == ({"n": 1}, 1, name)
    assert '"n": 1' in queue(service, "show", ids[1])
    exported = [json.loads(line) for line in queue(service, "export", "--function", name).splitlines()]
    assert [one["payload"]["n"] for one in exported] == [0, 1, 2]

    failing.fails.clear()
    assert queue(service, "retry", ids[0]).startswith("1 events")
    wait_for(lambda: ids[0] not in states(service, name), 10, "it has run")
    refused = queue(service, "purge", ids[1], code=2)
    assert "--yes" in refused and ids[1] in states(service, name), "nothing is thrown away unconfirmed"
    assert queue(service, "purge", ids[1], "--yes").startswith("1 events")
    assert set(states(service, name)) == {ids[2]}
    done = json.loads(queue(service, "retry", "--function", name, "--json"))
    assert done == {"events": 1, "dead_letters": 0, "skipped": 0}
    wait_for(lambda: states(service, name) == {}, 10, "all have run")
    assert [taken.id for taken in failing.taken].count(ids[1]) == 1


def test_dead_letters_are_replayed_with_their_payload(service, image):
    name = f"f{uuid.uuid4().hex[:8]}"
    service.create(name, image, Timeout=10)
    client = service.boto()
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    ids = {send(service, name, {"op": "where", "n": n}) for n in range(3)}
    wait_for(lambda: states(service, name) == {one: "dead" for one in ids}, 10, "all are dead letters")
    dead = ["--state", "dead", "--function", name]
    shown = json.loads(queue(service, "show", sorted(ids)[0], "--json"))
    assert shown["record"]["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert len(queue(service, "export", *dead).splitlines()) == 3
    client.delete_function_concurrency(FunctionName=name)
    assert "3 dead letters" in queue(service, "retry", *dead)
    wait_for(lambda: states(service, name) == {}, 30, "all have run")
    assert list((service.directory / "storage" / "dead-letters").glob(f"*-{name}.json")) == []
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(service, name, {})
    wait_for(lambda: list(states(service, name).values()) == ["dead"], 10, "one more")
    assert "1 dead letters" in queue(service, "purge", *dead, "--yes")
    assert states(service, name) == {}


def test_exit_codes_tell_what_happened(service, make_service):
    nobody = str(uuid.uuid4())
    assert "nothing" in queue(service, "show", nobody, code=3)
    queue(service, "retry", "--function", "nobody", code=3)
    queue(service, "purge", nobody, "--yes", code=3)
    queue(service, "show", "not-an-id", code=1)
    assert "refuses" in queue(service, "list", "--events", "--state", "gone", code=1)
    for wrong in (["drop"], ["show"], ["retry"], ["list", "--port", "1"], ["purge", "--all"]):
        assert "queue --help" in queue(service, *wrong, code=2)
    stopped = make_service(start=False)
    assert "cannot ask" in queue(stopped, "list", code=1)
    told = subprocess.run([binary(), "queue", "--help"], capture_output=True, text=True, timeout=10)
    assert told.returncode == 0 and "Exit codes" in told.stdout


def test_strangers_cannot_reach_the_queue(service, image):
    gateway = docker_cli.gateway(service.network)
    for method, path in [("GET", "/queue"), ("GET", "/queue/events"), ("POST", "/queue/purge?confirm=yes")]:
        answer = wire.request(service.port, method, path, host=gateway, source=gateway)
        assert answer.status == 403, path
    for method, path, status in [
        ("POST", "/queue/purge", 400),
        ("GET", "/queue/events?limit=0", 400),
        ("GET", "/queue/retry", 405),
        ("GET", "/queue/nothing", 404),
    ]:
        assert service.http(method, path).status == status, path
