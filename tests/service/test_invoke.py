"""Invoking a function: AWS's own Rust runtime client in a real container, called as users call it.

What the function sees and what its failures look like to the caller; limits of the payload; every spelling of a
function's name. Concurrency has a file of its own.
"""

import base64
import json
import time

import botocore.exceptions
import pytest

import wire
from harness import wait_for

REQUEST_LIMIT = 6_291_456
RESPONSE_LIMIT = 6_291_556


def call(service, name, event, **options):
    answer = service.boto().invoke(FunctionName=name, Payload=json.dumps(event).encode(), **options)
    return answer, json.loads(answer["Payload"].read())


def failure(answer, body, error_type):
    """A function's failure is a 200 with the error header; its message begins with the request's id."""
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    assert body["errorType"] == error_type
    request_id = answer["ResponseMetadata"]["RequestId"]
    start = f"RequestId: {request_id} Error: "
    assert body["errorMessage"].startswith(start), body
    return body["errorMessage"].removeprefix(start)


def test_success_tells_the_function_who_it_is(service, function):
    answer, body = call(service, function, {"op": "echo", "text": "grüße"})
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert answer["ExecutedVersion"] == "$LATEST"
    assert body["event"] == {"op": "echo", "text": "grüße"}
    assert body["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert body["arn"].endswith(f":function:{function}")
    assert body["trace_id"].startswith("Root=1-")
    left_ms = body["deadline"] - time.time() * 1000
    assert 5_000 < left_ms <= 10_100, "the deadline is the function's timeout from the start of the invocation"


def test_environment_is_lambdas(service, image):
    name = service.create("surroundings", image, {"GREETING": "a=b=c"}, Timeout=7, MemorySize=192)
    _, variables = call(service, name, {"op": "env"})
    assert variables["GREETING"] == "a=b=c"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "192"
    assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert variables["AWS_LAMBDA_LOG_GROUP_NAME"] == f"/aws/lambda/{name}"
    assert variables["AWS_LAMBDA_LOG_STREAM_NAME"]
    assert variables["LAMBDA_TASK_ROOT"] == "/var/task"
    assert variables["LAMBDA_RUNTIME_DIR"] == "/var/runtime"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"]
    host, _, port = variables["AWS_LAMBDA_RUNTIME_API"].partition(":")
    assert "/" not in host and port == str(service.port), "never with a scheme or a path"


def test_sandbox_is_closed(service, function):
    _, body = call(service, function, {"op": "fs"})
    writes = body["writes"]
    assert writes.pop("/tmp/probe") == "ok"
    writes.pop("/dev/shm/probe")
    assert "ok" not in writes.values(), "only /tmp may be written"
    assert int(body["status"]["CapEff"], 16) == 0 and int(body["status"]["CapBnd"], 16) == 0
    assert body["status"]["NoNewPrivs"] == "1"
    assert not body["status"]["Uid"].startswith("0"), "a function never runs as root"


def test_a_sandbox_is_used_again(service, function):
    first = call(service, function, {"op": "where"})[1]["sandbox"]
    assert first and call(service, function, {"op": "where"})[1]["sandbox"] == first


def test_handler_error_is_passed_on(service, function):
    answer, body = call(service, function, {"op": "raise"})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert body["errorMessage"] == "boom é"
    assert body["errorType"]


def test_panic_is_a_function_error_and_the_function_goes_on(service, function):
    answer, body = call(service, function, {"op": "panic"})
    assert answer["FunctionError"] == "Unhandled"
    assert "the handler panicked" in body["errorMessage"]
    assert call(service, function, {"op": "echo"})[0].get("FunctionError") is None


@pytest.mark.parametrize(
    "code, reason",
    [
        (3, "Runtime exited with error: exit status 3"),
        (0, "Runtime exited without providing a reason"),
    ],
)
def test_exit_names_its_status_and_the_container_is_replaced(service, function, code, reason):
    started = time.monotonic()
    answer, body = call(service, function, {"op": "exit", "code": code})
    assert failure(answer, body, "Runtime.ExitError") == reason
    assert time.monotonic() - started < 8, "a death is told at once, not at the timeout"
    assert call(service, function, {"op": "echo"})[0].get("FunctionError") is None


def test_out_of_memory_has_its_own_type(service, image):
    name = service.create("greedy", image, Timeout=20, MemorySize=128)
    answer, body = call(service, name, {"op": "memory", "mib": 400})
    assert failure(answer, body, "Runtime.OutOfMemory") == "Runtime exited with error: signal: killed"


def test_timeout_kills_the_container_and_the_next_call_gets_a_fresh_one(service, image):
    name = service.create("slow", image, Timeout=1)
    old = call(service, name, {"op": "where"})[1]["sandbox"]
    (killed,) = service.sandboxes(name)
    started = time.monotonic()
    answer, body = call(service, name, {"op": "sleep", "ms": 20_000})
    assert failure(answer, body, "Sandbox.Timedout") == "Task timed out after 1.00 seconds"
    assert 0.9 < time.monotonic() - started < 4
    new = call(service, name, {"op": "where"})[1]["sandbox"]
    assert new != old
    wait_for(lambda: killed not in service.containers(), 10, "the timed-out container is gone")


def test_crash_before_the_first_poll_is_told(service, image):
    name = service.create("stillborn", image, {"FAIL_INIT": "exit"}, Timeout=5)
    answer, body = call(service, name, {"op": "echo"})
    assert failure(answer, body, "Runtime.ExitError") == "Runtime exited with error: exit status 7"


def test_init_without_end_is_told_with_what_to_check(make_service, image):
    # Two seconds instead of Lambda's ten: nobody wants to wait for a test.
    service = make_service(execution={"init_timeout_ms": 2_000})
    name = service.create("hanging", image, {"FAIL_INIT": "hang"}, Timeout=2)
    answer, body = call(service, name, {"op": "echo"})
    assert answer["FunctionError"] == "Unhandled"
    told = body["errorMessage"] + service.log()
    assert str(service.port) in told and service.network in told, "a firewall is the usual cause: name what it blocks"


def test_request_of_exactly_six_megabytes_and_one_more(service, function):
    frame = len(json.dumps({"op": "length", "data": ""}))
    data = "x" * (REQUEST_LIMIT - frame)
    answer, body = call(service, function, {"op": "length", "data": data})
    assert answer.get("FunctionError") is None and body == len(data)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(service, function, {"op": "length", "data": data + "x"})
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert refused.value.response["Error"]["Code"] == "RequestTooLargeException"


def test_answer_of_exactly_the_limit_and_one_more(service, function):
    before = call(service, function, {"op": "where"})[1]["sandbox"]
    answer, body = call(service, function, {"op": "big", "bytes": RESPONSE_LIMIT})
    assert answer.get("FunctionError") is None and len(body) == RESPONSE_LIMIT - 2
    answer, body = call(service, function, {"op": "big", "bytes": RESPONSE_LIMIT + 1})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert body["errorType"] == "Function.ResponseSizeTooLarge"
    assert f"exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)" in body["errorMessage"]
    assert call(service, function, {"op": "where"})[1]["sandbox"] == before, "the sandbox goes on"


def test_binary_answer_passes_through(service, function):
    answer = service.boto().invoke(FunctionName=function, Payload=b'{"op": "binary", "bytes": 100000}')
    data = bytes(range(256)) * 391
    # The client's streaming mode puts a JSON prelude and eight NULs before the data.
    assert answer["Payload"].read().endswith(b"\0" * 8 + data[:100_000])


@pytest.mark.parametrize(
    "payload",
    [b"hello", b"{", b'{"a": 1,}', b"[1 2]", b"\xff\xfe", b"{}}", b"x" * 100_000, b"{" + b" " * 100_000],
    ids=["a word", "cut short", "a comma", "no comma", "not UTF-8", "too much", "long text", "long and cut short"],
)
def test_a_payload_that_is_no_json_is_refused(service, function, payload):
    answer = service.http("POST", f"/2015-03-31/functions/{function}/invocations", payload)
    assert (answer.status, answer.error_type) == (400, "InvalidRequestContentException")
    assert answer.json()["message"].startswith("Could not parse request body into json: Could not parse payload into")

def test_empty_payload_is_an_empty_event(service, function):
    answer = service.boto().invoke(FunctionName=function)
    assert json.loads(answer["Payload"].read())["event"] == {}


def test_client_context_reaches_the_function(service, function):
    context = {
        "client": {
            "installation_id": "i",
            "app_title": "t",
            "app_version_name": "",
            "app_version_code": "",
            "app_package_name": "",
        },
        "custom": {"color": "blue"},
        "env": {},
    }
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    _, body = call(service, function, {"op": "echo"}, ClientContext=encoded)
    assert body["client_context"]["custom"] == {"color": "blue"}


def test_malformed_client_context_is_refused_before_it_kills_a_runtime(service, function):
    answer = service.invoke(function, headers={"X-Amz-Client-Context": "%%%"})
    assert answer.status == 400 and answer.error_type


def test_log_tail_is_this_invocations(service, function):
    answer, _ = call(service, function, {"op": "log", "lines": 500}, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert len(tail) <= 4096
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert f"last log line of {request_id}" in tail
    assert "log line 0\n" not in tail, "the tail is the last 4 KB"
    assert "LogResult" not in call(service, function, {"op": "echo"})[0]


def test_dry_run_starts_nothing(service, image):
    name = service.create("never-run", image)
    before = len(service.containers())
    assert service.boto().invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    assert len(service.containers()) == before


def test_unknown_invocation_type_is_refused(service, function):
    answer = service.invoke(function, headers={"X-Amz-Invocation-Type": "Sometime"})
    assert answer.status == 400 and answer.error_type


def test_unknown_function_is_404(service):
    answer = service.invoke("nobody")
    assert (answer.status, answer.error_type) == (404, "ResourceNotFoundException")
    told = answer.json()
    assert told["Type"] == "User"
    assert told["Message"].startswith("Function not found: arn:aws:lambda:") and ":function:nobody" in told["Message"]


@pytest.mark.parametrize("spelling", ["{name}", "{name}:$LATEST", "{account}:function:{name}", "{arn}", "{arn}:$LATEST"])
def test_every_spelling_of_a_name(service, function, spelling):
    arn = service.boto().get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    name = spelling.format(name=function, account=arn.split(":")[4], arn=arn)
    answer, body = call(service, name, {"op": "where"})
    assert answer["StatusCode"] == 200 and body["sandbox"]


def test_qualifier(service, function):
    assert call(service, function, {"op": "where"}, Qualifier="$LATEST")[0]["ExecutedVersion"] == "$LATEST"
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(service, function, {}, Qualifier="no-such-alias")
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "name",
    [
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ax%3Ay%3Az",
        "arn%3Aaws%3As3%3A%3A%3Abucket",
        "two%20words",
        "a" * 257,
    ],
)
def test_bad_names_are_refused(service, name):
    answer = service.invoke(name)
    assert answer.status == 400, answer
    assert answer.error_type in ("ValidationException", "InvalidParameterValueException")


def test_trailing_slash_of_older_clients(service, function):
    assert wire.request(service.port, "POST", f"/2015-03-31/functions/{function}/invocations/", b"{}").status == 200


def test_request_id_is_on_errors_too(service):
    assert service.invoke("nobody").headers["x-amzn-requestid"]
