-- What happens in a while. Run again and again, for a backlog with an earlier time in place of now().
insert into "Message" ("id", "conversationId", "role", "content", "createdAt", "updatedAt")
select gen_random_uuid(), 'cbench' || p.conversation, r.role, 'c', now() at time zone 'utc' + r.later * interval '1 second', now()
from (select 1 + floor(random() * 1000) as conversation, random() * 20 as took from generate_series(1, 100)) p,
     lateral (values ('user', 0), ('assistant', p.took)) r (role, later);
insert into "Conversation" ("id", "userId", "title", "communityId", "contentType", "createdAt", "updatedAt")
select gen_random_uuid(), 'ubench1', 'Title', 'community-' || floor(random() * 100), (array['message', 'post', 'question'])[1 + n % 3], now() at time zone 'utc', now() from generate_series(1, 30) n;
insert into "User" ("id", "createdAt", "updatedAt") select gen_random_uuid(), now() at time zone 'utc', now() from generate_series(1, 5);
insert into "CartographerSession" ("id", "communityId") select gen_random_uuid(), 'community-' || floor(random() * 100) from generate_series(1, 5);
