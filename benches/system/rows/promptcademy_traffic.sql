-- What happens in a while. Run again and again, for a backlog with an earlier time in place of now().
insert into prompt_attempts (user_id, lesson_id, prompt_text, model, model_response, score, tokens_used, cost_estimate, duration_ms, created_at)
select '00000000-0000-4000-8000-000000001001', case when n % 2 = 0 then l.id end, 'p', 'model-' || floor(random() * 20), case when n % 9 = 0 then 'Error: x' else 'x' end,
       floor(random() * 101), random() * 4000, random(), random() * 20000, now()
from generate_series(1, 200) n, (select id from lessons limit 1) l;
insert into challenge_submissions (user_id, status, created_at)
select '00000000-0000-4000-8000-000000001001', (array['pending', 'scored', 'reviewed'])[1 + n % 3], now() from generate_series(1, 20) n;
insert into team_activity (team_id, action, created_at)
select t.id, 'action_' || floor(random() * 30), now() from generate_series(1, 50), (select id from teams limit 1) t;
