#!/usr/bin/env bash
# Licences, duplicate bans and sources of every dependency, by cargo-deny and deny.toml.
#
# Uses the cargo-deny that is installed; else builds the pinned one into .cache once (about one minute on two cores). The check of
# security advisories is left out: it needs a database from the network that not every build machine reaches. Run
# `cargo deny check advisories` where it does.
set -euo pipefail

VERSION=0.20.2

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
tool=$(command -v cargo-deny || true)
if [ -z "$tool" ]; then
    tool=$root/.cache/cargo-deny-$VERSION/bin/cargo-deny
    if [ ! -x "$tool" ]; then
        # Unoptimised: it runs for seconds, compiling it optimised takes minutes.
        CARGO_TARGET_DIR=$root/.cache/cargo-deny-build cargo install --quiet --locked --debug \
            --root "$root/.cache/cargo-deny-$VERSION" "cargo-deny@$VERSION"
        rm -rf "$root/.cache/cargo-deny-build"
    fi
fi
"$tool" --all-features check licenses bans sources
