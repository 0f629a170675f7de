#!/bin/sh
# Fills fuzz/corpus from testdata: messages for `body`, their addresses for `address`, and for `reply`
# and `session` what the servers of the transcripts say, with a turn of the client (255, `D`) wherever
# it speaks.
set -eu
cd "$(dirname "$0")"
export LC_ALL=C
mkdir -p corpus/body corpus/address corpus/reply corpus/session

cp ../testdata/messages/*.eml corpus/body/
for file in ../testdata/transcripts/*/*.smtp; do
    name=$(basename "$(dirname "$file")").$(basename "$file" .smtp)
    awk '/^C/ { if (said) printf "\377D"; said = 0 }
         /^submit/ { printf (/streamed/ ? "\377W" : "\377S") }
         /^quit/ { printf "\377Q" }
         /^eof/ { printf "\377E" }
         /^wait/ { printf "\377T" }
         /^S: ?/ { sub(/^S: ?/, ""); printf "%s\r\n", $0; said = 1 }' "$file" >"corpus/reply/$name"
    { printf 1; cat "corpus/reply/$name"; } >"corpus/session/$name"
done
grep -hoE '<[^>]*@[^>]*>' ../testdata/transcripts/*/*.smtp | tr -d '<>' | sort -u |
    awk '{ printf "%s", $0 > ("corpus/address/" NR); close("corpus/address/" NR) }'
