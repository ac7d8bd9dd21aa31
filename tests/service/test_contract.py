"""The table of the control API against botocore's model: no row has a wrong method, path or success status.

The rows are read from the sources, since a client built from the same model would hide a row that nobody calls.
"""

import re

import botocore.session
import pytest

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


def rows():
    found = {}
    for source in sorted(CONTROL.glob("*.rs")):
        text = source.read_text()
        for name, method, path, run in ROW.findall(text):
            found[name] = (method, path, statuses(text, run))
        rows_here = len(re.findall(r"^    Operation \{|= &\[Operation \{", text, re.MULTILINE))
        assert rows_here == len(ROW.findall(text)), f"a row of {source.name} is written in another form"
    return found


def statuses(text, function):
    """The statuses that the operation's function answers with by itself."""
    body = re.search(rf"^fn {function}\(.*?^\}}", text, re.MULTILINE | re.DOTALL)
    assert body, function
    return {int(status) for status in re.findall(r"(?:Answer::json|Answer::empty|\bjson)\(\s*(\d{3})", body[0])}


@pytest.fixture(scope="module")
def model():
    return botocore.session.get_session().get_service_model("lambda")


ROWS = rows()


def test_there_are_rows():
    assert len(ROWS) >= 39


@pytest.mark.parametrize("name", sorted(ROWS))
def test_row_is_the_models(model, name):
    method, path, answered = ROWS[name]
    wanted = model.operation_model(name).http
    wanted_path = re.sub(r"\{[^}]+\}", "{}", wanted["requestUri"].partition("?")[0]).rstrip("/")
    assert (method, path) == (wanted["method"], wanted_path)
    assert answered <= {STATUS_IN_ANSWER.get(name, wanted.get("responseCode", 200))}, "the success status is another one"


@pytest.mark.parametrize(("name", "serves"), sorted(SAME_PATH.items()))
def test_operations_of_one_path_differ_by_query(model, name, serves):
    wanted, row = model.operation_model(name).http, model.operation_model(serves).http
    path, _, query = wanted["requestUri"].partition("?")
    assert query
    assert (wanted["method"], re.sub(r"\{[^}]+\}", "{}", path).rstrip("/")) == (row["method"], ROWS[serves][1])
    source = next(text for text in map(lambda p: p.read_text(), CONTROL.glob("*.rs")) if f'"{serves}"' in text)
    key, value = query.split("=")
    assert f'call.query("{key}").as_deref() == Some("{value}")' in source
