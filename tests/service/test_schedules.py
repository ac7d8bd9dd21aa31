"""Schedules as EventBridge Scheduler has them: boto3 and awscli with the endpoint set, and functions that really run."""

import json
import math
import time
import uuid
from datetime import datetime, timedelta, timezone

import botocore.exceptions
import pytest

import docker_cli
import wire
from awscli_tool import aws
from harness import REGION, wait_for
from served import Failure, Served

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
OFF = {"Mode": "OFF"}
NEVER = "cron(0 0 1 1 ? 2199)"
INPUT = {
    "arn": "<aws.scheduler.schedule-arn>",
    "time": "<aws.scheduler.scheduled-time>",
    "id": "<aws.scheduler.execution-id>",
    "attempt": "<aws.scheduler.attempt-number>",
}


@pytest.fixture(scope="module")
def service(make_module_service):
    return make_module_service(asynchronous={"retry_delay_ms": 200})


@pytest.fixture(scope="module")
def client(service):
    return service.boto("scheduler")


@pytest.fixture
def name():
    return f"s{uuid.uuid4().hex[:8]}"


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


def function_arn(name, region=REGION):
    return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"


def schedule_arn(name, group="default"):
    return f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{group}/{name}"


def asked(name, expression=NEVER, function="f", target=None, **more):
    """What CreateSchedule and UpdateSchedule need."""
    target = {"Arn": function_arn(function), "RoleArn": ROLE, **(target or {})}
    return dict(Name=name, ScheduleExpression=expression, FlexibleTimeWindow=OFF, Target=target) | more


def at(seconds):
    """An at() so many seconds from now, at the least, and its time."""
    moment = datetime.fromtimestamp(math.ceil(time.time() + seconds), timezone.utc)
    return f"at({moment:%Y-%m-%dT%H:%M:%S})", f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def refusal(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**arguments)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def letters(service, name):
    found = sorted((service.directory / "storage" / "dead-letters").glob(f"*-{name}.json"))
    return [json.loads(file.read_text()) for file in found]


def figures(service):
    return service.http("GET", "/status").json()["schedules"]


# Making and changing them.


def test_a_schedule_is_kept_as_aws_keeps_it(service, client, name):
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    answer = client.create_schedule(**asked(name))
    assert answer["ScheduleArn"] == schedule_arn(name)
    found = client.get_schedule(Name=name)
    del found["ResponseMetadata"]
    made, modified = found.pop("CreationDate"), found.pop("LastModificationDate")
    assert before <= made == modified <= datetime.now(timezone.utc)
    assert found == {
        "ActionAfterCompletion": "NONE",
        "Arn": schedule_arn(name),
        "FlexibleTimeWindow": OFF,
        "GroupName": "default",
        "Name": name,
        "ScheduleExpression": NEVER,
        "ScheduleExpressionTimezone": "UTC",
        "State": "ENABLED",
        "Target": {
            "Arn": function_arn("f"),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
            "RoleArn": ROLE,
        },
    }
    start = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    whole = {
        "ActionAfterCompletion": "DELETE",
        "Description": "é",
        "EndDate": start + timedelta(days=30),
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        "ScheduleExpression": "rate(2 minute)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "StartDate": start,
        "State": "DISABLED",
        "Target": {
            "Arn": function_arn("g:live"),
            "DeadLetterConfig": {"Arn": QUEUE},
            "Input": json.dumps(INPUT),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0},
            "RoleArn": ROLE,
        },
    }
    assert client.update_schedule(Name=name, **whole)["ScheduleArn"] == schedule_arn(name)
    found = client.get_schedule(Name=name, GroupName="default")
    assert {member: found[member] for member in whole} == whole
    assert found["CreationDate"] == made < found["LastModificationDate"]
    # An update sets what it does not name to its default.
    client.update_schedule(**asked(name))
    found = client.get_schedule(Name=name)
    assert not {"Description", "StartDate", "EndDate"} & set(found)
    assert (found["State"], found["ActionAfterCompletion"]) == ("ENABLED", "NONE")
    client.delete_schedule(Name=name)
    message = f"Schedule {name} does not exist."
    for call in (client.get_schedule, client.delete_schedule):
        assert refusal(call, Name=name) == (404, "ResourceNotFoundException", message)
    assert refusal(client.update_schedule, **asked(name)) == (404, "ResourceNotFoundException", message)


