"""A hostile function exhausts nothing over HTTP: not by heads, bodies, connections, its pace, or its number of calls.

It talks to the Runtime API from its own address, so the limits are those of sandboxes. `{id}` is its own invocation,
the only one that it can send bodies for."""

import time

import pytest

from harness import wait_for
from hostile import RUNTIME, attacker, attackers, gauge, neighbour_function, request, siege  # noqa: F401
from wire import InBackground

# A quarter of the default, so that what hostile bodies take is much of it, and little of the machine.
MAX_BUFFERED_MB = 128
# The C library's allocator may keep what bodies have had, for the next ones.
REST_BOUND_KIB = (64 + MAX_BUFFERED_MB) * 1024


@pytest.fixture(scope="module")
def service(make_module_service):
    return make_module_service(http={"max_buffered_mb": MAX_BUFFERED_MB, "head_timeout_ms": 3_000})


ANSWER = f"POST {RUNTIME}/{{id}}/response HTTP/1.1\r\nHost: x\r\n"
FAILURE = f"POST {RUNTIME}/{{id}}/error HTTP/1.1\r\nHost: x\r\n"


def statuses(attacker, **event):
    return attacker.does("http", **event)["statuses"]


# What may come of a request that the service has stopped reading: its answer, or a reset that has overtaken it.
def refused_with(told, status):
    return set(told) <= {status, "ECONNRESET", "failed to fill whole buffer"} and told


def test_a_head_without_end(attacker):
    told = statuses(attacker, send="GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", fill="a" * 65_536, times=1_000)
    assert refused_with(told, "431"), told


def test_headers_without_number(attacker):
    told = statuses(attacker, send="GET / HTTP/1.1\r\nHost: x\r\n", fill="X-A: 1\r\n" * 5_000, times=100, end="\r\n")
    assert refused_with(told, "431"), told


@pytest.mark.parametrize("name", ["Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-XRay-Error-Cause"])
def test_error_headers_of_10_mb(attacker, name):
    told = statuses(attacker, send=f"{FAILURE}Content-Length: 2\r\n{name}: ", fill="a" * 65_536, times=160, end="\r\n\r\n{}")
    assert refused_with(told, "431"), told
    # What fits, as a stack trace does, is taken: the invocation ends with this error.
    answer = attacker.invoke(op="http", send=f"{FAILURE}Content-Length: 2\r\n{name}: ", fill="a" * 65_536, times=10, end="\r\n\r\n{}")
    assert (answer.headers["x-amz-function-error"], answer.body) == ("Unhandled", b"{}")


def test_a_body_without_end(attacker):
    """The caller is told that the answer is too large, by when it is."""
    chunk = "10000\r\n" + "a" * 65_536 + "\r\n"
    message = attacker.ends_in("Function.ResponseSizeTooLarge", op="http", send=f"{ANSWER}Transfer-Encoding: chunked\r\n\r\n", fill=chunk, times=1_000)
    assert "6291556 bytes" in message
    assert attacker.does("echo")


@pytest.mark.parametrize("length", ["100000000000000", "18446744073709551616", "9" * 400, "-1"])
def test_a_promise_of_more_than_there_is(attacker, length):
    answer = attacker.invoke(op="http", send=f"{ANSWER}Content-Length: {length}\r\n\r\n")
    if length == "100000000000000":
        assert answer.json()["errorType"] == "Function.ResponseSizeTooLarge"
    else:
        assert set(answer.json()["statuses"]) <= {"400", "413"}, answer.body
    assert attacker.does("echo")


def test_bodies_for_invocations_that_are_not_its_own_are_not_read(service, attacker):
    """Refused by the head, so that what it sends takes none of the room that bodies have."""
    head = f"POST {RUNTIME}/00000000-0000-0000-0000-000000000000/response HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n"
    told = statuses(attacker, send=head, fill="a" * 65_536, times=92, connections=50)
    assert refused_with(told, "400"), told
    assert gauge(service, "lambda_http_buffered_bytes") < 1 << 20


