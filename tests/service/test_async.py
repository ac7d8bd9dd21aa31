"""Asynchronous invocations: accepted with boto3, awscli and plain HTTP, tried again, and what becomes of them."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import botocore.exceptions
import pytest

import wire
from harness import REGION, binary, environment, wait_for
from served import Failure, Served

ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
LETTERS = "arn:aws:file:::dead-letters"
WEBHOOK = "arn:aws:http:::webhook"
EVENT = {"X-Amz-Invocation-Type": "Event"}
# From a function's error to the next try; AWS's minute would make this a test of patience.
SOON = {"retry_delay_ms": 200}


@pytest.fixture(scope="module")
def service(make_module_service):
    return make_module_service(asynchronous=SOON)


@pytest.fixture
def name():
    return f"f{uuid.uuid4().hex[:8]}"


@pytest.fixture
def serve(service):
    """Functions of the test's own on the module's service."""
    serving = []

    def start(name, *arguments, on=service, **options):
        serving.append(Served(on.port, name, *arguments, **options))
        known = f"/{name}/"
        wait_for(lambda: known in on.http("GET", "/status").body.decode(), 10, f"{name} is known")
        return serving[-1]

    yield start
    for one in serving:
        one.close()


def send(service, name, event=None, headers=None, **options):
    answer = service.invoke(name, {} if event is None else event, headers={**EVENT, **(headers or {})}, **options)
    assert answer.status == 202, answer
    assert answer.body == b""
    return answer.headers["x-amzn-requestid"]


def letters(service, name):
    """The records of the function's dead letters, as the files have them."""
    found = sorted((service.directory / "storage" / "dead-letters").glob(f"*-{name}.json"))
    return [json.loads(file.read_text()) for file in found]


def letter(service, name):
    """The one dead letter of the function, once it is there."""
    found = wait_for(lambda: letters(service, name), 20, f"a dead letter of {name}")
    assert len(found) == 1
    return found[0]


def counts(service):
    return service.http("GET", "/queue").json()["counts"]


# Accepting.


def test_an_event_runs_in_a_container_and_its_record_goes_to_a_function(service, image, serve, name):
    service.create(name, image, Timeout=10)
    sink = serve(f"{name}-sink")
    client = service.boto()
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": f"{ARN}:{sink.name}"}}
    )
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"op": "echo", "n": 1}')
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b"" and "FunctionError" not in answer
    request_id = answer["ResponseMetadata"]["RequestId"]
    record = wait_for(lambda: sink.taken, 30, "the record")[0].json()
    context = record["requestContext"]
    assert record["version"] == "1.0"
    assert context == {
        "requestId": request_id,
        "functionArn": f"{ARN}:{name}:$LATEST",
        "condition": "Success",
        "approximateInvokeCount": 1,
    }
    assert record["requestPayload"] == {"op": "echo", "n": 1}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"]["request_id"] == request_id
    assert record["responsePayload"]["event"]["n"] == 1
    assert abs(time.time() - time.mktime(time.strptime(record["timestamp"][:19], "%Y-%m-%dT%H:%M:%S"))) < 86_400
    assert letters(service, name) == []


@pytest.mark.parametrize("command", [["invoke", "--invocation-type", "Event", "--payload"], ["invoke-async"]])
def test_awscli_sends_events(service, serve, name, tmp_path, command):
    function = serve(name)
    payload = tmp_path / "payload.json"
    payload.write_text('{"from": "awscli"}')
    old = command == ["invoke-async"]
    arguments = ["--invoke-args", str(payload)] if old else [f"file://{payload}", str(tmp_path / "out")]
    done = subprocess.run(
        [Path(sys.executable).parent / "aws", "lambda", *command, *arguments, "--function-name", name,
         "--endpoint-url", service.url],
        capture_output=True, text=True, timeout=60,
        env=environment(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION=REGION),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["Status"] if old else told["StatusCode"]) == 202
    assert wait_for(lambda: function.taken, 10, "the event")[0].json() == {"from": "awscli"}


def test_what_an_event_carries(service, serve, name):
    function = serve(name)
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    headers = {"X-Amzn-Trace-Id": trace, "X-Amz-Client-Context": base64.b64encode(b'{"custom":{}}').decode()}
    ids = [send(service, name, headers=headers), send(service, name, None)]
    wait_for(lambda: len(function.taken) == 2, 10, "both events")
    first, second = sorted(function.taken, key=lambda taken: taken.id != ids[0])
    assert [first.id, second.id] == ids
    assert first.headers["lambda-runtime-trace-id"].startswith(trace + ";Lineage=")
    assert first.headers["lambda-runtime-invoked-function-arn"] == f"{ARN}:{name}"
    # AWS passes client contexts of synchronous invocations only.
    assert "lambda-runtime-client-context" not in first.headers
    assert second.payload == b"{}"


