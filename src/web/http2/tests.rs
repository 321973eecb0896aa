//! A connection's bounds, by the clock of the tests and without sockets.

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::StatusCode;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits { request: 10 * SECOND, response: 30 * SECOND, idle: 75 * SECOND, ..Limits::default() }
}

/// When a connection outstays, in seconds, whose answers begin and end at these.
async fn outstays(spans: &[(u64, u64)]) -> (Outstayed, u64) {
    let answers = Arc::new(Answers::new());
    let start = Instant::now();
    for &(begin, end) in spans {
        let answers = answers.clone();
        tokio::spawn(async move {
            time::sleep_until(start + u32::try_from(begin).unwrap() * SECOND).await;
            let _open = answers.begin();
            time::sleep_until(start + u32::try_from(end).unwrap() * SECOND).await;
        });
    }
    let outstayed = answers.outstayed(&limits()).await;
    (outstayed, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn idleness_counts_from_the_last_answer() {
    assert_eq!(outstays(&[]).await, (Outstayed::Idle, 75));
    assert_eq!(outstays(&[(60, 61)]).await, (Outstayed::Idle, 136));
    assert_eq!(outstays(&[(1, 30), (2, 5), (70, 100)]).await, (Outstayed::Idle, 175));
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_its_time_whatever_others_do() {
    assert_eq!(outstays(&[(1, 1000)]).await, (Outstayed::Answer, 41));
    let mut spans: Vec<_> = (0..200).map(|second| (second, second + 2)).collect();
    assert_eq!(outstays(&spans).await, (Outstayed::Idle, 276));
    spans.push((33, 1000));
    assert_eq!(outstays(&spans).await, (Outstayed::Answer, 73));
}

/// More than a client's window holds, unless that is opened.
const PAGE_BYTES: usize = 100_000;
const PIPE_BYTES: usize = 1 << 20;

/// How a connection ended, and after how long.
type Served = (Result<(), hyper::Error>, Duration);

/// Serves one connection, whose every page is larger than a window; the time that it lasts.
fn serve_one(stop: &CancellationToken) -> (JoinHandle<Served>, DuplexStream) {
    let (server, client) = tokio::io::duplex(PIPE_BYTES);
    let stop = stop.clone();
    let served = tokio::spawn(async move {
        let start = Instant::now();
        let page = |_| async { Ok(Response::new(Body::new(vec![Bytes::from(vec![b'x'; PAGE_BYTES])], ()))) };
        let mut orders = Orders::new(CancellationToken::new(), stop, Arc::default());
        let result = serve(server, page, &limits(), &mut orders).await;
        (result, start.elapsed())
    });
    (served, client)
}

async fn connect(client: DuplexStream) -> (SendRequest<Bytes>, Connection<DuplexStream>) {
    h2::client::handshake(client).await.unwrap()
}

async fn request(sender: SendRequest<Bytes>) -> Response<h2::RecvStream> {
    let request = Request::get("https://exporter/metrics").body(()).unwrap();
    sender.ready().await.unwrap().send_request(request, true).unwrap().0.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_speaks_is_dropped_after_the_idle_time() {
    let (served, _client) = serve_one(&CancellationToken::new());
    let (_, lasted) = served.await.unwrap();
    // The idle time, then what an answer has: it was told to go and did not.
    assert_eq!(lasted, 75 * SECOND + 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_politely() {
    let (served, client) = serve_one(&CancellationToken::new());
    let (_sender, connection) = connect(client).await;
    connection.await.unwrap();
    // It ends with the farewell, and not when that is taken for unheard.
    let (_, lasted) = served.await.unwrap();
    assert_eq!(lasted.as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_is_noticed() {
    let (served, client) = serve_one(&CancellationToken::new());
    let (_sender, mut connection) = connect(client).await;
    // It answers the settings, and then nothing more.
    tokio::select! {
        _ = &mut connection => panic!("it ends early"),
        () = time::sleep(SECOND) => {}
    }
    let (_, lasted) = served.await.unwrap();
    assert_eq!(lasted, PING_INTERVAL + limits().request);
    drop(connection);
}

#[tokio::test(start_paused = true)]
async fn an_answer_behind_a_closed_window_is_dropped_in_its_time() {
    let (served, client) = serve_one(&CancellationToken::new());
    let (sender, connection) = connect(client).await;
    // It answers pings and reads from the socket, and never opens the window.
    let client = tokio::spawn(connection);
    time::sleep(5 * SECOND).await;
    let answer = request(sender).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let (_, lasted) = served.await.unwrap();
    assert_eq!(lasted.as_secs(), 5 + 40);
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(Ok(piece)) = body.data().await {
        read += piece.len();
    }
    assert!((1..PAGE_BYTES).contains(&read), "{read}");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn at_the_stop_answers_go_out_whole() {
    let stop = CancellationToken::new();
    let (served, client) = serve_one(&stop);
    let (sender, connection) = connect(client).await;
    let client = tokio::spawn(connection);
    let mut answer = request(sender).await.into_body();
    stop.cancel();
    let mut read = 0;
    while let Some(piece) = answer.data().await {
        let piece = piece.unwrap();
        answer.flow_control().release_capacity(piece.len()).unwrap();
        read += piece.len();
    }
    assert_eq!(read, PAGE_BYTES);
    assert!(served.await.unwrap().0.is_ok());
    client.await.unwrap().unwrap();
}

/// A request and its reset, as they go over the wire.
fn reset_at_once(stream: u32) -> Vec<u8> {
    // GET, https, / and `exporter`, by the static table of RFC 7541.
    let headers = [&[0x82, 0x87, 0x84, 0x41, 8][..], b"exporter"].concat();
    let frame = |kind, flags, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags], &stream.to_be_bytes()[..], payload].concat()
    };
    [frame(1, 5, &headers), frame(3, 0, &8_u32.to_be_bytes())].concat()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection() {
    let (served, mut client) = serve_one(&CancellationToken::new());
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let flood: Vec<u8> = (0..1000).flat_map(|number| reset_at_once(2 * number + 1)).collect();
    client.write_all(&flood).await.unwrap();
    let (result, lasted) = served.await.unwrap();
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.contains("ENHANCE_YOUR_CALM"), "{error}");
    assert_eq!(lasted, Duration::ZERO);
}
