#!/usr/bin/env bash
# From a fresh machine to the first invocation: builds the service, starts it, deploys an example and invokes it.
# A second run finds the service running and changes nothing unless the program or its configuration did.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/run-bare-service.sh [--no-example] [--foreground] [--config FILE]

Makes sure that a Docker Engine runs, builds the service as a static binary, starts it in the background,
waits until it is healthy, deploys the function "hello" and invokes it once.

  --no-example   do not deploy and invoke the example
  --foreground   run the service in this terminal until Ctrl-C (without the example)
  --config FILE  configuration of the service (default: config.toml)
  --help         this text

To stop the service:  kill "$(cat .cache/service/pid)"
TEXT
}

example=yes foreground=no config=$PWD/config.toml
while [[ $# -gt 0 ]]; do
    case $1 in
        --no-example) example=no ;;
        --foreground) foreground=yes ;;
        --config)
            [[ -f ${2:-} ]] || die "--config needs the name of a file, not '${2:-}'"
            config=$(realpath "$2")
            shift
            ;;
        --help | -h) usage && exit 0 ;;
        *) usage >&2 && die "unknown option: $1" ;;
    esac
    shift
done

state=$PWD/.cache/service
pid_file=$state/pid
log=$state/service.log
# The image that the service makes itself: what the example is built on, so that nothing is pulled.
base=lambda-runtime-api-server/provided:al2023

# The port as the service will see it: the environment goes over the file.
port=${LAMBDA_RUNTIME_API_PORT:-$(sed -n 's/^[[:space:]]*port[[:space:]]*=[[:space:]]*\([0-9]\+\).*/\1/p' "$config" | head -n 1)}
port=${port:-8080}
url=http://127.0.0.1:$port

healthy() {
    curl -fsS --max-time 5 "$url/health" >/dev/null 2>&1
}

# What a running service was started from: another program, file or environment makes a restart necessary.
fingerprint() {
    {
        sha256sum "$binary" "$config"
        # None of them set is the usual case and no error.
        env | grep -E '^(LAMBDA_RUNTIME_API_|DOCKER_HOST=|RUST_LOG=)' | sort || true
    } | sha256sum
}

running() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    # A number alone could by now belong to somebody else's process.
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) == lambda-runtime-* ]]
}

stop_running() {
    local pid
    pid=$(cat "$pid_file")
    kill -TERM "$pid"
    wait_until 60 "the old service to finish its invocations" not_running || die "process $pid does not stop"
}

not_running() {
    ! running
}

started_or_dead() {
    healthy || not_running
}

start_service() {
    if running && [[ $(fingerprint) == "$(cat "$state/fingerprint" 2>/dev/null)" ]] && healthy; then
        note "already running with this program and configuration (process $(cat "$pid_file"))"
        return 0
    fi
    if running; then
        note "the program, its configuration or its environment has changed: restarting"
        stop_running
    fi
    if healthy; then
        die "something else answers on $url already" "Stop it, or choose another port: LAMBDA_RUNTIME_API_PORT=8081 $0"
    fi
    fingerprint >"$state/fingerprint"
    # A session of its own: the service outlives this script and does not get its Ctrl-C.
    setsid nohup "$binary" --config "$config" >>"$log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$pid_file"
    if ! wait_until 60 "the service on port $port" started_or_dead || ! healthy; then
        tail -n 15 "$log" >&2
        die "the service did not become healthy" "Its last words are above, all of them in $log."
    fi
    note "process $(cat "$pid_file"), log $log"
}

# api METHOD PATH [BODY]: prints the answer's body, and its status on a last line of its own.
api() {
    curl -sS --max-time 120 -X "$1" -H 'Content-Type: application/json' ${3:+--data-binary "$3"} \
        -w '\n%{http_code}\n' "$url$2"
}

