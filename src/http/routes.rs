//! The table of routes: every path, what it asks of its caller, and who answers.
//!
//! [`router`] folds the table and puts the guard on each row, so no route can go without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::ToSchema;

use super::assets::Assets;
use super::error::Error;
use super::guard::{Guard, admit, guard};
use super::openapi::{Shape, Shapes};
use super::visit::{Visit, first};
use super::{
    login, openapi, passkeys, password, profile, prometheus, proxies, sessions, setup, status,
    system, terminal, tls, tokens, totp,
};
use crate::access::rights::Right;
use crate::app::App;

/// One row of the table.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{names}` for what varies.
    pub path: &'static str,
    /// What it asks of its caller.
    pub right: Right,
    /// One sentence for the API's document.
    pub summary: &'static str,
    /// What it takes and gives.
    pub(super) shapes: Shapes,
    handler: MethodRouter<Arc<App>>,
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, right: Right, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            method,
            path,
            right,
            summary: "",
            shapes: Shapes::default(),
            handler: on(filter, handler),
        }
    }

    fn does(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    fn takes<T: ToSchema>(mut self) -> Self {
        self.shapes.takes = Some(Shape::json::<T>());
        self
    }

    fn takes_image(mut self) -> Self {
        self.shapes.takes = Some(Shape::Image);
        self
    }

    fn gives<T: ToSchema>(mut self) -> Self {
        self.shapes.gives = Some(Shape::json::<T>());
        self
    }

    fn gives_image(mut self) -> Self {
        self.shapes.gives = Some(Shape::Image);
        self
    }
}

fn get<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, right: Right, handler: H) -> Route {
    Route::new(Method::GET, path, right, handler)
}

fn post<H: Handler<T, Arc<App>>, T: 'static>(
    path: &'static str,
    right: Right,
    handler: H,
) -> Route {
    Route::new(Method::POST, path, right, handler)
}

fn put<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, right: Right, handler: H) -> Route {
    Route::new(Method::PUT, path, right, handler)
}

fn delete<H: Handler<T, Arc<App>>, T: 'static>(
    path: &'static str,
    right: Right,
    handler: H,
) -> Route {
    Route::new(Method::DELETE, path, right, handler)
}

/// Returns the table.
pub fn routes() -> Vec<Route> {
    let mut table = door_routes();
    table.extend(account_routes());
    table.extend(factor_routes());
    table.extend(passkey_routes());
    table.extend(token_routes());
    table.extend(tls_routes());
    table.extend(proxy_routes());
    table.extend(host_routes());
    table.extend(terminal_routes());
    table
}

fn door_routes() -> Vec<Route> {
    use Right::{Public, Reopen, Setup};

    vec![
        get("/api/auth/status", Public, status::show)
            .does("Says how far this host is, and what the caller is.")
            .gives::<status::StatusAnswer>(),
        post("/api/auth/setup", Setup, setup::set_up)
            .does("Sets the first password and signs its person in.")
            .takes::<setup::SetupBody>()
            .gives::<login::SessionAnswer>(),
        post("/api/auth/skip", Setup, setup::decline)
            .does("Goes without a password.")
            .takes::<setup::ClaimBody>()
            .gives::<setup::DeclinedAnswer>(),
        post("/api/auth/decline", Setup, setup::decline)
            .does("Goes without a password; another name of skip.")
            .takes::<setup::ClaimBody>()
            .gives::<setup::DeclinedAnswer>(),
        post("/api/auth/enable", Reopen, setup::enable)
            .does("Takes \"continue without protection\" back, so that set-up comes first again.")
            .takes::<setup::ClaimBody>()
            .gives::<setup::Done>(),
        post("/api/auth/login", Public, login::login)
            .does("Opens a session for a right password and, where it is on, the second factor.")
            .takes::<login::LoginBody>()
            .gives::<login::SessionAnswer>(),
        post("/api/auth/session/resume", Public, login::resume)
            .does("Gives the token of the session that the resume cookie belongs to.")
            .gives::<login::SessionAnswer>(),
    ]
}

