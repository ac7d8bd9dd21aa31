"""The table of the control API against botocore's model: no row has a wrong method, path or success status.

The rows are read from the sources, since a client built from the same model would hide a row that nobody calls.
"""

import re

import pytest

from contract import CONTROL, MODEL, ROWS, SAME_PATH, success_status


def test_there_are_rows():
    assert len(ROWS) >= 39


@pytest.mark.parametrize("name", sorted(ROWS))
def test_row_is_the_models(name):
    method, path, answered = ROWS[name]
    wanted = MODEL.operation_model(name).http
    wanted_path = re.sub(r"\{[^}]+\}", "{}", wanted["requestUri"].partition("?")[0]).rstrip("/")
    assert (method, path) == (wanted["method"], wanted_path)
    assert answered <= {success_status(name)}, "the success status is another one"


@pytest.mark.parametrize(("name", "serves"), sorted(SAME_PATH.items()))
def test_operations_of_one_path_differ_by_query(name, serves):
    wanted, row = MODEL.operation_model(name).http, MODEL.operation_model(serves).http
    path, _, query = wanted["requestUri"].partition("?")
    assert query
    assert (wanted["method"], re.sub(r"\{[^}]+\}", "{}", path).rstrip("/")) == (row["method"], ROWS[serves][1])
    source = next(text for text in map(lambda p: p.read_text(), CONTROL.glob("*.rs")) if f'"{serves}"' in text)
    key, value = query.split("=")
    assert f'call.query("{key}").as_deref() == Some("{value}")' in source
