//! Whose a store is: the first application that parks in it. A record of the store says so.

use super::keeper::{Change, Keeper, Kept};
use crate::{Error, Place};

/// The first byte of the record; the name follows it.
const FORMAT: u8 = 1;
/// Looks at the record before giving up: others write it once.
const LOOKS: u32 = 4;

/// For whom a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// For whom it is.
    Any,
    /// For this application, which owns it from now on.
    Takes(String),
    /// For this application, for a look: a store that nobody owns stays so.
    Looks(String),
}

impl Owner {
    /// Takes the store, or refuses one that is another application's.
    pub(super) async fn settle<K: Keeper>(&self, keeper: &K) -> Result<(), Error> {
        let (application, takes) = match self {
            Self::Any => return Ok(()),
            Self::Takes(application) => (application, true),
            Self::Looks(application) => (application, false),
        };
        name(keeper, application, |found| {
            match owner_in(keeper.name(), found)? {
                owner if owner == application => Ok(false),
                "" => Ok(takes),
                owner => Err(not_of(keeper.name(), owner, application)),
            }
        })
        .await
    }

    /// Lets go of a store that this application owns.
    pub(super) async fn let_go<K: Keeper>(&self, keeper: &K) -> Result<(), Error> {
        let (Self::Takes(application) | Self::Looks(application)) = self else {
            return Ok(());
        };
        let found = keeper.record(&Place::of_owner()).await?;
        if owner_in(keeper.name(), found.as_ref())? == application {
            keeper.commit(vec![naming(found.as_ref(), "")]).await?;
        }
        Ok(())
    }
}

/// Writes this name over any other.
pub(super) async fn write<K: Keeper>(keeper: &K, application: &str) -> Result<(), Error> {
    name(keeper, application, |_| Ok(true)).await
}

/// Writes this name where what is found is to be replaced.
async fn name<K: Keeper>(
    keeper: &K,
    application: &str,
    is_replaced: impl Fn(Option<&Kept>) -> Result<bool, Error>,
) -> Result<(), Error> {
    for _ in 0..LOOKS {
        let found = keeper.record(&Place::of_owner()).await?;
        let is_settled = !is_replaced(found.as_ref())?;
        if is_settled || keeper.commit(vec![naming(found.as_ref(), application)]).await? {
            return Ok(());
        }
    }
    Err(Error::Throttled {
        server: keeper.name().to_owned(),
        action: "note whose it is",
        reason: "others note it all the time".to_owned(),
        may_have_been_made: false,
    })
}

/// The name in a record; empty where nobody owns the store.
fn owner_in<'kept>(name: &str, found: Option<&'kept Kept>) -> Result<&'kept str, Error> {
    let Some(kept) = found else { return Ok("") };
    let owner = match kept.bytes.split_first() {
        Some((&FORMAT, owner)) => std::str::from_utf8(owner).ok(),
        _ => None,
    };
    owner.ok_or_else(|| Error::Foreign {
        server: name.to_owned(),
        what: "the record of whose it is".to_owned(),
        reason: "it has another format".to_owned(),
    })
}

fn naming(found: Option<&Kept>, owner: &str) -> Change {
    let record = [&[FORMAT], owner.as_bytes()].concat().into();
    Change::of_note(Place::of_owner(), found.map(|kept| kept.revision), record)
}

fn not_of(name: &str, owner: &str, application: &str) -> Error {
    Error::Refused {
        server: name.to_owned(),
        action: "be opened",
        reason: format!("the application {owner} parks in it, not {application}"),
        remedy: format!(
            "see that publish.application and standby.url are the right ones, since every application has a store of its own; where {owner} is \
             no more, evenkeel standby init --take-over lets {application} have it"
        ),
        may_have_been_made: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_owner_or_nobody() {
        let kept = |bytes: &[u8]| Kept {
            revision: 1,
            bytes: bytes.to_vec().into(),
        };
        assert_eq!(owner_in("here", None).unwrap(), "");
        let named = kept(&naming(None, "shop").record);
        assert_eq!(owner_in("here", Some(&named)).unwrap(), "shop");
        for foreign in [&b""[..], b"shop", b"\x02shop", b"\x01\xff"] {
            let error = owner_in("here", Some(&kept(foreign))).unwrap_err();
            assert!(matches!(error, Error::Foreign { .. }), "{error}");
        }
    }
}