fn account_routes() -> Vec<Route> {
    use Right::{Admin, Session};

    vec![
        post("/api/auth/logout", Session, sessions::logout)
            .does("Ends the session that asks.")
            .gives::<setup::Done>(),
        get("/api/auth/sessions", Session, sessions::list)
            .does("Lists the live sessions.")
            .gives::<sessions::SessionsAnswer>(),
        delete("/api/auth/sessions", Session, sessions::end_others)
            .does("Ends all sessions but the one that asks.")
            .gives::<sessions::EndedAnswer>(),
        delete("/api/auth/sessions/{id}", Session, sessions::end)
            .does("Ends one session.")
            .gives::<setup::Done>(),
        get("/api/auth/profile", Admin, profile::show)
            .does("Returns the profile.")
            .gives::<profile::ProfileAnswer>(),
        put("/api/auth/profile", Admin, profile::change)
            .does("Changes the shown name.")
            .takes::<profile::ProfileBody>()
            .gives::<profile::ProfileAnswer>(),
        get("/api/auth/profile/avatar", Admin, profile::avatar)
            .does("Returns the picture.")
            .gives_image(),
        post("/api/auth/profile/avatar", Admin, profile::put_avatar)
            .does("Replaces the picture, sent as the body or as the multipart field `file`.")
            .takes_image()
            .gives::<profile::ProfileAnswer>(),
        delete("/api/auth/profile/avatar", Admin, profile::remove_avatar)
            .does("Removes the picture.")
            .gives::<profile::ProfileAnswer>(),
        post("/api/auth/change-password", Session, password::change)
            .does("Changes the password; every other session ends.")
            .takes::<password::ChangeBody>()
            .gives::<login::SessionAnswer>(),
        post("/api/auth/disable", Session, password::disable)
            .does("Turns protection off.")
            .takes::<password::ConfirmBody>()
            .gives::<setup::Done>(),
    ]
}

fn factor_routes() -> Vec<Route> {
    use Right::Session;

    vec![
        post("/api/auth/totp/setup", Session, totp::set_up)
            .does("Gives a secret and backup codes to enrol an authenticator app with.")
            .takes::<password::ConfirmBody>()
            .gives::<totp::EnrolmentAnswer>(),
        post("/api/auth/totp/enable", Session, totp::enable)
            .does("Takes the app's first code, which turns two-factor on; other sessions end.")
            .takes::<totp::FirstCodeBody>()
            .gives::<totp::FactorAnswer>(),
        post("/api/auth/totp/disable", Session, totp::disable)
            .does("Turns two-factor off; other sessions end.")
            .takes::<password::ConfirmBody>()
            .gives::<totp::FactorAnswer>(),
        post(
            "/api/auth/totp/backup-codes",
            Session,
            totp::renew_backup_codes,
        )
        .does("Replaces the backup codes by ten new ones.")
        .takes::<totp::RenewBody>()
        .gives::<totp::BackupCodesAnswer>(),
    ]
}

fn passkey_routes() -> Vec<Route> {
    use Right::{Public, Session};

    vec![
        post(
            "/api/auth/passkey/login/start",
            Public,
            passkeys::login_start,
        )
        .does("Begins to sign in with a passkey.")
        .gives::<passkeys::CeremonyAnswer>(),
        post(
            "/api/auth/passkey/login/finish",
            Public,
            passkeys::login_finish,
        )
        .does("Opens a session for what a passkey answered.")
        .takes::<passkeys::PresentedPasskey>()
        .gives::<login::SessionAnswer>(),
        get("/api/auth/passkeys", Session, passkeys::list)
            .does("Lists the passkeys.")
            .gives::<passkeys::PasskeysAnswer>(),
        post(
            "/api/auth/passkeys/register/start",
            Session,
            passkeys::register_start,
        )
        .does("Begins to make a passkey.")
        .takes::<password::ConfirmBody>()
        .gives::<passkeys::CeremonyAnswer>(),
        post(
            "/api/auth/passkeys/register/finish",
            Session,
            passkeys::register_finish,
        )
        .does("Takes the passkey that the browser made; other sessions end.")
        .takes::<passkeys::MadeBody>()
        .gives::<passkeys::PasskeyAnswer>(),
        post(
            "/api/auth/passkeys/confirm/start",
            Session,
            passkeys::confirm_start,
        )
        .does("Begins to confirm something with a passkey, in place of password and code.")
        .gives::<passkeys::CeremonyAnswer>(),
        put("/api/auth/passkeys/{id}", Session, passkeys::rename)
            .does("Gives a passkey another name.")
            .takes::<passkeys::RenameBody>()
            .gives::<passkeys::PasskeyAnswer>(),
        delete("/api/auth/passkeys/{id}", Session, passkeys::remove)
            .does("Removes a passkey; other sessions end.")
            .takes::<password::ConfirmBody>()
            .gives::<passkeys::RemovedAnswer>(),
    ]
}

