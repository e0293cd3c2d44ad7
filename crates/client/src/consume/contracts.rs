//! Where a consumer gets the schemas that records name.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use evenkeel_schema::Contract;
use evenkeel_schema::wire::SchemaId;

/// The look-up of one schema.
pub type Lookup<'contracts> =
    Pin<Box<dyn Future<Output = Result<Arc<Contract>, ContractError>> + Send + 'contracts>>;

/// Schemas by their ids.
pub trait Contracts: Send + Sync + fmt::Debug {
    /// The contract with this id.
    fn by_id(&self, id: SchemaId) -> Lookup<'_>;
}

/// Why there is no contract for an id. The two are never confused: only what the registry says does not exist is
/// dead-lettered (invariant **told-apart**).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The registry says that the id does not exist.
    #[error("{0}")]
    Unknown(String),
    /// The registry cannot be asked now.
    #[error("{0}")]
    Unavailable(String),
}
