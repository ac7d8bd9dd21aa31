"""Unchanged functions of each runtime as zip packages, from creation to a weighted alias, deployed with the AWS command
line and with boto3: Python and Node.js with AWS's own clients, Rust with `lambda_runtime`, and a `bootstrap` in bash."""

import base64
import json

import pytest

from awscli_tool import aws
from conftest import build_function
from harness import ROLE, ROOT, archive
from runtime_images import NAMES, runtime_image

pytestmark = pytest.mark.timeout(900)

FAST = {"Delay": 1, "MaxAttempts": 90}
CONTEXT = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
BOOTSTRAP = (ROOT / "tests/functions/runtimes/bootstrap").read_bytes()

PYTHON = """
import shadowed

def handler(event, context):
    client = context.client_context and context.client_context.custom
    return {"event": event, "client": client, "said": shadowed.SAID, "code": "@"}

def failing(event, context):
    return inner()

def inner():
    raise ValueError("no such thing")
"""
NODE = """
import { createRequire } from 'node:module';
const { SAID } = createRequire(import.meta.url)('shadowed');

export const handler = async (event, context) => (
  { event, client: context.clientContext?.custom ?? null, said: SAID, code: '@' });

export const failing = async () => inner();

function inner() {
  throw new TypeError('no such thing');
}
"""
SHELL = r"""
source /opt/shadowed.sh
handler() {
    client=$(echo "$2" | sed 's/.*"custom": *\({[^}]*}\).*/\1/')
    printf '{"event": %s, "client": %s, "said": "%s", "code": "@"}' "$1" "${client:-null}" "$SAID"
}

failing() {
    return 1
}
"""


def layer_files(runtime, said):
    if runtime.startswith("python"):
        return {"python/shadowed.py": f"SAID = '{said}'\n"}
    if runtime.startswith("nodejs"):
        return {"nodejs/node_modules/shadowed/index.js": f"exports.SAID = '{said}';\n"}
    return {"shadowed.sh": f"SAID='{said}'\n"}


def code(runtime, version):
    if runtime.startswith("python"):
        return archive({"app.py": PYTHON.replace("@", version)})
    if runtime.startswith("nodejs"):
        return archive({"app.mjs": NODE.replace("@", version)})
    return archive({"bootstrap": BOOTSTRAP, "app.sh": SHELL.replace("@", version)})


@pytest.fixture(scope="module")
def service(run_id, make_module_service):
    return make_module_service(runtimes={runtime: runtime_image(run_id, runtime) for runtime in NAMES})


@pytest.fixture(scope="module")
def client(service):
    return service.boto()


def call(client, name, event, **options):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), **options)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read()), answer["ExecutedVersion"]


def create(client, name, zipped, **settings):
    client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": zipped}, Timeout=20, **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=FAST)


@pytest.mark.parametrize("runtime", list(NAMES))
def test_a_function_from_creation_to_a_weighted_alias(service, client, tmp_path, runtime):
    name = runtime.replace(".", "-")
    layers = []
    for said in ("first", "second"):
        content = {"ZipFile": archive(layer_files(runtime, said))}
        layer = client.publish_layer_version(LayerName=f"{name}-{said}", Content=content, CompatibleRuntimes=[runtime])
        layers.append(layer["LayerVersionArn"])

    # With the command line, as its documentation has it.
    package = tmp_path / "function.zip"
    package.write_bytes(code(runtime, "one"))
    aws(
        service, "create-function", "--function-name", name, "--runtime", runtime, "--handler", "app.handler",
        "--zip-file", f"fileb://{package}", "--role", ROLE, "--timeout", "20", "--layers", *layers,
    )  # fmt: skip
    aws(service, "wait", "function-active-v2", "--function-name", name)
    output = tmp_path / "answer.json"
    told = aws(
        service, "invoke", "--function-name", name, "--payload", '{"number": 1}', "--client-context", CONTEXT, str(output)
    )
    assert json.loads(told.stdout)["StatusCode"] == 200
    wanted = {"event": {"number": 1}, "client": {"k": "v"}, "said": "second", "code": "one"}
    assert json.loads(output.read_text()) == wanted, "the later layer shadows the earlier one"

    # With boto3: the same function, and without a client context.
    error, answer, version = call(client, name, {"number": 2})
    assert error is None and answer == {**wanted, "event": {"number": 2}, "client": None}
    assert version == "$LATEST"
    assert client.publish_version(FunctionName=name)["Version"] == "1"

    # Updates of the code and of the layers; the version stays what it was.
    client.update_function_code(FunctionName=name, ZipFile=code(runtime, "two"))
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
    client.update_function_configuration(FunctionName=name, Layers=layers[::-1])
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    second = {"said": "first", "code": "two"}
    for which, expected in (("$LATEST", second), ("2", second), ("1", {"said": "second", "code": "one"})):
        error, answer, version = call(client, name, {}, Qualifier=which)
        assert error is None and version == which
        assert {key: answer[key] for key in expected} == expected

    # Both behind one name: each answer is of the version that it says.
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing)
    seen = {call(client, name, {}, Qualifier="live")[2]: None for _ in range(40)}
    assert set(seen) == {"1", "2"}
    for _ in range(4):
        error, answer, version = call(client, name, {}, Qualifier="live")
        assert error is None and answer["code"] == {"1": "one", "2": "two"}[version]


