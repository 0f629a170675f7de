#!/usr/bin/env bash
# Each target for so many seconds, two at a time; a line for each at the end. Fails if any found something.
#
#   fuzz/campaign.sh 1800
#   fuzz/campaign.sh 1800 reply differential
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?for how many seconds}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(address body dialogue differential reply session)
logs=fuzz/target/campaign
mkdir -p "$logs"
fuzz/seed.sh

run() {
    local dict=fuzz/$1.dict
    [ -f "$dict" ] || dict=fuzz/server.dict
    cargo fuzz run --sanitizer none "$1" -- -max_total_time="$seconds" -dict="$dict" \
        -print_final_stats=1 >"$logs/$1.log" 2>&1 || echo "FOUND SOMETHING" >>"$logs/$1.log"
}

# Built once, or two would wait for each other.
cargo fuzz build --sanitizer none
export -f run
export seconds logs
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'run {}'

status=0
for target in "${targets[@]}"; do
    executions=$(awk '/stat::number_of_executed_units/ { print $2 }' "$logs/$target.log")
    coverage=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$logs/$target.log" | tail -1 || true)
    printf '%-13s %12s executions, %s\n' "$target" "${executions:-?}" "$coverage"
    if grep -q 'FOUND SOMETHING' "$logs/$target.log"; then
        echo "    found something: $logs/$target.log"
        status=1
    fi
done
exit $status
