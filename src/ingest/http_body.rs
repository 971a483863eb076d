//! Receives the body of an upload: no more than the limit, within the time, and only as far as there is room in memory.

use super::http::Limits;
use super::room::{NoRoom, Room, Share};
use crate::api::error::ApiError;
use axum::body::Body as HttpBody;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;

/// A body as it came over the wire, with the room that it takes.
pub struct Received {
    pub raw: Vec<u8>,
    pub share: Share,
}

/// A body that announces its length waits for room once, before it is sent; any other as it grows.
pub async fn receive(
    limits: &Limits,
    room: &Room,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<Received, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    let announced = announced.unwrap_or(0);
    if announced > limits.max_body_bytes {
        return Err(too_large(limits));
    }
    let share = room.share(announced).await?;
    let received = Received { raw: Vec::with_capacity(announced), share };
    tokio::time::timeout(limits.body_timeout, collect(limits, body, received)).await.unwrap_or_else(|_| {
        Err(ApiError::TooSlow(format!(
            "the body did not arrive within {} s (--body-timeout-seconds)",
            limits.body_timeout.as_secs()
        )))
    })
}

async fn collect(limits: &Limits, mut body: HttpBody, mut received: Received) -> Result<Received, ApiError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            ApiError::BadBody("the body ended before it was complete; send it again".to_owned())
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let size = received.raw.len() + data.len();
        if size > limits.max_body_bytes {
            return Err(too_large(limits));
        }
        received.share.grow_to(size).await?;
        received.raw.extend_from_slice(&data);
    }
    Ok(received)
}

fn too_large(limits: &Limits) -> ApiError {
    ApiError::TooLarge(format!(
        "the upload is larger than {} bytes: send smaller uploads (Logpush: max_upload_bytes), compress them, or raise \
         --max-body-bytes",
        limits.max_body_bytes
    ))
}

impl From<NoRoom> for ApiError {
    fn from(_: NoRoom) -> Self {
        ApiError::Unavailable(
            "other uploads take all the memory that there is for them (--upload-memory-bytes); send this one again"
                .to_owned(),
        )
    }
}
