#!/bin/sh
# curl as a client under examination; see README.md for the arguments.
scheme=$1 encryption=$2 host=$3 port=$4 ca=$5 from=$6 message=$7 user=$8 password=$9
shift 9
token=$1 mechanisms=$2
shift 2
# It speaks no LMTP.
[ "$scheme" != lmtp ] || exit 64
for recipient; do
    set -- "$@" --mail-rcpt "$recipient"
    shift
done
set -- "$@" --mail-from "$from" --upload-file "$message" --cacert "$ca"
# Or the first refused recipient ends it.
set -- "$@" --mail-rcpt-allowfails
case $encryption in
starttls) set -- "$@" --ssl-reqd ;;
opportunistic) set -- "$@" --ssl ;;
esac
if [ -n "$token" ]; then
    set -- "$@" --user "$user" --oauth2-bearer "$token"
elif [ -n "$user" ]; then
    set -- "$@" --user "$user:$password"
fi
case $mechanisms in
'') ;;
*,*) exit 64 ;;
*) set -- "$@" --login-options "AUTH=$mechanisms" ;;
esac
# The path is the name for EHLO.
exec curl --silent --show-error --max-time 15 "$@" "$scheme://$host:$port/client.example"
