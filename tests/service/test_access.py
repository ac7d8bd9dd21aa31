"""Who may call: signatures of boto3 and awscli from elsewhere, policies, keys that come and go, sandboxes' own keys."""

import datetime
import json
import os
import signal
import subprocess
import uuid
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import pytest

import docker_cli
import wire
from harness import REGION, ROLE, binary, environment, wait_for

ACCOUNT = "000000000000"
ADMIN, LIMITED, READER = ("AKIAADMIN", "s3cret/admin+1"), ("AKIALIMITED", "s3cret-limited"), ("AKIAREADER", "s3cret-reader")
CALLER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/caller"
FUNCTIONS = f"arn:aws:lambda:*:{ACCOUNT}:function"


def allow(actions, resources="*"):
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


POLICIES = {
    ADMIN[0]: {"Version": "2012-10-17", "Statement": allow("*")},
    LIMITED[0]: {
        "Version": "2012-10-17",
        "Statement": [
            allow(["lambda:InvokeFunction", "lambda:Get*"], f"{FUNCTIONS}:probe*"),
            allow("lambda:CreateFunction", f"{FUNCTIONS}:team-*"),
            {"Effect": "Deny", "Action": "lambda:InvokeFunction", "Resource": f"{FUNCTIONS}:probe-secret*"},
            allow("scheduler:*"),
        ],
    },
    READER[0]: {"Statement": [allow(["operator:Get*", "logs:Describe*"])]},
}


class Keys:
    """The files of keys and policies, and the section that names them."""

    def __init__(self, directory):
        self.directory = directory
        for key_id, secret in (ADMIN, LIMITED, READER):
            self.write(f"{key_id}.secret", secret + "\n", 0o600)
            self.write(f"{key_id}.json", json.dumps(POLICIES[key_id]))
        self.write("caller.json", json.dumps({"Statement": allow("lambda:InvokeFunction", f"{FUNCTIONS}:probe")}))

    def write(self, name, text, mode=0o644):
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)

    def section(self, *ids, **more):
        return {
            "keys": [
                {
                    "access_key_id": key_id,
                    "secret_file": str(self.directory / f"{key_id}.secret"),
                    "policy_file": str(self.directory / f"{key_id}.json"),
                }
                for key_id in ids
            ],
            "roles": [{"arn": CALLER_ROLE, "policy_file": str(self.directory / "caller.json")}],
            **more,
        }


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def service(make_module_service, keys):
    service = make_module_service(auth=keys.section(ADMIN[0], LIMITED[0], READER[0]))
    service.remote = remote(service)
    return service


def remote(service):
    """The service's address as seen from elsewhere: this host calls it from the network's gateway."""
    gateway = docker_cli.docker(
        "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", service.network
    ).strip()  # fmt: skip
    return f"http://{gateway}:{service.port}"


@pytest.fixture(scope="module")
def probe(service, image):
    return service.create("probe", image, Timeout=20, MemorySize=256)


def error(call, *arguments, **options):
    """Status, name and message of the error that a call of boto3 raises."""
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(*arguments, **options)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def raw(service, method, path, headers=None, body=None):
    host, port = service.remote.removeprefix("http://").split(":")
    return wire.request(int(port), method, path, body, headers, host=host)


def reload(service, **auth):
    """Writes another section and has the service read it."""
    before = service.log().count("SIGHUP: ")
    service.configure(auth=auth)
    service.signal(signal.SIGHUP)
    wait_for(lambda: service.log().count("SIGHUP: ") > before, 10, "the keys are read again")


