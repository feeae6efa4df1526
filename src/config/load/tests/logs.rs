//! `logs` in the file, and the variables that open a drain.

use super::*;
use crate::config::logs::{DrainAuth, IntakeLimits, RecordFields, SignatureAlgorithm, SignatureEncoding};
use crate::config::{DrainSettings, LogSettings};
use crate::pack::Stream;

/// What the file comes to; its complaints where it is wrong. As `load` does, with the one pack alone: the built-in ones
/// take long to read.
fn read(config: &str) -> Result<Settings, Vec<String>> {
    let folder = folder(config);
    std::fs::write(folder.path().join("token"), "\n t0k3n hunter2 \n").expect("writable");
    std::fs::write(folder.path().join("odd"), "hunter2\thunter2").expect("writable");
    std::fs::write(folder.path().join("blank"), " \n").expect("writable");
    let file = folder.path().join("c.yaml");
    let text = std::fs::read_to_string(&file).expect("just written");
    let pack = pack::load::parse("plants.yaml", PACK).unwrap_or_else(|errors| panic!("{errors}"));
    let read = super::super::read(&file.display().to_string(), &text, &variable).and_then(|draft| {
        validate::settings(draft, Some(vec![Arc::new(pack)]), &Overrides::default(), &variable).map_err(ConfigErrors)
    });
    let shown = match &read {
        Ok(settings) => format!("{settings:?}"),
        Err(errors) => format!("{errors:?} {errors}"),
    };
    assert!(!shown.contains("hunter2"), "a secret in {shown}");
    let prefix = format!("{}/", folder.path().display());
    read.map_err(|errors| errors.0.iter().map(|complaint| complaint.to_string().replace(&prefix, "")).collect())
}

/// What these `logs` come to beside one database.
fn good(logs: &str) -> LogSettings {
    read(&format!("sources: [{{name: main, url: a.db}}]\nlogs: {logs}\n"))
        .unwrap_or_else(|told| panic!("{logs}\n{told:#?}"))
        .logs
}

/// What one drain comes to beside one database.
fn drain(drain: &str) -> DrainSettings {
    good(&format!("{{drains: [{drain}]}}")).drains.remove(0)
}

/// What is told of one drain beside one database, without the place of the drain.
fn told(drain: &str) -> Vec<String> {
    let config = format!("sources: [{{name: main, url: a.db}}]\nlogs: {{drains: [{drain}]}}\n");
    let told = read(&config).err().unwrap_or_default();
    told.iter().map(|told| told.trim_start_matches("c.yaml:2: ").replace("logs.drains[0]", "@")).collect()
}

/// Token, name of its header, secret, header, prefix, code.
fn secrets(auth: &DrainAuth) -> [Option<&str>; 6] {
    let signature = auth.signature.as_ref();
    [
        auth.token.as_ref().map(ExposeSecret::expose_secret),
        auth.token_header.as_deref(),
        signature.map(|of| of.secret.expose_secret()),
        signature.map(|of| of.header.as_str()),
        signature.map(|of| of.prefix.as_str()),
        auth.verify.as_ref().map(ExposeSecret::expose_secret),
    ]
}

