#!/usr/bin/env python3
"""A mixed load over twenty functions for a long time, while containers are killed and the Engine is restarted.

For scripts/soak.sh, which builds what it needs. Python's standard library only. What counts is written down by
two parties that know nothing of the service: the callers, and a recorder that every invocation reports to before
it does anything. So what was lost and what ran twice is counted, not inferred. Exits with 1 when anything was
lost, ran twice, was answered in a way that no fault explains, or when memory or threads have grown.
"""

import argparse
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from functions import Client, FUNCTIONS, of_image

IMAGE = "lras-soak:latest"
BRIDGE = "lrassoak0"
SUBNET = "10.211.0.0/16"
GATEWAY = "10.211.0.1"
CALLERS = 12
# A fault explains what went wrong so long after it.
EXPLAINS = 12.0
ENGINE_EXPLAINS = 45.0

# What a function does, how many there are, and the error that it is to give.
KINDS = [
    ("quick", 9, {"op": "where"}, {}, None),
    ("slow", 2, {"op": "sleep", "ms": 200}, {}, None),
    ("large", 1, {"op": "length", "data": "x" * 1_000_000}, {}, None),
    ("talkative", 1, {"op": "log", "lines": 100}, {}, None),
    ("heavy", 1, {"op": "memory", "mib": 60}, {"MemorySize": 256}, None),
    ("reserved", 1, {"op": "where"}, {}, None),
    ("raises", 1, {"op": "raise", "message": "no"}, {}, "&"),
    ("panics", 1, {"op": "panic"}, {}, "&"),
    ("exits", 1, {"op": "exit", "code": 3}, {}, "Runtime.ExitError"),
    ("hangs", 1, {"op": "sleep", "ms": 5_000}, {"Timeout": 1}, "Sandbox.Timedout"),
    ("events", 1, {"op": "where"}, {}, None),
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"after {seconds} s still not: {what}")
        time.sleep(0.1)


