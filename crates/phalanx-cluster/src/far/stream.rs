//! Reading and writing an encrypted stream beside each other.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection, of which much is read at a time: TLS asks for one record of at most 16 KiB after the other.
pub(crate) type Socket = BufReader<TcpStream>;
/// The same, encrypted.
pub(crate) type Stream = TlsStream<Socket>;

/// Bytes read at a time.
const ROOM: usize = 256 << 10;

/// An end says so often that it is there in the time that counts as one heartbeat: of a cable that is cut for two of those, the
/// other end is to hear again before three are over.
pub(crate) const BEATS: u32 = 2;

/// Sets a connection up: what is said goes out at once, and what is lost is sent again soon, instead of after pauses that double.
pub(crate) fn prepare(stream: TcpStream) -> Socket {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_thin_linear_timeouts(&stream, true);
    BufReader::with_capacity(ROOM, stream)
}

/// Reads to the end of a stream: `heard` is given what has come, and says whether to go on. Why it ended, in words.
pub(crate) async fn read(mut stream: ReadHalf<Stream>, mut heard: impl FnMut(&[u8]) -> bool) -> String {
    let mut room = vec![0; ROOM];
    loop {
        match stream.read(&mut room).await {
            Ok(0) => return "its connection has ended".to_owned(),
            Ok(count) if heard(&room[..count]) => {}
            Ok(_) => return String::new(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return "its connection has ended".to_owned();
            }
            Err(error) => return format!("its connection has broken: {error}"),
        }
    }
}

/// Writes what `more` gives, again and again, until that has nothing more; waits for `wake` then. Ends when `more` says so.
pub(crate) async fn write(
    mut stream: WriteHalf<Stream>,
    wake: &tokio::sync::Notify,
    mut more: impl FnMut(&mut Vec<u8>) -> bool,
) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if !more(&mut bytes) {
            let _ = stream.shutdown().await;
            return;
        }
        let written = if bytes.is_empty() { stream.flush().await } else { stream.write_all(&bytes).await };
        if written.is_err() {
            // Who reads it finds that out as well.
            return;
        }
        if bytes.is_empty() {
            wake.notified().await;
        }
    }
}
