"""The bundle scripts as an operator calls them, and bundles changed by hand as a mishap or an attacker would."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

from harness import ROOT, environment

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"


def run(script, *arguments, path=None):
    """Runs a script; `path` goes before the PATH of its programs."""
    variables = {"PATH": f"{path}:{os.environ['PATH']}"} if path else {}
    return subprocess.run(
        [ROOT / "scripts" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(**variables),
        check=False,
    )


def export(service, target, *arguments):
    done = run("export-bundle.sh", target, *arguments, "--endpoint", service.url)
    assert done.returncode == 0, done.stderr
    return target


def take(service, bundle, *arguments, code=0, path=None):
    """Imports, expects this exit code, and returns what was told."""
    done = run("import-bundle.sh", bundle, *arguments, "--endpoint", service.url, path=path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def members(data):
    """The members in order, each as [TarInfo, content]."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [[member, archive.extractfile(member).read() if member.isreg() else b""] for member in archive]


def packed(entries):
    """The archive of these members."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in entries:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def entry(name, content=b"", kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return [member, content]


def summed(entries):
    """The entries with checksums that fit them: as somebody changes a bundle on purpose."""
    entries = [one for one in entries if one[0].name != SUMS]
    lines = [f"{hashlib.sha256(content).hexdigest()}  {member.name}\n" for member, content in entries]
    return [*entries, entry(SUMS, "".join(lines).encode())]


def with_manifest(entries, change):
    """The entries with a manifest that `change` has changed, and checksums that fit."""

    def changed(name, content):
        if name != MANIFEST:
            return content
        manifest = json.loads(content)
        change(manifest)
        return json.dumps(manifest).encode()

    return summed([[member, changed(member.name, content)] for member, content in entries])


def function_names(service):
    return [one["FunctionName"] for one in service.boto().list_functions()["Functions"]]


def ready(client, name):
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
