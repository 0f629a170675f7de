#!/bin/sh
# Fills fuzz/corpus with the seeds that `cargo test` runs the targets over: they are made from testdata by
# tests/it/seeds.rs.
set -eu
cd "$(dirname "$0")/.."
SEEDS=fuzz/corpus cargo test --quiet --no-default-features --test it seeds::
