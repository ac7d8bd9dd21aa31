"""Runs the handler that _HANDLER names with AWS's runtime client."""

import os
import sys

# Python puts this script's folder first, before the function's own modules.
sys.path.pop(0)

from awslambdaric.__main__ import main  # noqa: E402

main([__file__, os.environ["_HANDLER"]])
