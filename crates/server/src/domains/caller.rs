//! Who makes a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ANONYMOUS, Domains};

/// Who makes a request, as far as credentials tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular: may read.
    Nameless,
    /// A domain: may write what it owns.
    Domain {
        /// Its name.
        name: String,
        /// May change what belongs to no domain.
        admin: bool,
    },
}

impl Caller {
    /// The caller of requests without credentials in `dev` mode.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::Domain {
            name: ANONYMOUS.to_owned(),
            admin: true,
        }
    }
}

/// Credentials that are none of ours. Says nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credentials are not those of any domain; use Basic domain:token or Bearer token")]
pub struct Unauthenticated;

impl Domains {
    /// Who makes a request with this `Authorization` header (RFC 7617 `Basic domain:token`, RFC 6750 `Bearer token`).
    ///
    /// # Errors
    /// [`Unauthenticated`] for a header that is wrong in any way; never for one that is absent.
    pub fn caller(&self, authorization: Option<&str>) -> Result<Caller, Unauthenticated> {
        let Some(header) = authorization else {
            return Ok(Caller::Nameless);
        };
        let (scheme, rest) = header.split_once(' ').ok_or(Unauthenticated)?;
        let (name, token) = match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let decoded = STANDARD.decode(rest.trim()).map_err(|_| Unauthenticated)?;
                let text = String::from_utf8(decoded).map_err(|_| Unauthenticated)?;
                let (name, token) = text.split_once(':').ok_or(Unauthenticated)?;
                (Some(name.to_owned()), token.to_owned())
            }
            "bearer" => (None, rest.trim().to_owned()),
            _ => return Err(Unauthenticated),
        };
        self.read(|state| {
            let name = state
                .authenticate(name.as_deref(), &token)
                .ok_or(Unauthenticated)?;
            let admin = state.domain(name).is_some_and(super::Domain::is_admin);
            Ok(Caller::Domain {
                name: name.to_owned(),
                admin,
            })
        })
    }
}
