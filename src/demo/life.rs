//! One application's life: a database of its own, perhaps keys, pages and logs, lots of its own, and its own time to come.
//!
//! What one application does never depends on another, so a new script changes nothing for those that are there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::database::Database;
use super::drain::{Drain, Line, Receiver, Writer};
use super::draw::{Lots, Value};
use super::key_store::KeyStore;
use super::key_writer::{KeyRow, Use};
use super::page_server::{Page, PageServer};
use super::script::{Action, Effect, Script, Statement};
use super::timetable::{First, Timetable};
use super::trouble::OwnTroubles;
use super::{DemoError, Ground, Progress};
use crate::config::DrainSettings;
use crate::family::Micros;

/// Events that are written in one transaction. A demo that could not write for a while catches up in such portions.
const EVENTS_A_TRANSACTION: usize = 2000;

/// What was due longer ago than this never happens: a demo that slept for a night does not live it through.
const CATCH_UP: Duration = Duration::from_secs(600);

/// One application with a history, and what it is going to do.
pub(super) struct Life {
    app: String,
    actions: Vec<Action>,
    timetable: Timetable,
    lots: Lots,
    troubles: OwnTroubles,
    world: World,
}

/// What an application writes to.
struct World {
    database: Database,
    keys: Option<KeyStore>,
    pages: Option<PageServer>,
    drains: BTreeMap<Writer, Drain>,
}

/// How many applications before this one have keys, and how many have pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) keys: u32,
    pub(super) pages: u16,
}

impl Offsets {
    /// Those of the application after this one.
    pub(super) fn after(self, script: &Script) -> Self {
        let has = |wanted: fn(&Effect) -> bool| script.outward.iter().any(|action| wanted(&action.effect));
        Offsets {
            keys: self.keys + u32::from(has(|effect| matches!(effect, Effect::Keys(..)))),
            pages: self.pages + u16::from(has(|effect| matches!(effect, Effect::Page(..)))),
        }
    }

    /// One port each from the first one on; any where the first is any.
    fn page_address(self, first: SocketAddr) -> SocketAddr {
        let port = if first.port() == 0 { 0 } else { first.port().saturating_add(self.pages) };
        SocketAddr::new(first.ip(), port)
    }
}

impl Life {
    /// Makes the database, with its tables and a history that ends now, and starts what keeps the keys and answers at the
    /// paths that the script has. A database of an earlier demo in the same place is removed. `offsets` say which of the databases of a
    /// Redis and which of the ports, of those that were given, are its own.
    pub(super) async fn begin(script: Script, ground: &Ground, offsets: Offsets) -> Result<Self, DemoError> {
        let now = (ground.clock)();
        let mut lots = Lots::new(xxhash_rust::xxh3::xxh3_64_with_seed(script.app.as_bytes(), ground.seed));
        let mut world = World::open(&script, ground, offsets).await?;
        let progress = Progress::default();
        world.database.begin().await?;
        world.database.fill(&format!("schema of {}", script.app), script.schema).await?;
        for seeded in &script.seed {
            world.repeat(seeded, now, &mut lots, &progress).await?;
        }
        let (history, mut actions) = (script.history, script.actions);
        let mut past = Timetable::new(&actions, now - history.span, history.rate, First::InItsTime, &mut lots);
        while let Some((index, at)) = past.next_until(now, &actions, history.rate, &mut lots) {
            world.perform(&actions[index], at, &mut lots, &progress).await?;
        }
        // Keys and answers have no history: they are as they are now.
        for action in &script.outward {
            world.repeat(action, now, &mut lots, &progress).await?;
        }
        world.database.commit().await?;
        actions.extend(script.outward);
        let timetable = Timetable::new(&actions, now, 1.0, First::Soon, &mut lots);
        let troubles = OwnTroubles::new(&script.app, script.troubles, &ground.troubles, ground.seed);
        Ok(Life { app: script.app, actions, timetable, lots, troubles, world })
    }

    /// The application's name.
    pub(super) fn app(&self) -> &str {
        &self.app
    }

    /// Where the database is, as a source's `url`.
    pub(super) fn database_url(&self) -> String {
        self.world.database.url()
    }

    /// Where the keys are, as a source's `url`.
    pub(super) fn redis_url(&self) -> Option<String> {
        self.world.keys.as_ref().map(KeyStore::url)
    }

