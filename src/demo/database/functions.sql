-- What SQLite's functions are called and do, so that most statements of the scripts are the same for both. They live in a schema of
-- their own: the tables lie in `public`, as the applications have them.
create schema rowmetry_demo;
create function rowmetry_demo.min(one anycompatible, other anycompatible) returns anycompatible immutable language sql
  as $$ select least(one, other) $$;
create function rowmetry_demo.max(one anycompatible, other anycompatible) returns anycompatible immutable language sql
  as $$ select greatest(one, other) $$;
create function rowmetry_demo.datetime(at timestamp, variadic changes text[]) returns timestamp immutable language sql
  as $$ select at + coalesce((select sum(change::interval) from unnest(changes) change where change <> 'subsec'), interval '0') $$;
create function rowmetry_demo.strftime(form text, at timestamp) returns text stable language sql
  as $$ select to_char(at, case form when '%Y-%m-%dT%H:%M:%fZ' then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"' else 'YYYY-MM-DD HH24:MI:SS' end) $$;
create function rowmetry_demo.strftime(form text, at timestamp, change text) returns text stable language sql
  as $$ select rowmetry_demo.strftime(form, at + change::interval) $$;
create function rowmetry_demo.unixepoch(at timestamp) returns bigint immutable language sql
  as $$ select floor(extract(epoch from at))::bigint $$;
create function rowmetry_demo.julianday(at timestamp) returns double precision immutable language sql
  as $$ select extract(epoch from at)::double precision / 86400 + 2440587.5 $$;
create function rowmetry_demo.json_patch(one json, other json) returns json immutable language sql
  as $$ select (one::jsonb || other::jsonb)::json $$;
create function rowmetry_demo.json_array_length(list jsonb) returns integer immutable language sql
  as $$ select jsonb_array_length(list) $$;
