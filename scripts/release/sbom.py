#!/usr/bin/env python3
"""The binary's bill of materials as CycloneDX 1.5 JSON, on standard output.

    sbom.py TARGET --epoch SECONDS [--binary FILE] [--compiled MESSAGES]

The same input gives the same bytes: the time is the epoch, the serial number is made of the content. With --compiled
the list is compared with what Cargo says it has compiled for the binary, and a difference is an error.
"""

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import uuid
from pathlib import Path

import graph

ROOT = Path(__file__).resolve().parents[2]


def component(crate, kind="library"):
    made = {"type": kind, "bom-ref": crate.purl, "name": crate.name, "version": crate.version}
    if kind == "library":
        made["scope"] = "required"
    if crate.sha256:
        made["hashes"] = [{"alg": "SHA-256", "content": crate.sha256}]
    # Cargo's older form of "A OR B".
    made["licenses"] = [{"expression": crate.licence.replace("/", " OR ")}]
    made["purl"] = crate.purl
    if crate.repository:
        made["externalReferences"] = [{"type": "vcs", "url": crate.repository}]
    return made


def bill(own, crates, epoch, compiler, binary=None):
    subject = component(own, "application")
    if binary:
        subject["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(Path(binary).read_bytes()).hexdigest()}]
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "rustc", "version": compiler}]},
            "component": subject,
        },
        "components": [component(crate) for crate in crates],
        "dependencies": [
            {"ref": crate.purl, "dependsOn": list(crate.dependencies)} for crate in [own, *crates]
        ],
    }
    content = json.dumps(made, sort_keys=True)
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--binary")
    parser.add_argument("--compiled")
    options = parser.parse_args()
    own, crates = graph.shipped(ROOT, options.target)
    if options.compiled:
        listed = {f"{crate.name}@{crate.version}" for crate in crates}
        # The package itself is named by its path and version alone.
        built = {each for each in graph.compiled(options.compiled, options.target) if "@" in each}
        built.discard(f"{own.name}@{own.version}")
        if listed != built:
            raise SystemExit(
                f"sbom: listed and not compiled: {sorted(listed - built)}; compiled and not listed: {sorted(built - listed)}"
            )
    compiler = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    json.dump(bill(own, crates, options.epoch, compiler, options.binary), sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
