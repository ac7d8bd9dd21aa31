# shellcheck shell=bash
# What the scripts share: telling what happens, Debian packages, a Docker Engine that runs.
#
# To be sourced by a script that has set -euo pipefail. Nothing here writes to standard output except what a
# function is documented to print, so that callers can capture it.

step() {
    printf '\n==> %s\n' "$*" >&2
}

note() {
    printf '    %s\n' "$*" >&2
}

die() {
    printf '\nerror: %s\n' "$1" >&2
    shift
    # Further arguments say what to do about it.
    [[ $# -eq 0 ]] || printf '       %s\n' "$@" >&2
    exit 1
}

is_root() {
    [[ $(id -u) -eq 0 ]]
}

# wait_until SECONDS WHAT COMMAND...: runs the command until it succeeds, and says every two seconds that it waits.
wait_until() {
    local seconds=$1 what=$2 started=$SECONDS told=0
    shift 2
    until "$@"; do
        if ((SECONDS - started >= seconds)); then
            return 1
        fi
        if ((SECONDS - started >= told + 2)); then
            told=$((SECONDS - started))
            note "waiting for $what ($told s of at most $seconds)"
        fi
        sleep 0.1
    done
}

# install_packages PACKAGE...: Debian packages that are not there yet.
install_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die "these packages are missing: ${missing[*]}" \
        "Install what your distribution calls them, then run this again."
    is_root || die "these Debian packages are missing: ${missing[*]}" \
        "Run: sudo apt-get update && sudo apt-get install ${missing[*]}"
    note "installing Debian packages: ${missing[*]}"
    apt-get update -q >&2 || note "apt-get update failed; trying with the package lists that are there"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

# What a build needs beyond Rust itself: a linker, and the C library to link statically.
ensure_build_tools() {
    command -v cargo >/dev/null || die "cargo is not in PATH: this project is built with Rust 1.90 or later" \
        "Install it with rustup or from your distribution and open a new shell, then run this again."
    command -v cc >/dev/null || install_packages gcc libc6-dev
    command -v curl >/dev/null || install_packages curl ca-certificates
}

engine_socket() {
    local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
    [[ $host == unix://* ]] || die "DOCKER_HOST is $host: the service speaks to the Engine over a Unix socket" \
        "Unset DOCKER_HOST, or set it to unix:///path/of/the/socket."
    printf '%s\n' "${host#unix://}"
}

engine_answers() {
    curl -fsS --max-time 5 --unix-socket "$1" http://localhost/_ping >/dev/null 2>&1
}

ensure_docker_client() {
    command -v docker >/dev/null && return 0
    # From Debian 13 on the client is a package of its own, which docker.io only recommends.
    if apt-cache show docker-cli >/dev/null 2>&1; then
        install_packages docker-cli
    else
        install_packages docker.io
    fi
}

# dockerd can be missing although `docker` is there: the latter may be only a client.
engine_program() {
    local path
    path=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v dockerd) || return 1
    printf '%s\n' "$path"
}

# Makes sure that a Docker Engine answers on its socket and that the client is there.
ensure_docker() {
    local socket log=/var/log/dockerd.log
    command -v curl >/dev/null || install_packages curl ca-certificates
    socket=$(engine_socket)
    if engine_answers "$socket"; then
        ensure_docker_client
        return 0
    fi
    if ! is_root; then
        if [[ -S $socket && ! -w $socket ]]; then
            die "$(id -un) may not use the Docker Engine's socket $socket" \
                "Run: sudo usermod -aG docker $(id -un)" "Then log out and in again, and run this again."
        elif engine_program >/dev/null; then
            die "the Docker Engine does not answer on $socket" "Run: sudo systemctl start docker" \
                "Without systemd: sudo dockerd &"
        fi
        die "there is no Docker Engine on this machine" \
            "Run: sudo apt-get update && sudo apt-get install docker.io" \
            "Then: sudo usermod -aG docker $(id -un), log out and in again, and run this again."
    fi
    if ! engine_program >/dev/null; then
        note "there is no Docker Engine; installing Debian's docker.io"
        install_packages docker.io
    fi
    ensure_docker_client
    if [[ -d /run/systemd/system ]]; then
        note "starting the Docker Engine: systemctl start docker"
        systemctl start docker || die "systemd could not start the Docker Engine" "See: journalctl -u docker"
    elif [[ $socket == /var/run/docker.sock || $socket == /run/docker.sock ]]; then
        note "starting the Docker Engine in the background; its log is $log"
        # A session of its own: the Engine outlives this script and does not get its Ctrl-C.
        setsid nohup "$(engine_program)" >>"$log" 2>&1 </dev/null &
    fi
    if ! wait_until 60 "the Docker Engine" engine_answers "$socket"; then
        tail -n 15 "$log" >&2 2>/dev/null || true
        die "the Docker Engine does not answer on $socket after 60 s" \
            "Its last words, if it has any, are above. In a container it needs --privileged."
    fi
}
