#!/bin/sh
# Fills fuzz/corpus from testdata: messages for `body` and `dialogue`, addresses for `address`, and for
# `reply` and `session` what the servers of the transcripts say, with a turn of the client (255, `D`)
# wherever it speaks. The octets in front are what the targets read their settings from.
set -eu
cd "$(dirname "$0")"
export LC_ALL=C
mkdir -p corpus/address corpus/body corpus/dialogue corpus/reply corpus/session

for file in ../testdata/messages/*.eml; do
    name=$(basename "$file" .eml)
    { printf '\000'; cat "$file"; } >"corpus/body/$name.whole"
    { printf '\014'; cat "$file"; } >"corpus/body/$name.streamed"
    { printf '12345678 '; cat "$file"; printf '\377\014'; cat "$file"; } >"corpus/dialogue/$name"
done
for file in ../testdata/transcripts/*/*.smtp; do
    name=$(basename "$(dirname "$file")").$(basename "$file" .smtp)
    awk '/^C/ { if (said) printf "\377D"; said = 0 }
         /^submit/ { printf (/streamed/ ? "\377W" : "\377S") }
         /^body/ { printf "\377B\377f" }
         /^probe/ { printf "\377P" }
         /^cancel/ { printf "\377C" }
         /^abandon/ { printf "\377A" }
         /^tls/ { printf "\377L" }
         /^quit/ { printf "\377Q" }
         /^eof/ { printf "\377E" }
         /^wait/ { printf "\377T" }
         /^S: ?/ { sub(/^S: ?/, ""); printf "%s\r\n", $0; said = 1 }' "$file" >"corpus/session/$name.part"
    { printf 12345678; cat "corpus/session/$name.part"; } >"corpus/reply/$name"
    { printf '\016'; cat "corpus/session/$name.part"; } >"corpus/session/$name"
    rm "corpus/session/$name.part"
done
grep -hoE '<[^>]*@[^>]*>' ../testdata/transcripts/*/*.smtp | tr -d '<>' | sort -u |
    awk '{ printf "%s", $0 > ("corpus/address/" NR); close("corpus/address/" NR) }'