fn token_routes() -> Vec<Route> {
    use Right::{Admin, Session};

    vec![
        post("/api/auth/generate-api-token", Session, tokens::create)
            .does("Makes an API token, which is shown this once.")
            .takes::<tokens::CreateBody>()
            .gives::<tokens::IssuedAnswer>(),
        get("/api/auth/api-tokens", Admin, tokens::list)
            .does("Lists the API tokens.")
            .gives::<tokens::TokensAnswer>(),
        delete("/api/auth/api-tokens/{id}", Admin, tokens::revoke)
            .does("Revokes an API token: its next request fails.")
            .gives::<setup::Done>(),
        post("/api/auth/api-tokens/{id}/rotate", Session, tokens::rotate)
            .does("Makes a successor of an API token, which goes on beside it for a while.")
            .takes::<tokens::RotateBody>()
            .gives::<tokens::IssuedAnswer>(),
    ]
}

fn tls_routes() -> Vec<Route> {
    use Right::{Admin, Challenge, Trial};

    vec![
        post("/api/ssl/acme", Admin, tls::order)
            .does("Orders a certificate from an authority by ACME; `GET /api/ssl/status` says how that goes.")
            .takes::<tls::OrderBody>()
            .gives::<setup::Done>(),
        get("/.well-known/acme-challenge/{token}", Challenge, tls::answer_challenge)
            .does("Answers an authority while a certificate is ordered (RFC 8555 §8.3)."),
        get("/api/ssl/status", Trial, tls::show)
            .does("Says how HTTPS is.")
            .gives::<tls::TlsAnswer>(),
        post("/api/ssl/validate", Admin, tls::validate)
            .does("Looks at a certificate and its key, and changes nothing.")
            .takes::<tls::PairBody>()
            .gives::<tls::VerdictAnswer>(),
        post("/api/ssl/configure", Admin, tls::configure)
            .does("Serves a certificate at once, and takes it back unless that is confirmed.")
            .takes::<tls::PairBody>()
            .gives::<tls::TriedAnswer>(),
        post("/api/ssl/confirm", Admin, tls::confirm)
            .does("Keeps the certificate that is being tried; counts only over it.")
            .gives::<setup::Done>(),
        post("/api/ssl/disable", Admin, tls::disable)
            .does("Takes a trial back, or turns HTTPS off.")
            .gives::<tls::OffAnswer>(),
    ]
}

fn proxy_routes() -> Vec<Route> {
    use Right::Admin;

    vec![
        get("/api/proxy/check", Admin, proxies::check)
            .does("Says how this request came, and what of it is believed.")
            .gives::<proxies::CheckAnswer>(),
        post("/api/proxy/trust", Admin, proxies::trust)
            .does("Trusts the proxies of a network to name their clients.")
            .takes::<proxies::NetworkBody>()
            .gives::<proxies::TrustedAnswer>(),
        delete("/api/proxy/trust", Admin, proxies::distrust)
            .does("Trusts them no longer.")
            .takes::<proxies::NetworkBody>()
            .gives::<proxies::TrustedAnswer>(),
        get("/ws/proxy-check", Right::Public, proxies::say_back)
            .does("Says back one word over a WebSocket, for who has a ticket of the check."),
        get("/api/proxy/snippet", Admin, proxies::show_snippet)
            .does("Returns a configuration for a proxy, to paste.")
            .gives::<proxies::SnippetAnswer>(),
    ]
}

