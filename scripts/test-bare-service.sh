#!/usr/bin/env bash
# Installs what the tests need and runs all of them: the crate's own, then the whole service with real clients,
# real functions and the real Docker Engine.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/test-bare-service.sh [--unit | --service] [PYTEST ARGUMENT...]

Without options: cargo test, then the whole-service tests in tests/service with pytest.

  --unit       only cargo test
  --service    only the whole-service tests
  --help       this text

Further arguments go to pytest, for example:
  scripts/test-bare-service.sh --service -k timeout -x
  scripts/test-bare-service.sh --service tests/service/test_invoke.py

LAMBDA_TEST_BINARY names a binary to test instead of building one, LAMBDA_TEST_AWSCLI2 an AWS CLI of
version 2 where it is not /usr/bin/aws or first in the PATH.
TEXT
}

# Exact versions: a test run today and next year sees the same clients.
python_packages=(awscli==1.46.3 boto3==1.44.5 'moto[s3,server]==5.2.5' pytest==9.2.0 pytest-timeout==2.4.0 prometheus_client==0.26.0)
venv=$PWD/.cache/venv

unit=yes service=yes
case ${1:-} in
    --unit) service=no && shift ;;
    --service) unit=no && shift ;;
    --help | -h) usage && exit 0 ;;
esac

ensure_python() {
    local wanted="${python_packages[*]}"
    [[ $(cat "$venv/wanted" 2>/dev/null) == "$wanted" ]] && return 0
    # Debian's python3 can't make an environment with pip without this package.
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        install_packages python3 python3-venv
    fi
    note "installing ${python_packages[*]} into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${python_packages[@]}" >&2
    printf '%s\n' "$wanted" >"$venv/wanted"
}

results=()
failed=no
record() {
    results+=("$1")
    [[ $1 != FAILED* ]] || failed=yes
}

step "Tools and the Docker Engine"
ensure_build_tools
# The unit tests need neither the Engine nor moto's S3, but some of the crate's integration tests do.
ensure_docker
# A static shell for the Engine tests' images; without it those that run a program are left out.
if [[ ! -x /bin/busybox ]] && is_root && command -v apt-get >/dev/null; then
    install_packages busybox-static
fi
mkdir -p .cache
ensure_python
# `aws logs tail` is in version 2 only, which PyPI has not. Without it that test is left out.
if ! /usr/bin/aws --version 2>/dev/null | grep -q '^aws-cli/2' && is_root &&
    apt-cache policy awscli 2>/dev/null | grep -q 'Candidate: 2'; then
    install_packages awscli || true
fi
export LAMBDA_TEST_PYTHON=$venv/bin/python

if [[ $unit == yes ]]; then
    step "cargo test --workspace"
    started=$SECONDS
    if cargo test --workspace --locked; then
        record "passed  cargo test --workspace ($((SECONDS - started)) s)"
    else
        record "FAILED  cargo test --workspace"
    fi
fi

if [[ $service == yes ]]; then
    step "Building what the whole-service tests run"
    if [[ -z ${LAMBDA_TEST_BINARY:-} ]]; then
        LAMBDA_TEST_BINARY=$(scripts/build-release.sh | tail -n 1)
    fi
    export LAMBDA_TEST_BINARY
    note "the service: $LAMBDA_TEST_BINARY"

    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" \
        --manifest-path tests/functions/rust/Cargo.toml --target-dir target/test-function >&2
    export LAMBDA_TEST_FUNCTION=$PWD/target/test-function/$host/release/bootstrap
    note "the test function: $LAMBDA_TEST_FUNCTION"

    step "pytest tests/service"
    started=$SECONDS
    # A selection of files replaces the whole folder.
    selection=tests/service
    for argument in "$@"; do
        [[ ! -e ${argument%%::*} ]] || selection=
    done
    if "$venv/bin/python" -m pytest -c tests/service/pytest.ini --rootdir tests/service -p no:cacheprovider \
        --durations 10 ${selection:+"$selection"} "$@"; then
        record "passed  pytest tests/service ($((SECONDS - started)) s)"
    else
        record "FAILED  pytest tests/service"
    fi
fi

step "Summary"
for result in "${results[@]}"; do
    note "$result"
done
[[ $failed == no ]]
