"""A hostile function is nobody but itself: it touches no other's invocation, calls no other surface than the
Runtime API, reaches no other container and not the Engine, gains nothing on the host, and ends when it has to."""

import time
import uuid

import pytest

import docker_cli
import wire
from harness import wait_for
from hostile import RUNTIME, Recorder, attacker, attackers, neighbour_function, request, siege  # noqa: F401
from wire import InBackground, Runtime, request_id


def running_id(service, name):
    """The request id of a managed function's present invocation, from its log."""

    def found():
        group = f"/aws/lambda/{name}"
        events = service.boto("logs").filter_log_events(logGroupName=group, filterPattern="START")["events"]
        return events and events[-1]["message"].split()[2]

    try:
        return wait_for(found, 10, "START is in the log")
    except service.boto("logs").exceptions.ResourceNotFoundException as error:
        raise AssertionError("the victim has no log yet") from error


def refused(attacker, ids, victim):
    """Every way to answer, fail or ask for these invocations."""
    impostor = (
        ("Lambda-Runtime-Function-Name", victim),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Host", "127.0.0.1"),
    )
    for id in ids:
        for path in (f"{RUNTIME}/{id}/response", f"{RUNTIME}/{id}/error", f"/runtime/invocation/{id}/response?FunctionName={victim}"):
            status, body = attacker.http("POST", path, headers=impostor[:-1], body=b'"stolen"')
            assert (status, "InvalidRequestID" in body) == ("400", True), (path, status, body)


def test_another_s_invocation_can_neither_be_answered_nor_failed(service, image, attacker):
    """With its true id, which no function is told."""
    victim = service.create(f"victim-{uuid.uuid4().hex[:6]}", image, Timeout=60)
    call = InBackground(service.invoke, victim, {"op": "print and sleep", "out": "begun\n", "ms": 6000}, timeout=60)
    wait_for(lambda: service.sandboxes(victim), 20, "the victim runs")
    time.sleep(1)
    id = running_id(service, victim)
    refused(attacker, [id, id.upper(), id.replace("-", "")], victim)
    answer = call.result(60)
    assert (answer.status, answer.json(), answer.headers["x-amzn-requestid"]) == (200, id, id)
    service.boto().delete_function(FunctionName=victim)


def test_an_invocation_of_a_process_of_the_host_can_neither_be_answered_nor_failed(service, attacker):
    runtime = Runtime(service.port, f"local-{uuid.uuid4().hex[:8]}")
    event, caller = runtime.take()
    refused(attacker, [request_id(event)], runtime.name)
    assert runtime.respond(request_id(event), b'"mine"').status == 202
    assert caller.result().body == b'"mine"'


def test_guessed_ids_lead_nowhere(attacker):
    refused(attacker, [str(uuid.uuid4()) for _ in range(5)] + ["*", "..", "0" * 36, "%2e%2e", "x" * 300], "neighbour")


@pytest.mark.parametrize(
    "path",
    [f"{RUNTIME}/next?FunctionName=neighbour", f"{RUNTIME}/next", "/runtime/invocation/next?FunctionName=neighbour"],
)
def test_whoever_it_says_that_it_is_it_gets_its_own_event(attacker, path):
    headers = [("Lambda-Runtime-Function-Name", "neighbour"), ("X-Forwarded-For", "127.0.0.1")]
    status, body = attacker.http("GET", path, headers=headers, mark="the attacker's own")
    assert status == "200" and "the attacker's own" in body


def test_another_s_address_can_not_be_taken(service, attacker):
    """Not by binding to it, not by raw sockets, not by adding it to the interface."""
    neighbours = service.http("GET", "/status").json()["sandboxes"]
    source = next(one["address"] for one in neighbours if "/neighbour/" in one["function"])
    told = attacker.does("forge", source=source)
    # A route of one's own for the address of another: kernels differ in how they say no.
    assert told.pop("freebind") in ("EINVAL", "ENETUNREACH")
    assert told == {
        "bind": "EADDRNOTAVAIL",
        "transparent": "EPERM",
        "loopback": "EINVAL",
        "raw": "EPERM",
        "raw with header": "EPERM",
        "packet": "EPERM",
        "packet, cooked": "EPERM",
        "add address": "EPERM",
    }


