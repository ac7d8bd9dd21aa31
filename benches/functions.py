#!/usr/bin/env python3
"""Measures the control API of a running service: deploying zips, listing, calls per second, storage.

For scripts/benchmark.sh, which gives it a service of its own. Python's standard library only. Every
function that it makes it deletes again. Prints Markdown.
"""

import argparse
import base64
import http.client
import io
import json
import os
import statistics
import sys
import threading
import time
import zipfile

FUNCTIONS = "/2015-03-31/functions"
ROLE = "arn:aws:iam::000000000000:role/any"


class Client:
    """One keep-alive connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def call(self, method, path, body=None, expected=(200, 201, 202, 204)):
        text = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        self.connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status not in expected:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if data else {}


def package(bootstrap, size):
    """A zip of about `size` bytes, a program and what does not compress, and equal to no other."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, bootstrap)
        rest = size - out.tell()
        # A few files, as packages have them.
        for number in range(10):
            archive.writestr(f"data/{number}", os.urandom(max(rest // 10, 1)))
    return out.getvalue()


def deploy(client, bootstrap, size):
    """Seconds of the call, and from its begin until the function is Active."""
    request = {
        "FunctionName": "bench-zip", "Runtime": "provided.al2023", "Handler": "any", "Role": ROLE,
        "Code": {"ZipFile": base64.b64encode(package(bootstrap, size)).decode()},
    }
    body = json.dumps(request).encode()
    begin = time.monotonic()
    client.call("POST", FUNCTIONS, body)
    called = time.monotonic() - begin
    while True:
        found = client.call("GET", f"{FUNCTIONS}/bench-zip/configuration")
        if found["State"] != "Pending":
            break
        time.sleep(0.01)
    active = time.monotonic() - begin
    if found["State"] != "Active":
        raise RuntimeError(f"the function is {found['State']}: {found.get('StateReason')}")
    client.call("DELETE", f"{FUNCTIONS}/bench-zip")
    return called, active


def in_parallel(port, callers, work):
    """`work(client, number)` in so many threads at once; seconds from the first to the last."""
    failures = []

    def run(number):
        try:
            work(Client(port), number)
        except Exception as error:  # told below, in the thread that can end the program
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - begin


def of_image(name, image):
    return {"FunctionName": name, "PackageType": "Image", "Code": {"ImageUri": image}, "Role": ROLE}


def list_all(client):
    """Seconds of the first page and of all pages, and how many functions there are."""
    begin, first, found, marker = time.monotonic(), None, 0, ""
    while True:
        page = client.call("GET", f"{FUNCTIONS}/{marker}")
        first = first or time.monotonic() - begin
        found += len(page["Functions"])
        if not page.get("NextMarker"):
            return first, time.monotonic() - begin, found
        marker = f"?Marker={page['NextMarker']}"


def mix(port, image, callers, seconds):
    """Create, get, update and delete, one after the other by each caller: calls per second."""
    counts = [0] * callers
    end = time.monotonic() + seconds

    def work(client, number):
        name = f"bench-mix-{number}"
        while time.monotonic() < end:
            client.call("POST", FUNCTIONS, of_image(name, image))
            client.call("GET", f"{FUNCTIONS}/{name}")
            client.call("PUT", f"{FUNCTIONS}/{name}/configuration", {"Timeout": 9})
            client.call("DELETE", f"{FUNCTIONS}/{name}")
            counts[number] += 4

    taken = in_parallel(port, callers, work)
    return sum(counts) / taken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--storage", required=True, help="the service's storage path")
    parser.add_argument("--image", required=True, help="an image that the Engine has")
    parser.add_argument("--bootstrap", required=True, help="a program for the zips")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--functions", type=int, default=1000)
    given = parser.parse_args()
    client = Client(given.port)
    with open(given.bootstrap, "rb") as file:
        bootstrap = file.read()

    print("| zip package | rounds | CreateFunction s | create to Active s | longest s |")
    print("|---|--:|--:|--:|--:|")
    for size in (1_000_000, 50_000_000):
        rounds = [deploy(client, bootstrap, size) for _ in range(given.rounds)]
        called = statistics.median(called for called, _ in rounds)
        active = [active for _, active in rounds]
        print(f"| {size // 1_000_000} MB | {given.rounds} | {called:.2f} "
              f"| {statistics.median(active):.2f} | {max(active):.2f} |", flush=True)

    store = os.path.join(given.storage, "state.redb")
    before = os.stat(store).st_size
    names = [f"bench-{number:04}" for number in range(given.functions)]

    def create(client, number):
        for name in names[number::4]:
            client.call("POST", FUNCTIONS, of_image(name, given.image))

    def delete(client, number):
        for name in names[number::4]:
            client.call("DELETE", f"{FUNCTIONS}/{name}")

    created = in_parallel(given.port, 4, create)
    grown = os.stat(store).st_size - before
    lists = [list_all(client) for _ in range(20)]
    if any(found != given.functions for _, _, found in lists):
        raise RuntimeError("a list is not whole")
    print(f"\n| {given.functions} functions | |")
    print("|---|--:|")
    print(f"| created by 4 callers, per second | {given.functions / created:.0f} |")
    print(f"| first page of their list, 50 of them | {1e3 * statistics.median(l[0] for l in lists):.1f} ms |")
    print(f"| all pages | {1e3 * statistics.median(l[1] for l in lists):.0f} ms |")
    print(f"| growth of the store for each | {grown / given.functions / 1024:.1f} KiB |")
    deleted = in_parallel(given.port, 4, delete)
    print(f"| deleted by 4 callers, per second | {given.functions / deleted:.0f} |", flush=True)

    print("\n| callers | create, get, update, delete: calls per second |\n|--:|--:|")
    for callers in (1, 4, 16):
        print(f"| {callers} | {mix(given.port, given.image, callers, given.seconds):.0f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, RuntimeError) as error:
        sys.exit(f"functions.py: {error}")
