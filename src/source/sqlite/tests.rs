//! On real files: what a reader of new rows meets when others write, delete, renumber and hold the file.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use sqlx::Connection;
use tempfile::TempDir;

use super::super::{CursorMode, PagePosition};
use super::*;

struct File {
    source: SqliteSource,
    writer: SqliteConnection,
    path: PathBuf,
    _folder: TempDir,
}

fn source(path: &Path) -> SqliteSource {
    let mut settings = SourceSettings::new("s", System::Sqlite, format!("sqlite:{}", path.display()).into());
    settings.lock_timeout = Duration::from_millis(20);
    SqliteSource::new(&settings).expect("the URL names a file")
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.expect("a file in a folder of our own")
}

impl File {
    async fn new(sql: &str) -> File {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let path = folder.path().join("app.db");
        let mut file = File { source: source(&path), writer: connect(&path).await, path, _folder: folder };
        file.run(sql).await;
        file
    }

    async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.writer).await.expect("SQL of the test");
    }

    async fn page(
        &self,
        query: &RowsQuery,
        floor: Option<Micros>,
        after: Option<PagePosition>,
        limit: u32,
    ) -> RowsPage {
        let range = RowsRange { floor, after, ..RowsRange::of_everything(limit) };
        self.source.read_rows(query, &range).await.expect("the table can be read")
    }
}

/// A collector in small: pages until there is no more, and counts keys it has not seen.
#[derive(Default)]
struct Counting {
    seen: HashSet<String>,
    after: Option<PagePosition>,
    modes: Vec<CursorMode>,
    brought: usize,
}

impl Counting {
    async fn read(&mut self, file: &File, query: &RowsQuery, limit: u32) -> Vec<String> {
        let mut new = Vec::new();
        (self.modes, self.brought) = (Vec::new(), 0);
        loop {
            let page = file.page(query, Some(0), self.after.take(), limit).await;
            self.modes.push(page.moment.mode);
            self.brought += page.rows.len();
            assert_eq!(page.rows.len(), page.times.len());
            assert!(page.rows.len() <= limit as usize);
            for row in page.rows.iter() {
                let key = row.cell(0).expect("keys are set").to_owned();
                if self.seen.insert(key.clone()) {
                    new.push(key);
                }
            }
            self.after = page.next.clone().or(page.resume);
            if page.next.is_none() {
                return new;
            }
        }
    }
}

fn query(table: &str) -> RowsQuery {
    RowsQuery {
        table: table.into(),
        key: vec!["id".into()],
        time: "at".into(),
        columns: Vec::new(),
        filter: None,
        transition: None,
        time_zone: "UTC".into(),
        parameters: Vec::new(),
    }
}

fn cells(rows: &Rows) -> Vec<Vec<Option<&str>>> {
    rows.iter().map(|row| (0..rows.width()).map(|column| row.cell(column)).collect()).collect()
}

const TEXT_KEYS: &str = "create table t (id text primary key, at text not null);";

#[tokio::test]
async fn rows_that_commit_late_are_read_when_they_do() {
    for mode in ["wal", "delete"] {
        let mut file = File::new(&format!("pragma journal_mode = {mode}; {TEXT_KEYS}")).await;
        let mut counting = Counting::default();
        file.run("begin; insert into t values ('a', '2026-01-01 00:00:00')").await;
        assert_eq!(counting.read(&file, &query("t"), 10).await, [""; 0], "{mode}");
        file.run("commit; insert into t values ('b', '2025-12-31 00:00:00')").await;
        assert_eq!(counting.read(&file, &query("t"), 10).await, ["a", "b"], "{mode}");
        assert_eq!(counting.read(&file, &query("t"), 10).await, [""; 0], "{mode}");
        assert_eq!((counting.brought, &*counting.modes), (0, &[CursorMode::Rowid][..]), "nothing is read again");
    }
}

