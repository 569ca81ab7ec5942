#!/bin/bash
# fuzz.sh TIME [PACKAGES...]: runs every fuzz target for TIME, one after another,
# and fails if one of them finds something or if there is none.
set -euo pipefail

go=${GO:-go}
time=$1
shift

ran=0 failed=()
for dir in $("$go" list -f '{{.Dir}}' "${@:-./...}"); do
	for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -c 6-); do
		echo "== $target in ${dir#"$PWD"/}"
		# Without a bound on making inputs smaller, a large one takes the whole time.
		if ! "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel 2 "$dir"; then
			failed+=("$target in ${dir#"$PWD"/}")
		fi
		ran=$((ran + 1))
	done
done

[[ $ran -gt 0 ]] || { echo "fuzz: no fuzz target was found" >&2; exit 1; }
if [[ ${#failed[@]} -gt 0 ]]; then
	printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "fuzz: $ran targets, $time each, no finding"
