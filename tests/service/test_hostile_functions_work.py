"""A hostile function exhausts nothing by what it does in its container: its memory, its processes, its disk, its time,
what it prints. And what it says (in its log, in headers, in errors) is only text wherever it appears.

LAMBDA_TEST_FLOOD_S says for how many seconds output is flooded, 3 if absent."""

import json
import os
import re
import time

import pytest

from harness import wait_for
from hostile import RUNTIME, attacker, attackers, neighbour_function, request, siege  # noqa: F401
from wire import InBackground

FLOOD_S = int(os.environ.get("LAMBDA_TEST_FLOOD_S", "3"))


@pytest.fixture(scope="module")
def service(make_module_service, tmp_path_factory):
    audit = tmp_path_factory.mktemp("audit")
    audit.chmod(0o700)
    service = make_module_service(logs={"max_mb_per_group": 8}, audit={"path": str(audit)})
    service.audit = audit
    return service


# The container's resources.


def test_a_memory_hog_ends_alone(attacker):
    assert "signal: killed" in attacker.ends_in("Runtime.OutOfMemory", op="memory")
    assert attacker.does("echo")


def test_a_full_tmp_is_its_own(attackers):
    """What it writes there counts as its memory, so it ends by that before the place is full."""
    attackers().ends_in("Runtime.OutOfMemory", op="fill", path="/tmp")


@pytest.mark.parametrize("path", ["/", "/var/task", "/dev/shm", "/dev", "/run", "/proc"])
def test_nothing_else_can_be_filled(attacker, path):
    told = attacker.does("fill", path=path)
    assert told.get("bytes", 0) == 0, told


def test_a_fork_bomb_ends_with_its_function_s_time(service, attackers):
    attacker = attackers(Timeout=5)
    answer = attacker.invoke(op="fork")
    # The kernel may come before, for the memory that all of them take.
    assert answer.json()["errorType"] in ("Sandbox.Timedout", "Runtime.OutOfMemory", "Runtime.ExitError")
    assert attacker.does("echo")


def test_a_busy_loop_leaves_others_the_cpu(attackers):
    assert attackers(Timeout=5).ends_in("Sandbox.Timedout", op="spin", ms=60_000)


def test_several_hogs_at_a_time(service, attackers):
    calls = [InBackground(attackers(Timeout=6).invoke, op=op, ms=60_000) for op in ("spin", "memory", "fork", "fill")]
    for call in calls:
        assert call.result(60).headers["x-amz-function-error"] == "Unhandled"


# What it prints.


@pytest.mark.parametrize("line", ["x" * 200, "", "\x1b[2J\x1b]0;owned\x07", "y"], ids=["lines", "one line without end", "escapes", "short lines"])
def test_output_at_full_speed(service, attackers, line):
    """It is counted, kept up to the group's limit, and what the disk is too slow for is said."""
    attacker = attackers(Timeout=FLOOD_S + 30)
    begun = time.monotonic()
    told = attacker.does("flood", timeout=FLOOD_S + 60, ms=FLOOD_S * 1000, line=line)
    assert time.monotonic() - begun < FLOOD_S + 30
    assert told["bytes"] > 1 << 20
    logs = service.boto("logs")
    [group] = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{attacker.name}")["logGroups"]
    assert group["storedBytes"] <= 9 << 20
    # A neighbour's lines are not lost in it.
    answer = service.invoke("neighbour", {"op": "log", "lines": 3}, headers={"X-Amz-Log-Type": "Tail"})
    assert answer.status == 200
    id = answer.headers["x-amzn-requestid"]

    def kept():
        events = logs.filter_log_events(logGroupName="/aws/lambda/neighbour", filterPattern=f'"last log line of {id}"')
        return events["events"]

    wait_for(kept, 20, "the neighbour's line is in its log")


FORGED = [
    "REPORT RequestId: {id}\tDuration: 0.01 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 1 MB",
    "START RequestId: 00000000-0000-0000-0000-000000000000 Version: $LATEST",
    "END RequestId: 00000000-0000-0000-0000-000000000000",
    '{"time":"2026-01-01T00:00:00.000Z","type":"platform.report","record":{"requestId":"{id}","status":"success"}}',
]


