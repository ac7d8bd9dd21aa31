"""The service as the bundle commands see it: Lambda's API, the stored packages, and /status.

Plain HTTP from the standard library, a connection for each call: nothing to install, and a service that is
restarted meanwhile is found again.
"""

import hashlib
import http.client
import json
import os
import time
import urllib.parse

from tell import FAILED, USAGE, Stop

DEFAULT_PORT = 8080
TIMEOUT_S = 120
CHUNK = 1 << 20
# How long a service that has too much to do is asked again.
BUSY_S = 30


class ApiError(Stop):
    """An answer that is an error."""

    def __init__(self, operation, status, kind, message):
        super().__init__(FAILED, f"the service answered {operation} with {status} {kind}: {message}")
        self.status = status


def default_endpoint():
    port = os.environ.get("LAMBDA_RUNTIME_API_PORT") or DEFAULT_PORT
    return f"http://127.0.0.1:{port}"


def partition(region):
    """The partition that a region belongs to, as the service has it in its ARNs."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def path(*parts, **query):
    """A path of these parts, each encoded, with those of the query that are not None."""
    text = "/" + "/".join(urllib.parse.quote(str(part), safe="") for part in parts)
    query = {name: value for name, value in query.items() if value is not None}
    return f"{text}?{urllib.parse.urlencode(query)}" if query else text


class Service:
    """A running service. `region` None is the service's own."""

    def __init__(self, endpoint, region=None):
        self.endpoint = endpoint.rstrip("/")
        try:
            parts = urllib.parse.urlsplit(self.endpoint)
            self.address = (parts.hostname, parts.port or 80)
            fits = parts.scheme == "http" and parts.hostname and not parts.path and not parts.query
        except ValueError:
            fits = False
        if not fits:
            raise Stop(USAGE, f"{endpoint} is no endpoint", f"It is http://HOST:PORT, such as {default_endpoint()}.")
        status = self.request("GET", "/status")
        self.configuration = status.get("configuration")
        if not isinstance(self.configuration, dict):
            raise Stop(
                FAILED, f"the service at {self.endpoint} is too old for bundles", "Install the one of these scripts."
            )
        self.version = status["version"]
        self.own_region = self.configuration["region"]
        self.account = self.configuration["account_id"]
        self.architecture = self.configuration["architecture"]
        self.region = region or self.own_region
        self.arn_prefix = f"arn:{partition(self.region)}:lambda:{self.region}:{self.account}:"

    # References to functions of this service: `function:NAME` in a bundle, ARNs here.

    def reference(self, arn):
        own = arn and arn.startswith(f"{self.arn_prefix}function:")
        return arn[len(self.arn_prefix) :] if own else arn

    def arn(self, reference):
        own = reference and reference.startswith("function:")
        return self.arn_prefix + reference if own else reference

    # Lambda's API.

    def call(self, method, where, body=None):
        """The answer's JSON, None where it has none."""
        headers = {"Authorization": self._scope()}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return self.request(method, where, data, headers)

    def find(self, where):
        """The answer's JSON, None where there is nothing."""
        try:
            return self.call("GET", where)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def pages(self, member, *parts, **query):
        """All entries of a list, over all of its pages."""
        marker = None
        while True:
            answer = self.call("GET", path(*parts, Marker=marker, **query))
            yield from answer[member]
            marker = answer.get("NextMarker")
            if not marker:
                return

    def _scope(self):
        # Nothing checks the signature; its scope is how a request names a region.
        date = time.strftime("%Y%m%d", time.gmtime())
        scope = f"bundle/{date}/{self.region}/lambda/aws4_request"
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"

    # The stored packages.

    def download(self, sha256, into, told):
        """Writes a stored package to `into`, and fails unless it is the one."""
        digest = hashlib.sha256()
        connection, answer = self._send("GET", path("packages", sha256))
        try:
            if answer.status != 200:
                raise Stop(
                    FAILED, f"the service has lost package {sha256}", "Update the code of the functions that use it."
                )
            while chunk := answer.read(CHUNK):
                digest.update(chunk)
                into.write(chunk)
                told.add(len(chunk))
        except http.client.HTTPException as error:
            raise Stop(FAILED, f"package {sha256} came incomplete: {error!r}") from error
        finally:
            connection.close()
        if digest.hexdigest() != sha256:
            raise Stop(FAILED, f"package {sha256} came with another content")

    def upload(self, sha256, source, length):
        """Stores a package; its code is then what `stored_code` gives."""
        self.request("PUT", path("packages", sha256), source, {"Content-Length": str(length)})

    # HTTP.

    def request(self, method, where, data=None, headers=None):
        until = time.monotonic() + BUSY_S
        while True:
            connection, answer = self._send(method, where, data, headers or {})
            try:
                body = answer.read()
            except http.client.HTTPException as error:
                raise Stop(FAILED, f"the service at {self.endpoint} broke off its answer: {error!r}") from error
            finally:
                connection.close()
            # Whoever was turned away may come again, but a stream is read once.
            if answer.status != 503 or hasattr(data, "read") or time.monotonic() > until:
                return self._value(f"{method} {where}", answer, body)
            time.sleep(1)

    def _send(self, method, where, data=None, headers=None):
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_S)
        try:
            try:
                connection.request(method, where, body=data, headers=headers or {})
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused by its head alone: the answer is there to be read
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Stop(
                FAILED,
                f"the service does not answer at {self.endpoint}: {error}",
                "Start it, or say where it is: --endpoint http://127.0.0.1:PORT.",
            ) from error

    def _value(self, operation, answer, body):
        try:
            value = json.loads(body) if body else None
        except ValueError:
            raise Stop(
                FAILED, f"what answers at {self.endpoint} is not this service: no JSON for {operation}"
            ) from None
        if answer.status < 300:
            return value
        told = value if isinstance(value, dict) else {}
        message = told.get("Message") or told.get("message") or f"status {answer.status}"
        raise ApiError(operation, answer.status, answer.getheader("x-amzn-ErrorType", ""), message)


def stored_code(sha256):
    """A stored package as the source of a function's or a layer's code."""
    return {"S3Bucket": "_packages", "S3Key": sha256}
