-- More of everything than voyager_rows.sql: 100 communities with members and conversations. Run once.
insert into "User" ("id", "email", "communities", "updatedAt")
select 'ubench' || n, 'bench' || n || '@example.si', array['community-' || n % 100, 'community-' || n % 7], now() from generate_series(1, 2000) n;
insert into "Account" ("id", "userId", "type", "provider", "providerAccountId")
select 'abench' || n, 'ubench' || n, 'oauth', (array['google', 'linkedin', 'github', 'email'])[1 + n % 4], 'p' || n from generate_series(1, 2000) n;
insert into "Session" ("id", "sessionToken", "userId", "expires") select 'sbench' || n, 't' || n, 'ubench' || n, now() + interval '1 day' from generate_series(1, 500) n;
insert into "Conversation" ("id", "userId", "title", "communityId", "updatedAt")
select 'cbench' || n, 'ubench' || n, 'Title', 'community-' || n % 100, now() from generate_series(1, 1000) n;
