//! Which format and which compression a client asked for.
//!
//! Never refuses: whoever asks for nothing that we know gets text 0.0.4, which every scraper reads.

use super::Format;

/// A format with the version to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 0.0.1: the same bytes under the older name.
    OpenMetrics0,
    /// OpenMetrics 1.0.0.
    OpenMetrics1,
    /// Protobuf, delimited.
    Protobuf,
}

impl Version {
    /// How it is encoded.
    pub const fn format(self) -> Format {
        match self {
            Version::Text => Format::Text,
            Version::OpenMetrics0 | Version::OpenMetrics1 => Format::OpenMetrics,
            Version::Protobuf => Format::Protobuf,
        }
    }

    /// The `Content-Type` header. Names are plain ASCII words, so nothing needs escaping and `underscores` is true.
    pub const fn content_type(self) -> &'static str {
        match self {
            Version::Text => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Version::OpenMetrics0 => "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores",
            Version::OpenMetrics1 => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
            Version::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; \
                 escaping=underscores"
            }
        }
    }
}

/// The best of what the `Accept` headers ask for: the highest `q`, ties in their order.
pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Version {
    let mut best: Option<(u16, Version)> = None;
    for range in accept.into_iter().flat_map(|header| header.split(',')) {
        let Some((q, version)) = offer(range) else { continue };
        if q > best.map_or(0, |(best, _)| best) {
            best = Some((q, version));
        }
    }
    best.map_or(Version::Text, |(_, version)| version)
}

/// Whether the `Accept-Encoding` headers allow gzip.
pub fn accepts_gzip<'a>(accept: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut gzip, mut any) = (None, None);
    for coding in accept.into_iter().flat_map(|header| header.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let q = quality(parts);
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            gzip = gzip.max(Some(q));
        } else if name == "*" {
            any = Some(q);
        }
    }
    gzip.or(any).is_some_and(|q| q > 0)
}

fn offer(range: &str) -> Option<(u16, Version)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let parameter = |name: &str| {
        let parameters = parts.clone().filter_map(|part| part.split_once('='));
        let mut named = parameters.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim().trim_matches('"'))
    };
    let version = match media.as_str() {
        "application/vnd.google.protobuf" => {
            let ours = parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && parameter("encoding") == Some("delimited");
            ours.then_some(Version::Protobuf)?
        }
        "application/openmetrics-text" => match parameter("version") {
            Some("1.0.0") => Version::OpenMetrics1,
            Some("0.0.1") | None => Version::OpenMetrics0,
            Some(_) => return None,
        },
        "text/plain" => matches!(parameter("version"), Some("0.0.4") | None).then_some(Version::Text)?,
        "text/*" | "*/*" => Version::Text,
        _ => return None,
    };
    Some((quality(parts), version))
}

/// The `q` parameter in thousandths: 1000 without one, 0 when it cannot be read, so that nonsense excludes.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let q = parameters.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match q.map(str::parse::<f64>) {
        None => 1000,
        Some(Ok(q)) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
        Some(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_known_format_wins() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                      application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, Version::OpenMetrics1),
            (native, Version::Protobuf),
            ("", Version::Text),
            ("*/*", Version::Text),
            ("text/*;q=0.5", Version::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Version::Text),
            ("application/json", Version::Text),
            ("text/plain", Version::Text),
            ("text/plain;version=1.0.0", Version::Text),
            ("text/plain;version=1.0.0,application/openmetrics-text;version=1.0.0;q=0.1", Version::OpenMetrics1),
            ("application/openmetrics-text", Version::OpenMetrics0),
            ("application/openmetrics-text; version=0.0.1", Version::OpenMetrics0),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", Version::OpenMetrics1),
            ("application/openmetrics-text;version=2.0.0", Version::Text),
            ("APPLICATION/OpenMetrics-Text; Version=1.0.0; Q=0.9, text/plain; q=0.8", Version::OpenMetrics1),
            ("application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.1", Version::Text),
            ("application/openmetrics-text;version=1.0.0;q=0", Version::Text),
            ("application/openmetrics-text;version=1.0.0;q=x,text/plain;q=0.1", Version::Text),
            ("application/openmetrics-text;version=1.0.0,text/plain", Version::OpenMetrics1),
            ("text/plain,application/openmetrics-text;version=1.0.0", Version::Text),
            ("application/vnd.google.protobuf", Version::Text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text,text/plain;q=0.1",
                Version::Text,
            ),
            (
                "application/vnd.google.protobuf;proto=Other;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.1",
                Version::OpenMetrics1,
            ),
            (";;,=,q=1", Version::Text),
        ] {
            assert_eq!(negotiate([accept]), expected, "{accept}");
        }
        let split = ["text/plain;q=0.1", "application/openmetrics-text;version=1.0.0;q=0.2"];
        assert_eq!(negotiate(split), Version::OpenMetrics1, "two headers are one list");
        assert_eq!(negotiate([]), Version::Text);
    }

    #[test]
    fn gzip_is_for_those_who_ask() {
        for (accept, expected) in [
            ("gzip", true),
            ("", false),
            ("identity", false),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("*", true),
            ("*;q=0", false),
            ("GZIP ; Q=1.0", true),
            ("br, x-gzip", true),
        ] {
            assert_eq!(accepts_gzip([accept]), expected, "{accept}");
        }
        assert!(!accepts_gzip([]));
    }
}
