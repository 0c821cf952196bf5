//! A session: simple queries with text rows, COPY out, and the door to COPY BOTH.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use crate::client::cancel::{BackendKey, CancelOnDrop};
use crate::client::duplex::Duplex;
use crate::client::input::{Frame, Input};
use crate::client::server_error::ServerError;
use crate::client::socket;
use crate::decode::reader::{Malformed, Reader};
use crate::fault::Cause;

/// A catalogue query that takes longer has lost its server.
const QUERY_DEADLINE: Duration = Duration::from_mins(2);
/// Queries answer in small pieces.
const QUERY_INPUT: usize = 8 << 10;
/// Copies come in large ones.
const COPY_INPUT: usize = 256 << 10;
/// A copy that has brought so much is read in gulps with pauses between them: the server sends a few KiB at a time, and if
/// we waited for each of them, it would wake us each time.
const LARGE_COPY: usize = COPY_INPUT;
/// Between two gulps. The timer's grain is 1 ms.
const PAUSE: Duration = Duration::from_millis(1);
/// After so many pauses that brought nothing it is waited for.
const PAUSES: u32 = 8;

/// A row of text values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row(Vec<Option<String>>);

impl Row {
    /// The text of a column, if it is not null.
    pub(crate) fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// The text of a column that is never null.
    pub(crate) fn text(&self, column: usize) -> Result<&str, Cause> {
        self.get(column).ok_or(Cause::Answer("a null in the catalogue"))
    }

    /// The number in a column.
    pub(crate) fn number<T: std::str::FromStr>(&self, column: usize) -> Result<T, Cause> {
        self.text(column)?.parse().map_err(|_other| Cause::Answer("no number in the catalogue"))
    }

    /// The truth in a column; null is false.
    pub(crate) fn truth(&self, column: usize) -> bool {
        self.get(column) == Some("t")
    }
}

/// A connection between two statements.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Arc<TcpStream>,
    input: Input,
    /// The copy under way.
    copying: Option<Copying>,
    version: u32,
    /// What cancels its statements.
    key: Option<BackendKey>,
}

/// How a copy comes in.
#[derive(Debug, Default)]
struct Copying {
    /// Bytes.
    brought: usize,
    /// Pauses since it brought something.
    paused: u32,
}

impl Session {
    pub(crate) fn new(stream: tokio::net::TcpStream) -> io::Result<Self> {
        // It goes on not to block.
        let socket = Arc::new(stream.into_std()?);
        Ok(Self { socket, input: Input::new(QUERY_INPUT), copying: None, version: 0, key: None })
    }

