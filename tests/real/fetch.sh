#!/bin/sh
# Brings three published packages, whose tests need nothing from a network, into tests/real/packages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
packages="$here/packages"
rm -rf "$packages"
mkdir -p "$packages/wish/src"

# A Rust crate, by cargo itself.
printf '[package]\nname = "wish"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nstrsim = "=0.11.1"\n' >"$packages/wish/Cargo.toml"
: >"$packages/wish/src/lib.rs"
(cd "$packages/wish" && cargo vendor --quiet ../vendor >/dev/null)
mv "$packages/vendor/strsim" "$packages/strsim"
rm -rf "$packages/vendor" "$packages/wish" "$packages/strsim/.cargo-checksum.json"

# A Python sdist, by pip itself.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: toposort==1.10 -d "$packages"
mkdir "$packages/toposort"
tar -xzf "$packages/toposort-1.10.tar.gz" --strip-components=1 -C "$packages/toposort"
rm "$packages/toposort-1.10.tar.gz"

# An npm package, by npm itself.
(cd "$packages" && npm pack --silent is-number@7.0.0 >/dev/null)
mkdir "$packages/is-number"
tar -xzf "$packages/is-number-7.0.0.tgz" --strip-components=1 -C "$packages/is-number"
rm "$packages/is-number-7.0.0.tgz"
