"""HTTP as bytes, and a function runtime that lives in the test.

The standard clients hide what the tests ask about (which status, which headers, who closed the connection),
so this speaks HTTP through http.client and plain sockets. It never retries.
"""

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Answer:
    status: int
    headers: dict = field(repr=False)
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def error_type(self):
        return self.headers.get("x-amzn-errortype", "")


def request(port, method, path, body=None, headers=None, timeout=30, source=None, chunked=False, host="127.0.0.1"):
    """One request on a connection of its own; header names of the answer are in lower case."""
    connection = http.client.HTTPConnection(
        host, port, timeout=timeout, source_address=(source, 0) if source else None
    )
    try:
        try:
            connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            # The service may refuse a body by its head alone; its answer is there to be read all the same.
            pass
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def invoke(port, name, body=b"{}", headers=None, **options):
    return request(port, "POST", f"/2015-03-31/functions/{name}/invocations", body, headers, **options)


def invoke_known(port, name, body=b"{}", headers=None, within=10, **options):
    """Invokes a function that appears by polling: until its first poll has arrived it is unknown (404)."""
    end = time.monotonic() + within
    while True:
        answer = invoke(port, name, body, headers, **options)
        if answer.status != 404 or time.monotonic() > end:
            return answer
        time.sleep(0.02)


class InBackground:
    """A call on a thread of its own; `result()` gives its value or raises what it raised."""

    def __init__(self, call, *arguments, **options):
        self._value = self._error = None

        def run():
            try:
                self._value = call(*arguments, **options)
            except BaseException as error:  # handed to the test, which decides
                self._error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def done(self):
        return not self._thread.is_alive()

    def result(self, timeout=30):
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the background call has not ended")
        if self._error is not None:
            raise self._error
        return self._value


class Runtime:
    """A process on the host as the runtime of one function, step by step as a debugger would be."""

    VERSION = "/2018-06-01"

    def __init__(self, port, name, version=VERSION):
        self.port, self.name, self.version = port, name, version

    def call(self, method, path, body=None, headers=None, **options):
        named = {"Lambda-Runtime-Function-Name": self.name, **(headers or {})}
        return request(self.port, method, f"{self.version}/runtime/{path}", body, named, **options)

    def next(self, **options):
        return self.call("GET", "invocation/next", **options)

    def respond(self, request_id, body, headers=None, **options):
        return self.call("POST", f"invocation/{request_id}/response", body, headers, **options)

    def fail(self, request_id, body, headers=None):
        return self.call("POST", f"invocation/{request_id}/error", body, headers)

    def init_error(self, body=b"{}", headers=None):
        return self.call("POST", "init/error", body, headers)

    def take(self, payload=b"{}", headers=None):
        """Polls, invokes, and returns (the event as polled, the caller's call that is still open)."""
        polled = InBackground(self.next)
        caller = InBackground(invoke_known, self.port, self.name, payload, headers)
        event = polled.result(15)
        assert event.status == 200, event
        return event, caller


def request_id(event):
    return event.headers["lambda-runtime-aws-request-id"]


def connect(port, source=None, timeout=15):
    """A bare TCP connection."""
    return socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)


def read_answer(stream):
    """One answer from a buffered stream of a raw socket: (status, headers, body)."""
    line = stream.readline()
    if not line:
        raise ConnectionError("closed without an answer")
    status = int(line.split()[1])
    headers = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(status, headers, stream.read(int(headers.get("content-length", 0))))
