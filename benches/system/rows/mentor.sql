-- More of everything than mentor_rows.sql: 50 tenants with people and modules. Run once.
insert into "Tenant" ("id", "name", "slug", "plan")
select 'ctenantbench' || n, 'Tenant', 'tenant-' || n, 'PRO' from generate_series(1, 50) n;
insert into "User" ("id", "email", "lastLoginAt")
select 'ubench' || n, 'bench' || n || '@example.si', now() at time zone 'utc' - n * interval '1 minute' from generate_series(1, 1000) n;
insert into "Membership" ("id", "userId", "tenantId", "role")
select 'mbench' || n, 'ubench' || n, 'ctenantbench' || 1 + n % 50, (enum_range(null::"MemberRole"))[1 + n % 6] from generate_series(1, 1000) n;
insert into "Module" ("id", "tenantId", "title", "status")
select 'cmodulebench' || n, 'ctenantbench' || 1 + n % 50, 'Module', case when n % 7 = 0 then 'DRAFT' else 'PUBLISHED' end::"ModuleStatus"
from generate_series(1, 250) n;
insert into "Section" ("id", "moduleId", "tenantId") select 'sbench' || n, 'cmodulebench' || 1 + n % 250, 'ctenantbench' || 1 + n % 50 from generate_series(1, 750) n;
insert into "UserXpBalance" ("id", "userId", "tenantId", "totalXp", "rank", "updatedAt")
select 'bbench' || n, 'ubench' || n, 'ctenantbench' || 1 + n % 50, n, (enum_range(null::"ReputationRank"))[1 + n % 4], now() from generate_series(1, 1000) n;
