#!/bin/sh
# swaks as a client under examination; see README.md for the arguments.
scheme=$1 encryption=$2 host=$3 port=$4 ca=$5 from=$6 message=$7 user=$8 password=$9
shift 9
token=$1 mechanisms=$2
shift 2
# It has no mechanism for tokens.
[ -z "$token" ] || exit 64
to=
for recipient; do
    to=$to${to:+,}$recipient
done
set -- --server "$host" --port "$port" --from "$from" --to "$to" --data "@$message" --timeout 15
[ "$scheme" != lmtp ] || set -- "$@" --protocol LMTP
case $encryption in
starttls) set -- "$@" --tls ;;
tls) set -- "$@" --tls-on-connect ;;
opportunistic) set -- "$@" --tls-optional ;;
esac
[ "$encryption" = none ] || set -- "$@" --tls-verify --tls-ca-path "$ca"
[ -z "$user" ] || set -- "$@" --auth "${mechanisms:-PLAIN,LOGIN,CRAM-MD5}" --auth-user "$user" --auth-password "$password"
exec swaks "$@"
