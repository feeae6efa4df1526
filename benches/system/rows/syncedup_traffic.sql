-- What happens in a while. Run again and again, for a backlog with an earlier time in place of now().
with new as (
  insert into calls (source, disposition, direction, duration_sec, created_at)
  select (array['convoso', 'webhook', 'upload'])[1 + floor(random() * 3)], 'Disposition ' || chr(65 + floor(random() * 26)::int), (array['inbound', 'outbound'])[1 + floor(random() * 2)],
         random() * 2000, now()
  from generate_series(1, 100) returning id
), analysed as (
  insert into analyses (call_id, qa_score, model, token_input, token_output)
  select id, random() * 100, 'model-' || floor(random() * 10), random() * 5000, random() * 500 from new returning call_id
)
insert into call_events (call_id, type, at) select id, t.type, now() from new, (values ('created'), ('analyzed')) t (type);
insert into call_events (type, at) select 'event_' || floor(random() * 60), now() from generate_series(1, 100);
insert into transcription_queue (call_id, recording_url, status, source, created_at, started_at, completed_at)
select gen_random_uuid(), 'u', 'completed', (array['webhook', 'batch', 'manual'])[1 + n % 3], now() - interval '2 minutes', now() - interval '1 minute', now() from generate_series(1, 30) n;
insert into pending_recordings (attempts, retry_phase, scheduled_for, processed, processed_at, created_at)
select 1, (array['quick', 'backoff', 'final'])[1 + n % 3], now(), true, now(), now() from generate_series(1, 20) n;
insert into webhook_logs (endpoint, method, response_status, created_at)
select '/api/webhooks/endpoint-' || floor(random() * 40), 'POST', (array[200, 400, 500])[1 + floor(random() * 3)], now() from generate_series(1, 100);
insert into convoso_sync_status (sync_type, started_at, completed_at, records_processed) select 'delta', now(), now(), 10 from generate_series(1, 3);
insert into alert_logs (type, status, created_at) select (array['slack', 'email', 'webhook'])[1 + n % 3], 'success', now() at time zone 'utc' from generate_series(1, 6) n;
insert into error_logs (message, severity, category, created_at)
select 'm', (array['low', 'medium', 'high', 'critical'])[1 + n % 4], (array['database', 'api', 'system'])[1 + n % 3], now() from generate_series(1, 12) n;
insert into post_close_compliance (overall_score, compliance_passed, created_at) select 80, random() < 0.8, now() from generate_series(1, 10);
