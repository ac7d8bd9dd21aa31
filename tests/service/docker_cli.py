"""The Engine as a user drives it: the docker command line, and nothing of the service.

Everything that a test run creates carries the run's prefix, so that it can be found and removed
whatever happened, and nothing else on the machine is touched.
"""

import ipaddress
import json
import os
import subprocess


def docker(*arguments, check=True, timeout=60, stdin=None):
    """Runs one docker command and returns its output."""
    # The service image and the functions' images need only the classic builder, which works without a network.
    environment = dict(os.environ, DOCKER_BUILDKIT="0")
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, env=environment, input=stdin
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def container_ids(prefix, running_only=False, label=None):
    """Containers whose name starts with the prefix, stopped ones too; with this label only, if one is given."""
    scope = [] if running_only else ["--all"]
    scope += ["--filter", f"label={label}"] if label else []
    return docker("ps", *scope, "--quiet", "--no-trunc", "--filter", f"name=^/{prefix}").split()


def inspect(what):
    return json.loads(docker("inspect", what))[0]


def gateway(network):
    """The host's own address on a bridge network."""
    told = json.loads(docker("network", "inspect", network))[0]["IPAM"]["Config"][0]
    # The Engine leaves it out where nobody chose one; then it is the first address of the network.
    return told.get("Gateway") or str(next(ipaddress.ip_network(told["Subnet"]).hosts()))


def network_containers(network):
    """The ids of the containers that are on a network; none when there is no such network."""
    told = docker("network", "inspect", network, "--format", "{{range $id, $_ := .Containers}}{{$id}} {{end}}", check=False)
    return told.split()


def remove_containers(prefix):
    ids = container_ids(prefix)
    if ids:
        docker("rm", "--force", *ids, check=False)


def remove_all(prefix):
    """Containers, networks and images of one run."""
    remove_containers(prefix)
    networks = docker("network", "ls", "--quiet", "--filter", f"name=^{prefix}", check=False).split()
    if networks:
        docker("network", "rm", *networks, check=False)
    images = docker(
        "image", "ls", "--filter", f"reference={prefix}*", "--format", "{{.Repository}}:{{.Tag}}", check=False
    ).split()
    if images:
        docker("image", "rm", "--force", *images, check=False)


def remove_holder_images():
    """The image of the network slots' holders, which all services share; one that is in use stays."""
    name = "lambda-runtime-api-server/holder"
    images = docker("image", "ls", "--filter", f"reference={name}", "--format", "{{.Repository}}:{{.Tag}}", check=False)
    if images:
        docker("image", "rm", *images.split(), check=False)


def code_images(owner):
    """The images that a service has made of zip packages."""
    label = f"label=lambda-runtime-api-server.code-owner={owner}"
    return docker("image", "ls", "--quiet", "--no-trunc", "--filter", label).split()


def remove_code_images(owner):
    images = code_images(owner) if owner else []
    if images:
        docker("image", "rm", "--force", *images, check=False)
