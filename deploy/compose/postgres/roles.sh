#!/bin/bash
# Makes two roles on a new server. The image runs it once, as a superuser, when the volume is empty.
#
# `applications` makes its own databases and owns what is in them. `rowmetry` reads, and can write nothing: the traffic makes its databases
# anew at each start, so grants on their tables would be lost, and the role reads every table instead, behind row-level security too.
# On a server of your own let it read no more than it must: `rowmetry check` prints the grants, table by table.
set -euo pipefail

applications=$(cat /run/secrets/postgres_applications)
rowmetry=$(cat /run/secrets/postgres_rowmetry)
psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres \
    --set applications="$applications" --set rowmetry="$rowmetry" <<'SQL'
create role applications login createdb connection limit 50 password :'applications';
-- Its own databases may have readers when it makes them anew.
grant pg_signal_backend to applications;
create role rowmetry login bypassrls connection limit 20 password :'rowmetry';
grant pg_monitor, pg_read_all_data to rowmetry;
alter role rowmetry set default_transaction_read_only = on;
alter role rowmetry set statement_timeout = '30s';
SQL