    /// The server's `server_version_num`.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        socket::send(&self.socket, bytes).await.map_err(lost)
    }

    /// The next frame, whole; it stays until it is consumed.
    pub(crate) async fn frame(&mut self) -> Result<Frame, Cause> {
        loop {
            if let Some(frame) = self.input.frame().map_err(lost)? {
                return Ok(frame);
            }
            match self.input.fill(|into| (&*self.socket).read(into)) {
                Ok(0) => return Err(Cause::Ended),
                Ok(count) => {
                    if let Some(copying) = &mut self.copying {
                        copying.brought += count;
                        copying.paused = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait().await?,
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// Waits until there may be something to read.
    async fn wait(&mut self) -> Result<(), Cause> {
        match &mut self.copying {
            Some(copying) if copying.brought >= LARGE_COPY && copying.paused < PAUSES => {
                copying.paused += 1;
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
            _ => socket::readable(&self.socket).await.map_err(lost),
        }
    }

    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        self.input.body(frame)
    }

    pub(crate) fn consume(&mut self, frame: &Frame) {
        self.input.consume(frame);
    }

    /// Reads up to the first ReadyForQuery.
    pub(crate) async fn finish_startup(&mut self) -> Result<(), Cause> {
        loop {
            let frame = self.frame().await?;
            let body = self.input.body(&frame);
            match frame.tag {
                b'S' => {
                    let mut parts = body.split(|&byte| byte == 0);
                    if let (Some(b"server_version"), Some(version)) = (parts.next(), parts.next()) {
                        self.version = version_number(&String::from_utf8_lossy(version));
                    }
                }
                b'K' => self.key = backend_key(body).ok(),
                b'E' => return Err(Cause::of(ServerError::parse(body))),
                _ => {}
            }
            self.input.consume(&frame);
            if frame.tag == b'Z' {
                return Ok(());
            }
        }
    }

    /// Runs statements and returns the rows of all of them, one list a statement that returns rows.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<Vec<Vec<Row>>, Cause> {
        match tokio::time::timeout(QUERY_DEADLINE, self.batch_at_leisure(sql)).await {
            Ok(answer) => answer,
            Err(_) => Err(Cause::Silent { seconds: QUERY_DEADLINE.as_secs() }),
        }
    }

    /// Runs one statement and returns its rows.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Cause> {
        Ok(self.batch(sql).await?.pop().unwrap_or_default())
    }

    /// Runs one statement that returns one row.
    pub(crate) async fn row(&mut self, sql: &str) -> Result<Row, Cause> {
        self.query(sql).await?.pop().ok_or(Cause::Answer("a query without its row"))
    }

    /// As `batch`, for a statement that may wait for others for as long as they take.
    pub(crate) async fn batch_at_leisure(&mut self, sql: &str) -> Result<Vec<Vec<Row>>, Cause> {
        self.start(sql).await?;
        let mut results = Vec::new();
        let mut error = None;
        loop {
            let frame = self.frame().await?;
            let body = self.input.body(&frame);
            match frame.tag {
                b'T' => results.push(Vec::new()),
                b'D' => {
                    let row = parse_row(body).map_err(|_damaged| Cause::Answer("a row"))?;
                    results.last_mut().ok_or(Cause::Answer("a row without its description"))?.push(row);
                }
                b'E' => {
                    let cause = Cause::of(ServerError::parse(body));
                    error.get_or_insert(cause);
                }
                b'G' | b'H' | b'W' => return Err(Cause::Answer("a copy that was not asked for")),
                _ => {}
            }
            self.input.consume(&frame);
            if frame.tag == b'Z' {
                return error.map_or(Ok(results), Err);
            }
        }
    }

    /// As `batch_at_leisure`, for a statement whose backend does not notice that nobody waits for it any more: where the
    /// caller gives it up, the server is told.
    pub(crate) async fn batch_or_cancel(&mut self, sql: &str) -> Result<Vec<Vec<Row>>, Cause> {
        let cancel = CancelOnDrop::new(self.socket.peer_addr().ok().zip(self.key));
        let answer = self.batch_at_leisure(sql).await;
        cancel.defuse();
        answer
    }

    /// Runs a statement that starts COPY in both directions.
    pub(crate) async fn copy_both(mut self, sql: &str) -> Result<Duplex, Cause> {
        self.expect_copy(sql, b'W').await?;
        Ok(Duplex::new(self.socket, self.input))
    }

    /// Runs a `COPY … TO STDOUT`; `copied` yields what it sends.
    pub(crate) async fn copy_out(&mut self, sql: &str) -> Result<(), Cause> {
        self.input.resize(COPY_INPUT);
        self.expect_copy(sql, b'H').await?;
        self.copying = Some(Copying::default());
        Ok(())
    }

    /// The frame of the next CopyData, where it is there already.
    #[inline]
    pub(crate) fn copied_already(&self) -> Result<Option<Frame>, Cause> {
        Ok(self.input.frame().map_err(lost)?.filter(|frame| frame.tag == b'd'))
    }

    /// The frame of the next CopyData, to be consumed by the caller; `None` at the end, when the session is ready again.
    pub(crate) async fn copied(&mut self) -> Result<Option<Frame>, Cause> {
        let mut error = None;
        loop {
            let frame = self.frame().await?;
            match frame.tag {
                b'd' => return Ok(Some(frame)),
                b'E' => error = Some(Cause::of(ServerError::parse(self.input.body(&frame)))),
                _ => {}
            }
            self.input.consume(&frame);
            if frame.tag == b'Z' {
                self.copying = None;
                return error.map_or(Ok(None), Err);
            }
        }
    }

    async fn start(&mut self, sql: &str) -> Result<(), Cause> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(lost)?;
        self.send(&out).await
    }

    /// Sends a statement and waits for the copy response `tag`. After an error the session is ready again.
    async fn expect_copy(&mut self, sql: &str, tag: u8) -> Result<(), Cause> {
        self.start(sql).await?;
        let mut error = None;
        loop {
            let frame = self.frame().await?;
            if frame.tag == b'E' {
                error = Some(Cause::of(ServerError::parse(self.input.body(&frame))));
            }
            self.input.consume(&frame);
            match frame.tag {
                copy if copy == tag => return Ok(()),
                b'Z' => return Err(error.unwrap_or(Cause::Answer("no copy"))),
                _ => {}
            }
        }
    }
}

pub(crate) fn lost(source: io::Error) -> Cause {
    Cause::Lost { source }
}

fn backend_key(body: &[u8]) -> Result<BackendKey, Malformed> {
    let mut reader = Reader::new(body);
    Ok(BackendKey { process: reader.i32()?, secret: reader.i32()? })
}

fn parse_row(body: &[u8]) -> Result<Row, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.u16()?;
    let mut columns = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = reader.i32()?;
        columns.push(match usize::try_from(length) {
            Ok(length) => Some(String::from_utf8_lossy(reader.take(length)?).into_owned()),
            Err(_) => None,
        });
    }
    Ok(Row(columns))
}

