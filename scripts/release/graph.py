"""Which crates are in the binary, by what Cargo resolves, and what Cargo.lock says of them.

In it is what the package reaches over normal dependencies on the target, with the features that are on; build scripts,
procedural macros and what only those need run at build time and are not shipped. `cargo tree` knows that; `cargo
metadata`, which knows everything else, counts optional dependencies that nobody has asked for. Standard library only.
"""

import json
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "lambda-runtime-api-server"
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")


def purl(name, version):
    # A version can have build metadata ("1.2.1+spec-1.1.0"), whose plus sign is percent-encoded in a purl.
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


@dataclass(frozen=True)
class Crate:
    name: str
    version: str
    licence: str
    repository: str
    sha256: str
    directory: Path
    dependencies: tuple

    @property
    def purl(self):
        return purl(self.name, self.version)


def metadata(root, target):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)


def checksums(root):
    lock = tomllib.loads((Path(root) / "Cargo.lock").read_text())
    return {(each["name"], each["version"]): each.get("checksum") for each in lock["package"]}


def reached(root, target, package):
    """(name, version) of the package and all that is in its binary."""
    command = ["cargo", "tree", "--locked", "--package", package, "--target", target]
    command += ["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
    told = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    # "name v1.2.3", and for a path " (/path)" behind it.
    return {(line.split()[0], line.split()[1].removeprefix("v")) for line in told.splitlines() if line}


def shipped(root, target, package=PACKAGE):
    """The package itself and the crates that are in its binary, sorted by name."""
    told = metadata(root, target)
    inside = reached(root, target, package)
    packages = {each["id"]: each for each in told["packages"] if (each["name"], each["version"]) in inside}
    nodes = {node["id"]: node for node in told["resolve"]["nodes"]}
    sums = checksums(root)

    def crate(identity, each):
        name, version = each["name"], each["version"]
        if each["source"] and not sums.get((name, version)):
            raise SystemExit(f"{name} {version} has no checksum in Cargo.lock: it is not from a registry")
        if not each["license"]:
            raise SystemExit(f"{name} {version} does not say its licence")
        normal = [one["pkg"] for one in nodes[identity]["deps"] if None in {kind["kind"] for kind in one["dep_kinds"]}]
        needs = {purl(packages[one]["name"], packages[one]["version"]) for one in normal if one in packages}
        return Crate(
            name, version, each["license"], each["repository"] or "", sums.get((name, version)) or "",
            Path(each["manifest_path"]).parent, tuple(sorted(needs)),
        )  # fmt: skip

    crates = [crate(identity, each) for identity, each in packages.items()]
    own = next(each for each in crates if each.name == package)
    crates.remove(own)
    return own, sorted(crates, key=lambda each: (each.name, each.version))


def compiled(messages, target):
    """The crates that a build has compiled for the binary, of Cargo's own account (--message-format=json)."""
    found = set()
    for line in Path(messages).read_text().splitlines():
        told = json.loads(line)
        if told.get("reason") != "compiler-artifact" or "proc-macro" in told["target"]["kind"]:
            continue
        # What runs at build time is built for the host, outside of the target's directory.
        if any(f"/{target}/" in file for file in told["filenames"]):
            # "registry+https://...#name@version", or "...#version" where the name is the last part of the path.
            found.add(told["package_id"].rsplit("#", 1)[1].rsplit("/", 1)[-1])
    return found