#[tokio::test]
async fn a_rowid_given_out_again_is_noticed() {
    let mut file = File::new(TEXT_KEYS).await;
    let mut counting = Counting::default();
    file.run("insert into t values ('a', '2026-01-01'), ('b', '2026-01-01'), ('c', '2026-01-01')").await;
    assert_eq!(counting.read(&file, &query("t"), 2).await, ["a", "b", "c"]);
    file.run("delete from t where id in ('b', 'c')").await;
    file.run("insert into t values ('d', '2026-01-01'), ('e', '2025-01-01')").await;
    assert_eq!(counting.read(&file, &query("t"), 10).await, ["e", "d"]);
    assert_eq!(counting.modes, [CursorMode::Overlap]);
    file.run("insert into t values ('f', '2024-01-01')").await;
    assert_eq!(counting.read(&file, &query("t"), 10).await, ["f"]);
    assert_eq!((counting.brought, &*counting.modes), (1, &[CursorMode::Rowid][..]));
    file.run("delete from t").await;
    assert_eq!(counting.read(&file, &query("t"), 10).await, [""; 0]);
    file.run("insert into t values ('g', '2026-01-01')").await;
    assert_eq!(counting.read(&file, &query("t"), 10).await, ["g"]);
}

#[tokio::test]
async fn vacuum_renumbers_and_nothing_is_lost() {
    let mut file = File::new(TEXT_KEYS).await;
    let mut counting = Counting::default();
    file.run(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100)
              insert into t select 'k' || i, '2026-01-01' from n",
    )
    .await;
    assert_eq!(counting.read(&file, &query("t"), 30).await.len(), 100);
    file.run("delete from t where cast(substr(id, 2) as integer) % 3 = 0; vacuum").await;
    file.run(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50)
              insert into t select 'm' || i, '2026-01-01' from n",
    )
    .await;
    let mut new = counting.read(&file, &query("t"), 30).await;
    new.sort();
    new.dedup();
    assert_eq!(new.len(), 50);
    assert!(new.iter().all(|key| key.starts_with('m')));
    file.run("insert into t values ('z', '2026-01-01')").await;
    assert_eq!(counting.read(&file, &query("t"), 30).await, ["z"]);
}

#[tokio::test]
async fn rows_that_come_during_a_sweep_are_read_after_it() {
    let mut file = File::new(TEXT_KEYS).await;
    let mut counting = Counting::default();
    file.run("insert into t values ('a', '2026-01-01'), ('b', '2026-01-02'), ('c', '2026-01-03'), ('x', '2026-01-04')")
        .await;
    counting.read(&file, &query("t"), 10).await;
    file.run("delete from t where id = 'x'").await;
    let first = file.page(&query("t"), Some(0), counting.after.take(), 2).await;
    assert_eq!((first.moment.mode, first.rows.len()), (CursorMode::Overlap, 2));
    file.run("insert into t values ('early', '2020-01-01')").await;
    counting.after = first.next;
    assert_eq!(counting.read(&file, &query("t"), 2).await, [""; 0]);
    assert_eq!(counting.read(&file, &query("t"), 2).await, ["early"]);
    assert_eq!(counting.brought, 1, "it goes on where the sweep began");
}

#[tokio::test]
async fn fifty_thousand_rows_come_once_each_in_both_modes() {
    let fill = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000)
                insert into t select i, 1795229598123 + i / 7 from n;
                create view v as select id, at from t; create index t_at on t (at);";
    let file = File::new(&format!("create table t (id integer primary key, at integer not null); {fill}")).await;
    for (table, mode) in [("t", CursorMode::Rowid), ("v", CursorMode::Overlap)] {
        let mut counting = Counting::default();
        assert_eq!(counting.read(&file, &query(table), 9_999).await.len(), 50_000, "{table}");
        assert_eq!((counting.brought, counting.modes.len()), (50_000, 6), "{table}");
        assert!(counting.modes.iter().all(|used| *used == mode), "{table}");
    }
}