/// `server_version_num` from `server_version`: `15.18 (Debian …)`, `17beta1`, `9.6.24`.
fn version_number(text: &str) -> u32 {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if major < 10 { major * 10_000 + minor * 100 } else { major * 10_000 + minor }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session with a peer that reads one query and answers with these bytes.
    async fn session_with(answer: &'static [u8]) -> Session {
        session_with_pieces(vec![answer.to_vec()]).await
    }

    /// The same, with a pause after each piece.
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    async fn session_with_pieces(pieces: Vec<Vec<u8>>) -> Session {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut query = [0; 7];
            peer.read_exact(&mut query).await.unwrap();
            for piece in pieces {
                peer.write_all(&piece).await.unwrap();
                tokio::time::sleep(PAUSE * 20).await;
            }
        });
        Session::new(tokio::net::TcpStream::connect(address).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_copy_hands_out_its_rows_and_then_ends() {
        let answer = b"H\0\0\0\x07\0\0\0d\0\0\0\x06abd\0\0\0\x04d\0\0\0\x05cc\0\0\0\x04C\0\0\0\x0bCOPY 3\0Z\0\0\0\x05I";
        let mut session = session_with(answer).await;
        session.copy_out("C").await.unwrap();
        let mut rows = Vec::new();
        while let Some(frame) = session.copied().await.unwrap() {
            rows.push(session.body(&frame).to_vec());
            session.consume(&frame);
        }
        assert_eq!(rows, [b"ab".to_vec(), b"".to_vec(), b"c".to_vec()]);
    }

    #[tokio::test]
    async fn a_large_copy_that_comes_in_pieces_is_whole() {
        let row = |number: usize| [b"d\0\0\x04\x04".as_slice(), &[number as u8; 1024]].concat();
        let rows = |numbers: std::ops::Range<usize>| numbers.flat_map(row).collect::<Vec<_>>();
        let (first, second) = (rows(0..400), rows(400..500));
        let half = first.len() - 100;
        let mut session = session_with_pieces(vec![
            [b"H\0\0\0\x07\0\0\0", &first[..half]].concat(),
            [&first[half..], &second].concat(),
            b"c\0\0\0\x04C\0\0\0\x0bCOPY 3\0".to_vec(),
            b"Z\0\0\0\x05I".to_vec(),
        ])
        .await;
        session.copy_out("C").await.unwrap();
        let mut seen = 0;
        while let Some(frame) = session.copied().await.unwrap() {
            assert_eq!(session.body(&frame), [seen as u8; 1024]);
            session.consume(&frame);
            seen += 1;
        }
        assert_eq!((seen, session.copying.is_none()), (500, true));
    }

    #[tokio::test]
    async fn a_copy_that_breaks_off_is_an_error() {
        let answer = b"H\0\0\0\x07\0\0\0d\0\0\0\x05aE\0\0\0\x0cC42501\0\0Z\0\0\0\x05I";
        let mut session = session_with(answer).await;
        session.copy_out("C").await.unwrap();
        let frame = session.copied().await.unwrap().unwrap();
        assert_eq!(session.body(&frame), b"a");
        session.consume(&frame);
        assert!(matches!(session.copied().await, Err(Cause::Denied(_))));
    }

    #[tokio::test]
    async fn rows_of_several_statements_come_one_list_each() {
        let answer = b"T\0\0\0\x06\0\0D\0\0\0\x0b\0\x01\0\0\0\x01xC\0\0\0\x05\0T\0\0\0\x06\0\0D\0\0\0\x0a\0\x01\xff\xff\xff\xffZ\0\0\0\x05I";
        let lists = session_with(answer).await.batch("C").await.unwrap();
        assert_eq!(lists, [[Row(vec![Some("x".into())])], [Row(vec![None])]]);
    }

    #[test]
    fn a_version_is_read_from_its_text() {
        assert_eq!(version_number("15.18 (Debian 15.18-1.pgdg12+1)"), 150_018);
        assert_eq!(version_number("17beta1"), 170_000);
        assert_eq!(version_number("9.6.24"), 90_600);
    }
}