#[test]
fn everything_of_drains_that_can_be_set_is_read() {
    let settings = good(
        "{listen: '0.0.0.0:9470', body_bytes: 2000, unpacked_bytes: 3000, waiting_bytes: 4000, line_bytes: 500, body_timeout: 6s, \
         remembered_lines: 700, runs: 8, drains: [\
         {name: a, kind: vercel, secret: '${SECRET}', verify: c0de, packs: [plants], skip: [plants/sprouts], streams: [postgres, application]}, \
         {name: b, kind: http, path: /in/b, secret: ' k ', signature: {header: X-Hub-Signature-256, algorithm: sha1, prefix: 'sha1=', \
         encoding: base64}, token_file: FOLDER/token, token_header: X-Token, database: main, \
         fields: {message: [text, /a/b], time: at, id: uid, level: severity}}, \
         {name: c, kind: otlp, path: /v1/logs, allow_anyone: true}, \
         {name: d, kind: file, file: /var/log/d.log, fields: {message: line}}, {name: e, kind: stdin}, \
         {name: f, kind: supabase, token: t}, {name: g, kind: http, secret: k}]}",
    );
    assert_eq!(settings.listen, Some(([0, 0, 0, 0], 9470).into()));
    let limits = IntakeLimits {
        body_bytes: 2000,
        unpacked_bytes: 3000,
        waiting_bytes: 4000,
        line_bytes: 500,
        body_timeout: Duration::from_secs(6),
        remembered_lines: 700,
        runs: 8,
    };
    assert_eq!(settings.limits, limits);
    let [a, b, c, d, e, f, g] = settings.drains.as_slice() else { panic!("seven drains") };
    assert_eq!(
        settings.drains.iter().map(|drain| drain.kind.as_str()).collect::<Vec<_>>(),
        ["vercel", "http", "otlp", "file", "stdin", "supabase", "http"]
    );
    let paths: Vec<&str> = settings.drains.iter().map(|drain| drain.path.as_str()).collect();
    assert_eq!(paths, ["/drains/a", "/in/b", "/v1/logs", "", "", "/drains/f", "/drains/g"]);
    assert_eq!(secrets(&a.auth), [None, None, Some("hunter2"), Some("x-vercel-signature"), Some(""), Some("c0de")]);
    let signature = |drain: &DrainSettings| drain.auth.signature.as_ref().map(|of| (of.algorithm, of.encoding));
    assert_eq!(signature(a), Some((SignatureAlgorithm::Sha1, SignatureEncoding::Hex)));
    let wanted = [Some("t0k3n hunter2"), Some("x-token"), Some("k"), Some("x-hub-signature-256"), Some("sha1="), None];
    assert_eq!(secrets(&b.auth), wanted);
    assert_eq!(signature(b), Some((SignatureAlgorithm::Sha1, SignatureEncoding::Base64)));
    assert_eq!(secrets(&c.auth), [None; 6]);
    assert_eq!(secrets(&g.auth), [None, None, Some("k"), Some("x-signature"), Some(""), None]);
    assert_eq!(signature(g), Some((SignatureAlgorithm::Sha256, SignatureEncoding::Hex)));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let fields = RecordFields {
        message: names(&["text", "/a/b"]),
        time: names(&["at"]),
        id: names(&["uid"]),
        level: names(&["severity"]),
    };
    assert_eq!(b.fields, fields);
    assert_eq!(d.fields, RecordFields { message: names(&["line"]), ..RecordFields::default() });
    assert_eq!(
        (a.streams.as_slice(), f.streams.as_slice()),
        (&[Stream::Application, Stream::Postgres][..], &[Stream::Postgres][..])
    );
    assert_eq!(e.streams, [Stream::Application]);
    assert_eq!(
        (a.packs.as_deref(), a.skip.as_slice()),
        (Some(&names(&["plants"])[..]), &names(&["plants/sprouts"])[..])
    );
    assert!(settings.drains.iter().all(|drain| drain.database.as_deref() == Some("main")), "the only database");
    assert_eq!(d.file.as_deref(), Some(Path::new("/var/log/d.log")));
}