def test_boto3_invokes_and_manages_from_elsewhere(service, probe):
    client = service.boto(url=service.remote, key=ADMIN)
    answer = client.invoke(FunctionName="probe", Payload=b'{"op": "length", "data": "abc"}', LogType="Tail")
    assert json.loads(answer["Payload"].read()) == 3 and answer["LogResult"]
    names = [function["FunctionName"] for function in client.list_functions()["Functions"]]
    assert "probe" in names
    large = json.dumps({"op": "length", "data": "x" * 2_000_000}).encode()
    assert json.loads(client.invoke(FunctionName="probe", Payload=large)["Payload"].read()) == 2_000_000
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:probe"
    answer = client.invoke(FunctionName=arn, Qualifier="$LATEST", InvocationType="Event")
    assert answer["StatusCode"] == 202
    logs = service.boto("logs", url=service.remote, key=ADMIN)
    assert logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/probe")["logGroups"]
    scheduler = service.boto("scheduler", url=service.remote, key=ADMIN)
    scheduler.create_schedule(
        Name="s", ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"}, State="DISABLED",
        Target={"Arn": arn, "RoleArn": ROLE},
    )  # fmt: skip
    assert scheduler.get_schedule(Name="s")["Name"] == "s"
    scheduler.delete_schedule(Name="s")


def test_awscli_signs_what_it_sends(service, probe, tmp_path):
    done = subprocess.run(
        [
            os.path.join(os.path.dirname(os.sys.executable), "aws"), "lambda", "invoke", "--function-name", "probe",
            "--payload", '{"op": "length", "data": "four"}', tmp_path / "out",
        ],
        capture_output=True, text=True, timeout=60,
        env=environment(
            AWS_ENDPOINT_URL=service.remote, AWS_ACCESS_KEY_ID=ADMIN[0], AWS_SECRET_ACCESS_KEY=ADMIN[1],
            AWS_DEFAULT_REGION=REGION, AWS_CONFIG_FILE="/dev/null", AWS_PAGER="",
        ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "4"


def test_strangers_and_wrong_signatures_are_refused_as_by_aws(service, probe):
    invocations = "/2015-03-31/functions/probe/invocations"
    answer = raw(service, "POST", invocations, body=b"{}")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    assert answer.json()["message"] == "Missing Authentication Token"
    assert raw(service, "GET", "/health").status == 200
    answer = raw(service, "POST", invocations, {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, b"{}")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "IncompleteSignatureException")

    wrong = service.boto(url=service.remote, key=(ADMIN[0], "wrong"))
    status, name, message = error(wrong.invoke, FunctionName="probe")
    assert (status, name) == (403, "InvalidSignatureException")
    assert message.startswith("The request signature we calculated does not match the signature you provided.")
    unknown = service.boto(url=service.remote, key=("AKIANOBODY", "x"))
    told = "The security token included in the request is invalid."
    assert error(unknown.invoke, FunctionName="probe") == (403, "UnrecognizedClientException", told)
    token = service.boto(url=service.remote, key=ADMIN, token="more")
    assert error(token.invoke, FunctionName="probe")[1] == "UnrecognizedClientException"
    logs = service.boto("logs", url=service.remote, key=(ADMIN[0], "wrong"))
    assert error(logs.describe_log_groups)[:2] == (400, "InvalidSignatureException")
    for secret in (ADMIN[1], LIMITED[1], READER[1]):
        assert secret not in service.log()


@pytest.mark.parametrize("minutes, told", [(-6, "Signature expired: "), (6, "Signature not yet current: "), (4, None)])
def test_clocks_may_be_five_minutes_apart(service, probe, minutes, told):
    client = service.boto(url=service.remote, key=ADMIN)
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)):
        if told is None:
            client.get_function_configuration(FunctionName="probe")
            return
        status, name, message = error(client.get_function_configuration, FunctionName="probe")
    assert (status, name) == (403, "InvalidSignatureException") and message.startswith(told)


def signed(service, method, path, key=ADMIN, body=b"", presigned=0, name="lambda", headers=None, token=None):
    """A request as botocore signs it, in the header or (for `presigned` seconds) in the query: URL and headers."""
    credentials = botocore.credentials.Credentials(*key, token)
    request = botocore.awsrequest.AWSRequest(
        method, f"{service.remote}{path}", data=body, headers={"Host": service.remote[7:], **(headers or {})}
    )
    if presigned:
        botocore.auth.SigV4QueryAuth(credentials, name, REGION, presigned).add_auth(request)
    else:
        botocore.auth.SigV4Auth(credentials, name, REGION).add_auth(request)
    return request.url.removeprefix(service.remote), dict(request.headers)


