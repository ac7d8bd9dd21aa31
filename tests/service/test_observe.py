"""What an operator sees: /health, /status and /metrics, read as monitoring reads them."""

import os
import socket
import threading
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import wait_for


class EngineProxy:
    """The Engine behind a socket that can be taken away and brought back."""

    def __init__(self, path, engine="/var/run/docker.sock"):
        self._path, self._engine = str(path), engine
        self._open, self._listener = [], None
        self._lock = threading.Lock()

    def up(self):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self):
        # Shutting down wakes the accepting thread; closing alone would leave it waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self._path)
        with self._lock:
            for end in self._open:
                end.close()
            self._open.clear()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._engine)
            with self._lock:
                self._open += [client, engine]
            for one, other in ((client, engine), (engine, client)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # One side has gone: end the other too, so that neither waits for ever.
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def samples(service):
    """All samples of /metrics, by the parser that Prometheus' own client library has."""
    answer = service.http("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return [
        sample for family in text_string_to_metric_families(answer.body.decode()) for sample in family.samples
    ]


def invocations(service):
    """All invocations that were counted so far, whatever they are labelled with."""
    found = [sample.value for sample in samples(service) if sample.name.endswith("invocations_total")]
    assert found, "/metrics counts invocations"
    return sum(found)


def test_health(service):
    answer = service.http("GET", "/health")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["status"]


def test_health_follows_the_engine(make_service, tmp_path):
    proxy = EngineProxy(tmp_path / "engine.sock")
    proxy.up()
    service = make_service(docker={"socket": str(tmp_path / "engine.sock")})
    proxy.down()
    try:
        sick = wait_for(
            lambda: (answer := service.http("GET", "/health")).status == 503 and answer, 15, "/health is 503"
        )
        assert "engine" in sick.body.decode().lower() or "docker" in sick.body.decode().lower()
    finally:
        proxy.up()
    wait_for(lambda: service.http("GET", "/health").status == 200, 30, "/health is 200 again")


def test_status(service, function):
    assert service.invoke(function, {"op": "where"}).status == 200
    # The caller has its answer before the runtime has asked for its next event.
    wait_for(lambda: service.http("GET", "/status").json()["containers"]["idle"] >= 1, 5, "the sandbox is idle")
    answer = service.http("GET", "/status")
    assert answer.status == 200
    told = answer.json()["configuration"]
    assert (told["region"], told["account_id"], told["base_image"]) == ("us-east-1", "000000000000", "")
    assert told["webhook"] is False
    assert told["architecture"] in ("x86_64", "arm64") and told["max_memory_mb"] == 256
    assert told["runtimes"]["python3.13"] == "public.ecr.aws/lambda/python:3.13"
    told = answer.json()
    for key in (
        "version",
        "uptime_s",
        "engine",
        "containers",
        "invocations",
        "functions",
        "service",
        "sandboxes",
        "response_times_ms",
    ):
        assert key in told, f"{key} is not in {told}"
    assert told["engine"]["reachable"] is True and told["engine"]["version"]
    assert told["containers"]["idle"] >= 1
    assert told["invocations"]["active"] == 0 and told["invocations"]["queued"] == 0
    assert {"p50", "p90", "p99", "max"} <= set(told["response_times_ms"])
    assert told["service"]["memory_bytes"] > 0 and "cpu_percent" in told["service"]


def test_metrics_parse_and_count(service, function):
    service.invoke(function, {"op": "where"})
    text = service.http("GET", "/metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.documentation for family in families.values()), "each metric says what it is"
    assert {family.type for family in families.values()} >= {"counter", "gauge", "histogram"}
    before = invocations(service)
    for _ in range(5):
        service.invoke(function, {"op": "where"})
    assert invocations(service) == before + 5


def test_histograms_are_cumulative(service, function):
    service.invoke(function, {"op": "where"})
    buckets, counts = {}, {}
    for sample in samples(service):
        series = frozenset((key, value) for key, value in sample.labels.items() if key != "le")
        if "le" in sample.labels:
            name = sample.name.removesuffix("_bucket")
            buckets.setdefault((name, series), []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[sample.name.removesuffix("_count"), series] = sample.value
    assert any(counts[key] >= 1 for key in buckets), "the invocation is in a histogram"
    for key, series in buckets.items():
        bounds, values = zip(*sorted(series))
        assert list(values) == sorted(values) and bounds[-1] == float("inf"), key
        assert values[-1] == counts[key], key


@pytest.mark.parametrize("hostile", ['a"b', "a\\b", "a\nb", "ü" * 20])
def test_a_callers_text_can_not_break_the_format(service, hostile):
    service.invoke(quote(hostile))
    assert samples(service)


def test_memory_of_unknown_names_is_bounded(service):
    before = len(samples(service))
    for number in range(300):
        service.invoke(f"unknown-{number}")
    assert len(samples(service)) < before + 50, "a caller must not be able to grow the metrics"
