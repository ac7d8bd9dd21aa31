"""What functions print: collected from real containers, between AWS's own lines, as tails and as CloudWatch Logs."""

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import docker_cli
import wire
from harness import wait_for
from runtime_images import runtime_image
from test_zip import archive
from test_zip import create as create_zip

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
REPORT = re.compile(
    rf"REPORT RequestId: (?P<id>{UUID})\tDuration: (?P<duration>\d+\.\d\d) ms\t"
    r"Billed Duration: (?P<billed>\d+) ms\tMemory Size: (?P<size>\d+) MB\tMax Memory Used: (?P<max>\d+) MB"
    r"(\tInit Duration: (?P<init>\d+\.\d\d) ms)?(\t|\tStatus: (?P<status>\w+)(\tError Type: (?P<error>\S+))?)"
)


def call(service, name, event, tail=True):
    """(answer, body, lines of the tail)"""
    headers = {"X-Amz-Log-Type": "Tail"} if tail else {}
    answer = service.invoke(name, event, headers=headers)
    log = base64.b64decode(answer.headers.get("x-amz-log-result", "")).decode()
    return answer, json.loads(answer.body), log.splitlines()


def said(lines):
    """Without what the service itself writes."""
    return [line for line in lines if not re.match(r"(START|END|REPORT|INIT_START|INIT_REPORT) ", line)]


def streams(service, group):
    client = service.boto("logs")
    return [s["logStreamName"] for s in client.describe_log_streams(logGroupName=group)["logStreams"]]


def stored(service, name, stream=None):
    """All messages of a function's group, stream by stream, in their order."""
    client, group, messages = service.boto("logs"), f"/aws/lambda/{name}", []
    for one in [stream] if stream else streams(service, group):
        token, before = None, None
        while token is None or token != before:
            options = {"nextToken": token} if token else {"startFromHead": True}
            page = client.get_log_events(logGroupName=group, logStreamName=one, **options)
            before, token = token, page["nextForwardToken"]
            messages += [event["message"].rstrip("\n") for event in page["events"]]
    return messages


def reported(service, name, request_id):
    """The messages of a function's log once it has the report of that invocation."""

    def there():
        try:
            messages = stored(service, name)
        except service.boto("logs").exceptions.ResourceNotFoundException:
            return None
        return messages if any(m.startswith(f"REPORT RequestId: {request_id}") for m in messages) else None

    return wait_for(there, 20, f"the report of {request_id}")


def invocations(messages):
    """What is between START and END, by request id."""
    found, current = {}, None
    for message in messages:
        if start := re.match(rf"START RequestId: ({UUID})", message):
            assert current is None, f"{start[1]} starts within {current}"
            current = start[1]
            found[current] = []
        elif end := re.match(rf"END RequestId: ({UUID})", message):
            assert end[1] == current
            current = None
        elif current and not REPORT.match(message):
            found[current].append(message)
    return found


@pytest.fixture(scope="module")
def function(service, image):
    """The test function, warm: what it prints while it starts is over."""
    name = service.create("probe", image, Timeout=10, MemorySize=256)
    call(service, name, {"op": "print"})
    return name


