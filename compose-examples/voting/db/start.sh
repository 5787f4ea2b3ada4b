#!/bin/sh
# PostgreSQL, its cluster made at the first start with the password of POSTGRES_PASSWORD.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin) # of the one version that the image's Debian has

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD must be set}"
    rm -rf "$PGDATA/new"
    mkdir -m 700 "$PGDATA/new"
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    "$bin/initdb" -D "$PGDATA/new" -U postgres --pwfile=/tmp/password --auth=scram-sha-256 \
        --encoding=UTF8 --no-sync --no-instructions
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/new/pg_hba.conf"
    # PG_VERSION last: a start that was interrupted begins again
    for file in "$PGDATA"/new/*; do
        [ "${file##*/}" = PG_VERSION ] || { rm -rf "$PGDATA/${file##*/}"; mv "$file" "$PGDATA/"; }
    done
    mv "$PGDATA/new/PG_VERSION" "$PGDATA/"
    rmdir "$PGDATA/new"
fi
exec "$bin/postgres" -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
