//! libgit2's way to a host: each stream that it asks for is a request and its answer over a line of
//! ours. Replaces libgit2's own client, which follows redirects and has no deadline.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use git2::{ErrorClass, ErrorCode, Remote};
use reqwest::{Method, Response};
use url::Url;

use super::line::{Ask, Line};

thread_local! {
    /// libgit2 makes a transport on the thread that connects and passes nothing of ours along.
    static CURRENT: RefCell<Option<Arc<Line>>> = const { RefCell::new(None) };
}

/// The transport that stands in the place of libgit2's own: over the line of the thread that connects.
pub(super) fn of_this_thread(remote: &Remote<'_>) -> Result<Transport, git2::Error> {
    let line = CURRENT.with_borrow(Clone::clone);
    let line = line.ok_or_else(|| failed("a host is only asked through a line"))?;
    Transport::smart(remote, true, Requests(line))
}

/// Runs `work`, whose libgit2 calls on this thread talk over `line`.
pub(super) fn over<T>(line: &Arc<Line>, work: impl FnOnce() -> T) -> T {
    struct Hangup;
    impl Drop for Hangup {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(Option::take);
        }
    }
    CURRENT.with_borrow_mut(|current| *current = Some(Arc::clone(line)));
    let _hangup = Hangup;
    work()
}

/// What libgit2 holds: it asks for streams, each one request and its answer.
struct Requests(Arc<Line>);

impl SmartSubtransport for Requests {
    fn action(
        &self,
        url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        // The address is libgit2's idea of ours; were it another, its host would get our token.
        if url != self.0.url.as_str() {
            return Err(failed("another address than that of the repository"));
        }
        let base = url.trim_end_matches('/');
        let (method, place, sent, expected) = match service {
            Service::UploadPackLs => (
                Method::GET,
                format!("{base}/info/refs?service=git-upload-pack"),
                None,
                "application/x-git-upload-pack-advertisement",
            ),
            Service::UploadPack => (
                Method::POST,
                format!("{base}/git-upload-pack"),
                Some("application/x-git-upload-pack-request"),
                "application/x-git-upload-pack-result",
            ),
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(failed("nothing is pushed over this line"));
            }
        };
        let url = Url::parse(&place).map_err(|_| failed("no address"))?;
        Ok(Box::new(Stream {
            line: Arc::clone(&self.0),
            ask: Ask { method, url, sent, expected },
            body: Vec::new(),
            answer: None,
            piece: Bytes::new(),
        }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request, sent when its answer is first read.
struct Stream {
    line: Arc<Line>,
    ask: Ask,
    body: Vec<u8>,
    answer: Option<Response>,
    piece: Bytes,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let line = Arc::clone(&self.line);
        let answer = match &mut self.answer {
            Some(answer) => answer,
            none => none.insert(line.request(&self.ask, &std::mem::take(&mut self.body).into())?),
        };
        while self.piece.is_empty() {
            let Some(piece) = line.piece(answer)? else { return Ok(0) };
            self.piece = piece;
        }
        let length = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

fn failed(why: &str) -> git2::Error {
    git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, why)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::line::{Allowance, Failure};
    use super::*;

    #[test]
    fn a_host_that_takes_a_call_and_says_nothing_is_left_at_the_deadline() {
        super::super::isolate().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/acme/app.git", listener.local_addr().unwrap());
        let url = Url::parse(&url).unwrap();
        let allowance = Allowance { bytes: 1_000, duration: Duration::from_millis(300) };
        let line = Line::new(&url, None, allowance).unwrap();
        let before = Instant::now();
        over(&line, || {
            let mut remote = git2::Remote::create_detached(url.as_str()).unwrap();
            assert!(remote.connect(git2::Direction::Fetch).is_err());
        });
        assert_eq!(line.failure(), Some(Failure::TooSlow(allowance.duration)));
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn without_a_line_no_host_is_asked() {
        super::super::isolate().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/acme/app.git", listener.local_addr().unwrap());
        let mut remote = git2::Remote::create_detached(url.as_str()).unwrap();
        assert!(remote.connect(git2::Direction::Fetch).is_err());
        assert!(listener.accept().is_err());
    }
}
