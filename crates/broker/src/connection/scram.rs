//! SCRAM (RFC 5802, RFC 7677) as Kafka uses it: no channel binding, no extensions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Iterations beyond this only serve to keep us busy. Kafka's own upper limit is 16384.
const ITERATIONS_MAX: u32 = 1 << 20;
/// Kafka's and RFC 7677's lower limit: fewer would give an attacker who plays the broker an easy hash.
const ITERATIONS_MIN: u32 = 4096;

/// Which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// The conversation, after the first message is made.
pub(super) struct Scram {
    hash: Hash,
    nonce: String,
    first_bare: String,
}

/// What the last answer must carry.
pub(super) struct Expected(Vec<u8>);

impl Scram {
    /// Begins with `nonce`, at least 16 random printable characters without comma; gives the first message too.
    pub(super) fn begin(hash: Hash, username: &str, nonce: String) -> (Self, String) {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        let first = format!("n,,{first_bare}");
        let scram = Self {
            hash,
            nonce,
            first_bare,
        };
        (scram, first)
    }

    /// Reads the broker's challenge; gives the proof and what the broker must show in return.
    ///
    /// # Errors
    /// When the challenge is malformed, answers another nonce, or asks for a number of rounds out of range.
    pub(super) fn prove(&self, password: &str, challenge: &str) -> Result<(String, Expected), String> {
        let nonce = field(challenge, "r=").ok_or("the challenge has no nonce")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the challenge does not answer our nonce".to_owned());
        }
        let salt = field(challenge, "s=").ok_or("the challenge has no salt")?;
        let salt = STANDARD.decode(salt).map_err(|_| "the salt is not base64")?;
        let iterations: u32 = field(challenge, "i=")
            .and_then(|text| text.parse().ok())
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .ok_or("the number of iterations is missing or out of range")?;
        let salted = self.hash.salt(password.as_bytes(), &salt, iterations);
        let final_bare = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{final_bare}", self.first_bare);
        let client_key = self.hash.mac(&salted, b"Client Key");
        let signature = self.hash.mac(&self.hash.digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        let server_key = self.hash.mac(&salted, b"Server Key");
        let expected = Expected(self.hash.mac(&server_key, message.as_bytes()));
        Ok((format!("{final_bare},p={}", STANDARD.encode(proof)), expected))
    }
}

impl Expected {
    /// Checks that the broker knows the password too.
    ///
    /// # Errors
    /// When it refused, or its signature is wrong.
    pub(super) fn check(&self, last: &str) -> Result<(), String> {
        if let Some(error) = field(last, "e=") {
            return Err(error.to_owned());
        }
        let signature = field(last, "v=").and_then(|text| STANDARD.decode(text).ok());
        // The comparison need not be constant in time: the expected value is the broker's own to know.
        if signature.as_deref() != Some(&self.0) {
            return Err("the broker's signature is wrong: it does not know the password".to_owned());
        }
        Ok(())
    }
}

impl Hash {
    fn salt(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
            Self::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec(),
        }
    }

    fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, message),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, message),
        }
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so that this cannot fail.
    let Ok(mut mac) = <M as Mac>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The value of the attribute `name` (with its `=`) among comma-separated ones.
fn field<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.split(',').find_map(|part| part.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// The conversation in RFC 7677, section 3.
    #[test]
    fn follows_the_example_of_rfc_7677() {
        let (scram, first) = Scram::begin(Hash::Sha256, "user", NONCE.to_owned());
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (proof, expected) = scram.prove("pencil", CHALLENGE).unwrap();
        assert!(
            proof.ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
            "{proof}"
        );
        assert!(
            expected
                .check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
                .is_ok()
        );
    }

    #[test]
    fn a_broker_without_the_password_is_refused() {
        let (scram, _) = Scram::begin(Hash::Sha256, "user", NONCE.to_owned());
        let (_, expected) = scram.prove("other", CHALLENGE).unwrap();
        for last in [
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            "v=",
            "",
            "e=invalid-proof",
        ] {
            assert!(expected.check(last).is_err(), "{last}");
        }
    }

    #[test]
    fn hostile_challenges_are_refused() {
        let (scram, _) = Scram::begin(Hash::Sha512, "a,b=c", NONCE.to_owned());
        assert_eq!(scram.first_bare, format!("n=a=2Cb=3Dc,r={NONCE}"));
        for challenge in [
            "".to_owned(),
            "r=another,s=W22Z,i=4096".to_owned(),
            format!("r={NONCE},s=W22Z,i=4096"),
            CHALLENGE.replace("i=4096", "i=1"),
            CHALLENGE.replace("i=4096", "i=4000000000"),
            CHALLENGE.replace("s=W22", "s=!"),
        ] {
            assert!(scram.prove("x", &challenge).is_err(), "{challenge}");
        }
    }
}