#[test]
fn everything_wrong_with_drains_is_told_at_once_with_line_and_mend() {
    let wrong = "sources:\n  - {name: main, url: a.db}\n  - {name: cache, url: 'redis://h'}\nlogs:\n  listen: here\n  body_bytes: 5\n  \
         body_timeout: 0s\n  drains:\n    - name: Shop\n      kind: vercel\n      secret: k\n      secret_file: FOLDER/token\n      \
         signature: {header: x}\n      fields: {message: a}\n      file: /x\n    - name: main\n      kind: file\n      path: /x\n      \
         token: ''\n      allow_anyone: false\n    - name: a\n      kind: http\n      path: /metrics\n      token_header: 'x y'\n      \
         signature: {header: 'a:b', algorithm: md5, prefix: 'é', colour: 1}\n      verify: c\n      streams: []\n      database: mian\n      \
         packs: [plant]\n      skip: [plants/sprout]\n    - name: a\n      kind: supabase\n      token_file: FOLDER/none\n      path: in\n      \
         database: cache\n      fields: {time: t}\n    - {name: b, kind: stdin, secret: k}\n    - {name: c, kind: stdin}\n    \
         - {name: d, kind: file, file: /f}\n    - {name: e, kind: file, file: /f}\n    - {name: f, kind: otlp, token: t, path: /drains/g}\n    \
         - {name: g, kind: otlp, token: t}\n    - {name: h, kind: ftp}\n";
    let told = read(wrong).expect_err("all wrong");
    let wanted = [
        "c.yaml:5: logs.listen: expected an address and a port",
        "c.yaml:6: logs.body_bytes: expected a number from 1024 to",
        "c.yaml:7: logs.body_timeout: expected a length of time above zero",
        "c.yaml:9: logs.drains[0].name: a drain's name has a-z",
        "c.yaml:12: logs.drains[0].secret_file: both `secret` and `secret_file` are given",
        "c.yaml:13: logs.drains[0].signature: how Vercel signs is known",
        "c.yaml:14: logs.drains[0].fields: what stands where in a record of kind `vercel` is known",
        "c.yaml:15: logs.drains[0].file: only a drain of kind `file` follows a file",
        "c.yaml:16: logs.drains[1].name: a source has this name",
        "c.yaml:18: logs.drains[1].path: a drain of kind `file` is not posted to",
        "c.yaml:19: logs.drains[1].token: a drain of kind `file` is not posted to",
        "c.yaml:20: logs.drains[1].allow_anyone: a drain of kind `file` is not posted to",
        "c.yaml:23: logs.drains[2].path: Rowmetry answers this path itself",
        "c.yaml:24: logs.drains[2].token_header: expected the name of a header",
        "c.yaml:25: logs.drains[2].signature.algorithm: expected one of sha256, sha1",
        "c.yaml:25: logs.drains[2].signature.colour: there is no such key",
        "c.yaml:25: logs.drains[2].signature.header: expected the name of a header",
        "c.yaml:25: logs.drains[2].signature.prefix: it cannot stand in a header",
        "c.yaml:26: logs.drains[2].verify: only Vercel asks for a code",
        "c.yaml:27: logs.drains[2].streams: name at least one of application, postgres",
        "c.yaml:28: logs.drains[2].database: there is no source `mian`; did you mean `main`?",
        "c.yaml:29: logs.drains[2].packs[0]: there is no pack `plant`; did you mean `plants`?",
        "c.yaml:30: logs.drains[2].skip[0]: there is no collector `plants/sprout`; did you mean `plants/sprouts`?",
        "c.yaml:31: logs.drains[3].name: another drain has this name",
        "c.yaml:33: logs.drains[3].token_file: the file cannot be read",
        "c.yaml:34: logs.drains[3].path: a path begins with `/`",
        "c.yaml:35: logs.drains[3].database: this source is no database",
        "c.yaml:36: logs.drains[3].fields: what stands where in a record of kind `supabase` is known",
        "c.yaml:37: logs.drains[4].secret: a drain of kind `stdin` is not posted to",
        "c.yaml:38: logs.drains[5].kind: another drain reads standard input",
        "c.yaml:40: logs.drains[7].file: another drain follows this file",
        "c.yaml:42: logs.drains[9].name: another drain is posted to at this path",
        "c.yaml:43: logs.drains[10].kind: expected one of vercel, supabase, http, otlp, file, stdin",
    ];
    for wanted in wanted {
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted}\nnot in {told:#?}");
    }
    // What is missing is not told while something was not understood: it may be there.
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
}

