//! `phalanx cluster dashboard`: a page in a browser that shows what a cluster does, as long as the command runs.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | the command, and who asks the controller |
//! | `http.rs` | what a browser may ask for, and what it gets |
//! | `page.html` | the page: all of it, without anything from elsewhere |
//!
//! The controller knows nothing of it: the command asks as `top` does. So a cluster that nobody looks at has no port, and what
//! speaks to browsers holds nothing but what is shown ([why](../../../../../docs/decisions/0035-dashboard.md)).

mod http;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use self::http::{News, Site};
use super::ask::Asked;
use super::files::Place;
use super::flags::Flags;
use super::seen::{Sample, heading};
use super::{others, start};
use crate::error::LaunchError;
use crate::output;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);
/// A controller that has not answered for so long is said to be silent.
const PATIENCE: Duration = Duration::from_secs(3);
/// What was said last is on its way to browsers for so long.
const FAREWELL: Duration = Duration::from_millis(300);

/// Shows the page until the cluster ends, or the command is interrupted.
///
/// # Errors
/// When there is no such cluster, the port is taken, or the cluster ends.
pub(super) fn command(flags: Flags) -> Result<u8, LaunchError> {
    let place = Place::of(&flags);
    let asked = others::asked(&flags)?.patient(PATIENCE);
    let port = flags.port.unwrap_or(0);
    let failed = |error| LaunchError::system(format!("listening at port {port} of 127.0.0.1"), error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let token = start::token()?;
    output::print(&format!("http://{address}/{token}/\n"));
    if !flags.quiet {
        output::say(&format!("phalanx cluster: the page of the cluster {}; Ctrl-C closes it", place.words()));
    }
    let reason = serve(listener, address, token, &place, asked).map_err(failed)?;
    Err(LaunchError::Install(format!("the cluster {} has ended: {reason}", place.words())))
}

/// Answers browsers until the cluster ends: why that was.
fn serve(
    listener: TcpListener,
    address: SocketAddr,
    token: String,
    place: &Place,
    asked: Asked,
) -> std::io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (tell, news) = watch::channel(News::default());
    let (over, ended) = oneshot::channel();
    let words = place.words();
    let ask = move || {
        let reason = look(asked, &words, &tell);
        let _nobody_listens_any_more = over.send(reason);
        // Those who read hear of it before their connections close.
        std::thread::sleep(FAREWELL * 2);
    };
    std::thread::Builder::new().name("phalanx-look".to_owned()).spawn(ask)?;
    let site = Arc::new(Site::new(address, token, news));
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::task::spawn_local(http::attend(listener, site));
        let reason = ended.await.unwrap_or_default();
        tokio::time::sleep(FAREWELL).await;
        Ok(reason)
    })
}

/// Asks the controller again and again while somebody looks: why that has an end.
fn look(mut asked: Asked, words: &str, tell: &watch::Sender<News>) -> String {
    let mut before: Option<Sample> = None;
    loop {
        // One who only keeps the page open is no reader: he has a connection for what is new.
        if tell.receiver_count() > 1 || before.is_none() {
            match Sample::ask(&mut asked, before.as_ref()) {
                Ok(sample) => {
                    let mut value = sample.json();
                    value["heading"] = heading(words, &sample.seen).into();
                    tell.send_replace(News::seen(&value));
                    before = Some(sample);
                }
                Err(problem) if asked.is_over() => {
                    tell.send_replace(News::gone(&problem));
                    return problem;
                }
                Err(problem) => {
                    tell.send_replace(News::silent(&problem));
                }
            }
        } else if let Some(problem) = asked.end() {
            tell.send_replace(News::gone(&problem));
            return problem;
        }
        std::thread::sleep(EVERY);
    }
}
