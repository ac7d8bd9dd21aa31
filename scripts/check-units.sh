#!/usr/bin/env bash
# Checks the systemd units: their syntax, and how much of the system the service is exposed to.
#
# Prints the score of `systemd-analyze security` (0 is the best of 10); one of 2.5 or above is an error. Works without a
# running systemd. Ends with 3 where the tool is not there and cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

threshold=25 # tenths

if ! command -v systemd-analyze >/dev/null && is_root && command -v apt-get >/dev/null; then
    (install_packages systemd) || true
fi
if ! command -v systemd-analyze >/dev/null; then
    note "systemd-analyze is not installed and can't be (apt-get install systemd)"
    exit 3
fi
if ! systemd-analyze security --help 2>/dev/null | grep -q -e --offline; then
    note "this systemd-analyze is older than 250 and reads no unit files: $(systemd-analyze --version | head -n 1)"
    exit 3
fi

# The program need not be installed where the units are checked.
copies=$(mktemp -d)
trap 'rm -r "$copies"' EXIT
sed 's#/usr/local/bin/lambda-runtime-api-server.*#/bin/true#' scripts/lambda-runtime-api.service >"$copies/lambda-runtime-api.service"
cp scripts/lambda-runtime-api.socket "$copies"
systemd-analyze verify --man=no --recursive-errors=no "$copies"/lambda-runtime-api.{service,socket} ||
    die "systemd does not understand the units"

if ! told=$(systemd-analyze security --no-pager --offline=true --threshold="$threshold" scripts/lambda-runtime-api.service); then
    printf '%s\n' "$told" >&2
    die "the service is exposed to more than it may be: $threshold tenths are the limit"
fi
printf '%s\n' "${told##*→ }"
