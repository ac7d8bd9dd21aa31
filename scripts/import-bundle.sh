#!/usr/bin/env bash
# Takes the functions of a bundle that export-bundle.sh has written into a running service.
# What it does is in scripts/bundle; --help tells how to call it.
set -euo pipefail
scripts=$(dirname "$(realpath "$0")")
# shellcheck source=scripts/lib.sh
source "$scripts/lib.sh"

command -v python3 >/dev/null || install_packages python3
# Whoever only wants a bundle checked needs no Engine.
[[ " $* " == *" --help "* || " $* " == *" -h "* || " $* " == *" --verify "* ]] || ensure_docker_client
exec python3 -B "$scripts/bundle/importer.py" "$@"