@pytest.mark.parametrize("runtime", list(NAMES))
def test_an_error_comes_back_with_its_stack_trace(client, runtime):
    name = f"{runtime.replace('.', '-')}-failing"
    content = {"ZipFile": archive(layer_files(runtime, "x"))}
    layer = client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    create(client, name, code(runtime, "x"), Runtime=runtime, Handler="app.failing", Layers=[layer])
    error, answer, _ = call(client, name, {})
    assert (error, answer["errorMessage"]) == ("Unhandled", "no such thing")
    if runtime.startswith("python"):
        assert answer["errorType"] == "ValueError"
        assert '"/var/task/app.py", line ' in answer["stackTrace"][-1] and "in inner" in answer["stackTrace"][-1]
    if runtime.startswith("nodejs"):
        assert answer["errorType"] == "TypeError"
        assert answer["trace"][0] == "TypeError: no such thing"
        assert any("inner" in line and "/var/task/app.mjs:" in line for line in answer["trace"])


def test_node_in_each_form_of_a_handler(client):
    """https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html: Node.js 24 takes no callback any more."""
    forms = archive(
        {
            "module.mjs": "export const handler = async (event) => ({ form: 'module', event });\n",
            "awaited.js": "exports.handler = async (event) => ({ form: 'awaited', event });\n",
            "callback.js": "exports.handler = (event, context, callback) => callback(null, { form: 'callback', event });\n",
        }
    )
    for runtime in ("nodejs22.x", "nodejs24.x"):
        for form in ("module", "awaited", "callback"):
            name = f"{runtime.replace('.', '-')}-{form}"
            create(client, name, forms, Runtime=runtime, Handler=f"{form}.handler")
            error, answer, _ = call(client, name, {"a": 1})
            if (runtime, form) == ("nodejs24.x", "callback"):
                assert (error, answer["errorType"]) == ("Unhandled", "Runtime.CallbackHandlerDeprecated")
            else:
                assert (error, answer) == (None, {"form": form, "event": {"a": 1}})


def test_rust(client):
    create(
        client, "rust", archive({"bootstrap": build_function().read_bytes()}), Runtime="provided.al2023", Handler="bootstrap"
    )
    error, answer, _ = call(client, "rust", {"op": "echo", "a": 1}, ClientContext=CONTEXT)
    assert error is None and answer["event"] == {"op": "echo", "a": 1}
    assert answer["client_context"]["custom"] == {"k": "v"}
    error, answer, _ = call(client, "rust", {"op": "raise", "message": "no such thing"})
    assert (error, answer["errorMessage"]) == ("Unhandled", "no such thing")


def test_a_bootstrap_that_a_layer_brings(client):
    content = {"ZipFile": archive({"bootstrap": BOOTSTRAP, "shadowed.sh": "SAID=layer\n"}, {"bootstrap": 0o755})}
    layer = client.publish_layer_version(LayerName="runtime", Content=content)["LayerVersionArn"]
    create(
        client, "layered", archive({"app.sh": SHELL}), Runtime="provided.al2023", Handler="app.handler", Layers=[layer]
    )
    error, answer, _ = call(client, "layered", {"a": 1}, ClientContext=CONTEXT)
    assert error is None and (answer["event"], answer["said"]) == ({"a": 1}, "layer")
