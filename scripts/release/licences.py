#!/usr/bin/env python3
"""The licences of all that is in the binary, with their full texts, on standard output.

    licences.py TARGET

A crate without the text of a licence in its package is an error. Beside the crates the binary holds Rust's standard
library and, linked statically, the C library; the texts of both are taken from this machine where it has them.
"""

import re
import subprocess
import sys
from pathlib import Path

import graph

ROOT = Path(__file__).resolve().parents[2]
TEXT = re.compile(r"^(licen[cs]e|copying|unlicense|notice|copyright)([-_.].*)?$", re.IGNORECASE)
CODE = {".rs", ".toml", ".py", ".sh"}


def texts(directory):
    """The files of a package that are texts of licences: at its top, and in a directory of that name."""
    found = []
    for path in sorted(directory.iterdir()):
        if path.is_dir() and re.match(r"^licen[cs]es?$", path.name, re.IGNORECASE):
            found += sorted(each for each in path.iterdir() if each.is_file())
        elif path.is_file() and TEXT.match(path.name) and path.suffix not in CODE:
            found.append(path)
    return [(path.relative_to(directory), text) for path in found if (text := read(path))]


def read(path):
    return path.read_text(encoding="utf-8", errors="replace").strip()


def collected(crates):
    """One section for each crate; equal texts stand once and are referred to."""
    parts, places, missing = [], {}, []
    for crate in crates:
        found = texts(crate.directory)
        # A notice goes with a licence; alone it is none.
        if not any(re.match(r"(?i)(notice|copyright)", name.name) is None for name, _ in found):
            missing.append(f"{crate.name} {crate.version}")
        parts.append(f"{'=' * 78}\n{crate.name} {crate.version}: {crate.licence}\n{crate.repository}\n")
        for name, text in found:
            here = f"{crate.name} {crate.version}, {name}"
            same = places.setdefault(" ".join(text.split()), here)
            parts.append(f"--- {name}\n\n{text}\n" if same == here else f"--- {name}: the text of {same}\n")
    if missing:
        raise SystemExit(f"licences: no text of a licence in the packages of {', '.join(missing)}")
    return "\n".join(parts)


def libraries():
    """What is linked beside the crates."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, stdout=subprocess.PIPE, text=True).stdout
    documents = Path(sysroot.strip()) / "share/doc"
    rust = [documents / "rust" / "COPYRIGHT", documents / "cargo" / "LICENSE-MIT"]
    yield "Rust's standard library", "MIT OR Apache-2.0", "https://github.com/rust-lang/rust", rust
    yield (
        "GNU C library", "LGPL-2.1-or-later",
        "https://sourceware.org/glibc/; the sources that come with this let anybody link the program again with another",
        [Path("/usr/share/doc/libc6-dev/copyright")],
    )  # fmt: skip


def main():
    _, crates = graph.shipped(ROOT, sys.argv[1])
    print("What the binary is made of beside the code of this project (LICENSE), and under which licences.\n")
    print(collected(crates))
    for name, licence, where, files in libraries():
        print(f"{'=' * 78}\n{name}: {licence}\n{where}\n")
        for path in files:
            if path.is_file():
                print(f"--- {path.name}\n\n{read(path)}\n")


if __name__ == "__main__":
    main()
