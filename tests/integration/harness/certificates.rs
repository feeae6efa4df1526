//! Certificates of an authority of our own, made by `openssl`: good ones, and each kind of bad one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
            "server.key",
            "-out",
            "server.csr",
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
            "server.csr",
            "-out",
            "server.pem",
            "-startdate",
            "20200101000000Z",
            "-enddate",
            until,
            "-extfile",
            &names,
        ]);
        config(&self.folder.path().join("server.pem"), &self.folder.path().join("server.key"))
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

fn config(certificate: &Path, key: &Path) -> rustls::ServerConfig {
    let certificate = CertificateDer::from_pem_file(certificate).expect("openssl wrote it");
    let key = PrivateKeyDer::from_pem_file(key).expect("openssl wrote it");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate belong together")
}
