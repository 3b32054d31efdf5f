//! What a browser may ask for: the page, and what is new, as server-sent events. Everything else is refused.
//!
//! Any program of this machine can connect to a port of 127.0.0.1, also of other users, and any page in the user's browser can
//! make that connect: so the path has a secret in it, and the `Host` has to be ours, which a name that a page's owner has
//! pointed at 127.0.0.1 is not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use phalanx_cluster::server::is_same;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_local;

/// The page. `NONCE` stands for what makes its script and style ours.
const PAGE: &str = include_str!("page.html");
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// A request has to be complete so soon, and may be so long.
const HEAD: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 16 << 10;
/// Without anything new, a word goes out so often: a browser that is gone is found so.
const PULSE: Duration = Duration::from_secs(15);

/// What was seen last, as an event.
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    event: Bytes,
    /// There will be no other.
    is_last: bool,
}

impl News {
    /// What a cluster looks like.
    pub(super) fn seen(value: &Value) -> News {
        News { event: event("seen", value), is_last: false }
    }

    /// Its controller does not answer.
    pub(super) fn silent(problem: &str) -> News {
        News { event: event("silent", &problem.into()), is_last: false }
    }

    /// Its controller has ended.
    pub(super) fn gone(problem: &str) -> News {
        News { event: event("gone", &problem.into()), is_last: true }
    }
}

/// JSON has no line breaks but those that are written for people.
fn event(name: &str, value: &Value) -> Bytes {
    format!("event: {name}\ndata: {value}\n\n").into()
}

/// What is served, to whom.
pub(super) struct Site {
    /// What `Host` may say.
    hosts: [String; 2],
    token: String,
    news: watch::Receiver<News>,
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Page,
    Events,
    Refused(StatusCode, &'static str),
}

impl Site {
    pub(super) fn new(address: SocketAddr, token: String, news: watch::Receiver<News>) -> Site {
        let hosts = [address.to_string(), format!("localhost:{}", address.port())];
        Site { hosts, token, news }
    }

    /// What is asked for, and whether that may be had.
    fn wanted(&self, method: &Method, path: &str, headers: &HeaderMap) -> Wanted {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() || !self.hosts.iter().any(|own| host == Some(own)) {
            return Wanted::Refused(StatusCode::MISDIRECTED_REQUEST, "this is not the host that was asked for");
        }
        if method != Method::GET {
            return Wanted::Refused(StatusCode::METHOD_NOT_ALLOWED, "there is nothing here but to be read");
        }
        let (token, rest) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or(("", ""));
        match (is_same(token.as_bytes(), self.token.as_bytes()), rest) {
            (true, "") => Wanted::Page,
            (true, "events") => Wanted::Events,
            _ => Wanted::Refused(
                StatusCode::NOT_FOUND,
                "no such page; the address that 'phalanx cluster dashboard' prints has a secret in it",
            ),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Content> {
        match self.wanted(request.method(), request.uri().path(), request.headers()) {
            Wanted::Page => page(),
            Wanted::Events => reply(StatusCode::OK, "text/event-stream", Content::Events(self.events())),
            Wanted::Refused(status, words) => {
                let text = Content::Whole(Some(format!("{words}\n").into()));
                let mut response = reply(status, "text/plain; charset=utf-8", text);
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
                }
                response
            }
        }
    }

    /// What is new, until the reader has gone.
    fn events(&self) -> mpsc::Receiver<Bytes> {
        let (send, receive) = mpsc::channel(1);
        let mut news = self.news.clone();
        spawn_local(async move {
            loop {
                let News { event, is_last } = news.borrow_and_update().clone();
                // One that does not read misses what is old by the time it does.
                if (!event.is_empty() && send.send(event).await.is_err()) || is_last {
                    return;
                }
                match tokio::time::timeout(PULSE, news.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) if send.send(Bytes::from_static(b":\n\n")).await.is_err() => return,
                    Err(_) => {}
                }
            }
        });
        receive
    }
}

/// The page, whose script and style nobody else can add to.
fn page() -> Response<Content> {
    let mut bytes = [0u8; 16];
    let drawn = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    if drawn != Ok(bytes.len()) {
        let text = Content::Whole(Some(Bytes::from_static(b"no random numbers are to be had\n")));
        return reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text);
    }
    let nonce: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let page = Content::Whole(Some(PAGE.replace("NONCE", &nonce).into()));
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn reply(status: StatusCode, kind: &'static str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What is sent.
enum Content {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// As it comes.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Content::Whole(bytes) => Poll::Ready(bytes.take()),
            Content::Events(events) => events.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Answers whoever connects.
pub(super) async fn attend(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // No descriptor is left, for example: somebody may give one back.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let site = site.clone();
        spawn_local(async move {
            let answer = |request: Request<Incoming>| {
                let response = site.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            };
            let mut how = http1::Builder::new();
            how.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
            // What a browser does wrong ends its connection, and concerns nobody else.
            let _ = how.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(method: Method, path: &str, hosts: &[&str]) -> Wanted {
        let (_tell, news) = watch::channel(News::default());
        let site = Site::new(([127, 0, 0, 1], 8000).into(), "secret".to_owned(), news);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).expect("a name"));
        }
        site.wanted(&method, path, &headers)
    }

    fn status(wanted: Wanted) -> u16 {
        match wanted {
            Wanted::Refused(status, _) => status.as_u16(),
            Wanted::Page | Wanted::Events => 200,
        }
    }

    #[test]
    fn who_has_the_address_gets_the_page() {
        for host in ["127.0.0.1:8000", "localhost:8000"] {
            assert_eq!(wanted(Method::GET, "/secret/", &[host]), Wanted::Page);
            assert_eq!(wanted(Method::GET, "/secret/events", &[host]), Wanted::Events);
        }
    }

    #[test]
    fn nobody_else_does() {
        let own = &["127.0.0.1:8000"][..];
        for path in ["/", "/secret", "/secre/", "/secrets/", "//secret/", "/secret/other", "/secret/events/", "*", ""] {
            assert_eq!(status(wanted(Method::GET, path, own)), 404, "{path}");
        }
        for hosts in [&["evil.example:8000"][..], &["127.0.0.1"], &[], &["127.0.0.1:8000", "evil.example"]] {
            assert_eq!(status(wanted(Method::GET, "/secret/", hosts)), 421, "{hosts:?}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD] {
            assert_eq!(status(wanted(method, "/secret/", own)), 405);
        }
    }

    #[test]
    fn an_event_is_one_line_of_data() {
        let News { event, .. } = News::silent("one\ntwo\r\n\ndata: x");
        let text = String::from_utf8(event.to_vec()).expect("text");
        assert_eq!(text, "event: silent\ndata: \"one\\ntwo\\r\\n\\ndata: x\"\n\n");
    }
}
