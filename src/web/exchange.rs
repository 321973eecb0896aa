//! One request and its answer.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::Guard;
use futures_util::future::Either;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::access::{Door, Rules};
use super::answer::Answer;
use super::body::Body;
use super::connection::{Answering, Client, Occupant};
use super::respond::{Made, respond};
use super::route::Route;
use super::{Server, refusal, request};
use crate::exposition::InFlight;

/// What a request comes by.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) occupant: Arc<Occupant>,
    pub(super) door: Arc<Door>,
    /// What its first request says to be its host, if that is one. The others mostly say the same.
    pub(super) host: OnceLock<HeaderValue>,
}

/// Answers one request, at once where nothing has to be waited for; refuses it where the connection may not begin
/// an answer, or came by a door that is no longer in force. Its body is dropped unread with the future, upon which
/// hyper closes the connection after the answer, or skips what has come already.
pub(super) fn answer(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
    answering: Option<Answering>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static {
    let Connection { server, door, host, .. } = &**connection;
    let (head, unread) = request.into_parts();
    let request = Request::from_parts(head, ());
    let exchange = Exchange {
        arrived: Instant::now(),
        in_flight: server.state.http.begin(),
        route: server.routes.find(request.uri().path()),
        is_head: request.method() == Method::HEAD,
        access: server.state.access.current(),
        connection: connection.clone(),
    };
    let Exchange { access, route, .. } = &exchange;
    let made = match &answering {
        None => refusal::crowded(request.version()).into(),
        // The rules of this moment take for granted what their own connections have proved. (HTTP/2 takes
        // streams until the client has heard the farewell.)
        Some(_) if !access.stands_behind(door) => refusal::superseded(request.version()).into(),
        Some(answering) => match request::problem(&request, host) {
            Some(problem) => refusal::malformed(request.version(), problem).into(),
            None => checked(server, access, *route, request, answering.client()),
        },
    };
    let answer = match made {
        Made::Now(answer) => Either::Left(ready(exchange.end(answer, answering))),
        Made::Later(answer) => Either::Right(Box::pin(async move { exchange.end(answer.await, answering) })),
    };
    async move {
        let answer = answer.await;
        drop(unread);
        Ok(answer)
    }
}

/// A request that is being answered.
struct Exchange {
    arrived: Instant,
    in_flight: InFlight,
    route: Option<Route>,
    is_head: bool,
    /// What was in force when it came.
    access: Guard<Arc<Rules>>,
    connection: Arc<Connection>,
}

impl Exchange {
    fn end(self, mut answer: Answer, answering: Option<Answering>) -> Response<Body> {
        if self.is_head {
            answer = answer.without_body();
        }
        self.access.decorate(&mut answer.headers);
        let Server { state, routes, .. } = &*self.connection.server;
        state.http.answered(routes.counted(self.route), answer.status.as_u16(), self.arrived.elapsed());
        answer.into_response((self.in_flight, answering))
    }
}

/// The answer to a request that is one, on a connection that may be answered.
fn checked(
    server: &Arc<Server>,
    access: &Arc<Rules>,
    route: Option<Route>,
    request: Request<()>,
    client: Client,
) -> Made {
    if let Err(refused) = access.limit() {
        return refusal::denied(refused).into();
    }
    if !access.has_users() {
        return admitted(server, route, &request, client);
    }
    let (server, access) = (server.clone(), access.clone());
    Made::later(async move {
        match access.authenticate(client, request.headers()).await {
            Ok(()) => admitted(&server, route, &request, client).answer().await,
            Err(refused) => refusal::denied(refused),
        }
    })
}

/// The answer to a request that the web configuration admits.
fn admitted(server: &Arc<Server>, route: Option<Route>, request: &Request<()>, client: Client) -> Made {
    match (route, request.method()) {
        _ if request::is_for_no_page(request) => refusal::not_allowed("GET, HEAD").into(),
        (None, _) => Answer::text(StatusCode::NOT_FOUND, "There is no such page.\n").into(),
        (Some(route), method) if route.methods().contains(method) => respond(server, route, request.headers(), client),
        (Some(Route::Reload), _) => refusal::not_allowed("POST, PUT").into(),
        (Some(_), _) => refusal::not_allowed("GET, HEAD").into(),
    }
}
