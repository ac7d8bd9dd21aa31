"""The real Engine behind a socket of the test's own, which can make it fail as the real one can't be made to.

Every request passes on a connection of its own, so that a rule sees each, whole. A rule is a pair: what it is for, a
pattern for the request's first line or a function of the first line and the body, and what happens to such a request.
Without a rule everything goes to the Engine as it is. Of the ways to frame a body it knows the two that the
service's client uses.
"""

import os
import re
import socket
import threading
import time
from pathlib import Path

ENGINE = "/var/run/docker.sock"


def hang(_proxy, client, _request):
    """Takes the request and never answers."""
    client.settimeout(60)
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass


def fail(status=500, message="the test says no"):
    def action(_proxy, client, _request):
        body = b'{"message":"%s"}' % message.encode()
        client.sendall(
            b"HTTP/1.1 %d Failed\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(body), body)
        )

    return action


def delay(seconds):
    def action(proxy, client, request):
        time.sleep(seconds)
        proxy.forward(client, request)

    return action


def carried_out_but_refused(proxy, client, request):
    """The Engine does what it is asked to, and its answer is lost on the way."""
    with proxy.engine() as upstream:
        upstream.sendall(request)
        upstream.recv(65536)
    fail()(proxy, client, request)


class FaultyEngine:
    def __init__(self, directory):
        self.path = str(Path(directory) / "engine.sock")
        self.rules = []
        # How many requests a rule was for.
        self.ruled = 0
        self._open = set()
        self._lock = threading.Lock()
        self._listener = None
        self.up()

    def up(self):
        """Begins to listen, as an Engine that has just started."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def down(self):
        """The Engine is gone: nobody listens, and every connection is cut."""
        # Without the shutdown the accepting thread would keep the listener alive.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self.path)
        self.cut()

    def cut(self, what=""):
        """Cuts every open connection whose request's first line contains the text."""
        with self._lock:
            cut = [one for one in self._open if what in one[0]]
        for _, client in cut:
            shut(client)

    def engine(self):
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(ENGINE)
        return upstream

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        one = None
        try:
            head, body, framed = read_request(client.makefile("rb"))
            line = head.split(b"\r\n", 1)[0].decode()
            one = (line, client)
            with self._lock:
                self._open.add(one)
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head, count=1)
            request = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + framed
            action = next((action for wanted, action in list(self.rules) if is_for(wanted, line, body)), None)
            if action:
                self.ruled += 1
                action(self, client, request)
            else:
                self.forward(client, request)
        except (OSError, EOFError):
            pass
        finally:
            with self._lock:
                self._open.discard(one)
            client.close()

    def forward(self, client, request):
        with self.engine() as upstream:
            upstream.sendall(request)
            # A client that goes away ends the Engine's side too: a stream would go on for ever.
            watch = threading.Thread(target=pump, args=[client, upstream], daemon=True)
            watch.start()
            pump(upstream, client)
            watch.join(10)


def is_for(wanted, line, body):
    return wanted(line, body) if callable(wanted) else re.search(wanted, line)


def shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    shut(sink)


def read_request(reader):
    """The head, the body, and the body as it came."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line_of(reader)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") != b"chunked":
        body = exactly(reader, int(fields.get(b"content-length", 0)))
        return head, body, body
    framed, body = [], []
    while True:
        size = line_of(reader)
        chunk = exactly(reader, int(size, 16) + 2)
        framed += [size, chunk]
        body.append(chunk[:-2])
        if int(size, 16) == 0:
            return head, b"".join(body), b"".join(framed)


def line_of(reader):
    line = reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def exactly(reader, size):
    data = reader.read(size)
    if len(data) != size:
        raise EOFError
    return data
