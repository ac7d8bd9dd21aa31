"""CloudWatch Logs with boto3's client, and `aws logs tail` as it is: what is put comes back, in order, once,
filtered, paged, also after a restart; what AWS refuses is refused in AWS's words.

The events are put by PutLogEvents: how those of functions get into the store, other tests say.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import uuid

import boto3
import botocore.config
import botocore.session
import pytest
from botocore.exceptions import ClientError

import contract
import wire
from harness import ROOT, environment, wait_for

LOGS = ROOT / "src" / "api" / "logs"
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def logs(service):
    return service.boto("logs")


@pytest.fixture
def group(logs):
    name = f"/test/{uuid.uuid4().hex}"
    logs.create_log_group(logGroupName=name)
    return name


def now_ms():
    return int(time.time() * 1000)


def put(logs, group, stream, *events):
    """Puts (time, text) pairs into a stream, which is made if it is not there."""
    try:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    return logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": at, "message": text} for at, text in events],
    )


def texts(answer):
    return [event["message"] for event in answer["events"]]


def refusal(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


# The contract.


def operations():
    rows = re.findall(r'Operation \{ name: "(\w+)"', "".join(path.read_text() for path in LOGS.glob("*.rs")))
    assert len(rows) == len(set(rows)) >= 17
    return rows


@pytest.mark.parametrize("name", sorted(operations()))
def test_operation_is_the_models(name):
    model = botocore.session.get_session().get_service_model("logs")
    assert model.metadata["targetPrefix"] == "Logs_20140328"
    assert model.operation_model(name).http["requestUri"] == "/"


def test_answers_have_the_models_members_and_no_others(service, logs, group):
    put(logs, group, "s", (now_ms(), "x"))
    put(logs, group, "t", (now_ms(), "x"))
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    model = botocore.session.get_session().get_service_model("logs")
    requests = {
        "DescribeLogGroups": {"limit": 1},
        "DescribeLogStreams": {"logGroupName": group, "limit": 1},
        "GetLogEvents": {"logGroupName": group, "logStreamName": "s"},
        "FilterLogEvents": {"logGroupName": group, "limit": 1},
        "ListTagsForResource": {"resourceArn": f"arn:aws:logs:us-east-1:000000000000:log-group:{group}"},
        "PutLogEvents": {
            "logGroupName": group,
            "logStreamName": "s",
            "logEvents": [{"timestamp": 0, "message": "x"}, {"timestamp": now_ms(), "message": "x"}],
        },
    }
    for name, request in requests.items():
        answer = call(service, name, request)
        assert answer.status == 200, (name, answer.body)
        assert answer.headers["content-type"] == "application/x-amz-json-1.1"
        assert contract.faults(model.operation_model(name).output_shape, answer.json(), name) == []


def call(service, operation, body, **headers):
    """A call without a client's own checks."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    target = {"X-Amz-Target": f"Logs_20140328.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    return service.http("POST", "/", data, {**target, **headers})


# Groups.