def test_a_call_that_is_sent_again_is_the_same_call(client, name):
    token = {"ClientToken": uuid.uuid4().hex}
    for _ in range(2):
        assert client.create_schedule(**asked(name), **token)["ScheduleArn"] == schedule_arn(name)
    conflict = (409, "ConflictException", f"Schedule {name} already exists.")
    assert refusal(client.create_schedule, **asked(name)) == conflict
    assert refusal(client.create_schedule, **asked(name, Description="other"), **token) == conflict
    for _ in range(2):
        client.delete_schedule(Name=name, **token)
    assert refusal(client.delete_schedule, Name=name)[0] == 404


def test_lists_have_pages(service, client, name):
    group = f"{name}-g"
    arn = client.create_schedule_group(Name=group)["ScheduleGroupArn"]
    assert arn == f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{group}"
    names = [f"{name}-{number}" for number in range(5)]
    for number, one in enumerate(names):
        state = "DISABLED" if number == 3 else "ENABLED"
        client.create_schedule(**asked(one, GroupName=group, State=state))
    pages = client.get_paginator("list_schedules").paginate(GroupName=group, PaginationConfig={"PageSize": 2})
    pages = [page["Schedules"] for page in pages]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one["Name"] for page in pages for one in page] == names
    first = pages[0][0]
    assert first["Target"] == {"Arn": function_arn("f")} and first["State"] == "ENABLED"
    assert first["Arn"] == schedule_arn(names[0], group) and first["GroupName"] == group

    def found(**arguments):
        return [one["Name"] for one in client.list_schedules(**arguments)["Schedules"]]

    assert found(NamePrefix=f"{name}-2") == names[2:3]
    assert found(GroupName=group, State="DISABLED") == names[3:4]
    assert found(GroupName="default", NamePrefix=name) == []
    assert service.boto("scheduler", "eu-west-1").list_schedules()["Schedules"] == []
    gone = (404, "ResourceNotFoundException", "Schedule group nowhere does not exist.")
    assert refusal(client.list_schedules, GroupName="nowhere") == gone
    assert refusal(client.create_schedule, **asked(name, GroupName="nowhere")) == gone
    assert refusal(client.list_schedules, NextToken="%")[1:] == ("ValidationException", "Invalid NextToken.")
    # A group goes with its schedules.
    client.delete_schedule_group(Name=group)
    assert found(NamePrefix=name) == []
    assert refusal(client.get_schedule_group, Name=group)[0] == 404


def test_groups_have_tags_and_one_is_always_there(client, name):
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    arn = client.create_schedule_group(Name=name, Tags=tags)["ScheduleGroupArn"]
    conflict = (409, "ConflictException", f"Schedule group {name} already exists.")
    assert refusal(client.create_schedule_group, Name=name) == conflict
    group = client.get_schedule_group(Name=name)
    assert (group["Arn"], group["State"]) == (arn, "ACTIVE")
    assert group["CreationDate"] <= group["LastModificationDate"]
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == tags
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "3"}])
    client.untag_resource(ResourceArn=arn, TagKeys=["a", "b"])
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "3"}]
    pages = client.get_paginator("list_schedule_groups").paginate(PaginationConfig={"PageSize": 1})
    names = [group["Name"] for page in pages for group in page["ScheduleGroups"]]
    assert names == sorted(names) and {"default", name} <= set(names)
    assert client.get_schedule_group(Name="default")["State"] == "ACTIVE"
    assert refusal(client.delete_schedule_group, Name="default")[:2] == (400, "ValidationException")
    client.delete_schedule_group(Name=name)
    assert refusal(client.list_tags_for_resource, ResourceArn=arn)[0] == 404
    bad = refusal(client.list_tags_for_resource, ResourceArn=schedule_arn(name))
    assert bad[1] == "ValidationException" and "schedule-group" in bad[2]


def constraint(value, field, text):
    return f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {text}"