def test_bodies_that_never_end_leave_room_for_those_of_others(service, image, attackers):
    """Four functions promise 6 MB on each of 50 connections and keep back the end: 1.2 GB, where there is room for
    128 MB. An honest function's answer of 6 MB still fits, and so does its caller's event."""
    event = {"op": "http", "send": f"{ANSWER}Content-Length: 6000000\r\n\r\n", "fill": "a" * 65_536, "times": 90, "connections": 50, "hold_ms": 4_000, "unread": True}
    honest = service.create("honest", image, Timeout=30, MemorySize=128)
    assert service.invoke(honest, {"op": "where"}).status == 200
    calls = [InBackground(attackers(Timeout=20).invoke, **event) for _ in range(4)]
    limit = MAX_BUFFERED_MB << 20
    wait_for(lambda: gauge(service, "lambda_http_buffered_bytes") > limit // 6, 20, "they take what they get")
    for _ in range(5):
        assert gauge(service, "lambda_http_buffered_bytes") < 0.7 * limit
        answer = service.invoke(honest, {"op": "big", "bytes": 6_000_000})
        assert (answer.status, len(answer.body)) == (200, 6_000_000)
        answer = service.invoke(honest, {"op": "length", "data": "x" * 6_000_000})
        assert (answer.status, answer.body) == (200, b"6000000")
    for call in calls:
        call.result(60)
    service.boto().delete_function(FunctionName=honest)


def test_a_thousand_connections(service, attacker):
    told = statuses(attacker, send="GET / HTTP/1.1\r\nHost: x\r\nX-Half", connections=950, hold_ms=4_000, unread=True)
    assert told == {"unread": 950}


def test_a_thousand_waiting_polls(service, attacker):
    """Each one takes the place of the one before, whose connection is closed."""
    event = {"op": "http", "send": request("GET", f"{RUNTIME}/next"), "connections": 950, "background": True, "settle_ms": 2_000}
    assert attacker.does("echo", after=event)
    wait_for(lambda: gauge(service, "lambda_http_connections") < 30, 20, "one waits, and no more")


def test_connections_that_say_nothing_are_closed(service, attacker):
    told = statuses(attacker, send="", connections=300, hold_ms=6_000)
    assert set(told) <= {"failed to fill whole buffer", "ECONNRESET"}, told


def test_an_event_that_is_never_read(service, attackers):
    """6 MB that a runtime has asked for and does not take: its function's time runs out, as ever."""
    attacker = attackers(Timeout=5)
    poll = {"op": "http", "send": request("GET", f"{RUNTIME}/next"), "unread": True, "hold_ms": 60_000}
    assert attacker.does("echo", after=poll)
    time.sleep(0.5)
    begun = time.monotonic()
    answer = attacker.invoke(op="echo", data="x" * 6_000_000)
    assert answer.json()["errorType"] == "Sandbox.Timedout"
    assert 4 < time.monotonic() - begun < 30
    assert attacker.does("echo")


def test_an_answer_of_one_byte_a_second(service, attackers):
    """It ends with the function's time, not with its last byte."""
    attacker = attackers(Timeout=5)
    message = attacker.ends_in("Sandbox.Timedout", op="http", send=f"{ANSWER}Content-Length: 1000\r\n\r\n", fill="a", times=1_000, pace_ms=1_000)
    assert message.endswith("Task timed out after 5.00 seconds")
    assert attacker.does("echo")


def test_a_head_of_one_byte_a_second(service, attackers):
    attacker = attackers(Timeout=60)
    told = statuses(attacker, send="GET / HTTP/1.1\r\nX-Slow: ", fill="a", times=8, pace_ms=1_000, connections=50)
    assert refused_with(told, "408"), told


@pytest.mark.parametrize(
    "call",
    [
        request("GET", f"{RUNTIME}/next"),
        request("POST", f"{RUNTIME}/{'0' * 36}/error", [("Lambda-Runtime-Function-Error-Type", "Flood.Of.Errors")], b"{}"),
        request("POST", f"{RUNTIME}/{{id}}/error", [("Content-Type", "application/vnd.aws.lambda.error.cause+json")], b'{"errorCause":' + b"[" * 100 + b"]" * 100 + b"}"),
        request("POST", "/2018-06-01/runtime/init/error", [("Lambda-Runtime-Function-Error-Type", "Flood.Of.Errors")], b"{}"),
        request("GET", "/2015-03-31/functions"),
        request("GET", "/nowhere"),
    ],
    ids=["next", "error of another", "error", "init error", "control", "nowhere"],
)
def test_calls_without_number(service, attackers, call):
    """Eight connections call as fast as they can for some seconds, also for answers that they do not wait for."""
    attacker = attackers(Timeout=20)
    assert attacker.does("echo")
    log, before = len(service.log()), gauge(service, "lambda_http_requests_total")
    # Where the first call ends the invocation, the others go on all the same.
    answer = attacker.invoke(op="http", send=call * 4, answers=4, storm_ms=2_000, connections=8)
    assert answer.status == 200
    wait_for(lambda: gauge(service, "lambda_http_requests_total") - before > 300, 20, "there are many of them")
    time.sleep(2)
    assert len(service.log()) - log < 20_000, "what it calls does not fill the log"


def test_a_thousand_calls_in_one_go_are_read_no_faster_than_they_are_answered(service, attacker):
    """Pipelined, and the answers are never read: the service stops reading."""
    told = statuses(attacker, send="", fill=request("GET", "/nowhere") * 1_000, times=1_000, unread=True)
    assert "the service reads no more" in told or refused_with(told, "unread"), told
