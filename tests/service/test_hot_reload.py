"""Functions whose code is a directory of this host: mounted read-only, replaced when its files change, and only where
the configuration allows it."""

import concurrent.futures
import io
import json
import os
import shutil
import subprocess
import zipfile

import botocore.exceptions
import pytest

import docker_cli
import wire
from conftest import build_function
from harness import ROLE, binary, environment, wait_for
from runtime_images import runtime_image

# What is loaded once is that of the sandbox; whether `go` is there it sees at each look.
APP = """
import os, time
import part
def handler(event, context):
    while event.get("wait") and not os.path.exists("/var/task/go"):
        time.sleep(0.01)
    try:
        open("/var/task/written", "w")
    except OSError as error:
        part.SAID["write"] = error.strerror
    return {**part.SAID, "cwd": os.getcwd(), "root": os.environ["LAMBDA_TASK_ROOT"]}
"""


@pytest.fixture(scope="module")
def allowed(tmp_path_factory):
    return tmp_path_factory.mktemp("allowed").resolve()


@pytest.fixture(scope="module")
def tables(run_id, allowed):
    """The configuration of a service that has hot reload."""
    return {
        "development": {"hot_reload_paths": [str(allowed)]},
        "docker": {"base_image": f"{run_id}-base:al2023"},
        "runtimes": {"python3.11": runtime_image(run_id, "python3.11")},
    }


@pytest.fixture(scope="module")
def service(make_module_service, tables):
    return make_module_service(**tables)


@pytest.fixture
def source(allowed, request):
    """A directory with a function that says 1; gone after the test, whatever it has become."""
    path = allowed / request.node.name.replace("[", "-").rstrip("]")
    (path / "part").mkdir(parents=True)
    for directory in (path, path / "part"):
        directory.chmod(0o755)
    (path / "app.py").write_text(APP)
    say(path, 1)
    yield path
    path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)


def say(path, number):
    (path / "part" / "__init__.py").write_text(f"SAID = {{'said': {number}}}\n")


def code(path):
    return {"S3Bucket": "hot-reload", "S3Key": str(path)}


