"""botocore's model of Lambda as a judge: which operations the service has, and whether an answer is the model's.

The operations are read from the sources, since a client built from the same model would hide a row that nobody
calls. Answers are judged as they come over the wire: botocore's own parser leaves out what it does not know and
what is not there.
"""

import base64
import json
import re

import botocore.session

from harness import ROOT

CONTROL = ROOT / "src" / "api" / "control"
FIELD = r'\s*{}:\s*"([^"]+)",'
ROW = re.compile(
    r"Operation \{" + FIELD.format("name") + FIELD.format("method") + FIELD.format("path")
    + r"\s*max_body_bytes:[^,]+,\s*run:\s*(\w+),\s*\}"
)  # fmt: skip
# Operations that differ from another one of the same path by their query only: that one's row serves both.
SAME_PATH = {
    "ListProvisionedConcurrencyConfigs": "GetProvisionedConcurrencyConfig",
    "GetLayerVersionByArn": "ListLayers",
}
# Where the model leaves the status open: DeleteFunctionResponse has it as a member, and AWS answers 204.
STATUS_IN_ANSWER = {"DeleteFunction": 204}
# What AWS itself answers and its model does not have: the reason code of an update in progress, and nothing at all
# for a function without a code signing configuration.
AWSS_OWN = {"LastUpdateStatusReasonCode": {"Creating"}}
MAY_BE_EMPTY = {"GetFunctionCodeSigningConfig"}
MODEL = botocore.session.get_session().get_service_model("lambda")


def rows():
    """Name to (method, path, statuses that its function answers with by itself)."""
    found = {}
    for source in sorted(CONTROL.glob("*.rs")):
        text = source.read_text()
        for name, method, path, run in ROW.findall(text):
            found[name] = (method, path, statuses(text, run))
        rows_here = len(re.findall(r"^    Operation \{|= &\[Operation \{", text, re.MULTILINE))
        assert rows_here == len(ROW.findall(text)), f"a row of {source.name} is written in another form"
    return found


def statuses(text, function):
    body = re.search(rf"^fn {function}\(.*?^\}}", text, re.MULTILINE | re.DOTALL)
    assert body, function
    return {int(status) for status in re.findall(r"(?:Answer::json|Answer::empty|\bjson)\(\s*(\d{3})", body[0])}


ROWS = rows()
# Invoke is no row of that table: it does not wait for a thread.
IMPLEMENTED = sorted({*ROWS, *SAME_PATH, "Invoke"})


def success_status(name):
    return STATUS_IN_ANSWER.get(name, MODEL.operation_model(name).http.get("responseCode", 200))


def faults(shape, value, path="answer"):
    """What is wrong with a value of a shape, as sentences."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path} is no object: {value!r}"]
        in_body = {
            member.serialization.get("name", name): (name, member)
            for name, member in shape.members.items()
            if "location" not in member.serialization
        }
        found = [f"{path}.{name} is not in the model" for name in value if name not in in_body]
        found += [
            f"{path}.{name} is required"
            for name, (member, _) in in_body.items()
            if member in shape.required_members and name not in value
        ]
        for name, (_, member) in in_body.items():
            if value.get(name) is not None:
                found += faults(member, value[name], f"{path}.{name}")
        return found
    if kind == "list":
        if not isinstance(value, list):
            return [f"{path} is no list: {value!r}"]
        return [fault for i, one in enumerate(value) for fault in faults(shape.member, one, f"{path}[{i}]")]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{path} is no map: {value!r}"]
        return [fault for key, one in value.items() for fault in faults(shape.value, one, f"{path}.{key}")]
    return [] if is_scalar(shape, value) else [f"{path} is no {kind} of the model: {value!r}"]


def is_scalar(shape, value):
    kind = shape.type_name
    if kind == "string":
        known = {*shape.enum, *AWSS_OWN.get(shape.name, ())}
        return isinstance(value, str) and (not shape.enum or value in known) and fits(shape, len(value))
    if kind in ("integer", "long"):
        return isinstance(value, int) and not isinstance(value, bool) and fits(shape, value)
    if kind in ("double", "float"):
        return isinstance(value, (int, float)) and fits(shape, value)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "timestamp":
        return isinstance(value, (int, float, str))
    if kind == "blob":
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    raise AssertionError(f"a shape of another kind: {kind}")


def fits(shape, size):
    bounds = shape.metadata
    return bounds.get("min", size) <= size <= bounds.get("max", size)


class Judge:
    """Listens to a client, compares each of its answers with the model, and remembers which there were."""

    def __init__(self):
        self.succeeded = set()
        self.errors = set()
        self.faults = []

    def listen(self, client):
        client.meta.events.register("before-parse.lambda", self.hear)
        return client

    def hear(self, operation_model, response_dict, **_):
        name, status, body = operation_model.name, response_dict["status_code"], response_dict["body"]
        if status >= 300:
            kind = response_dict["headers"]["x-amzn-errortype"]
            self.errors.add((name, kind))
            known = {shape.name: shape for shape in operation_model.error_shapes}
            if kind not in known:
                # What AWS's front end answers before any operation: the model has no shape for it.
                kind = kind if kind in FRONT_END else f"{kind}, which the model does not have"
                self.faults += [] if kind in FRONT_END else [f"{name}: {status} {kind}: {body}"]
                return
            shape = known[kind]
            wanted = shape.metadata["error"]["httpStatusCode"] if "error" in shape.metadata else status
            # A service that has too much to do says 503, so that SDKs try again.
            if status not in (wanted, 503 if wanted == 500 else wanted):
                self.faults.append(f"{name}: {kind} with {status}, the model has {wanted}")
            self.faults += [f"{name}: {kind}: {fault}" for fault in faults(shape, json.loads(body))]
            return
        self.succeeded.add(name)
        # The status of Invoke says how it was asked for.
        if name != "Invoke" and status != success_status(name):
            self.faults.append(f"{name}: {status}, the model has {success_status(name)}")
        shape = operation_model.output_shape
        if shape is None:
            self.faults += [f"{name}: a body where there is none in the model"] if body else []
        elif not operation_model.has_streaming_output and body and not (name in MAY_BE_EMPTY and body == b"{}"):
            self.faults += [f"{name}: {fault}" for fault in faults(shape, json.loads(body))]


FRONT_END = {"ValidationException", "SerializationException", "AccessDeniedException", "RequestEntityTooLargeException"}
