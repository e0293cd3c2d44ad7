//! Serves a data directory until it is killed or its standard input ends: `evenkeel-embedded-serve DIRECTORY [ADDRESS
//! [CLEANUP_INTERVAL_MS]]`.
//! Prints the address it listens on. Tests kill it; people have `evenkeel broker`.

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use evenkeel_embedded::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("usage: evenkeel-embedded-serve DIRECTORY [ADDRESS [CLEANUP_INTERVAL_MS]]")?;
    let mut config = Config::new(directory);
    config.listen = match arguments.next() {
        Some(address) => address.parse()?,
        None => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    if let Some(interval_ms) = arguments.next() {
        config.cleanup_interval = Duration::from_millis(interval_ms.parse()?);
    }
    let broker = evenkeel_embedded::start(config).await?;
    writeln!(io::stdout(), "{}", broker.address())?;
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    broker.stop().await?;
    Ok(())
}
