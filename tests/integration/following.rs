//! Sources that follow an application's database, and what says whether a source is there: true from the first moment,
//! through outages and whatever the database turns out to hold.

use std::time::Duration;

use super::harness::hostile::{Hostile, json};
use super::harness::redis::Redis;
use super::harness::{Cluster, Exporter, Scrape, Setup, holds_for};

/// An application that a table shows, with keys, names for their ids and an endpoint of its own.
const SHOP: &str = "app: shop
title: Shop
detect: [shops]
lookups:
  shop_names: {sql: 'select id, name from shops'}
collectors:
  - name: shops
    snapshot: {sql: 'select count(*) as n from shops'}
    metrics:
      - {gauge: shop_shops, help: Shops., value: n}
  - name: visitors
    keys:
      match: 'visit:*'
      families:
        - {pattern: 'visit:{shop}:{visitor}', lookup: {shop: shop_names}}
    metrics:
      - {gauge: shop_visitors, help: Visitors., value: keys, labels: [shop]}
  - name: health
    probe: {path: /up}
    metrics:
      - {gauge: shop_up, help: Up., value: up, labels: [target, endpoint]}
";

/// Long enough for every loop of an exporter that reads each 250 ms to turn several times.
const A_WHILE: Duration = Duration::from_secs(3);

/// A database, a Redis and an endpoint, none of which says which packs apply.
fn setup(database: &str, redis: &str, web: &str) -> Setup {
    let setup = Setup::of(database).with_server().sourced("connect_timeout", "1s");
    let pack = setup.folder.write("shop.yaml", SHOP);
    setup
        .with("packs", format!("[\"{}\"]", pack.display()))
        .source("cache", redis)
        .sourced("connect_timeout", "1s")
        .source("web", web)
}

async fn shows(exporter: &Exporter, name: &str, labels: &[(&str, &str)], wanted: Option<f64>) -> Scrape {
    exporter
        .scrapes(&format!("{name} {labels:?} is {wanted:?}"), |scrape| match scrape.get(name, labels) {
            value if value == wanted => Ok(()),
            value => Err(format!("it is {value:?}")),
        })
        .await
}

/// It is so, and stays so.
async fn keeps(exporter: &Exporter, name: &str, labels: &[(&str, &str)], wanted: Option<f64>) {
    shows(exporter, name, labels, wanted).await;
    let what = format!("{name} {labels:?} stays {wanted:?}");
    holds_for(A_WHILE, &what, async || match exporter.try_scrape().await?.get(name, labels) {
        value if value == wanted => Ok(()),
        value => Err(format!("it is {value:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_down_at_the_start() {
    let cluster = Cluster::private();
    let database = cluster.database().await;
    database.run("create table shops (id text primary key, name text); insert into shops values ('1', 'north')").await;
    let redis = Redis::new();
    redis.set(["visit:1:a", "visit:1:b", "visit:2:c"].map(String::from), "x");
    let web = Hostile::plain(json("200 OK", "{\"status\": \"ok\"}"));
    cluster.stop();
    let exporter = setup(&database.url, &redis.url(), &web.url("")).spawn();
    shows(&exporter, "redis_up", &[], Some(1.0)).await;
    // What the server's own pack says needs no table of the application's.
    shows(&exporter, "pg_up", &[], Some(0.0)).await;
    // Health is worth most while the database is down, though nobody knows yet whose it is.
    let of_url = [("target", "web"), ("endpoint", "/")];
    shows(&exporter, "app_health_up", &of_url, Some(1.0)).await;
    exporter.ready().await;
    assert_eq!(exporter.scrape().await.get("shop_shops", &[]), None);
    cluster.start();
    shows(&exporter, "pg_up", &[], Some(1.0)).await;
    shows(&exporter, "shop_shops", &[], Some(1.0)).await;
    shows(&exporter, "shop_visitors", &[("shop", "north")], Some(2.0)).await;
    shows(&exporter, "shop_up", &[("target", "web"), ("endpoint", "/up")], Some(1.0)).await;
    shows(&exporter, "app_health_up", &of_url, None).await;
    // Names that are known outlive the database.
    cluster.stop();
    shows(&exporter, "pg_up", &[], Some(0.0)).await;
    keeps(&exporter, "shop_visitors", &[("shop", "north")], Some(2.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_is_not_called_up_while_it_follows_another() {
    let cluster = Cluster::private();
    let database = cluster.database().await;
    cluster.stop();
    let redis = Redis::new();
    let web = Hostile::plain(json("200 OK", "{\"status\": \"ok\"}"));
    let exporter = setup(&database.url, &redis.url(), &web.url("")).spawn();
    shows(&exporter, "rowmetry_source_up", &[("source", "cache")], Some(1.0)).await;
    redis.stop();
    keeps(&exporter, "rowmetry_source_up", &[("source", "cache")], Some(0.0)).await;
    keeps(&exporter, "redis_up", &[], Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_s_own_probe_takes_the_place_of_the_common_one() {
    let database = Cluster::shared().database().await;
    let redis = Redis::new();
    redis.set(["visit:1:a"].map(String::from), "x");
    let web = Hostile::plain(json("200 OK", "{\"status\": \"ok\"}"));
    let setup = setup(&database.url, &redis.url(), &web.url(""));
    let exporter = setup.start().await;
    shows(&exporter, "app_health_up", &[("target", "web"), ("endpoint", "/")], Some(1.0)).await;
    // That the server's own pack applies does not mean that the application was found.
    exporter.logs("no pack fits").await;
    database.run("create table shops (id text primary key, name text); insert into shops values ('1', 'north')").await;
    // The database is looked at anew.
    let mut again = setup.clone();
    again.sources[0].insert("interval".into(), "300ms".into());
    again.write();
    exporter.process.signal("HUP");
    shows(&exporter, "shop_up", &[("target", "web"), ("endpoint", "/up")], Some(1.0)).await;
    shows(&exporter, "shop_visitors", &[("shop", "north")], Some(1.0)).await;
    exporter
        .scrapes("the common probe has ended", |scrape| {
            let left: Vec<&str> = scrape
                .series
                .keys()
                .map(String::as_str)
                // Its limits stay: what the application's own probe tells is compared with them.
                .filter(|key| {
                    key.starts_with("app_health_") && key.contains("target=") || key.contains("pack=\"health\"")
                })
                .collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    let asked = web.asked().len();
    holds_for(A_WHILE, "nobody asks at the common place", async || {
        let new = web.asked();
        match new[asked..].iter().find(|asked| !format!("{asked:?}").contains("/up")) {
            None => Ok(()),
            Some(other) => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_a_redis_is_cannot_be_guessed_among_two_databases() {
    let (one, other) = (Cluster::shared().database().await, Cluster::shared().database().await);
    let redis = Redis::new();
    let setup = || Setup::of(&one.url).source("other", &other.url).source("cache", &redis.url());
    let exporter = setup().start().await;
    shows(&exporter, "redis_up", &[], Some(1.0)).await;
    exporter.logs("nothing says whose this redis is").await;
    let told = setup().sourced("database", "app").start().await;
    shows(&told, "redis_up", &[], Some(1.0)).await;
    assert!(!told.log_text().contains("nothing says whose"), "{}", told.log_text());
}
