#!/usr/bin/env python3
"""Empties the vendored crates that are only for other systems, and writes the configuration that uses the rest.

    trim_vendor.py SOURCE

Cargo wants every package of Cargo.lock to be there, but never compiles those of Windows or WebAssembly here: of 190 MB
they are 140. What stays of one is its Cargo.toml. The others keep their files with the sums that Cargo checks them by.
"""

import json
import shutil
import sys
from pathlib import Path

import graph

CONFIGURATION = """\
# Made by scripts/release.sh: every crate is below vendor, and nothing is fetched.
[source.crates-io]
replace-with = "vendored-sources"

[source.vendored-sources]
directory = "vendor"

[net]
offline = true
"""


def empty(directory):
    sums = json.loads((directory / ".cargo-checksum.json").read_text())
    for path in directory.iterdir():
        if path.name == "Cargo.toml":
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (directory / "src").mkdir()
    (directory / "src" / "lib.rs").write_text("")
    (directory / ".cargo-checksum.json").write_text(json.dumps({"files": {}, "package": sums["package"]}))


def main():
    source = Path(sys.argv[1])
    (source / ".cargo").mkdir(exist_ok=True)
    (source / ".cargo" / "config.toml").write_text(CONFIGURATION)
    needed = set()
    for target in graph.TARGETS:
        needed |= {f"{each['name']}-{each['version']}" for each in graph.metadata(source, target)["packages"]}
    for directory in sorted((source / "vendor").iterdir()):
        if directory.name not in needed:
            empty(directory)


if __name__ == "__main__":
    main()
