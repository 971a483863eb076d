//! A running calltrail, asked over HTTP. Its errors are turned into sentences; the token never appears in one.

use super::ask::Hit;
use crate::api::dto::{CallDto, CallMatches};
use crate::model::Timestamp;
use crate::tls;
use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    client: Client,
    base: Url,
    token: Option<String>,
}

/// The body of an error answer (RFC 9457): what was wrong and what to do.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// How often an upload that the server cannot take just now is offered again.
const MAX_ATTEMPTS: u32 = 20;

impl Remote {
    pub fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let how = || format!("{url:?} is no address of a server: write http://HOST:7311 or https://HOST");
        let base = Url::parse(url).with_context(how)?;
        if !matches!(base.scheme(), "http" | "https") {
            bail!(how());
        }
        let client = tls::client(url).connect_timeout(Duration::from_secs(10));
        // A proxy for the world outside cannot reach this machine's own loopback.
        let client = if is_loopback(&base) { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| anyhow!("cannot speak to {url}: {}", deepest(&error)))?;
        Ok(Remote { client, base, token: token.map(str::to_owned) })
    }

    fn url(&self, path: &str) -> Result<Url> {
        Ok(self.base.join(path.trim_start_matches('/'))?)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answer(&self, path: &str, parameters: &[(&str, String)]) -> Result<Response> {
        let mut url = self.url(path)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        self.authorized(self.client.get(url)).send().await.map_err(|e| self.unreachable(&e))
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let cause = deepest(error);
        anyhow!("cannot reach {}: {cause}; is `calltrail serve` running there?", self.base)
    }

    /// One JSON answer; 404 is an error.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, String)]) -> Result<T> {
        let found = self.find(path, parameters).await?;
        found.with_context(|| {
            format!("{} does not know {path}: is it a calltrail of this version?", self.base)
        })
    }

    /// One JSON answer; `None` for 404.
    pub async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<Option<T>> {
        let answer = self.answer(path, parameters).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        let answer = answer
            .json()
            .await
            .with_context(|| format!("{} gave an answer that cannot be read", self.base))?;
        Ok(Some(answer))
    }

    /// One call by any of its ids.
    pub async fn call(&self, id: &str, parameters: &[(&str, String)]) -> Result<Hit> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Answer {
            Several(CallMatches),
            One(Box<CallDto>),
        }
        let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        Ok(match self.find(&format!("/v1/calls/{id}"), parameters).await? {
            None => Hit::Nothing,
            Some(Answer::One(call)) => Hit::One(call),
            Some(Answer::Several(matches)) => Hit::Several(matches.calls),
        })
    }

    /// What is asked about one call by any of its ids; 404 is an error in the server's words.
    pub async fn about_call<T: DeserializeOwned>(
        &self,
        id: &str,
        what: &str,
        as_of: Option<Timestamp>,
    ) -> Result<T> {
        let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        let parameters: Vec<_> = as_of.map(|t| ("as_of", t.to_string())).into_iter().collect();
        let answer = self.answer(&format!("/v1/calls/{id}/{what}"), &parameters).await?;
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        answer.json().await.with_context(|| format!("{} gave an answer that cannot be read", self.base))
    }

    /// Uploads one gzipped body and returns the answer to it. A server that is busy (503, 429) is asked again when it says so.
    pub async fn post_gzip<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<T> {
        let mut url = self.url(path)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let body = bytes::Bytes::from(body);
        for attempt in 1.. {
            let request = self.client.post(url.clone()).header("content-encoding", "gzip");
            let request = request.header("content-type", "application/x-ndjson").body(body.clone());
            let answer = self.authorized(request).send().await.map_err(|e| self.unreachable(&e))?;
            let busy =
                matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            if busy && attempt < MAX_ATTEMPTS {
                tokio::time::sleep(retry_after(&answer)).await;
                continue;
            }
            if !answer.status().is_success() {
                return Err(refused(answer).await);
            }
            return answer
                .json()
                .await
                .context("the server accepted the upload but its answer cannot be read");
        }
        unreachable!("the loop returns")
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The cause that says what happened; what stands around it only says that something did.
fn deepest(error: &dyn std::error::Error) -> &dyn std::error::Error {
    error.source().map_or(error, deepest)
}

fn retry_after(answer: &Response) -> Duration {
    let seconds = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, 30))
}

async fn refused(answer: Response) -> anyhow::Error {
    let (status, url) = (answer.status(), answer.url().path().to_owned());
    let body = answer.bytes().await.unwrap_or_default();
    let sentence = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.detail,
        Err(_) => String::from_utf8_lossy(&body).chars().take(300).collect(),
    };
    anyhow!("{url} answered {status}: {}", super::phrase::printable(&sentence))
}
