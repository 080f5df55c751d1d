//! `openapi`: prints the API's description.

use super::ui;

pub(super) fn run() -> anyhow::Result<()> {
    ui::json(&crate::http::document())
}
