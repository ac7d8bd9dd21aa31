"""systemd's part: a socket that hears what the service tells, and sockets passed to it.

`NotifySocket` is what NOTIFY_SOCKET names. `passing` gives what `Service.start` needs to pass descriptors as a
socket unit does: this file itself then runs between the test and the service, for LISTEN_PID is only known there.
`Frozen` stops one thread of a process, as a bug that never comes back would.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
import uuid
from pathlib import Path

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


class NotifySocket:
    def __init__(self, directory=None):
        """In that directory, else in the abstract namespace."""
        name = str(Path(directory) / "notify") if directory else f"@lambda-test-{uuid.uuid4().hex}"
        self.variable = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)

    def hear(self, within):
        """The next datagram as its assignments, or None."""
        self.socket.settimeout(within)
        try:
            text = self.socket.recv(4096).decode()
        except (TimeoutError, BlockingIOError):
            return None
        return dict(line.split("=", 1) for line in text.splitlines())

    def hear_until(self, name, within=30):
        """Passes over what comes before a datagram with that variable."""
        while True:
            told = self.hear(within)
            assert told is not None, f"no {name} within {within} s"
            if name in told:
                return told

    def drain(self):
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(4096)
        except BlockingIOError:
            pass


def passing(*sockets, **variables):
    """What `Service.start` is to be given so that these are descriptors 3, 4, ... of the service."""
    descriptors = [each.fileno() for each in sockets]
    command = [sys.executable, __file__, ",".join(map(str, descriptors))]
    return {"through": command, "pass_fds": descriptors, "LISTEN_FDS": str(len(sockets)), **variables}


def listening(address, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


class Frozen:
    """A context in which the thread of that name stands still, by ptrace; all others go on."""

    def __init__(self, pid, name):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        self.thread = next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name)
        self.frozen, self.release = threading.Event(), threading.Event()
        self.failed = None
        # All calls of ptrace for one thread have to come from one thread.
        self.tracer = threading.Thread(target=self._trace)

    def _trace(self):
        libc = ctypes.CDLL(None, use_errno=True)

        def ptrace(request):
            if libc.ptrace(request, self.thread, None, None) == -1:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

        try:
            ptrace(PTRACE_SEIZE)
            ptrace(PTRACE_INTERRUPT)
            os.waitpid(self.thread, WALL)
        except OSError as error:
            self.failed = error
            return
        finally:
            self.frozen.set()
        self.release.wait()
        ptrace(PTRACE_DETACH)

    def __enter__(self):
        self.tracer.start()
        self.frozen.wait()
        if self.failed:
            self.tracer.join()
            raise self.failed
        return self

    def __exit__(self, *_):
        self.release.set()
        self.tracer.join()


def become(descriptors, command):
    """Puts the descriptors where the protocol has them and becomes the service."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Out of the way first: one can be where another has to go.
    moved = [os.dup(descriptor) for descriptor in descriptors]
    while moved and min(moved) < 3 + len(moved):
        moved = [os.dup(descriptor) for descriptor in moved]
    for place, descriptor in enumerate(moved, 3):
        os.dup2(descriptor, place)
    os.environ.setdefault("LISTEN_PID", str(os.getpid()))
    os.execv(command[0], command)


if __name__ == "__main__":
    become([int(each) for each in sys.argv[1].split(",") if each], sys.argv[2:])