#[test]
fn what_is_missing_of_a_drain_is_told() {
    for (yaml, wanted) in [
        ("{name: a}", "@: `kind` is missing: say how lines come, by one of vercel, supabase, http, otlp, file, stdin"),
        ("{name: a, kind: file}", "@: `file` is missing"),
        ("{name: a, kind: file, file: ''}", "@.file: the file's name is empty"),
        ("{name: a, kind: http}", "@: nothing shows who may post here"),
        ("{name: a, kind: vercel, verify: x, allow_anyone: false}", "@: nothing shows who may post here"),
        ("{name: a, kind: http, token: t, allow_anyone: true}", "@.allow_anyone: a secret or a token is given too"),
        (
            "{name: a, kind: http, token: t, signature: {}}",
            "@.signature: it says how bodies are signed, but not with what",
        ),
        ("{name: a, kind: http, secret: t, token_header: x}", "@.token_header: it says where the token stands"),
        ("{name: a, kind: http, token: ' '}", "@.token: the token is empty"),
        ("{name: a, kind: http, token: '${EMPTY}'}", "@.token: the token is empty"),
        ("{name: a, kind: http, secret_file: FOLDER/blank}", "@.secret_file: the secret is empty"),
        ("{name: a, kind: vercel, secret: k, verify: ''}", "@.verify: the code is empty"),
        ("{name: a, kind: http, token: \"a\\nb\"}", "@.token: it cannot stand in a header"),
        ("{name: a, kind: http, token: 'Bearer abc'}", "@.token: no sender can show it: write the token alone"),
        ("{name: a, kind: http, token_file: FOLDER/odd}", "@.token_file: it cannot stand in a header"),
        ("{name: a, kind: http, token: t, fields: {message: []}}", "@.fields.message: expected the name of a field"),
        ("{name: a, kind: http, token: t, fields: {id: [a, '']}}", "@.fields.id: expected the name of a field"),
        ("{name: a, kind: http, token: t, streams: [database]}", "@.streams[0]: expected one of application, postgres"),
        ("{name: a, kind: http, token: '${NONE}'}", "@.token: the environment variable NONE is not set"),
    ] {
        let told = told(yaml);
        let is_kind = yaml == "{name: a}";
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{yaml}\n{told:#?}");
        assert_eq!(told.len(), if is_kind { 2 } else { 1 }, "{yaml}\n{told:#?}");
    }
}

#[test]
fn a_path_is_one_that_senders_keep_and_the_server_does_not_answer_itself() {
    let path = |path: &str| told(&format!("{{name: a, kind: http, token: t, path: '{path}'}}"));
    for bad in [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/status",
        "/-/reload",
        "/-/x",
        "x",
        "",
        "/a b",
        "/a?b=c",
        "/ä",
        "/a/../b",
        "/%41",
    ] {
        assert_eq!(path(bad).len(), 1, "{bad}");
    }
    assert_eq!(path(&format!("/{}", "a".repeat(300))).len(), 1);
    for fine in ["/v1/logs", "/drains", "/metrics/x", "/a~b_c-d.e", "/-a"] {
        assert_eq!(path(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn limits_hold_together() {
    let told =
        |logs: &str| read(&format!("sources: [{{name: main, url: a.db}}]\nlogs: {logs}\n")).err().unwrap_or_default();
    for (logs, wanted) in [
        ("{body_bytes: 100000000}", "body_bytes: `body_bytes` (100000000) is more than `unpacked_bytes` (20971520)"),
        ("{unpacked_bytes: 5000}", "unpacked_bytes: `body_bytes` (8388608) is more than `unpacked_bytes` (5000)"),
        ("{waiting_bytes: 5000}", "waiting_bytes: `unpacked_bytes` (20971520) is more than `waiting_bytes` (5000)"),
        (
            "{body_bytes: 2000, unpacked_bytes: 2000, waiting_bytes: 2000, line_bytes: 2001}",
            "line_bytes: `line_bytes` (2001) is more than `unpacked_bytes` (2000)",
        ),
        ("{remembered_lines: 1}", "remembered_lines: expected a number from 100"),
        ("{runs: 0}", "runs: expected a number from 1"),
        ("{listen: '0.0.0.0:9469'}", "listen: `/metrics` is served at this port already"),
        ("{listen: '127.0.0.1:9469'}", "listen: `/metrics` is served at this port already"),
    ] {
        let told = told(logs);
        assert!(told.iter().any(|told| told.starts_with(&format!("c.yaml:2: logs.{wanted}"))), "{logs}\n{told:#?}");
    }
    for fine in ["{listen: '127.0.0.2:9469'}", "{listen: '127.0.0.1:9470'}", "{listen: '127.0.0.1:0'}"] {
        assert_eq!(told(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn something_says_which_packs_count_the_lines() {
    let drain = |more: &str| format!("logs: {{drains: [{{name: d, kind: stdin{more}}}]}}\n");
    let two = "sources: [{name: a, url: a.db}, {name: b, url: b.db}, {name: c, url: 'redis://h'}]\n";
    for (config, wanted) in [
        (drain(""), "nothing says which packs count these lines, and there is no database"),
        (format!("{two}{}", drain("")), "nothing says which packs count these lines, and there are 2 databases"),
    ] {
        let told = read(&config).expect_err("nothing says it");
        assert!(told.len() == 1 && told[0].contains(wanted), "{told:#?}");
    }
    let alone = read(&drain(", packs: [plants]")).unwrap_or_else(|told| panic!("{told:#?}"));
    assert_eq!((alone.sources.len(), alone.logs.drains[0].database.as_deref()), (0, None), "a drain is enough to read");
    let second = read(&format!("{two}{}", drain(", database: b"))).unwrap_or_else(|told| panic!("{told:#?}"));
    assert_eq!(second.logs.drains[0].database.as_deref(), Some("b"));
}

#[test]
fn variables_alone_open_drains() {
    let load = |variables: &[(&str, &str)]| {
        let look_up =
            |asked: &str| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
        load(&Overrides::default(), &look_up)
    };
    let database = ("DATABASE_URL", "a.db");
    let both = [
        database,
        ("VERCEL_DRAIN_SECRET", "hunter2"),
        ("VERCEL_DRAIN_VERIFY", "c0de"),
        ("ROWMETRY_DRAIN_TOKEN", " t0k3n "),
    ];
    let settings = load(&both).unwrap_or_else(|errors| panic!("{errors}"));
    let [vercel, logs] = settings.logs.drains.as_slice() else { panic!("two drains") };
    assert_eq!(
        (vercel.name.as_str(), vercel.kind.as_str(), vercel.path.as_str()),
        ("vercel", "vercel", "/drains/vercel")
    );
    assert_eq!((logs.name.as_str(), logs.kind.as_str(), logs.path.as_str()), ("logs", "http", "/drains/logs"));
    assert_eq!(secrets(&vercel.auth)[2..], [Some("hunter2"), Some("x-vercel-signature"), Some(""), Some("c0de")]);
    assert_eq!(secrets(&logs.auth)[0], Some("t0k3n"));
    assert!(settings.logs.drains.iter().all(|drain| drain.database.as_deref() == Some("default")));
    assert!(!format!("{settings:?}").contains("hunter2"));

    let none = load(&[database, ("VERCEL_DRAIN_SECRET", ""), ("ROWMETRY_DRAIN_TOKEN", " ")]).expect("a database");
    assert_eq!(none.logs.drains.len(), 0, "an empty variable is none");
    for (variables, wanted) in [
        (&[("VERCEL_DRAIN_SECRET", "hunter2")][..], "environment: VERCEL_DRAIN_SECRET: nothing says which packs"),
        (
            &[("REDIS_URL", "redis://h"), ("ROWMETRY_DRAIN_TOKEN", "hunter2")],
            "environment: ROWMETRY_DRAIN_TOKEN: nothing says",
        ),
        (&[database, ("VERCEL_DRAIN_VERIFY", "c")], "environment: VERCEL_DRAIN_VERIFY: its secret is missing"),
    ] {
        let errors = load(variables).expect_err(wanted).to_string();
        assert!(errors.starts_with(wanted) && errors.lines().count() == 1 && !errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn a_file_without_drains_opens_none_whatever_the_variables_hold() {
    let folder = folder("sources: [{name: a, url: a.db}]\n");
    let variable = |name: &str| (name == "ROWMETRY_DRAIN_TOKEN").then(|| "hunter2".to_owned());
    let settings = load(&overrides(folder.path()), &variable).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(settings.logs.drains.len(), 0);
}

#[test]
fn a_fingerprint_changes_with_each_setting_and_prints_nowhere() {
    let settings = |drain: &str| good(&format!("{{drains: [{{name: a, kind: vercel, {drain}}}]}}"));
    let first = settings("secret: s3cret").fingerprint();
    assert_eq!(first, settings("secret: s3cret").fingerprint());
    let others =
        ["secret: other", "token: s3cret", "secret: s3cret, verify: x", "secret: s3cret, token_header: x, token: y"];
    for other in others.map(|other| settings(other).fingerprint()) {
        assert_ne!(first, other);
    }
    let limits = LogSettings { listen: Some(([127, 0, 0, 1], 1).into()), ..settings("secret: s3cret") };
    assert_ne!(first, limits.fingerprint());
    assert!(
        !format!("{:?}", drain("{name: a, kind: vercel, secret: s3cret, token: s3cret, verify: s3cret}"))
            .contains("s3cret")
    );
}
