#!/usr/bin/env bash
# Builds a package of this workspace as static release binaries and checks them.
#
#   scripts/build-release.sh [PACKAGE [BINARY...]]
#
# Without arguments: the service. The binary says nothing of where it was built: the same sources and compiler give the
# same bytes in any directory, with crates from the registry as with vendored ones. BUILD_RELEASE_MESSAGES names a file
# for Cargo's account of what it has compiled. A binary that is not static or not below 5 MiB is an error: the goal is as small as its features let it be.
# The last line printed is the path of the (last) binary.
set -euo pipefail
cd "$(dirname "$0")/.."

package=${1:-lambda-runtime-api-server}
shift || true
binaries=("${@:-$package}")
size_max=$((5 * 1024 * 1024))

# With an explicit target the flags reach only the product and not build scripts and macros,
# which cannot be linked statically.
host=$(rustc -vV | sed -n 's/^host: //p')
# What the caller has set goes first, split as Cargo does.
read -r -a flags <<<"${RUSTFLAGS:-}"
flags+=(
    -C target-feature=+crt-static
    # Packed relocations: 3 % of the binary.
    -C "link-arg=-Wl,-z,pack-relative-relocs"
    # The tables for unwinding say less where a frame has a pointer: 4 % of the binary.
    -C force-frame-pointers=yes
)
# Functions that are equal stand in the binary once, if the linker knows how (lld does, GNU's not).
# Paths in messages of panics. Of the prefixes that fit the last one counts.
target_dir=${CARGO_TARGET_DIR:-target}
[[ $target_dir == /* ]] || target_dir=$PWD/$target_dir
remap=("$PWD=/source" "$target_dir=/target" "$PWD/vendor=/crates")
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    remap+=("${registry%/}=/crates")
done
for paths in "${remap[@]}"; do flags+=("--remap-path-prefix=$paths"); done
fold="-Clink-arg=-Wl,--icf=all"
probe=$(mktemp -d)
if rustc "$fold" -o "$probe/probe" - <<<'fn main() {}' 2>/dev/null; then flags+=("$fold"); fi
rm -r "$probe"
# Not RUSTFLAGS: in that a path with a space would be two flags.
separator=$'\x1f'
encoded=$(IFS=$separator; printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS=$encoded
build=(cargo build --release --locked --target "$host" --package "$package")
if [[ -n ${BUILD_RELEASE_MESSAGES:-} ]]; then
    "${build[@]}" --message-format=json-render-diagnostics >"$BUILD_RELEASE_MESSAGES"
else
    "${build[@]}" >&2
fi

for name in "${binaries[@]}"; do
    binary=$target_dir/$host/release/$name
    # ldd fails for a binary that is not dynamic at all, and says so in words.
    linkage=$(ldd "$binary" 2>&1 || true)
    if ! grep -qE 'statically linked|not a dynamic executable' <<<"$linkage"; then
        printf 'build-release: %s is not static:\n%s\n' "$binary" "$linkage" >&2
        exit 1
    fi
    size=$(stat -c %s "$binary")
    if ((size >= size_max)); then
        printf 'build-release: %s has %d bytes, 5 MiB are the limit\n' "$binary" "$size" >&2
        exit 1
    fi
    printf '%s: static, %d KiB\n' "$name" $((size / 1024)) >&2
done
printf '%s\n' "$binary"
