//! The profile: the shown name and the picture.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::Limited;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{BodyError, Error};
use super::extract::{Json, read_body};
use super::sessions::user;
use super::visit::Visit;
use crate::access::audit::Event;
use crate::access::avatar::{Avatar, AvatarError, ImageType, MAX_BYTES};
use crate::access::profile::DisplayName;
use crate::app::App;

/// What multipart adds around a picture, at most.
const MULTIPART_OVERHEAD: usize = 64 * 1024;
/// How long a picture may take to arrive.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is shown of the account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProfileAnswer {
    success: bool,
    /// The user name; null without an account.
    username: Option<String>,
    /// The shown name; null shows the user name.
    display_name: Option<String>,
    has_avatar: bool,
    /// When the picture was stored, in seconds since 1970.
    avatar_mtime: Option<f64>,
    avatar_content_type: Option<&'static str>,
}

/// What changes the profile.
#[derive(Deserialize, ToSchema)]
pub(super) struct ProfileBody {
    /// The shown name, at most 64 characters; empty or null shows the user name.
    #[serde(deserialize_with = "Deserialize::deserialize")] // null is a value, absence is none
    display_name: Option<String>,
}

/// Returns the profile.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
) -> Result<axum::Json<ProfileAnswer>, Error> {
    profile(&app, &visit)
}

/// Changes the shown name.
pub(super) async fn change(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(body): Json<ProfileBody>,
) -> Result<axum::Json<ProfileAnswer>, Error> {
    let name = body.display_name.unwrap_or_default();
    let name = DisplayName::parse(&name).map_err(Error::DisplayName)?;
    let changed = app
        .store
        .update(move |access| {
            access.set_display_name(name.clone());
            Ok::<_, std::convert::Infallible>(())
        })
        .await?;
    let Ok(()) = changed;
    tell(&app, &visit, &Event::DisplayNameChanged);
    profile(&app, &visit)
}

fn profile(app: &App, visit: &Visit) -> Result<axum::Json<ProfileAnswer>, Error> {
    let access = visit.read(app)?;
    let profile = access.profile();
    let avatar = app.avatar.get();
    let avatar = avatar.as_deref();
    Ok(axum::Json(ProfileAnswer {
        success: true,
        username: profile.username.map(str::to_owned),
        display_name: profile.display_name.map(str::to_owned),
        has_avatar: avatar.is_some(),
        avatar_mtime: avatar.map(|stored| stored.modified),
        avatar_content_type: avatar.map(|stored| stored.picture.kind().as_str()),
    }))
}

fn tell(app: &App, visit: &Visit, event: &Event) {
    app.audit.write(event, &visit.actor(user(app).as_deref()));
}

/// Returns the picture. It can do nothing where it is shown.
pub(super) async fn avatar(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let stored = app.avatar.get().ok_or(Error::NoAvatar)?;
    let etag = format!("\"{}\"", stored.etag);
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| {
        let mut tags = known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == etag || tag == "*")
    });
    let mut answer = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Bytes::copy_from_slice(stored.picture.bytes()).into_response()
    };
    let headers = answer.headers_mut();
    let kind = stored.picture.kind().as_str();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    Ok(answer)
}

/// Replaces the picture, sent as the body itself or as the multipart field `file`.
pub(super) async fn put_avatar(
    State(app): State<Arc<App>>,
    visit: Visit,
    request: Request,
) -> Result<axum::Json<ProfileAnswer>, Error> {
    let place = app.uploads.acquire().await;
    let place = place.map_err(|error| Error::Internal(error.into()))?;
    let (bytes, declared) = tokio::time::timeout(PATIENCE, receive(request))
        .await
        .map_err(|_too_slow| BodyError::Incomplete)??;
    let turn = app.decoding.acquire().await;
    let turn = turn.map_err(|error| Error::Internal(error.into()))?;
    let read = tokio::task::spawn_blocking(move || Avatar::from_upload(&bytes, declared)).await;
    let picture = read
        .map_err(|error| Error::Internal(error.into()))?
        .map_err(Error::Avatar)?;
    drop((turn, place));
    on_disk(&app, move |app| app.avatar.put(picture, app.clock.now())).await?;
    tell(&app, &visit, &Event::AvatarChanged);
    profile(&app, &visit)
}

/// Removes the picture; none is removed already.
pub(super) async fn remove_avatar(
    State(app): State<Arc<App>>,
    visit: Visit,
) -> Result<axum::Json<ProfileAnswer>, Error> {
    let had_one = app.avatar.get().is_some();
    on_disk(&app, |app| app.avatar.remove()).await?;
    if had_one {
        tell(&app, &visit, &Event::AvatarRemoved);
    }
    profile(&app, &visit)
}

/// Does something to the disk that runs to its end even if the client hangs up.
async fn on_disk(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<(), crate::store::StoreError> + Send + 'static,
) -> Result<(), Error> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    Ok(done.map_err(|error| Error::Internal(error.into()))??)
}

/// Receives the picture and the type that it is said to be of.
async fn receive(request: Request) -> Result<(Bytes, ImageType), Error> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    if content_type
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        return receive_multipart(request).await;
    }
    let declared = ImageType::parse(&content_type).map_err(Error::Avatar)?;
    let (parts, body) = request.into_parts();
    let bytes = read_body(&parts.headers, body, MAX_BYTES, PATIENCE).await;
    let bytes = bytes.map_err(too_large)?;
    Ok((bytes, declared))
}

async fn receive_multipart(request: Request) -> Result<(Bytes, ImageType), Error> {
    let most = MAX_BYTES + MULTIPART_OVERHEAD;
    let mut request = request.map(|body| Body::new(Limited::new(body, most)));
    DefaultBodyLimit::disable().apply(&mut request);
    let malformed = |message: &str| {
        Error::from(BodyError::Malformed {
            field: Some("file".to_owned()),
            message: message.to_owned(),
        })
    };
    let broken = |error: axum::extract::multipart::MultipartError| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Error::Avatar(AvatarError::TooLarge)
        } else {
            malformed("The multipart body is malformed.")
        }
    };
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_no_boundary| malformed("The multipart body is malformed."))?;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() != Some("file") {
            continue;
        }
        let declared = field.content_type().map(str::to_owned);
        let bytes = field.bytes().await.map_err(broken)?;
        let declared = match declared.as_deref() {
            // A part that declares nothing cannot contradict its bytes.
            None | Some("application/octet-stream") => ImageType::detect(&bytes),
            Some(declared) => ImageType::parse(declared),
        };
        return Ok((bytes, declared.map_err(Error::Avatar)?));
    }
    Err(malformed("The multipart field `file` is missing."))
}

fn too_large(error: BodyError) -> Error {
    match error {
        BodyError::TooLarge => Error::Avatar(AvatarError::TooLarge),
        BodyError::Malformed { .. } | BodyError::MediaType(_) | BodyError::Incomplete => {
            error.into()
        }
    }
}
