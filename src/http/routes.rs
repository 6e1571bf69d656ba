//! The table of routes, and who answers each.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_SECURITY_POLICY, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::api::{self, Api};
use super::api2;
use super::instruments::Instruments;
use super::own::{self, Parties, Rights};
use super::reply::{Reply, reply, text};
use super::scrape::Scrape;
use super::users::Login;
use super::{Access, App, WebConfig, actions, front, standing};
use crate::model::Timestamp;
use crate::yaml::Pattern;

/// The largest body that a request may have.
const MAX_BODY: usize = 1 << 20;

const READ: &[Method] = &[Method::GET, Method::HEAD];
const CHANGE: &[Method] = &[Method::POST, Method::PUT];

/// What answers a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handler {
    Front,
    Metrics,
    Healthy,
    Ready,
    Reload,
    Chart,
    Graph,
    Actions,
}

#[derive(Debug)]
struct Route {
    path: String,
    methods: &'static [Method],
    handler: Handler,
}

/// All routes over one agent.
pub(super) struct Routes<A> {
    app: Arc<A>,
    table: Vec<Route>,
    telemetry_path: String,
    scrape: Scrape,
    api: Arc<Api>,
    /// Whose pages may read the API in a browser.
    cors: Option<Pattern>,
}

/// The label of requests that no route answers.
const OTHER: &str = "other";

impl<A: App> Routes<A> {
    pub fn new(app: Arc<A>, config: &WebConfig, api: Api) -> Routes<A> {
        let telemetry_path = &config.telemetry_path;
        let route = |path: &str, methods, handler| Route { path: path.to_string(), methods, handler };
        // The first that matches answers: metrics may be served at `/` instead of the front page.
        let table = vec![
            route(telemetry_path, READ, Handler::Metrics),
            route("/", READ, Handler::Front),
            route("/-/healthy", READ, Handler::Healthy),
            route("/-/ready", READ, Handler::Ready),
            route("/-/reload", CHANGE, Handler::Reload),
            route("/chart.png", READ, Handler::Chart),
            route("/graph", READ, Handler::Graph),
            route(actions::PATH, READ, Handler::Actions),
        ];
        Routes {
            app,
            table,
            telemetry_path: telemetry_path.clone(),
            scrape: Scrape::default(),
            api: Arc::new(api),
            cors: config.cors_origin.clone(),
        }
    }

    pub fn api(&self) -> Arc<Api> {
        self.api.clone()
    }

    /// The route's name among the metrics' labels.
    pub fn label(&self, path: &str) -> &str {
        self.find(path)
            .map(|route| route.path.as_str())
            .or_else(|| api::label(path))
            .or_else(|| api2::label(path))
            .or_else(|| own::label(path))
            .unwrap_or(OTHER)
    }

