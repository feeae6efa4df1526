-- More of everything than syncedup_rows.sql: crons, and agencies. Run once.
insert into agencies (name, slug) select 'Agency', 'agency-' || n from generate_series(1, 50) n;
insert into cron_heartbeats (name) select 'cron-' || n from generate_series(1, 20) n;
-- The fixture's rows have ids of their own choice.
select setval('transcription_queue_id_seq', 1000);
