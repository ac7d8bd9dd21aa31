"""Every way to end that comes from outside the function: containers, images, networks and the Engine itself."""

import base64
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import docker_cli
import faulty_engine
from harness import wait_for


def where(service, name):
    answer = service.invoke(name, {"op": "where"})
    assert answer.status == 200, answer.body
    return answer.json()["hostname"]


def busy_then(service, name, deed, within=20, ms=20_000):
    """Invokes, does the deed once the function works on it, and returns the answer and how long it took after that."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(service.invoke, name, {"op": "sleep", "ms": ms})
        counts = lambda: service.http("GET", "/status").json()["invocations"]
        wait_for(lambda: (found := counts())["active"] - found["queued"] >= 1, 30, "it is at work")
        deed()
        begun = time.monotonic()
        answer = call.result(within)
    return answer, time.monotonic() - begun


def exit_error(answer):
    told = answer.json()
    assert (answer.status, answer.headers["x-amz-function-error"]) == (200, "Unhandled")
    return told["errorType"], told["errorMessage"].split("Error: ", 1)[1]


# The container.


@pytest.fixture(scope="module")
def name(service, image):
    return service.create("ending", image, Timeout=60)


@pytest.mark.parametrize("how", [["rm", "--force"], ["kill"], ["stop", "--time", "1"]])
def test_a_container_that_somebody_ends_at_work_is_told_at_once(service, name, how):
    where(service, name)
    answer, took = busy_then(service, name, lambda: docker_cli.docker(*how, *service.containers()))
    kind, message = exit_error(answer)
    assert kind == "Runtime.ExitError" and message.startswith("Runtime exited")
    assert took < 20, "not after the function's timeout of 60 s"
    where(service, name)
    wait_for(lambda: len(service.containers()) == 1, 20, "the dead one is gone")


@pytest.mark.parametrize("how", [["rm", "--force"], ["kill"], ["stop", "--time", "1"]])
def test_a_container_that_somebody_ends_between_calls_is_not_noticed(service, name, how):
    where(service, name)
    dead = service.sandboxes(name)
    docker_cli.docker(*how, *dead)
    where(service, name)
    assert not set(dead) & set(service.sandboxes(name))


def runtimes(container):
    """The processes of a container, by their numbers on the host, without its init."""
    processes = docker_cli.docker("top", container, "-eo", "pid,comm").splitlines()[1:]
    return [int(pid) for pid, command in (line.split() for line in processes) if command != "docker-init"]


@pytest.mark.skipif(os.geteuid() != 0, reason="stopping a container's process needs root")
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_an_event_that_a_dead_runtime_has_not_read_goes_to_another_one(service, name, size):
    where(service, name)
    dead = service.sandboxes(name)
    pids = [pid for container in dead for pid in runtimes(container)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    dies = lambda: [os.kill(pid, signal.SIGKILL) for pid in pids]
    event = {"op": "where", "much": "x" * size}
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(service.invoke, name, event, headers={"X-Amz-Log-Type": "Tail"})
        counts = lambda: service.http("GET", "/status").json()["invocations"]
        try:
            wait_for(lambda: (found := counts())["active"] - found["queued"] == 1, 30, "it has the event")
        finally:
            dies()
        answer = call.result(30)
    assert answer.status == 200 and "x-amz-function-error" not in answer.headers
    assert not set(dead) & set(service.sandboxes(name))
    log = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert (log.count("START RequestId"), log.count("REPORT RequestId")) == (1, 1)
    wait_for(lambda: len(service.containers()) == 1, 20, "the dead one is gone")


def test_neighbours_do_not_notice(service, image, name):
    other = service.create("neighbour", image, Timeout=60)
    where(service, other)
    theirs = service.sandboxes(other)
    busy_then(service, name, lambda: docker_cli.docker("kill", *service.sandboxes(name)))
    where(service, other)
    assert service.sandboxes(other) == theirs


# Images and networks.


def test_a_function_whose_image_is_gone_is_a_service_error_and_others_go_on(service, run_id, image, name):
    tag = f"{run_id}-vanishing:1"
    context = f"FROM {image}\nLABEL vanishing=yes\n"
    docker_cli.docker("build", "--quiet", "--tag", tag, "-", stdin=context)
    vanishing = service.create("vanishing", tag, Timeout=5)
    where(service, vanishing)
    docker_cli.docker("rm", "--force", *service.sandboxes(vanishing))
    docker_cli.docker("rmi", "--force", tag)
    answer = service.invoke(vanishing, {"op": "where"})
    assert (answer.status, answer.error_type) == (500, "ServiceException")
    assert "could not start a container" in answer.json()["Message"]
    where(service, name)
    docker_cli.docker("build", "--quiet", "--tag", tag, "-", stdin=context)
    service.boto().update_function_code(FunctionName=vanishing, ImageUri=tag)
    service.boto().get_waiter("function_updated_v2").wait(FunctionName=vanishing)
    where(service, vanishing)


def test_a_network_that_somebody_removes_is_made_again(make_service, image):
    service = make_service()
    name = service.create("homeless", image, Timeout=10)
    where(service, name)
    # Holders of networks may come and go meanwhile: all of them have to be gone for the network to go.
    def remove():
        docker_cli.remove_containers(service.prefix)
        docker_cli.docker("network", "rm", service.network, check=False)
        return not docker_cli.docker("network", "ls", "--quiet", "--filter", f"name=^{service.network}$")

    wait_for(remove, 30, "the network is gone")
    wait_for(lambda: service.invoke(name, {"op": "where"}).status == 200, 30, "it is there again")


# The Engine.


@pytest.fixture
def behind_proxy(make_service, tmp_path):
    """A service whose Engine can be made to fail, and that Engine."""
    proxy = faulty_engine.FaultyEngine(tmp_path)
    service = make_service(docker={"socket": proxy.path, "call_timeout_ms": 5_000, "network_slots": 0})
    yield service, proxy
    proxy.rules = []
    service.clean_up()
    proxy.down()


def healthy(service):
    return service.http("GET", "/health").status == 200


def test_an_engine_that_restarts_and_keeps_its_containers(behind_proxy, image):
    service, engine = behind_proxy
    warm, cold = service.create("warm", image, Timeout=20), service.create("cold", image, Timeout=20)
    host = where(service, warm)
    # The Engine's answer to the start can come after that of the function.
    wait_for(lambda: "started sandbox" in service.log(), 20, "the start is over")
    engine.down()
    wait_for(lambda: not healthy(service), 20, "the service says so")
    assert where(service, warm) == host, "a warm call needs no Engine"
    begun = time.monotonic()
    answer = service.invoke(cold, {"op": "where"})
    assert (answer.status, answer.error_type) == (500, "ServiceException")
    assert time.monotonic() - begun < 15, "and not only after the function's timeout"
    engine.up()
    wait_for(lambda: healthy(service), 20, "it is found again")
    where(service, cold)
    assert where(service, warm) == host


def test_an_engine_that_restarts_and_loses_its_containers(behind_proxy, image):
    service, engine = behind_proxy
    name = service.create("lost", image, Timeout=60)
    where(service, name)

    def restart():
        engine.down()
        docker_cli.remove_containers(service.prefix)
        engine.up()

    answer, took = busy_then(service, name, restart, within=40, ms=50_000)
    assert exit_error(answer)[0] == "Runtime.ExitError" and took < 30
    wait_for(lambda: healthy(service), 20, "it is found again")
    where(service, name)


def test_a_freeze_that_hangs_keeps_nobody_from_being_thawed(make_service, tmp_path, image):
    engine = faulty_engine.FaultyEngine(tmp_path)
    docker = {"socket": engine.path, "call_timeout_ms": 30_000}
    service = make_service(docker=docker, execution={"freeze_after_ms": 500})
    try:
        frozen, hanging = (service.create(name, image, Timeout=60) for name in ("frozen", "hanging"))
        host = where(service, frozen)
        state = lambda: docker_cli.inspect(service.sandboxes(frozen)[0])["State"]
        wait_for(lambda: state()["Paused"], 20, "it is frozen")
        engine.rules = [("/pause ", faulty_engine.hang)]
        where(service, hanging)
        wait_for(lambda: engine.ruled, 20, "the Engine is asked to freeze the other one")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(where, service, frozen).result(20) == host, "long before that call is given up"
    finally:
        engine.rules = []
        engine.cut("/pause ")
        service.clean_up()
        engine.down()


def test_a_container_that_cannot_be_removed_is_in_nobodys_way(behind_proxy, image):
    service, engine = behind_proxy
    stuck, other = (service.create(name, image, Timeout=20) for name in ("stuck", "unstuck"))
    where(service, stuck)
    container = service.sandboxes(stuck)[0]
    engine.rules = [(lambda line, _: line.startswith("DELETE ") and container in line, faulty_engine.fail())]
    service.boto().delete_function(FunctionName=stuck)
    wait_for(lambda: "could not be removed: " in service.log(), 20, "the Engine has refused")
    # Another one that is left behind at first.
    where(service, other)
    behind = service.sandboxes(other)[0]
    engine.rules.insert(0, (lambda line, _: line.startswith("DELETE ") and behind in line, faulty_engine.fail()))
    service.boto().delete_function(FunctionName=other)
    wait_for(lambda: service.log().count("could not be removed: ") == 2, 20, "both are refused, and told once")
    engine.rules.pop(0)
    wait_for(lambda: len(service.containers()) == 1, 30, "that one is gone")
    wait_for(lambda: engine.ruled >= 8, 30, "the first one is tried again")
    assert service.log().count("could not be removed: ") == 2
    engine.rules = []
    wait_for(lambda: service.containers() == [], 60, "and gone once the Engine lets it")


def test_a_death_while_the_event_stream_is_cut_is_found_out(behind_proxy, image):
    service, engine = behind_proxy
    name = service.create("unheard", image, Timeout=60)
    where(service, name)

    def cut_and_kill():
        engine.rules = [(r" /v[0-9.]+/events|GET /events", faulty_engine.fail())]
        engine.cut("/events")
        docker_cli.docker("kill", *service.containers())
        time.sleep(1)
        engine.rules = []

    answer, took = busy_then(service, name, cut_and_kill, within=40, ms=50_000)
    assert exit_error(answer)[0] == "Runtime.ExitError" and took < 30
    where(service, name)


@pytest.mark.parametrize(
    ("request_line", "action"),
    [
        ("containers/create", faulty_engine.hang),
        ("containers/create", faulty_engine.fail()),
        ("containers/create", faulty_engine.carried_out_but_refused),
        ("/start", faulty_engine.hang),
        ("/start", faulty_engine.fail()),
        ("/start", faulty_engine.carried_out_but_refused),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_engine_that_cannot_start_costs_one_answer_and_leaves_nothing(behind_proxy, image, request_line, action):
    service, engine = behind_proxy
    name, other = service.create("unstarted", image, Timeout=20), service.create("other", image, Timeout=20)
    host = where(service, other)
    engine.rules = [(request_line, action)]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(service.invoke, name, {"op": "where"})
        for _ in range(20):
            assert where(service, other) == host, "a neighbour is served meanwhile"
        answer = call.result(40)
    # A container that has started all the same may have answered before its launcher gave it up.
    served = action is faulty_engine.carried_out_but_refused and request_line == "/start"
    assert (answer.status, answer.error_type) == (500, "ServiceException") or served, answer.body
    engine.rules = []
    wait_for(lambda: service.invoke(name, {"op": "where"}).status == 200, 30, "the next start is a good one")
    wait_for(lambda: len(service.containers()) == 2, 30, "nothing of the failed start is left")


def test_a_slow_start_is_waited_for(behind_proxy, image):
    service, engine = behind_proxy
    name = service.create("slow", image, Timeout=20)
    engine.rules = [("/start", faulty_engine.delay(1.5))]
    where(service, name)


def test_removals_that_fail_are_tried_again(behind_proxy, image):
    service, engine = behind_proxy
    name = service.create("sticky", image, Timeout=1)
    engine.rules = [("DELETE .*/containers/", faulty_engine.fail())]
    answer = service.invoke(name, {"op": "sleep", "ms": 5_000})
    assert json.loads(answer.body)["errorType"] == "Sandbox.Timedout"
    time.sleep(0.5)
    engine.rules = []
    wait_for(lambda: service.containers() == [], 20, "it is gone")
