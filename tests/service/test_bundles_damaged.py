"""Bundles that were damaged on their way, or made by somebody who means harm: none of them changes anything."""

import json
import subprocess
import tarfile

import pytest

import bundles
from conftest import build_function
from harness import ROLE
from test_zip import archive


@pytest.fixture(scope="module")
def service(run_id, make_module_service):
    return make_module_service(docker={"pull_policy": "never", "base_image": f"{run_id}-damaged:al2023"})


@pytest.fixture(scope="module")
def bundle(service, image, tmp_path_factory):
    """A bundle of a zip function with a layer and an image function, which are gone afterwards."""
    client = service.boto()
    layer = client.publish_layer_version(LayerName="l", Content={"ZipFile": archive({"a": "b"})})
    code = {"ZipFile": archive({"bootstrap": build_function().read_bytes()})}
    client.create_function(
        FunctionName="zipped",
        Role=ROLE,
        Runtime="provided.al2023",
        Handler="h",
        Code=code,
        Layers=[layer["LayerVersionArn"]],
    )
    client.create_function(FunctionName="imaged", Role=ROLE, PackageType="Image", Code={"ImageUri": image})
    target = tmp_path_factory.mktemp("bundle") / "whole.tar"
    for name in ("zipped", "imaged"):
        bundles.ready(client, name)
    bundles.export(service, target, "--all")
    for name in ("zipped", "imaged"):
        client.delete_function(FunctionName=name)
    client.delete_layer_version(LayerName="l", VersionNumber=1)
    return target


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def damage(name, bundle):
    """The bytes or the entries of a bundle that no import may take, and what is told of it."""
    data = bundle.read_bytes()
    entries = bundles.members(data)
    position = {member.name: member.offset_data for member, _ in entries}
    kept = lambda *names: [one for one in entries if one[0].name not in names]  # noqa: E731
    package = next(one for one in position if one.startswith("packages/"))

    def change(manifest):
        function = manifest["functions"][0]
        return {
            "newer": lambda: manifest.update(version=2),
            "other format": lambda: manifest.update(format="another"),
            "member more": lambda: function.update(more=1),
            "member less": lambda: function.pop("aliases"),
            "wrong type": lambda: function.update(versions="none"),
            "option for docker": lambda: function["latest"]["code"].update(uri="--force"),
            "image not saved": lambda: manifest["images"][0].update(fingerprint="0" * 64),
        }[name]()

    return {
        "byte of a package": lambda: (flipped(data, position[package] + 9), f"{package} has another SHA-256"),
        "byte of the images": lambda: (
            flipped(data, position["images.tar"] + 70_000),
            "images.tar has another SHA-256",
        ),
        "byte of the manifest": lambda: (flipped(data, position["manifest.json"] + 200), "manifest.json"),
        "byte of a header": lambda: (flipped(data, position["images.tar"] - 512 + 3), ""),
        "byte of the sums": lambda: (flipped(data, position["SHA256SUMS"] + 3), ""),
        "cut short": lambda: (data[: len(data) // 2], ""),
        "no archive": lambda: (b"x" * 5000, "no tar archive"),
        "empty": lambda: (b"", ""),
        "compressed": lambda: (b"\x1f\x8b" + data, "is compressed"),
        "missing member": lambda: (kept(package), f"lacks {package}"),
        "no sums": lambda: (kept("SHA256SUMS"), "no SHA256SUMS"),
        "no manifest": lambda: (bundles.summed(kept("manifest.json")), "no manifest.json"),
        "package missing everywhere": lambda: (bundles.summed(kept(package)), "packages of the archive lack"),
        "images missing everywhere": lambda: (bundles.summed(kept("images.tar")), "images in images.tar lack"),
        "unlisted member": lambda: ([*entries, bundles.entry(f"packages/{'0' * 64}.zip")], "does not list"),
        "traversal": lambda: (
            bundles.summed([*entries, bundles.entry("../../evil", b"x")]),
            "'../../evil', which no bundle has",
        ),
        "absolute": lambda: (bundles.summed([*entries, bundles.entry("/evil", b"x")]), "which no bundle has"),
        "link": lambda: (
            [*kept(package), bundles.entry(package, kind=tarfile.SYMTYPE, link="/etc/passwd")],
            "no plain file",
        ),
        "twice": lambda: ([*entries, entries[1]], "in the archive twice"),
        "names in the images": lambda: (
            bundles.summed([*kept("images.tar"), named_images(entries)]),
            "names its images",
        ),
        "names in their index": lambda: (
            bundles.summed([*kept("images.tar"), indexed_images(entries)]),
            "names its images",
        ),
        "newer": lambda: (bundles.with_manifest(entries, change), "version 2 of its format"),
        "other format": lambda: (bundles.with_manifest(entries, change), "no bundle of functions"),
        "member more": lambda: (bundles.with_manifest(entries, change), "'more', which"),
        "member less": lambda: (bundles.with_manifest(entries, change), "lacks aliases"),
        "wrong type": lambda: (bundles.with_manifest(entries, change), "versions can't be"),
        "option for docker": lambda: (bundles.with_manifest(entries, change), "can't be '--force'"),
        "image not saved": lambda: (bundles.with_manifest(entries, change), ""),
    }[name]()


def named_images(entries):
    """The saved images, with a name that would become another image's at the target."""
    content = next(content for member, content in entries if member.name == "images.tar")
    images = bundles.members(content)
    listed = next(one for one in images if one[0].name == "manifest.json")
    manifest = json.loads(listed[1])
    manifest[0]["RepoTags"] = ["busybox:latest"]
    listed[1] = json.dumps(manifest).encode()
    return bundles.entry("images.tar", bundles.packed(images))


def indexed_images(entries):
    """The same in the list that Engines of today read."""
    content = next(content for member, content in entries if member.name == "images.tar")
    index = {"manifests": [{"annotations": {"io.containerd.image.name": "docker.io/library/busybox:latest"}}]}
    images = [one for one in bundles.members(content) if one[0].name != "index.json"]
    images.append(bundles.entry("index.json", json.dumps(index).encode()))
    return bundles.entry("images.tar", bundles.packed(images))


DAMAGES = [
    "byte of a package",
    "byte of the images",
    "byte of the manifest",
    "byte of a header",
    "byte of the sums",
    "cut short",
    "no archive",
    "empty",
    "compressed",
    "missing member",
    "no sums",
    "no manifest",
    "package missing everywhere",
    "images missing everywhere",
    "unlisted member",
    "traversal",
    "absolute",
    "link",
    "twice",
    "names in the images",
    "names in their index",
    "newer",
    "other format",
    "member more",
    "member less",
    "wrong type",
    "option for docker",
    "image not saved",
]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_or_hostile_bundle_changes_nothing(service, bundle, tmp_path, name):
    content, told = damage(name, bundle)
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(content if isinstance(content, bytes) else bundles.packed(content))
    said = bundles.take(service, damaged, code=3)
    assert told in said, said
    assert not list(tmp_path.parent.glob("evil")) and sorted(p.name for p in tmp_path.iterdir()) == ["damaged.tar"]
    assert bundles.function_names(service) == [] and service.boto().list_layers()["Layers"] == []


def test_a_bundle_of_another_machine_is_refused(service, bundle, tmp_path):
    entries = bundles.members(bundle.read_bytes())
    changed = tmp_path / "arm.tar"
    changed.write_bytes(
        bundles.packed(bundles.with_manifest(entries, lambda manifest: manifest.update(architecture="arm64")))
    )
    told = bundles.take(service, changed, code=4)
    assert "of a machine with arm64" in told and bundles.function_names(service) == []


def test_a_bundle_is_read_without_a_service_and_with_plain_tools(bundle, tmp_path):
    done = bundles.run("import-bundle.sh", bundle, "--verify", "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 0 and "whole; functions: 2" in done.stderr, done.stderr
    with tarfile.open(bundle) as plain:
        plain.extractall(tmp_path, filter="data")
    checked = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert bundle.stat().st_mode & 0o077 == 0, "the functions' environment is in it"
