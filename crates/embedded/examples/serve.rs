//! Serves a data directory until it is killed or its standard input ends: `serve DIRECTORY [ADDRESS]`.
//! Prints the address it listens on.

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
};

use evenkeel_embedded::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let directory = arguments.next().ok_or("usage: serve DIRECTORY [ADDRESS]")?;
    let mut config = Config::new(directory);
    config.listen = match arguments.next() {
        Some(address) => address.parse()?,
        None => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let broker = evenkeel_embedded::start(config).await?;
    writeln!(io::stdout(), "{}", broker.address())?;
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    broker.stop().await?;
    Ok(())
}