def test_payloads_have_awss_limit(service, serve, name):
    function = serve(name)
    largest = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    path = f"/2015-03-31/functions/{name}/invocations"
    assert service.http("POST", path, largest, EVENT).status == 202
    assert wait_for(lambda: function.taken, 10, "the event")[0].payload == largest
    too_large = largest + b" "
    refused = service.http("POST", path, too_large, EVENT)
    assert (refused.status, refused.error_type) == (413, "RequestTooLargeException")
    message = "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    assert refused.json()["message"] == message
    in_chunks = service.http("POST", path, iter([too_large]), EVENT, chunked=True)
    assert in_chunks.status == 413
    old = f"/2014-11-13/functions/{name}/invoke-async/"
    assert service.http("POST", old, too_large).status == 413
    assert service.http("POST", path, too_large).status == 200, "a synchronous one may be larger"
    assert service.http("GET", old).status == 405


def test_who_cannot_be_invoked_gets_no_202(service):
    answer = service.invoke("nobody", headers=EVENT)
    assert (answer.status, answer.error_type) == (404, "ResourceNotFoundException")
    assert service.http("POST", "/2014-11-13/functions/nobody/invoke-async/", b"{}").status == 404


def test_a_full_queue_refuses_with_awss_throttling_error(make_service, serve, name):
    service = make_service(asynchronous={"max_queued_events": 2, "max_deliveries": 1})
    held = threading.Event()
    serve(name, lambda taken: held.wait(60) and b"1", on=service)
    try:
        for _ in range(2):
            send(service, name)
        refused = service.invoke(name, headers=EVENT)
        assert (refused.status, refused.error_type) == (429, "TooManyRequestsException")
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["Reason"] == "CallerRateLimitExceeded"
        with pytest.raises(botocore.exceptions.ClientError) as error:
            service.boto().invoke(FunctionName=name, InvocationType="Event")
        assert error.value.response["Error"]["Code"] == "TooManyRequestsException"
        # Synchronous callers are not concerned.
        assert service.http("GET", "/queue").json()["by_state"]["delivering"] == 1
    finally:
        held.set()
    wait_for(lambda: service.http("GET", "/queue").json()["events"] == 0, 10, "both are done")
    send(service, name)


# Trying again, and ending.


def test_a_failing_event_is_tried_three_times_and_becomes_a_dead_letter(service, image, name):
    service.create(name, image, Timeout=10)
    request_id = send(service, name, {"op": "raise", "message": "no luck"})
    found = letter(service, name)
    record = found["record"]
    assert found["id"] == record["requestContext"]["requestId"] == request_id
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"op": "raise", "message": "no luck"}
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "no luck"
    assert (found["function"], found["destination"], found["region"]) == (name, None, REGION)


def test_retries_are_those_of_the_alias_that_was_called(service, image, name):
    client = service.boto()
    service.create(name, image, Timeout=10)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.put_function_event_invoke_config(FunctionName=name, Qualifier="live", MaximumRetryAttempts=0)
    client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload=b'{"op": "exit", "code": 3}')
    record = letter(service, name)["record"]
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["requestContext"]["functionArn"] == f"{ARN}:{name}:live"
    assert record["responseContext"]["executedVersion"] == "1"
    assert record["responsePayload"]["errorType"] == "Runtime.ExitError"


def test_failures_go_to_their_destination_and_to_the_dead_letter_target(service, image, serve, name):
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    service.create(name, image, Timeout=10, DeadLetterConfig={"TargetArn": queue})
    sink = serve(f"{name}-sink")
    service.boto().put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"{ARN}:{sink.name}"}},
    )
    send(service, name, {"op": "raise"})
    record = wait_for(lambda: sink.taken, 30, "the record")[0].json()
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    # There is no SQS here, and what was meant for it is not lost.
    found = letter(service, name)
    assert found["destination"] == queue and found["record"]["requestContext"] == record["requestContext"]