def test_a_presigned_url_is_good_for_its_request_and_its_time(service, probe):
    path = "/2015-03-31/functions/probe"
    url, _ = signed(service, "GET", path, presigned=60)
    assert raw(service, "GET", url).status == 200
    assert raw(service, "DELETE", url).json()["message"].startswith("The request signature we calculated")
    assert raw(service, "GET", url.replace("/probe?", "/probe/configuration?")).status == 403
    before = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - datetime.timedelta(seconds=61)
    with mock.patch("botocore.auth.get_current_datetime", return_value=before):
        url, _ = signed(service, "GET", path, presigned=60)
    assert raw(service, "GET", url).json()["message"].startswith("Signature expired: ")


def test_an_unsigned_payload_has_to_be_said_by_the_signature(service, probe):
    path = "/2015-03-31/functions/probe/invocations"
    url, headers = signed(service, "POST", path, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    for data in ("a", "abc"):
        body = json.dumps({"op": "length", "data": data}).encode()
        assert raw(service, "POST", url, headers, body).json() == len(data)
    url, headers = signed(service, "POST", path, body=b"{}")
    assert raw(service, "POST", url, headers, b"{}").status == 200
    assert raw(service, "POST", url, headers, b"[]").status == 403
    assert raw(service, "POST", url, {**headers, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"[]").status == 403
    assert raw(service, "POST", url, {**headers, "X-Amz-Invocation-Type": "Event"}, b"{}").status == 403


def test_a_key_may_do_what_its_policy_says(service, probe, image):
    client = service.boto(url=service.remote, key=LIMITED)
    assert client.invoke(FunctionName="probe", Payload=b"{}")["StatusCode"] == 200
    assert client.get_function(FunctionName="probe")
    user = f"User: arn:aws:iam::{ACCOUNT}:user/{LIMITED[0]} is not authorized to perform: "

    def denied(call, action, resource, why=None, **options):
        told = why or f"because no identity-based policy allows the {action} action"
        expected = (403, "AccessDeniedException", f"{user}{action} on resource: {resource} {told}")
        assert error(call, **options) == expected

    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
    denied(client.list_functions, "lambda:ListFunctions", "*")
    denied(client.delete_function, "lambda:DeleteFunction", f"{arn}:probe", FunctionName="probe")
    denied(client.invoke, "lambda:InvokeFunction", f"{arn}:other", FunctionName="other")
    deny = "with an explicit deny in an identity-based policy"
    denied(client.invoke, "lambda:InvokeFunction", f"{arn}:probe-secret", deny, FunctionName="probe-secret")
    create = {"Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": image}}
    denied(client.create_function, "lambda:CreateFunction", f"{arn}:mine", FunctionName="mine", **create)
    name = f"team-{uuid.uuid4().hex[:6]}"
    assert client.create_function(FunctionName=name, **create)["FunctionName"] == name
    service.boto().delete_function(FunctionName=name)
    # What others would do for the caller is the caller's doing.
    passed = {**create, "Role": CALLER_ROLE}
    denied(client.create_function, "iam:PassRole", CALLER_ROLE, FunctionName=name, **passed)
    scheduler = service.boto("scheduler", url=service.remote, key=LIMITED)
    target = {"Arn": f"{arn}:other", "RoleArn": ROLE}
    denied(
        scheduler.create_schedule, "lambda:InvokeFunction", f"{arn}:other", Name="s", Target=target,
        ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"},
    )  # fmt: skip


def test_the_whole_table_by_requests(service, probe):
    """Each surface, asked by each kind of caller; the sandbox's requests are sent by a function."""
    printed = subprocess.run([binary(), "--print-access"], capture_output=True, text=True, check=True, cwd="/").stdout
    rows = {line.split()[0]: line for line in printed.splitlines() if line and not line[0].isspace()}
    logs = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"}
    surfaces = {
        "health": ("GET", "/health", {}, b"", "lambda"),
        "status": ("GET", "/status", {}, b"", "lambda"),
        "metrics": ("GET", "/metrics", {}, b"", "lambda"),
        "runtime": ("POST", f"/2018-06-01/runtime/invocation/{uuid.uuid4()}/response", {}, b"{}", "lambda"),
        "control": ("GET", "/2015-03-31/functions", {}, b"", "lambda"),
        "invoke": ("POST", "/2015-03-31/functions/probe/invocations", {}, b"{}", "lambda"),
        "logs": ("POST", "/", logs, b"{}", "logs"),
        "scheduler": ("GET", "/schedules", {}, b"", "scheduler"),
        "queue": ("GET", "/queue", {}, b"", "lambda"),
    }
    assert set(surfaces) | {"hostfiles"} <= set(rows), printed
    for surface, (method, path, headers, body, name) in surfaces.items():
        found = {"loopback": service.http(method, path, body or None, headers).status}
        found["stranger"] = raw(service, method, path, headers, body or None).status
        url, with_signature = signed(service, method, path, ADMIN, body, name=name, headers=headers)
        found["signed"] = raw(service, method, url, with_signature, body or None).status
        url, with_signature = signed(service, method, path, READER, body, name=name, headers=headers)
        found["limited"] = raw(service, method, url, with_signature, body or None).status
        found["sandbox"] = from_sandbox(service, method, path, headers, body)
        refused = 400 if surface == "logs" else 403
        open_to_all = surface == "health"
        # An id that nobody has is told by 400: the caller was let in.
        good = 400 if surface == "runtime" else 200
        expected = {
            "loopback": good,
            "stranger": good if open_to_all or surface == "runtime" else refused,
            "signed": good,
            "limited": good if surface in ("health", "status", "metrics", "queue", "logs", "runtime") else refused,
            "sandbox": good if open_to_all or surface == "runtime" else refused,
        }
        assert found == expected, surface


def from_sandbox(service, method, path, headers, body, name="probe"):
    """The status of a request that a sandbox sends from its own address."""
    host = service.remote.removeprefix("http://")
    lines = {"Host": host, **headers, "Content-Length": str(len(body)), "Connection": "close"}
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    event = {"op": "send", "address": host, "text": f"{text}\r\n{body.decode()}"}
    answer = service.invoke(name, event).json()
    assert isinstance(answer, str), answer
    return int(answer.split()[1])


def test_a_sandbox_may_invoke_with_its_own_key_and_no_more(service, probe, image):
    service.create("caller", image, Role=CALLER_ROLE, Timeout=20, MemorySize=128)
    variables = service.invoke("caller", {"op": "env"}).json()
    assert variables["AWS_ENDPOINT_URL_LAMBDA"] == service.remote
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    key = (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    token = variables["AWS_SESSION_TOKEN"]
    assert "AWS_SESSION_TOKEN" not in service.invoke("probe", {"op": "env"}).json(), "its role allows nothing"

    def call(path, sender="caller", method="POST", name="lambda"):
        body = b"{}" if method == "POST" else b""
        url, headers = signed(service, method, path, key, body, name=name, token=token)
        return from_sandbox(service, method, url, headers, body, sender)

    assert call("/2015-03-31/functions/probe/invocations") == 200
    assert call("/2015-03-31/functions/caller/invocations") == 403, "its role does not allow that"
    assert call("/2015-03-31/functions/probe", method="GET") == 403, "its key is for Invoke alone"
    assert call("/2015-03-31/functions/probe/invocations", "probe") == 403, "it is another sandbox's"
    url, headers = signed(service, "POST", "/2015-03-31/functions/probe/invocations", key, b"{}", token=token)
    assert raw(service, "POST", url, headers, b"{}").headers["x-amzn-errortype"] == "UnrecognizedClientException"
    assert key[1] not in service.log() and token not in service.log()

    # The key's life is its sandbox's: the next one of the function has another.
    service.invoke("caller", {"op": "exit"})
    fresh = service.invoke("caller", {"op": "env"}).json()
    assert fresh["AWS_ACCESS_KEY_ID"] != key[0]
    assert call("/2015-03-31/functions/probe/invocations") == 403


def test_without_keys_a_stranger_is_told_what_to_do(make_service):
    service = make_service()
    service.remote = remote(service)
    answer = raw(service, "GET", "/2015-03-31/functions")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert "configure an access key" in answer.json()["Message"]


def test_keys_come_and_go_at_sighup_and_loopback_can_be_closed(make_service, keys, tmp_path):
    service = make_service(auth=keys.section(ADMIN[0]))
    service.remote = remote(service)
    admin, limited = (service.boto(url=service.remote, key=key) for key in (ADMIN, LIMITED))
    assert admin.get_account_settings()
    assert error(limited.get_function, FunctionName="probe")[1] == "UnrecognizedClientException"
    reload(service, **keys.section(LIMITED[0]))
    assert error(admin.get_account_settings)[1] == "UnrecognizedClientException"
    assert error(limited.get_function, FunctionName="probe")[1] == "ResourceNotFoundException"

    # What cannot be read changes nothing.
    broken = Keys(tmp_path)
    broken.write(f"{ADMIN[0]}.secret", ADMIN[1], 0o644)
    reload(service, **broken.section(ADMIN[0]))
    assert "readable by its owner alone (chmod 600)" in service.log()
    assert error(limited.get_function, FunctionName="probe")[1] == "ResourceNotFoundException"

    assert service.http("GET", "/status").status == 200
    reload(service, **keys.section(ADMIN[0], require_signature="always"))
    assert service.http("GET", "/health").status == 200
    for path in ("/status", "/queue", "/2015-03-31/functions", "/2018-06-01/runtime/invocation/next"):
        assert service.http("GET", path).status == 403, path
    assert service.boto(key=ADMIN).get_account_settings()
    queue = [binary(), "queue", "list", "--config", service.config_path]
    done = subprocess.run(queue, capture_output=True, text=True, timeout=60, env=environment(), cwd="/")
    assert done.returncode == 1 and "Missing Authentication Token" in done.stderr, done
    key = environment(AWS_ACCESS_KEY_ID=ADMIN[0], AWS_SECRET_ACCESS_KEY=ADMIN[1])
    done = subprocess.run(queue, capture_output=True, text=True, timeout=60, env=key, cwd="/")
    assert done.returncode == 0 and done.stdout.startswith("FUNCTION"), done


def test_who_comes_through_a_proxy_is_no_process_of_this_host(make_service, keys):
    service = make_service(auth=keys.section(ADMIN[0]))
    reload(service, **keys.section(ADMIN[0], trusted_proxies=["127.0.0.1"]))
    for path in ("/status", "/2015-03-31/functions", "/2018-06-01/runtime/invocation/next"):
        assert service.http("GET", path, headers={"X-Forwarded-For": "127.0.0.1"}).status == 403, path
    assert service.boto(key=ADMIN).get_account_settings()
    assert service.http("GET", "/status", source="127.0.0.3").status == 200


def test_the_audit_log_names_the_key(make_service, keys, tmp_path):
    service = make_service(auth=keys.section(ADMIN[0], LIMITED[0]), audit={"path": str(tmp_path / "audit")})
    service.remote = remote(service)
    service.boto(url=service.remote, key=ADMIN).list_functions()
    error(service.boto(url=service.remote, key=LIMITED).list_functions)
    error(service.boto(url=service.remote, key=(ADMIN[0], "wrong")).list_functions)

    def lines():
        (file,) = (tmp_path / "audit").glob("*.jsonl")
        told = map(json.loads, file.read_text().splitlines())
        return [line for line in told if line["event"] in ("call", "refused")]

    called, denied, forged = wait_for(lambda: len(lines()) == 3 and lines(), 10, "three calls in the audit log")
    assert (called["action"], called["who"]["kind"], called["who"]["key"]) == ("lambda:ListFunctions", "signed", ADMIN[0])
    assert (denied["error"], denied["who"]["key"]) == ("AccessDeniedException", LIMITED[0])
    # What nobody has proved is not told of anybody.
    assert (forged["error"], forged["who"]["kind"]) == ("InvalidSignatureException", "stranger")
    assert "key" not in forged["who"]
