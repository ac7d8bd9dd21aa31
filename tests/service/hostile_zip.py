"""Zip archives byte by byte, so that they can say what no zip program would write.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
"""

import struct
import zlib
from dataclasses import dataclass, field

FILE, DIRECTORY, LINK, DEVICE, FIFO = 0o100644, 0o040755, 0o120777, 0o060644, 0o010644
UNIX = 3


@dataclass
class Entry:
    """One entry; what is not given is right."""

    name: bytes
    data: bytes = b"x"
    mode: int = FILE
    deflated: bool = False
    flags: int = 0
    method: int = None
    size: int = None
    crc: int = None
    local_name: bytes = None
    offset: int = None
    stored: bytes = field(init=False)

    def __post_init__(self):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.stored = packer.compress(self.data) + packer.flush() if self.deflated else self.data
        self.method = (8 if self.deflated else 0) if self.method is None else self.method
        self.size = len(self.data) if self.size is None else self.size
        self.crc = zlib.crc32(self.data) if self.crc is None else self.crc

    def common(self, name):
        return struct.pack(
            "<HHHHHIIIHH", 20, self.flags, self.method, 0, 33, self.crc, len(self.stored), self.size, len(name), 0
        )

    def local(self):
        name = self.name if self.local_name is None else self.local_name
        return b"PK\3\4" + self.common(name) + name + self.stored

    def central(self, offset):
        offset = offset if self.offset is None else self.offset
        rest = struct.pack("<HHHII", 0, 0, 0, self.mode << 16, offset)
        return b"PK\1\2" + struct.pack("<BB", 20, UNIX) + self.common(self.name) + rest + self.name


def zipped(*entries, count=None):
    """The archive of these entries; `count` is what its end says of their number."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        directory += entry.central(len(body))
        body += entry.local()
    count = len(entries) if count is None else count
    end = struct.pack("<HHHHIIH", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)
