#!/bin/sh
# Brings three published packages, whose tests need nothing from a network, into tests/real/packages.
# Each is known by its hash.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
packages="$here/packages"
rm -rf "$packages"
mkdir -p "$packages/wish/src"

# A Rust crate, by cargo itself, which writes down what it has checked.
strsim=7da8b5736845d9f2fcb837ea5d9e2628564b3b043a70948a3f0b778838c5fb4f
printf '[package]\nname = "wish"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nstrsim = "=0.11.1"\n' >"$packages/wish/Cargo.toml"
: >"$packages/wish/src/lib.rs"
(cd "$packages/wish" && cargo vendor --quiet ../vendor >/dev/null)
grep -q "\"package\":\"$strsim\"" "$packages/vendor/strsim/.cargo-checksum.json"
mv "$packages/vendor/strsim" "$packages/strsim"
rm -rf "$packages/vendor" "$packages/wish" "$packages/strsim/.cargo-checksum.json"

# A Python sdist, by pip itself.
PIP_CONSTRAINT="$here/build.txt" python3 -m pip download --quiet --disable-pip-version-check \
    --no-deps --no-binary toposort --require-hashes -r "$here/requirements.txt" -d "$packages"
mkdir "$packages/toposort"
tar -xzf "$packages/toposort-1.10.tar.gz" --strip-components=1 -C "$packages/toposort"
rm "$packages/toposort-1.10.tar.gz"

# An npm package, by npm itself.
(cd "$packages" && npm pack --silent is-number@7.0.0 >/dev/null)
echo "7b75c1057198cf97696909a9bee176c9c5e9bcb5b03bf3ecef2f484defadd51e  $packages/is-number-7.0.0.tgz" |
    sha256sum --check --quiet
mkdir "$packages/is-number"
tar -xzf "$packages/is-number-7.0.0.tgz" --strip-components=1 -C "$packages/is-number"
rm "$packages/is-number-7.0.0.tgz"
