//! Certificates made for one test: a CA, what it signs, and one that nobody knows.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

/// A folder with PEM files.
pub(crate) struct Certificates {
    folder: PathBuf,
    ca: Issuer<'static, KeyPair>,
    /// Removes the folder at the end.
    _own: Option<TempDir>,
}

impl Certificates {
    /// A CA (`ca.pem`) and a server certificate (`server.pem`, `server.key`) that it signs for
    /// `localhost` and 127.0.0.1.
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().expect("a folder");
        let made = Self::within(own.path().to_owned());
        Self { _own: Some(own), ..made }
    }

    /// The same in a folder that somebody else removes.
    pub(crate) fn within(folder: PathBuf) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority("txguard test CA");
        let certificate = params.self_signed(&key).expect("a certificate");
        let certificates = Self { folder, ca: Issuer::new(params, key), _own: None };
        certificates.write("ca.pem", &certificate.pem());
        certificates.sign("server", &["localhost", "127.0.0.1"], false);
        certificates
    }

    /// NAME.pem and NAME.key, signed by the CA for these names; perhaps expired.
    pub(crate) fn sign(&self, name: &str, hosts: &[&str], expired: bool) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).expect("host names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// NAME.pem of a CA that has signed nothing here.
    pub(crate) fn stranger(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let certificate = authority(name).self_signed(&key).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
    }

    /// The CA's certificate.
    pub(crate) fn authority(&self) -> String {
        std::fs::read_to_string(self.path("ca.pem")).expect("just written")
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path as a text of the configuration.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a writable folder");
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no host names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
