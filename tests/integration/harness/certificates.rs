//! Certificates of an authority of our own, made by `openssl`: good ones, and each kind of bad one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::guard::{self, Folder};
use super::program;

/// What `openssl ca` wants to know.
const CONFIG: &str = "[ca]\ndefault_ca = own\n[own]\nnew_certs_dir = .\ndatabase = index.txt\nserial = serial\n\
    default_md = sha256\npolicy = any\nunique_subject = no\n[any]\ncommonName = supplied\n[req]\ndistinguished_name = name\n[name]\n";

/// An authority.
pub struct Authority {
    folder: Folder,
    name: String,
}

impl Authority {
    /// A new authority, known to nobody.
    pub fn new(name: &str) -> Authority {
        let folder = Folder::new("authority");
        for (file, text) in [("openssl.cnf", CONFIG), ("index.txt", ""), ("serial", "01\n")] {
            folder.write(file, text);
        }
        let authority = Authority { folder, name: name.to_owned() };
        let subject = format!("/CN={name}");
        authority.openssl(&[
            "req",
            "-config",
            "openssl.cnf",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:true",
        ]);
        authority
    }

    /// The PEM file to trust.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server's side of TLS, with a certificate for this host that is good until this time (`YYYYMMDDHHMMSSZ`).
    pub fn server(&self, host: &str, until: &str) -> rustls::ServerConfig {
        let [certificate, key] = self.issue("server", host, until);
        config(&certificate, &key, WebPkiClientVerifier::no_client_auth())
    }

    /// The same for a server that wants to see a certificate of this authority from each client.
    pub fn server_for_clients(&self, host: &str, until: &str) -> rustls::ServerConfig {
        let [certificate, key] = self.issue("server", host, until);
        let authority = CertificateDer::from_pem_file(self.file()).expect("openssl wrote it");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority).expect("it is an authority");
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        config(&certificate, &key, clients.build().expect("there is one authority"))
    }

    /// The PEM files of a client of this name: its certificate and its key.
    pub fn client(&self, name: &str) -> [PathBuf; 2] {
        self.issue(&format!("client-{name}"), name, "20991231235959Z")
    }

    /// A certificate and its key, in files of this name.
    fn issue(&self, file: &str, host: &str, until: &str) -> [PathBuf; 2] {
        let [certificate, key, request] = ["pem", "key", "csr"].map(|kind| format!("{file}.{kind}"));
        let subject = format!("/CN={host}");
        let names = self.folder.write("names.cnf", format!("subjectAltName=DNS:{host}\n"));
        let names = names.display().to_string();
        self.openssl(&[
            "req",
            "-config",
            "openssl.cnf",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &subject,
        ]);
        self.openssl(&[
            "ca",
            "-config",
            "openssl.cnf",
            "-batch",
            "-notext",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            &request,
            "-out",
            &certificate,
            "-startdate",
            "20200101000000Z",
            "-enddate",
            until,
            "-extfile",
            &names,
        ]);
        [certificate, key].map(|file| self.folder.path().join(file))
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = guard::command_as(None, program("openssl"), self.folder.path())
            .args(arguments)
            .output()
            .expect("openssl can be started");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "openssl {arguments:?} failed for {}: {said}", self.name);
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn config(certificate: &Path, key: &Path, clients: Arc<dyn ClientCertVerifier>) -> rustls::ServerConfig {
    let certificate = CertificateDer::from_pem_file(certificate).expect("openssl wrote it");
    let key = PrivateKeyDer::from_pem_file(key).expect("openssl wrote it");
    rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate belong together")
}