fn host_routes() -> Vec<Route> {
    use crate::host::system::{History, SystemInfo, SystemSnapshot};
    use Right::{Metrics, Public, Read};

    vec![
        get("/api/system-info", Public, system::info)
            .does("Says that the host is up, and how it is.")
            .gives::<SystemInfo>(),
        get("/api/system", Read, system::snapshot)
            .does("Returns everything that is measured now.")
            .gives::<SystemSnapshot>(),
        get("/api/system/history", Read, system::history)
            .does("Returns the last hour, a point a minute.")
            .gives::<History>(),
        get("/api/prometheus", Metrics, prometheus::show)
            .does("Returns the figures for Prometheus, as text."),
        get("/api/openapi.json", Metrics, openapi::show).does("Returns this document."),
    ]
}

fn terminal_routes() -> Vec<Route> {
    use Right::{Public, Read, Terminal};

    vec![
        post("/api/terminal/ticket", Terminal, terminal::ticket)
            .does("Gives a ticket, good for ten seconds, to a new terminal or back to one.")
            .takes::<terminal::TicketBody>()
            .gives::<terminal::TicketAnswer>(),
        get("/api/terminal/health", Read, terminal::health)
            .does("Says how many terminals there are.")
            .gives::<terminal::HealthAnswer>(),
        get("/ws/terminal", Public, terminal::connect)
            .does("Opens the WebSocket of a terminal; the ticket is in the address."),
    ]
}

/// Builds the server from the table and the page's files.
pub fn router(app: &Arc<App>, assets: Assets) -> Router {
    let mut router = Router::new();
    let mut methods: BTreeMap<&'static str, Vec<Method>> = BTreeMap::new();
    for route in routes() {
        let allowed = methods.entry(route.path).or_default();
        if route.method == Method::GET {
            allowed.push(Method::HEAD);
        }
        allowed.push(route.method.clone());
        let guarded = Guard {
            app: Arc::clone(app),
            right: route.right,
        };
        let handler = route
            .handler
            .route_layer(from_fn_with_state(guarded, guard));
        router = router.route(route.path, handler);
    }
    for (path, methods) in methods {
        router = router.route(path, no_such_method(&methods));
    }
    router
        .fallback(move |State(app): State<Arc<App>>, request: Request| {
            let answer = elsewhere(&app, &assets, &request);
            async { answer }
        })
        .layer(from_fn_with_state(Arc::clone(app), first))
        .with_state(Arc::clone(app))
}

/// Answers the methods that a path does not take: to whoever may know, which ones it does.
fn no_such_method(methods: &[Method]) -> MethodRouter<Arc<App>> {
    let mut names = Vec::from_iter(methods.iter().map(Method::as_str));
    names.sort_unstable();
    let allowed: &'static str = Box::leak(names.join(", ").into_boxed_str());
    let answer = move |State(app): State<Arc<App>>, request: Request| {
        let answer = only_with_credential(&app, &request, Error::MethodNotAllowed(allowed));
        async { answer }
    };
    // Each other method by name: to a fallback's answer the router adds `Allow`, whoever asks.
    let others = ALL_METHODS
        .into_iter()
        .filter(|method| !methods.contains(method));
    others
        .filter_map(|method| MethodFilter::try_from(method).ok())
        .fold(MethodRouter::new(), |router, method| {
            router.on(method, answer)
        })
        .fallback(answer)
}

/// The methods of RFC 9110 and RFC 5789 that the router can tell apart.
const ALL_METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::TRACE,
];

/// Answers what is not in the table: the page, or nothing.
fn elsewhere(app: &App, assets: &Assets, request: &Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || path == "/api" || path.starts_with("/ws/") {
        return only_with_credential(app, request, Error::NotFound);
    }
    assets.answer(request)
}

/// Tells what is not there to callers with any credential, and strangers nothing.
fn only_with_credential(app: &App, request: &Request, error: Error) -> Response {
    let Some(visit) = request.extensions().get::<Visit>() else {
        return Error::from(anyhow::anyhow!("a request came around its first layer"))
            .into_response();
    };
    match admit(app, Right::Metrics, visit, request.headers()) {
        Ok(_any_caller) => error.into_response(),
        Err(refused) => refused.into_response(),
    }
}
