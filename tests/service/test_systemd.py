"""What systemd is told and what it gives: readiness, signs of life, sockets that listen already."""

import json
import signal
import socket
import subprocess

import pytest

from harness import binary, environment, free_port, wait_for
from systemd import Frozen, NotifySocket, listening, passing

# Half of it is the pause between two signs of life.
INTERVAL_S = 0.4
REQUEST = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.fixture
def notify():
    made = NotifySocket()
    yield made
    made.socket.close()


def watched(service, notify):
    return service.start(NOTIFY_SOCKET=notify.variable, WATCHDOG_USEC=str(int(INTERVAL_S * 1e6)))


# Readiness.


@pytest.mark.parametrize("abstract", [True, False], ids=["abstract", "path"])
def test_ready_once_it_serves_and_stopping_when_it_stops(make_service, tmp_path, abstract):
    notify = NotifySocket(None if abstract else tmp_path)
    service = make_service(start=False)
    service.start(NOTIFY_SOCKET=notify.variable)
    told = notify.hear_until("READY")
    assert told == {"READY": "1", "STATUS": f"Serving on 0.0.0.0:{service.port}"}
    assert service.stop() == 0
    assert notify.hear_until("STOPPING")["STOPPING"] == "1"
    assert notify.hear(0) is None, "without WATCHDOG_USEC there are no signs of life"


def test_a_systemd_that_does_not_hear_holds_nobody_up(make_service, tmp_path):
    service = make_service(start=False).start(NOTIFY_SOCKET=str(tmp_path / "nobody"))
    assert "cannot tell systemd" in service.log()
    assert service.stop() == 0


def test_a_start_that_fails_is_never_ready(make_service, notify):
    service = make_service(start=False)
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", service.port))
        taken.listen()
        done = program(service, NOTIFY_SOCKET=notify.variable)
    assert done.returncode == 1 and "the port is in use" in done.stderr
    assert notify.hear(0) is None


# Signs of life.


def test_signs_of_life_come_and_stop_with_the_process(make_service, notify):
    service = watched(make_service(start=False), notify)
    for _ in range(3):
        notify.hear_until("WATCHDOG")
    service.signal(signal.SIGSTOP)
    wait_for(lambda: " (stopped)" in status(service), 10, "the process has stopped")
    notify.drain()
    assert notify.hear(3 * INTERVAL_S) is None
    service.signal(signal.SIGCONT)
    notify.hear_until("WATCHDOG")
    service.stop()
    notify.hear_until("STOPPING")
    assert notify.hear(0) is None, "no sign of life of a service that stops"


@pytest.mark.parametrize("name", ["http-0", "http-1", "timekeeper"])
def test_a_thread_that_hangs_costs_the_sign_of_life(make_service, notify, name):
    service = watched(make_service(start=False, server={"workers": 2}), notify)
    notify.hear_until("WATCHDOG")
    with Frozen(service.process.pid, name):
        wait_for(lambda: f"no answer from {name}" in service.log(), 20, "the log names it")
        notify.drain()
        assert notify.hear(3 * INTERVAL_S) is None
    notify.hear_until("WATCHDOG")
    wait_for(lambda: "everything answers again" in service.log(), 10, "the log says that it is over")
    assert service.http("GET", "/health").status == 200


def test_signs_of_life_meant_for_another_process_are_not_given(make_service, notify):
    service = make_service(start=False)
    service.start(NOTIFY_SOCKET=notify.variable, WATCHDOG_USEC="1000", WATCHDOG_PID="1")
    notify.hear_until("READY")
    assert notify.hear(0.5) is None


# Sockets that were passed.


def activated(service, passed, **variables):
    configured, service.port = service.port, passed.getsockname()[1]
    service.start(**passing(passed, **variables))
    return configured


def test_requests_that_came_before_the_service_are_answered(make_service):
    passed = listening("127.0.0.1")
    early = socket.create_connection(passed.getsockname())
    early.sendall(REQUEST)
    service = make_service(start=False)
    activated(service, passed, LISTEN_FDNAMES="http")
    early.settimeout(10)
    assert early.recv(64).startswith(b"HTTP/1.1 200 OK")

    # A restart loses nobody: the socket stays, and who comes meanwhile waits.
    assert service.stop() == 0
    between = socket.create_connection(passed.getsockname())
    between.sendall(REQUEST)
    service.start(**passing(passed))
    between.settimeout(10)
    assert between.recv(64).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "::1"])
