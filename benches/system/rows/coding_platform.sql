-- More of everything than coding_platform_rows.sql: 100 organizations with people, courses and exams that run. Run once.
insert into organizations (id, name, slug, subscription_plan)
select ('a1000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Organization', 'school-' || n, (array['basic', 'premium', 'enterprise'])[1 + n % 3]
from generate_series(1, 100) n;
insert into users (id, organization_id, email, role, last_login)
select ('b1000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, ('a1000000-0000-4000-8000-' || lpad((1 + n % 100)::text, 12, '0'))::uuid, 'bench' || n || '@example.org',
       'student', now() - n * interval '1 minute'
from generate_series(1, 2000) n;
insert into courses (organization_id, title, slug)
select ('a1000000-0000-4000-8000-' || lpad((1 + n % 100)::text, 12, '0'))::uuid, 'Course', 'course-' || n from generate_series(1, 300) n;
insert into exams (id, organization_id, title, slug, start_time, end_time, duration_minutes, is_published)
select ('d1000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, ('a1000000-0000-4000-8000-' || lpad((1 + n % 100)::text, 12, '0'))::uuid, 'Exam', 'exam-of-' || n,
       now() - interval '1 hour', now() + interval '3 hours', 240, true
from generate_series(1, 150) n;