#[tokio::test]
async fn a_row_that_may_become_countable_later_is_read_by_overlap() {
    let mut file = File::new(
        "create table t (id integer primary key, at text, state text, k any);
         create table w (id text primary key, at text not null) without rowid;
         create table n (id integer primary key, at text not null, state text)",
    )
    .await;
    file.run("insert into t values (1, null, 'new', 1), (2, '2026-01-01T00:00:00Z', 'new', 'x'); insert into w values ('w', '2026-01-01');
              insert into n values (1, '2026-01-01', 'new')").await;
    let mut transition = query("n");
    transition.transition = Some("t.state".into());
    let mut filter = query("n");
    filter.filter = Some("t.state = 'done'".into());
    for (query, before, after) in [
        (query("t"), &["2"][..], &["1"][..]),
        (query("w"), &["w"], &[]),
        (filter, &[], &["1"]),
        (transition, &["1"], &[]),
    ] {
        let mut counting = Counting::default();
        file.run("update t set at = null where id = 1; update n set state = 'new'").await;
        assert_eq!(counting.read(&file, &query, 10).await, before);
        assert_eq!(counting.modes, [CursorMode::Overlap], "{}", query.table);
        file.run("update t set at = '2026-01-01 00:00:00+01:00' where id = 1; update n set state = 'done'").await;
        assert_eq!(counting.read(&file, &query, 10).await, after);
    }
}

#[tokio::test]
async fn keys_of_any_class_page_exactly() {
    let mut file = File::new("create table t (id, at any); create view v as select id, at from t").await;
    for id in ["10", "9", "'9'", "x'09'", "1.5", "'b'", "null", "''", "'10'"] {
        file.run(&format!("insert into t values ({id}, 1795229598)")).await;
    }
    for limit in [1, 2, 4, 100] {
        let (mut after, mut brought) = (None, 0);
        loop {
            let page = file.page(&query("v"), Some(0), after, limit).await;
            brought += page.rows.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // NULL and '' cannot be told apart, so a page may end between them; keys must be set.
        assert!((8..=9).contains(&brought), "{brought} at {limit}");
    }
}

#[tokio::test]
async fn times_of_every_form_are_understood_and_bounded() {
    const MOMENT: Micros = 1_795_229_598_123_000;
    for (time, micros) in [
        ("1795229598", MOMENT - 123_000),
        ("1795229598123", MOMENT),
        ("1795229598123000", MOMENT),
        ("1795229598123000000", MOMENT),
        ("1795229598.123", MOMENT),
        ("'2026-11-21 02:53:18.123'", MOMENT),
        ("'2026-11-21T02:53:18.123Z'", MOMENT),
        ("'2026-11-21T04:53:18.123+02:00'", MOMENT),
        ("'2026-11-21'", 1_795_219_200_000_000),
    ] {
        for index in ["", "create index t_at on t (at);"] {
            let file = File::new(&format!(
                "create table t (id integer primary key, at any); create view v as select * from t;
                 {index} insert into t values (1, {time})"
            ))
            .await;
            let mut filtered = query("t");
            filtered.filter = Some("1".into());
            let page = file.page(&filtered, Some(micros), None, 10).await;
            assert_eq!((&*page.times, page.moment.indexed), (&[micros][..], !index.is_empty()), "{time} {index}");
            assert_eq!(file.page(&filtered, Some(micros + 1), None, 10).await.times, [0; 0], "{time} {index}");
            for (from, until, rows) in [(micros, micros + 1, 1), (micros - 5, micros, 0), (micros + 1, micros + 9, 0)] {
                let counted = file.source.count_rows(&filtered, from, until).await.expect("it can be counted");
                assert_eq!((counted.rows, counted.deletions.rows), (rows, None), "{time}");
            }
        }
    }
    let file = File::new(
        "create table t (id integer primary key, at any not null);
         insert into t values (1, 'soon'), (2, -9223372036854775808), (3, 1795229598), (4, x'00'), (5, '2026-11-21 02:53:18')",
    )
    .await;
    assert_eq!(file.page(&query("t"), Some(0), None, 10).await.times, [MOMENT - 123_000, MOMENT - 123_000]);
}

#[tokio::test]
async fn cells_are_text_and_parameters_are_bound() {
    let file = File::new(
        "create table t (id integer primary key, at text not null, a any); insert into t values
         (1, '2026-01-01', 0.1), (2, '2026-01-01', 3), (3, '2026-01-01', null), (4, '2026-01-01', x'00ff'), (5, '2026-01-01', 9e999),
         (6, '2026-01-01', cast(x'61ff' as text))",
    )
    .await;
    let mut all = query("t");
    all.columns = vec![("a".into(), "t.a".into()), ("b".into(), "':no' || :scale || (:ago_5m < :now)".into())];
    all.parameters = vec![("scale".into(), 2.5)];
    let page = file.page(&all, None, None, 10).await;
    let values: Vec<Option<&str>> = page.rows.iter().map(|row| row.cell(1)).collect();
    assert_eq!(values, [Some("0.1"), Some("3"), None, Some("00ff"), Some("Infinity"), Some("a\u{fffd}")]);
    assert_eq!(page.rows.row(0).cell(2), Some(":no2.51"));
    let snapshot = |sql: &str, row_limit| SnapshotQuery {
        sql: sql.into(),
        columns: vec!["n".into(), "id".into()],
        parameters: vec![("least".into(), 2.0)],
        row_limit,
    };
    let two = snapshot("select id, id * 2 as n from t where id > :least and id < 5 order by id -- all\n;", 2);
    let rows = file.source.read_snapshot(&two).await.expect("it can be read");
    assert_eq!(cells(&rows), [[Some("6"), Some("3")], [Some("8"), Some("4")]]);
    for (sql, reason, words) in [
        ("select id, id as n from t", Reason::BadReply, "more than 2 rows"),
        ("select id, id as n from nowhere", Reason::MissingTable, "`nowhere`"),
        ("select id from t", Reason::MissingColumn, "`q.n`"),
        ("select id, t.none as n from t", Reason::MissingColumn, "`t.none`"),
        ("select id, :none as n from t", Reason::BadQuery, "`:none`"),
        ("select from from", Reason::BadQuery, "syntax error"),
        ("select 1 as id, 1 as n) q; drop table t; --", Reason::BadQuery, ""),
    ] {
        let failure = file.source.read_snapshot(&snapshot(sql, 2)).await.expect_err(sql);
        assert_eq!(failure.reason, reason, "{sql}: {failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn failures_say_what_mends_them() {
    let mut file = File::new(TEXT_KEYS).await;
    let range = RowsRange::of_everything(1);
    let absent = file.source.read_rows(&query("none"), &range).await.expect_err("no table");
    assert_eq!((absent.reason, absent.message.contains("`none`")), (Reason::MissingTable, true));
    let mut keyless = query("t");
    keyless.key = vec!["uid".into()];
    let column = file.source.read_rows(&keyless, &range).await.expect_err("no column");
    assert_eq!((column.reason, column.message.contains("`uid`")), (Reason::MissingColumn, true));
    let strange = RowsRange { after: Some(PagePosition(vec!["x".into()])), ..range.clone() };
    let strange = file.source.read_rows(&query("t"), &strange).await.expect_err("no position");
    assert_eq!(strange.reason, Reason::DefinitionChanged);
    file.run("begin exclusive").await;
    let mut patient = SourceSettings::new("s", System::Sqlite, format!("file:{}", file.path.display()).into());
    (patient.lock_timeout, patient.statement_timeout) = (Duration::from_millis(20), Duration::from_secs(2));
    let patient = SqliteSource::new(&patient).expect("the URL names a file");
    let locked = patient.read_rows(&query("t"), &range).await.expect_err("a writer holds it");
    assert_eq!(locked.reason, Reason::LockTimeout);
    file.run("rollback").await;
    patient.read_rows(&query("t"), &range).await.expect("it recovers");
    let nowhere = source(&file.path.with_extension("none"));
    assert_eq!(nowhere.existing_tables(&[]).await.expect_err("no file").reason, Reason::Unreachable);
    let memory = SourceSettings::new("s", System::Sqlite, "sqlite::memory:".to_owned().into());
    assert!(SqliteSource::new(&memory).is_err());
    let mut endless = SourceSettings::new("s", System::Sqlite, format!("sqlite://{}?x=1", file.path.display()).into());
    endless.statement_timeout = Duration::from_millis(50);
    let endless_source = SqliteSource::new(&endless).expect("the URL names a file");
    let sql = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) as n from n";
    let query = SnapshotQuery { sql: sql.into(), columns: vec!["n".into()], parameters: Vec::new(), row_limit: 1 };
    let late = endless_source.read_snapshot(&query).await.expect_err("it never ends");
    assert_eq!(late.reason, Reason::Timeout);
    assert_eq!(endless_source.existing_tables(&["t".into()]).await.expect("it recovers"), ["t"]);
}

#[tokio::test]
async fn it_cannot_write_and_sees_a_file_that_took_the_place() {
    let file = File::new(TEXT_KEYS).await;
    let write = SnapshotQuery {
        sql: "select 1 as n; insert into t values ('a', 'b')".into(),
        columns: vec!["n".into()],
        parameters: Vec::new(),
        row_limit: 1,
    };
    assert!(file.source.read_snapshot(&write).await.is_err());
    let (turn, mut session) = file.source.begin().await.expect("it opens");
    let refused = sqlx::query("insert into t values ('a', 'b')").execute(&mut session.connection).await;
    assert!(refused.is_err());
    drop((turn, session));
    let tables = ["t".to_owned(), "T".to_owned(), "main.t".to_owned(), "u".to_owned(), "other.t".to_owned()];
    assert_eq!(file.source.existing_tables(&tables).await.expect("it answers"), ["t", "T", "main.t"]);
    let before = file.page(&query("t"), None, None, 1).await.moment.identity;
    assert_eq!(file.page(&query("t"), None, None, 1).await.moment.identity, before);
    let other = file.path.with_extension("new");
    let mut writer = connect(&other).await;
    sqlx::raw_sql("create table t (id integer primary key, at text not null); insert into t values (7, '2026-01-01')")
        .execute(&mut writer)
        .await
        .expect("SQL of the test");
    writer.close().await.expect("it closes");
    std::fs::rename(&other, &file.path).expect("both are in one folder");
    let after = file.page(&query("t"), None, None, 1).await;
    assert_ne!(after.moment.identity, before);
    assert_eq!(cells(&after.rows), [[Some("7")]]);
}

#[tokio::test]
async fn check_names_what_helps() {
    let file = File::new(
        "create table t (id integer primary key, at text, model text, unused text); create table n (id integer primary key, at text not null);
         insert into t values (1, '2026-01-01', 'm', 'u'), (2, null, 'm', 'u')",
    )
    .await;
    let mut slow = query("t");
    slow.columns = vec![("model".into(), "t.model".into())];
    let examined = file.source.examine_rows(&slow).await.expect("it can be examined");
    assert_eq!(examined.rows_estimate, Some(2));
    assert_eq!(examined.reads, [("t".to_owned(), ["id", "at", "model"].map(str::to_owned).to_vec())]);
    assert_eq!(cells(&examined.sample), [[Some("1"), Some("m")]]);
    assert_eq!(examined.findings[1].sql.as_deref(), Some(r#"create index "t_at_idx" on "t" ("at")"#));
    assert!(examined.findings[0].message.starts_with("1 of 2 rows have no time"), "{:?}", examined.findings);
    assert!(examined.facts.iter().any(|fact| fact.starts_with("plan: SCAN")), "{:?}", examined.facts);
    let quick = file.source.examine_rows(&query("n")).await.expect("it can be examined");
    assert_eq!((quick.findings, quick.facts), (vec![], vec!["table `n`: new rows by rowid".to_owned()]));
    let absent = file.source.examine_rows(&query("none")).await.expect("it can be examined");
    assert!(absent.findings[0].fatal && absent.findings[0].message.contains("`none`"));
    let snapshot = SnapshotQuery {
        sql: "select model, count(*) as n from t group by 1".into(),
        columns: vec!["model".into(), "n".into()],
        parameters: Vec::new(),
        row_limit: 10,
    };
    let examined = file.source.examine_snapshot(&snapshot).await.expect("it can be examined");
    assert_eq!((examined.rows_estimate, cells(&examined.sample)), (Some(1), vec![vec![Some("m"), Some("2")]]));
    let broken = SnapshotQuery { sql: "select gone from t".into(), ..snapshot };
    let examined = file.source.examine_snapshot(&broken).await.expect("it can be examined");
    assert!(examined.findings[0].fatal && examined.findings[0].message.contains("`gone`"), "{:?}", examined.findings);
}

#[tokio::test]
async fn each_read_is_counted() {
    let mut file = File::new("create table t (id integer primary key, at text not null)").await;
    file.run("insert into t (at) values ('2026-01-01')").await;
    let source = source(&file.path);
    assert_eq!(source.spend().total(), 0);
    source.existing_tables(&["t".into()]).await.expect("it answers");
    source.moment().await.expect("it answers");
    assert_eq!(source.spend().total(), 2 * crate::source::spend::cost::SQLITE_READ);
}
