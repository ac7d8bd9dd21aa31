#!/usr/bin/env python3
"""What the audit log costs a warm invocation: two services of one binary, one with it and one without, in turn.

  benches/audit.py --server BINARY --tools DIRECTORY [--rounds N] [--seconds S] [--case CALLERS:BYTES]...

Rounds are short and in the order off, on, on, off, ..., for a machine's speed drifts; what is told are the medians of
the rounds, and the median of the ratios of neighbours with the quarter below and above. CPU is user and system time
of the service's process for each invocation, which other work on the machine disturbs less than its latency.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

CASES = ["1:100", "8:100", "1:1000000", "8:1000000", "1:6000000", "8:6000000"]
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Subject:
    """A service with its own everything, and local runtimes."""

    def __init__(self, name, work, server, tools, audit):
        self.port = free_port()
        run = f"lrasaudit{os.getpid()}{name}"
        config = work / f"{name}.toml"
        config.write_text(
            f'[server]\naddress = "127.0.0.1"\nport = {self.port}\n'
            f'[storage]\npath = "{work}/storage-{name}"\n'
            f'[docker]\nnetwork_name = "{run}"\nnetwork_slots = 0\ncontainer_prefix = "{run}-"\nbase_image = ""\n'
            f'[execution]\nmax_concurrent_executions = 100\n[audit]\npath = "{audit}"\n'
        )
        self.network = run
        log = (work / f"{name}.log").open("wb")
        self.service = subprocess.Popen([server, "--config", config], stdout=log, stderr=log)
        self.wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).status == 200)
        environment = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.port}", "BARE_RUNTIME_FUNCTION": "bench"}
        self.runtimes = subprocess.Popen([tools / "bare-runtime", "-n", "16"], env=environment, stdout=log, stderr=log)
        self.loadgen = tools / "loadgen"
        self.url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/bench/invocations"
        self.wait(lambda: self.load(1, 100, ["-n", "1"])["errors"] == 0)

    def wait(self, condition):
        end = time.monotonic() + 30
        while True:
            try:
                if condition():
                    return
            except (OSError, ValueError):
                pass
            if time.monotonic() > end:
                raise SystemExit("audit.py: a service does not answer")
            time.sleep(0.1)

    def cpu_s(self):
        fields = Path(f"/proc/{self.service.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def load(self, callers, size, bound):
        command = [self.loadgen, "-c", str(callers), "-s", str(size), "-w", "2", "--json", *bound, self.url]
        return json.loads(subprocess.run(command, capture_output=True, text=True).stdout)

    def measure(self, callers, size, seconds):
        before = self.cpu_s()
        told = self.load(callers, size, ["-d", str(seconds)])
        if told["errors"]:
            raise SystemExit(f"audit.py: errors under load: {told}")
        count = told["rps"] * seconds
        return {"p50_us": told["p50_us"], "rps": told["rps"], "cpu_us": (self.cpu_s() - before) / count * 1e6}

    def stop(self):
        self.runtimes.kill()
        self.runtimes.wait()
        self.service.send_signal(signal.SIGTERM)
        self.service.wait(60)
        subprocess.run(["docker", "network", "rm", self.network], capture_output=True)


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, required=True)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--case", action="append")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="lrasaudit"))
    subjects = {}
    try:
        for name, audit in (("off", ""), ("on", work / "audit")):
            subjects[name] = Subject(name, work, arguments.server, arguments.tools, audit)
        print("| callers | bytes | p50 us off | p50 us on | p50 on/off | CPU us off | CPU us on | CPU on/off | rate on/off |")
        print("|--:|--:|--:|--:|---|--:|--:|---|---|")
        for case in arguments.case or CASES:
            callers, size = map(int, case.split(":"))
            found = {"off": [], "on": []}
            for number in range(arguments.rounds):
                for name in ("off", "on") if number % 2 == 0 else ("on", "off"):
                    found[name].append(subjects[name].measure(callers, size, arguments.seconds))
            middle = lambda name, key: statistics.median(one[key] for one in found[name])
            ratio = lambda key: quartiles([on[key] / off[key] for off, on in zip(found["off"], found["on"])])
            print(
                f"| {callers} | {size} | {middle('off', 'p50_us'):.1f} | {middle('on', 'p50_us'):.1f} | {ratio('p50_us')} "
                f"| {middle('off', 'cpu_us'):.1f} | {middle('on', 'cpu_us'):.1f} | {ratio('cpu_us')} | {ratio('rps')} |",
                flush=True,
            )
        done = subprocess.run([arguments.server, "audit", "verify", work / "audit"], capture_output=True, text=True)
        print(f"\n{done.stdout}{done.stderr}")
    finally:
        for subject in subjects.values():
            subject.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
