"""Functions that live in the test: local runtimes that record what they are given and answer as they are told."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Taken:
    id: str
    payload: bytes
    headers: dict = field(repr=False)
    at: float = field(default_factory=time.monotonic)

    def json(self):
        return json.loads(self.payload)


class Failure(Exception):
    """Raised by an answer: the function fails with this message."""


class Served:
    """Serves one function on as many threads as are asked for, until it is closed. It outlives the service: while
    that is away, it asks again."""

    def __init__(self, port, name, answer=lambda taken: taken.payload, runtimes=1):
        self.port, self.name, self.answer = port, name, answer
        self.taken = []
        self._open, self._end = set(), threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(runtimes)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._end.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            self._open.add(connection)
            try:
                while not self._end.is_set():
                    self._one(connection)
            except (OSError, http.client.HTTPException):
                self._end.wait(0.02)
            finally:
                self._open.discard(connection)
                connection.close()

    def _one(self, connection):
        connection.request("GET", f"/2018-06-01/runtime/invocation/next?FunctionName={self.name}")
        event = connection.getresponse()
        payload = event.read()
        if event.status != 200:
            raise http.client.HTTPException(event.status)
        headers = {name.lower(): value for name, value in event.getheaders()}
        taken = Taken(headers["lambda-runtime-aws-request-id"], payload, headers)
        self.taken.append(taken)
        try:
            kind, body = "response", self.answer(taken)
        except Failure as failure:
            told = {"errorType": "Failure", "errorMessage": str(failure)}
            kind, body = "error", json.dumps(told).encode()
        connection.request("POST", f"/2018-06-01/runtime/invocation/{taken.id}/{kind}", body=body)
        connection.getresponse().read()

    def close(self):
        self._end.set()
        for connection in list(self._open):
            if connection.sock is not None:
                try:
                    connection.sock.shutdown(2)
                except OSError:
                    pass
        for thread in self._threads:
            thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
