#!/usr/bin/env bash
# Measures the service beside the floor (two bare HTTP exchanges), the bare Engine and, on demand,
# its peers, in one run on one machine, and prints Markdown tables.
#
#   scripts/benchmark.sh [--quick] [--peers] [--pinned] [--no-service] [--no-cold] [--functions] [--sandboxes]
#                        [--only-async]
#
#   --quick       fewer and shorter rounds: for a look, not for a record
#   --peers       also AWS's Runtime Interface Emulator and `cargo lambda watch`, from PyPI
#   --pinned      the warm table once more with everything on CPU 1, where figures repeat best
#   --no-service  floor and peers only
#   --no-cold     no cold starts and no functions: no Docker Engine is needed then
#   --functions   only deploying, listing and changing functions
#   --sandboxes   only idle functions and containers, and frozen ones
#   --only-async  the asynchronous queue alone: durable accepts, delivery, 100,000 waiting events
#
# Machines differ and are shared: only figures of one run can be compared, and best the ratios.
# Everything that it starts ends with it. Only loopback and the bridge of its own network are used.
set -euo pipefail
cd "$(dirname "$0")/.."

quick='' peers='' pinned='' service=1 cold=1 only_functions='' only_sandboxes='' only_async=''
for argument in "$@"; do
    case $argument in
        --quick) quick=1 ;;
        --peers) peers=1 ;;
        --pinned) pinned=1 ;;
        --no-service) service= ;;
        --no-cold) cold= ;;
        --only-async) only_async=1 cold= ;;
        --functions) only_functions=1 ;;
        --sandboxes) only_sandboxes=1 ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

rounds=5 seconds=3 cold_rounds=15
[[ $quick ]] && rounds=3 seconds=1 cold_rounds=5
runtimes=32
parked=1000
# The processes of one run, and their names at the Engine, must not meet those of another.
run=lrasbench$$
work=$(mktemp -d "${TMPDIR:-/tmp}/$run.XXXXXX")
samples=$work/samples
declare -A urls=()

say() { printf '%s\n' "$*" >&2; }

# Ends what this shell started and has not ended yet; the shell's own job list says what that is,
# so a number that the system has given to another process since is never signalled.
stop_all() {
    local pid deadline=$((SECONDS + 15))
    for pid in $(jobs -pr); do kill "$pid" 2>/dev/null || true; done
    # The service gets its grace for taking its containers along.
    while [[ $(jobs -pr) ]] && ((SECONDS < deadline)); do sleep 0.1; done
    for pid in $(jobs -pr); do kill -KILL "$pid" 2>/dev/null || true; done
    wait || true
    urls=()
}