    /// Where the pages are, without a path.
    pub(super) fn web_url(&self) -> Option<String> {
        self.world.pages.as_ref().map(|pages| format!("http://{}", pages.address()))
    }

    /// The drains of its log lines, as they are to be taken in.
    pub(super) fn drains(&self) -> impl Iterator<Item = &DrainSettings> {
        self.world.drains.values().map(Drain::settings)
    }

    /// Delivers the log lines that were written by `now`.
    pub(super) async fn deliver(&mut self, to: &Receiver, now: Micros, progress: &Progress) {
        for drain in self.world.drains.values_mut() {
            drain.deliver(to, now, progress).await;
        }
    }

    /// How often something is written to the tables in a second when the rate is 1.
    pub(super) fn events_per_second(&self) -> f64 {
        let written = self.actions.iter().filter(|action| matches!(action.effect, Effect::Write(_)));
        written.map(|action| 1e6 / action.every_micros()).sum()
    }

    /// Does what is due until `now`, at most one portion, in one transaction; answers how many events that were.
    /// While its database is away nothing happens, and what would have happened meanwhile never does.
    pub(super) async fn advance(&mut self, now: Micros, rate: f64, progress: &Progress) -> Result<usize, DemoError> {
        if !self.world.database.is_there().await? {
            self.timetable.leave_out_before(now);
            return Ok(0);
        }
        match self.portion(now, rate, progress).await {
            Err(error) if self.world.database.waits_after(&error) => Ok(0),
            done => done,
        }
    }

    async fn portion(&mut self, now: Micros, rate: f64, progress: &Progress) -> Result<usize, DemoError> {
        let mut events = 0;
        self.timetable.leave_out_before(now - CATCH_UP.as_micros() as Micros);
        while events < EVENTS_A_TRANSACTION {
            let Some((index, at)) = self.timetable.next_until(now, &self.actions, rate, &mut self.lots) else { break };
            let action = &self.actions[index];
            if self.troubles.stop(&action.name) {
                continue;
            }
            if events == 0 {
                self.world.database.begin().await?;
            }
            self.world.perform(action, at, &mut self.lots, progress).await?;
            events += 1;
        }
        events += self.make_trouble(now, events > 0, progress).await?;
        Ok(events)
    }

    /// Does what the troubles that are wanted do, mends those that are not wanted any more, and ends the transaction.
    async fn make_trouble(&mut self, now: Micros, has_begun: bool, progress: &Progress) -> Result<usize, DemoError> {
        let Life { troubles, world, .. } = self;
        let (mut events, mut mended) = (0, Vec::new());
        for (at, action, values) in troubles.due(now) {
            if !has_begun && events == 0 {
                world.database.begin().await?;
            }
            world.perform_with(action, at, &values, progress).await?;
            events += 1;
        }
        for (name, action, values) in troubles.over(now) {
            if !has_begun && events == 0 {
                world.database.begin().await?;
            }
            world.perform_with(action, now, &values, progress).await?;
            events += 1;
            mended.push(name);
        }
        if has_begun || events > 0 {
            world.database.commit().await?;
            troubles.written(&mended);
        }
        Ok(events)
    }

    /// Closes the database; the rest ends by itself.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        self.world.database.close().await
    }

    /// The connection that it writes with.
    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut sqlx::SqliteConnection {
        self.world.database.connection()
    }
}

impl World {
    async fn open(script: &Script, ground: &Ground, offsets: Offsets) -> Result<Self, DemoError> {
        let Ground { folder, seed, clock, kept, servers, .. } = ground;
        let has = |wanted: fn(&Effect) -> bool| script.outward.iter().any(|action| wanted(&action.effect));
        let listen = |source| DemoError::Listen { app: script.app.clone(), source };
        let database = Database::create(script, folder, servers.database_url.as_ref()).await?;
        let mut world = World { database, keys: None, pages: None, drains: BTreeMap::new() };
        if has(|effect| matches!(effect, Effect::Keys(..))) {
            world.keys = Some(match &servers.redis_url {
                Some(url) => KeyStore::given(url, &script.app, offsets.keys, clock.clone())?,
                None => KeyStore::own(*kept, folder, &script.app, clock.clone()).await.map_err(listen)?,
            });
        }
        if has(|effect| matches!(effect, Effect::Page(..))) {
            let at = servers.pages.map(|first| offsets.page_address(first));
            world.pages = Some(PageServer::start(at).await.map_err(listen)?);
        }
        for writer in Writer::ALL {
            let writes = |action: &Action| matches!(action.effect, Effect::Lines(of, _) if of == writer);
            if script.outward.iter().any(writes) {
                world.drains.insert(writer, Drain::new(&script.app, writer, *seed, servers.drain_secret.as_ref()));
            }
        }
        Ok(world)
    }

