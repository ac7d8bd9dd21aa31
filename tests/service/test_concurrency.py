"""Many callers: sandboxes are made as needed, never more than the limit, and a refused caller is told when to retry."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import wire
from harness import wait_for

LIMIT = 10
CALLERS = 32


class MostContainers:
    """Counts the service's containers while a test runs."""

    def __init__(self, service):
        self._service, self._end = service, threading.Event()
        self.most = 0
        self._thread = threading.Thread(target=self._count, daemon=True)

    def _count(self):
        while not self._end.wait(0.1):
            self.most = max(self.most, len(self._service.containers()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def patient(service, name, event):
    """A caller that comes back when it is refused, as the AWS clients do."""
    for _ in range(300):
        answer = service.invoke(name, event)
        if answer.status != 429:
            return answer
        time.sleep(0.1)
    raise AssertionError("refused 300 times")


def test_32_callers_over_10_sandboxes_all_succeed(service, function):
    with MostContainers(service) as counted, ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda _: patient(service, function, {"op": "sleep", "ms": 150}), range(CALLERS * 3)))
    assert all(answer.status == 200 and "x-amz-function-error" not in answer.headers for answer in answers)
    assert 2 <= counted.most <= LIMIT
    assert len({answer.json()["sandbox"] for answer in answers}) > 1


def test_over_the_limit_is_429_with_reason_and_retry_after(service, function):
    with ThreadPoolExecutor(LIMIT) as pool:
        busy = [pool.submit(patient, service, function, {"op": "sleep", "ms": 5_000}) for _ in range(LIMIT)]
        refused = wait_for(lambda: throttled(service, function), 20, "a further caller is refused")
        assert refused.error_type == "TooManyRequestsException"
        assert refused.json()["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert int(refused.headers["retry-after"]) >= 0
        assert all(call.result().status == 200 for call in busy)


def throttled(service, function):
    started = time.monotonic()
    answer = service.invoke(function, {"op": "echo"})
    if answer.status != 429:
        return None
    assert time.monotonic() - started < 2, "a refusal comes at once"
    return answer


def test_idle_sandboxes_of_one_function_make_way_for_another(service, image):
    other = service.create("other", image, Timeout=20)
    assert patient(service, other, {"op": "echo"}).status == 200
    wait_for(lambda: len(service.containers()) <= LIMIT, 15, "the evicted sandbox is gone")


def test_answers_never_go_to_the_wrong_caller(service, function):
    def one(number):
        answer = patient(service, function, {"op": "echo", "number": number})
        return answer.json()["event"]["number"] == number and answer.json()["request_id"]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(one, range(400)))
    assert all(ids) and len(set(ids)) == len(ids)


@pytest.mark.parametrize("size", [1_000_000, 6_000_000])
def test_large_payloads_at_once(service, function, size):
    body = json.dumps({"op": "length", "data": "y" * size}).encode()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: wire.invoke(service.port, function, body), range(8)))
    assert [answer.json() for answer in answers if answer.status == 200] == [size] * len(answers)
