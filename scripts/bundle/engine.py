"""The Docker Engine through its own client: images inspected, saved, loaded and named.

An image is told from others by its fingerprint, which is a hash of what a container of it runs: its layers, and
the settings that come with them. Its id is not enough: an Engine with containerd's image store gives the same
image another id than one without.
"""

import hashlib
import json
import subprocess
import tempfile

from tell import FAILED, Stop

CHUNK = 1 << 20
# The settings of an image that decide what is run, and how.
SETTINGS = ("Entrypoint", "Cmd", "Env", "WorkingDir", "User")


def fingerprint(architecture, layers, settings):
    """`layers` are the digests of the unpacked layers, from the lowest on."""
    parts = [architecture, list(layers), [settings.get(name) or None for name in SETTINGS]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def docker(*arguments):
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Stop(FAILED, "there is no docker client on this machine") from None


def check():
    """Fails unless the Engine answers."""
    done = docker("version", "--format", "{{.Server.Version}}")
    if done.returncode != 0:
        raise Stop(FAILED, f"the Docker Engine does not answer: {done.stderr.strip()}")
    return done.stdout.strip()


class Image:
    """An image that the Engine has."""

    def __init__(self, details):
        self.id = details["Id"]
        self.names = [name for name in details.get("RepoTags") or [] if not name.startswith("<none>")]
        self.architecture = details["Architecture"]
        self.size = details["Size"]
        layers = (details.get("RootFS") or {}).get("Layers") or []
        self.fingerprint = fingerprint(self.architecture, layers, details.get("Config") or {})


def find(name):
    """The image of this name or id; None where the Engine has none."""
    done = docker("image", "inspect", name)
    if done.returncode == 0:
        return Image(json.loads(done.stdout)[0])
    if "no such image" in done.stderr.lower():
        return None
    raise Stop(FAILED, f"the Docker Engine does not tell of image {name}: {done.stderr.strip()}")


def tag(image_id, name):
    done = docker("image", "tag", image_id, name)
    if done.returncode != 0:
        raise Stop(FAILED, f"image {image_id} could not be named {name}: {done.stderr.strip()}")


def remove(image_id):
    """Removes an image that nobody needs; one that somebody needs after all stays."""
    docker("image", "rm", image_id)


def save(ids, into, told):
    """Writes the images to `into`, without their names, and each layer once."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(["docker", "image", "save", *ids], stdout=subprocess.PIPE, stderr=errors)
        try:
            while chunk := process.stdout.read(CHUNK):
                into.write(chunk)
                told.add(len(chunk))
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            process.wait()
        _check(process, errors, "save")


def load(source, told):
    """Loads the images that `save` has written, and returns them."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["docker", "image", "load", "--quiet"], stdin=subprocess.PIPE, stdout=output, stderr=errors
        )
        try:
            while chunk := source.read(CHUNK):
                process.stdin.write(chunk)
                told.add(len(chunk))
            process.stdin.close()
        except BrokenPipeError:
            pass  # the Engine hung up, and says why
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        _check(process, errors, "load")
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    # "Loaded image ID: sha256:..." or "Loaded image: name:tag"
    names = [line.split(": ", 1)[1].strip() for line in lines if line.startswith("Loaded image")]
    return [image for image in map(find, names) if image]


def _check(process, errors, what):
    if process.returncode != 0:
        errors.seek(0)
        told = errors.read().decode(errors="replace").strip()
        raise Stop(FAILED, f"docker image {what} failed: {told or f'exit code {process.returncode}'}")
