//! Makes certificates that fit the profile: roots, node certificates, user certificates, and a
//! complete example PKI.

mod fault;
mod request;

pub use fault::{certificate_fault, key_fault};
pub use request::{Request, request};

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};

use crate::id::{AuthorityId, Entropy, Secret, Timestamp};
use crate::jose::SigningKey;
use crate::text;

/// Validity of certificates made here, in days: within the profile's 398.
const LEAF_DAYS: i64 = 397;

/// Validity of a root made here, in days.
const ROOT_DAYS: i64 = 3650;

/// The first people of a home for trials, one role each.
pub const FIRST_USERS: [&str; 4] = ["officer", "coordinator", "administrator", "auditor"];

/// The first people of every other home, who add the others.
pub const FIRST_TWO: [&str; 2] = ["coordinator", "administrator"];

/// Why a certificate or key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// rcgen refused.
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A key file has no usable key.
    #[error("the key file {0}")]
    Key(&'static str),
    /// A CA's key and certificate are not a pair: nobody could verify what they sign.
    #[error("the key does not belong to the certificate")]
    ForeignKey,
    /// A certificate request is refused.
    #[error("the certificate request is refused: {0}")]
    Request(&'static str),
    /// A file cannot be written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// A new file has the name of an existing one.
    #[error("{0} is there already, and is not written over: name another, or move it away")]
    Exists(String),
    /// The passphrase is wrong, or this is not an identity key.
    #[error("the identity key does not open: wrong passphrase, or not an identity key")]
    Identity,
}

/// A certificate authority and its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

/// A certificate with its key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: Secret<String>,
}