    /// Lets happen what there is to be at the beginning, as often as the script says.
    async fn repeat(
        &mut self,
        action: &Action,
        at: Micros,
        lots: &mut Lots,
        progress: &Progress,
    ) -> Result<(), DemoError> {
        for _ in 0..action.times_at_first() {
            self.perform(action, at, lots, progress).await?;
        }
        Ok(())
    }

    /// Lets one thing happen: draws its lots once, then does what it says.
    async fn perform(
        &mut self,
        action: &Action,
        at: Micros,
        lots: &mut Lots,
        progress: &Progress,
    ) -> Result<(), DemoError> {
        let values = action.draw(at, lots);
        self.perform_with(action, at, &values, progress).await
    }

    async fn perform_with(
        &mut self,
        action: &Action,
        at: Micros,
        values: &[Value],
        progress: &Progress,
    ) -> Result<(), DemoError> {
        match &action.effect {
            Effect::Write(statements) => {
                for statement in statements {
                    progress.add(self.database.write(&action.name, statement, values).await?);
                }
                Ok(())
            }
            Effect::Keys(how, question) => self.use_keys(&action.name, *how, question, values).await,
            Effect::Page(path, question) => self.put_page(&action.name, path, question, values).await,
            Effect::Lines(writer, question) => self.write_lines(&action.name, *writer, question, values, at).await,
        }
    }

    async fn use_keys(
        &mut self,
        what: &str,
        how: Use,
        question: &Statement,
        values: &[Value],
    ) -> Result<(), DemoError> {
        let rows: Vec<KeyRow> = self.database.ask(what, question, values).await?.into_iter().map(key_row).collect();
        let Some(keys) = &mut self.keys else { return Ok(()) };
        let done = keys.use_keys(how, &rows).await;
        done.map_err(|source| DemoError::Keys { what: what.to_owned(), source })
    }

    async fn put_page(
        &mut self,
        what: &str,
        path: &str,
        question: &Statement,
        values: &[Value],
    ) -> Result<(), DemoError> {
        let row = self.database.ask(what, question, values).await?.into_iter().next();
        if let (Some(pages), Some(row)) = (&self.pages, row) {
            pages.put(path, page(row));
        }
        Ok(())
    }

    async fn write_lines(
        &mut self,
        what: &str,
        writer: Writer,
        question: &Statement,
        values: &[Value],
        at: Micros,
    ) -> Result<(), DemoError> {
        let rows = self.database.ask(what, question, values).await?;
        let Some(drain) = self.drains.get_mut(&writer) else { return Ok(()) };
        for (after, line) in rows.into_iter().map(line) {
            drain.write(at.saturating_add(after), line);
        }
        Ok(())
    }
}

/// A key, what it is set to or its limit, and how many seconds it lives.
fn key_row(cells: Vec<String>) -> KeyRow {
    let mut cells = cells.into_iter();
    let mut next = || cells.next().unwrap_or_default();
    KeyRow { key: next(), value: next(), seconds: next().parse().unwrap_or(0) }
}

/// A status, a media type, a body, and how many milliseconds the answer takes.
fn page(cells: Vec<String>) -> Page {
    let mut cells = cells.into_iter();
    let mut next = || cells.next().unwrap_or_default();
    Page {
        status: next().parse().unwrap_or(0),
        kind: next(),
        body: next(),
        delay: Duration::from_millis(next().parse().unwrap_or(0)),
    }
}

/// A line, and how long after the event it is written: level, text, milliseconds, and what else the record has.
fn line(cells: Vec<String>) -> (Micros, Line) {
    let mut cells = cells.into_iter();
    let mut next = || cells.next().unwrap_or_default();
    let (level, text, after) = (next(), next(), next());
    (after.parse::<Micros>().unwrap_or(0).saturating_mul(1000), Line { level, text, details: next() })
}

#[cfg(test)]
mod tests;