def test_a_tail_is_what_aws_gives(service, function):
    answer, request_id, log = call(service, function, {"op": "print", "out": "one\ntwo\n", "err": "three\n"})
    assert answer.status == 200
    assert log[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert sorted(said(log)) == ["one", "three", "two"]
    assert log[-2] == f"END RequestId: {request_id}"
    report = REPORT.fullmatch(log[-1])
    assert report and report["id"] == request_id and report["size"] == "256" and report["status"] is None
    assert int(report["billed"]) >= float(report["duration"])
    assert 0 < int(report["max"]) <= 256


def test_init_is_told_once(service, image):
    service.create("initial", image, MemorySize=256)
    _, _, first = call(service, "initial", {"op": "print"})
    # A line that is printed just before the first event may be on its way when that is given.
    assert "the function starts" in first[:2]
    report = REPORT.fullmatch(first[-1])
    assert float(report["init"]) > 0
    assert int(report["billed"]) >= float(report["duration"]) + float(report["init"])
    _, _, second = call(service, "initial", {"op": "print"})
    assert second[0].startswith("START ") and REPORT.fullmatch(second[-1])["init"] is None


def test_a_hundred_tails_are_complete(service, function):
    for number in range(100):
        lines = [f"{number} line {n}" for n in range(10)]
        event = {"op": "print", "out": f"{number} line {{n}}\n", "repeat": 10}
        _, request_id, log = call(service, function, event)
        assert said(log)[-10:] == lines, f"tail {number}: {log}"
        assert log[-1].startswith(f"REPORT RequestId: {request_id}")


def test_a_caller_without_a_tail_does_not_wait(service, function):
    """What a tail waits for is some 25 ms; without one a call takes a fraction of that."""

    def quickest(tail):
        times = []
        for _ in range(30):
            started = time.monotonic()
            call(service, function, {"op": "print", "out": "x\n"}, tail)
            times.append(time.monotonic() - started)
        return min(times)

    assert quickest(False) < quickest(True)


def test_only_the_last_4_kb_are_a_tail(service, function):
    answer, request_id, log = call(service, function, {"op": "log", "lines": 500})
    assert len(base64.b64decode(answer.headers["x-amz-log-result"])) == 4096
    assert log[-1].startswith("REPORT ") and f"last log line of {log[-1].split()[2]}" in log
    assert "log line 0" not in log


def test_both_outputs_keep_their_lines(service, function):
    event = {"op": "print", "out": "out {n}\n", "err": "err {n} begun, ", "repeat": 200}
    _, request_id, _ = call(service, function, event)
    lines = invocations(reported(service, function, request_id))[request_id]
    assert [line for line in lines if line.startswith("out ")] == [f"out {n}" for n in range(200)]
    rest = [line for line in lines if not line.startswith("out ")]
    assert rest == ["".join(f"err {n} begun, " for n in range(200))], "no line feed: one line, at the end"


def test_long_lines_go_on_as_others(service, function):
    _, request_id, _ = call(service, function, {"op": "print", "out": "äb" * 150_000 + "\nnext\n"})
    lines = invocations(reported(service, function, request_id))[request_id]
    mark = " [the line is cut here and goes on]"
    assert lines[-1] == "next" and len(lines) == 3
    assert lines[0].endswith(mark) and len(lines[0].encode()) <= 262_144
    assert lines[0].removesuffix(mark) + lines[1] == "äb" * 150_000


def test_a_line_without_an_end_ends_with_its_invocation(service, function):
    _, first, log = call(service, function, {"op": "print", "out": "no line feed"})
    assert said(log)[-1] == "no line feed"
    _, second, log = call(service, function, {"op": "print", "out": " either"})
    assert said(log) == [" either"]


def test_binary_output_becomes_text(service, function):
    _, request_id, log = call(service, function, {"op": "print", "out": "before\n", "binary": 1024})
    lines = invocations(reported(service, function, request_id))[request_id]
    text = "\n".join(lines)
    assert lines[0] == "before" and "ABC" in text and "\ufffd" in text and log[-1].startswith("REPORT ")
    _, _, log = call(service, function, {"op": "print", "out": "after\n"})
    assert said(log)[-1] == "after", "and nothing is out of step"


def test_invocations_in_a_row_never_mix(service, image):
    """One after the other as fast as it goes, each printing at its very end, with its id as AWS's runtimes do."""
    service.create("row", image, MemorySize=256)
    ids = []
    for _ in range(200):
        answer = service.invoke("row", {"op": "log", "lines": 2})
        ids.append(answer.headers["x-amzn-requestid"])
    found = invocations(reported(service, "row", ids[-1]))
    assert list(found) == ids
    for request_id in ids:
        assert found[request_id][-1] == f"last log line of {request_id}", found[request_id]


def test_a_flood_holds_up_nobody(service, image):
    service.create("flood", image, MemorySize=256, Timeout=60)
    service.create("neighbour", image, MemorySize=256)
    call(service, "neighbour", {"op": "print"})
    line = "x" * 90
    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(call, service, "flood", {"op": "print", "out": f"{line} {{n}}\n", "repeat": 500_000})
        slowest = 0.0
        for _ in range(20):
            started = time.monotonic()
            _, _, log = call(service, "neighbour", {"op": "print", "out": "there\n"})
            slowest = max(slowest, time.monotonic() - started)
            assert said(log)[-1] == "there"
        answer, request_id, log = flood.result(timeout=100)
    assert answer.status == 200 and slowest < 5
    assert log[-1].startswith(f"REPORT RequestId: {request_id}")
    messages = reported(service, "flood", request_id)
    numbers = [int(m.rsplit(" ", 1)[1]) for m in messages if m.startswith(line)]
    dropped = [int(n) for m in messages for n in re.findall(r"^LOGS_DROPPED .*Records: (\d+)", m)]
    assert numbers == sorted(set(numbers)), "no line twice, and in order"
    # What the store keeps of a group is bounded; what was not taken is said.
    assert numbers[-1] == 499_999
    contiguous = sum(1 for a, b in zip(numbers, numbers[1:]) if b != a + 1)
    assert contiguous <= len(dropped)
    assert service.resident_kib() < 200 * 1024


def test_timeout_exit_and_memory_are_in_the_log(service, image):
    service.create("ends", image, MemorySize=128, Timeout=1)
    answer, body, log = call(service, "ends", {"op": "print and sleep", "out": "before the end\n", "ms": 5000})
    assert body["errorType"] == "Sandbox.Timedout" and "before the end" in log
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\S+Z {UUID} Task timed out after 1.00 seconds", log[-4]), log
    report = REPORT.fullmatch(log[-1])
    assert (report["duration"], report["status"]) == ("1000.00", "timeout")
    stream = answer.headers["x-lambda-log-stream"]
    assert answer.headers["x-lambda-log-group"] == "/aws/lambda/ends"
    wait_for(lambda: "before the end" in stored(service, "ends", stream), 10, "the log of the timeout")

    answer, body, log = call(service, "ends", {"op": "print and exit", "err": "cannot go on\n", "code": 3})
    assert body["errorType"] == "Runtime.ExitError" and "cannot go on" in log
    request_id = REPORT.fullmatch(log[-1])["id"]
    assert f"RequestId: {request_id} Error: Runtime exited with error: exit status 3" in log
    assert REPORT.fullmatch(log[-1])["error"] == "Runtime.ExitError"

    answer, body, log = call(service, "ends", {"op": "memory", "mib": 200})
    report = REPORT.fullmatch(log[-1])
    assert body["errorType"] == "Runtime.OutOfMemory", body
    assert (report["error"], report["max"]) == ("Runtime.OutOfMemory", "128")


def test_the_memory_is_true(service, image):
    service.create("heavy", image, MemorySize=256)
    _, _, log = call(service, "heavy", {"op": "print"})
    before = int(REPORT.fullmatch(log[-1])["max"])
    _, _, log = call(service, "heavy", {"op": "memory", "mib": 60})
    heavy = int(REPORT.fullmatch(log[-1])["max"])
    assert before < 60 <= heavy <= before + 80
    _, _, log = call(service, "heavy", {"op": "print"})
    assert int(REPORT.fullmatch(log[-1])["max"]) == heavy, "it is the most that the sandbox has used"


@pytest.mark.parametrize("how", ["exit", "hang"])
def test_a_start_that_fails_is_in_the_log(make_service, image, how):
    service = make_service(execution={"init_timeout_ms": 1000})
    service.create("broken", image, {"FAIL_INIT": how}, MemorySize=128)
    answer, body, log = call(service, "broken", {})
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    told = "this start fails" if how == "exit" else "this start hangs"
    status = "Status: error\tError Type: Runtime.ExitError" if how == "exit" else "Status: timeout"
    assert told in log, log
    assert any(re.fullmatch(rf"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\t{status}", m) for m in log), log
    assert log[-1].startswith("REPORT RequestId: ") and log[-1].endswith(status)
    stream = answer.headers["x-lambda-log-stream"]
    kept = wait_for(lambda: stored(service, "broken", stream), 10, "the log of the start")
    assert told in kept


def test_json(run_id, make_service):
    python = runtime_image(run_id, "python3.11")
    service = make_service(runtimes={"python3.11": python})
    handler = b"""
import logging
logger = logging.getLogger()
def handler(event, context):
    logger.info("for all")
    logger.debug("left out by the runtime")
    print('{"level": "debug", "timestamp": "2026-01-02T03:04:05Z", "message": "left out by the service"}')
    print("as it is")
"""
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
    create_zip(service, "json", archive({"app.py": handler}), Runtime="python3.11", LoggingConfig=logging)
    _, _, log = call(service, "json", {})
    objects = [json.loads(line) for line in log if line.startswith("{")]
    kinds = [o.get("type", o.get("message")) for o in objects]
    assert kinds == ["platform.start", "for all", "platform.report"], log
    start, record, report = objects
    assert start["record"]["version"] == "$LATEST" and start["record"]["functionArn"].endswith(":function:json")
    assert record["level"] == "INFO" and record["requestId"] == start["record"]["requestId"]
    metrics = report["record"]["metrics"]
    assert report["record"]["status"] == "success" and metrics["memorySizeMB"] == 128
    assert metrics["initDurationMs"] > 0 and 0 < metrics["maxMemoryUsedMB"] <= 128
    assert [line for line in log if not line.startswith("{")] == ["as it is"]

    create_zip(service, "import", archive({"app.py": b"import nothing_of_the_kind\n"}), Runtime="python3.11")
    answer, body, log = call(service, "import", {})
    assert body["errorType"] == "Runtime.ImportModuleError"
    assert any("nothing_of_the_kind" in line for line in log)
    assert any(m.startswith("INIT_REPORT ") and m.endswith("Error Type: Runtime.ImportModuleError") for m in log), log
    first = stored(service, "import")[0]
    assert re.fullmatch(r"INIT_START Runtime Version: python3\.11\tRuntime Version ARN: \S+:runtime:[0-9a-f]{64}", first)


def test_processes_of_the_host_have_the_services_lines(service):
    runtime = wire.Runtime(service.port, "at-home")
    event, caller = runtime.take(headers={"X-Amz-Log-Type": "Tail"})
    request_id = wire.request_id(event)
    runtime.respond(request_id, b"1")
    log = base64.b64decode(caller.result().headers["x-amz-log-result"]).decode().splitlines()
    assert [line.split()[0] for line in log] == ["START", "END", "REPORT"]
    assert "Max Memory Used" not in log[-1], "nobody has measured it"


def test_containers_started_by_hand_are_read(service, image, run_id):
    gateway = docker_cli.gateway(service.network)
    docker_cli.docker(
        "run", "--detach", "--name", f"{service.prefix}hand", "--network", service.network,
        "--env", f"AWS_LAMBDA_RUNTIME_API={gateway}:{service.port}", "--env", "AWS_LAMBDA_FUNCTION_NAME=by-hand",
        "--env", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "--env", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", image,
    )  # fmt: skip
    headers = {"X-Amz-Log-Type": "Tail"}
    event = json.dumps({"op": "print", "out": "by hand\n"}).encode()
    answer = wire.invoke_known(service.port, "by-hand", event, headers)
    log = base64.b64decode(answer.headers["x-amz-log-result"]).decode().splitlines()
    assert said(log) == ["by hand"] and REPORT.fullmatch(log[-1])


def test_figures(service, function):
    def figure(name):
        text = service.http("GET", "/metrics").body.decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    before = figure("lambda_output_lines_total"), figure("lambda_output_bytes_total")
    call(service, function, {"op": "print", "out": "12345\n", "repeat": 10})
    assert figure("lambda_output_lines_total") - before[0] == 10
    assert figure("lambda_output_bytes_total") - before[1] == 60
    assert figure("lambda_output_streams") >= 1 and figure("lambda_output_dropped_lines_total") >= 0