impl Authority {
    /// A new root of this name; each must have a name of its own.
    ///
    /// # Errors
    /// When rcgen refuses.
    pub fn new(name: &str, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, now, ROOT_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// From its files.
    ///
    /// # Errors
    /// When they are not a CA, or the key does not belong to it.
    pub fn open(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem).map_err(|error| {
            key_fault(key_pem.as_bytes()).map_or(PkiError::Certificate(error), PkiError::Key)
        })?;
        let own =
            x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()).is_ok_and(|(_, pem)| {
                let certificate = pem.parse_x509();
                certificate.is_ok_and(|c| c.public_key().raw == key.subject_public_key_info())
            });
        if !own {
            return Err(PkiError::ForeignKey);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)?;
        Ok(Self { issuer, certificate_pem: certificate_pem.to_owned() })
    }

    /// The root itself, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key, as PEM.
    pub fn key_pem(&self) -> Secret<String> {
        Secret::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for the node of `authority`. Entente itself looks only at its URI; `hosts`,
    /// DNS names and IP addresses, are for other gRPC clients, which connect only if the
    /// certificate contains the host that they called.
    ///
    /// # Errors
    /// When a host is neither, or rcgen refuses.
    pub fn node(
        &self,
        authority: &AuthorityId,
        hosts: &[String],
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let mut names = vec![uri(&authority.uri())?];
        for host in hosts {
            names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            });
        }
        self.leaf(&format!("{authority} node"), names, usages, now)
    }

    /// A certificate for a person or system of `authority`.
    ///
    /// # Errors
    /// When rcgen refuses.
    pub fn user(
        &self,
        authority: &AuthorityId,
        name: &str,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let names = vec![uri(&user_uri(authority, name))?];
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(&format!("{name} of {authority}"), names, usages, now)
    }

    fn leaf(
        &self,
        name: &str,
        names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate_pem = self.certify(&key, name, names, usages, now)?;
        Ok(Issued { certificate_pem, key_pem: Secret::new(key.serialize_pem()) })
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        name: &str,
        names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let mut params = params(name, now, LEAF_DAYS);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

fn uri(uri: &str) -> Result<SanType, PkiError> {
    Ok(SanType::URI(uri.try_into()?))
}

fn user_uri(authority: &AuthorityId, name: &str) -> String {
    format!("{}/user/{name}", authority.uri())
}

/// Certificates are valid from a day ago, because clocks differ.
fn params(name: &str, now: Timestamp, days: i64) -> CertificateParams {
    let at = |seconds| {
        time::OffsetDateTime::from_unix_timestamp(seconds)
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = at(now.seconds() - 86_400);
    params.not_after = at(now.seconds() + (days - 1) * 86_400);
    params
}

/// Hosts in the certificates of the example PKI: its nodes run on this machine.
const EXAMPLE_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes a complete example PKI below `folder`: for each authority its roots, its node's
/// certificate, its user CA and the first users.
///
/// # Errors
/// When a file exists already or can't be written.
pub fn write_example(
    folder: &Path,
    authorities: &[AuthorityId],
    now: Timestamp,
) -> Result<(), PkiError> {
    for authority in authorities {
        let folder = folder.join(authority.as_str());
        let root = Authority::new(&format!("{authority} example node CA"), now)?;
        let node = root.node(authority, &EXAMPLE_HOSTS.map(str::to_owned), now)?;
        let users = Authority::new(&format!("{authority} example user CA"), now)?;
        make_folder(&folder.join("users"))?;
        write_file(&folder.join("roots.pem"), root.certificate_pem(), 0o644)?;
        write_issued(&folder, "node", &node)?;
        write_file(&folder.join("user-ca.pem"), users.certificate_pem(), 0o644)?;
        write_file(&folder.join("user-ca.key"), users.key_pem().expose(), 0o600)?;
        for name in FIRST_USERS {
            write_issued(&folder.join("users"), name, &users.user(authority, name, now)?)?;
        }
    }
    Ok(())
}

/// Writes `<name>.pem` and `<name>.key`.
///
/// # Errors
/// When a file exists already or can't be written.
pub fn write_issued(folder: &Path, name: &str, issued: &Issued) -> Result<(), PkiError> {
    write_file(&folder.join(format!("{name}.pem")), &issued.certificate_pem, 0o644)?;
    write_file(&folder.join(format!("{name}.key")), issued.key_pem.expose(), 0o600)
}

/// Makes a folder that only its owner can read, and its parents; durable when this returns.
///
/// # Errors
/// When it can't be made.
pub fn make_folder(path: &Path) -> Result<(), PkiError> {
    let named = path.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    let missing: Vec<_> = named.take_while(|folder| !folder.exists()).collect();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    let synced = made.and_then(|()| {
        missing.into_iter().try_for_each(|made| sync(made).and_then(|()| sync_above(made)))
    });
    synced.map_err(|error| PkiError::File(path.display().to_string(), error))
}

/// Writes a new file; one that exists is never overwritten. It is durable when this returns.
///
/// # Errors
/// When it exists already or can't be written.
pub fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|file| write_synced(file, path, text));
    written.map_err(|error| {
        let path = path.display().to_string();
        match error.kind() {
            io::ErrorKind::AlreadyExists => PkiError::Exists(path),
            _ => PkiError::File(path, error),
        }
    })
}

/// Writes a file, replacing an existing one: after a crash it is completely the old one or the new
/// one.
///
/// # Errors
/// When it can't be written.
pub fn replace_file(path: &Path, text: &str) -> Result<(), PkiError> {
    let beside = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside);
    let written = file.and_then(|file| write_synced(file, &beside, text));
    let written = written.and_then(|()| std::fs::rename(&beside, path));
    let written = written.and_then(|()| sync_above(path));
    written.map_err(|error| PkiError::File(path.display().to_string(), error))
}