def test_without_any_concurrency_events_go_straight_to_the_end(service, image, name):
    service.create(name, image)
    service.boto().put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(service, name)
    context = letter(service, name)["record"]["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)


def test_what_waits_sees_the_function_of_its_delivery(service, image, serve, name):
    client = service.boto()
    service.create(name, image, Timeout=20)
    client.publish_version(FunctionName=name)
    client.update_function_configuration(FunctionName=name, Description="2")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    sink = serve(f"{name}-sink")
    client.put_function_event_invoke_config(
        FunctionName=name, Qualifier="live", DestinationConfig={"OnSuccess": {"Destination": f"{ARN}:{sink.name}"}}
    )
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    busy = wire.InBackground(service.invoke, name, {"op": "sleep", "ms": 4_000})
    wait_for(lambda: service.http("GET", "/status").json()["invocations"]["active"] >= 1, 10, "it is busy")
    client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event")
    doomed = send(service, name, {"op": "where"})
    throttled = lambda: service.http("GET", f"/queue/events?function={name}").json()["events"]
    wait_for(lambda: len(throttled()) == 2 and all(one["last_error"] for one in throttled()), 10, "both are throttled")
    assert all(one["next_try"] for one in throttled())
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert busy.result(20).status == 200
    record = wait_for(lambda: sink.taken, 30, "the record")[0].json()
    assert record["responseContext"]["executedVersion"] == "2"
    assert doomed
    wait_for(lambda: throttled() == [], 30, "the other one has run, too")


def test_a_function_that_is_deleted_leaves_dead_letters(service, image, name):
    client = service.boto()
    service.create(name, image, Timeout=20)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    busy = wire.InBackground(service.invoke, name, {"op": "sleep", "ms": 3_000})
    wait_for(lambda: service.http("GET", "/status").json()["invocations"]["active"] >= 1, 10, "it is busy")
    request_id = send(service, name, {"op": "where"})
    client.delete_function(FunctionName=name)
    found = letter(service, name)
    assert (found["id"], found["record"]["requestContext"]["condition"]) == (request_id, "FunctionNotFound")
    busy.result(20)


def test_a_function_that_invokes_itself_is_stopped(service, image, serve, name):
    client = service.boto()
    function = serve(name)
    send(service, name)
    trace = wait_for(lambda: function.taken, 10, "the event")[0].headers["lambda-runtime-trace-id"]
    rounds = 1
    # What AWS's SDKs do in a function: they send the trace header of its own invocation.
    while True:
        seen = len(function.taken)
        answer = service.invoke(name, {}, headers={"X-Amzn-Trace-Id": trace})
        if answer.status != 200:
            break
        trace = function.taken[seen].headers["lambda-runtime-trace-id"]
        rounds += 1
    assert (answer.status, answer.error_type) == (400, "RecursiveInvocationException")
    assert rounds == 16
    send(service, name, headers={"X-Amzn-Trace-Id": trace})
    assert letter(service, name)["record"]["requestContext"]["condition"] == "RecursiveInvocation"
    created = f"{name}-allowed"
    service.create(created, image)
    looped = trace.split("Lineage=")[0] + "Lineage=" + hash_of(created) + ":16"
    headers = {"X-Amzn-Trace-Id": looped}
    assert service.invoke(created, {"op": "where"}, headers=headers).error_type == "RecursiveInvocationException"
    client.put_function_recursion_config(FunctionName=created, RecursiveLoop="Allow")
    assert service.invoke(created, {"op": "where"}, headers=headers).status == 200


def hash_of(name):
    """The hash of a function in a lineage: FNV-1a of its region and name."""
    value = 0x811C9DC5
    for byte in f"{REGION}/{name}".encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return f"{value:08x}"


def test_destinations_that_are_not_here_are_refused_where_nothing_could_take_them(service, image, name):
    service.create(name, image)
    put = service.boto().put_function_event_invoke_config
    for arn, text in [
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "not supported"),
        (f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "not supported"),
        (WEBHOOK, "webhook_url"),
        ("arn:aws:file:::elsewhere", "not supported"),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as error:
            put(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}})
        found = error.value.response["Error"]
        assert found["Code"] == "InvalidParameterValueException" and text in found["Message"], arn
    put(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": LETTERS}})
    send(service, name, {"op": "where"})
    assert letter(service, name)["record"]["requestContext"]["condition"] == "Success"


# The webhook.


class Receiver(http.server.ThreadingHTTPServer):
    """Takes records; refuses the first ones."""

    def __init__(self, refusals):
        self.refusals, self.got = refusals, []
        super().__init__(("127.0.0.1", 0), Hook)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        refused = len(self.server.got) <= self.server.refusals
        self.send_response(503 if refused else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_webhook_gets_signed_records_until_it_takes_them(make_service, serve, name, tmp_path):
    receiver = Receiver(refusals=2)
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    url = f"http://127.0.0.1:{receiver.server_port}/hook?from=lambda"
    service = make_service(
        asynchronous={**SOON, "dead_letters": "webhook", "webhook_url": url, "webhook_secret_file": str(secret)}
    )

    def fail(taken):
        raise Failure("no luck")

    serve(name, fail, on=service)
    request_id = send(service, name, {"n": 1})
    wait_for(lambda: len(receiver.got) == 3, 30, "two refusals and a success")
    for path, headers, body in receiver.got:
        assert path == "/hook?from=lambda"
        headers = {key.lower(): value for key, value in headers.items()}
        assert headers["x-lambda-request-id"] == request_id
        signed = headers["x-lambda-timestamp"].encode() + b"." + body
        expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
        assert headers["x-lambda-signature"] == f"sha256={expected}"
        assert abs(int(headers["x-lambda-timestamp"]) - time.time()) < 300
        assert json.loads(body)["requestPayload"] == {"n": 1}
    wait_for(lambda: service.http("GET", "/queue").json()["events"] == 0, 10, "it is taken")
    told = counts(service)
    assert (told["webhook_records"], told["carry_failures"], told["letters_written"]) == (1, 2, 0)
    assert "s3cret" not in service.log()
    receiver.shutdown()


# Restarts.


def test_what_is_in_delivery_at_a_stop_runs_again(make_service, serve, name):
    service = make_service(execution={"max_concurrent_executions": 4, "shutdown_grace_ms": 0})
    held = threading.Event()
    function = serve(name, lambda taken: held.wait(60) and b"1", on=service)
    ids = {send(service, name) for _ in range(3)}
    wait_for(lambda: function.taken, 10, "one is in delivery")
    assert service.stop() == 0
    held.set()
    service.start()
    wait_for(lambda: {taken.id for taken in function.taken} == ids, 20, "all have run")
    wait_for(lambda: service.http("GET", "/queue").json()["events"] == 0, 10, "nothing is left")


def test_a_stop_gives_running_events_their_grace(make_service, image, name):
    service = make_service()
    service.create(name, image, Timeout=20)
    request_id = send(service, name, {"op": "sleep", "ms": 2_000})
    wait_for(lambda: service.http("GET", "/queue").json()["by_state"]["delivering"] == 1, 10, "it is in delivery")
    wait_for(lambda: service.http("GET", "/status").json()["containers"]["busy"] == 1, 20, "it runs")
    assert service.stop() == 0
    service.start()
    told = service.http("GET", "/queue").json()
    assert told["events"] == 0, f"{request_id} had ended"


def test_a_killed_service_goes_on_with_what_it_has_accepted(make_service, serve, name):
    service = make_service(asynchronous={**SOON, "max_deliveries": 1})
    held = threading.Event()
    function = serve(name, lambda taken: held.wait(60) and b"1", on=service)
    ids = {send(service, name) for _ in range(20)}
    service.kill()
    held.set()
    service.start()
    wait_for(lambda: {taken.id for taken in function.taken} >= ids, 20, "all have run")


def test_a_queue_in_use_and_a_damaged_one_are_told(make_service, serve, name):
    service = make_service()
    serve(name, on=service)
    send(service, name)
    assert service.stop() == 0
    queue = service.directory / "storage" / "queue"
    assert os.stat(queue).st_mode & 0o777 == 0o700
    first = queue / "0000000001.log"
    assert os.stat(first).st_mode & 0o777 == 0o600
    content = bytearray(first.read_bytes())
    content[4] = 9
    first.write_bytes(content)
    command = [binary(), "--config", service.config_path]
    service.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _, told = service.process.communicate(timeout=30)
    assert service.process.returncode == 1
    assert "0000000001.log is damaged at byte 0" in told.splitlines()[-1], told


# Figures.


def test_metrics_and_status_tell_of_the_queue(service, serve, name):
    serve(name)
    before = counts(service)
    send(service, name)
    wait_for(lambda: counts(service)["delivered"] > before["delivered"], 10, "it is delivered")
    assert counts(service)["accepted"] > before["accepted"]
    metrics = service.http("GET", "/metrics").body.decode()
    for line in ('lambda_async_events{state="queued"} ', "lambda_async_oldest_seconds ", "lambda_async_accepted_total "):
        assert f"\n{line}" in metrics, line
    told = service.http("GET", "/status").json()["asynchronous"]
    assert told["max_events"] == 100_000 and told["counts"]["accepted"] == counts(service)["accepted"]
