#!/bin/sh
# Installs the Debian packages that build and tests need, if this is Debian and we are root.
set -eu
missing=""
command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
command -v cc >/dev/null 2>&1 || missing="$missing build-essential"
command -v git >/dev/null 2>&1 || missing="$missing git"
command -v strace >/dev/null 2>&1 || missing="$missing strace"
[ -x /usr/bin/python3 ] || missing="$missing python3"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing (install them, then try again)" >&2
    exit 1
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
