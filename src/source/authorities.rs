//! Certificates of an operator's own authorities, from a PEM file.
//!
//! Whether such a file is named is not decided here, and nothing of its content is repeated.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The authorities in a file, to be trusted in place of the public ones.
///
/// # Errors
/// When it cannot be read or holds no certificate; the message names the file and the mend.
pub fn read(file: &Path) -> Result<RootCertStore, String> {
    let amiss = |what: String| format!("`ca_file` {}: {what}; name a file with certificates in PEM", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| amiss(error.to_string()))? {
        let certificate = certificate.map_err(|error| amiss(error.to_string()))?;
        roots.add(certificate).map_err(|error| amiss(error.to_string()))?;
    }
    if roots.is_empty() { Err(amiss("it holds no certificate".into())) } else { Ok(roots) }
}
