//! Giving space back: blocks lie in generations, each a partition of the table, and a generation that holds nothing any more
//! is dropped as a whole.

use sqlx::postgres::Postgres as Sql;
use sqlx::{Executor as _, Transaction};

use super::Postgres;
use super::failure::Attempt;
use crate::Error;

/// A generation that has become so large is followed by another.
const GENERATION_BYTES: i64 = 64 << 20;
/// Locks that the whole table waits behind are waited for no longer than this.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";
/// Held by who sweeps, over all processes, together with the schema: "even" in ASCII.
const SWEEPER: i32 = 0x6576_656e;

type Result<T, E = sqlx::Error> = std::result::Result<T, E>;

impl Postgres {
    /// Drops what can be dropped. When somebody else does so, or stands in the way, it is left for the next time.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        let Ok(_one) = self.sweeping.try_lock() else {
            return Ok(());
        };
        let attempt = Attempt {
            server: &self.name,
            action: "drop what is drained",
            writes: false,
        };
        match tokio::time::timeout(self.timeout, self.sweep_once()).await {
            Err(_) => Err(attempt.away("no answer in time", false)),
            Ok(Err(error)) if is_in_the_way(&error) => Ok(()),
            Ok(swept) => swept.map_err(|error| attempt.failed(&error)),
        }
    }

    async fn sweep_once(&self) -> Result<()> {
        self.follow_when_full().await?;
        self.drop_drained().await
    }

    /// The numbers of the generations, oldest first, in a transaction in which this process alone sweeps.
    async fn begin(&self) -> Result<Option<(Transaction<'static, Sql>, Vec<i64>)>> {
        let mut transaction = self.pool.begin().await?;
        let is_ours = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))");
        let is_ours: bool = is_ours.bind(SWEEPER).fetch_one(&mut *transaction).await?;
        if !is_ours {
            return Ok(None);
        }
        transaction.execute(LOCK_TIMEOUT).await?;
        let numbers = sqlx::query_scalar("SELECT number FROM generations ORDER BY number");
        let numbers = numbers.fetch_all(&mut *transaction).await?;
        Ok(Some((transaction, numbers)))
    }

    /// Apart from the drops, which may have to wait for another time.
    async fn follow_when_full(&self) -> Result<()> {
        let Some((mut transaction, numbers)) = self.begin().await? else {
            return Ok(());
        };
        if let Some(newest) = numbers.last()
            && is_full(&mut transaction, *newest).await?
        {
            follow(&mut transaction, *newest + 1).await?;
        }
        transaction.commit().await
    }

    async fn drop_drained(&self) -> Result<()> {
        let Some((mut transaction, numbers)) = self.begin().await? else {
            return Ok(());
        };
        let older = numbers.split_last().map_or(&[][..], |(_, older)| older);
        let mut drained = Vec::new();
        for number in older {
            if !holds(&mut transaction, *number).await? {
                drained.push(*number);
            }
        }
        if drained.is_empty() {
            return transaction.commit().await;
        }
        // Whoever reads or appends locks the table first and its partition then: in that order here too.
        transaction
            .execute("LOCK TABLE ONLY blocks IN ACCESS EXCLUSIVE MODE")
            .await?;
        for number in drained {
            // Somebody who did not see the newest generation yet may have appended to this one.
            if !holds(&mut transaction, number).await? {
                let forget = sqlx::query("DELETE FROM generations WHERE number = $1");
                forget.bind(number).execute(&mut *transaction).await?;
                let drop = format!("DROP TABLE blocks_{number}");
                transaction.execute(drop.as_str()).await?;
            }
        }
        transaction.commit().await
    }
}

fn is_in_the_way(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|said| said.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Whether a generation is to be followed by another: it is large, or nothing of what it has is needed.
async fn is_full(transaction: &mut Transaction<'_, Sql>, number: i64) -> Result<bool> {
    let table = format!("blocks_{number}");
    let bytes: i64 = sqlx::query_scalar("SELECT pg_total_relation_size($1::regclass)")
        .bind(&table)
        .fetch_one(&mut **transaction)
        .await?;
    if bytes > GENERATION_BYTES {
        return Ok(true);
    }
    let any = format!("SELECT EXISTS (SELECT 1 FROM {table})");
    let has_any: bool = sqlx::query_scalar(&any).fetch_one(&mut **transaction).await?;
    Ok(has_any && !holds(transaction, number).await?)
}

/// Whether a generation has blocks that a record speaks of.
async fn holds(transaction: &mut Transaction<'_, Sql>, number: i64) -> Result<bool> {
    let ask = format!(
        "SELECT EXISTS (SELECT 1 FROM blocks_{number} AS block JOIN records USING (topic, partition)
         WHERE block.finish > records.head)"
    );
    sqlx::query_scalar(&ask).fetch_one(&mut **transaction).await
}

/// Makes a generation. Attached, because to create it as a part of the table would lock everybody out.
async fn follow(transaction: &mut Transaction<'_, Sql>, number: i64) -> Result<()> {
    for make in [
        format!("CREATE TABLE blocks_{number} (LIKE blocks INCLUDING ALL)"),
        format!("ALTER TABLE blocks ATTACH PARTITION blocks_{number} FOR VALUES IN ({number})"),
        format!("INSERT INTO generations VALUES ({number})"),
    ] {
        transaction.execute(make.as_str()).await?;
    }
    Ok(())
}
