//! Which of several exporters reads a source, when they share one configuration.
//!
//! It depends on names and the number of exporters alone, so that all of them agree without talking to each other. What
//! belongs together stays together: a source goes where its application's database goes.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::{Settings, SourceSettings};

/// One exporter of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 1.
    index: NonZeroU32,
    /// How many there are.
    count: NonZeroU32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.trim().split_once('/');
        let number = |text: &str| text.trim().parse::<NonZeroU32>().ok();
        match parts.and_then(|(index, count)| Some((number(index)?, number(count)?))) {
            Some((index, count)) if index <= count => Ok(Shard { index, count }),
            _ => Err("write the number of this exporter, from 1, and how many there are, such as `1/3`".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Settings {
    /// The same settings with the sources that one of several exporters reads. Each source is read by exactly one, and its series
    /// have the same labels whichever it is. The first has all drains, so that who posts there finds one address; where the packs of a
    /// drain's database are named, they are named for the drain too, for the database may be read by another.
    #[must_use]
    pub fn shard(mut self, shard: Shard) -> Settings {
        let all = self.sources.clone();
        for source in &mut self.sources {
            let alike = all.iter().filter(|other| other.upstream.reads() == source.upstream.reads());
            source.labelled = alike.count() > 1;
        }
        if shard.index.get() == 1 {
            for drain in self.logs.drains.iter_mut().filter(|drain| drain.packs.is_none()) {
                let database = all.iter().find(|source| Some(&source.name) == drain.database.as_ref());
                drain.packs = database.and_then(|database| database.packs.clone());
            }
        } else {
            self.logs.listen = None;
            self.logs.drains.clear();
        }
        self.sources.retain(|source| place(leader(source, &all), shard.count) == shard.index.get());
        self
    }
}

/// The source that another follows, whose name decides for both.
fn leader<'s>(source: &'s SourceSettings, all: &'s [SourceSettings]) -> &'s str {
    let mut leader = source;
    // A ring of sources that follow each other ends somewhere too.
    for _ in 0..all.len() {
        let followed = leader.database.as_ref().and_then(|name| all.iter().find(|other| other.name == *name));
        match followed {
            Some(followed) => leader = followed,
            None => break,
        }
    }
    &leader.name
}

/// The number of the exporter, from 1, that reads the source of this name.
fn place(name: &str, count: NonZeroU32) -> u32 {
    let place = xxh3_64(name.as_bytes()) % u64::from(count.get());
    u32::try_from(place).unwrap_or_default() + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{DrainKind, DrainSettings, Limits, Upstream, WebSettings};
    use crate::pack::System;

    fn settings(names: &[(&str, Option<&str>)]) -> Settings {
        let source = |(name, database): &(&str, Option<&str>)| {
            let upstream = if database.is_some() { Upstream::Redis } else { Upstream::from(System::Postgres) };
            let mut source = SourceSettings::new(*name, upstream, "".into());
            source.database = database.map(str::to_owned);
            source
        };
        Settings {
            listen: ([127, 0, 0, 1], 1).into(),
            state_dir: None,
            sources: names.iter().map(source).collect(),
            packs: Vec::new(),
            parameters: Default::default(),
            limits: Limits::default(),
            web: WebSettings::default(),
            alerts: crate::config::AlertSettings::default(),
            zero_first: std::time::Duration::ZERO,
            otlp: crate::config::OtlpSettings::default(),
            logs: crate::config::LogSettings::default(),
        }
    }

    fn read_by(settings: &Settings, shard: &str) -> Vec<String> {
        let sharded = settings.clone().shard(shard.parse().expect("a shard"));
        sharded.sources.into_iter().map(|source| source.name).collect()
    }

    #[test]
    fn each_source_is_read_by_exactly_one_of_any_number_of_exporters() {
        let names: Vec<String> = (0..100).map(|number| format!("tenant-{number}")).collect();
        let named: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), None)).collect();
        let settings = settings(&named);
        for count in 1..=20 {
            let mut all: Vec<String> = Vec::new();
            for index in 1..=count {
                let part = read_by(&settings, &format!("{index}/{count}"));
                assert!(part.len() < 100 * 3 / count + 10, "{index}/{count} has {}", part.len());
                all.extend(part);
            }
            assert_eq!(all.len(), 100, "{count}: none twice");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 100, "{count}: all of them");
        }
    }

    #[test]
    fn a_source_stays_where_it_is_whatever_else_is_read() {
        let alone = settings(&[("shop", None)]);
        let among = settings(&[("a", None), ("shop", None), ("z", None)]);
        for count in 1..=7 {
            for index in 1..=count {
                let shard = format!("{index}/{count}");
                let has = |settings: &Settings| read_by(settings, &shard).contains(&"shop".to_owned());
                assert_eq!(has(&alone), has(&among), "{shard}");
            }
        }
        // Written down, since every exporter of every version must agree.
        assert_eq!(
            ["default", "redis", "shop", "plants"].map(|name| place(name, NonZeroU32::new(5).expect("five"))),
            [3, 4, 4, 1]
        );
    }

    #[test]
    fn what_follows_a_database_goes_with_it() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut sources: Vec<(&str, Option<&str>)> = names.iter().map(|name| (*name, None)).collect();
        let caches: Vec<String> = names.iter().map(|name| format!("cache-{name}")).collect();
        sources.extend(caches.iter().zip(names).map(|(cache, name)| (cache.as_str(), Some(name))));
        let settings = settings(&sources);
        for index in 1..=4 {
            let part = read_by(&settings, &format!("{index}/4"));
            for name in part.iter().filter(|name| name.len() == 1) {
                assert!(part.contains(&format!("cache-{name}")), "{part:?}");
            }
            assert_eq!(part.len() % 2, 0, "{part:?}");
        }
    }

    #[test]
    fn labels_do_not_depend_on_who_else_is_read_here() {
        let settings = settings(&[("a", None), ("b", None), ("cache", Some("a"))]);
        let mut all = Vec::new();
        for index in 1..=5 {
            let part = settings.clone().shard(format!("{index}/5").parse().expect("a shard"));
            all.extend(part.sources.into_iter().map(|source| (source.name, source.labelled)));
        }
        all.sort();
        let wanted = [("a", true), ("b", true), ("cache", false)];
        assert_eq!(all, wanted.map(|(name, labelled)| (name.to_owned(), labelled)));
        assert!(settings.sources.iter().all(|source| !source.labelled), "one exporter of all can tell by itself");
    }

    #[test]
    fn the_first_has_all_drains_and_knows_their_packs() {
        let mut settings = settings(&[("a", None), ("b", None)]);
        settings.sources[0].packs = Some(vec!["plants".into()]);
        settings.logs.listen = Some(([127, 0, 0, 1], 2).into());
        settings.logs.drains = ["a", "b"].map(|of| DrainSettings::new(format!("drain-{of}"), DrainKind::Http)).to_vec();
        settings.logs.drains[0].database = Some("a".into());
        settings.logs.drains[1].database = Some("b".into());
        for index in 1..=3 {
            let part = settings.clone().shard(format!("{index}/3").parse().expect("a shard"));
            let drains: Vec<_> = part.logs.drains.into_iter().map(|drain| (drain.name, drain.packs)).collect();
            let all = [("drain-a".to_owned(), Some(vec!["plants".to_owned()])), ("drain-b".to_owned(), None)].to_vec();
            assert_eq!(drains, if index == 1 { all } else { Vec::new() }, "{index}");
            assert_eq!(part.logs.listen.is_some(), index == 1, "{index}");
        }
    }

    #[test]
    fn only_a_number_of_so_many_is_a_shard() {
        assert_eq!("2/3".parse::<Shard>().map(|shard| shard.to_string()), Ok("2/3".to_owned()));
        for bad in ["", "1", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err_and(|message| message.contains("such as `1/3`")), "{bad}");
        }
    }
}