clean_up() {
    local status=$?
    trap - EXIT
    stop_all
    # The service makes its network whatever is measured.
    if command -v docker >/dev/null; then
        docker ps -aq --filter "name=$run" | xargs -r docker rm -f >/dev/null 2>&1 || true
        docker network ls -q --filter "name=$run" | xargs -r docker network rm >/dev/null 2>&1 || true
        docker images -q --filter "label=$run" | sort -u | xargs -r docker rmi -f >/dev/null 2>&1 || true
    fi
    ((status == 0)) || tail -n 5 "$work"/*.log >&2 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# field NAME: the number of that name in a line of JSON that one of the tools printed.
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }

# A port that nobody listens on: bound and let go, so a race is possible and ends in a clear error.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start LOG COMMAND...: in the background, until the end of the run or stop_all.
start() {
    local log=$work/$1.log
    shift
    "$@" >>"$log" 2>&1 &
}

# until_answers WHAT COMMAND...: waits until the command, which bounds itself, succeeds.
until_answers() {
    local what=$1 deadline=$((SECONDS + 30))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { say "benchmark: $what does not answer"; return 1; }
        sleep 0.2
    done
}

one_answer() { "$tools/loadgen" -n 1 -w 0 --timeout 5 "$1"; }

build() {
    local last
    say "building (release, static) ..."
    last=$(scripts/build-release.sh bench-tools bare-runtime floor cold-floor parked sync-floor loadgen)
    tools=$(dirname "$last")
    if [[ $service ]]; then server=$(scripts/build-release.sh | tail -n 1); fi
}

# --- the subjects of the warm table, each with its runtimes -----------------------------------

start_floor() { # PIN...
    local port
    port=$(free_port)
    start floor "$@" "$tools/floor" "127.0.0.1:$port"
    AWS_LAMBDA_RUNTIME_API=127.0.0.1:$port start runtimes "$@" "$tools/bare-runtime" -n $runtimes
    urls[floor]=http://127.0.0.1:$port/2015-03-31/functions/bench/invocations
    until_answers floor one_answer "${urls[floor]}"
}

# The service with its own storage, network and names, for which $service_name and $slots can be set; sets
# service_pid and service_port.
start_service() { # HOST PIN...
    local host=$1 name=${service_name:-$run}
    shift
    service_port=$(free_port)
    cat >"$work/$name.toml" <<TOML
[server]
address = "$host"
port = $service_port
[storage]
path = "$work/storage${service_name:+-$service_name}"
[docker]
network_name = "$name"
network_slots = ${slots:-4}
container_prefix = "$name-"
[execution]
max_concurrent_executions = $((parked + 100))
freeze_after_ms = ${freeze_after_ms:-0}
[asynchronous]
max_queued_events = 500000
[runtimes]
"provided.al2023" = "$run:latest"
TOML
    start service "$@" "$server" --config "$work/$name.toml"
    service_pid=$!
    until_answers "the service" curl -fsS --max-time 5 "http://127.0.0.1:$service_port/health"
}

# Local runtimes of the running service, for a function that only they make known to it.
start_runtimes() { # PIN...
    AWS_LAMBDA_RUNTIME_API=127.0.0.1:$service_port BARE_RUNTIME_FUNCTION=bench \
        start runtimes "$@" "$tools/bare-runtime" -n $runtimes
    urls[service]=http://127.0.0.1:$service_port/2015-03-31/functions/bench/invocations
    until_answers "a local runtime of the service" one_answer "${urls[service]}"
}

# Downloads once; gives a reason instead of failing when the peer cannot be had.
install_peers() {
    local venv=.cache/peers
    [[ -x $venv/bin/pip ]] || python3 -m venv "$venv" || { say "no peers: no venv"; return; }
    [[ -x $venv/bin/cargo-lambda ]] || timeout 300 "$venv/bin/pip" install -q cargo-lambda ||
        say "without cargo-lambda: pip cannot install it"
    if [[ ! -x $venv/aws-lambda-rie ]]; then
        # The wheel without its dependencies: only the emulator inside is wanted.
        # shellcheck disable=SC2015 # whichever of the two fails, the emulator is not there
        timeout 300 "$venv/bin/pip" download -q --no-deps -d "$work/sam" aws-sam-cli &&
            python3 - "$work/sam" "$venv/aws-lambda-rie" <<'PY' || say "without AWS RIE: not in PyPI's aws-sam-cli wheel"
import glob, os, platform, sys, zipfile
arch = {"aarch64": "arm64"}.get(platform.machine(), "x86_64")
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
with open(sys.argv[2], "wb") as out:
    out.write(wheel.read("samcli/local/rapid/aws-lambda-rie-" + arch))
os.chmod(sys.argv[2], 0o755)
PY
    fi
    rie=$PWD/$venv/aws-lambda-rie
    cargo_lambda=$PWD/$venv/bin/cargo-lambda
}

start_peers() { # PIN...
    local api port
    if [[ -x $rie ]]; then
        api=$(free_port) port=$(free_port)
        start rie "$@" "$rie" --log-level error --runtime-api-address "127.0.0.1:$api" \
            --runtime-interface-emulator-address "127.0.0.1:$port" "$tools/bare-runtime"
        urls[rie]=http://127.0.0.1:$port/2015-03-31/functions/function/invocations
        until_answers "AWS RIE" one_answer "${urls[rie]}" || unset 'urls[rie]'
    fi
    if [[ -x $cargo_lambda ]]; then
        port=$(free_port)
        # It serves a Cargo project; with --only-lambda-apis an empty one will do.
        mkdir -p "$work/empty/src"
        printf '[package]\nname = "bootstrap"\nversion = "0.1.0"\nedition = "2021"\n' \
            >"$work/empty/Cargo.toml"
        printf 'fn main() {}\n' >"$work/empty/src/main.rs"
        start cargo-lambda env -C "$work/empty" "$@" "$cargo_lambda" lambda watch \
            --only-lambda-apis --invoke-address 127.0.0.1 -P "$port"
        AWS_LAMBDA_RUNTIME_API=http://127.0.0.1:$port/.rt/bootstrap \
            start runtimes "$@" "$tools/bare-runtime" -n $runtimes
        urls[cargo-lambda]=http://127.0.0.1:$port/2015-03-31/functions/bootstrap/invocations
        until_answers cargo-lambda one_answer "${urls[cargo-lambda]}" || unset 'urls[cargo-lambda]'
    fi
}

# --- measuring --------------------------------------------------------------------------------

# warm LABEL PIN...: all subjects in turn, round after round, so that a busy minute of the machine
# meets them all; appends one line per measurement to the samples.
warm() {
    local label=$1 round callers size subject line
    shift
    start_floor "$@"
    if [[ $service ]]; then
        start_service 127.0.0.1 "$@"
        start_runtimes "$@"
    fi
    if [[ $peers ]]; then start_peers "$@"; fi
    for case in "1 100" "8 100" "32 100" "1 1000000" "8 1000000" "1 6000000" "8 6000000"; do
        read -r callers size <<<"$case"
        say "$label: $callers callers, $size bytes"
        for ((round = 1; round <= rounds; round++)); do
            for subject in floor service rie cargo-lambda; do
                [[ ${urls[$subject]:-} ]] || continue
                # The emulator serves one invocation at a time; a second caller ends it.
                [[ $subject == rie && $callers != 1 ]] && continue
                line=$(timeout $((seconds + 60)) "$@" "$tools/loadgen" -c "$callers" -s "$size" \
                    -d "$seconds" -w 5 --json "${urls[$subject]}" || true)
                printf '%s\t%s\t%s\t%s' "$label" "$callers" "$size" "$subject" >>"$samples"
                for name in p50_us p99_us rps errors; do
                    printf '\t%s' "$(field $name <<<"$line")" >>"$samples"
                done
                printf '\n' >>"$samples"
            done
        done
    done
    stop_all
}

# Medians over the rounds; the ratios are those of the medians.
warm_table() {
    printf '| CPUs | callers | bytes | subject | p50 us | p99 us | per second | p50 / floor | rate / floor | errors |\n'
    printf '|---|--:|--:|---|--:|--:|--:|--:|--:|--:|\n'
    awk -F '\t' '
        function median(list,   n, i, j, v, t) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) {
                t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
            }
            return n ? v[int((n + 1) / 2)] : 0
        }
        {
            key = $1 FS $2 FS $3
            row = key FS $4
            if (!(row in p50)) order[++rows] = row
            # A run without one good answer has no figures, only errors.
            if ($7 + 0 > 0) { p50[row] = p50[row] " " $5; p99[row] = p99[row] " " $6; rps[row] = rps[row] " " $7 }
            else p50[row] = p50[row] ""
            errors[row] += ($8 == "" ? 1 : $8)
            base[row] = key FS "floor"
        }
        END {
            for (i = 1; i <= rows; i++) {
                row = order[i]; split(row, cell, FS)
                floor50 = median(p50[base[row]]); floorrps = median(rps[base[row]])
                if (p50[row] == "") {
                    printf "| %s | %s | %s | %s | - | - | - | - | - | %d |\n", cell[1], cell[2], cell[3], cell[4], errors[row]
                    continue
                }
                printf "| %s | %s | %s | %s | %.1f | %.1f | %.0f | %.2f | %.2f | %d |\n", cell[1], cell[2], cell[3], cell[4],
                    median(p50[row]), median(p99[row]), median(rps[row]), median(p50[row]) / floor50, median(rps[row]) / floorrps, errors[row]
            }
        }' "$samples"
}

# The service alone: idle, with parked runtimes, after them; then the same with load meanwhile.
memory_tables() {
    local alone crowded holder i
    say "memory and $parked parked runtimes"
    start_service 127.0.0.1
    "$tools/parked" --pid "$service_pid" -n $parked "127.0.0.1:$service_port" >"$work/parked" ||
        say "benchmark: not all of $parked runtimes stayed parked"
    start_runtimes
    alone=$(load_bench)
    "$tools/parked" --pid "$service_pid" -n $parked --hold $((seconds + 3)) \
        "127.0.0.1:$service_port" >"$work/parked-load" &
    holder=$!
    # The second line says that all are parked.
    for ((i = 0; i < 100; i++)); do
        (($(wc -l <"$work/parked-load") >= 2)) && break
        sleep 0.1
    done
    crowded=$(load_bench)
    wait "$holder" || say "benchmark: parked runtimes were lost under load"
    printf '\n| service | resident MiB | threads |\n|---|--:|--:|\n'
    memory_row "idle" before "$work/parked"
    memory_row "with $parked parked /next" parked "$work/parked"
    memory_row "after they have gone" after "$work/parked"
    memory_row "after load" after "$work/parked-load"
    printf '\n8 callers, 100 bytes: %s/s alone, %s/s with %s parked /next.\n' "${alone:--}" "${crowded:--}" $parked
    stop_all
}

# Answers per second; nothing if there were none, which is a figure too and no reason to stop.
load_bench() {
    timeout $((seconds + 60)) "$tools/loadgen" -c 8 -d "$seconds" -w 5 --json "${urls[service]}" |
        field rps || true
}

memory_row() { # TITLE MOMENT FILE
    local line
    line=$(grep "\"moment\":\"$2\"" "$3" || true)
    printf '| %s | %s | %s |\n' "$1" \
        "$(field rss_kib <<<"$line" | awk '{ printf "%.1f", $1 / 1024 }')" \
        "$(field threads <<<"$line")"
}

# The image of this run. What is built on it has its label too, and goes with it.
import_image() {
    mkdir -p "$work/image/var/task"
    cp "$tools/bare-runtime" "$work/image/var/task/bootstrap"
    tar -C "$work/image" -c var |
        docker import --change 'ENTRYPOINT ["/var/task/bootstrap"]' --change "LABEL $run=1" - \
            "$run:latest" >/dev/null
}

# Create to Active, lists, calls per second, storage.
functions_tables() {
    local options=()
    [[ $quick ]] && options=(--rounds 2 --seconds 2)
    say "functions"
    start_service 127.0.0.1
    printf '\n'
    timeout 1800 python3 benches/functions.py --port "$service_port" --storage "$work/storage" \
        --image "$run:latest" --bootstrap "$tools/bare-runtime" "${options[@]}"
    stop_all
}

# What idle functions and containers cost, and what it costs to thaw one.
sandboxes_tables() {
    local options=(--image "$run:latest" --loadgen "$tools/loadgen")
    [[ $quick ]] && options+=(--rounds 2 --seconds 1 --thaws 5 --sandboxes 20)
    say "idle and frozen containers"
    start_service 0.0.0.0
    timeout 900 python3 benches/sandboxes.py --port "$service_port" --pid "$service_pid" "${options[@]}"
    stop_all
    service_name=$run-frozen freeze_after_ms=1000 start_service 0.0.0.0
    timeout 900 python3 benches/sandboxes.py --port "$service_port" --pid "$service_pid" "${options[@]}" --frozen
    stop_all
}

# Create + start + first byte at the bare Engine, and invocations without a sandbox: of a service without network
# slots and of one with them.
cold_tables() {
    local through=() what title subject line
    say "cold starts, $cold_rounds of each, and bursts"
    if [[ $service ]]; then
        # Sandboxes reach the port over their bridge; strangers are refused by the service itself.
        service_name=$run-alone slots=0 start_service 0.0.0.0
        through=(--alone "127.0.0.1:$service_port")
        start_service 0.0.0.0
        through+=(--slots "127.0.0.1:$service_port")
    fi
    timeout 1800 "$tools/cold-floor" --image "$run:latest" --name "$run-floor" -n "$cold_rounds" \
        "${through[@]}" >"$work/cold"
    stop_all
    for what in one at_once grow; do
        case $what in
            one) title='cold start' ;;
            at_once) title='8 at once' ;;
            grow) title='from 0 to 10' ;;
        esac
        printf '\n| %s | p50 ms | min ms | max ms | / engine |\n|---|--:|--:|--:|--:|\n' "$title"
        for subject in engine alone slots; do
            line=$(grep "\"what\":\"$what\",\"subject\":\"$subject\"" "$work/cold") || continue
            printf '| %s | %s | %s | %s | %s |\n' "$subject" "$(field p50_ms <<<"$line")" \
                "$(field min_ms <<<"$line")" "$(field max_ms <<<"$line")" "$(field ratio <<<"$line")"
        done
    done
    printf '\nengine: create, start, first byte; alone: the service without network slots; slots: with them.\n'
}

# Durable accepts beside one wait for the disk each; then 100,000 events that wait: memory, the
# start after a kill, and their delivery.
async_tables() {
    local callers line url waiting=100000 since
    [[ $quick ]] && waiting=20000
    start_service 127.0.0.1
    # A runtime that is busy for the whole time: the function is known, and its events wait.
    start_busy_runtime
    url=http://127.0.0.1:$service_port/2015-03-31/functions/bench/invocations
    until_answers "an event" event_is_taken "$url"
    printf '\n| callers | durable accepts | p50 us | p99 us | one wait for the disk each | ratio |\n|--:|--:|--:|--:|--:|--:|\n'
    for callers in 1 8 32; do
        say "durable accepts, $callers callers"
        local floor
        floor=$("$tools/sync-floor" -c $callers -d "$seconds" -s 1000 "$work/floor" | field rps)
        line=$("$tools/loadgen" -c $callers -d "$seconds" -s 1000 --status 202 --any-answer --json \
            -H 'X-Amz-Invocation-Type: Event' "$url")
        printf '| %s | %s | %s | %s | %s | %s |\n' $callers "$(field rps <<<"$line")" \
            "$(field p50_us <<<"$line")" "$(field p99_us <<<"$line")" "$floor" \
            "$(awk -v a="$(field rps <<<"$line")" -v b="$floor" 'BEGIN { printf "%.1f", a / b }')"
    done
    stop_all
    rm -rf "$work/storage"
    say "$waiting waiting events of 1,000 bytes"
    start_service 127.0.0.1
    start_busy_runtime
    url=http://127.0.0.1:$service_port/2015-03-31/functions/bench/invocations
    until_answers "an event" event_is_taken "$url"
    "$tools/loadgen" -c 32 -n "$waiting" -w 0 -s 1000 --status 202 --any-answer --json \
        -H 'X-Amz-Invocation-Type: Event' "$url" >/dev/null
    printf '\n| with %s waiting events | |\n|---|--:|\n' "$waiting"
    printf '| resident memory, MiB | %s |\n' "$(resident)"
    printf '| on the disk, MiB | %s |\n' "$(du -sm "$work/storage/queue" | cut -f 1)"
    kill -KILL "$service_pid"
    wait "$service_pid" 2>/dev/null || true
    stop_all
    : >"$work/service.log"
    start_service 127.0.0.1
    printf '| start after kill -9, until it serves, ms | %s |\n' \
        "$(sed -n 's/.*serving on .* after \([0-9]*\) ms.*/\1/p' "$work/service.log")"
    printf '| resident memory after that, MiB | %s |\n' "$(resident)"
    start_runtimes
    since=$(date +%s%N)
    until curl -fsS "http://127.0.0.1:$service_port/queue" | grep -q '"events":0,'; do sleep 0.2; done
    printf '| delivered per second, %s runtimes | %s |\n' "$runtimes" \
        $((waiting * 1000000000 / ($(date +%s%N) - since)))
    stop_all
}

