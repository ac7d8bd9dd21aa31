"""The AWS command line as a user runs it against the service."""

import subprocess
import sys
from pathlib import Path

from harness import REGION, environment


def aws(service, *arguments, check=True, command="lambda"):
    """The AWS command line of the tests' own Python."""
    program = Path(sys.executable).parent / "aws"
    done = subprocess.run(
        [program, command, *arguments, "--output", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(
            AWS_ENDPOINT_URL=service.url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_DEFAULT_REGION=REGION,
            AWS_CONFIG_FILE="/dev/null",
            AWS_PAGER="",
        ),
    )
    assert not check or done.returncode == 0, done.stderr
    return done