def test_groups_are_made_described_in_pages_and_deleted(logs):
    begin = f"/pages/{uuid.uuid4().hex}/"
    for name in ["c", "a", "b", "other"]:
        logs.create_log_group(logGroupName=begin + name, tags={"k": name})
    pages = logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=begin, PaginationConfig={"PageSize": 2}
    )
    pages = [page["logGroups"] for page in pages]
    assert [len(page) for page in pages] == [2, 2]
    found = [group["logGroupName"] for page in pages for group in page]
    assert found == [begin + name for name in ["a", "b", "c", "other"]]
    one = pages[0][0]
    assert one["arn"] == f"arn:aws:logs:us-east-1:000000000000:log-group:{begin}a:*"
    assert one["logGroupArn"] == one["arn"].removesuffix(":*")
    assert abs(one["creationTime"] - now_ms()) < 60_000
    assert one["storedBytes"] == 0 and "retentionInDays" not in one

    part = logs.describe_log_groups(logGroupNamePattern=begin[7:] + "o")["logGroups"]
    assert [group["logGroupName"] for group in part] == [begin + "other"]
    by_id = logs.describe_log_groups(logGroupIdentifiers=[one["logGroupArn"], begin + "b"])["logGroups"]
    assert len(by_id) == 2
    assert refusal(logs.create_log_group, logGroupName=begin + "a") == (
        400,
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    logs.delete_log_group(logGroupName=begin + "a")
    assert refusal(logs.delete_log_group, logGroupName=begin + "a") == (
        400,
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    assert len(logs.describe_log_groups(logGroupNamePrefix=begin)["logGroups"]) == 3


def test_what_terraforms_log_group_does(logs):
    """The calls of aws_cloudwatch_log_group: create, retention, read twice, tags, change, destroy."""
    name = f"/terraform/{uuid.uuid4().hex}"
    logs.create_log_group(logGroupName=name, tags={"team": "a"}, logGroupClass="STANDARD")
    logs.put_retention_policy(logGroupName=name, retentionInDays=14)
    (read,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert (read["retentionInDays"], read["logGroupClass"]) == (14, "STANDARD")
    arn = read["arn"].removesuffix(":*")
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a"}
    assert logs.list_tags_log_group(logGroupName=name)["tags"] == {"team": "a"}
    logs.tag_resource(resourceArn=arn, tags={"team": "b", "cost": "1"})
    logs.untag_resource(resourceArn=arn, tagKeys=["cost", "absent"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "b"}
    logs.delete_retention_policy(logGroupName=name)
    (read,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert "retentionInDays" not in read
    logs.delete_log_group(logGroupName=name)
    assert logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"] == []
    assert refusal(logs.list_tags_for_resource, resourceArn=arn)[1] == "ResourceNotFoundException"


def test_what_a_group_cannot_be(logs, group):
    cases = [
        ({"logGroupName": "a b"}, r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+"),
        ({"logGroupName": "x" * 513}, "Member must have length less than or equal to 512"),
        ({"logGroupName": "../../../etc/x y"}, "regular expression"),
        ({"logGroupName": "aws/x"}, "reserved"),
        ({"logGroupName": "x", "kmsKeyId": "k"}, "kmsKeyId is not supported"),
        ({"logGroupName": "x", "logGroupClass": "INFREQUENT_ACCESS"}, "logGroupClass is not supported"),
        ({"logGroupName": "x", "tags": {"a*": "b"}}, "Map keys"),
    ]
    for arguments, message in cases:
        status, code, told = refusal(logs.create_log_group, **arguments)
        assert (status, code) == (400, "InvalidParameterException") and message in told, told
    days = refusal(logs.put_retention_policy, logGroupName=group, retentionInDays=2)
    assert days[1] == "InvalidParameterException" and "enum value set: [1, 3, 5, 7, 14, 30," in days[2]
    both = refusal(logs.describe_log_groups, logGroupNamePrefix="a", logGroupNamePattern="b")
    assert both[1] == "InvalidParameterException"
    token = refusal(logs.describe_log_groups, nextToken="!")
    assert token[1:] == ("InvalidParameterException", "The specified nextToken is invalid.")


def test_a_region_has_groups_of_its_own(service, logs, group):
    elsewhere = boto3.client(
        "logs",
        endpoint_url=service.url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    assert elsewhere.describe_log_groups()["logGroups"] == []
    assert refusal(elsewhere.put_retention_policy, logGroupName=group, retentionInDays=1)[1] == (
        "ResourceNotFoundException"
    )


# Streams.


def test_streams_by_name_and_by_time(logs, group):
    now = now_ms()
    for index, name in enumerate(["b", "c", "a", "2026/11/23/[$LATEST]0f"]):
        put(logs, group, name, (now - 5000 + index, "x"), (now - 4000 + index, "y"))
    logs.create_log_stream(logGroupName=group, logStreamName="empty")

    def names(**arguments):
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName=group, PaginationConfig={"PageSize": 2}, **arguments
        )
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    assert names() == ["2026/11/23/[$LATEST]0f", "a", "b", "c", "empty"]
    assert names(descending=True) == list(reversed(names()))
    assert names(logStreamNamePrefix="2026/") == ["2026/11/23/[$LATEST]0f"]
    assert names(orderBy="LastEventTime", descending=True) == ["2026/11/23/[$LATEST]0f", "a", "c", "b", "empty"]
    assert names(orderBy="LastEventTime") == ["empty", "b", "c", "a", "2026/11/23/[$LATEST]0f"]
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="b")["logStreams"]
    assert (streams[0]["firstEventTimestamp"], streams[0]["lastEventTimestamp"]) == (now - 5000, now - 4000)
    assert streams[0]["arn"].endswith(f":log-group:{group}:log-stream:b")
    assert "lastEventTimestamp" not in logs.describe_log_streams(logGroupName=group)["logStreams"][-1]
    assert refusal(logs.describe_log_streams, logGroupName=group, orderBy="LastEventTime", logStreamNamePrefix="a") == (
        400,
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}"
    assert len(logs.describe_log_streams(logGroupIdentifier=arn)["logStreams"]) == 5


def test_a_stream_is_made_once_deleted_once_and_has_to_be_there(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    again = refusal(logs.create_log_stream, logGroupName=group, logStreamName="s")
    assert again == (400, "ResourceAlreadyExistsException", "The specified log stream already exists")
    missing = (400, "ResourceNotFoundException", "The specified log stream does not exist.")
    event = {"timestamp": now_ms(), "message": "x"}
    for operation in [
        lambda **a: logs.put_log_events(logEvents=[event], **a),
        logs.get_log_events,
        logs.delete_log_stream,
    ]:
        assert refusal(operation, logGroupName=group, logStreamName="absent") == missing
        assert refusal(operation, logGroupName=group + "x", logStreamName="s")[2] == (
            "The specified log group does not exist."
        )
    assert refusal(logs.filter_log_events, logGroupName=group, logStreamNames=["s", "absent"]) == missing
    for name in ["a:b", "a*", "x" * 513]:
        assert refusal(logs.create_log_stream, logGroupName=group, logStreamName=name)[1] == (
            "InvalidParameterException"
        )
    put(logs, group, "s", (now_ms(), "x"))
    logs.delete_log_stream(logGroupName=group, logStreamName="s")
    assert texts(logs.filter_log_events(logGroupName=group)) == []
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == []


# Events.


def test_pages_of_a_stream_in_both_directions_with_the_same_token_at_the_end(logs, group):
    now = now_ms()
    put(logs, group, "s", *[(now - 100 + n, str(n)) for n in range(10)])
    put(logs, group, "other", (now, "not this one"))
    stream = {"logGroupName": group, "logStreamName": "s", "limit": 4}

    page = logs.get_log_events(startFromHead=True, **stream)
    seen = texts(page)
    while True:
        after = logs.get_log_events(startFromHead=True, nextToken=page["nextForwardToken"], **stream)
        if after["nextForwardToken"] == page["nextForwardToken"]:
            break
        page = after
        seen += texts(page)
    assert seen == [str(n) for n in range(10)] and texts(after) == []

    # What comes later is had with the token of the end.
    put(logs, group, "s", (now - 50, "later"))
    assert texts(logs.get_log_events(nextToken=after["nextForwardToken"], **stream)) == ["later"]
    # And the way back from there has everything before.
    back = logs.get_log_events(nextToken=after["nextBackwardToken"], **stream)
    assert texts(back) == ["6", "7", "8", "9"]

    latest = logs.get_log_events(**stream)
    assert texts(latest) == ["7", "8", "9", "later"]
    seen, page = texts(latest), latest
    while True:
        before = logs.get_log_events(nextToken=page["nextBackwardToken"], **stream)
        if before["nextBackwardToken"] == page["nextBackwardToken"]:
            break
        page = before
        seen = texts(page) + seen
    assert seen == [*map(str, range(10)), "later"]
    assert refusal(logs.get_log_events, nextToken="f/1", **stream)[2] == "The specified nextToken is invalid."

    ranged = logs.get_log_events(
        logGroupName=group, logStreamName="s", startTime=now - 98, endTime=now - 95, startFromHead=True
    )
    assert texts(ranged) == ["2", "3", "4"]


def test_an_empty_stream_has_tokens_that_wait(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    stream = {"logGroupName": group, "logStreamName": "s"}
    for head in [True, False]:
        page = logs.get_log_events(startFromHead=head, **stream)
        assert page["events"] == []
        again = logs.get_log_events(startFromHead=head, nextToken=page["nextForwardToken"], **stream)
        assert again["nextForwardToken"] == page["nextForwardToken"]
    put(logs, group, "s", (now_ms(), "first"))
    assert texts(logs.get_log_events(nextToken=page["nextForwardToken"], **stream)) == ["first"]


def test_streams_are_filtered_together_in_the_order_of_time(logs, group):
    now = now_ms() - 1000
    put(logs, group, "web/1", (now, "GET a"), (now + 20, "ERROR b"))
    put(logs, group, "web/2", (now + 10, "ERROR c"), (now + 30, "GET d"))
    put(logs, group, "job", (now + 15, '{"level":"ERROR","ms":1200}'))

    def found(**arguments):
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, PaginationConfig={"PageSize": 2}, **arguments
        )
        return [event for page in pages for event in page["events"]]

    everything = found()
    assert [event["message"][-1] for event in everything] == ["a", "c", "}", "b", "d"]
    assert [event["logStreamName"] for event in everything] == ["web/1", "web/2", "job", "web/1", "web/2"]
    assert len({event["eventId"] for event in everything}) == 5
    assert [event["message"] for event in found(filterPattern="ERROR", logStreamNamePrefix="web/")] == ["ERROR c", "ERROR b"]
    assert [event["message"] for event in found(logStreamNames=["job", "web/2"], startTime=now + 15)] == [
        '{"level":"ERROR","ms":1200}',
        "GET d",
    ]
    # The end belongs to the range.
    assert len(found(startTime=now + 10, endTime=now + 20)) == 3
    assert len(found(filterPattern="{ $.level = ERROR && $.ms > 1000 }")) == 1
    assert len(found(filterPattern="[method = GET, ...]")) == 2
    assert len(found(filterPattern="?GET ?b")) == 3
    assert len(found(filterPattern="%^ERROR [bc]$%")) == 2


def test_what_no_filter_can_be(logs, group):
    cases = {
        "?Status: timeout": "Invalid character(s) in term ':'",
        "{ $.a = 1": "If a filter pattern starts with '{' it must end with '}'",
        "{ $.a == 1 }": "Invalid",
        "[a, ..., ...]": "Invalid filter pattern",
        '"open': "Invalid filter pattern",
        "x" * 1025: "Member must have length less than or equal to 1024",
        "{" + "(" * 500 + "$.a = 1" + ")" * 500 + "}": "Invalid filter pattern",
    }
    for pattern, message in cases.items():
        status, code, told = refusal(logs.filter_log_events, logGroupName=group, filterPattern=pattern)
        assert (status, code) == (400, "InvalidParameterException") and message in told, told
    together = refusal(logs.filter_log_events, logGroupName=group, logStreamNames=["a"], logStreamNamePrefix="a")
    assert together[1] == "InvalidParameterException"
    assert refusal(logs.filter_log_events, logGroupName=group, nextToken="0")[1] == "InvalidParameterException"
    assert refusal(logs.filter_log_events, logGroupName=group, limit=10_001)[1] == "InvalidParameterException"


def test_a_batch_is_refused_or_loses_what_is_out_of_time(logs, group):
    now = now_ms()
    answer = put(logs, group, "s", (now - 15 * DAY_MS, "old"), (now, "kept"), (now + 3 * 3_600_000, "early"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert texts(logs.filter_log_events(logGroupName=group)) == ["kept"]
    put_to = {"logGroupName": group, "logStreamName": "s"}

    def told(*events):
        given = [{"timestamp": at, "message": text} for at, text in events]
        return refusal(logs.put_log_events, logEvents=given, **put_to)[2]

    assert told((now, "b"), (now - 1, "a")) == (
        "Log events in a single PutLogEvents request must be in chronological order."
    )
    assert "cannot span more than 24 hours" in told((now - 2 * DAY_MS, "a"), (now, "b"))
    assert "Upload too large" in told((now, "x" * 600_000), (now, "x" * 600_000))
    assert "Log event too large" in told((now, "x" * 1_048_576))
    assert "10000" in told(*[(now, "x")] * 10_001)
    assert texts(logs.filter_log_events(logGroupName=group)) == ["kept"]
    # The largest that there may be, each character of it an escape.
    put(logs, group, "s", (now + 1, "\x01" * (1_048_576 - 26)))
    put(logs, group, "s", *[(now + 2, "é" * 39)] * 10_000)
    page = logs.filter_log_events(logGroupName=group, startTime=now + 2)
    assert len(page["events"]) == 10_000
    first = logs.filter_log_events(logGroupName=group)
    assert len(first["events"]) == 1 and "nextToken" in first
    second = logs.filter_log_events(logGroupName=group, nextToken=first["nextToken"])
    assert len(second["events"][0]["message"]) == 1_048_576 - 26


def test_requests_that_are_none(service, group):
    for body in [b"{", b"[]", b'"x"', b'{"logGroupName":7}', b'{"logGroupName":"x","limit":"y"}', b"\xff"]:
        answer = call(service, "DescribeLogStreams", body)
        assert answer.status == 400, body
        assert answer.json()["__type"] == "SerializationException" == answer.headers["x-amzn-errortype"]
    assert call(service, "DescribeLogStreams", b"").json()["__type"] == "InvalidParameterException"
    assert call(service, "CreateLogGroup", {}).json()["message"] == (
        "1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: "
        "Member must not be null"
    )
    for operation in ["Nothing", "StartLiveTail", ""]:
        answer = call(service, operation, {})
        assert (answer.status, answer.json()["__type"]) == (400, "UnknownOperationException")
    assert service.http("POST", "/", b"{}").json()["__type"] == "UnknownOperationException"
    assert service.http("GET", "/").status == 404
    large = call(service, "PutLogEvents", b"x" * (8 * 1024 * 1024 + 1))
    assert large.status == 413


def test_a_stranger_is_refused(service):
    """From an address that is not loopback."""
    address = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    if not address:
        pytest.skip("this host has no other address than loopback")
    headers = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    answer = wire.request(service.port, "POST", "/", b"{}", headers, host=address[0])
    assert (answer.status, answer.json()["__type"]) == (403, "AccessDeniedException")


# The store as a whole.


def test_logs_survive_a_kill_and_are_counted(make_service):
    service = make_service()
    logs = service.boto("logs")
    logs.create_log_group(logGroupName="kept")
    logs.put_retention_policy(logGroupName="kept", retentionInDays=5)
    put(logs, "kept", "s", (now_ms(), "one"), (now_ms(), "two"))
    service.kill()
    service.start()
    logs = service.boto("logs")
    assert texts(logs.filter_log_events(logGroupName="kept")) == ["one", "two"]
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 5
    put(logs, "kept", "s", (now_ms(), "three"))
    assert texts(logs.filter_log_events(logGroupName="kept")) == ["one", "two", "three"]
    metrics = service.http("GET", "/metrics").body.decode()
    assert "lambda_log_events_total 1\n" in metrics and "lambda_log_groups 1\n" in metrics
    assert "lambda_log_events_dropped_total 0\n" in metrics


def test_a_group_stays_within_its_limit_and_the_oldest_go(make_service):
    service = make_service(logs={"max_mb_per_group": 1})
    logs = service.boto("logs")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    begun = now_ms()
    for batch in range(8):
        events = [{"timestamp": begun + batch, "message": f"{batch} {'x' * 1000}"}] * 300
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=events)
    (group,) = logs.describe_log_groups()["logGroups"]
    assert 500_000 < group["storedBytes"] <= 1_048_576
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="g")
    kept = [event["message"][0] for page in pages for event in page["events"]]
    assert kept[-1] == "7" and "0" not in kept and len(kept) > 400


# `aws logs tail`, which version 2 of the AWS CLI has.


def aws_cli_2():
    for name in [os.environ.get("LAMBDA_TEST_AWSCLI2"), "/usr/local/bin/aws", "/usr/bin/aws", "aws"]:
        path = name and shutil.which(name)
        if path:
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            if told.startswith("aws-cli/2"):
                return path
    return None


@pytest.fixture(scope="module")
def tail(service):
    """Runs `aws logs tail` with these arguments."""
    program = aws_cli_2()
    if program is None:
        pytest.skip("there is no AWS CLI of version 2; LAMBDA_TEST_AWSCLI2 names one")
    started = []

    def run(*arguments):
        variables = {
            "AWS_ENDPOINT_URL": service.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "PYTHONUNBUFFERED": "1",
        }
        # The option beside the variable: versions before 2.13 know only that.
        started.append(
            subprocess.Popen(
                [program, "--endpoint-url", service.url, "logs", "tail", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(**variables),
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_aws_logs_tail_prints_what_is_there(logs, group, tail):
    now = now_ms()
    put(logs, group, "a", (now - 2000, "START x"), (now - 1000, "ERROR y\n"))
    put(logs, group, "b", (now - 1500, '{"level":"ERROR"}'))
    output, errors = tail(group, "--format", "short").communicate(timeout=60)
    assert [line.split(" ", 1)[1] for line in output.splitlines()] == ["START x", '{"level":"ERROR"}', "ERROR y"], errors
    output, errors = tail(group, "--filter-pattern", "{ $.level = ERROR }").communicate(timeout=60)
    assert output.splitlines()[0].endswith('b {"level":"ERROR"}'), errors
    _, errors = tail(group + "x").communicate(timeout=60)
    assert "ResourceNotFoundException" in errors and "The specified log group does not exist." in errors


def test_aws_logs_tail_follows(logs, group, tail):
    put(logs, group, "a", (now_ms(), "0"))
    process = tail(group, "--follow", "--format", "short")
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
    reader.start()
    seen = lambda: [line.split(" ", 1)[1].strip() for line in list(lines)]  # noqa: E731
    wait_for(lambda: seen() == ["0"], 60, "the first line is shown")
    for n in range(1, 4):
        # The same stream and another one, also within a millisecond.
        at = now_ms()
        put(logs, group, "a", (at, f"{n}a"), (at, f"{n}b"))
        put(logs, group, f"new{n}", (at, f"{n}c"))
        wait_for(lambda n=n: f"{n}c" in seen(), 60, f"the lines of round {n} are shown")
    process.send_signal(signal.SIGINT)
    process.wait(30)
    reader.join(30)
    assert seen() == ["0", *[f"{n}{letter}" for n in range(1, 4) for letter in "abc"]]
