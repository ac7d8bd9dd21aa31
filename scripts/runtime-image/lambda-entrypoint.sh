#!/bin/sh
# The entry point, called as AWS's base images call theirs: the handler is the first argument, which is
# the image's or the function's CMD. Without one it is $_HANDLER, which the service sets for zip packages.
if [ $# -ge 1 ]; then
    export _HANDLER="$1"
fi
if [ -z "$_HANDLER" ]; then
    echo "the handler is missing: give it as the first argument (CMD) or in _HANDLER" >&2
    exit 142
fi
if [ -z "$AWS_LAMBDA_RUNTIME_API" ]; then
    echo "AWS_LAMBDA_RUNTIME_API is not set: this image runs under a Lambda service" >&2
    exit 143
fi
exec /var/runtime/bootstrap
