//! `GET /`: the paths in plain text; and the answers to paths and methods that are not there.

use super::PATHS;
use super::error::ApiError;
use crate::suggest::nearest;
use axum::http::{Method, Uri};

pub async fn page() -> String {
    let paths: String = PATHS.iter().map(|p| format!("  {p}\n")).collect();
    format!(
        "calltrail {}: who called what, as whom, who allowed it, and what came of it.\n\n{paths}\nSee docs/api.md.\n",
        env!("CARGO_PKG_VERSION")
    )
}

pub async fn unknown_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(80).collect();
    let near = nearest(&path, PATHS.iter().copied()).unwrap_or("/");
    ApiError::UnknownPath(format!(
        "there is no {path:?}; the nearest path is {near}. Known: {}",
        PATHS.join(", ")
    ))
}

pub async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let right = if uri.path().starts_with("/ingest/") { "POST" } else { "GET" };
    ApiError::WrongMethod(format!("{} is not taken here: use {right}", method.as_str()))
}
