#!/bin/sh
# Makes the certificates of this folder anew with OpenSSL 3: `cd test/support/tls && sh make.sh`.
# `openssl ca`, because only it sets the first day: a machine whose clock is years behind runs the tests, too.
set -eu
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat > "$work/ca.cnf" << CONFIG
[ca]
default_ca = this
[this]
new_certs_dir = $work
database = $work/index
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
organizationName = optional
organizationalUnitName = optional
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
[client]
extendedKeyUsage = clientAuth
CONFIG
sign() { # file, subject, kind, then who signs
  file=$1 subject=$2 kind=$3
  shift 3
  : > "$work/index"
  openssl req -new -key "$file.key" -subj "$subject" -out "$work/request.csr"
  openssl ca -batch -notext -config "$work/ca.cnf" -extensions "$kind" -in "$work/request.csr" -out "$file.pem" \
    -startdate "${FROM:-20200101000000Z}" -enddate "${UNTIL:-20991231235959Z}" "$@" 2> "$work/log" || { cat "$work/log" >&2; return 1; } 
}
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
authority() { key "$1" && sign "$1" "/CN=$2" authority -selfsign -keyfile "$1.key"; }
certificate() { key "$1" && sign "$1" "$2" "$4" -cert "$3.pem" -keyfile "$3.key"; }
authority authority 'Sluice test authority'
authority stranger-authority 'Another authority'
certificate server '/CN=localhost' authority server
certificate renewed-server '/CN=localhost' authority server
certificate client '/CN=press-7' authority client
certificate unnamed-client '/O=Plant 3/OU=Presses' authority client
certificate stranger-client '/CN=press-7' stranger-authority client
# For a gateway whose clock is not set.
FROM=20900101000000Z certificate future-client '/CN=press-9' authority client
FROM=20900101000000Z certificate future-stranger '/CN=press-9' stranger-authority client
FROM=20900101000000Z certificate future-server '/CN=press-9' authority server
UNTIL=20210101000000Z certificate expired-client '/CN=press-9' authority client
