"""The service as an operator runs it: its binary, a configuration file, a log, signals.

`Service` owns one process with its storage, its port, its network and its container prefix, and leaves none of
them behind. It knows nothing of the service's inside: what it learns comes from HTTP, /proc and the Engine.
"""

import io
import json
import os
import random
import signal
import socket
import stat
import subprocess
import tempfile
import time
import uuid
import zipfile
from pathlib import Path

import boto3
import botocore.config

import docker_cli
import wire

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
ROLE = "arn:aws:iam::000000000000:role/lambda-role"
START_DEADLINE_S = 30
STOP_DEADLINE_S = 40


def binary():
    """The program under test: LAMBDA_TEST_BINARY, else the newest build below target/."""
    named = os.environ.get("LAMBDA_TEST_BINARY")
    if named:
        return Path(named).resolve(strict=True)
    found = [
        path
        for pattern in ("*/release", "*/debug", "release", "debug")
        for path in (ROOT / "target").glob(f"{pattern}/lambda-runtime-api-server")
    ]
    if not found:
        raise FileNotFoundError("no lambda-runtime-api-server below target/: build it, or set LAMBDA_TEST_BINARY")
    return max(found, key=lambda path: path.stat().st_mtime)


def free_port():
    """A port that nobody listens on, below those that the kernel gives to outgoing connections: one of the
    thousands that these tests open could otherwise take it before the service does."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port


def wait_for(condition, within, what):
    """Polls until the condition holds and returns its value."""
    end = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {within} s still not true: {what}")
        time.sleep(0.05)


def environment(**more):
    """The environment of a child: nothing of the tester's own settings reaches the service."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DOCKER_HOST", "RUST_LOG") and not name.startswith(("LAMBDA_", "AWS_"))
    }
    return {**clean, **more}


def archive(files, modes=None):
    """A zip of these files; `modes` gives a file another mode than 0644."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2026, 11, 23, 0, 0, 0))
            entry.external_attr = (stat.S_IFREG | (modes or {}).get(name, 0o644)) << 16
            zipped.writestr(entry, content)
    return data.getvalue()


def toml_value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value)


def toml(tables):
    """The few kinds of value that the configuration has, as TOML."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{json.dumps(key)} = {toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


class Service:
    def __init__(self, run_id, **overrides):
        """`overrides` are tables of the configuration: execution={"max_concurrent_executions": 2}."""
        self.name = f"{run_id}-{uuid.uuid4().hex[:6]}"
        self.prefix = f"{self.name}-c-"
        self.network = f"{self.name}-net"
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.log_path = self.directory / "service.log"
        self.config_path = self.directory / "config.toml"
        tables = {
            "server": {"address": "0.0.0.0", "port": self.port},
            "storage": {"path": str(self.directory / "storage")},
            # Without a base image of the default name, which would stay on the tester's Engine.
            "docker": {"network_name": self.network, "container_prefix": self.prefix, "base_image": ""},
            "execution": {"max_concurrent_executions": 10},
        }
        for table, values in overrides.items():
            tables.setdefault(table, {}).update(values)
        self.tables = tables
        self.configure()
        self.process = None
        self.owner = None

    def configure(self, **overrides):
        """Writes the configuration, with these tables instead of the ones of the same name."""
        self.config_path.write_text(toml({**self.tables, **overrides}))

    # The process.

    def start(self, through=(), pass_fds=(), **variables):
        """`through` is a command that becomes the service, for who has to prepare its process."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*through, binary(), "--config", self.config_path],
                stdout=log,
                stderr=log,
                env=environment(**variables),
                cwd=self.directory,
                pass_fds=pass_fds,
            )
        wait_for(self.answers, START_DEADLINE_S, f"the service is healthy; its log:\n{self.log()}")
        self.owner = self.http("GET", "/status").json()["owner"]
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.log()}")
        try:
            return self.http("GET", "/health", timeout=5).status == 200
        except OSError:
            return False

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=STOP_DEADLINE_S):
        return self.process.wait(timeout)

    def stop(self):
        """As systemd stops it; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()

    def clean_up(self):
        """Removes every trace, whatever state the test left."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.signal(signal.SIGTERM)
                try:
                    self.wait(15)
                except subprocess.TimeoutExpired:
                    self.kill()
        finally:
            docker_cli.remove_all(self.name)
            docker_cli.remove_code_images(self.owner)
            subprocess.run(["rm", "-rf", "--", self.directory], check=False)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def containers(self):
        """Those of its sandboxes; not those that keep networks ready for them."""
        return docker_cli.container_ids(self.prefix, label="lambda-runtime-api-server.sandbox")

    def slots(self):
        """The containers that keep networks ready."""
        return docker_cli.container_ids(self.prefix, label="lambda-runtime-api-server.role=slot")

    def sandboxes(self, name):
        """The containers of a function's sandboxes, as /status tells them."""
        told = self.http("GET", "/status").json()["sandboxes"]
        return [sandbox["container"] for sandbox in told if f"/{name}/" in sandbox["function"]]

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def resident_kib(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("the kernel gives no VmRSS")

    # Its clients.

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def http(self, method, path, body=None, headers=None, **options):
        return wire.request(self.port, method, path, body, headers, **options)

    def invoke(self, name, event=None, **options):
        body = b"{}" if event is None else json.dumps(event).encode()
        return wire.invoke(self.port, name, body, **options)

    def boto(self, service="lambda", region=REGION, url=None, key=("test", "test"), token=None):
        """boto3 as a user sets it up, but without retries: a test wants to see the first answer."""
        return boto3.client(
            service,
            endpoint_url=url or self.url,
            region_name=region,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            aws_session_token=token,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60, max_pool_connections=64),
        )

    def create(self, name, image, variables=None, **settings):
        """Creates a function from an image and waits until it is Active."""
        client = self.boto()
        client.create_function(
            FunctionName=name,
            PackageType="Image",
            Code={"ImageUri": image},
            Environment={"Variables": variables or {}},
            **{"Role": ROLE, **settings},
        )
        wait_for(
            lambda: client.get_function(FunctionName=name)["Configuration"]["State"] == "Active",
            20,
            f"function {name} is Active",
        )
        return name
