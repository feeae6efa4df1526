-- More of everything than promptcademy_rows.sql: 500 users and 20 teams. Run once.
insert into profiles (id, email) select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'bench' || n || '@example.com' from generate_series(1001, 1500) n;
insert into user_api_keys (user_id, provider, encrypted_key)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, (array['openai', 'anthropic', 'google'])[1 + n % 3], 'k' from generate_series(1001, 1400) n;
insert into teams (owner_id, name, plan)
select '00000000-0000-4000-8000-000000001001', 'Team', (array['free', 'pro', 'team', 'enterprise'])[1 + n % 4] from generate_series(1, 20) n;
