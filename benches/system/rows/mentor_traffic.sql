-- What happens in a while. Run again and again, for a backlog with an earlier time in place of now().
insert into "AuditLog" ("id", "tenantId", "action", "entityType", "entityId", "createdAt")
select gen_random_uuid(), 'ctenantbench' || 1 + floor(random() * 50), (enum_range(null::"AuditAction"))[1 + floor(random() * 30)], 'Module', 'e', now() at time zone 'utc'
from generate_series(1, 200);
insert into "XpTransaction" ("id", "tenantId", "userId", "amount", "source", "createdAt")
select gen_random_uuid(), 'ctenantbench' || 1 + floor(random() * 50), 'ubench1', floor(random() * 100) - 20, (enum_range(null::"XpSourceType"))[1 + floor(random() * 6)],
       now() at time zone 'utc'
from generate_series(1, 100);
insert into "SectionCompletion" ("id", "userId", "sectionId", "tenantId", "completedAt")
select gen_random_uuid(), 'ubench' || 1 + floor(random() * 1000), 'sbench' || 1 + floor(random() * 750), 'ctenantbench' || 1 + floor(random() * 50), now() at time zone 'utc'
from generate_series(1, 50) on conflict do nothing;
insert into "QuizAttempt" ("id", "userId", "tenantId", "score", "passed", "completedAt")
select gen_random_uuid(), 'ubench1', 'ctenantbench' || 1 + floor(random() * 50), random() * 100, random() > 0.3, now() at time zone 'utc' from generate_series(1, 50);
insert into "Certificate" ("id", "userId", "moduleId", "tenantId", "issuedAt")
select gen_random_uuid(), 'ubench1', 'cmodulebench1', 'ctenantbench' || 1 + floor(random() * 50), now() at time zone 'utc' from generate_series(1, 10);
insert into "Notification" ("id", "userId", "type", "createdAt")
select gen_random_uuid(), 'ubench1', (enum_range(null::"NotificationType"))[1 + n % 4], now() at time zone 'utc' from generate_series(1, 20) n;
insert into "ChatMessage" ("id", "tenantId", "type", "createdAt")
select gen_random_uuid(), 'ctenantbench' || 1 + floor(random() * 50), (enum_range(null::"ChatMessageType"))[1 + floor(random() * 4)], now() at time zone 'utc'
from generate_series(1, 50);
insert into "SystemError" ("id", "route", "severity", "message", "createdAt")
select gen_random_uuid(), 'action-' || floor(random() * 80), case when random() < 0.5 then 'ERROR' else 'WARN' end, 'm', now() at time zone 'utc' from generate_series(1, 20);
insert into "UserSession" ("id", "userId", "tenantId", "startedAt", "lastPingAt", "durationSeconds", "isActive")
select gen_random_uuid(), 'ubench1', 'ctenantbench' || 1 + floor(random() * 50), now() at time zone 'utc', now() at time zone 'utc', random() * 4000, random() < 0.5
from generate_series(1, 20);
insert into "AiModuleBuild" ("id", "tenantId", "sourceType", "status", "createdAt", "updatedAt")
select gen_random_uuid(), 'ctenantbench1', (array['CF_STREAM_VIDEO', 'TEXT', 'FILE'])[1 + n % 3], 'DONE', now() at time zone 'utc' - interval '1 minute', now() at time zone 'utc'
from generate_series(1, 3) n;
