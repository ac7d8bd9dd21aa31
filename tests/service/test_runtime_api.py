"""The Runtime API's state machine, seen by a runtime on loopback that speaks raw HTTP.

Each test has a function name of its own: a local process becomes that function's runtime by polling for it.
"""

import http.client
import json
import time
import uuid

import pytest

import wire
from wire import InBackground, Runtime, invoke_known, request_id

RESPONSE_LIMIT = 6_291_556


@pytest.fixture
def runtime(service):
    return Runtime(service.port, f"local-{uuid.uuid4().hex[:8]}")


def refused(answer, status, error_type):
    """The Runtime API's errors are JSON whatever was asked for."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].startswith("application/json")
    told = answer.json()
    assert told["errorType"] == error_type and told["errorMessage"]


def accepted(answer):
    assert (answer.status, answer.json()) == (202, {"status": "OK"})


def finish(runtime, event, caller):
    """The running invocation is unharmed: it can still be answered."""
    accepted(runtime.respond(request_id(event), b'"unharmed"'))
    assert caller.result().body == b'"unharmed"'


def test_next_response_and_all_headers(service, runtime):
    event, caller = runtime.take(b'{"a": 1}')
    assert event.body == b'{"a": 1}'
    assert uuid.UUID(request_id(event))
    assert event.headers["lambda-runtime-invoked-function-arn"].endswith(f":function:{runtime.name}")
    assert event.headers["lambda-runtime-trace-id"].startswith("Root=1-")
    assert int(event.headers["lambda-runtime-deadline-ms"]) > time.time() * 1000
    assert event.headers["content-type"], "Python and Node crash without it"
    assert "lambda-runtime-client-context" not in event.headers
    assert "lambda-runtime-cognito-identity" not in event.headers
    accepted(runtime.respond(request_id(event), b'{"b": 2}'))
    answer = caller.result()
    assert (answer.status, answer.body) == (200, b'{"b": 2}')
    assert answer.headers["x-amzn-requestid"] == request_id(event)
    assert answer.headers["x-amz-executed-version"] == "$LATEST"
    assert "x-amz-function-error" not in answer.headers


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 64, b"not json \xff", b"x"], ids=["empty", "all bytes", "text", "one"])
def test_answers_are_bytes(runtime, data):
    event, caller = runtime.take()
    accepted(runtime.respond(request_id(event), data, {"Content-Type": "application/octet-stream"}))
    assert caller.result().body == data


@pytest.mark.parametrize("more", [0, 100_000], ids=["short", "long"])
def test_events_arrive_byte_for_byte(runtime, more):
    data = b' {"a" : "\xc3\xa9\\u00e9",\r\n\t"b":[1e+2 , -0.0],"b":"' + b"x" * more + b'"}\n'
    event, caller = runtime.take(data)
    assert event.body == data
    finish(runtime, event, caller)


def test_chunked_answer(runtime):
    event, caller = runtime.take()
    parts = iter([b"one ", b"two ", b"three"])
    accepted(runtime.respond(request_id(event), parts, {"Transfer-Encoding": "chunked"}, chunked=True))
    assert caller.result().body == b"one two three"


def test_trace_and_context_of_the_caller(runtime):
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    event, caller = runtime.take(headers={"X-Amzn-Trace-Id": trace, "X-Amz-Client-Context": "eyJjdXN0b20iOnt9fQ=="})
    assert event.headers["lambda-runtime-trace-id"].startswith("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
    assert json.loads(event.headers["lambda-runtime-client-context"]) == {"custom": {}}
    finish(runtime, event, caller)


def test_error_is_passed_on(runtime):
    event, caller = runtime.take()
    body = b'{"errorMessage": "no luck", "errorType": "Misfortune", "stackTrace": []}'
    accepted(runtime.fail(request_id(event), body, {"Lambda-Runtime-Function-Error-Type": "Misfortune"}))
    answer = caller.result()
    assert (answer.status, answer.headers["x-amz-function-error"], answer.body) == (200, "Unhandled", body)


def test_error_cause_is_kept_from_the_caller(runtime):
    kind = {"Content-Type": "application/vnd.aws.lambda.error.cause+json"}
    event, caller = runtime.take()
    accepted(runtime.fail(request_id(event), b'{"errorMessage": "m", "errorType": "t", "errorCause": {"a": 1}}', kind))
    assert caller.result().json() == {"errorMessage": "m", "errorType": "t"}
    event, caller = runtime.take()
    accepted(runtime.fail(request_id(event), b"not json", kind))
    assert b"Invalid error body" in caller.result().body


def test_second_answer_is_refused(runtime):
    event, caller = runtime.take()
    accepted(runtime.respond(request_id(event), b"1"))
    refused(runtime.respond(request_id(event), b"2"), 403, "InvalidStateTransition")
    refused(runtime.fail(request_id(event), b"{}"), 403, "InvalidStateTransition")
    assert caller.result().body == b"1"


def test_repeated_next_gives_the_same_invocation(service):
    # A process of the host is known by its connection while that is open.
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=15)
    named = {"Lambda-Runtime-Function-Name": "repeats"}

    def poll():
        connection.request("GET", "/2018-06-01/runtime/invocation/next", headers=named)
        answer = connection.getresponse()
        return answer.getheader("lambda-runtime-aws-request-id"), answer.read()

    polled = InBackground(poll)
    caller = InBackground(invoke_known, service.port, "repeats", b'{"once": true}')
    event = polled.result(15)
    assert poll() == event
    connection.close()
    accepted(Runtime(service.port, "repeats").respond(event[0], b"1"))
    assert caller.result().body == b"1"


@pytest.mark.parametrize("wrong", [str(uuid.uuid4()), "not-an-id", "%2e%2e", "x" * 500])
def test_wrong_id_leaves_the_invocation_unharmed(runtime, wrong):
    event, caller = runtime.take()
    refused(runtime.respond(wrong, b"1"), 400, "InvalidRequestID")
    refused(runtime.fail(wrong, b"{}"), 400, "InvalidRequestID")
    finish(runtime, event, caller)


def test_id_of_an_earlier_invocation_is_refused(runtime):
    first, caller = runtime.take()
    finish(runtime, first, caller)
    second, caller = runtime.take()
    refused(runtime.respond(request_id(first), b"late"), 400, "InvalidRequestID")
    finish(runtime, second, caller)


def test_init_error_before_and_after_init(runtime):
    event, caller = runtime.take()
    refused(runtime.init_error(), 403, "InvalidStateTransition")
    finish(runtime, event, caller)


def test_a_process_may_try_again_after_an_init_error(runtime):
    accepted(runtime.init_error(b'{"errorMessage": "no", "errorType": "Runtime.BadInit"}'))
    event, caller = runtime.take()
    finish(runtime, event, caller)


def test_answer_beyond_the_limit(runtime):
    event, caller = runtime.take()
    refused(runtime.respond(request_id(event), b"x" * (RESPONSE_LIMIT + 1)), 413, "RequestEntityTooLarge")
    answer = caller.result()
    assert (answer.status, answer.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert answer.json()["errorType"] == "Function.ResponseSizeTooLarge"
    event, caller = runtime.take()
    data = b"x" * RESPONSE_LIMIT
    accepted(runtime.respond(request_id(event), data))
    assert caller.result().body == data, "the runtime goes on, and exactly the limit passes"


def test_response_mode(runtime):
    event, caller = runtime.take()
    mode = {"Lambda-Runtime-Function-Response-Mode": "sideways"}
    refused(runtime.respond(request_id(event), b"1", mode), 400, "InvalidFunctionResponseMode")
    finish(runtime, event, caller)


def test_paths_without_the_version(service):
    runtime = Runtime(service.port, "unversioned", version="")
    event, caller = runtime.take()
    finish(runtime, event, caller)


def test_named_by_query(service):
    polled = InBackground(service.http, "GET", "/2018-06-01/runtime/invocation/next?FunctionName=by-query")
    caller = InBackground(wire.invoke_known, service.port, "by-query")
    event = polled.result()
    answered = service.http(
        "POST", f"/2018-06-01/runtime/invocation/{request_id(event)}/response?FunctionName=by-query", b"1"
    )
    accepted(answered)
    assert caller.result().body == b"1"


def test_unnamed_is_called_function(service):
    polled = InBackground(service.http, "GET", "/2018-06-01/runtime/invocation/next")
    caller = InBackground(wire.invoke_known, service.port, "function")
    event = polled.result()
    accepted(service.http("POST", f"/2018-06-01/runtime/invocation/{request_id(event)}/response", b"1"))
    assert caller.result().body == b"1"


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "nowhere", 404),
        ("GET", "invocation", 404),
        ("POST", "invocation/next", 405),
        ("GET", "init/error", 405),
        ("GET", "invocation/1/response", 405),
        ("DELETE", "invocation/next", 405),
    ],
)
def test_unknown_paths_and_wrong_methods(runtime, method, path, status):
    answer = runtime.call(method, path)
    assert answer.status == status
    assert {"errorMessage", "errorType"} <= set(answer.json())


def test_an_event_is_not_given_to_a_runtime_that_has_gone(service, runtime):
    gone = wire.connect(service.port)
    head = f"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Name: {runtime.name}\r\n\r\n"
    gone.sendall(head.encode())
    time.sleep(0.3)
    gone.close()
    time.sleep(0.3)
    event, caller = runtime.take(b'"for the living"')
    assert event.body == b'"for the living"'
    finish(runtime, event, caller)


def test_a_caller_that_leaves_does_not_stop_the_function(service, runtime):
    polled = InBackground(runtime.next)
    with pytest.raises(TimeoutError):
        # The poll makes the function known; then this caller waits half a second for its answer and leaves.
        wire.invoke_known(service.port, runtime.name, b'"x"', timeout=0.5)
    event = polled.result()
    time.sleep(0.2)
    accepted(runtime.respond(request_id(event), b"1"))


def test_next_is_not_timed_out(runtime):
    polled = InBackground(runtime.next, timeout=40)
    time.sleep(20)
    assert not polled.done, "an answer without an event breaks runtimes"
    caller = InBackground(wire.invoke_known, runtime.port, runtime.name)
    finish(runtime, polled.result(), caller)


def test_keep_alive_runtime_on_one_connection(service, runtime):
    stream = wire.connect(service.port).makefile("rwb")
    name = f"Lambda-Runtime-Function-Name: {runtime.name}\r\n"
    for number in range(20):
        stream.write(f"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n{name}\r\n".encode())
        stream.flush()
        caller = InBackground(wire.invoke_known, service.port, runtime.name, b"%d" % number)
        event = wire.read_answer(stream)
        assert event.body == b"%d" % number
        head = f"POST /2018-06-01/runtime/invocation/{request_id(event)}/response HTTP/1.1\r\nHost: x\r\n{name}Content-Length: 2\r\n\r\nok"
        stream.write(head.encode())
        stream.flush()
        accepted(wire.read_answer(stream))
        assert caller.result().body == b"ok"
    stream.close()
