//! What an answer of DynamoDB means, and what an operator can do about it.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;

/// What to make of one attempt that was not answered well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The condition does not hold: nothing was written.
    ConditionFailed,
    /// Nothing was written, because too much is asked: try again, later.
    Throttled(String),
    /// Nothing was written, because another request is at the same items: try again, soon.
    Conflict(String),
    /// Nothing was written: the server was not reached. Try again.
    NotReached(String),
    /// No answer, or that of a server that failed: it may have been written. Try again.
    Lost(String),
    /// Nothing was written, and trying again is of no use.
    Refused {
        /// What was said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// An answer that does not name single items.
pub(super) fn judge<E, R>(error: &SdkError<E, R>) -> Verdict
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let meta = answer.err().meta();
            judge_code(meta.code().unwrap_or(""), meta.message().unwrap_or("no reason"))
        }
        SdkError::DispatchFailure(failure) => judge_dispatch(error, failure.as_connector_error()),
        SdkError::ConstructionFailure(_) => match credentials_error(error) {
            Some(verdict) => verdict,
            None => Verdict::Refused {
                reason: innermost(error),
                remedy: "this is a defect: report it",
            },
        },
        SdkError::TimeoutError(_) => Verdict::Lost("no answer in time".to_owned()),
        _ => credentials_error(error).unwrap_or_else(|| Verdict::Lost(innermost(error))),
    }
}

fn judge_dispatch(
    error: &(dyn std::error::Error + 'static),
    connector: Option<&aws_sdk_dynamodb::error::ConnectorError>,
) -> Verdict {
    if let Some(verdict) = credentials_error(error) {
        return verdict;
    }
    let reason = innermost(error);
    // A connection that never stood has carried nothing.
    let was_refused = sources(error)
        .filter_map(|source| source.downcast_ref::<std::io::Error>())
        .any(|source| source.kind() == std::io::ErrorKind::ConnectionRefused);
    let is_dns = sources(error).any(|source| source.to_string().contains("dns error"));
    match connector {
        _ if was_refused => Verdict::NotReached(reason),
        _ if is_dns => Verdict::NotReached(format!("{reason} (is the region or the endpoint right?)")),
        _ => Verdict::Lost(reason),
    }
}

/// Credentials that could not be had: nothing was sent.
fn credentials_error(error: &(dyn std::error::Error + 'static)) -> Option<Verdict> {
    let remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or a role for this machine or task";
    let Some(found) = sources(error).find_map(|source| source.downcast_ref::<CredentialsError>()) else {
        // The SDK has no type for it.
        return innermost(error)
            .contains("no identity resolver")
            .then(|| Verdict::Refused {
                reason: "no AWS credentials are set".to_owned(),
                remedy,
            });
    };
    // What the error holds besides its kind may be an answer of a token service: it stays out of our texts.
    let reason = found.to_string();
    Some(match found {
        CredentialsError::ProviderTimedOut(_) => Verdict::NotReached(reason),
        _ => Verdict::Refused { reason, remedy },
    })
}

fn sources<'error>(
    error: &'error (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'error (dyn std::error::Error + 'static)> {
    std::iter::successors(
        Some(error),
        |error: &&'error (dyn std::error::Error + 'static)| (*error).source(),
    )
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    sources(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}

/// An answer by its code, as the API reference of DynamoDB lists them under "Common Errors" and each operation.
pub(super) fn judge_code(code: &str, message: &str) -> Verdict {
    let reason = format!("{code}: {message}");
    let refused = |remedy| Verdict::Refused {
        reason: reason.clone(),
        remedy,
    };
    match code {
        "ConditionalCheckFailedException" => Verdict::ConditionFailed,
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "LimitExceededException" => Verdict::Throttled(reason),
        "TransactionConflictException" | "ReplicatedWriteConflictException" => Verdict::Conflict(reason),
        // An earlier attempt is still at work.
        "TransactionInProgressException" => Verdict::Lost(reason),
        "ResourceNotFoundException" | "TableNotFoundException" => refused(
            "create the table (deploy/aws has it for CloudFormation and Terraform), or name the table and the region that hold it",
        ),
        "AccessDeniedException" => refused(
            "give the role or user of this process the permissions that deploy/aws lists, for this table",
        ),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken" => refused(
            "the credentials are not valid (any more): renew them, and see that this machine's clock is right",
        ),
        "ValidationException" | "SerializationException" => refused(
            "the table must have the text keys pk and sk and nothing else asked of an item: see deploy/aws",
        ),
        "ItemCollectionSizeLimitExceededException" => {
            refused("the table must have no local secondary index: see deploy/aws")
        }
        "ResourceInUseException" => refused("the table is being created or deleted: wait until it is active"),
        _ => Verdict::Lost(reason),
    }
}

/// An answer to a transaction, which says of each item why it was not written.
pub(super) fn judge_transaction<R: std::fmt::Debug + 'static>(
    error: &SdkError<TransactWriteItemsError, R>,
) -> Verdict {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return judge(error);
    };
    let reasons = cancelled
        .cancellation_reasons()
        .iter()
        .filter_map(|reason| Some((reason.code()?, reason.message().unwrap_or(""))))
        .filter(|(code, _)| *code != "None");
    judge_reasons(reasons)
}

/// That a condition does not hold is believed when nothing else is told: beside a conflict it may be what a write saw that
/// was not made in the end.
fn judge_reasons<'reason>(reasons: impl Iterator<Item = (&'reason str, &'reason str)>) -> Verdict {
    let mut worst = None;
    for (code, message) in reasons {
        let verdict = match code {
            "ConditionalCheckFailed" => Verdict::ConditionFailed,
            "ThrottlingError" | "ProvisionedThroughputExceeded" => {
                Verdict::Throttled(format!("{code}: {message}"))
            }
            "TransactionConflict" | "DuplicateItem" => Verdict::Conflict(format!("{code}: {message}")),
            "ValidationError" => judge_code("ValidationException", message),
            "AccessDenied" => judge_code("AccessDeniedException", message),
            "ItemCollectionSizeLimitExceeded" => {
                judge_code("ItemCollectionSizeLimitExceededException", message)
            }
            other => Verdict::Lost(format!("{other}: {message}")),
        };
        if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&verdict)) {
            worst = Some(verdict);
        }
    }
    worst.unwrap_or_else(|| Verdict::Lost("a transaction was cancelled without a reason".to_owned()))
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::ConditionFailed => 0,
        Verdict::Conflict(_) => 1,
        Verdict::Throttled(_) => 2,
        Verdict::NotReached(_) => 3,
        Verdict::Lost(_) => 4,
        Verdict::Refused { .. } => 5,
    }
}
