#!/bin/sh
# Dovecot's LMTP server in a folder of its own:
#
#   serve_dovecot.sh FOLDER PORT
#
# Prints `ready` when it runs, and stops it when standard input ends, however that comes about. Needs
# root and the packages dovecot-core and dovecot-lmtpd. Nothing under /etc/dovecot is read or
# changed, and it listens on loopback alone.
#
# alice@example.test has a Maildir below FOLDER/mail; full@example.test has one whose quota no message
# fits into; there is nobody else.
set -eu
folder=$1 port=$2
PATH=$PATH:/usr/sbin:/sbin

stop() {
    doveadm -c "$folder/dovecot.conf" stop || true
} >>"$folder/control.log" 2>&1
trap stop EXIT
trap 'exit 1' INT TERM HUP
trap '' PIPE # nobody to read `ready` is a reason to stop, too

mkdir "$folder/mail" "$folder/run"
chmod 755 "$folder"
cat >"$folder/dovecot.conf" <<END
protocols = lmtp
listen = 127.0.0.1
base_dir = $folder/run
log_path = $folder/dovecot.log
ssl = no
mail_location = maildir:$folder/mail/%n
mail_plugins = quota
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = scheme=PLAIN $folder/users
}
userdb {
  driver = passwd-file
  args = $folder/users
}
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=1G
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $port
  }
}
END
cat >"$folder/users" <<END
alice@example.test:{PLAIN}x:65534:65534::$folder/mail::
full@example.test:{PLAIN}x:65534:65534::$folder/mail::userdb_quota_rule=*:bytes=10
END
chown 65534:65534 "$folder/mail"
dovecot -c "$folder/dovecot.conf" >>"$folder/control.log" 2>&1 </dev/null

echo ready
cat >/dev/null
