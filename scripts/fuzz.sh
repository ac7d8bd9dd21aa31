#!/usr/bin/env bash
# Builds the fuzz targets and runs them one after the other: fuzz/README.md says what they are.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/fuzz.sh [SECONDS] [TARGET...]

Runs each target for SECONDS (600), or those that are named, and ends with an error at the first finding, which
is left in fuzz/artifacts/TARGET. The corpora in fuzz/corpus are kept for the next run.
It needs a C++ compiler, and installs cargo-fuzz where that is not there.
TEXT
}

case ${1:-} in
    --help | -h) usage && exit 0 ;;
esac
seconds=600
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi

step "Tools"
ensure_build_tools
command -v c++ >/dev/null || install_packages g++
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz

cd fuzz
step "Seeds"
RUSTFLAGS='--cfg fuzzing' cargo run --quiet --locked --target-dir target/seeds --example seeds

# Coverage needs no nightly compiler with this, and the address sanitizer, which does, has nothing to find where
# `unsafe` is forbidden. Assertions (-a) find overflows.
export RUSTC_BOOTSTRAP=1
step "Build"
cargo fuzz build -s none -a
mapfile -t targets < <(if (($#)); then printf '%s\n' "$@"; else cargo fuzz list; fi)
for target in "${targets[@]}"; do
    step "$target, $seconds s"
    max_len=4096
    [[ $target != zip_archive ]] || max_len=65536
    cargo fuzz run -s none -a "$target" -- -rss_limit_mb=256 -malloc_limit_mb=64 -max_len="$max_len" \
        -timeout=10 -max_total_time="$seconds" -print_final_stats=1 -verbosity=0
done
