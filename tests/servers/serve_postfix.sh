#!/bin/sh
# Postfix, with Dovecot for its password questions, in a folder of their own:
#
#   serve_postfix.sh FOLDER PLAIN STARTTLS IMPLICIT
#
# FOLDER holds server.pem and server.key; the others are three free ports. Prints `ready` when the
# servers run, and stops them when standard input ends, however that comes about. Needs root and the
# packages postfix and dovecot-core. Nothing under /etc/postfix or /etc/dovecot is read or changed,
# everything listens on loopback, and no mail leaves the machine.
#
# alice@example.test (password `password`, or an OAuth 2.0 token) is the only recipient; her mail is below FOLDER/mail.
set -eu
folder=$1 plain=$2 starttls=$3 implicit=$4
PATH=$PATH:/usr/sbin:/sbin

stop() {
    postfix -c "$folder/etc" stop || true
    doveadm -c "$folder/dovecot.conf" stop || true
} >>"$folder/control.log" 2>&1
trap stop EXIT
trap 'exit 1' INT TERM HUP
trap '' PIPE # nobody to read `ready` is a reason to stop, too

mkdir "$folder/etc" "$folder/queue" "$folder/data" "$folder/mail" "$folder/run"
chmod 755 "$folder"

# Without the anvil block each wrong password makes the next log-in from the same address slower,
# until Postfix gives up with 454.
cat >"$folder/dovecot.conf" <<END
protocols =
base_dir = $folder/run
log_path = $folder/dovecot.log
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-256 xoauth2 oauthbearer
auth_failure_delay = 0
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = $folder/oauth2.conf
}
passdb {
  driver = passwd-file
  args = scheme=PLAIN $folder/users
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener $folder/queue/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
END
echo 'alice:{PLAIN}password' >"$folder/users"

# Tokens are JWTs, signed by a key that everybody may know: alice's is in cases.rs.
cat >"$folder/oauth2.conf" <<END
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$folder/keys/
username_attribute = sub
END
mkdir -p "$folder/keys/default/HS256"
printf %s YSBrZXkgb2YgdGhlIHRlc3RzIGFsb25lLCAzMiBvY3RldHMgb3IgbW9yZQ== >"$folder/keys/default/HS256/default"

# The two forbid lines make Postfix complain about a client that sends a bare newline or talks out
# of turn. No header is added but the trace, so what lies below it is what was sent.
cat >"$folder/etc/main.cf" <<END
compatibility_level = 3.6
queue_directory = $folder/queue
data_directory = $folder/data
maillog_file = $folder/postfix.log
maillog_file_prefixes = $folder
inet_interfaces = loopback-only
myhostname = mx.example.test
mydestination =
mynetworks =
local_recipient_maps =
alias_maps =
alias_database =
default_transport = error:5.7.1 nothing leaves this machine
virtual_mailbox_domains = example.test
virtual_mailbox_base = $folder/mail
virtual_mailbox_maps = inline:{ alice@example.test=alice/ }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 26214400
smtpd_recipient_limit = 50
local_header_rewrite_clients =
smtpd_forbid_bare_newline = reject
smtpd_forbid_unauth_pipelining = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_cert_file = $folder/server.pem
smtpd_tls_key_file = $folder/server.key
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
END

configure() { postconf -c "$folder/etc" "$@"; }
cp /usr/share/postfix/master.cf.dist "$folder/etc/master.cf"
configure -F '*/*/chroot = n'
configure -MX smtp/inet
for port in "$plain" "$starttls" "$implicit"; do
    configure -M "127.0.0.1:$port/inet = 127.0.0.1:$port inet n - n - - smtpd"
done
for port in "$starttls" "$implicit"; do
    configure -P "127.0.0.1:$port/inet/smtpd_sasl_auth_enable=yes" \
        "127.0.0.1:$port/inet/smtpd_tls_security_level=encrypt" \
        "127.0.0.1:$port/inet/smtpd_relay_restrictions=permit_sasl_authenticated,reject"
done
configure -P "127.0.0.1:$implicit/inet/smtpd_tls_wrappermode=yes"

chown postfix "$folder/data"
chown 65534:65534 "$folder/mail"
mkdir -p "$folder/queue/private"
chown postfix "$folder/queue/private"
{
    dovecot -c "$folder/dovecot.conf"
    postfix -c "$folder/etc" start
} >>"$folder/control.log" 2>&1 </dev/null

echo ready
cat >/dev/null
