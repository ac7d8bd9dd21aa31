"""Clients that misbehave: the service refuses them, stays small, and goes on answering everyone else.

Most of the hostile connections come from 127.0.0.9, so that a limit per address may refuse them;
the honest caller is 127.0.0.1. Every test ends with an ordinary invocation in a real container.
"""

import contextlib
import socket
import struct
import time

import pytest

import docker_cli
import wire
from wire import connect, read_answer

HOSTILE = "127.0.0.9"
# What any of these tests may cost at most, beyond what the service used before.
MEMORY_BOUND_KIB = 64 * 1024


@pytest.fixture(autouse=True)
def unharmed(service, function):
    """Around each test: it serves before and after, with the same threads and little more memory."""
    assert serves(service, function)
    threads, resident = service.threads(), service.resident_kib()
    yield
    assert serves(service, function)
    assert service.threads() <= threads + 1, "threads do not grow with connections"
    assert service.resident_kib() - resident < MEMORY_BOUND_KIB
    assert "panicked" not in service.log()


def serves(service, function):
    started = time.monotonic()
    answer = service.invoke(function, {"op": "where"}, timeout=10)
    return answer.status == 200 and time.monotonic() - started < 3


@contextlib.contextmanager
def connections(port, count, first=b""):
    """Open connections that have sent their first bytes and nothing more."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            try:
                one = stack.enter_context(connect(port, HOSTILE))
                if first:
                    one.sendall(first)
                opened.append(one)
            except OSError:
                # Refused by a limit: that is a defence too.
                continue
        yield opened


def send(port, data, timeout=15):
    """Sends bytes on a connection of their own; what comes back until the service closes or falls silent."""
    with connect(port, HOSTILE, timeout) as one:
        with contextlib.suppress(OSError):
            one.sendall(data)
        received = b""
        with contextlib.suppress(OSError):
            while chunk := one.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and not received.startswith(b"HTTP/1.1 1"):
                    break
        return received


def status(received):
    return int(received.split()[1]) if received.startswith(b"HTTP/1.1 ") else None


def test_2000_silent_connections(service, function):
    threads = service.threads()
    with connections(service.port, 2_000) as opened:
        assert len(opened) > 500
        assert serves(service, function)
        assert service.threads() <= threads + 1
        assert serves(service, function)


def test_200_half_sent_heads(service, function):
    with connections(service.port, 200, b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHo") as opened:
        assert len(opened) >= 100
        for _ in range(5):
            assert serves(service, function)


def test_half_sent_bodies(service, function):
    head = b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n"
    with connections(service.port, 100, head + b"x" * 1000):
        for _ in range(5):
            assert serves(service, function)


def test_a_length_of_ten_to_the_fourteenth(service):
    for _ in range(10):
        head = b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000000\r\n\r\n"
        assert status(send(service.port, head)) == 413


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(service):
    head = b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 6291457\r\n\r\n"
    assert status(send(service.port, head)) == 413


def test_a_chunked_body_without_end(service):
    with connect(service.port, HOSTILE) as one:
        one.sendall(b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(1_000):
                one.sendall(chunk)
        with contextlib.suppress(OSError):
            assert status(one.recv(65536)) in (413, None)


def test_an_endless_header(service):
    with connect(service.port, HOSTILE) as one:
        with contextlib.suppress(OSError):
            one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
            for _ in range(2_000):
                one.sendall(b"a" * 65536)
        # The kernel may have thrown the answer away with the connection: what counts is that it ended.
        with contextlib.suppress(OSError):
            assert status(one.recv(65536)) in (431, 400, None)


def test_headers_without_number(service):
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(20_000))
    assert status(send(service.port, head + b"\r\n")) in (431, 400, None)


def test_an_endless_target(service):
    assert status(send(service.port, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")) in (414, 431, 400)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: 99999999999999999999999999\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n",
        b"Bad Name: a\r\nContent-Length: 2\r\n",
        b"Content-Length : 2\r\n",
        b"X-Nul: a\0b\r\nContent-Length: 2\r\n",
    ],
    ids=lambda fields: fields.decode("latin-1").strip().replace("\r\n", " + "),
)
def test_contradicting_lengths_and_bad_fields(service, fields):
    """RFC 9112 sections 5 and 6: what two readers could frame differently is refused, and the connection closed."""
    head = b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
    smuggled = b"{}GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(service.port, HOSTILE) as one:
        one.sendall(head + smuggled)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := one.recv(65536):
                received += chunk
    assert status(received) == 400, received
    assert received.count(b"HTTP/1.1 ") == 1, "nothing after it is taken for a request"


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"2\r\n{}XX0\r\n\r\n", b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n"],
    ids=["not hexadecimal", "overflow", "no line end", "long extension"],
)
def test_bad_chunks(service, chunks):
    head = b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(send(service.port, head + chunks)) in (400, 413, 431, None)


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def smuggling(inner):
    """Requests in which `inner` is a second one to some readers: by name the fields and what follows them."""
    length, ended = b"Content-Length: %d\r\n", b"0\r\n\r\n" + inner
    return {
        "CL.TE": (length % len(ended) + CHUNKED, ended),
        "TE.CL": (CHUNKED + length % 4, b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)),
        "TE.TE": (CHUNKED + b"Transfer-Encoding: cow\r\n", ended),
        "CL.CL": (length % 0 + length % len(inner), inner),
        "CL.0": (length % len(inner), inner),
        "0.CL": (b"Content-Length : %d\r\n" % len(inner), inner),
        "a chunk's extension": (CHUNKED, b"0;a\n\r\n\r\n" + inner),
        "a chunk's size": (CHUNKED, b"10000000000000000\r\n\r\n" + inner),
        "a chunk's data": (CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)),
        "a trailer": (CHUNKED, b"0\r\nX: y\n\n" + inner),
        "a bare line feed": (b"X: y\n\n", inner),
        "a fold": (b"X: y\r\n " + length % len(inner), inner),
    }


def test_a_smuggled_invocation_is_never_executed(service, function):
    """The neighbour would get it: what it gets is the next honest invocation, and nothing before."""
    neighbour = wire.Runtime(service.port, "neighbour")
    event, caller = neighbour.take(b'{"honest": 1}')
    neighbour.respond(wire.request_id(event), b"1")
    assert caller.result().status == 200
    polled = wire.InBackground(neighbour.next, timeout=60)
    inner = wire_request("neighbour", b'{"smuggled": true}')
    for name, (fields, rest) in smuggling(inner).items():
        head = f"POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nHost: x\r\n".encode()
        with connect(service.port, HOSTILE) as one:
            one.sendall(head + fields + b"\r\n" + rest)
            one.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := one.recv(65536):
                    received += chunk
        assert received.count(b"HTTP/1.1 ") == 1 and status(received) == 400, f"{name}: {received}"
    caller = wire.InBackground(wire.invoke, service.port, "neighbour", b'{"honest": 2}')
    event = polled.result()
    assert event.json() == {"honest": 2}
    neighbour.respond(wire.request_id(event), b"2")
    assert caller.result().json() == 2


def test_a_body_cut_short(service):
    for _ in range(50):
        with connect(service.port, HOSTILE) as one:
            one.sendall(b"POST /2015-03-31/functions/probe/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")


def test_connections_reset_at_once(service):
    for _ in range(200):
        one = connect(service.port, HOSTILE)
        # Linger of zero: close sends a reset.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        one.close()


def test_clients_that_never_read(service, function):
    ask = wire_request(function, b'{"op": "big", "bytes": 5000000}')
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            one = socket.socket()
            stack.enter_context(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", service.port))
            one.sendall(ask)
        time.sleep(1)
        for _ in range(10):
            assert serves(service, function)


def wire_request(name, body):
    head = f"POST /2015-03-31/functions/{name}/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_200_keep_alive_connections_in_one_burst(service):
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connect(service.port)) for _ in range(200)]
        streams = [one.makefile("rb") for one in opened]
        for _ in range(3):
            for one in opened:
                one.sendall(ask)
            assert [read_answer(stream).status for stream in streams] == [200] * 200


def test_pipelined_requests_are_answered_in_order(service, function):
    asks = b"".join(
        wire_request(function, b'{"op": "echo", "n": %d}' % number) + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        for number in range(10)
    )
    with connect(service.port) as one:
        one.sendall(asks)
        stream = one.makefile("rb")
        for number in range(10):
            assert read_answer(stream).json()["event"]["n"] == number
            assert "status" in read_answer(stream).json()


def test_a_request_byte_by_byte(service, function):
    with connect(service.port) as one:
        for byte in wire_request(function, b'{"op": "where"}'):
            one.sendall(bytes([byte]))
        assert read_answer(one.makefile("rb")).status == 200


def test_expect_continue(service, function):
    body = b'{"op": "where"}'
    with connect(service.port) as one:
        head = wire_request(function, body)[: -len(body) - 2] + b"Expect: 100-continue\r\n\r\n"
        one.sendall(head)
        stream = one.makefile("rb")
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        one.sendall(body)
        assert read_answer(stream).status == 200


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01", b"\0" * 4096, b"GET\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n"])
def test_not_http(service, junk):
    assert status(send(service.port, junk + b"\r\n\r\n")) in (400, 505, None)


def test_strangers_get_health_only(service):
    """Who is not on loopback and has no key may see that the service lives, and nothing else."""
    # Who calls one of the host's other addresses comes from that address, not from loopback.
    address = docker_cli.gateway(service.network)
    assert wire.request(service.port, "GET", "/health", host=address).status == 200
    for method, path in (
        ("POST", "/2015-03-31/functions/probe/invocations"),
        ("GET", "/2015-03-31/functions"),
        ("GET", "/2018-06-01/runtime/invocation/next"),
        ("GET", "/status"),
    ):
        answer = wire.request(service.port, method, path, host=address, timeout=10)
        assert answer.status == 403, f"{method} {path}: {answer}"
