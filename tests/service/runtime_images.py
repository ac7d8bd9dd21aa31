"""Runtime images, made with the script that users have, once per run; the script's own cache makes that quick."""

import functools
import subprocess

from harness import ROOT

NAMES = {"python3.11": "python", "nodejs22.x": "nodejs22", "nodejs24.x": "nodejs24", "provided.al2023": "provided"}


@functools.cache
def runtime_image(run_id, runtime):
    """The image of a runtime's identifier, for FROM and for the configuration's [runtimes]."""
    name = f"{run_id}-runtime:{NAMES[runtime]}"
    subprocess.run([ROOT / "scripts/build-runtime-image.sh", runtime, "--tag", name], check=True, timeout=900)
    return name
