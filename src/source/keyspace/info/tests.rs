use std::collections::VecDeque;
use std::sync::Mutex;

use super::super::fields_of;
use super::super::scripted::Scripted;
use super::*;

const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Memory\r\nused_memory:1048576\r\n\
                    # Persistence\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:err\r\nos:Linux 6.1: x86_64\r\n\
                    # Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb15:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n";

fn scripted(info: Result<&str, Reason>, size: Result<u64, Reason>, ping: Result<f64, Reason>) -> Scripted {
    Scripted {
        infos: Mutex::new(VecDeque::from([info.map(fields_of)])),
        sizes: Mutex::new(VecDeque::from([size])),
        pings: Mutex::new(VecDeque::from([ping])),
        ..Scripted::default()
    }
}

async fn read(redis: Scripted, columns: &[&str]) -> Result<(Vec<Vec<String>>, Option<String>), Failure> {
    let info = pack::Info { sections: Vec::new() };
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let reading = InfoReader::new(Arc::new(redis), &info, columns).read(0).await?;
    let rows = reading.rows.expect("there always are rows");
    let cells = rows.iter().map(|row| (0..rows.width()).map(|at| row.cell(at).unwrap_or("-").to_owned()).collect());
    Ok((cells.collect(), reading.note))
}

#[tokio::test]
async fn fields_are_columns_and_databases_are_rows() {
    let redis = scripted(Ok(INFO), Ok(13), Ok(0.0005));
    let columns = ["redis_version", "used_memory", "os", "nothing", "ping_seconds", "db", "db_keys", "db_expires"];
    let (rows, note) = read(redis, &columns).await.expect("nothing fails");
    assert_eq!(
        rows,
        [
            ["7.0.15", "1048576", "Linux 6.1: x86_64", "-", "0.0005", "-", "-", "-"],
            ["-", "-", "-", "-", "-", "db0", "12", "3"],
            ["-", "-", "-", "-", "-", "db15", "1", "0"],
        ]
    );
    assert_eq!(note, None);
}

#[tokio::test]
async fn words_of_well_being_are_numbers() {
    let redis = scripted(Ok(INFO), Ok(13), Ok(0.0005));
    let columns = ["rdb_last_bgsave_status_ok", "aof_last_write_status_ok", "master_link_status_ok", "_ok"];
    let (rows, _) = read(redis, &columns).await.expect("nothing fails");
    assert_eq!(rows, [["1", "0", "-", "-"]]);
}

#[tokio::test]
async fn an_empty_database_has_no_key_and_a_service_without_info_tells_its_size() {
    let others = "# Keyspace\ndb3:keys=4,expires=0,avg_ttl=0\n";
    let (rows, _) = read(scripted(Ok(others), Ok(9), Ok(0.1)), &["db", "db_keys"]).await.expect("nothing fails");
    assert_eq!(rows, [["-", "-"], ["db3", "4"], ["db0", "0"]]);
    let empty = "redis_version:7.0.15\n# Keyspace\n";
    let (rows, _) =
        read(scripted(Ok(empty), Ok(0), Ok(0.1)), &["db", "db_keys", "db_expires"]).await.expect("nothing fails");
    assert_eq!(rows, [["-", "-", "-"], ["db0", "0", "-"]]);
    let (rows, _) =
        read(scripted(Ok(""), Ok(9), Ok(0.1)), &["used_memory", "db", "db_keys"]).await.expect("nothing fails");
    assert_eq!(rows, [["-", "-", "-"], ["-", "db0", "9"]]);
}

#[tokio::test]
async fn what_may_not_be_asked_is_absent_and_told() {
    let redis = scripted(Err(Reason::Forbidden), Ok(9), Ok(0.1));
    let (rows, note) = read(redis, &["used_memory", "ping_seconds", "db_keys"]).await.expect("the rest is there");
    assert_eq!(rows, [["-", "0.1", "-"], ["-", "-", "9"]]);
    assert!(note.is_some());
    let redis = scripted(Err(Reason::Forbidden), Err(Reason::Forbidden), Err(Reason::Forbidden));
    assert_eq!(
        read(redis, &["used_memory", "ping_seconds", "db_keys"]).await.expect_err("nothing is left").reason,
        Reason::Forbidden
    );
    let redis = scripted(Err(Reason::Silent), Ok(9), Ok(0.1));
    assert_eq!(read(redis, &["used_memory"]).await.expect_err("it fails").reason, Reason::Silent);
}

#[test]
fn odd_lines_cost_nothing_else() {
    let odd = "no field\r\n:empty name\nname:\na:b:c\n# Title: x\ndb0:\ndbx:keys=1\ndb1:keys=x,expires\ndb2:keys=5";
    let fields = fields_of(odd);
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!((field("a"), field("name"), field("no field"), field("# Title")), (Some("b:c"), Some(""), None, None));
    let found: Vec<_> = databases(&fields).collect();
    assert_eq!(found, [("db0", None, None), ("db1", None, None), ("db2", Some(5), None)]);
}

#[tokio::test]
async fn a_ping_finds_the_connection_that_info_made() {
    let redis = Arc::new(scripted(Ok(INFO), Ok(13), Ok(0.0005)));
    let info = pack::Info { sections: Vec::new() };
    let columns = ["ping_seconds", "used_memory"].map(String::from).to_vec();
    InfoReader::new(redis.clone(), &info, columns).read(0).await.expect("nothing fails");
    assert_eq!(*redis.asked.lock().expect("ours"), ["INFO", "PING"]);
}
