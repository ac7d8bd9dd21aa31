"""Functions without a way out (`[docker] none_out_functions`): the Runtime API is what they reach, and nothing else
but what else of this host listens on all of its addresses."""

import contextlib
import ipaddress
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import uuid

import pytest

import docker_cli
from harness import START_DEADLINE_S, binary, environment, wait_for
from hostile import Attacker, Recorder


@pytest.fixture(scope="module")
def service(make_module_service):
    return make_module_service(docker={"none_out_functions": ["secret", "closed-*"]})


@pytest.fixture(scope="module")
def closed(service, hostile_image):
    return Attacker(service, hostile_image, name="closed-one")


@pytest.fixture(scope="module")
def open_(service, hostile_image):
    return Attacker(service, hostile_image, name="open-one")


def network(service):
    return f"{service.network}-none-out"


def container(service, attacker):
    attacker.does("echo")
    return docker_cli.inspect(service.sandboxes(attacker.name)[0])


def test_they_answer_on_a_network_of_their_own(service, closed, open_):
    assert closed.does("echo")["id"]
    told = json.loads(docker_cli.docker("network", "inspect", network(service)))[0]
    assert told["Internal"] is True
    assert told["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    inside = container(service, closed)
    assert list(inside["NetworkSettings"]["Networks"]) == [network(service)]
    api = closed.does("env")["AWS_LAMBDA_RUNTIME_API"]
    assert api == f"{docker_cli.gateway(network(service))}:{service.port}"
    # Those that are not named live as ever.
    assert open_.does("env")["AWS_LAMBDA_RUNTIME_API"] == f"{docker_cli.gateway(service.network)}:{service.port}"
    assert network(service) not in container(service, open_)["NetworkSettings"]["Networks"]


def test_their_address_is_who_they_are(service, closed):
    """The service knows them by it, and lets them call the Runtime API alone."""
    networks = container(service, closed)["NetworkSettings"]["Networks"]
    assert closed.addresses() == [networks[network(service)]["IPAddress"]]
    status, body = closed.http("GET", "/2015-03-31/functions")
    assert (status, "Only processes" in body) == ("403", True)


@contextlib.contextmanager
def outside():
    """A host beyond this one, in a network namespace, and the address of something that listens there."""
    name = f"lrt{uuid.uuid4().hex[:8]}"
    net = ipaddress.ip_network((int(ipaddress.ip_address("198.18.0.0")) + 4 * random.randrange(32_000), 30))
    here, there = net.hosts()
    ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
    listen = "import socket; s = socket.create_server(('', 80)); print(flush=True)\nwhile True: s.accept()[0].close()"
    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{here}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "route", "add", "default", "via", str(here))
        with subprocess.Popen(["ip", "netns", "exec", name, sys.executable, "-c", listen], stdout=subprocess.PIPE) as server:
            try:
                server.stdout.readline()
                yield f"{there}:80"
            finally:
                server.kill()
    finally:
        ip("netns", "delete", name)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="a network namespace needs root and iproute2")
def test_nothing_beyond_the_host_is_reached(closed, open_):
    open_.does("echo"), closed.does("echo")
    with outside() as address:
        assert open_.does("reach", addresses=[address]) == {address: "reached"}, "a usual function does"
        told = closed.does("reach", addresses=[address, "192.0.2.77:80", "1.1.1.1:53"])
        assert set(told.values()) <= {"connection timed out", "ENETUNREACH", "EHOSTUNREACH"}, told


def test_of_the_host_what_listens_everywhere_is_reached(service, closed):
    """That cannot be helped without a firewall, and README says so; what listens on another address alone is not."""
    own = docker_cli.gateway(network(service))
    for bound, outcome in (("0.0.0.0", "reached"), ("127.0.0.1", "ECONNREFUSED")):
        recorder = Recorder(bound)
        try:
            address = f"{own}:{recorder.port}"
            assert closed.does("reach", addresses=[address]) == {address: outcome}
        finally:
            recorder.close()


def test_they_reach_no_other_container(service, hostile_image, closed, open_):
    other = Attacker(service, hostile_image, name="closed-two")
    open_.does("echo"), other.does("echo")
    neighbours = other.addresses() + open_.addresses()
    told = closed.does("reach", addresses=[f"{address}:80" for address in neighbours])
    assert set(told.values()) <= {"connection timed out", "ENETUNREACH", "EHOSTUNREACH"}, told
    other.gone()


def test_they_can_not_ask_for_names(service, closed):
    """Neither does the Engine's name server ask for them, which in some versions asks from the host."""
    assert container(service, closed)["HostConfig"]["Dns"] == ["127.0.0.1"]
    told = closed.does("lookup", name=f"{uuid.uuid4().hex}.example.com")
    assert told, "there is a name server"
    for outcome in told.values():
        assert ", 0 answers" in outcome or not outcome.startswith("code 0"), told


def test_slots_are_not_for_them(service, closed, open_):
    wait_for(lambda: service.slots(), 30, "networks are ready")
    docker_cli.docker("rm", "--force", *service.sandboxes(closed.name))
    mode = container(service, closed)["HostConfig"]["NetworkMode"]
    assert mode == network(service)


def test_a_network_that_somebody_removes_is_made_again(service, closed):
    closed.does("echo")

    def remove():
        docker_cli.docker("rm", "--force", *service.sandboxes(closed.name), check=False)
        docker_cli.docker("network", "rm", network(service), check=False)
        return not docker_cli.docker("network", "ls", "--quiet", "--filter", f"name=^{network(service)}$")

    wait_for(remove, 30, "the network is gone")
    wait_for(lambda: closed.invoke(op="echo").status == 200, 30, "it is there again")
    told = json.loads(docker_cli.docker("network", "inspect", network(service)))[0]
    assert told["Internal"] is True


def test_a_service_that_listens_on_loopback_listens_for_them_too(make_service, hostile_image):
    service = make_service(server={"address": "127.0.0.1"}, docker={"none_out_functions": ["*"], "network_slots": 0})
    assert Attacker(service, hostile_image, name="any").does("echo")["id"]
    with pytest.raises(OSError):
        socket.create_connection((docker_cli.gateway("bridge"), service.port), 2)


def test_a_network_with_a_way_out_is_refused(make_service):
    service = make_service(start=False, docker={"none_out_functions": ["*"]})
    docker_cli.docker("network", "create", network(service))
    done = subprocess.run(
        [binary(), "--config", service.config_path], capture_output=True, text=True, env=environment(), timeout=START_DEADLINE_S
    )
    assert done.returncode == 1
    assert f"network {network(service)} cannot be used: it has a way out" in done.stderr


def test_none_is_made_where_nobody_needs_it(make_service):
    service = make_service()
    assert not docker_cli.docker("network", "ls", "--quiet", "--filter", f"name=^{network(service)}$")


@pytest.mark.parametrize("value", ['"*"', '[""]', '["a b"]', '["a/b"]', "[1]", f'["{"a" * 65}"]'])
def test_what_is_no_pattern_is_refused(tmp_path, value):
    path = tmp_path / "config.toml"
    path.write_text(f"[docker]\nnone_out_functions = {value}\n")
    done = subprocess.run([binary(), "--config", path, "--check-config"], capture_output=True, text=True, env=environment())
    assert done.returncode == 2
    assert "config.toml:2: docker.none_out_functions" in done.stderr and "names of functions" in done.stderr