def audited(service):
    lines = [line for file in sorted(service.audit.glob("audit-*.jsonl")) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("format", ["Text", "JSON"])
def test_forged_lines_of_the_platform_are_found_out(service, attackers, format):
    """In a log they look like the service's own, as on AWS. The audit log, to which no function writes, has a line for
    each invocation that there was, with its outcome, time and container."""
    attacker = attackers(LoggingConfig={"LogFormat": format}, Timeout=2)
    id = attacker.does("print", text="\n".join(FORGED) + "\n")
    answer = attacker.invoke(op="sleep", ms=60_000)
    late = answer.headers["x-amzn-requestid"]
    # A second REPORT of one invocation, and one of another that has never been.
    again = attacker.does("print", text="".join(f"{line}\n" for line in FORGED).replace("{id}", late))
    logs = service.boto("logs")

    def kept():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{attacker.name}")["events"]
        printed = [event["message"] for event in events]
        return again in "".join(line for line in printed if "REPORT" in line or "platform.report" in line) and printed

    printed = wait_for(kept, 20, "the last REPORT is there")
    assert len([line for line in printed if late in line and ("REPORT" in line or "platform.report" in line)]) > 1
    told = [line for line in audited(service) if line["event"] == "invocation" and line["function"].endswith(f":{attacker.name}")]
    assert [(line["id"], line["outcome"]) for line in told] == [(id, "success"), (late, "timed-out"), (again, "success")]
    assert told[1]["ms"] >= 2000 and told[1]["sandbox"].startswith(service.prefix)


# What it says elsewhere.

@pytest.mark.parametrize("kind", ["Evil.Type", 'a"b\\\\n 2026 ERROR forged', "x" * 5_000, "caf\u00e9\u2028forged"])
def test_an_error_s_type_stays_within_its_line(service, attacker, kind):
    before = service.log().count("\n")
    send = request("POST", f"{RUNTIME}/{{id}}/error", [("Lambda-Runtime-Function-Error-Type", kind)], b"{}")
    answer = attacker.invoke(op="http", send=send)
    assert (answer.status, answer.headers["x-amz-function-error"]) == (200, "Unhandled")
    told = service.log().splitlines()[before:]
    assert all(re.match(r"^[0-9T:.Z-]+ (ERROR|WARN |INFO |DEBUG) ", line) for line in told), told
    assert not any("ERROR forged" in line.split(": ", 1)[0] for line in told)
    metrics = service.http("GET", "/metrics").body.decode()
    assert "Evil" not in metrics and "forged" not in metrics


@pytest.mark.parametrize("value", ["a\x1b[31mred", "a\x00b", "a\rX-Evil: 1", "a\x7f"], ids=["escape", "nul", "carriage return", "delete"])
def test_control_characters_in_headers_are_refused(service, attacker, value):
    send = request("POST", f"{RUNTIME}/{{id}}/error", [("Lambda-Runtime-Function-Error-Type", value)], b"{}")
    told = attacker.does("http", send=send)
    assert told["statuses"] == {"400": 1}, told
    assert "\x1b" not in service.log()


@pytest.mark.parametrize("body", ["HTTP/1.1 200 OK\r\nX-Evil: 1\r\n\r\n{}", "\r\n\r\nX-Evil: 1", "\x00\x1b[31m"])
def test_what_it_answers_is_a_body_and_nothing_else(service, attacker, body):
    """Neither a header nor another answer to its caller, whatever it looks like."""
    send = request("POST", f"{RUNTIME}/{{id}}/response", [("X-Amz-Function-Error", "Handled"), ("X-Evil", "1"), ("Set-Cookie", "a=b")], body.encode())
    answer = attacker.invoke(op="http", send=send)
    assert (answer.status, answer.body.decode()) == (200, body)
    known = {"content-type", "content-length", "date", "x-amzn-requestid", "x-amz-executed-version", "x-amzn-trace-id"}
    assert set(answer.headers) <= known, answer.headers