def test_no_other_surface_answers_it(service, attacker):
    """Not with a signature's form, not through another name of the host, not in another spelling."""
    signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
    for method, path in (
        ("GET", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/neighbour"),
        ("DELETE", "/2015-03-31/functions/neighbour"),
        ("POST", "/2015-03-31/functions/neighbour/invocations"),
        ("POST", "/2014-11-13/functions/neighbour/invoke-async/"),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/queue"),
        ("POST", "/queue/purge?confirm=yes"),
        ("GET", "/schedules"),
        ("PUT", f"/packages/{'0' * 64}"),
        ("GET", "/nowhere"),
        ("POST", "/"),
        ("GET", "http://127.0.0.1/status"),
        ("GET", "//status"),
        ("GET", "/2018-06-01/runtime/../../status"),
        ("GET", "/%73tatus"),
    ):
        for headers in ((), (signed,), (("X-Forwarded-For", "127.0.0.1"), ("X-Amz-Target", "Logs_20140328.DescribeLogGroups"))):
            status, body = attacker.http(method, path, headers=headers, body=b"{}" if method == "POST" else b"")
            assert status in ("400", "403", "404"), (method, path, status, body)
            assert "neighbour" not in body
    told = service.http("GET", "/2015-03-31/functions").json()["Functions"]
    assert "neighbour" in [function["FunctionName"] for function in told]


def test_other_containers_and_the_engine_are_out_of_reach(service, attacker):
    neighbours = service.http("GET", "/status").json()["sandboxes"]
    source = next(one["address"] for one in neighbours if "/neighbour/" in one["function"])
    gateway = docker_cli.gateway(service.network)
    sockets = ["unix:/var/run/docker.sock", "unix:/run/docker.sock", "unix:/run/containerd/containerd.sock", "unix:/run/dbus/system_bus_socket"]
    others = [f"{source}:80", f"{source}:8080", f"{source}:1"]
    told = attacker.does("reach", addresses=[*sockets, *others, f"{gateway}:2375", f"{gateway}:2376", f"{gateway}:{service.port}"])
    assert {told[path] for path in sockets} == {"ENOENT"}
    # Dropped on the way, where a neighbour that can be reached would refuse.
    assert {told[address] for address in others} == {"connection timed out"}
    assert told[f"{gateway}:2375"] == told[f"{gateway}:2376"] == "ECONNREFUSED"
    assert told[f"{gateway}:{service.port}"] == "reached", "the Runtime API"


def test_it_gains_no_privileges(attacker):
    told = attacker.does("privileges")
    assert told.pop("hosts") in ("EROFS", "EACCES")
    assert told.pop("device") == "ENOENT"
    assert told.pop("kernel settings") in ("EROFS", "EACCES")
    assert set(told.values()) == {"EPERM"}, told


def test_nothing_of_it_runs_on_after_its_timeout(service, attackers):
    """A process that hears no signal, and a child of it in a session of its own."""
    attacker = attackers(Timeout=3)
    recorder = Recorder(docker_cli.gateway(service.network))
    try:
        message = attacker.ends_in("Sandbox.Timedout", op="survive", recorder=f"{docker_cli.gateway(service.network)}:{recorder.port}")
        assert message.endswith("Task timed out after 3.00 seconds")
        assert recorder.seen == 2
        wait_for(lambda: not recorder.alive, 20, "both are gone")
        seen = recorder.seen
        time.sleep(2)
        assert recorder.seen == seen, "and do not come back"
    finally:
        recorder.close()


def test_what_it_does_after_its_answer_ends_with_its_timeout(service, attackers):
    """As for one that does not come back from its invocation."""
    attacker = attackers(Timeout=5)
    recorder = Recorder(docker_cli.gateway(service.network))
    try:
        address = f"{docker_cli.gateway(service.network)}:{recorder.port}"
        attacker.does("echo", after={"op": "survive", "recorder": address})
        wait_for(lambda: recorder.seen == 2, 10, "it works on after its answer")
        # The runtime never asks again, so its container has until the invocation's timeout at most.
        wait_for(lambda: not recorder.alive, 60, "both are gone")
    finally:
        recorder.close()


def test_it_does_not_get_the_events_of_another_version(service, attackers):
    """Its container asks for events from 50 connections when the function changes."""
    attacker = attackers()
    hoard = {"op": "http", "send": request("GET", f"{RUNTIME}/next"), "connections": 50, "background": True, "settle_ms": 200}
    client = service.boto()

    def update(marker):
        client.update_function_configuration(FunctionName=attacker.name, Environment={"Variables": {"MARKER": marker}})
        client.get_waiter("function_updated_v2").wait(FunctionName=attacker.name)

    for marker in ("one", "two", "three", "four"):
        update(marker)
        assert attacker.does("echo", after=hoard)["marker"] == marker
        time.sleep(0.3)
    version = client.publish_version(FunctionName=attacker.name)["Version"]
    update("five")
    assert attacker.does("echo", after=hoard)["marker"] == "five"
    time.sleep(0.3)
    assert service.invoke(f"{attacker.name}:{version}", {"op": "echo"}).json()["marker"] == "four"


def test_an_address_that_was_its_own_gives_it_nothing(service, attackers):
    """A function that comes after it in the same network knows nothing of its invocations, and the other way round."""
    first = attackers()
    assert first.does("echo")
    first.service.boto().update_function_configuration(FunctionName=first.name, Description="new")
    for _ in range(5):
        attacker = attackers()
        id = attacker.does("echo")["id"]
        status, body = first.http("POST", f"{RUNTIME}/{id}/response", body=b"late")
        assert (status, "InvalidRequestID" in body) == ("400", True)
        assert wire.request(service.port, "GET", "/health").status == 200
