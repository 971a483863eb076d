//! One keep-alive connection to a server of this machine, as small as it can be: what is measured is the server.

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};

pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    port: u16,
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    pub took: Duration,
}

impl Client {
    pub async fn connect(port: u16) -> Result<Client> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Client { sender, port })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        let request = Request::get(path).header(header::HOST, format!("127.0.0.1:{}", self.port));
        self.send(request.body(Full::default())?).await
    }

    /// A JSON or NDJSON body; `gzip` says that it is compressed.
    pub async fn post(&mut self, path: &str, body: Bytes, gzip: bool) -> Result<Answer> {
        let mut request = Request::post(path)
            .header(header::HOST, format!("127.0.0.1:{}", self.port))
            .header(header::CONTENT_TYPE, "application/json");
        if gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        self.send(request.body(Full::new(body))?).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let began = Instant::now();
        let path = request.uri().to_string();
        self.sender.ready().await.with_context(|| format!("the connection was closed before {path}"))?;
        let response =
            self.sender.send_request(request).await.with_context(|| format!("no answer to {path}"))?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body, took: began.elapsed() })
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
