"""The audit log: a line for each call, invocation and sandbox, whole after crashes, and what `audit verify` finds."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from datetime import datetime, timedelta, timezone

import botocore.exceptions
import pytest

import docker_cli
import wire
from harness import REGION, ROLE, binary, environment, wait_for
from served import Failure, Served

ARN = f"arn:aws:lambda:{REGION}:000000000000:function"
EVENT = {"X-Amz-Invocation-Type": "Event"}
LOOPBACK = {"kind": "loopback", "peer": "127.0.0.1"}


def verify(*arguments, code=0):
    """Runs the command as an auditor does: without the service and without a configuration."""
    done = subprocess.run(
        [binary(), "audit", "verify", *arguments],
        capture_output=True, text=True, timeout=60, env=environment(), cwd="/",
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def files(directory):
    return sorted(directory.glob("audit-*.jsonl"))


def lines(directory):
    """Every whole line, read as any reader of JSON would read it."""
    text = b"".join(file.read_bytes() for file in files(directory))
    return [json.loads(line) for line in text.decode("ascii").split("\n")[:-1]]


def told(directory, event, within=10, **members):
    """The lines of this kind with these members, once there is one."""

    def found():
        return [
            line
            for line in lines(directory)
            if line["event"] == event and all(line.get(name) == value for name, value in members.items())
        ]

    return wait_for(found, within, f"a line {event} with {members} among {lines(directory)[-20:]}")


def sha256(payload):
    return hashlib.sha256(payload).hexdigest()


@pytest.fixture
def name():
    return f"f{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def service(make_module_service, tmp_path_factory):
    directory = tmp_path_factory.mktemp("audit") / "log"
    service = make_module_service(audit={"path": str(directory)}, asynchronous={"retry_delay_ms": 200})
    service.audit = directory
    return service


@pytest.fixture
def audited(make_service, tmp_path):
    """A service of the test's own, whose log is `service.audit`."""

    def make(start=True, auth=None, **audit):
        path = audit.pop("path", tmp_path / "log")
        service = make_service(start=False, audit={"path": str(path), **audit}, auth=auth or {})
        service.audit = path
        return service.start() if start else service

    return make


@pytest.fixture
def serve():
    serving = []

    def start(service, name, *arguments, **options):
        serving.append(Served(service.port, name, *arguments, **options))
        known = f"/{name}/"
        wait_for(lambda: known in service.http("GET", "/status").body.decode(), 10, f"{name} is known")
        return serving[-1]

    yield start
    for one in serving:
        one.close()


def test_every_control_call_has_its_line(service, image, name):
    client = service.boto()
    service.create(name, image, {"SECRET": "hunter2-in-the-environment"})
    call = told(service.audit, "call", action="lambda:CreateFunction", resource=name)[0]
    assert (call["status"], call["region"], call["who"]) == (201, REGION, LOOPBACK)
    assert "error" not in call
    with pytest.raises(botocore.exceptions.ClientError):
        client.create_function(
            FunctionName=name, Role=ROLE, PackageType="Image", Code={"ImageUri": image}, Description="again"
        )
    failed = told(service.audit, "call", action="lambda:CreateFunction", resource=name, status=409)[0]
    assert failed["error"] == "ResourceConflictException"
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.get_function(FunctionName=name, Qualifier="live")
    client.delete_alias(FunctionName=name, Name="live")
    assert told(service.audit, "call", action="lambda:PublishVersion", resource=name, status=201)
    assert told(service.audit, "call", action="lambda:GetFunction", resource=f"{name}:live", status=200)
    assert told(service.audit, "call", action="lambda:DeleteAlias", resource=f"{name}/live", status=204)

    service.boto("logs").create_log_group(logGroupName=f"/x/{name}")
    assert told(service.audit, "call", action="logs:CreateLogGroup", resource=f"/x/{name}", status=200)
    service.boto("scheduler").create_schedule_group(Name=name)
    assert told(service.audit, "call", action="scheduler:CreateScheduleGroup", resource=name, status=200)
    assert service.http("POST", f"/queue/retry?function={name}").status == 200
    assert told(service.audit, "call", action="queue:Retry", resource=name, status=200)
    assert service.http("PUT", f"/packages/{'0' * 64}", b"no such content").status == 400
    assert told(service.audit, "call", action="packages:Put", resource="0" * 64, status=400)
    client.delete_function(FunctionName=name)
    assert told(service.audit, "call", action="lambda:DeleteFunction", resource=name, status=204)
    everything = b"".join(file.read_bytes() for file in files(service.audit))
    assert b"hunter2" not in everything and b"again" not in everything
    verify(service.audit)


