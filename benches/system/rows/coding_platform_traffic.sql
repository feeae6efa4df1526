-- What happens in a while. Run again and again, for a backlog with an earlier time in place of now().
insert into attempts (student_id, attempt_type, language, is_correct, created_at)
select 'b1000000-0000-4000-8000-000000000001', (array['mcq', 'coding', 'essay', 'file_upload'])[1 + n % 4], 'language-' || floor(random() * 20), random() < 0.6, now()
from generate_series(1, 200) n;
insert into exam_submissions (exam_id, started_at, submitted_at, auto_submitted, percentage, is_submitted)
select ('d1000000-0000-4000-8000-' || lpad((1 + n % 150)::text, 12, '0'))::uuid, now() - random() * interval '2 hours', now(), random() < 0.2, random() * 100, true
from generate_series(1, 30) n;
insert into exam_monitoring_logs (exam_id, event_type, event_category, severity, event_timestamp)
select 'd1000000-0000-4000-8000-000000000001',
       (array['exam_started', 'exam_submitted', 'tab_switched_out', 'window_blur', 'fullscreen_exited', 'network_disconnected', 'copy_attempt', 'custom_event'])[1 + floor(random() * 8)],
       (array['security', 'navigation', 'system', 'network', 'input', 'violation'])[1 + floor(random() * 6)], (array['info', 'warning', 'critical'])[1 + floor(random() * 3)], now()
from generate_series(1, 200);
insert into exam_violations (exam_id, violation_type, violation_severity, violation_timestamp)
select 'd1000000-0000-4000-8000-000000000001', 'violation_' || floor(random() * 20), (array['low', 'medium', 'high', 'critical'])[1 + floor(random() * 4)], now() from generate_series(1, 50);
insert into exam_cheating_flags (flag_severity, created_at) select (array['low', 'medium', 'high', 'critical'])[1 + n % 4], now() from generate_series(1, 5) n;
insert into exam_feedback (exam_id, rating, created_at) select 'd1000000-0000-4000-8000-000000000001', 1 + n % 5, now() from generate_series(1, 10) n;
insert into analytics_events (event_type, created_at) select 'event_' || floor(random() * 40), now() from generate_series(1, 100);
