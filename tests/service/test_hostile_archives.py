"""Archives that are made to harm: each is refused through the API, with a sentence that names the entry and what is
wrong with it, whether it comes as a function's code or as a layer; and the service stays as it was."""

import botocore.exceptions
import pytest

from harness import ROLE
from hostile_zip import DEVICE, DIRECTORY, FIFO, LINK, Entry, zipped

GOOD = Entry(b"app.py", b"print()")
ZEROS = bytes(16 << 20)
MB_16 = Entry(b"0", ZEROS, deflated=True)
ELF = b"\x7fELF\x02\x01\x01" + bytes(9)


def sixteen(name, **more):
    """16 MB in 16 KB."""
    entry = Entry(name, b"", deflated=True, size=len(ZEROS), crc=MB_16.crc, **more)
    entry.stored = MB_16.stored
    return entry


def lying():
    """Says that it is small and is not."""
    entry = sixteen(b"small")
    entry.size = 10
    return entry


def overlapping():
    """Many names for the data of one: each unzips to 16 MB, and the archive has 16 KB."""
    return zipped(sixteen(b"0"), *(sixteen(b"%d" % number, offset=0) for number in range(1, 200)))


def crowded():
    return zipped(*(Entry(b"%d" % number, b"") for number in range(100_001)), count=100_001 & 0xFFFF)


def broken(data=b"some text", at=36):
    archive = bytearray(zipped(Entry(b"app.py", data)))
    archive[at] ^= 0xFF
    return bytes(archive)


ENTRY = "Could not unzip uploaded file: its entry "
UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."
CASES = {
    "parent": (zipped(GOOD, Entry(b"../../etc/evil")), ENTRY + '"../../etc/evil" has a path with .. in it.'),
    "parent inside": (zipped(Entry(b"a/../../b")), ENTRY + '"a/../../b" has a path with .. in it.'),
    "absolute": (zipped(GOOD, Entry(b"/etc/passwd")), ENTRY + '"/etc/passwd" has an absolute path.'),
    "backslash": (zipped(Entry(b"..\\evil")), ENTRY + '"..\\\\evil" has a path with a backslash; use slashes.'),
    "drive": (zipped(Entry(b"C:\\evil")), ENTRY + '"C:\\\\evil" has a path with a backslash; use slashes.'),
    "control character": (zipped(Entry(b"a\nb")), ENTRY + '"a\\nb" has a control character in its name.'),
    "not UTF-8": (zipped(Entry(b"a\xff")), ENTRY + '"a\ufffd" has a name that is not UTF-8.'),
    "duplicate": (zipped(GOOD, Entry(b"app.py", b"other")), ENTRY + '"app.py" is there more than once.'),
    "duplicate by a dot": (zipped(GOOD, Entry(b"./app.py")), ENTRY + '"app.py" is there more than once.'),
    "below a file": (
        zipped(Entry(b"a"), Entry(b"a/b")),
        ENTRY + '"a/b" lies under an entry that is not a directory.',
    ),
    "below a link": (
        zipped(Entry(b"a", b"b", mode=LINK), Entry(b"a/passwd")),
        ENTRY + '"a/passwd" lies under an entry that is not a directory.',
    ),
    "link that leaves": (
        zipped(GOOD, Entry(b"a/l", b"../../etc/passwd", mode=LINK)),
        ENTRY + '"a/l" is a symbolic link that leaves the package.',
    ),
    "absolute link": (
        zipped(GOOD, Entry(b"l", b"/etc/passwd", mode=LINK)),
        ENTRY + '"l" is a symbolic link to an absolute path.',
    ),
    "link by a link": (
        zipped(Entry(b"d", b".", mode=LINK), Entry(b"l", b"d/../../x", mode=LINK)),
        ENTRY + '"l" is a symbolic link with .. elsewhere than at its target\'s beginning.',
    ),
    "device": (
        zipped(GOOD, Entry(b"sda", b"", mode=DEVICE)),
        ENTRY + '"sda" is neither a file nor a directory nor a symbolic link.',
    ),
    "pipe": (
        zipped(GOOD, Entry(b"p", b"", mode=FIFO)),
        ENTRY + '"p" is neither a file nor a directory nor a symbolic link.',
    ),
    "directory with data": (zipped(GOOD, Entry(b"d/", b"x", mode=DIRECTORY)), ENTRY + '"d/" is a directory with data.'),
    "encrypted": (zipped(Entry(b"app.py", flags=1)), ENTRY + '"app.py" is encrypted.'),
    "unknown method": (
        zipped(Entry(b"app.py", method=12)),
        ENTRY + '"app.py" is compressed by method 12; only stored and deflated entries can be read.',
    ),
    "CRC": (zipped(Entry(b"app.py", crc=1)), ENTRY + '"app.py" '),
    "CRC, deflated": (zipped(Entry(b"app.py", b"x" * 99, deflated=True, crc=1)), ENTRY + '"app.py" '),
    "a changed byte": (broken(), ENTRY + '"app.py" '),
    "two names": (
        zipped(GOOD, Entry(b"good", local_name=b"evil")),
        ENTRY + '"good" has another name in the archive\'s directory than at its data.',
    ),
    "overlapping": (
        overlapping(),
        ENTRY + '"1" has another name in the archive\'s directory than at its data.',
    ),
    "overlapping in small": (
        zipped(Entry(b"a", b"12345"), Entry(b"a", b"12345", offset=0)),
        ENTRY + '"a" overlaps another entry or the archive\'s directory.',
    ),
    "bomb": (
        zipped(*(sixteen(b"%d" % number) for number in range(16))),
        "Unzipped size must be smaller than 262144000 bytes",
    ),
    "lying bomb": (zipped(lying()), ENTRY + '"small" '),
    "long path": (
        zipped(Entry(b"d/" * 60 + b"a" * 200 + b"/" + b"b" * 250 + b"/" + b"c" * 250 + b"/" + b"e" * 250)),
        " has a path of more than 1024 bytes.",
    ),
    "long part": (zipped(Entry(b"a" * 256)), " has a part of its path of more than 255 bytes."),
    "deep": (zipped(Entry(b"d/" * 64 + b"a")), " lies more than 64 directories deep."),
    "too many entries": (
        crowded(),
        "Could not unzip uploaded file: it has more than 100000 files and directories.",
    ),
    "a wrong number of entries": (zipped(GOOD, count=2), UNREADABLE),
    "no zip": (b"PK\3\4 and nothing more", UNREADABLE),
    "cut short": (zipped(GOOD)[:-30], UNREADABLE),
    "nothing in it": (zipped(), "Uploaded file must be a non-empty zip"),
    "directories only": (zipped(Entry(b"d/", b"", mode=DIRECTORY)), "Uploaded file must be a non-empty zip"),
    "another machine's program": (
        zipped(Entry(b"bootstrap", ELF + b"\x02\x00\xf3\x00" + bytes(44))),
        'The program "bootstrap" of the package is for ELF machine 243 (64 bit), which this host',
    ),
    "a program of macOS": (zipped(Entry(b"bootstrap", b"\xcf\xfa\xed\xfe" + bytes(60))), "is for macOS, which this host"),
}