def test_an_invocation_tells_who_what_where_and_how(service, image, name):
    service.create(name, image)
    payload = json.dumps({"token": "s3cr3t-of-the-payload"}).encode()
    answer = wire.invoke(service.port, name, payload)
    done = told(service.audit, "invocation", id=answer.headers["x-amzn-requestid"])
    assert len(done) == 1
    done = done[0]
    assert done["function"] == f"{ARN}:{name}"
    assert (done["version"], done["source"], done["outcome"]) == ("$LATEST", "synchronous", "success")
    assert done["who"] == LOOPBACK
    assert done["payload_sha256"] == sha256(payload) and done["payload_bytes"] == len(payload)
    assert done["answer_bytes"] == len(answer.body)
    assert done["ms"] > 0
    created = told(service.audit, "sandbox", change="created", sandbox=done["sandbox"])[0]
    assert created["container"] in docker_cli.container_ids(service.prefix, label="lambda-runtime-api-server.sandbox")
    assert (created["function"], created["version"]) == (f"{ARN}:{name}", "$LATEST")
    assert told(service.audit, "sandbox", change="initialized", sandbox=done["sandbox"])

    failed = service.invoke(name, {"op": "raise", "message": "s3cr3t-of-the-error"})
    assert told(service.audit, "invocation", id=failed.headers["x-amzn-requestid"], outcome="function-error")
    died = service.invoke(name, {"op": "exit", "code": 3})
    died = told(service.audit, "invocation", id=died.headers["x-amzn-requestid"], outcome="sandbox-died")[0]
    assert told(service.audit, "sandbox", change="ended", sandbox=died["sandbox"])[0]["reason"]
    assert told(service.audit, "sandbox", change="removed", sandbox=died["sandbox"])
    assert b"s3cr3t" not in b"".join(file.read_bytes() for file in files(service.audit))
    verify(service.audit)


def test_a_timeout_and_a_dry_run_are_told(service, image, name):
    service.create(name, image, Timeout=1)
    late = service.invoke(name, {"op": "sleep", "ms": 5000})
    assert told(service.audit, "invocation", id=late.headers["x-amzn-requestid"], outcome="timed-out")
    dry = wire.invoke(service.port, name, headers={"X-Amz-Invocation-Type": "DryRun"})
    assert dry.status == 204
    assert told(service.audit, "call", action="lambda:InvokeFunction", resource=f"{ARN}:{name}", status=204)


def test_an_event_tells_who_has_sent_it_and_each_of_its_tries(service, serve, name):
    def answer(taken):
        if len(function.taken) == 1:
            raise Failure("once more")
        return b"{}"

    function = serve(service, name, answer)
    payload = b'{"a": "s3cr3t-of-the-event"}'
    sent = wire.invoke(service.port, name, payload, EVENT)
    assert sent.status == 202
    id = sent.headers["x-amzn-requestid"]
    accepted = told(service.audit, "accepted", id=id)[0]
    assert (accepted["who"], accepted["payload_sha256"]) == (LOOPBACK, sha256(payload))
    assert told(service.audit, "invocation", id=id, outcome="function-error")
    tried = told(service.audit, "invocation", id=id, outcome="success")[0]
    assert (tried["source"], tried["sandbox"]) == ("asynchronous", "(local)")
    assert "who" not in tried
    assert tried["payload_sha256"] == sha256(payload)


