"""Ten thousand connections that are as slow as they may be, while 32 callers go on.

They come from several addresses of loopback, for there is a limit for one. What each of them costs is told with
the latencies of the callers (`pytest -rP`); only the memory is asserted.
"""

import contextlib
import http.client
import resource
import socket
import statistics
import threading
import time
from collections import Counter

import pytest

from harness import wait_for
from wire import connect

HEADS = 5_000
BODIES = 4_980
READERS = 20
CALLERS = 32
ADDRESSES = [f"127.0.0.{last}" for last in range(10, 20)]
DEADLINE_S = 20
# A head or body that is not whole holds what has come of it, its place in the tables, and nothing else.
BYTES_PER_CONNECTION = 10 * 1024
BIG = 5_000_000

PATH = "/2015-03-31/functions/probe/invocations"
HEAD = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nX-Slow: "
BODY = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n{"


@pytest.fixture
def slowly_served(make_service, image):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < HEADS + BODIES + 1_000:
        pytest.skip(f"ulimit -Hn is {hard}: too few for 10,000 connections")
    service = make_service(
        execution={"max_concurrent_executions": 4, "max_queue_wait_ms": 30_000},
        http={
            "head_timeout_ms": DEADLINE_S * 1000,
            "body_timeout_ms": DEADLINE_S * 1000,
            "write_timeout_ms": 5_000,
        },
    )
    service.create("probe", image, Timeout=30, MemorySize=256)
    return service


class Callers:
    """Threads that invoke, each on a connection of its own, until they are stopped."""

    def __init__(self, port):
        self.port, self.stopping = port, threading.Event()
        self.seconds, self.failures = [], []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CALLERS)]

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.stopping.is_set():
            started = time.monotonic()
            try:
                connection.request("POST", PATH, body=b'{"op": "where"}')
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(answer.status)
            except OSError as error:
                self.failures.append(repr(error))
                return
            self.seconds.append(time.monotonic() - started)
            # A caller has something else to do, too: the machine is shared with 10,000 others.
            time.sleep(0.05)
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self.threads), "a caller hangs"


def open_all(stack, port, count, first):
    opened = []
    for index in range(count):
        one = stack.enter_context(connect(port, ADDRESSES[index % len(ADDRESSES)], timeout=30))
        one.sendall(first)
        opened.append(one)
    return opened


def trickle(connections):
    """A byte of each; those that are closed already are not meant any more."""
    for one in connections:
        with contextlib.suppress(OSError):
            one.send(b"1")


def ends(connections):
    """What the service says at last on each: a status, or 0 where it only closes."""
    found = Counter()
    for one in connections:
        received = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while chunk := one.recv(65536):
                received += chunk
        found[int(received.split()[1]) if received.startswith(b"HTTP/1.1 ") else 0] += 1
    return found


def metric(service, name):
    for line in service.http("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def slow_readers(stack, port):
    """Each asks for 5 MB, and takes a byte a second."""
    body = b'{"op": "big", "bytes": %d}' % BIG
    opened = []
    for _ in range(READERS):
        one = stack.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(30)
        one.bind((ADDRESSES[0], 0))
        one.connect(("127.0.0.1", port))
        one.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)) + body)
        opened.append(one)
    return opened


@pytest.mark.timeout(180)
def test_10000_slow_connections_while_32_callers_go_on(slowly_served):
    service = slowly_served
    assert service.invoke("probe", {"op": "where"}, timeout=30).status == 200
    threads, before = service.threads(), service.resident_kib()
    with Callers(service.port) as callers, contextlib.ExitStack() as stack:
        heads = open_all(stack, service.port, HEADS, HEAD)
        bodies = open_all(stack, service.port, BODIES, BODY)
        opened = time.monotonic()
        wait_for(lambda: metric(service, "lambda_http_connections") >= HEADS + BODIES, 10, "all are open")
        trickle(heads + bodies)
        cost = (service.resident_kib() - before) * 1024 / (HEADS + BODIES)
        assert service.threads() <= threads + 1, "threads do not grow with connections"
        readers = slow_readers(stack, service.port)
        # Until shortly before the first deadline, so that the answer is not lost to a byte too many.
        while time.monotonic() < opened + DEADLINE_S / 3:
            time.sleep(1)
            trickle(heads + bodies)
            for one in readers:
                with contextlib.suppress(OSError):
                    one.recv(1, socket.MSG_DONTWAIT)
        answered = len(callers.seconds)
        assert ends(heads) == {408: HEADS}
        assert ends(bodies) == {408: BODIES}
        assert len(callers.seconds) > answered, "callers go on while the slow ones are closed"
        for one in readers:
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while chunk := one.recv(65536):
                    received += len(chunk)
            assert received < BIG, "who takes nothing of an answer is closed"
    assert not callers.failures, Counter(callers.failures)
    milliseconds = sorted(seconds * 1000 for seconds in callers.seconds)
    print(f"{len(milliseconds)} invocations: median {statistics.median(milliseconds):.1f} ms,", end=" ")
    print(f"p99 {milliseconds[len(milliseconds) * 99 // 100]:.1f} ms, most {milliseconds[-1]:.1f} ms;", end=" ")
    print(f"{cost:.0f} bytes for each of {HEADS + BODIES} slow connections")
    assert cost < BYTES_PER_CONNECTION
    wait_for(lambda: metric(service, "lambda_http_connections") <= 10, 20, "all are closed")
    wait_for(lambda: metric(service, "lambda_http_buffered_bytes") == 0, 20, "all that was buffered is given back")
    assert service.invoke("probe", {"op": "where"}, timeout=30).status == 200
    assert "panicked" not in service.log()