@pytest.fixture(scope="module")
def client(service):
    return service.boto()


def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    told = caught.value.response
    return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"], told["Error"]["Message"]


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_archive_is_refused(service, client, case):
    archive, sentence = CASES[case]
    new = {"Role": ROLE, "Runtime": "provided.al2023", "Handler": "x", "Code": {"ZipFile": archive}}
    for answer in (
        refused(client.create_function, FunctionName="refused", **new),
        refused(client.publish_layer_version, LayerName="refused", Content={"ZipFile": archive}),
    ):
        assert answer[:2] == (400, "InvalidParameterValueException")
        assert sentence in answer[2] and len(answer[2]) < 300, answer[2]
    assert client.list_layer_versions(LayerName="refused")["LayerVersions"] == []
    assert service.http("GET", "/2015-03-31/functions/refused").status == 404


def test_what_was_refused_took_no_memory_and_no_room(service):
    packages = service.directory / "storage" / "packages"
    assert list(packages.iterdir()) == []
    assert service.resident_kib() < 100_000, "a bomb of 3 GB was among them"


def test_an_update_by_a_hostile_archive_changes_nothing(run_id, make_service):
    service = make_service(docker={"base_image": f"{run_id}-base:al2023"})
    client = service.boto()
    code = {"ZipFile": zipped(GOOD)}
    client.create_function(FunctionName="f", Role=ROLE, Runtime="provided.al2023", Handler="x", Code=code)
    client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    before = client.get_function(FunctionName="f")["Configuration"]
    for case in ("parent", "bomb", "encrypted"):
        for dry_run in (True, False):
            archive, sentence = CASES[case]
            answer = refused(client.update_function_code, FunctionName="f", ZipFile=archive, DryRun=dry_run)
            assert answer[:2] == (400, "InvalidParameterValueException") and sentence in answer[2]
    assert client.get_function(FunctionName="f")["Configuration"] == before
