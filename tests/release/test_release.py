"""What scripts/release makes: the bill of materials and the licences. Standard library only, and no build.

    python3 -m unittest discover -s tests/release

That the list is what Cargo compiles, and that a release is reproducible, scripts/release.sh checks itself.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/release"))

import graph  # noqa: E402
import licences  # noqa: E402
import sbom  # noqa: E402
import trim_vendor  # noqa: E402

TARGET = "x86_64-unknown-linux-gnu"


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.own, cls.crates = graph.shipped(ROOT, TARGET)
        cls.bill = sbom.bill(cls.own, cls.crates, 1_700_000_000, "1.90.0")

    def test_the_list_is_of_the_lock_file_and_has_what_the_manifest_asks_for(self):
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
        sums = {(each["name"], each["version"]): each.get("checksum") for each in lock}
        for crate in self.crates:
            self.assertEqual(crate.sha256, sums[(crate.name, crate.version)])
        asked = tomllib.loads((ROOT / "Cargo.toml").read_text())["dependencies"]
        self.assertLessEqual(set(asked), {crate.name for crate in self.crates})

    def test_what_runs_at_build_time_or_elsewhere_is_not_shipped(self):
        names = {crate.name for crate in self.crates}
        self.assertIn("libc", names)
        for other in ("serde_derive", "syn", "quote", "proc-macro2", "unicode-ident"):
            self.assertNotIn(other, names)
        self.assertFalse([name for name in names if re.search("windows|winapi|wasm", name)])
        self.assertNotIn(self.own.name, names)

    def test_the_bill_has_the_form_of_cyclonedx(self):
        bill = self.bill
        self.assertEqual((bill["bomFormat"], bill["specVersion"], bill["version"]), ("CycloneDX", "1.5", 1))
        self.assertEqual(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z")
        self.assertRegex(bill["serialNumber"], r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        references = [each["bom-ref"] for each in bill["components"]]
        self.assertEqual(len(set(references)), len(references))
        for each in bill["components"]:
            self.assertRegex(each["purl"], r"^pkg:cargo/[A-Za-z0-9_-]+@[0-9][^+ ]*$")
            self.assertRegex(each["hashes"][0]["content"], "^[0-9a-f]{64}$")
            self.assertRegex(each["licenses"][0]["expression"], r"^[A-Za-z0-9(]")
            self.assertNotIn("/", each["licenses"][0]["expression"])
        known = {*references, bill["metadata"]["component"]["bom-ref"]}
        self.assertEqual({each["ref"] for each in bill["dependencies"]}, known)
        for each in bill["dependencies"]:
            self.assertLessEqual(set(each["dependsOn"]), known)
        # Everything is there because something needs it.
        needed = {one for each in bill["dependencies"] for one in each["dependsOn"]}
        self.assertEqual(needed, set(references))

    def test_the_same_input_gives_the_same_bytes_and_another_one_does_not(self):
        again = sbom.bill(*graph.shipped(ROOT, TARGET), 1_700_000_000, "1.90.0")
        self.assertEqual(json.dumps(again), json.dumps(self.bill))
        later = sbom.bill(self.own, self.crates, 1_700_000_001, "1.90.0")
        self.assertNotEqual(later["serialNumber"], self.bill["serialNumber"])

    def test_a_crate_that_is_not_from_a_registry_is_refused(self):
        sums = graph.checksums
        try:
            graph.checksums = lambda root: {**sums(root), ("libc", self.version("libc")): None}
            with self.assertRaisesRegex(SystemExit, "libc .* has no checksum"):
                graph.shipped(ROOT, TARGET)
        finally:
            graph.checksums = sums

    def version(self, name):
        return next(crate.version for crate in self.crates if crate.name == name)

    def test_a_difference_from_what_was_compiled_is_an_error(self):
        def artifact(crate, kind="lib", place=TARGET):
            return json.dumps({
                "reason": "compiler-artifact", "target": {"kind": [kind]},
                "package_id": f"registry+https://github.com/rust-lang/crates.io-index#{crate.name}@{crate.version}",
                "filenames": [f"/t/{place}/release/deps/lib{crate.name}.rlib"],
            })  # fmt: skip

        all_of_them = [artifact(crate) for crate in self.crates]
        # What is built for the host is none of the binary.
        extra = [artifact(replace(self.crates[0], name="syn"), place="release/build")]
        macro = [artifact(replace(self.crates[0], name="serde_derive"), "proc-macro")]
        self.assertEqual(self.compare([*all_of_them, *extra, *macro]), (0, ""))
        code, said = self.compare(all_of_them[1:])
        self.assertEqual(code, 1)
        self.assertIn(f"listed and not compiled: ['{self.crates[0].name}@", said)
        code, said = self.compare([*all_of_them, artifact(replace(self.crates[0], name="stowaway"))])
        self.assertEqual(code, 1)
        self.assertIn("compiled and not listed: ['stowaway@", said)

    def compare(self, messages):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write("\n".join(messages))
            file.flush()
            command = [sys.executable, ROOT / "scripts/release/sbom.py", TARGET, "--epoch", "0", "--compiled", file.name]
            done = subprocess.run(command, capture_output=True, text=True)
            return done.returncode, done.stderr

    def test_every_crate_has_the_text_of_its_licence(self):
        text = licences.collected(self.crates)
        for crate in self.crates:
            self.assertIn(f"\n{crate.name} {crate.version}: {crate.licence}\n", text)

    def test_a_crate_without_one_is_an_error(self):
        with tempfile.TemporaryDirectory() as directory:
            bare = replace(self.crates[0], name="bare", directory=Path(directory))
            for name, content in (("README.md", "MIT"), ("license.rs", "// code"), ("NOTICE", "of it"), ("LICENSE", "")):
                (Path(directory) / name).write_text(content)
                with self.assertRaisesRegex(SystemExit, "no text of a licence in the packages of bare"):
                    licences.collected([bare])
            (Path(directory) / "LICENSE-MIT").write_text("Permission is hereby granted")
            self.assertIn("Permission is hereby granted", licences.collected([bare]))

    def test_a_vendored_crate_of_another_system_keeps_its_manifest_and_its_sum(self):
        with tempfile.TemporaryDirectory() as directory:
            crate = Path(directory) / "winapi-0.3.9"
            (crate / "src").mkdir(parents=True)
            (crate / "src/lib.rs").write_text("code")
            (crate / "Cargo.toml").write_text("manifest")
            (crate / ".cargo-checksum.json").write_text('{"files":{"src/lib.rs":"00"},"package":"abc"}')
            trim_vendor.empty(crate)
            self.assertEqual((crate / "Cargo.toml").read_text(), "manifest")
            self.assertEqual((crate / "src/lib.rs").read_text(), "")
            self.assertEqual(json.loads((crate / ".cargo-checksum.json").read_text()), {"files": {}, "package": "abc"})


if __name__ == "__main__":
    unittest.main()
