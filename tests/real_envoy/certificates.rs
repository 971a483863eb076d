//! A throw-away certificate authority and leaf certificates with SPIFFE ids, as Consul's Connect CA issues them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::path::{Path, PathBuf};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    trust_domain: String,
}

/// Files of one workload's certificate and key.
pub struct Leaf {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(trust_domain: &str, directory: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority =
            Authority { issuer, directory: directory.to_owned(), trust_domain: trust_domain.to_owned() };
        std::fs::write(authority.roots(), authority.issuer.pem()).unwrap();
        authority
    }

    pub fn roots(&self) -> PathBuf {
        self.directory.join("roots.pem")
    }

    pub fn issue(&self, spiffe_id: &str) -> Leaf {
        assert!(spiffe_id.starts_with(&format!("spiffe://{}/", self.trust_domain)));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![uri(spiffe_id)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let name = spiffe_id.rsplit('/').next().unwrap();
        let leaf = Leaf {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        std::fs::write(&leaf.certificate, certificate.pem()).unwrap();
        std::fs::write(&leaf.key, key.serialize_pem()).unwrap();
        leaf
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}