    fn find(&self, path: &str) -> Option<&Route> {
        self.table.iter().find(|route| route.path == path)
    }

    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        access: &Access,
        instruments: &Instruments,
    ) -> Response<Reply> {
        match access.login(request.headers()).await {
            Login::Accepted => {}
            Login::Refused => {
                instruments.failed_logins.inc();
                return unauthorized();
            }
            Login::Busy => return busy(),
        }
        let (request, body) = request.into_parts();
        let Some(route) = self.find(request.uri.path()) else {
            if api::owns(request.uri.path()) {
                return match read(&request, body).await {
                    Ok(form) => self.api.answer(&*self.app, &request, &form, self.cors.as_ref()).await,
                    Err(refusal) => refusal,
                };
            }
            if api2::owns(request.uri.path()) {
                return self.api2(&request, body, peer, access).await;
            }
            if own::owns(request.uri.path()) {
                return self.own(&request, peer, access);
            }
            return text(StatusCode::NOT_FOUND, "Nothing here; / says what there is.\n");
        };
        if !route.methods.contains(&request.method) {
            return method_not_allowed(route);
        }
        if body.size_hint().lower() > MAX_BODY as u64 {
            return too_large();
        }
        match route.handler {
            Handler::Front => self.front(&request, peer, access).await,
            Handler::Metrics => {
                self.scrape.answer(&*self.app, request.uri.query(), &request.headers, instruments).await
            }
            Handler::Healthy => text(StatusCode::OK, "Watchfire is healthy.\n"),
            Handler::Ready if self.app.ready() => text(StatusCode::OK, "Watchfire is ready.\n"),
            Handler::Ready => text(StatusCode::SERVICE_UNAVAILABLE, "Watchfire is not ready.\n"),
            Handler::Chart => self.api.chart(&*self.app, &request).await,
            Handler::Graph => graph(request.uri.query().unwrap_or_default()),
            Handler::Actions => {
                let whole = sees_output(&request, peer, access);
                actions::answer(self.app.alerting(), request.uri.query().unwrap_or_default(), whole).await
            }
            Handler::Reload => match access.may_change(peer, host(&request), &request.headers) {
                Ok(()) => self.reload().await,
                Err(why) => text(StatusCode::FORBIDDEN, why),
            },
        }
    }

    async fn front(&self, request: &Parts, peer: IpAddr, access: &Access) -> Response<Reply> {
        let (mut overview, now) = (self.app.overview(), Timestamp::now());
        if let Some(checks) = self.app.checks() {
            own::add_checks(&mut overview, &checks.all(), sees_output(request, peer, access));
        }
        if let Some(alerting) = self.app.alerting() {
            let (views, undelivered) = (alerting.alerts().await, alerting.undelivered().await);
            standing::add(&mut overview, &views, &undelivered, &self.app.about().external_labels, now);
        }
        let page = front::page(&overview, &self.telemetry_path, self.app.ready(), now);
        let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", page);
        let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        response
    }

    /// Alertmanager's API: what is refused is refused before the body is read.
    async fn api2(&self, request: &Parts, body: Incoming, peer: IpAddr, access: &Access) -> Response<Reply> {
        let found = match api2::admit(request, || access.may_change(peer, host(request), &request.headers)) {
            Ok(found) => found,
            Err(refusal) => return *refusal,
        };
        let body = match read(request, body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        api2::answer(&found, self.app.alerting(), &self.app.about(), request, &body, self.cors.as_ref()).await
    }

    fn own(&self, request: &Parts, peer: IpAddr, access: &Access) -> Response<Reply> {
        let parties = self.app.pool().zip(self.app.checks()).map(|(pool, checks)| Parties { pool, checks });
        let rights = Rights {
            change: access.may_change(peer, host(request), &request.headers),
            sees_output: sees_output(request, peer, access),
        };
        own::answer(parties.as_ref(), &rights, request, self.cors.as_ref())
    }

    async fn reload(&self) -> Response<Reply> {
        match self.app.reload().await {
            Ok(()) => text(StatusCode::OK, "Reloaded.\n"),
            Err(why) => {
                let body = format!("Not reloaded, the old configuration stays in force:\n{why}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, body)
            }
        }
    }
}

/// Where the links of alerts to their expressions lead, which are as Prometheus makes them (`/graph?g0.expr=EXPR`): to the
/// expression's picture, since there is no page to draw it.
fn graph(query: &str) -> Response<Reply> {
    let expr = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "g0.expr");
    let place = match expr {
        // From where the browser is: a proxy in front may have put a path before it.
        Some((_, expr)) => {
            format!("chart.png?{}", form_urlencoded::Serializer::new(String::new()).append_pair("expr", &expr).finish())
        }
        None => "./".to_string(),
    };
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "The picture of the expression is elsewhere.\n");
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(hyper::header::LOCATION, place);
    }
    response
}

/// The host that the client means, with the port.
fn host(request: &Parts) -> &str {
    let header = request.headers.get(hyper::header::HOST).and_then(|h| h.to_str().ok());
    request.uri.authority().map(|a| a.as_str()).or(header).unwrap_or_default()
}

fn sees_output(request: &Parts, peer: IpAddr, access: &Access) -> bool {
    access.may_see_output(peer, host(request), &request.headers)
}

/// The body of a request that may have one; the error is the answer.
async fn read(request: &Parts, body: Incoming) -> Result<Bytes, Response<Reply>> {
    if request.method != Method::POST {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(text(StatusCode::BAD_REQUEST, "The body has not come as a whole.\n")),
    }
}

fn too_large() -> Response<Reply> {
    text(StatusCode::PAYLOAD_TOO_LARGE, format!("A body of at most {MAX_BODY} bytes, please.\n"))
}

fn method_not_allowed(route: &Route) -> Response<Reply> {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let methods = methods.join(", ");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("{} takes {methods}.\n", route.path));
    response.headers_mut().insert(ALLOW, HeaderValue::from_str(&methods).unwrap_or(HeaderValue::from_static("")));
    response
}

fn unauthorized() -> Response<Reply> {
    let mut response = text(StatusCode::UNAUTHORIZED, "Unauthorized: user and password, please.\n");
    let scheme = HeaderValue::from_static("Basic realm=\"watchfire\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

fn busy() -> Response<Reply> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "Too many logins at a time, try again.\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