# expect STATUS WHAT ANSWER: the body of an answer that has this status; anything else ends the script.
expect() {
    [[ $(tail -n 1 <<<"$3") == "$1" ]] || die "$2 was answered $(tail -n 1 <<<"$3"): $(sed '$d' <<<"$3")"
    sed '$d' <<<"$3"
}

base_is_there() {
    docker image inspect "$base" >/dev/null 2>&1
}

function_is_active() {
    api GET /2015-03-31/functions/hello | grep -q '"State": *"Active"'
}

# The example as an image, named after its content: the same content is not built twice. Prints the tag.
build_example() {
    local program context tag
    program=$(scripts/build-release.sh hello | tail -n 1)
    wait_until 60 "the service's base image" base_is_there || die "the service has not made its image $base" "See $log."
    tag=lambda-example-hello:$(cat "$program" examples/hello/Dockerfile | sha256sum | cut -c 1-12)
    if ! docker image inspect "$tag" >/dev/null 2>&1; then
        context=$(mktemp -d)
        cp "$program" "$context/bootstrap"
        cp examples/hello/Dockerfile "$context/"
        # The classic builder is in every Engine up to now and needs no network. What it says (that it is
        # old, mostly) matters only when it fails.
        if ! DOCKER_BUILDKIT=0 docker build -q --build-arg "BASE=$base" --tag "$tag" "$context" >"$state/build.log" 2>&1; then
            cat "$state/build.log" >&2
            die "the image of the example could not be built" "What the Engine says is above."
        fi
        rm -rf "$context"
    fi
    printf '%s\n' "$tag"
}

deploy_example() {
    local tag=$1 answer
    answer=$(api GET /2015-03-31/functions/hello)
    if grep -qF "\"$tag\"" <<<"$answer"; then
        note "the function hello is there already"
        return 0
    fi
    if [[ $(tail -n 1 <<<"$answer") == 200 ]]; then
        note "the function hello is there with other code: replacing it"
        expect 204 "DeleteFunction" "$(api DELETE /2015-03-31/functions/hello)" >/dev/null
    fi
    answer=$(api POST /2015-03-31/functions "{
        \"FunctionName\": \"hello\", \"PackageType\": \"Image\", \"Code\": {\"ImageUri\": \"$tag\"},
        \"Role\": \"arn:aws:iam::000000000000:role/lambda-role\", \"Timeout\": 10, \"MemorySize\": 128}")
    expect 201 "CreateFunction" "$answer" >/dev/null
    wait_until 60 "the function to be active" function_is_active ||
        die "the function hello did not become active: $(api GET /2015-03-31/functions/hello)"
}

step "Tools and the Docker Engine"
ensure_build_tools
ensure_docker
note "Docker Engine $(docker version --format '{{.Server.Version}}') answers on $(engine_socket)"

step "Building the service (the first time takes a minute)"
binary=$(scripts/build-release.sh | tail -n 1)
note "$binary"

if [[ $foreground == yes ]]; then
    step "Starting the service on port $port; Ctrl-C stops it"
    exec "$binary" --config "$config"
fi

step "Starting the service"
mkdir -p "$state"
start_service

if [[ $example == yes ]]; then
    step "Deploying the example function"
    tag=$(build_example)
    deploy_example "$tag"
    note "function hello, image $tag"

    step "Invoking it"
    note "curl -X POST $url/2015-03-31/functions/hello/invocations -d '{\"name\": \"world\"}'"
    answer=$(expect 200 "the invocation" "$(api POST /2015-03-31/functions/hello/invocations '{"name": "world"}')")
    printf '\n    %s\n' "$answer"
fi

step "Ready"
cat >&2 <<TEXT
    Lambda API    $url
    Health        $url/health
    Status        $url/status
    Metrics       $url/metrics
    Log           $log

    Next:
      curl -X POST $url/2015-03-31/functions/hello/invocations -d '{"name": "you"}'
      aws lambda list-functions --endpoint-url $url --region us-east-1
      tail -f $log
      kill $(cat "$pid_file")            # stops the service and removes its containers
TEXT