PATTERN = "Member must satisfy regular expression pattern: "
INVALID = [
    (dict(ScheduleExpression="cron(0 1 * * * *)"), "Invalid Schedule Expression cron(0 1 * * * *)."),
    (dict(ScheduleExpression="rate(10 seconds)"), "Invalid Schedule Expression rate(10 seconds)."),
    (dict(ScheduleExpression="at(2021-12-31T23:59:59Z)"), "Invalid Schedule Expression at(2021-12-31T23:59:59Z)."),
    (dict(ScheduleExpression="at(2021-12-31T23:59:59)"), "Invalid Schedule Expression at(2021-12-31T23:59:59)."),
    (dict(ScheduleExpressionTimezone="Mars/Olympus"), "Invalid Schedule Expression Timezone Mars/Olympus."),
    (dict(Name="a b"), constraint("a b", "name", PATTERN + "[0-9a-zA-Z-_.]+")),
    (dict(Name="x" * 65), "Member must have length less than or equal to 64"),
    (dict(GroupName="a/b"), constraint("a/b", "groupName", PATTERN + "[0-9a-zA-Z-_.]+")),
    (dict(State="ON"), constraint("ON", "state", "Member must satisfy enum value set: [ENABLED, DISABLED]")),
    (dict(ActionAfterCompletion="KEEP"), "Member must satisfy enum value set: [NONE, DELETE]"),
    (dict(Description="x" * 513), "Member must have length less than or equal to 512"),
    (dict(ClientToken="a b"), constraint("a b", "clientToken", PATTERN + "[a-zA-Z0-9-_]+")),
    (dict(KmsKeyArn=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"), "KmsKeyArn is not supported by this service."),
    (dict(StartDate=1), "The StartDate you specify cannot be earlier than 5 minutes ago."),
    (dict(EndDate=1), "The EndDate you specify cannot be in the past."),
    (dict(StartDate=4e9, EndDate=4e9), "The EndDate you specify must be later than the StartDate."),
    (dict(FlexibleTimeWindow={"Mode": "FLEXIBLE"}), "needs MaximumWindowInMinutes"),
    (dict(FlexibleTimeWindow={"Mode": "OFF", "MaximumWindowInMinutes": 5}), "has no MaximumWindowInMinutes"),
    (dict(FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1441}), "less than or equal to 1440"),
    (dict(FlexibleTimeWindow={"Mode": "ON"}), "Member must satisfy enum value set: [OFF, FLEXIBLE]"),
    (dict(FlexibleTimeWindow=None), "Value null at 'flexibleTimeWindow' failed to satisfy constraint: Member must not be null"),
    (dict(Target=None), "Value null at 'target' failed to satisfy constraint: Member must not be null"),
    (dict(ScheduleExpression=None), "Value null at 'scheduleExpression'"),
]  # fmt: skip
INVALID_TARGETS = [
    (dict(Arn="f"), "Provided Arn is not in correct format."),
    (dict(Arn=QUEUE), "it has to be the ARN of a Lambda function, a version or an alias"),
    (dict(Arn="arn:aws:scheduler:::aws-sdk:lambda:invoke"), "is not supported by this service"),
    (dict(Arn=f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/c"), "is not supported by this service"),
    (dict(Arn="arn:aws:lambda:us-east-1:111111111111:function:f"), f"of the account {ACCOUNT}."),
    (dict(Arn=None), "Value null at 'target.arn'"),
    (dict(RoleArn=None), "Value null at 'target.roleArn'"),
    (dict(RoleArn="r"), r"pattern: arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@\/-]+"),
    (dict(Input="hello"), "has to be well-formed JSON"),
    (dict(Input='"' + "x" * 262_143 + '"'), "262144 bytes at most"),
    (dict(RetryPolicy={"MaximumRetryAttempts": 186}), constraint(186, "target.retryPolicy.maximumRetryAttempts", "Member must have value less than or equal to 185")),
    (dict(RetryPolicy={"MaximumEventAgeInSeconds": 59}), constraint(59, "target.retryPolicy.maximumEventAgeInSeconds", "Member must have value greater than or equal to 60")),
    (dict(DeadLetterConfig={"Arn": "q"}), r"pattern: arn:aws[a-z-]*:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+"),
    (dict(DeadLetterConfig={"Arn": "arn:aws:http:::webhook"}), "webhook_url is not configured"),
    (dict(SqsParameters={"MessageGroupId": "g"}), "SqsParameters does not belong to the target"),
]  # fmt: skip


@pytest.mark.parametrize("wrong, message", INVALID + [({"Target": wrong}, told) for wrong, told in INVALID_TARGETS])
def test_what_is_wrong_is_told(service, client, wrong, message):
    good = asked("valid")
    target = good["Target"]
    if isinstance(wrong.get("Target"), dict):
        wrong = {"Target": {k: v for k, v in {**target, **wrong["Target"]}.items() if v is not None}}
    body = {k: v for k, v in {**good, **wrong}.items() if v is not None}
    # Past the client's own checks, which know most of the model.
    path = f"/schedules/{body.pop('Name').replace(' ', '%20')}"
    for method in ("POST", "PUT"):
        answer = service.http(method, path, json.dumps(body).encode())
        if method == "PUT" and (set(wrong) & {"StartDate", "EndDate"} or "at(2021-12-31T23:59:59)" in wrong.values()):
            # Whether the time has passed is seen where there is a schedule to change.
            assert answer.status == 404
            continue
        assert (answer.status, answer.error_type) == (400, "ValidationException"), answer.body
        assert message in answer.json()["Message"]
    assert client.list_schedules(NamePrefix="valid")["Schedules"] == []


def test_what_is_no_request_is_told(service):
    for body in (b"{", b"[]", b'{"ScheduleExpression": 5}', b'{"Target": "x"}', b'{"StartDate": "soon"}'):
        answer = service.http("POST", "/schedules/x", body)
        assert (answer.status, answer.error_type) == (400, "SerializationException"), body
    assert service.http("POST", "/schedules/%ff", b"{}").status == 400
    assert service.http("PATCH", "/schedules/x").status == 405
    assert service.http("GET", "/schedules/a/b").status == 404
    assert service.http("POST", "/schedules/x", b"x" * (3 << 20)).status == 413
    assert service.http("GET", "/schedules?MaxResults=x").status == 400
    answer = service.http("GET", "/schedules?MaxResults=101&State=ON&NamePrefix=%20")
    assert answer.json()["Message"].startswith("3 validation errors detected: ")


def test_there_are_as_many_as_may_be(make_service):
    service = make_service(schedules={"max_schedules": 1})
    client = service.boto("scheduler")
    client.create_schedule(**asked("one"))
    status, code, message = refusal(client.create_schedule, **asked("two"))
    assert (status, code) == (402, "ServiceQuotaExceededException") and "max_schedules" in message
    client.update_schedule(**asked("one", State="DISABLED"))


def test_awscli_makes_changes_and_deletes_them(service, name):
    def scheduler(operation, *arguments, **options):
        return aws(service, operation, *arguments, command="scheduler", **options)

    target = json.dumps({"Arn": function_arn("f"), "RoleArn": ROLE, "Input": "{}"})
    made = ["--name", name, "--flexible-time-window", "Mode=OFF", "--target", target]
    done = scheduler("create-schedule", "--schedule-expression", "cron(0 9 ? * MON-FRI *)", *made)
    assert json.loads(done.stdout) == {"ScheduleArn": schedule_arn(name)}
    zone = ["--schedule-expression-timezone", "Europe/Berlin", "--start-date", "2190-01-01T00:00:00Z"]
    scheduler("update-schedule", "--schedule-expression", "rate(5 minutes)", *made, *zone)
    found = json.loads(scheduler("get-schedule", "--name", name).stdout)
    assert found["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert found["StartDate"] == datetime(2190, 1, 1, tzinfo=timezone.utc).timestamp()
    listed = json.loads(scheduler("list-schedules", "--name-prefix", name).stdout)["Schedules"]
    assert [one["Name"] for one in listed] == [name]
    scheduler("delete-schedule", "--name", name)
    missing = scheduler("get-schedule", "--name", name, check=False)
    assert missing.returncode != 0 and f"Schedule {name} does not exist." in missing.stderr


# Running.


def test_a_schedule_runs_a_function_in_a_container(service, client, image, serve, name):
    """With its Input and its context attributes; its outcome goes where that of any event goes."""
    service.create(name, image, Timeout=10)
    sink = serve(f"{name}-sink")
    service.boto().put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": function_arn(sink.name)}}
    )
    expression, moment = at(2)
    client.create_schedule(
        **asked(name, expression, name, {"Input": json.dumps(INPUT)}, ActionAfterCompletion="DELETE")
    )
    record = wait_for(lambda: sink.taken, 60, "the record of the run")[0].json()
    event = record["responsePayload"]["event"]
    assert event == {
        "arn": schedule_arn(name),
        "time": moment,
        "id": record["requestContext"]["requestId"],
        "attempt": "1",
    }
    # It is over, and it was to go then.
    wait_for(lambda: not client.list_schedules(NamePrefix=name)["Schedules"], 20, "the schedule is deleted")


def test_a_rate_runs_at_once_and_is_awss_notification_without_an_input(service, client, serve, name):
    function = serve(name)
    client.create_schedule(**asked(name, "rate(1 hour)", name))
    taken = wait_for(lambda: function.taken, 20, "the first run")[0]
    assert list(taken.json()) == [
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    ]  # fmt: skip
    assert taken.json() | {"time": 0} == {
        "version": "0",
        "id": taken.id,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT,
        "time": 0,
        "region": REGION,
        "resources": [schedule_arn(name)],
        "detail": "{}",
    }
    assert taken.headers["lambda-runtime-trace-id"].startswith("Root=1-")
    client.delete_schedule(Name=name)


def test_a_schedule_of_an_alias_runs_its_version(service, client, image, serve, name):
    service.create(name, image, Timeout=10)
    functions = service.boto()
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    sink = serve(f"{name}-sink")
    functions.put_function_event_invoke_config(
        FunctionName=name,
        Qualifier="live",
        DestinationConfig={"OnSuccess": {"Destination": function_arn(sink.name)}},
    )
    client.create_schedule(**asked(name, "rate(1 day)", f"{name}:live", {"Input": "{}"}))
    record = wait_for(lambda: sink.taken, 60, "the record of the run")[0].json()
    assert record["requestContext"]["functionArn"] == f"{function_arn(name)}:live"
    assert record["responseContext"]["executedVersion"] == "1"


def test_what_is_disabled_does_not_run(client, serve, name):
    off, on = serve(f"{name}-off"), serve(f"{name}-on")
    expression, _ = at(1)
    client.create_schedule(**asked(off.name, expression, off.name, State="DISABLED"))
    client.create_schedule(**asked(on.name, expression, on.name))
    # What comes later tells that the other would have come.
    wait_for(lambda: on.taken, 20, "the enabled one has run")
    later = serve(f"{name}-later")
    client.create_schedule(**asked(later.name, at(1)[0], later.name))
    wait_for(lambda: later.taken, 20, "a later one has run")
    assert off.taken == []
    client.update_schedule(**asked(off.name, at(1)[0], off.name))
    wait_for(lambda: off.taken, 20, "it runs once it is enabled")


def test_retries_and_dead_letters_are_the_schedules(service, client, serve, name):
    def fail(taken):
        raise Failure("no luck")

    once, thrice = serve(f"{name}-once", fail), serve(f"{name}-thrice", fail)
    policy = {"RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {"Arn": QUEUE}}
    client.create_schedule(**asked(once.name, "rate(1 day)", once.name, {"Input": "1", **policy}))
    # The function's own number of tries is AWS's, however many the schedule has.
    client.create_schedule(**asked(thrice.name, "rate(1 day)", thrice.name, {"Input": "2"}))
    for function, tries, queue in ((once, 1, QUEUE), (thrice, 3, None)):
        (letter,) = wait_for(lambda: letters(service, function.name), 30, "a dead letter")
        assert letter["record"]["requestContext"]["approximateInvokeCount"] == tries
        assert letter["destination"] == queue
        assert len(function.taken) == tries


def test_a_function_that_is_not_there_is_a_dead_letter(service, client, name):
    client.create_schedule(**asked(name, "rate(1 day)", name, {"DeadLetterConfig": {"Arn": QUEUE}}))
    (letter,) = wait_for(lambda: letters(service, name), 30, "a dead letter")
    assert letter["record"]["requestContext"]["condition"] == "FunctionNotFound"
    assert letter["record"]["requestPayload"]["source"] == "aws.scheduler"


def test_a_flexible_window_keeps_the_scheduled_time(client, serve, name):
    function = serve(name)
    expression, moment = at(1)
    window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1}
    client.create_schedule(
        **asked(name, expression, name, {"Input": json.dumps(INPUT)}) | {"FlexibleTimeWindow": window}
    )
    taken = wait_for(lambda: function.taken, 90, "the run, within its minute")[0]
    assert taken.json()["time"] == moment


# The service comes and goes.


def test_runs_that_were_missed(make_service, name):
    """A run is missed when the service comes a minute after it: two services wait for that together."""
    services = {missed: make_service(schedules={"missed_runs": missed}) for missed in ("once", "skip")}
    for service in services.values():
        soon = asked(name, at(3)[0], name, {"Input": json.dumps(INPUT)})
        service.boto("scheduler").create_schedule(**soon)
        service.stop()
    time.sleep(65)
    for service in services.values():
        service.start()
    once, skip = services["once"], services["skip"]
    # There is no such function, so what has run is a dead letter.
    (letter,) = wait_for(lambda: letters(once, name), 20, "the missed run")
    event = letter["record"]["requestPayload"]
    assert event["arn"] == schedule_arn(name)
    assert f"schedule {REGION}/default/{name}: the missed run of {event['time']} runs now" in once.log()
    wait_for(lambda: figures(skip)["counts"]["runs_skipped"] == 1, 20, "it is skipped")
    assert f"schedule {REGION}/default/{name}: 1 missed runs are skipped" in skip.log()
    assert letters(skip, name) == []
    assert [figures(one)["counts"]["runs_missed"] for one in (once, skip)] == [1, 1]


def test_schedules_survive_kill_9(make_service, serve, name):
    """Killed at any moment, what was answered is there, and each run comes: with one id, however often."""
    service = make_service()
    client = service.boto("scheduler")
    function = serve(name, on=service)
    inputs = {"Input": json.dumps(INPUT)}
    made = []
    for round in range(5):
        for number in range(4):
            made.append(f"{name}-{round}-{number}")
            client.create_schedule(**asked(made[-1], at(number % 2)[0], name, inputs))
        time.sleep(0.25 * round)
        service.kill()
        service.start()
        assert {one["Name"] for one in client.list_schedules()["Schedules"]} == set(made)
    arns = {schedule_arn(one) for one in made}

    def runs():
        return {taken.json()["arn"] for taken in function.taken} == arns

    wait_for(runs, 60, "every schedule has run")
    ids = {}
    for taken in function.taken:
        ids.setdefault(taken.json()["arn"], set()).add(taken.id)
    assert all(len(one) == 1 for one in ids.values())
    assert figures(service)["schedules"] == len(made)


# Who may, and what is told.


def test_strangers_may_not(service):
    """What a container could reach, it may not call."""
    address = docker_cli.gateway(service.network)
    asked_for = [("GET", "/schedules"), ("PUT", "/schedules/x"), ("GET", "/schedule-groups"), ("GET", "/tags/x")]
    for method, path in asked_for:
        answer = wire.request(service.port, method, path, host=address, timeout=10)
        assert (answer.status, answer.error_type) == (403, "AccessDeniedException"), path
        assert "Only processes on the service's own host" in answer.json()["Message"]


def test_figures(service, client, name):
    client.create_schedule(**asked(name))
    told = figures(service)
    assert told["schedules"] >= 1 and told["enabled"] >= 1 and told["groups"] >= 1
    assert told["next_run"] is not None
    metrics = service.http("GET", "/metrics").body.decode()
    for metric in ("schedules", "schedule_runs_started_total", "schedule_next_run_timestamp_seconds"):
        assert f"\nlambda_{metric} " in metrics
    before = told["schedules"]
    client.delete_schedule(Name=name)
    assert figures(service)["schedules"] == before - 1
