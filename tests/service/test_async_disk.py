"""Disks that are full, of bytes and of files: clean refusals, nothing lost, and recovery when space returns."""

import json
import os
import subprocess
import threading
import uuid

import pytest

from harness import wait_for
from served import Served

EVENT = {"X-Amz-Invocation-Type": "Event"}


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a tmpfs with these options; where that cannot be, the test is skipped and says so."""
    mounted = []

    def mount(options):
        if os.geteuid() != 0:
            pytest.skip("mounting a small disk needs root")
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir(mode=0o700)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", place], capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=False)


def fill(service, name, payload):
    """Sends events until one is refused; the ids of those that were taken, and the refusal."""
    taken = []
    for _ in range(3000):
        answer = service.http("POST", f"/2015-03-31/functions/{name}/invocations", payload, EVENT)
        if answer.status != 202:
            return taken, answer
        taken.append(answer.headers["x-amzn-requestid"])
    raise AssertionError("never refused")


@pytest.mark.parametrize("options, filler", [("size=24m", 16 << 20), ("size=64m,nr_inodes=40", 0)])
def test_a_full_disk_refuses_and_recovers(make_service, small_disk, options, filler):
    disk = small_disk(options)
    service = make_service(storage={"path": str(disk)}, asynchronous={"max_deliveries": 1, "max_queue_mb": 1024})
    name = f"f{uuid.uuid4().hex[:8]}"
    held = threading.Event()
    with Served(service.port, name, lambda taken: held.wait(100) and b"1", runtimes=2) as function:
        known = f"/{name}/"
        wait_for(lambda: known in service.http("GET", "/status").body.decode(), 10, "it is known")
        ballast = []
        if filler:
            ballast = [disk / "ballast"]
            ballast[0].write_bytes(b"x" * filler)
        else:
            # Every file that there may be.
            while True:
                try:
                    file = disk / f"ballast{len(ballast)}"
                    file.touch()
                except OSError:
                    break
                ballast.append(file)
        payload = json.dumps("x" * 100_000).encode()
        taken, refused = fill(service, name, payload)
        assert (refused.status, refused.error_type) == (429, "TooManyRequestsException")
        assert len(taken) > 10
        assert service.http("GET", "/health").status == 200
        # A killed service finds all of it on the full disk.
        service.kill()
        service.start()
        assert service.http("GET", "/queue").json()["events"] == len(taken)
        for file in ballast:
            file.unlink()
        held.set()
        wait_for(lambda: {one.id for one in function.taken} >= set(taken), 60, "all have run")
        wait_for(lambda: service.http("GET", "/queue").json()["events"] == 0, 20, "nothing is left")
        wait_for(lambda: service.invoke(name, headers=EVENT).status == 202, 10, "it takes events again")
