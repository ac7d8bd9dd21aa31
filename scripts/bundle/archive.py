"""The form of a bundle: a plain tar of manifest.json, packages/SHA256.zip, images.tar and SHA256SUMS.

`tar -xf` and `sha256sum -c SHA256SUMS` read it too. Here it is neither unpacked nor copied: what is checked is what
is used, through one open file. A member that is not named like one of these, or that is no plain file, is refused
whatever it holds, so no name in an archive ever becomes a path.
"""

import hashlib
import json
import os
import re
import tarfile
import time

from engine import fingerprint
from tell import BAD_BUNDLE, FAILED, Stop, Told, size

FORMAT = "lambda-runtime-api-server bundle"
VERSION = 1

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
IMAGES = "images.tar"
MEMBER = re.compile(r"manifest\.json|SHA256SUMS|images\.tar|packages/[0-9a-f]{64}\.zip")

# What gives a saved image a name when it is loaded.
NAMING = {"io.containerd.image.name", "org.opencontainers.image.ref.name"}

CHUNK = 1 << 20
MEMBERS_MAX = 100_000
TEXT_MAX_BYTES = 64 << 20


def package_name(sha256):
    return f"packages/{sha256}.zip"


class Writer:
    """Writes a bundle next to where it will be, and gives it its name when it is whole."""

    def __init__(self, target):
        self.target = target
        self.part = f"{target}.part"
        self.sums = []
        # The environment of functions is in it: for the owner alone.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            self.file = os.fdopen(os.open(self.part, flags, 0o600), "r+b")
        except FileExistsError:
            raise Stop(
                FAILED, f"{self.part} is there", "Another export writes it, or one has died: then remove it."
            ) from None

    def add(self, name, write):
        """A member with what `write` writes into the file that it is given; returns its SHA-256."""
        header = self.file.tell()
        self.file.write(bytes(tarfile.BLOCKSIZE))
        sink = Sink(self.file)
        write(sink)
        self.file.write(bytes(-sink.length % tarfile.BLOCKSIZE))
        end = self.file.tell()
        # The length is known now; a header of this form is one block whatever it says.
        member = tarfile.TarInfo(name)
        member.size = sink.length
        member.mode = 0o600
        member.mtime = int(time.time())
        self.file.seek(header)
        self.file.write(member.tobuf(tarfile.GNU_FORMAT))
        self.file.seek(end)
        digest = sink.digest.hexdigest()
        self.sums.append(f"{digest}  {name}\n")
        return digest

    def close(self):
        """Ends the archive; returns the bundle's SHA-256: that of its list of checksums."""
        digest = self.add(SUMS, lambda sink: sink.write("".join(self.sums).encode()))
        self.file.write(bytes(2 * tarfile.BLOCKSIZE))
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return digest

    def finish(self):
        os.rename(self.part, self.target)

    def abandon(self):
        self.file.close()
        if os.path.exists(self.part):
            os.unlink(self.part)


class Sink:
    """Counts and hashes what is written."""

    def __init__(self, file):
        self.file = file
        self.length = 0
        self.digest = hashlib.sha256()

    def write(self, data):
        self.file.write(data)
        self.length += len(data)
        self.digest.update(data)


def bad(text, *advice):
    return Stop(BAD_BUNDLE, text, *advice)


