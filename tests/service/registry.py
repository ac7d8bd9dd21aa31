"""A registry of images in the test, from which the Engine really pulls: one image, as slowly as a test wants.

The Engine speaks plain HTTP to registries on loopback. https://distribution.github.io/distribution/spec/api/
"""

import gzip
import hashlib
import http.server
import io
import json
import os
import platform
import tarfile
import threading

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def sha256(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """Serves `NAME:1` with a static program as its entry point. Nothing of it comes before `manifest` is set, and the
    end of its layer not before `layer` is."""

    def __init__(self, bootstrap, filling_mb=3):
        self.manifest, self.layer = threading.Event(), threading.Event()
        self.closed = False
        self.blobs = {}
        layer = self.keep(gzip.compress(archive(bootstrap, filling_mb), 1))
        plain = gzip.decompress(self.blobs[layer["digest"]])
        config = self.keep(
            json.dumps(
                {
                    "architecture": MACHINE,
                    "os": "linux",
                    "config": {"Entrypoint": ["/bootstrap"]},
                    "rootfs": {"type": "layers", "diff_ids": [sha256(plain)]},
                }
            ).encode()
        )
        self.large = layer["digest"]
        self.manifest_body = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": "application/vnd.docker.container.image.v1+json", **config},
                "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", **layer}],
            }
        ).encode()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def keep(self, data):
        digest = sha256(data)
        self.blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    def image(self, name):
        return f"127.0.0.1:{self.server.server_address[1]}/{name}:1"

    def open(self):
        self.manifest.set()
        self.layer.set()

    def close(self):
        """What was not given until now is not given any more."""
        self.closed = True
        self.open()
        self.server.shutdown()
        self.server.server_close()


def archive(bootstrap, filling_mb):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data, mode in (("bootstrap", bootstrap, 0o755), ("filling", os.urandom(filling_mb << 20), 0o644)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def handler(registry):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            kind, name = self.path.split("/")[-2:]
            if kind == "manifests":
                registry.manifest.wait(120)
                if registry.closed:
                    self.close_connection = True
                    return None
                return self.answer(registry.manifest_body, MANIFEST)
            if kind == "blobs" and name in registry.blobs:
                return self.answer(registry.blobs[name], "application/octet-stream", gate=name == registry.large)
            return self.answer(b"{}", "application/json", status=200 if self.path.rstrip("/") == "/v2" else 404)

        do_HEAD = do_GET

        def answer(self, body, kind, status=200, gate=False):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", sha256(body))
            self.end_headers()
            if self.command == "HEAD":
                return
            if not gate:
                self.wfile.write(body)
                return
            # A part now and then, so that the Engine has something to tell; the last one when the gate opens.
            step = 64 << 10
            parts = [body[at : at + step] for at in range(0, len(body), step)]
            for part in parts[:-1]:
                self.wfile.write(part)
                registry.layer.wait(0.2)
            registry.layer.wait(120)
            if registry.closed:
                self.close_connection = True
            else:
                self.wfile.write(parts[-1])

        def log_message(self, *_):
            pass

    return Handler
