#!/usr/bin/env bash
# Writes functions with everything that they need into one archive, to be carried to a place without a network.
# What it does is in scripts/bundle; --help tells how to call it.
set -euo pipefail
scripts=$(dirname "$(realpath "$0")")
# shellcheck source=scripts/lib.sh
source "$scripts/lib.sh"

command -v python3 >/dev/null || install_packages python3
[[ " $* " == *" --help "* || " $* " == *" -h "* ]] || ensure_docker_client
exec python3 -B "$scripts/bundle/exporter.py" "$@"