/// A file that was not synced may be gone after a power cut, though a later one is there.
fn write_synced(mut file: File, path: &Path, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_above(path)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folder that contains a path, if it may be read; a folder that may only be written to is for
/// its owner to sync.
fn sync_above(path: &Path) -> io::Result<()> {
    let synced = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => sync(Path::new(".")),
        Some(above) => sync(above),
        None => Ok(()),
    };
    match synced {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// A signing key as PKCS#8 PEM, for the home folder.
///
/// # Errors
/// When it can't be encoded.
pub fn signing_key_pem(key: &SigningKey) -> Result<Secret<String>, PkiError> {
    let dalek = ed25519_dalek::SigningKey::from_bytes(key.seed().expose());
    let pem = dalek.to_pkcs8_pem(pkcs8::LineEnding::LF).map_err(|_| PkiError::Identity)?;
    Ok(Secret::new(pem.to_string()))
}

/// Reads what [`signing_key_pem`] made.
///
/// # Errors
/// When it is not an Ed25519 key.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, PkiError> {
    let file = |error| PkiError::File(path.display().to_string(), error);
    let pem = Secret::new(text::read(path).map_err(file)?);
    let dalek = ed25519_dalek::SigningKey::from_pkcs8_pem(pem.expose())
        .map_err(|_| {
            key_fault(pem.expose().as_bytes()).unwrap_or("holds no Ed25519 key in PKCS#8 PEM")
        })
        .map_err(|fault| file(std::io::Error::other(fault)))?;
    Ok(SigningKey::from_seed(Secret::new(dalek.to_bytes())))
}

/// First line of an identity key file; the authority's name follows it.
const IDENTITY_LINE: &str = "entente identity of ";

/// An identity key under its passphrase: PKCS#8, PBES2 with scrypt and AES-256, below a line with
/// the authority's name.
///
/// # Errors
/// When it can't be encrypted.
pub fn seal_identity(
    key: &SigningKey,
    authority: &AuthorityId,
    passphrase: &Secret<String>,
    entropy: &Entropy,
) -> Result<String, PkiError> {
    let dalek = ed25519_dalek::SigningKey::from_bytes(key.seed().expose());
    let der = dalek.to_pkcs8_der().map_err(|_| PkiError::Identity)?;
    let info = PrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|_| PkiError::Identity)?;
    let (salt, iv): ([u8; 16], [u8; 16]) = (entropy.bytes(), entropy.bytes());
    let scrypt =
        pkcs8::pkcs5::scrypt::Params::new(SCRYPT_LOG_N, 8, 1).map_err(|_| PkiError::Identity)?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv)
        .map_err(|_| PkiError::Identity)?;
    let sealed = info
        .encrypt_with_params(parameters, passphrase.expose())
        .map_err(|_| PkiError::Identity)?;
    let pem = sealed.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF);
    Ok(format!("{IDENTITY_LINE}{authority}\n{}", *pem.map_err(|_| PkiError::Identity)?))
}

/// Work factor of scrypt, as a power of two: about 100 ms and 32 MiB for each try.
const SCRYPT_LOG_N: u8 = 15;

/// Opens what [`seal_identity`] made.
///
/// # Errors
/// When the passphrase is wrong or the text is not an identity key.
pub fn open_identity(
    text: &str,
    passphrase: &Secret<String>,
) -> Result<(AuthorityId, SigningKey), PkiError> {
    let (line, pem) = text.split_once('\n').ok_or(PkiError::Identity)?;
    let authority = line.strip_prefix(IDENTITY_LINE).and_then(|name| name.trim().parse().ok());
    let authority = authority.ok_or(PkiError::Identity)?;
    let (_, sealed) = pkcs8::Document::from_pem(pem).map_err(|_| PkiError::Identity)?;
    let sealed =
        EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).map_err(|_| PkiError::Identity)?;
    let opened = sealed.decrypt(passphrase.expose()).map_err(|_| PkiError::Identity)?;
    let dalek = ed25519_dalek::SigningKey::from_pkcs8_der(opened.as_bytes())
        .map_err(|_| PkiError::Identity)?;
    Ok((authority, SigningKey::from_seed(Secret::new(dalek.to_bytes()))))
}
