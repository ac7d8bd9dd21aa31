"""What a Python function sees of its runtime."""

import os

import boto3  # AWS's image has it too
import in_layer
import shadowed


def handler(event, context):
    return {
        "event": event,
        "client": context.client_context.custom,
        "user": os.getuid(),
        "handler": os.environ["_HANDLER"],
        "root": os.environ["LAMBDA_TASK_ROOT"],
        "layer": in_layer.NAME,
        "shadowed": shadowed.NAME,
        "sdk": boto3.__version__.split(".")[0],
    }


def failing(event, context):
    return inner()


def inner():
    raise ValueError("no such thing")