def create(service, name, path, **settings):
    settings = {"Runtime": "python3.11", "Handler": "app.handler", "Timeout": 60, **settings}
    client = service.boto()
    answer = client.create_function(FunctionName=name, Role=ROLE, Code=code(path), **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return answer


def call(service, name, event=None):
    answer = service.boto().invoke(FunctionName=name, Payload=json.dumps(event or {}))
    result = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, result
    return result


def said(service, name):
    return call(service, name)["said"]


def wait_until_said(service, name, number):
    wait_for(lambda: said(service, name) == number, 30, f"{name} says {number}")


def refusal(operation, **arguments):
    """Type and message of an operation that is refused."""
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        operation(**arguments)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def refused_invoke(service, name):
    """The refusal of an invocation; none where it is carried out: on what an old sandbox has left, say."""
    try:
        service.boto().invoke(FunctionName=name)
    except botocore.exceptions.ClientError as refused:
        error = refused.response["Error"]
        return error["Code"], error["Message"]
    return None


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def test_changed_files_are_run_by_the_next_invocations(service, source):
    answer = create(service, "changing", source)
    assert answer["PackageType"] == "Zip" and answer["CodeSize"] == 0
    assert answer["CodeSha256"] == "hot-reloading-hash-not-available"
    first = call(service, "changing")
    assert first == {"said": 1, "write": "Read-only file system", "cwd": "/var/task", "root": "/var/task"}
    got = service.boto().get_function(FunctionName="changing")
    assert got["Code"] == {"RepositoryType": "S3", "Location": f"file://{source}"}
    # A file in a directory below, more than once; then a file that takes another one's place.
    for number in (2, 3):
        say(source, number)
        wait_until_said(service, "changing", number)
    (source / "new").write_text("SAID = {'said': 4}\n")
    os.replace(source / "new", source / "part" / "__init__.py")
    wait_until_said(service, "changing", 4)
    shutil.rmtree(source / "part")
    (source / "part.py").write_text("SAID = {'said': 5}\n")
    wait_until_said(service, "changing", 5)
    assert not (source / "written").exists()


def test_a_running_invocation_finishes_on_the_old_files(service, source):
    create(service, "running", source)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        old = pool.submit(call, service, "running", {"wait": True})
        busy = lambda: service.http("GET", "/status").json()["containers"]["busy"]  # noqa: E731
        wait_for(busy, 30, "the first invocation runs")
        say(source, 2)
        wait_until_said(service, "running", 2)
        assert not old.done()
        (source / "go").touch()
        assert old.result(timeout=60)["said"] == 1
    wait_until_said(service, "running", 2)


def test_a_static_program(service, source):
    shutil.copy(build_function(), source / "bootstrap")
    (source / "bootstrap").chmod(0o755)
    create(service, "static", source, Runtime="provided.al2023")
    assert call(service, "static", {"op": "echo", "n": 1})["event"] == {"op": "echo", "n": 1}


def test_layers_are_beside_it_and_are_none_themselves(service, source):
    client = service.boto()
    layer = client.publish_layer_version(
        LayerName="beside", Content={"ZipFile": zipped({"python/layered.py": "SAID = {'said': 'by the layer'}\n"})}
    )
    say(source, 1)
    create(service, "layered", source, Layers=[layer["LayerVersionArn"]])
    assert said(service, "layered") == 1
    (source / "part" / "__init__.py").write_text("from layered import SAID\n")
    wait_until_said(service, "layered", "by the layer")
    kind, message = refusal(client.publish_layer_version, LayerName="hot", Content=code(source))
    assert kind == "InvalidParameterValueException" and "Hot reload is for functions only" in message


def test_a_function_becomes_one_and_is_one_no_more(service, source):
    client = service.boto()
    package = zipped({"app.py": "def handler(e, c): return {'said': 'from the package'}\n"})
    settings = {"Runtime": "python3.11", "Handler": "app.handler", "Timeout": 60}
    client.create_function(FunctionName="both", Role=ROLE, Code={"ZipFile": package}, Publish=True, **settings)
    waiter = client.get_waiter("function_active_v2")
    waiter.wait(FunctionName="both", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    updated = client.get_waiter("function_updated_v2")
    client.update_function_code(FunctionName="both", **code(source))
    updated.wait(FunctionName="both", WaiterConfig={"Delay": 1})
    assert said(service, "both") == 1
    say(source, 2)
    wait_until_said(service, "both", 2)
    old = client.invoke(FunctionName="both", Qualifier="1")
    assert json.loads(old["Payload"].read()) == {"said": "from the package"}
    client.update_function_code(FunctionName="both", ZipFile=package)
    updated.wait(FunctionName="both", WaiterConfig={"Delay": 1})
    assert said(service, "both") == "from the package"


def test_it_is_not_published(service, source):
    client = service.boto()
    settings = {"Runtime": "python3.11", "Handler": "app.handler"}
    refusals = [
        refusal(
            client.create_function, FunctionName="hot", Role=ROLE, Code=code(source), Publish=True, **settings
        )  # fmt: skip
    ]
    create(service, "hot", source)  # nothing was left of the refused one
    update = {"FunctionName": "hot", "Publish": True, **code(source)}
    refusals += [
        refusal(client.publish_version, FunctionName="hot"),
        refusal(client.update_function_code, **update),
        refusal(client.update_function_code, DryRun=True, **update),
    ]
    for kind, message in refusals:
        assert kind == "InvalidParameterValueException" and "hot-reload function cannot be published" in message
    versions = client.list_versions_by_function(FunctionName="hot")["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST"]


def bad_keys(allowed, tmp_path):
    """What may not be a function's directory, and a part of the sentence that says so."""
    (allowed / "a-file").write_text("")
    (allowed / "closed").mkdir(mode=0o700, exist_ok=True)
    links = {"leads-out": tmp_path, "leads-up": "../..", "leads-nowhere": "nothing", "leads-to-itself": "leads-to-itself"}
    for name, target in links.items():
        if not (allowed / name).is_symlink():
            (allowed / name).symlink_to(target)
    return {
        "outside": (tmp_path, "is not below one that hot_reload_paths"),
        "outside and not there": ("/nonexistent/x", "is not below one that hot_reload_paths"),
        "its name goes on": (f"{allowed}-and-more", "is not below one that hot_reload_paths"),
        "the one above": (allowed.parent, "is not below one that hot_reload_paths"),
        "everything": ("/", "is not below one that hot_reload_paths"),
        "link out": (allowed / "leads-out", "is not below one that hot_reload_paths"),
        "link up": (allowed / "leads-up", "is not below one that hot_reload_paths"),
        "parent": (f"{allowed}/../{tmp_path.name}", "without .. and control characters"),
        "parent that comes back": (f"{allowed}/../{allowed.name}", "without .. and control characters"),
        "relative": (allowed.name, "must be given as an absolute path"),
        "a variable": ("$PWD/src", "must be given as an absolute path"),
        "a line break": (f"{allowed}/a\nb", "without .. and control characters"),
        "a NUL": (f"{allowed}/a\0b", "without .. and control characters"),
        "a file": (allowed / "a-file", "is not a directory"),
        "not there": (allowed / "no", "is not there"),
        "link to nothing": (allowed / "leads-nowhere", "is not there"),
        "link to itself": (allowed / "leads-to-itself", "cannot be reached"),
        "closed": (allowed / "closed", "chmod o+rx"),
    }


def test_directories_that_may_not_be_mounted_are_refused(service, allowed, source, tmp_path):
    client = service.boto()
    create(service, "asked", source)
    settings = {"Runtime": "python3.11", "Handler": "app.handler"}
    for what, (key, sentence) in bad_keys(allowed, tmp_path).items():
        for kind, message in [
            refusal(client.create_function, FunctionName="refused", Role=ROLE, Code=code(key), **settings),
            refusal(client.update_function_code, FunctionName="asked", **code(key)),
            refusal(client.update_function_code, FunctionName="asked", DryRun=True, **code(key)),
        ]:
            assert kind == "InvalidParameterValueException" and sentence in message, f"{what}: {message}"
    kind, message = refusal(
        client.update_function_code, FunctionName="asked", S3ObjectVersion="1", **code(source)
    )  # fmt: skip
    assert kind == "InvalidParameterValueException" and "S3ObjectVersion" in message
    assert refusal(client.get_function, FunctionName="refused")[0] == "ResourceNotFoundException"
    assert said(service, "asked") == 1


def test_a_directory_that_goes_and_comes_again(service, source):
    create(service, "going", source)
    assert said(service, "going") == 1
    shutil.rmtree(source)
    kind, message = wait_for(lambda: refused_invoke(service, "going"), 30, "the directory is missed")
    assert kind == "ResourceConflictException" and message == f'Directory "{source}" is not there.'
    source.mkdir()
    source.chmod(0o755)
    (source / "app.py").write_text("def handler(e, c): return {'said': 'again'}\n")
    wait_until_said(service, "going", "again")


def test_a_directory_that_becomes_a_link_to_elsewhere(service, source, tmp_path):
    create(service, "swapped", source)
    assert said(service, "swapped") == 1
    kept = source.with_name("kept")
    source.rename(kept)
    source.symlink_to(tmp_path)
    try:
        kind, message = wait_for(lambda: refused_invoke(service, "swapped"), 30, "the link is noticed")
    finally:
        shutil.rmtree(kept)
    assert kind == "ResourceConflictException" and "is not below one that hot_reload_paths" in message


def test_a_deleted_function_leaves_nothing_running(service, source):
    create(service, "deleted", source)
    call(service, "deleted")
    service.boto().delete_function(FunctionName="deleted")
    prefix = f"{service.prefix}deleted-"
    wait_for(lambda: not docker_cli.container_ids(prefix), 30, "its container is gone")
    say(source, 2)  # of no interest to anybody, and harmless
    create(service, "deleted", source)
    assert said(service, "deleted") == 2


def test_it_is_kept_over_a_restart_and_refused_when_it_is_not_allowed_any_more(make_service, tables, source):
    service = make_service(**tables)
    create(service, "kept", source)
    service.stop()
    say(source, 2)
    service.start()
    assert said(service, "kept") == 2
    say(source, 3)
    wait_until_said(service, "kept", 3)
    service.stop()
    text = service.config_path.read_text()
    for paths, sentence in [(["/usr"], "is not below one that hot_reload_paths"), ([], "Hot reload is off")]:
        allowed = tables["development"]["hot_reload_paths"]
        service.config_path.write_text(text.replace(json.dumps(allowed), json.dumps(paths)))
        service.start()
        kind, message = refused_invoke(service, "kept")
        assert kind == "ResourceConflictException" and sentence in message
        assert service.boto().get_function(FunctionName="kept")["Configuration"]["State"] == "Active"
        service.stop()


def watcher_threads(service):
    tasks = f"/proc/{service.process.pid}/task"
    return [task for task in os.listdir(tasks) if open(f"{tasks}/{task}/comm").read() == "hot-reload\n"]


def test_it_is_off_unless_it_is_configured(make_service, service, source):
    off = make_service()
    settings = {"Runtime": "python3.11", "Handler": "app.handler"}
    kind, message = refusal(
        off.boto().create_function, FunctionName="off", Role=ROLE, Code=code(source), **settings
    )  # fmt: skip
    assert kind == "InvalidParameterValueException" and "Hot reload is off" in message
    assert len(watcher_threads(service)) == 1 and watcher_threads(off) == []


def test_a_caller_from_elsewhere_is_refused(service, source):
    body = {"FunctionName": "far", "Role": ROLE, "Runtime": "python3.11", "Handler": "a.b", "Code": code(source)}
    answer = wire.request(
        service.port, "POST", "/2015-03-31/functions", json.dumps(body).encode(),
        host=docker_cli.gateway(service.network),
    )  # fmt: skip
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


def test_check_config_names_a_bad_directory(tmp_path):
    config = tmp_path / "config.toml"
    for value, named in [(["/nonexistent/x"], '"/nonexistent/x"'), (["src"], '"src"'), (["/"], '"/"'), ("/usr", '"/usr"')]:
        config.write_text(f"[development]\nhot_reload_paths = {json.dumps(value)}\n")
        told = subprocess.run(
            [binary(), "--config", config, "--check-config"], capture_output=True, text=True, env=environment()
        )
        assert told.returncode == 2
        assert f"config.toml:2: development.hot_reload_paths = {named} is not allowed: must be a list" in told.stderr
