"""A Docker Engine with one fault: it passes everything to the real one but what its rule refuses.

It reads requests far enough to know where each ends, and passes answers as bytes. Of the ways to frame a body it
knows the two that the service's client uses.
"""

import json
import socket
import threading


class EngineProxy:
    def __init__(self, path, refuse, engine="/var/run/docker.sock"):
        """`refuse(method, target, body)` gives a message where the request is to be refused with 400, else None."""
        self.refuse, self.engine = refuse, engine
        self.refused = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(self.engine)
        threading.Thread(target=pump, args=(engine, client), daemon=True).start()
        reader = client.makefile("rb")
        try:
            while True:
                head, body, raw = read_request(reader)
                method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
                message = self.refuse(method, target, body)
                if message is None:
                    engine.sendall(raw)
                    continue
                self.refused += 1
                text = json.dumps({"message": message}).encode()
                # The client sends nothing more before it has this answer, so there is none before it under way.
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        except (OSError, EOFError):
            pass
        finally:
            for one in (client, engine):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def read_request(reader):
    """The head, the body and both as they came."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line_of(reader)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") != b"chunked":
        body = exactly(reader, int(fields.get(b"content-length", 0)))
        return head, body, head + body
    raw, body = head, b""
    while True:
        size = line_of(reader)
        chunk = exactly(reader, int(size, 16) + 2)
        raw, body = raw + size + chunk, body + chunk[:-2]
        if int(size, 16) == 0:
            return head, body, raw


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
