"""The images of scripts/build-runtime-image.sh, under functions made FROM them: AWS's own runtime clients, with the
service's read-only root, no capabilities and an unprivileged user."""

import base64
import json

import pytest

import docker_cli
from harness import ROOT
from runtime_images import NAMES, runtime_image

FUNCTIONS = ROOT / "tests" / "functions" / "runtimes"
USER = 993
CONTEXT = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()

# Modules as layers bring them; of `shadowed` the first folder of AWS's order wins.
PYTHON_LAYER = {
    "opt/python/in_layer.py": 'NAME = "python"\n',
    "opt/python/shadowed.py": 'NAME = "python"\n',
    "opt/python/lib/python3.11/site-packages/shadowed.py": 'NAME = "site-packages"\n',
}
NODE_LAYER = {"opt/nodejs/node_modules/in_layer/index.js": 'exports.NAME = "nodejs";\n'}
CODE = {
    "python3.11": (["app.py"], PYTHON_LAYER),
    "nodejs22.x": (["app.mjs", "callback.js"], NODE_LAYER),
    "nodejs24.x": (["app.mjs", "callback.js"], NODE_LAYER),
    "provided.al2023": (["bootstrap", "app.sh"], {}),
}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def function_image(run_id, tmp_path_factory):
    """Makes the function's image of a runtime: its code in /var/task, its layer in /opt, its handler as CMD."""

    def make(runtime):
        files, layer = CODE[runtime]
        context = tmp_path_factory.mktemp("image")
        lines = [f"FROM {runtime_image(run_id, runtime)}", 'CMD ["app.handler"]']
        for name in files:
            (context / name).write_bytes((FUNCTIONS / name).read_bytes())
            (context / name).chmod(0o755)
            lines.append(f"COPY {name} /var/task/{name}")
        for path, text in layer.items():
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            (context / path).write_text(text)
            lines.append(f"COPY {path} /{path}")
        (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        tag = f"{run_id}-{runtime}:latest"
        docker_cli.docker("build", "--quiet", "--tag", tag, str(context), timeout=120)
        return tag

    return make


def call(service, name, event):
    answer = service.boto().invoke(FunctionName=name, Payload=json.dumps(event), ClientContext=CONTEXT)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


@pytest.mark.parametrize("runtime", list(NAMES))
def test_a_function_on_the_image(service, function_image, runtime):
    image = function_image(runtime)
    plain = runtime.replace(".", "-")

    # The handler is the image's CMD.
    service.create(plain, image, Timeout=20, MemorySize=256)
    for number in range(2):
        error, answer = call(service, plain, {"number": number})
        assert error is None, answer
        assert answer["event"] == {"number": number}
        assert answer["client"] == {"k": "v"}
        assert (answer["user"], answer["handler"], answer["root"]) == (USER, "app.handler", "/var/task")
    if runtime.startswith("python"):
        assert (answer["layer"], answer["shadowed"], answer["sdk"]) == ("python", "site-packages", "1")
    if runtime.startswith("nodejs"):
        assert answer["layer"] == "nodejs"
        assert answer["version"].startswith(f"v{runtime.removeprefix('nodejs').removesuffix('.x')}.")

    # The handler is the function's own, and fails with a stack trace.
    service.create(f"{plain}-failing", image, Timeout=20, MemorySize=256, ImageConfig={"Command": ["app.failing"]})
    error, answer = call(service, f"{plain}-failing", {})
    assert error == "Unhandled"
    assert answer["errorMessage"] == "no such thing"
    trace = answer.get("stackTrace") or answer["trace"]
    assert any("inner" in line or "app.sh" in line for line in trace), trace


def test_callbacks_end_with_nodejs24(service, function_image):
    """As on Lambda: https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html"""
    for runtime, name in (("nodejs22.x", "callback-22"), ("nodejs24.x", "callback-24")):
        image = function_image(runtime)
        service.create(name, image, Timeout=20, MemorySize=256, ImageConfig={"Command": ["callback.handler"]})
    assert call(service, "callback-22", {"a": 1}) == (None, {"called": {"a": 1}})
    error, answer = call(service, "callback-24", {"a": 1})
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.CallbackHandlerDeprecated")
