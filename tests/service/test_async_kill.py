"""Kill -9 at random moments under a load of events: every 202 leads to an execution or a dead letter.

10 runs, or as many as --kill-runs says: scripts/test-bare-service.sh --service tests/service/test_async_kill.py
--kill-runs 200. It prints how many events were accepted, how many ran more than once, and how long the service
took until it served again. No container is needed: the functions live in the test.
"""

import http.client
import json
import random
import threading
import time

import pytest

from harness import wait_for
from served import Failure, Served

CALLERS = 4


class Load:
    """Callers that send events without a pause and remember what was answered 202."""

    def __init__(self, port):
        self.port, self.accepted, self.refused = port, [], 0
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        while not self._end.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                while not self._end.is_set():
                    # One in eight fails for good and ends as a dead letter.
                    name = "bad" if random.randrange(8) == 0 else "good"
                    path = f"/2015-03-31/functions/{name}/invocations"
                    body = json.dumps({"caller": number, "x": "x" * random.choice([10, 1000, 30_000])})
                    connection.request("POST", path, body, {"X-Amz-Invocation-Type": "Event"})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 202:
                        self.accepted.append(answer.headers["x-amzn-requestid"])
                    else:
                        # Its runtimes are not known yet, or the queue is full.
                        self.refused += 1
                        time.sleep(0.005)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()

    def stop(self):
        self._end.set()
        for thread in self._threads:
            thread.join(20)


@pytest.mark.timeout(3600)
def test_every_202_is_carried_out_whenever_the_service_is_killed(make_service, request, capsys):
    runs = request.config.getoption("--kill-runs")
    service = make_service(asynchronous={"retry_delay_ms": 100})
    serving_again = []

    def fail(taken):
        raise Failure("always")

    with Served(service.port, "good", runtimes=4) as good, Served(service.port, "bad", fail, runtimes=2) as bad:
        load = Load(service.port)
        try:
            for run in range(runs):
                before = len(load.accepted)
                wait_for(lambda: len(load.accepted) > before, 30, "events are accepted")
                time.sleep(random.uniform(0, 0.6))
                service.kill()
                killed = time.monotonic()
                service.start()
                serving_again.append(time.monotonic() - killed)
        finally:
            load.stop()
        wait_for(lambda: service.http("GET", "/queue").json()["events"] == 0, 300, "the queue is empty")
    letters = {path.name[14:50] for path in (service.directory / "storage" / "dead-letters").glob("*.json")}
    executed = [taken.id for taken in good.taken]
    accepted = set(load.accepted)
    lost = accepted - set(executed) - letters
    again = len(executed) - len(set(executed))
    failed = {taken.id for taken in bad.taken}
    times = sorted(serving_again)
    with capsys.disabled():
        print(
            f"\n{runs} kills: {len(accepted)} events accepted, {len(letters)} dead letters, {len(lost)} lost, "
            f"{again} of {len(executed)} executions were repetitions ({100 * again / max(1, len(executed)):.2f} %); "
            f"serving again after {1000 * times[len(times) // 2]:.0f} ms, {1000 * times[-1]:.0f} ms at most"
        )
    assert not lost
    assert accepted & failed <= letters, "what failed for good is a dead letter"
    assert len(accepted) >= runs
