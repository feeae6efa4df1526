use std::io::{self, Write};
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::*;

/// A log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn endpoint(url: &str, protocol: OtlpProtocol) -> OtlpEndpoint {
    OtlpEndpoint::new(Url::parse(url).expect("a URL"), protocol)
}

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc];

#[tokio::test]
async fn a_warning_is_told_once_and_everything_was_taken() {
    let transport = Transport::new(&endpoint("http://host:4318/", OtlpProtocol::HttpProtobuf)).expect("it is good");
    let log = Log::default();
    let kept = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || kept.clone()).finish();
    let warning = |message: &str| Answer::Partial { rejected: 0, message: message.into() };
    tracing::subscriber::with_default(subscriber, || {
        for message in ["deprecated field", "deprecated field", "slow down"] {
            assert_eq!(transport.told(warning(message)), Answer::Accepted);
            assert_eq!(transport.clone().told(warning(message)), Answer::Accepted);
        }
    });
    let log = String::from_utf8(log.0.lock().expect("nobody panics").clone()).expect("text");
    assert_eq!((log.matches("deprecated field").count(), log.matches("slow down").count()), (1, 1), "{log}");
    assert!(log.contains("http://host:4318"), "{log}");
    let partial = Answer::Partial { rejected: 1, message: "old".into() };
    assert_eq!(transport.told(partial.clone()), partial);
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    for protocol in BOTH {
        let mut endpoint = endpoint("https://user:hunter2@host:4317/v1/traces/keykeykey?token=s3cret", protocol);
        endpoint.headers = vec![("x-key".into(), SecretString::from("s3cret"))];
        let transport = Transport::new(&endpoint).expect("it is good");
        let shown = format!("{transport:?} {:?}", transport.headers());
        for secret in ["hunter2", "s3cret", "keykeykey", "Basic"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("https://host:4317"), "{shown}");
        assert_eq!(transport.headers()["authorization"], "Basic dXNlcjpodW50ZXIy");
        endpoint.headers.push(("authorization".into(), SecretString::from("Bearer other")));
        let transport = Transport::new(&endpoint).expect("it is good");
        assert_eq!(transport.headers()["authorization"], "Bearer other");
        assert_eq!(transport.headers().get_all("authorization").iter().count(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_its_name_and_mend() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("there is room");
        path
    };
    let empty = file("empty.pem", "");
    let broken = file("broken.pem", "-----BEGIN PRIVATE KEY-----\ns3cret\n");
    let missing = folder.path().join("missing.pem");
    for protocol in BOTH {
        let complaint = |change: &dyn Fn(&mut OtlpEndpoint)| {
            let mut endpoint = endpoint("https://host:1/", protocol);
            change(&mut endpoint);
            let complaint = Transport::new(&endpoint).expect_err("it is bad").to_string();
            assert!(!complaint.contains("s3cret"), "{complaint}");
            complaint
        };
        for (name, value, wanted) in [
            ("x key", "s3cret", "header `x key` is no name"),
            ("x-key", "s3cret\r\nx: y", "header `x-key` has a value"),
            ("content-type", "s3cret", "header `content-type` is written by the transport itself"),
            ("Content-Encoding", "s3cret", "take it out"),
        ] {
            let said = complaint(&|endpoint| endpoint.headers = vec![(name.into(), SecretString::from(value))]);
            assert!(said.contains(wanted), "{said}");
        }
        for path in [&empty, &missing] {
            let said = complaint(&|endpoint| endpoint.ca_file = Some(path.clone()));
            assert!(said.contains(&path.display().to_string()) && said.contains("in PEM"), "{said}");
        }
        let pair = |certificate: &PathBuf, key: &PathBuf| {
            let pair = (certificate.clone(), key.clone());
            complaint(&move |endpoint| endpoint.client_certificate = Some(pair.clone()))
        };
        for path in [&empty, &missing] {
            let said = pair(path, &broken);
            assert!(said.contains(&format!("client certificate {}", path.display())), "{said}");
        }
    }
}
