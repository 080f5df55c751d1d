//! What this host is and does, for people and programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::error::Error;
use super::visit::Visit;
use crate::app::App;
use crate::config::PublicInfo;
use crate::host::system::{History, SystemInfo, SystemSnapshot};

/// Returns what anyone may know; with the setting `system_info = "status"`, the health word alone.
pub(super) async fn info(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, Error> {
    let info = measure(&app, |app| app.system.info(app.clock.now())).await?;
    Ok(match visit.live.settings.system_info {
        PublicInfo::Full => Json::<SystemInfo>(info).into_response(),
        PublicInfo::Status => {
            Json(json!({ "health": { "status": info.health.status } })).into_response()
        }
    })
}

/// Returns everything that is measured now.
pub(super) async fn snapshot(State(app): State<Arc<App>>) -> Result<Json<SystemSnapshot>, Error> {
    let snapshot = measure(&app, |app| app.system.sample(app.clock.now())).await?;
    Ok(Json(snapshot))
}

/// Returns the last hour.
pub(super) async fn history(State(app): State<Arc<App>>) -> Json<History> {
    Json(app.system.history())
}

/// Measures aside, since the kernel's files can be slow.
pub(super) async fn measure<T: Send + 'static>(
    app: &Arc<App>,
    measure: impl FnOnce(&App) -> T + Send + 'static,
) -> Result<T, Error> {
    let app = Arc::clone(app);
    let measured = tokio::task::spawn_blocking(move || measure(&app)).await;
    measured.map_err(|error| Error::Internal(error.into()))
}
