"""What the bundle commands say while they work, in the words and the form of scripts/lib.sh.

Everything goes to standard error, and nothing that takes longer than two seconds is silent.
"""

import sys
import threading
import time

# The exit codes. Of the last three nothing was changed.
FAILED = 1
USAGE = 2
BAD_BUNDLE = 3
BAD_TARGET = 4


class Stop(Exception):
    """The end of a command: its exit code, why, and what to do about it."""

    def __init__(self, code, message, *advice):
        super().__init__(message)
        self.code = code
        self.message = message
        self.advice = advice


def say(text):
    # What a bundle or an answer holds must not steer the terminal.
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    print(text, file=sys.stderr, flush=True)


def step(text):
    say(f"\n==> {text}")


def note(text):
    say(f"    {text}")


def end(stop):
    """Says why a command ends, and returns its exit code."""
    say(f"\nerror: {stop.message}")
    for line in stop.advice:
        say(f"       {line}")
    return stop.code


def run(command):
    """A command's exit code, whatever becomes of it."""
    try:
        command()
    except Stop as stop:
        return end(stop)
    except KeyboardInterrupt:
        return end(Stop(FAILED, "interrupted"))
    except OSError as error:
        return end(Stop(FAILED, f"{error.filename or 'a file or connection'}: {error.strerror or error}"))
    return 0


def size(count):
    """A number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


class Told:
    """Says every two seconds that something goes on; with `add`, how far it is."""

    def __init__(self, what, total=0):
        self.what = what
        self.total = total
        self.done = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._tell, daemon=True)

    def add(self, count):
        self.done += count

    def _tell(self):
        begun = time.monotonic()
        while not self.over.wait(2):
            progress = f"{size(self.done)}, " if self.done else ""
            if self.done and self.total:
                progress = f"{size(self.done)} of {size(self.total)}, "
            note(f"{self.what} ({progress}{time.monotonic() - begun:.0f} s)")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
