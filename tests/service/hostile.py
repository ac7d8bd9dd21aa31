"""What the tests with hostile containers share: the siege.

Each hostile act is done by a container on the real Engine, in an invocation of a function
(tests/functions/rust/src/bin/hostile.rs). Throughout, a neighbour is invoked one time after the other, each time
on a connection of its own. At the end all of its invocations have succeeded, and the service is the process that it
was, with no more memory, connections and threads. The neighbour's response times are printed when pytest ends;
they are no assertion.
"""

import json
import threading
import time
import uuid
from dataclasses import dataclass, field

import pytest

import wire
from harness import wait_for

# What an act may cost the service at most: while it goes on, and when it is over.
PEAK_BOUND_KIB = 256 * 1024
REST_BOUND_KIB = 64 * 1024

# A line for each test, for the end of the session.
REPORT = []


@dataclass
class Neighbour:
    """A function that is invoked all the time, and what has become of that."""

    service: object
    name: str
    times: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    peak_kib: int = 0

    def __post_init__(self):
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._over.is_set():
            number += 1
            self.once(number)
            self.peak_kib = max(self.peak_kib, self.service.resident_kib())
            time.sleep(0.01)

    def once(self, number):
        begun = time.monotonic()
        try:
            answer = self.service.invoke(self.name, {"op": "echo", "n": number}, timeout=60)
            right = answer.status == 200 and json.loads(answer.body)["event"]["n"] == number
            outcome = None if right else f"{answer.status} {answer.body[:300]}"
        except (OSError, ValueError, KeyError) as error:
            outcome = repr(error)
        self.times.append(time.monotonic() - begun)
        if outcome:
            self.failures.append((number, outcome))

    def stop(self):
        self._over.set()
        self._thread.join(90)
        assert not self._thread.is_alive(), "the neighbour's invocation does not end"

    def percentile(self, share):
        ordered = sorted(self.times)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def gauge(service, name):
    for line in service.http("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"{name} "):
            return int(float(line.split()[1]))
    raise AssertionError(f"no {name} in /metrics")


@pytest.fixture(scope="module")
def neighbour_function(service, image):
    return service.create("neighbour", image, Timeout=60, MemorySize=128)


@pytest.fixture(autouse=True)
def siege(request, service, neighbour_function):
    """Around each test of a file that imports this."""
    for _ in range(3):
        assert service.invoke(neighbour_function, {"op": "echo"}).status == 200
    process, threads, resident = service.process.pid, service.threads(), service.resident_kib()
    neighbour = Neighbour(service, neighbour_function)
    try:
        yield neighbour
    finally:
        neighbour.stop()
    test = request.node.name
    REPORT.append(
        f"{test}: {len(neighbour.times)} invocations, p50 {neighbour.percentile(0.5):.1f} ms,"
        f" p99 {neighbour.percentile(0.99):.1f} ms, max {max(neighbour.times) * 1000:.0f} ms;"
        f" service at most {neighbour.peak_kib // 1024} MiB"
    )
    assert neighbour.failures == [], f"of {len(neighbour.times)} invocations of the neighbour"
    assert (service.process.pid, service.process.poll()) == (process, None)
    assert "panicked" not in service.log()
    assert neighbour.peak_kib - resident < PEAK_BOUND_KIB
    rest = getattr(request.module, "REST_BOUND_KIB", REST_BOUND_KIB)
    wait_for(lambda: service.resident_kib() - resident < rest, 20, "its memory is given back")
    assert service.threads() <= threads + 1
    # The neighbour's runtime and what asks this; the attacker's are gone with it.
    wait_for(lambda: gauge(service, "lambda_http_connections") < 20, 20, "nobody holds connections any more")
    wait_for(lambda: gauge(service, "lambda_http_buffered_bytes") == 0, 20, "nothing is held for anybody")


class Attacker:
    """A function whose program is hostile; it and its containers are gone at the end."""

    def __init__(self, service, image, name=None, **settings):
        self.service = service
        settings = {"Timeout": 30, "MemorySize": 256, **settings}
        self.name = service.create(name or f"hostile-{uuid.uuid4().hex[:8]}", image, **settings)

    def invoke(self, timeout=60, **event):
        return self.service.invoke(self.name, event, timeout=timeout)

    def does(self, op, timeout=60, **event):
        """What the act has come to, as the function tells it."""
        answer = self.invoke(timeout, op=op, **event)
        assert answer.status == 200 and "x-amz-function-error" not in answer.headers, answer.body
        return answer.json()

    def ends_in(self, error_type, timeout=60, **event):
        """The act ends its invocation; the function is served by another container then."""
        answer = self.invoke(timeout, **event)
        assert answer.headers.get("x-amz-function-error") == "Unhandled", (answer.status, answer.body)
        assert answer.json()["errorType"] == error_type
        return answer.json()["errorMessage"]

    def http(self, method, path, *, headers=(), body=b"", timeout=60, **event):
        """One request of the function to the service: its status and body as text."""
        told = self.does("http", timeout, send=request(method, path, headers, body), **event)
        [status] = told["statuses"]
        return status, told["bodies"][status]

    def addresses(self):
        told = self.service.http("GET", "/status").json()["sandboxes"]
        return [sandbox["address"] for sandbox in told if f"/{self.name}/" in sandbox["function"]]

    def gone(self):
        self.service.boto().delete_function(FunctionName=self.name)
        wait_for(lambda: self.service.sandboxes(self.name) == [], 30, "its containers are gone")


def request(method, path, headers=(), body=b""):
    """A request as text for the `http` act; `{id}` in it is the invocation in which it is sent."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    if body or method == "POST":
        fields += f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body.decode()}"


RUNTIME = "/2018-06-01/runtime/invocation"


@pytest.fixture
def attackers(service, hostile_image):
    """Makes attackers, and removes them before the siege looks at what is left."""
    made = []

    def make(**settings):
        made.append(Attacker(service, hostile_image, **settings))
        return made[-1]

    yield make
    for attacker in made:
        attacker.gone()


@pytest.fixture
def attacker(attackers):
    return attackers()


class Recorder:
    """A listener that containers can reach: who has connected, and who still sends."""

    def __init__(self, address):
        self.socket = wire.socket.create_server((address, 0))
        self.port = self.socket.getsockname()[1]
        self.alive, self.seen = set(), 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.seen += 1
            self.alive.add(connection)
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection):
        connection.settimeout(3)
        try:
            while connection.recv(4096):
                pass
        except OSError:
            pass  # silent for long enough to be dead, or reset
        self.alive.discard(connection)
        connection.close()

    def close(self):
        self.socket.close()
