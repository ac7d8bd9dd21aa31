#!/usr/bin/env python3
"""Measures what idle functions and idle containers of a running service cost, and what frozen ones do.

For scripts/benchmark.sh, which gives it services of its own. Python's standard library only. Every
function that it makes it deletes again. Prints Markdown.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

from functions import Client, FUNCTIONS, of_image

IDLE_FUNCTIONS = 1000


def deploy(client, name, image):
    client.call("POST", FUNCTIONS, of_image(name, image))
    while client.call("GET", f"{FUNCTIONS}/{name}/configuration")["State"] == "Pending":
        time.sleep(0.01)


def invoke(client, name):
    """Milliseconds of one invocation."""
    begin = time.monotonic()
    client.call("POST", f"{FUNCTIONS}/{name}/invocations", b"{}")
    return (time.monotonic() - begin) * 1000


def resident_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])


def warm(options, rounds):
    """p50 of warm invocations in microseconds, the median of some runs."""
    url = f"http://127.0.0.1:{options.port}{FUNCTIONS}/idle-warm/invocations"
    command = [options.loadgen, "-c", "1", "-d", str(options.seconds), "-w", "200", "--any-answer", "--json", url]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    return statistics.median(run["p50_us"] for run in runs)


def idle(options):
    client = Client(options.port)
    deploy(client, "idle-warm", options.image)
    invoke(client, "idle-warm")
    alone = warm(options, options.rounds)
    before = resident_kib(options.pid)
    names = [f"idle-{number}" for number in range(options.sandboxes)]
    for name in names:
        deploy(client, name, options.image)
    deployed = resident_kib(options.pid)
    for name in names:
        invoke(client, name)
    time.sleep(2)
    each = (resident_kib(options.pid) - deployed) / options.sandboxes
    many = [f"idle-more-{number}" for number in range(IDLE_FUNCTIONS - options.sandboxes)]
    for name in many:
        client.call("POST", FUNCTIONS, of_image(name, options.image))
    crowded = warm(options, options.rounds)
    for name in [*names, *many, "idle-warm"]:
        client.call("DELETE", f"{FUNCTIONS}/{name}")
    print(f"\n| {options.sandboxes} idle containers, {IDLE_FUNCTIONS} functions | |\n|---|--:|")
    print(f"| memory of the service for an idle container, KiB | {each:.1f} |")
    print(f"| memory for a function that was deployed, KiB | {(deployed - before) / options.sandboxes:.1f} |")
    print(f"| a warm invocation with one function, p50 us | {alone:.1f} |")
    print(f"| with {IDLE_FUNCTIONS}, p50 us | {crowded:.1f} ({crowded / alone:.2f}) |")


def frozen(options):
    client = Client(options.port)
    deploy(client, "frozen", options.image)
    invoke(client, "frozen")
    state = lambda: client.call("GET", "/status")["sandboxes"][0]["container"]
    paused = lambda one: subprocess.run(
        ["docker", "inspect", "--format", "{{.State.Paused}}", one], check=True, capture_output=True, text=True
    ).stdout.strip() == "true"
    warm_ms, thawed_ms = [], []
    for _ in range(options.thaws):
        while not paused(state()):
            time.sleep(0.05)
        thawed_ms.append(invoke(client, "frozen"))
        warm_ms.append(invoke(client, "frozen"))
    client.call("DELETE", f"{FUNCTIONS}/frozen")
    row = lambda name, values: print(
        f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |"
    )
    print("\n| an invocation of a container that is | p50 ms | min ms | max ms |\n|---|--:|--:|--:|")
    row("warm", warm_ms)
    row("frozen", thawed_ms)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--frozen", action="store_true", help="the service freezes; measure that")
    parser.add_argument("--sandboxes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--thaws", type=int, default=15)
    options = parser.parse_args()
    frozen(options) if options.frozen else idle(options)


if __name__ == "__main__":
    main()