def test_sandboxes_are_told_the_port_of_the_passed_socket(make_service, image, address):
    service = make_service(start=False)
    configured = activated(service, listening(address)) if address != "::1" else None
    if address == "::1":
        # The service adds the gateway, and tests speak IPv4: 127.0.0.1 is passed beside it.
        sockets = [listening("::1"), listening("127.0.0.1")]
        service.port = sockets[1].getsockname()[1]
        service.start(**passing(*sockets))
    else:
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", configured), 2)
        assert f"server.port is {configured}, and no passed socket has that port" in service.log()
    service.create("told", image)
    answer = service.invoke("told", {"op": "where"})
    assert answer.status == 200 and "x-amz-function-error" not in answer.headers, answer.body


def test_a_passed_socket_on_an_address_of_the_host_gets_loopback_beside_it(make_service):
    service = make_service(start=False)
    # Docker's own bridge: an address of this host that is neither loopback nor this service's gateway.
    passed = listening(bridge_address())
    activated(service, passed)
    assert f"Runtime API at {passed.getsockname()[0]}:{service.port} " in service.log()
    assert service.http("GET", "/status").status == 200


def test_sockets_meant_for_another_process_are_left_alone(make_service):
    service = make_service(start=False)
    passed = listening("127.0.0.1")
    service.start(**passing(passed, LISTEN_PID="1"))
    assert "LISTEN_FDS is meant for another process" in service.log()
    assert service.http("GET", "/health").status == 200


# What cannot be.


def program(service, through=(), pass_fds=(), **variables):
    return subprocess.run(
        [*through, binary(), "--config", service.config_path],
        capture_output=True, text=True, timeout=30, env=environment(**variables), pass_fds=pass_fds, cwd="/",
    )  # fmt: skip


@pytest.mark.parametrize(
    "variables, said",
    [
        ({"LISTEN_FDS": "one"}, "LISTEN_FDS \"one\" is not a number of 0 to 64"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS \"-1\" is not"),
        ({"LISTEN_FDS": "1000000000000"}, "LISTEN_FDS \"1000000000000\" is not"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "me"}, "LISTEN_PID \"me\" is not the number of a process"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"}, "LISTEN_FDNAMES does not have a name for each"),
        ({"LISTEN_FDS": "64"}, "the passed descriptor "),
        ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC \"soon\" is not a number"),
        ({"WATCHDOG_USEC": "0"}, "WATCHDOG_USEC \"0\" is not a number"),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "me"}, "WATCHDOG_PID \"me\" is not"),
        ({"NOTIFY_SOCKET": "notify"}, "NOTIFY_SOCKET \"notify\" is neither an absolute path"),
        ({"NOTIFY_SOCKET": "/" + "x" * 200}, "is no address"),
    ],
)  # fmt: skip
def test_an_environment_that_cannot_be_is_told(make_service, variables, said):
    done = program(make_service(start=False), **{**passing(), **variables})
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "systemd sets this" in done.stderr, done.stderr


def connected():
    listener = listening("127.0.0.1")
    return socket.create_connection(listener.getsockname())


def unix():
    made = socket.socket(socket.AF_UNIX)
    made.bind("\0lambda-test-" + str(free_port()))
    made.listen()
    return made


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: open("/dev/null"), "fd 3 is not a socket"),
        (lambda: listening("127.0.0.1", socket.SOCK_DGRAM), "fd 3 is not a valid tcp socket"),
        (unix, "fd 3 is not a valid tcp socket"),
        (connected, "it does not listen (the socket unit needs Accept=no)"),
    ],
    ids=["file", "udp", "unix", "connected"],
)
def test_a_descriptor_that_is_no_listening_tcp_socket_is_told(make_service, make, said):
    passed = make()
    done = program(make_service(start=False), **passing(passed, LISTEN_FDNAMES="web"))
    assert done.returncode == 2
    assert 'the passed descriptor 3 ("web") cannot be used' in done.stderr and said in done.stderr, done.stderr


def status(service):
    with open(f"/proc/{service.process.pid}/status") as lines:
        return next(line for line in lines if line.startswith("State:"))


def bridge_address():
    told = subprocess.run(["ip", "-4", "-json", "addr", "show", "docker0"], capture_output=True, check=True).stdout
    return json.loads(told)[0]["addr_info"][0]["local"]