class Bundle:
    """A bundle that is read. `verify` before anything of it is used."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")
        magic = self.file.read(6)
        self.file.seek(0)
        if magic.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")):
            raise bad(f"{path} is compressed", "Unpack that first: gunzip, unzstd, unxz or bunzip2.")
        try:
            self.tar = tarfile.open(fileobj=self.file, mode="r:")
            self.members = self._members()
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            raise bad(f"{path} is no tar archive, or a damaged one: {error}") from None
        self.manifest = self._manifest()
        self.digest = None

    def _members(self):
        members = {}
        length = os.fstat(self.file.fileno()).st_size
        for member in self.tar:
            name = member.name
            shown = repr(name[:100])
            if not MEMBER.fullmatch(name):
                raise bad(f"the archive has a member {shown}, which no bundle has", "Nothing of it was unpacked.")
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                raise bad(f"member {shown} of the archive is no plain file")
            if name in members:
                raise bad(f"member {shown} is in the archive twice")
            if member.offset_data + member.size > length:
                raise bad(f"the archive is cut short in {shown}")
            members[name] = member
            if len(members) > MEMBERS_MAX:
                raise bad(f"the archive has more than {MEMBERS_MAX} members")
        return members

    def _manifest(self):
        """The manifest as it stands. Its version first: a newer one may be another in everything else."""
        text = self._text(MANIFEST)
        try:
            manifest = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise bad(f"{MANIFEST} is no JSON: {error}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise bad(f"{self.path} is no bundle of functions: its {MANIFEST} names another format, or none")
        version = manifest.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise bad(f"{MANIFEST} has no version that is a number")
        if version > VERSION:
            raise bad(
                f"the bundle has version {version} of its format, and this program reads {VERSION} at most",
                "Import it with the scripts of a newer release of the service.",
            )
        return manifest

    def open(self, name):
        """A member as a file, and its length."""
        return self.tar.extractfile(self.members[name]), self.members[name].size

    def _text(self, name):
        if name not in self.members:
            raise bad(f"the archive has no {name}")
        source, length = self.open(name)
        if length > TEXT_MAX_BYTES:
            raise bad(f"{name} has {size(length)}")
        try:
            return source.read().decode()
        except UnicodeDecodeError:
            raise bad(f"{name} is not UTF-8") from None

    def verify(self):
        """Checks every member against SHA256SUMS, and these against the members."""
        sums = {}
        for line in self._text(SUMS).splitlines():
            match = re.fullmatch(r"([0-9a-f]{64})  (\S+)", line)
            if not match or match[2] in sums:
                raise bad(f"{SUMS} has a line that is no checksum, or one twice: {line[:100]!r}")
            sums[match[2]] = match[1]
        missing = sums.keys() - self.members.keys()
        if missing:
            raise bad(f"the archive lacks {min(missing)}, which {SUMS} lists")
        unlisted = self.members.keys() - sums.keys() - {SUMS}
        if unlisted:
            raise bad(f"the archive has {min(unlisted)}, which {SUMS} does not list")
        total = sum(member.size for member in self.members.values())
        with Told("checking the checksums", total) as told:
            for name, wanted in sums.items():
                if self._hash(name, told) != wanted:
                    raise bad(f"{name} has another SHA-256 than {SUMS} says: it was changed or damaged on its way")
                if name.startswith("packages/") and name != package_name(wanted):
                    raise bad(f"{name} does not hold the package that it is named after")
        self.digest = self._hash(SUMS, None)

    def _hash(self, name, told):
        digest = hashlib.sha256()
        source, left = self.open(name)
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            left -= len(chunk)
            if told:
                told.add(len(chunk))
        if left:
            raise bad(f"the archive is cut short in {name}")
        return digest.hexdigest()

    def image_fingerprints(self):
        """What the saved images are, read from their own archive. Names in it would move names at the target."""
        source, _ = self.open(IMAGES)
        found = set()
        try:
            with tarfile.open(fileobj=source, mode="r:") as images, Told("looking through the saved images"):
                entries = json.load(images.extractfile("manifest.json"))
                # Engines of today read the second list.
                index = json.load(images.extractfile("index.json")) if "index.json" in images.getnames() else {}
                annotations = [one.get("annotations") or {} for one in index.get("manifests", [])]
                if any(one.get("RepoTags") for one in entries) or any(one.keys() & NAMING for one in annotations):
                    raise bad(f"{IMAGES} names its images: to load it could take names from others")
                for entry in entries:
                    config = json.load(images.extractfile(entry["Config"]))
                    layers = config["rootfs"]["diff_ids"]
                    found.add(fingerprint(config["architecture"], layers, config.get("config") or {}))
        except (tarfile.TarError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise bad(f"{IMAGES} is nothing that docker image save has written: {error!r}") from None
        return found
