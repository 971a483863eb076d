//! Every error that HTTP answers, in one table, as RFC 9457 problem JSON.
//!
//! What a person needs (what was wrong, what to do) goes out; where it comes from (a database's words) is logged once and never
//! sent.

use crate::store::StoreError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No such path; the text names those that are there.
    #[error("{0}")]
    UnknownPath(String),
    /// The path is known and what it names is not there.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    BadParameter(String),
    #[error("{0}")]
    BadBody(String),
    #[error("{0}")]
    WrongMethod(String),
    #[error("{0}")]
    Unauthenticated(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    UnsupportedEncoding(String),
    #[error("{0}")]
    TooSlow(String),
    /// Worth a retry: the queue is full, the disk is full, the database is away, the server stops.
    #[error("{0}")]
    Unavailable(String),
    #[error("this is a fault of calltrail; its log says more")]
    Internal,
}

/// The body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
}

/// Seconds after which a sender that was told 503 should come back.
const RETRY_AFTER_SECONDS: &str = "5";

impl ApiError {
    /// The status table: status, last part of the problem's type, title.
    fn row(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            ApiError::UnknownPath(_) => (StatusCode::NOT_FOUND, "unknown-path", "There is no such path"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            ApiError::BadParameter(_) => (StatusCode::BAD_REQUEST, "bad-parameter", "A parameter is wrong"),
            ApiError::BadBody(_) => (StatusCode::BAD_REQUEST, "bad-body", "The body cannot be read"),
            ApiError::WrongMethod(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "The path takes another method")
            }
            ApiError::Unauthenticated(_) => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid token is needed")
            }
            ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed"),
            ApiError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The upload is too large"),
            ApiError::UnsupportedEncoding(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "The encoding is not known")
            }
            ApiError::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body took too long"),
            ApiError::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Come back in a moment")
            }
            ApiError::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong inside")
            }
        }
    }

    pub fn status(&self) -> StatusCode {
        self.row().0
    }

    pub fn problem(&self) -> Problem {
        let (status, kind, title) = self.row();
        Problem {
            kind: format!("urn:calltrail:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
            }
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"calltrail\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // Another process derives for a moment: the question is as good in a second.
            StoreError::Unavailable(_) | StoreError::Fenced => {
                tracing::warn!(%error, "the store is not available");
                ApiError::Unavailable("the database is not available; try again".to_owned())
            }
            StoreError::Inconsistent(_) | StoreError::Other(_) => {
                tracing::error!(%error, "the store failed");
                ApiError::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_status() {
        let text = || "x".to_owned();
        let page = include_str!("../../docs/api.md");
        for (error, status) in [
            (ApiError::UnknownPath(text()), 404),
            (ApiError::NotFound(text()), 404),
            (ApiError::BadParameter(text()), 400),
            (ApiError::BadBody(text()), 400),
            (ApiError::WrongMethod(text()), 405),
            (ApiError::Unauthenticated(text()), 401),
            (ApiError::Forbidden(text()), 403),
            (ApiError::TooLarge(text()), 413),
            (ApiError::UnsupportedEncoding(text()), 415),
            (ApiError::TooSlow(text()), 408),
            (ApiError::Unavailable(text()), 503),
            (ApiError::Internal, 500),
            (StoreError::Unavailable(text()).into(), 503),
            (StoreError::Fenced.into(), 503),
            (StoreError::Inconsistent(text()).into(), 500),
            (StoreError::Other(text()).into(), 500),
        ] {
            assert_eq!(error.status().as_u16(), status, "{error:?}");
            assert_eq!(error.problem().status, status, "{error:?}");
            let problem = error.problem();
            let kind = problem.kind.strip_prefix("urn:calltrail:problem:").unwrap();
            assert!(page.contains(&format!("`{kind}`")), "docs/api.md does not name {kind}");
        }
    }

    #[test]
    fn what_the_database_says_is_not_sent() {
        let error: ApiError = StoreError::Other("no such table: secrets".to_owned()).into();
        assert!(!error.problem().detail.contains("secrets"));
    }

    #[test]
    fn an_overload_says_when_to_come_back() {
        let response = ApiError::Unavailable("x".to_owned()).into_response();
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
