#!/usr/bin/env bash
# A mixed load over twenty functions, 30 minutes by default, while containers are killed every few seconds and the
# Docker Engine is restarted once. It starts an Engine of its own for that, which needs root. Prints a table;
# exits with 1 when something was lost, ran twice, cannot be explained, or when memory or threads have grown.
#
#   scripts/soak.sh [MINUTES]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

case ${1:-30} in
    *[!0-9.]* | '') sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
is_root || die "an Engine of its own needs root" "Run: sudo scripts/soak.sh ${1:-}"
ensure_build_tools
ensure_docker
command -v ip >/dev/null || install_packages iproute2
binary=${LAMBDA_TEST_BINARY:-$(scripts/build-release.sh | tail -n 1)}
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" \
    --manifest-path tests/functions/rust/Cargo.toml --target-dir target/test-function >&2
exec python3 benches/soak.py --binary "$binary" --function "target/test-function/$host/release/bootstrap" \
    --minutes "${1:-30}"