class Engine:
    """A Docker Engine of the soak's own, so that its restart is nobody else's. It makes no firewall rules."""

    def __init__(self, directory):
        self.directory, self.process = directory, None
        self.socket = directory / "docker.sock"

    def start(self):
        if not Path("/sys/class/net", BRIDGE).exists():
            subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
            subprocess.run(["ip", "address", "add", "10.212.0.1/24", "dev", BRIDGE], check=True)
            subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
        program = shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        with (self.directory / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "--host", f"unix://{self.socket}", "--data-root", self.directory / "data",
                 "--exec-root", self.directory / "exec", "--pidfile", self.directory / "pid",
                 "--bridge", BRIDGE, "--iptables=false", "--ip-masq=false"],
                stdout=log, stderr=log, start_new_session=True,
            )
        wait_for(lambda: self.docker("version", check=False).returncode == 0, 60, "the Engine answers")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def docker(self, *arguments, check=True):
        command = ["docker", "--host", f"unix://{self.socket}", *arguments]
        return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)

    def containers(self, label=""):
        listed = self.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}", check=False)
        return listed.stdout.split()

    def remove(self):
        if self.process and self.process.poll() is None:
            for container in self.docker("ps", "--all", "--quiet", check=False).stdout.split():
                self.docker("rm", "--force", container, check=False)
            # Or its bridge would stay, and with it the way to these addresses.
            self.docker("network", "prune", "--force", check=False)
            self.stop()
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
        # What an Engine that was restarted has lost sight of goes on, and stays mounted.
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{self.directory}/exec".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                pass
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([one for one in mounts if one.startswith(f"{self.directory}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False)


class Recorder(socketserver.ThreadingTCPServer):
    """Writes down which invocation runs, and only then lets it go on."""

    daemon_threads = allow_reuse_address = True
    request_queue_size = 128

    def __init__(self):
        self.lock, self.runs = threading.Lock(), collections.Counter()
        super().__init__(("0.0.0.0", 0), RecorderHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class RecorderHandler(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self):
        told = self.rfile.readline().strip().decode()
        with self.server.lock:
            self.server.runs[told] += 1
        self.wfile.write(b"1")


class Service:
    def __init__(self, binary, directory, engine):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = directory / "config.toml"
        config.write_text(f"""[server]
port = {self.port}
[storage]
path = "{directory}/storage"
[docker]
socket = "{engine.socket}"
network_name = "lras-soak"
container_prefix = "lras-soak-"
subnet = "{SUBNET}"
base_image = ""
[execution]
max_concurrent_executions = 60
idle_timeout_ms = 20000
freeze_after_ms = 5000
[asynchronous]
retry_delay_ms = 5000
""")
        self.log = directory / "service.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([binary, "--config", config], stdout=log, stderr=log)
        wait_for(self.answers, 60, "the service answers")

    def answers(self):
        try:
            Client(self.port).call("GET", "/health")
        except (OSError, RuntimeError, http.client.HTTPException):
            return False
        return True

    def figures(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        field = lambda name: int(next(l for l in status.splitlines() if l.startswith(name)).split()[1])
        files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return field("VmRSS:"), field("Threads:"), files


class Soak:
    def __init__(self, service, engine, recorder, seconds):
        self.service, self.engine, self.recorder = service, engine, recorder
        self.begin = time.monotonic()
        self.end = self.begin + seconds
        self.lock = threading.Lock()
        self.functions = []
        self.answers = collections.Counter()
        self.answered_well, self.accepted = set(), set()
        self.called = 0
        self.latencies = []
        self.unexplained = []
        # When faults were, from and until.
        self.faults = []
        self.faults_made = collections.Counter()
        self.samples = []

    def deploy(self):
        client = Client(self.service.port)
        for kind, count, event, settings, error in KINDS:
            for number in range(count):
                name = f"{kind}-{number}"
                client.call("POST", FUNCTIONS, {**of_image(name, IMAGE), "Timeout": 20, **settings})
                self.functions.append((name, kind, event, error))
        for name, *_ in self.functions:
            state = lambda: client.call("GET", f"{FUNCTIONS}/{name}/configuration")["State"]
            wait_for(lambda: state() == "Active", 60, f"{name} is Active")
        limit = {"ReservedConcurrentExecutions": 1}
        client.call("PUT", "/2017-10-31/functions/reserved-0/concurrency", limit)

    # Callers.

    def call_on(self, number):
        chance = random.Random(number)
        connection = None
        while time.monotonic() < self.end:
            time.sleep(chance.random() * 0.12)
            name, kind, event, error = chance.choice(self.functions)
            told = str(uuid.uuid4())
            recorder = f"{GATEWAY}:{self.recorder.server_address[1]}"
            body = json.dumps({**event, "id": told, "recorder": recorder})
            headers = {"Content-Type": "application/json"}
            if kind == "events":
                headers["X-Amz-Invocation-Type"] = "Event"
            begun = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=90)
                connection.request("POST", f"{FUNCTIONS}/{name}/invocations", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as problem:
                connection = None
                self.write_down(told, kind, begun, f"no answer: {problem!r}", False)
                continue
            self.judge(told, kind, error, begun, answer, content)

    def judge(self, told, kind, error, begun, answer, content):
        failed = answer.headers.get("X-Amz-Function-Error")
        if answer.status == 202:
            with self.lock:
                self.accepted.add(told)
            self.write_down(told, kind, begun, "accepted", True)
        elif answer.status == 200 and not failed:
            with self.lock:
                self.answered_well.add(told)
            self.write_down(told, kind, begun, "answered", error is None)
        elif answer.status == 200:
            found = json.loads(content).get("errorType", "")
            # A handler's own error has the runtime's name for it.
            wanted = found == error or (error == "&" and not found.startswith(("Runtime.", "Sandbox.")))
            self.write_down(told, kind, begun, f"function error {found}" if not wanted else "its error", wanted)
        else:
            found = answer.headers.get("X-Amzn-ErrorType", "").split(":")[0]
            throttled = answer.status == 429
            self.write_down(told, kind, begun, f"{answer.status} {found}", throttled)

    def write_down(self, told, kind, begun, what, wanted):
        now = time.monotonic()
        with self.lock:
            self.called += 1
            self.answers[f"{kind}: {what}" if not wanted else what] += 1
            if what == "answered" and kind == "quick":
                self.latencies.append(now - begun)
            # Judged at the end: a fault can be written down later than what it has caused.
            if not wanted:
                self.unexplained.append((begun, now, kind, what, told))

    # Faults.

    def fault(self, name, act, explains):
        begun = time.monotonic()
        act()
        with self.lock:
            self.faults.append((begun, time.monotonic() + explains))
            self.faults_made[name] += 1

    def kill_a_runtime(self, container):
        listed = self.engine.docker("top", container, "-eo", "pid,comm", check=False).stdout.splitlines()[1:]
        for pid, command in (line.split(None, 1) for line in listed):
            if command != "docker-init":
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def restart_engine(self):
        say("the Engine is restarted")
        self.engine.stop()
        time.sleep(2)
        self.engine.start()

    def break_things(self):
        chance = random.Random(4)
        restart_at = self.begin + (self.end - self.begin) / 2
        docker = lambda *arguments: self.engine.docker(*arguments, check=False)
        ways = {
            "docker kill": lambda one: docker("kill", one),
            "docker rm --force": lambda one: docker("rm", "--force", one),
            "docker stop": lambda one: docker("stop", "--time", "1", one),
            "runtime killed": self.kill_a_runtime,
        }
        while time.monotonic() < self.end:
            time.sleep(min(chance.uniform(2, 10), max(self.end - time.monotonic(), 0.1)))
            if restart_at and time.monotonic() >= restart_at:
                restart_at = None
                self.fault("Engine restarted", self.restart_engine, ENGINE_EXPLAINS)
            label = "lambda-runtime-api-server.sandbox" if chance.random() < 0.85 else "lambda-runtime-api-server.role=slot"
            found = self.engine.containers(label)
            if found:
                name, way = chance.choice(list(ways.items()))
                self.fault(name, lambda: way(chance.choice(found)), EXPLAINS)

    # The service.

    def sample(self):
        while time.monotonic() < self.end:
            self.samples.append((time.monotonic() - self.begin, *self.service.figures()))
            time.sleep(2)

    def run(self):
        work = [(self.call_on, (number,)) for number in range(CALLERS)]
        work += [(self.break_things, ()), (self.sample, ())]
        threads = [threading.Thread(target=target, args=arguments, daemon=True) for target, arguments in work]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if self.service.process.poll() is not None:
                raise RuntimeError(f"the service has ended with {self.service.process.returncode}")
            time.sleep(1)
            passed = int(time.monotonic() - self.begin)
            if passed % 60 == 0:
                with self.lock:
                    say(f"{passed} s: {self.called} calls, {sum(self.faults_made.values())} faults, "
                        f"{self.samples[-1][1]} KiB, {self.samples[-1][2]} threads")

    def settle(self):
        """Every event has run or become a dead letter."""
        client = Client(self.service.port)
        wait_for(lambda: client.call("GET", "/queue")["events"] == 0, 300, "the queue is empty")
        return client.call("GET", "/queue")

    def verdict(self, letters):
        runs = self.recorder.runs
        explained = lambda begun, end: any(begun <= until and end >= since for since, until in self.faults)
        unexplained = [one for one in self.unexplained if not explained(*one[:2])]
        unanswered = [one for one in unexplained if one[3].startswith("no answer")]
        not_run = [one for one in self.answered_well if not runs[one]]
        lost = [one for one in self.accepted if not runs[one]]
        twice = [one for one, count in runs.items() if count > 1 and one not in self.accepted]
        repeated = sum(count - 1 for one, count in runs.items() if one in self.accepted)
        third = (self.end - self.begin) / 3
        early = [one for one in self.samples if third / 2 <= one[0] < third * 1.4]
        late = [one for one in self.samples if one[0] >= third * 2]
        median = lambda samples, index: statistics.median(one[index] for one in samples)
        print(f"\n| {int(self.end - self.begin)} s, {len(self.functions)} functions, {CALLERS} callers | |\n|---|--:|")
        row = lambda name, value: print(f"| {name} | {value} |")
        row("calls", self.called)
        row("events accepted", len(self.accepted))
        for name, count in sorted(self.faults_made.items()):
            row(f"fault: {name}", count)
        for name, count in sorted(self.answers.items()):
            row(f"outcome: {name}", count)
        latencies = sorted(self.latencies) or [0]
        for percent in (50, 99):
            row(f"p{percent} of a quick call, ms", f"{latencies[len(latencies) * percent // 100] * 1000:.1f}")
        for index, name in ((1, "memory, KiB"), (2, "threads"), (3, "descriptors")):
            values = [one[index] for one in self.samples]
            row(f"{name}: early, late, most", f"{median(early, index):.0f}, {median(late, index):.0f}, {max(values)}")
        row("events that ran more than once (at least once is promised)", repeated)
        row("dead letters", letters)
        bad = {
            "calls without an answer": len(unanswered),
            "answered and never run": len(not_run),
            "events accepted and never run": max(len(lost) - letters, 0),
            "invocations that ran twice": len(twice),
            "outcomes that no fault explains": len(unexplained),
            "memory grown": int(median(late, 1) > median(early, 1) * 1.15 + 2048),
            "threads grown": int(median(late, 2) > median(early, 2)),
        }
        for name, count in bad.items():
            row(f"**{name}**", count)
        for begun, _, kind, what, told in unexplained[:20]:
            say(f"unexplained at {begun - self.begin:.1f} s: {kind}: {what} ({told})")
        return not any(bad.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--function", required=True, help="the static test function")
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    # A short path: the Engine's sockets are below it.
    directory = Path(tempfile.mkdtemp(prefix="lrassoak"))
    engine, service = Engine(directory), None
    try:
        engine.start()
        context = directory / "context"
        context.mkdir()
        shutil.copy(options.function, context / "bootstrap")
        shutil.copy("tests/functions/rust/Dockerfile", context)
        engine.docker("build", "--quiet", "--tag", IMAGE, str(context))
        service = Service(options.binary, directory, engine)
        soak = Soak(service, engine, Recorder(), options.minutes * 60)
        soak.deploy()
        soak.run()
        queue_now = soak.settle()
        good = soak.verdict(queue_now["dead_letters"]["letters"])
        service.process.terminate()
        code = service.process.wait(60)
        left = engine.containers("lambda-runtime-api-server.owner")
        running = engine.docker("ps", "--quiet").stdout.split()
        # A restarted Engine can refuse to remove what it has lost sight of ("device or resource busy"); it is dead.
        print(f"| exit status after SIGTERM | {code} |\n| containers left, running | {len(left)}, {len(running)} |")
        good = good and code == 0 and not running
        if not good:
            kept = Path(tempfile.gettempdir()) / "lras-soak-service.log"
            shutil.copy(service.log, kept)
            say(f"the service's log is kept as {kept}")
        return 0 if good else 1
    finally:
        if service and service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        engine.remove()
        subprocess.run(["rm", "-rf", "--", directory], check=False)


if __name__ == "__main__":
    sys.exit(main())
