//! Fingerprints of the Parsing Canonical Form (Avro specification, "Schema Fingerprints").

use md5::{Digest, Md5};
use sha2::Sha256;

use super::model::Schema;

const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

impl Schema {
    /// CRC-64-AVRO (Rabin) of the canonical form. On the wire (single-object encoding) it is little-endian.
    pub fn fingerprint_crc64(&self) -> u64 {
        crc64(self.canonical_form().as_bytes())
    }

    /// MD5 of the canonical form.
    pub fn fingerprint_md5(&self) -> [u8; 16] {
        Md5::digest(self.canonical_form()).into()
    }

    /// SHA-256 of the canonical form.
    pub fn fingerprint_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.canonical_form()).into()
    }
}

/// The specification's CRC-64 bit by bit; a schema is fingerprinted once, so a table would not pay.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |crc, byte| {
        let low = (crc ^ u64::from(*byte)) & 0xff;
        let folded = (0..8).fold(low, |bits, _| (bits >> 1) ^ (EMPTY & (bits & 1).wrapping_neg()));
        (crc >> 8) ^ folded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of the Avro project's `schema-tests.txt`.
    #[test]
    fn crc64_as_the_avro_project_computes_it() {
        let check = |text: &str, expected: i64| {
            let schema = Schema::parse(text).unwrap();
            assert_eq!(schema.fingerprint_crc64() as i64, expected, "{text}");
        };
        check("\"null\"", 7_195_948_357_588_979_594);
        check("\"int\"", 8_247_732_601_305_521_295);
        check("\"string\"", -8_142_146_995_180_207_161);
        check("{\"type\":\"boolean\"}", -6_970_731_678_124_411_036);
    }
}
