"""Runtime images, made with the script that users have, once per machine.

They are the only things that a run leaves on the Engine, named lambda-runtime-test/...: making them takes minutes
where nothing is cached, and seconds otherwise.
"""

import functools
import subprocess

from harness import ROOT

NAMES = {
    "python3.11": "lambda-runtime-test/python:3.11",
    "nodejs22.x": "lambda-runtime-test/nodejs:22",
    "nodejs24.x": "lambda-runtime-test/nodejs:24",
    "provided.al2023": "lambda-runtime-test/provided:al2023",
}


@functools.cache
def runtime_image(runtime):
    """The image of a runtime's identifier, for FROM and for the configuration's [runtimes]."""
    name = NAMES[runtime]
    subprocess.run([ROOT / "scripts/build-runtime-image.sh", runtime, "--tag", name], check=True, timeout=900)
    return name
