//! Finding the controller, and being sure that it is the one.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::Reach;
use crate::far::stream::Stream;
use crate::far::tls;

/// One address has so long to answer.
const ADDRESS: Duration = Duration::from_secs(2);
/// From one round to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// A machine that answers, and where nothing listens any more, is asked so long: its controller has ended.
const REFUSED: Duration = Duration::from_secs(2);

/// A stream to the controller, which is looked for until then. `was_there`: it is not, once its machine says so for a while.
///
/// # Errors
/// In words: where it was looked for, and what was found there.
pub(super) async fn dial(reach: &Reach, until: Instant, was_there: bool) -> Result<Stream, String> {
    let connector = tls::connector(&reach.certificate).map_err(|error| error.to_string())?;
    let mut refused_since = None;
    loop {
        let mut problems = Vec::new();
        let mut refused = false;
        for address in &reach.addresses {
            let limit = ADDRESS.min(until.saturating_duration_since(Instant::now())).max(Duration::from_millis(50));
            let attempt = async {
                let stream = TcpStream::connect(address).await?;
                Stream::agree(stream, connector.connect()?).await
            };
            match tokio::time::timeout(limit, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(format!(
                        "what answers at {address} is not the controller of the connection file ({error}): is that file an \
                         old one?"
                    ));
                }
                Ok(Err(error)) => {
                    refused |= error.kind() == io::ErrorKind::ConnectionRefused;
                    problems.push(format!("{address}: {error}"));
                }
                Err(_) => problems.push(format!("{address}: no answer in {:.1} s", limit.as_secs_f64())),
            }
        }
        refused_since = refused.then(|| refused_since.unwrap_or_else(Instant::now));
        let is_over = was_there && refused_since.is_some_and(|since| since.elapsed() >= REFUSED);
        if is_over || Instant::now() >= until {
            return Err(format!("the controller cannot be reached ({})", problems.join("; ")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
