#!/usr/bin/env bash
# Makes the release: one tarball for places that have no network, or that want to see what they run.
#
#   scripts/release.sh [--once] [DIRECTORY]
#
# DIRECTORY (target/release-tarball if absent) gets lambda-runtime-api-server-VERSION-TARGET.tar.gz and its .sha256.
# In the tarball: the static binary, the systemd units, config.toml, the documents, the bill of materials
# (sbom.cdx.json), the licences of all that is in the binary, the sources with every crate (source/), and SHA256SUMS.
#
# Then the tarball is unpacked in another directory and made again there, out of itself alone: without a network, without
# this machine's Cargo registry. If that is not the same file, bit by bit, it is an error. --once leaves that out.
#
# From a Git repository the last commit is released, and a change that is not in it is an error. Without Git (in a
# tarball) the tree is. Needs Rust, git, python3 3.11 or later; two builds of two to five minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh
export LC_ALL=C TZ=UTC
umask 022

once=false
if [[ ${1:-} == --once ]]; then
    once=true
    shift
fi
[[ $# -le 1 && ${1:-} != -* ]] || die "usage: scripts/release.sh [--once] [DIRECTORY]"
mkdir -p "${1:-target/release-tarball}"
out=$(cd "${1:-target/release-tarball}" && pwd)

name=lambda-runtime-api-server
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
target=$(rustc -vV | sed -n 's/^host: //p')
full=$name-$version-$target
work=$(mktemp -d "${TMPDIR:-/tmp}/release.XXXXXX")
trap 'rm -rf "$work"' EXIT
stage=$work/$full
mkdir -p "$stage/source"

step "Sources"
if [[ -e .git ]]; then
    [[ -z $(git status --porcelain) ]] || die "there are changes that are not committed" "A release is of a commit: git status"
    git archive HEAD | tar -x -C "$stage/source"
    printf 'commit %s\nepoch %s\n' "$(git rev-parse HEAD)" "$(git log -1 --format=%ct)" >"$stage/source/RELEASE"
    (cd "$stage/source" && cargo vendor --quiet --locked --versioned-dirs vendor >/dev/null)
    python3 scripts/release/trim_vendor.py "$stage/source"
else
    [[ -f RELEASE ]] || die "this is neither a Git repository nor the source of a release (no file RELEASE)"
    tar -c --exclude=./target --exclude=__pycache__ . | tar -x -C "$stage/source"
fi
epoch=$(sed -n 's/^epoch //p' "$stage/source/RELEASE")
export SOURCE_DATE_EPOCH=$epoch
note "$(head -n 1 "$stage/source/RELEASE"), $(find "$stage/source/vendor" -mindepth 1 -maxdepth 1 | wc -l) crates"

step "Binary, from these sources alone"
# A Cargo home without a registry: what is not vendored cannot be found.
mkdir -p "$work/cargo-home"
offline=(env CARGO_HOME="$work/cargo-home" CARGO_NET_OFFLINE=true CARGO_TARGET_DIR="$work/target")
if unshare --net true 2>/dev/null; then offline=(unshare --net "${offline[@]}"); fi
binary=$(BUILD_RELEASE_MESSAGES=$work/messages "${offline[@]}" "$stage/source/scripts/build-release.sh" | tail -n 1)
install -m 755 "$binary" "$stage/$name"

step "Bill of materials and licences"
sbom=("$stage/source/scripts/release/sbom.py" "$target" --epoch "$epoch" --binary "$stage/$name" --compiled "$work/messages")
"${offline[@]}" PYTHONDONTWRITEBYTECODE=1 python3 "${sbom[@]}" >"$stage/sbom.cdx.json"
"${offline[@]}" PYTHONDONTWRITEBYTECODE=1 python3 "$stage/source/scripts/release/licences.py" "$target" >"$stage/THIRD-PARTY-LICENCES.txt"
note "$(grep -c '"type": "library"' "$stage/sbom.cdx.json") crates are in the binary, as Cargo has compiled it"

step "Tarball"
for file in README.md ARCHITECTURE.md CHANGELOG.md SECURITY.md LICENSE config.toml \
    scripts/lambda-runtime-api.service scripts/lambda-runtime-api.socket; do
    if [[ -f $stage/source/$file ]]; then install -m 644 "$stage/source/$file" "$stage/"; fi
done
# For `sha256sum --check` at the top.
(cd "$stage" && find . -type f -printf '%P\0' | sort -z | xargs -0 sha256sum) >"$work/sums"
install -m 644 "$work/sums" "$stage/SHA256SUMS"
tar -c -C "$work" --sort=name --format=gnu --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode='u+rwX,go+rX,go-w' "$full" |
    gzip -n -9 >"$work/$full.tar.gz"
mv "$work/$full.tar.gz" "$out/"
(cd "$out" && sha256sum "$full.tar.gz" >"$full.tar.gz.sha256")
note "$out/$full.tar.gz: $(($(stat -c %s "$out/$full.tar.gz") / 1024)) KiB, $(cut -d' ' -f1 "$out/$full.tar.gz.sha256")"

if ! $once; then
    step "Again, out of the tarball, in another directory"
    again=$work/another/directory/with/another/length
    mkdir -p "$again/out"
    tar -xzf "$out/$full.tar.gz" -C "$again"
    (cd "$again/$full" && sha256sum --quiet --check SHA256SUMS) || die "SHA256SUMS does not fit what is in the tarball"
    "${offline[@]}" "$again/$full/source/scripts/release.sh" --once "$again/out" >/dev/null
    if ! cmp "$out/$full.tar.gz" "$again/out/$full.tar.gz"; then
        mv "$again/out/$full.tar.gz" "$out/$full.second.tar.gz"
        die "two builds differ: what they made of the same sources is in $out" "Compare them with diffoscope."
    fi
    note "the same, bit by bit"
fi
printf '%s\n' "$out/$full.tar.gz"
