"""The real Engine behind a socket of the test's own, which can make it fail as the real one can't be made to.

Every request passes on a connection of its own, so that a rule sees each. A rule is a pair: a text that the request's
first line contains, and what happens to such a request. Without a rule everything goes to the Engine as it is.
"""

import os
import re
import socket
import threading
import time
from pathlib import Path

ENGINE = "/var/run/docker.sock"


def hang(_proxy, client, _head):
    """Takes the request and never answers."""
    client.settimeout(60)
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass


def fail(status=500, message="the test says no"):
    def action(_proxy, client, _head):
        body = b'{"message":"%s"}' % message.encode()
        client.sendall(
            b"HTTP/1.1 %d Failed\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(body), body)
        )

    return action


def delay(seconds):
    def action(proxy, client, head):
        time.sleep(seconds)
        proxy.forward(client, head)

    return action


def carried_out_but_refused(proxy, client, head):
    """The Engine does what it is asked to, and its answer is lost on the way."""
    with proxy.engine() as upstream:
        upstream.sendall(head)
        upstream.recv(65536)
    fail()(proxy, client, head)


class FaultyEngine:
    def __init__(self, directory):
        self.path = str(Path(directory) / "engine.sock")
        self.rules = []
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
        """Cuts every open connection whose request contains the text."""
        with self._lock:
            cut = [one for one in self._open if what in one[0]]
        for _, client in cut:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

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
        head = b""
        one = None
        try:
            while b"\r\n\r\n" not in head:
                part = client.recv(65536)
                if not part:
                    return
                head += part
            line = head.split(b"\r\n", 1)[0].decode()
            one = (line, client)
            with self._lock:
                self._open.add(one)
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head, count=1)
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            action = next((action for text, action in list(self.rules) if re.search(text, line)), None)
            if action:
                action(self, client, head)
            else:
                self.forward(client, head)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(one)
            client.close()

    def forward(self, client, head):
        with self.engine() as upstream:
            upstream.sendall(head)
            up = threading.Thread(target=pump, args=[client, upstream, False], daemon=True)
            up.start()
            pump(upstream, client, True)
            # The other direction ends with the client's connection.
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            up.join(10)


def pump(source, sink, last):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    if not last:
        try:
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