def test_a_scheduled_run_is_told(service, serve, name):
    function = serve(service, name)
    service.boto("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=f"at({datetime.now(timezone.utc) + timedelta(seconds=2):%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": f"{ARN}:{name}", "RoleArn": ROLE, "Input": "{}"},
    )
    wait_for(lambda: function.taken, 20, "the schedule has run")
    run = told(service.audit, "invocation", id=function.taken[0].id)[0]
    assert (run["source"], run["outcome"]) == ("schedule", "success")
    service.boto("scheduler").delete_schedule(Name=name)


def test_what_is_refused_is_told_and_a_flood_of_it_is_counted(service, name):
    gateway = docker_cli.gateway(service.network)
    path = f"/2015-03-31/functions/{name}/invocations"
    assert wire.request(service.port, "POST", path, b"{}", host=gateway, source=gateway).status == 403
    refused = told(service.audit, "refused", path=path)[0]
    assert (refused["who"]["kind"], refused["status"]) == ("stranger", 403)
    assert refused["who"]["peer"] != "127.0.0.1"
    assert (refused["error"], refused["method"]) == ("AccessDeniedException", "POST")
    # Names that are none, as somebody would choose them who wants to forge lines.
    hostile = f"/2015-03-31/functions/{name}%0A%1b[31m\\\"}},{{\"n\":1}}/invocations"
    assert wire.request(service.port, "POST", hostile, b"{}").status in (400, 404)
    assert told(service.audit, "refused", path=hostile)
    long = "/" + "y" * 10_000
    assert wire.request(service.port, "GET", long).status == 404
    paths = lambda: [line["path"] for line in lines(service.audit) if line.get("path", "").startswith("/yy")]
    [cut] = wait_for(paths, 10, "the long path has its line")
    assert len(cut) < 600 and cut.endswith("(10001 bytes in all)")
    assert wire.invoke(service.port, name, b"no json", EVENT).status in (400, 404)
    runtime = wire.Runtime(service.port, name)
    assert runtime.respond(uuid.uuid4(), b"{}").status == 400
    assert told(service.audit, "refused", error="InvalidRequestID")

    before = sum(line["calls"] for line in lines(service.audit) if line["event"] == "refused-more")
    for _ in range(300):
        wire.request(service.port, "GET", f"/flood/{name}", host=gateway, source=gateway)

    def counted():
        found = lines(service.audit)
        single = sum(line["event"] == "refused" and line["path"] == f"/flood/{name}" for line in found)
        more = sum(line["calls"] for line in found if line["event"] == "refused-more") - before
        return single + more == 300 and more > 0

    wait_for(counted, 10, "each of 300 refused calls has a line or is counted")
    verify(service.audit)


def test_a_signed_call_has_its_key_and_a_wrong_signature_has_none(audited, tmp_path):
    (tmp_path / "secret").write_text("the-secret-of-the-key")
    (tmp_path / "secret").chmod(0o600)
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    (tmp_path / "policy").write_text(json.dumps({"Version": "2012-10-17", "Statement": [everything]}))
    (tmp_path / "policy").chmod(0o600)
    files_of_it = {"secret_file": str(tmp_path / "secret"), "policy_file": str(tmp_path / "policy")}
    keys = [{"access_key_id": "AKIDAUDITOR", **files_of_it}]
    service = audited(auth={"keys": keys})
    service.configure(auth={"keys": keys, "require_signature": "always"})
    service.signal(signal.SIGHUP)
    assert told(service.audit, "config-reloaded", what="1 access keys, 0 roles")
    service.boto(key=("AKIDAUDITOR", "the-secret-of-the-key")).get_account_settings()
    call = told(service.audit, "call", action="lambda:GetAccountSettings")[0]
    assert call["who"] == {"kind": "signed", "peer": "127.0.0.1", "key": "AKIDAUDITOR"}
    with pytest.raises(botocore.exceptions.ClientError):
        service.boto(key=("AKIDAUDITOR", "guessed")).get_account_settings()
    refused = told(service.audit, "refused", error="InvalidSignatureException")[0]
    assert "key" not in refused["who"], "who has not signed is not taken for who has"
    assert b"the-secret-of-the-key" not in b"".join(file.read_bytes() for file in files(service.audit))


def test_it_is_for_its_owner_alone_and_no_second_service_may_have_it(service, audited):
    assert service.audit.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in files(service.audit)] == [0o600]
    second = audited(start=False, path=service.audit)
    with pytest.raises(AssertionError, match="is in use by another service"):
        second.start()


def test_a_killed_service_goes_on_with_the_chain(audited, serve, name):
    service = audited()
    function = serve(service, name)
    assert service.invoke(name).status == 200
    told(service.audit, "invocation", outcome="success")
    service.kill()
    assert "open" in verify(service.audit)
    with files(service.audit)[-1].open("ab") as torn:
        torn.write(b'{"n":77,"time":"2026')
    assert "the last line is cut off" in verify(service.audit, code=1)
    service.start()
    recovered = told(service.audit, "recovered")
    assert [line["cut_bytes"] for line in recovered] == [20]
    assert service.stop() == 0
    function.close()
    assert "is closed" in service.log() or "closed" in verify(service.audit)
    found = lines(service.audit)
    assert [line["n"] for line in found] == list(range(1, len(found) + 1))
    assert found[-1]["event"] == "stop"
    assert f"head {found[-1]['hash']}" in service.log(), "from where it can be kept elsewhere"
    verify(service.audit, "--expect", found[-1]["hash"])


def test_what_was_under_way_when_the_service_was_killed_is_known(audited, serve, name):
    service = audited()
    hold = threading.Event()
    function = serve(service, name, lambda taken: hold.wait(30) and b"{}", runtimes=1)
    call = wire.InBackground(service.invoke, name, {"a": "b"})
    under_way = told(service.audit, "under-way", function=f"{ARN}:{name}")
    assert len(under_way) == 1 and under_way[0]["who"] == LOOPBACK
    assert under_way[0]["payload_sha256"] == sha256(b'{"a": "b"}')
    service.kill()
    hold.set()
    with pytest.raises((OSError, http.client.HTTPException)):
        call.result()
    function.close()
    service.start()
    assert service.stop() == 0
    assert not [line for line in lines(service.audit) if line["event"] == "invocation"]
    assert [line["event"] for line in lines(service.audit)].count("under-way") == 1
    verify(service.audit)


def test_a_large_payload_may_go_without_its_hash(audited, serve, name):
    service = audited(max_hashed_kb=1)
    serve(service, name)
    ids = [wire.invoke(service.port, name, json.dumps("x" * size).encode()) for size in (1022, 1023)]
    small, large = (told(service.audit, "invocation", id=answer.headers["x-amzn-requestid"])[0] for answer in ids)
    assert (small["payload_bytes"], large["payload_bytes"]) == (1024, 1025)
    assert small["payload_sha256"] == sha256(json.dumps("x" * 1022).encode())
    assert "payload_sha256" not in large


def test_each_change_is_found_with_its_file_and_line(audited, serve, name, tmp_path):
    service = audited()
    serve(service, name)
    for _ in range(5):
        assert service.invoke(name).status == 200
    assert service.stop() == 0
    [file] = files(service.audit)
    whole = file.read_bytes().splitlines(keepends=True)
    head = json.loads(whole[-1])["hash"]
    assert "closed" in verify(file, "--expect", head)

    def found(changed, *arguments, code=1):
        copy = tmp_path / "copy.jsonl"
        copy.write_bytes(b"".join(changed))
        return verify(copy, *arguments, code=code).replace(str(copy), "FILE")

    changed = [*whole[:3], whole[3].replace(b"success", b"failure"), *whole[4:]]
    assert "FILE:4: was changed" in found(changed)
    assert "FILE:4: 1 lines are missing before it (4 to 4)" in found(whole[:3] + whole[4:])
    assert "FILE:4: 1 lines are missing" in found([*whole[:3], whole[4], whole[3], *whole[5:]])
    assert "FILE:5: stands in the wrong place" in found([*whole[:4], whole[3], *whole[4:]])
    assert "the last line is cut off" in found([*whole[:-1], whole[-1][:-9]])
    assert "FILE:3: is no line of an audit log" in found([*whole[:2], b"hello\n", *whole[2:]])
    # Cut off at the end of a line: only a head that was kept elsewhere tells.
    assert "open" in found(whole[:-2], code=0)
    assert f"no line has the hash {head}" in found(whole[:-2], "--expect", head)
    assert "no line" in found([])
    # What is no audit log, is not there, or makes no sense.
    assert verify(tmp_path / "missing", code=2) == ""
    assert verify(code=2) == "" and verify(file, "--expect", "x", code=2) == ""
    assert verify(tmp_path, code=1) == ""


def test_with_a_key_only_who_has_it_can_write(audited, serve, name, tmp_path):
    key = tmp_path / "key"
    key.write_text("of-the-auditor\n")
    key.chmod(0o600)
    service = audited(key_file=str(key))
    serve(service, name)
    assert service.invoke(name).status == 200
    assert service.stop() == 0
    assert "of-the-auditor" not in service.log()
    verify(service.audit, "--key-file", key)
    assert "hashed with a key that was not given" in verify(service.audit, code=1)
    other = tmp_path / "other"
    other.write_text("guessed")
    assert "hashed with a key that was not given" in verify(service.audit, "--key-file", other, code=1)
    # Somebody without it makes the whole log anew.
    shutil.rmtree(service.audit)
    service.config_path.write_text(service.config_path.read_text().replace('"key_file"', '#"key_file"'))
    service.start()
    assert service.stop() == 0
    verify(service.audit)
    assert "no line is hashed with one" in verify(service.audit, "--key-file", key, code=1)


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", place], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=False)


def fill(disk):
    """Leaves less than a page."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass


def until_refused(service, name):
    """Invokes until the log is full, and gives the ids of what was carried out."""
    done = []
    for _ in range(2000):
        answer = service.invoke(name)
        if answer.status == 503:
            return done, answer
        assert answer.status == 200, answer
        done.append(answer.headers["x-amzn-requestid"])
    raise AssertionError("the disk is full, and calls are still taken")


def test_on_a_full_disk_nothing_is_taken_that_cannot_be_told(audited, serve, name, small_disk):
    service = audited(path=small_disk / "log")
    serve(service, name)
    fill(small_disk)
    done, refused = until_refused(service, name)
    assert refused.error_type == "ServiceUnavailableException" and "retry-after" in refused.headers
    with pytest.raises(botocore.exceptions.ClientError) as error:
        service.boto().list_functions()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert wire.invoke(service.port, name, b"{}", EVENT).status == 503
    assert service.http("GET", "/health").status == 200
    (small_disk / "filler").unlink()
    wait_for(lambda: service.invoke(name).status == 200, 10, "calls are taken again")
    interrupted = told(service.audit, "interrupted")
    assert sum(line["refused_calls"] for line in interrupted) >= 3
    assert service.stop() == 0
    ids = {line["id"] for line in lines(service.audit) if line["event"] == "invocation"}
    assert set(done) <= ids
    verify(service.audit)


def test_with_continue_calls_go_on_while_the_disk_is_full(audited, serve, name, small_disk):
    service = audited(path=small_disk / "log", on_failure="continue")
    serve(service, name)
    fill(small_disk)
    ids = []
    while "the audit log cannot be written" not in service.log():
        ids.append(service.invoke(name).headers["x-amzn-requestid"])
    for _ in range(10):
        answer = service.invoke(name)
        assert answer.status == 200
        ids.append(answer.headers["x-amzn-requestid"])
    (small_disk / "filler").unlink()
    wait_for(lambda: "the audit log is written again" in service.log(), 10, "it is written again")
    assert service.stop() == 0
    told_of = {line["id"] for line in lines(service.audit) if line["event"] == "invocation"}
    assert set(ids) <= told_of, "what waited in memory is there"
    verify(service.audit)


def test_without_a_path_there_is_none(make_service, serve, name):
    service = make_service()
    serve(service, name)
    assert service.invoke(name).status == 200
    assert "audit" not in service.log()
    assert not list(service.directory.rglob("audit-*"))