start_busy_runtime() {
    AWS_LAMBDA_RUNTIME_API=127.0.0.1:$service_port BARE_RUNTIME_FUNCTION=bench BARE_RUNTIME_WORK_MS=3000000 \
        start runtimes "$tools/bare-runtime"
}

event_is_taken() {
    [[ $(curl -sS -o /dev/null -w '%{http_code}' --max-time 5 -H 'X-Amz-Invocation-Type: Event' -d '{}' "$1") == 202 ]]
}

# MiB of the service.
resident() { awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$service_pid/status"; }

machine() {
    printf '%s CPUs (%s), Linux %s, %s, Engine %s; %s; commit %s\n\n' "$(nproc)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | head -n 1)" "$(uname -r)" \
        "$(rustc --version | cut -d ' ' -f 1-2)" \
        "$(timeout 5 docker version --format '{{.Server.Version}}' 2>/dev/null || echo none)" \
        "$(date -u +%F)" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
}

# Each parked connection is a descriptor, in the tool and in the service.
(($(ulimit -n) >= 4096)) || ulimit -n 4096 || say "benchmark: few descriptors: $(ulimit -n)"
build
if [[ $peers ]]; then install_peers; fi
machine
if [[ $only_async ]]; then
    async_tables
    exit 0
fi
if [[ $only_functions ]]; then
    import_image
    functions_tables
    exit 0
fi
if [[ $only_sandboxes ]]; then
    import_image
    sandboxes_tables
    exit 0
fi
warm "all"
if [[ $pinned ]]; then warm "one" taskset -c 1; fi
warm_table
if [[ $service ]]; then memory_tables; fi
if [[ $service ]]; then async_tables; fi
if [[ $cold ]]; then
    import_image
    cold_tables
    if [[ $service ]]; then
        sandboxes_tables
        functions_tables
    fi
fi
