#!/bin/sh
# Builds the targets and runs each a fixed number of times, from the same seed and the same examples,
# so that two runs of one state do the same. What breaks a target is left in target/fuzz/found.
set -eu
cd "$(dirname "$0")/../.."
fuzz=target/fuzz
found=$PWD/$fuzz/found
mkdir -p "$found"
# Most of the time goes into small files; memory takes them faster where a machine has such a place.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm

"$CARGO" fmt --manifest-path tests/fuzz/Cargo.toml -- --check
# Instrumentation has no stable flag. Sanitizers have nothing to find in code without `unsafe`.
RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$PWD/$fuzz" \
	"$CARGO" fuzz build --fuzz-dir tests/fuzz --sanitizer none
programs=$(dirname "$(find "$fuzz" -path '*/release/tree_walk' -type f | head -n 1)")

run() {
	target=$1 runs=${FUZZ_RUNS:-$2}
	shift 2
	corpus=$fuzz/corpus/$target
	rm -rf "$corpus"
	mkdir -p "$corpus"
	log=$fuzz/$target.log
	if ! "$programs/$target" -seed=1 -runs="$runs" -print_final_stats=1 \
		-artifact_prefix="$found/$target-" "$corpus" "$@" >"$log" 2>&1; then
		tail -n 60 "$log"
		input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
		echo "$target broke${input:+ on $input; once more: $programs/$target $input}" >&2
		exit 1
	fi
	seconds=$(sed -n 's/^Done .* in \([0-9]*\) second.*/\1/p' "$log")
	covered=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
	echo "$target: $runs runs in $seconds s, $covered, nothing found"
}

run tree_walk 30000
run patch_writer 10000
run tool_arguments 60000
run event_stream 2000000 tests/fuzz/seeds/event_stream
run event_decoding 1000000 events/golden
