"""Functions carried from one service into another one with the bundle scripts: nothing can be pulled, the images are
gone from the Engine in between, and the first service is no more."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

import bundles
import docker_cli
from conftest import build_function
from harness import REGION, ROLE
from runtime_images import runtime_image
from test_zip import archive

PYTHON = """
import json, os, shadowed
def handler(event, context):
    return {"said": shadowed.SAID, "color": os.environ["COLOR"], "image": os.environ["CARRIED"],
            "version": context.function_version}
"""
ROUTING = {"AdditionalVersionWeights": {"3": 0.25}}
pytestmark = pytest.mark.timeout(900)


def derived(tag, base, variable):
    """An image of this run alone, which can be taken from the Engine."""
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(f"FROM {base}\nENV {variable}\n")
        docker_cli.docker("build", "--quiet", "--tag", tag, context, timeout=120)
    return docker_cli.inspect(tag)["Id"]


def has_image(name):
    return docker_cli.docker("image", "inspect", name, check=False) not in ("", "[]")


class Carried:
    """What the tests share: the bundles, and what was in them."""

    def __init__(self, run_id, directory):
        self.runtime = f"{run_id}-carried-python:3.11"
        self.image = f"{run_id}-carried:1"
        self.base = f"{run_id}-carried-base:al2023"
        self.directory = directory
        self.ids = []
        self.all = directory / "all.tar"
        self.one = directory / "one.tar"

    def remove_images(self):
        """Takes every image that the bundles have from the Engine, under all of its names."""
        for image_id in self.ids:
            docker_cli.docker("image", "rm", "--force", image_id, check=False)
        assert not any(map(has_image, [*self.ids, self.runtime, self.image]))

    def service(self, make, **overrides):
        """A service that can run what the bundles have."""
        tables = {
            "docker": {"pull_policy": "never", "base_image": self.base},
            "runtimes": {"python3.11": self.runtime},
        }
        return make(**{**tables, **overrides})


def make_snake(client):
    """A Python function with two layers that shadow each other, versions 1 and 3, and every setting there is."""
    layers = []
    for name, versions in (("first", 1), ("second", 3)):
        for number in range(1, versions + 1):
            zipped = archive({"python/shadowed.py": f"SAID = '{name} {number}'\n"})
            content = {"ZipFile": zipped}
            layer = client.publish_layer_version(
                LayerName=name, Content=content, Description="d", CompatibleRuntimes=["python3.11"]
            )
        layers.append(layer["LayerVersionArn"])
    client.delete_layer_version(LayerName="second", VersionNumber=2)
    permission = {"Action": "lambda:GetLayerVersion", "Principal": "*", "OrganizationId": "o-0123456789"}
    client.add_layer_version_permission(LayerName="second", VersionNumber=3, StatementId="all", **permission)
    client.create_function(
        FunctionName="snake",
        Role=ROLE,
        Runtime="python3.11",
        Handler="app.handler",
        Timeout=20,
        MemorySize=192,
        Code={"ZipFile": archive({"app.py": PYTHON})},
        Layers=layers[:1],
        Tags={"team": "a b", "x": ""},
        Environment={"Variables": {"COLOR": "red"}},
        Description="the first",
        EphemeralStorage={"Size": 600},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"},
        TracingConfig={"Mode": "Active"},
        DeadLetterConfig={"TargetArn": f"arn:aws:lambda:{REGION}:000000000000:function:static"},
    )
    bundles.ready(client, "snake")
    assert client.publish_version(FunctionName="snake", Description="one")["Version"] == "1"
    for color in ("amber", "green"):
        client.update_function_configuration(
            FunctionName="snake", Layers=layers, Environment={"Variables": {"COLOR": color}}
        )
        bundles.ready(client, "snake")
        client.publish_version(FunctionName="snake")
    client.delete_function(FunctionName="snake", Qualifier="2")
    client.create_alias(FunctionName="snake", Name="live", FunctionVersion="1", RoutingConfig=ROUTING, Description="l")
    client.create_alias(FunctionName="snake", Name="plain", FunctionVersion="3")
    client.update_function_configuration(
        FunctionName="snake", Environment={"Variables": {"COLOR": "blue"}}, DeadLetterConfig={}
    )
    bundles.ready(client, "snake")
    client.put_function_concurrency(FunctionName="snake", ReservedConcurrentExecutions=3)
    client.put_provisioned_concurrency_config(
        FunctionName="snake", Qualifier="plain", ProvisionedConcurrentExecutions=1
    )
    client.put_function_recursion_config(FunctionName="snake", RecursiveLoop="Allow")
    client.put_runtime_management_config(FunctionName="snake", Qualifier="3", UpdateRuntimeOn="FunctionUpdate")
    to = {"OnFailure": {"Destination": f"arn:aws:lambda:{REGION}:000000000000:function:static"}}
    client.put_function_event_invoke_config(FunctionName="snake", MaximumRetryAttempts=1, DestinationConfig=to)
    client.put_function_event_invoke_config(FunctionName="snake", Qualifier="live", MaximumEventAgeInSeconds=90)
    client.create_function_url_config(FunctionName="snake", Qualifier="live", AuthType="NONE", Cors={"MaxAge": 5})
    client.add_permission(
        FunctionName="snake",
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceAccount="123456789012",
    )
    client.add_permission(
        FunctionName="snake",
        Qualifier="live",
        StatementId="url",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )


def make_imaged(client, run_id, image, carried):
    """An image function whose one tag was another image when version 1 was published."""
    carried.ids.append(derived(carried.image, image, "CODE=old"))
    client.create_function(
        FunctionName="imaged",
        Role=ROLE,
        PackageType="Image",
        Code={"ImageUri": carried.image},
        ImageConfig={"Command": ["a", "b"]},
        Timeout=10,
    )
    bundles.ready(client, "imaged")
    client.publish_version(FunctionName="imaged")
    carried.ids.append(derived(carried.image, image, "CODE=new"))
    client.update_function_code(FunctionName="imaged", ImageUri=carried.image, Publish=True)
    bundles.ready(client, "imaged")


@pytest.fixture(scope="module")
def carried(run_id, make_module_service, image, tmp_path_factory):
    carried = Carried(run_id, tmp_path_factory.mktemp("bundles"))
    carried.ids.append(derived(carried.runtime, runtime_image(run_id, "python3.11"), "CARRIED=yes"))
    service = carried.service(make_module_service)
    client = service.boto()
    make_snake(client)
    program = archive({"bootstrap": build_function().read_bytes()})
    client.create_function(
        FunctionName="static", Role=ROLE, Runtime="provided.al2023", Handler="h", Code={"ZipFile": program}
    )
    make_imaged(client, run_id, image, carried)
    bundles.ready(client, "static")
    # Unchanged since version 1 is published, but for the description that this was given.
    client.publish_version(FunctionName="static", Description="its own")
    carried.seen = seen(client)
    bundles.export(service, carried.all, "--all")
    bundles.export(service, carried.one, "imaged")
    service.clean_up()
    carried.remove_images()
    yield carried
    carried.remove_images()


@pytest.fixture
def elsewhere(carried, make_service):
    """Makes services on an Engine without the images."""

    def make(**overrides):
        carried.remove_images()
        return carried.service(make_service, **overrides)

    return make


NAMES = ("imaged", "snake", "static")


def seen(client):
    """What clients see of the functions, but for what each service chooses itself."""
    found = {}
    for name in NAMES:
        versions = [v["Version"] for v in client.list_versions_by_function(FunctionName=name)["Versions"]]
        found[name] = {
            "versions": {v: chosen(client.get_function(FunctionName=name, Qualifier=v)) for v in versions},
            "tags": client.get_function(FunctionName=name).get("Tags"),
            "aliases": [chosen(alias) for alias in client.list_aliases(FunctionName=name)["Aliases"]],
            "concurrency": client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions"),
            "recursion": client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"],
            "event": [
                chosen(c)
                for c in client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
            ],
            "urls": [chosen(c) for c in client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]],
            "provisioned": [
                (c["FunctionArn"], c["RequestedProvisionedConcurrentExecutions"])
                for c in client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
            ],
            "management": [
                chosen(client.get_runtime_management_config(FunctionName=name, Qualifier=v)) for v in versions
            ],
        }
    snake = found["snake"]
    snake["policies"] = [
        json.loads(client.get_policy(FunctionName="snake", **q)["Policy"]) for q in ({}, {"Qualifier": "live"})
    ]
    snake["layers"] = [
        chosen(client.get_layer_version(LayerName=name, VersionNumber=number))
        for name, number in (("first", 1), ("second", 3))
    ]
    policy = client.get_layer_version_policy(LayerName="second", VersionNumber=3)["Policy"]
    snake["layer policy"] = json.loads(policy)
    return found


def chosen(value):
    """Without what each service chooses itself, wherever it stands."""
    own = (
        "ResponseMetadata",
        "RevisionId",
        "LastModified",
        "Location",
        "FunctionUrl",
        "CreationTime",
        "LastModifiedTime",
        "CreatedDate",
    )
    if isinstance(value, dict):
        return {key: chosen(member) for key, member in value.items() if key not in own}
    return [chosen(member) for member in value] if isinstance(value, list) else value


def call(service, name, qualifier=None):
    which = {"Qualifier": qualifier} if qualifier else {}
    answer = service.boto().invoke(FunctionName=name, Payload=b'{"op": "env"}', **which)
    value = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, value
    return answer["ExecutedVersion"], value


def test_a_function_that_is_another_one_is_replaced_only_when_told(carried, elsewhere):
    service = elsewhere()
    client = service.boto()
    program = archive({"bootstrap": build_function().read_bytes()})
    client.create_function(
        FunctionName="imaged", Role=ROLE, Runtime="provided.al2023", Handler="h", Code={"ZipFile": program}
    )
    for number in range(3):  # goes beyond the bundle's number, with other content
        client.publish_layer_version(LayerName="second", Content={"ZipFile": archive({f"{number}": ""})})
    told = bundles.take(service, carried.all, code=4)
    assert (
        "function imaged is here already and is another one" in told and "layer second:3 can't have its number" in told
    )
    assert bundles.function_names(service) == ["imaged"] and not has_image(carried.ids[1])
    assert client.get_function(FunctionName="imaged")["Configuration"]["PackageType"] == "Zip"

    told = bundles.take(service, carried.all, "--replace", "--dry-run")
    assert "replace function imaged" in told and "A dry run: nothing was changed" in told
    assert bundles.function_names(service) == ["imaged"] and not has_image(carried.ids[1])

    told = bundles.take(service, carried.all, "--replace")
    assert "layer second:3 of the bundle is second:4 here" in told
    assert call(service, "imaged", "1")[1]["CODE"] == "old"
    layers = client.get_function(FunctionName="snake")["Configuration"]["Layers"]
    assert [layer["Arn"].split(":layer:")[1] for layer in layers] == ["first:1", "second:4"]
    assert call(service, "snake")[1]["said"] == "second 3"
    assert "imported: 0, there already: 3" in bundles.take(service, carried.all)


def test_a_broken_import_says_what_was_done_and_can_be_run_again(carried, elsewhere, tmp_path):
    # The Engine refuses the second name: version 1 is made by then, and the function is not.
    shim = tmp_path / "docker"
    shim.write_text(
        "#!/bin/sh\n"
        f'if [ "$2" = tag ]; then mkdir {tmp_path}/once || {{ echo "no more names" >&2; exit 1; }}; fi\n'
        f'exec {shutil.which("docker")} "$@"\n'
    )
    shim.chmod(0o755)
    service = elsewhere()
    told = bundles.take(service, carried.one, code=1, path=tmp_path)
    assert "no more names" in told and "function imaged begun" in told and "Run the same command again" in told
    assert list(service.boto().list_tags(Resource=arn(service, "imaged"))["Tags"]) == [
        "lambda-runtime-api-server:unfinished-import"
    ]
    told = bundles.take(service, carried.one)
    assert "make anew what an earlier import has left unfinished: function imaged" in told
    assert [call(service, "imaged", v)[1]["CODE"] for v in ("1", "2", "$LATEST")] == ["old", "new", "new"]
    assert "Tags" not in service.boto().get_function(FunctionName="imaged")


def arn(service, name):
    return service.boto().get_function(FunctionName=name)["Configuration"]["FunctionArn"]


def test_a_runtime_without_its_image_is_told_with_the_line_to_add(carried, run_id, elsewhere):
    other = runtime_image(run_id, "python3.11")
    service = elsewhere(runtimes={"python3.11": other})
    told = bundles.take(service, carried.all, code=4)
    assert f'"python3.11" = "{carried.runtime}"' in told and "--target-runtimes" in told
    assert bundles.function_names(service) == [] and not has_image(carried.runtime)
    # What is asked for is what is done: the function runs on what is here.
    told = bundles.take(service, carried.all, "--target-runtimes")
    assert f"functions of python3.11 run on {other}" in told
    answer = service.boto().invoke(FunctionName="snake", Payload=b"{}")
    assert json.loads(answer["Payload"].read())["errorType"] == "KeyError", "the variable of the carried image"


def test_limits_of_the_target_are_checked_before_anything(carried, elsewhere):
    service = elsewhere(execution={"max_concurrent_executions": 3, "max_memory_mb": 128})
    told = bundles.take(service, carried.all, code=4)
    assert "function snake has 192 MB of memory, and 128 MB are the most here" in told
    assert "max_concurrent_executions = 4 " in told
    assert bundles.function_names(service) == []


def test_functions_come_into_their_own_region(image, make_service, tmp_path):
    service = make_service(docker={"pull_policy": "never"})
    away = service.boto(region="eu-west-1")
    image_id = docker_cli.inspect(image)["Id"]
    target = "arn:aws:lambda:{}:000000000000:function:other"
    away.create_function(
        FunctionName="away",
        Role=ROLE,
        PackageType="Image",
        Code={"ImageUri": image_id},
        DeadLetterConfig={"TargetArn": target.format("eu-west-1")},
    )
    bundles.ready(away, "away")
    bundle = bundles.export(service, tmp_path / "away.tar", "--all", "--region", "eu-west-1")
    away.delete_function(FunctionName="away")
    told = bundles.take(service, bundle)
    assert "callers have to name eu-west-1" in told and bundles.function_names(service) == []
    # References to functions of the same service go along, into another region too.
    bundles.take(service, bundle, "--region", REGION)
    for client, region in ((away, "eu-west-1"), (service.boto(), REGION)):
        answer = client.get_function(FunctionName="away")
        assert answer["Configuration"]["DeadLetterConfig"]["TargetArn"] == target.format(region)
        assert answer["Code"]["ImageUri"] == image_id


def test_an_export_says_what_it_cannot_carry(carried, elsewhere, tmp_path, tmp_path_factory):
    source = tmp_path_factory.mktemp("source").resolve()
    (source / "bootstrap").write_bytes(build_function().read_bytes())
    for path in (source, source / "bootstrap"):
        path.chmod(0o755)
    service = elsewhere(development={"hot_reload_paths": [str(source)]})
    client = service.boto()
    target = tmp_path / "b.tar"

    def refused(*arguments, code=1):
        done = bundles.run("export-bundle.sh", target, *arguments, "--endpoint", service.url)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == (["b.tar"] if target.exists() else [])
        return done.stderr

    assert "there is no function nothing" in refused("nothing")
    assert "name the functions, or say --all" in refused(code=2)
    assert "is no endpoint" in bundles.run("export-bundle.sh", target, "--all", "--endpoint", "https://x").stderr
    assert (
        "does not answer" in bundles.run("export-bundle.sh", target, "--all", "--endpoint", "http://127.0.0.1:9").stderr
    )
    layer = client.publish_layer_version(LayerName="gone", Content={"ZipFile": archive({"a": ""})})["LayerVersionArn"]
    code = {"ZipFile": archive({"bootstrap": build_function().read_bytes()})}
    client.create_function(
        FunctionName="lost", Role=ROLE, Runtime="provided.al2023", Handler="h", Code=code, Layers=[layer]
    )
    client.delete_layer_version(LayerName="gone", VersionNumber=1)
    bundles.ready(client, "lost")
    assert "version 1 of layer gone was deleted" in refused("lost")
    code = {"S3Bucket": "hot-reload", "S3Key": str(source)}
    client.create_function(FunctionName="hot", Role=ROLE, Runtime="provided.al2023", Handler="h", Code=code)
    bundles.ready(client, "hot")
    assert "the code of function hot version $LATEST is no stored package" in refused("hot")
    target.write_text("mine")
    assert "is there already" in refused("lost") and target.read_text() == "mine"


# From here on the images are on the Engine.


@pytest.fixture(scope="module")
def target(carried, make_module_service):
    """A service that has taken the whole bundle, and what was told."""
    service = carried.service(make_module_service)
    service.told = bundles.take(service, carried.all)
    yield service
    service.clean_up()
    carried.remove_images()


def test_everything_is_there_and_numbered_as_it_was(carried, target):
    assert seen(target.boto()) == carried.seen
    assert "function snake has a new URL: http://" in target.told
    assert "bundle " in target.told and "imported: 3, there already: 0" in target.told


def test_what_was_carried_runs(carried, target):
    client = target.boto()
    for qualifier, said, color in (
        (None, "second 3", "blue"),
        ("1", "first 1", "red"),
        ("3", "second 3", "green"),
        ("plain", "second 3", "green"),
    ):
        version, answer = call(target, "snake", qualifier)
        assert (answer["said"], answer["color"], answer["image"]) == (said, color, "yes")
        assert answer["version"] == version == {None: "$LATEST", "plain": "3"}.get(qualifier, qualifier)
    assert {call(target, "snake", "live")[0] for _ in range(40)} == {"1", "3"}
    assert call(target, "static", "1")[1]["AWS_LAMBDA_FUNCTION_NAME"] == "static"
    assert [call(target, "imaged", v)[1]["CODE"] for v in ("1", "2", "$LATEST")] == ["old", "new", "new"]
    # The one name stands for the newer image, and the older one has a name that keeps it.
    assert docker_cli.inspect(carried.image)["Id"] == carried.ids[2]
    (keeper,) = docker_cli.inspect(carried.ids[1])["RepoTags"]
    assert keeper.startswith("lambda-runtime-api-server/imported:") and keeper in target.told
    # Nothing has changed since version 1 of static was published: there is no second one to publish.
    assert client.publish_version(FunctionName="static")["Version"] == "1"
    assert client.get_function(FunctionName="static")["Configuration"]["Description"] == ""


def test_a_second_import_changes_nothing(carried, target):
    client = target.boto()

    def revisions():
        return [client.get_function(FunctionName=name)["Configuration"]["RevisionId"] for name in NAMES]

    before = revisions()
    told = bundles.take(target, carried.all)
    assert "imported: 0, there already: 3" in told
    assert revisions() == before
    assert len(client.list_layer_versions(LayerName="second")["LayerVersions"]) == 1
