//! The pager's page: what came last stands on top, and it looks again by itself.
//!
//! Everything that was sent is escaped, and only `http` links are links. It runs no script.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::sent::Sent;
use crate::family::Micros;

/// Seconds from one look to the next.
const LOOK_EVERY: u32 = 5;

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#f4f5f7;--card:#fff;--ink:#1d2430;--soft:#677084;--line:#e1e4ea;--fire:#c62f36;--calm:#23834e;--warn:#b06a00}\
@media(prefers-color-scheme:dark){:root{--ground:#12151b;--card:#1b2029;--ink:#e8ebf1;--soft:#98a2b5;--line:#2c3340;--fire:#ff6b70;--calm:#4cc38a;--warn:#f0ad4e}}\
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:60rem;margin:0 auto;padding:2rem 1rem 4rem}header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.5rem 1.5rem;margin-bottom:1.5rem}\
h1{font-size:1.5rem;margin:0}.soft{color:var(--soft)}\
article{background:var(--card);border:1px solid var(--line);border-left:.35rem solid var(--fire);border-radius:.5rem;padding:.8rem 1.1rem;margin:.7rem 0}\
article.resolved{border-left-color:var(--calm)}article.resolved p,article.resolved h2{opacity:.75}\
h2{font-size:1.05rem;margin:.15rem 0;overflow-wrap:anywhere}p{margin:.3rem 0;overflow-wrap:anywhere;white-space:pre-wrap}\
.row{display:flex;flex-wrap:wrap;gap:.35rem .6rem;align-items:center;font-size:.82rem}\
.row time{margin-left:auto;color:var(--soft)}b.tag,span.tag{border:1px solid var(--line);border-radius:1rem;padding:.05rem .6rem}\
b.firing{background:var(--fire);border-color:var(--fire);color:var(--card)}b.resolved{background:var(--calm);border-color:var(--calm);color:var(--card)}\
.critical{color:var(--fire);font-weight:600}.warning{color:var(--warn);font-weight:600}a{color:inherit}\
.empty{text-align:center;padding:4rem 1rem;color:var(--soft)}";

/// The page, with what is kept, newest first.
pub(super) fn page(kept: &VecDeque<Sent>, now: Micros) -> String {
    let mut out = String::with_capacity(4096 + kept.len() * 1500);
    let firing = kept.iter().filter(|sent| sent.status == "firing").count();
    // Writing to text cannot fail.
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"{LOOK_EVERY}\"><title>Pager</title><style>{STYLE}</style>\
         <main><header><h1>Pager</h1><span class=\"soft\">{} messages: {firing} firing, {} resolved. Newest first; looks again every \
         {LOOK_EVERY} s. <a href=\"/pages\">JSON</a></span></header>",
        kept.len(),
        kept.len() - firing,
    );
    if kept.is_empty() {
        out.push_str(
            "<div class=\"empty\">No message yet. All is quiet, or Alertmanager does not know this address.</div>",
        );
    }
    kept.iter().for_each(|sent| article(&mut out, sent, now));
    out.push_str("</main></html>\n");
    out
}

fn article(out: &mut String, sent: &Sent, now: Micros) {
    let label = |name: &str| sent.labels.get(name).map(String::as_str).unwrap_or_default();
    let annotation = |name: &str| sent.annotations.get(name).map(String::as_str).unwrap_or_default();
    let state = if sent.status == "resolved" { "resolved" } else { "firing" };
    let severity = label("severity");
    let grave = if matches!(severity, "critical" | "warning") { severity } else { "" };
    let _ = write!(
        out,
        "<article class=\"{state}\"><div class=\"row\"><b class=\"tag {state}\">{}</b>",
        escaped(&sent.status)
    );
    for (class, text) in
        [(grave, severity), ("", label("sev")), ("", label("app")), ("", label("job")), ("", label("channel"))]
    {
        if !text.is_empty() {
            let _ = write!(out, "<span class=\"tag {class}\">{}</span>", escaped(text));
        }
    }
    let seconds = (now / 1000 - sent.at).max(0) / 1000;
    let ago = crate::duration::format(std::time::Duration::from_secs(seconds.unsigned_abs()));
    let _ = write!(
        out,
        "<span class=\"soft\">to {}</span><time>{} ago</time></div>",
        escaped(&sent.receiver),
        escaped(&ago)
    );
    let name = label("alertname");
    let title = if name.is_empty() { annotation("summary") } else { name };
    let _ = write!(out, "<h2>{}</h2>", escaped(title));
    if !name.is_empty() && !annotation("summary").is_empty() {
        let _ = write!(out, "<p>{}</p>", escaped(annotation("summary")));
    }
    if !annotation("description").is_empty() {
        let _ = write!(out, "<p class=\"soft\">{}</p>", escaped(annotation("description")));
    }
    let links = [
        ("Runbook", annotation("runbook_url")),
        ("Dashboard", annotation("dashboard_url")),
        ("Source", sent.url.as_str()),
    ];
    out.push_str("<div class=\"row\">");
    for (words, link) in links {
        if link.starts_with("http://") || link.starts_with("https://") {
            let _ = write!(out, "<a href=\"{}\" rel=\"noreferrer\">{words}</a>", escaped(link));
        }
    }
    let shown = ["alertname", "severity", "sev", "app", "job", "symptom", "channel"];
    for (name, value) in sent.labels.iter().filter(|(name, _)| !shown.contains(&name.as_str())) {
        let _ = write!(out, "<span class=\"soft\">{}={}</span>", escaped(name), escaped(value));
    }
    out.push_str("</div></article>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
