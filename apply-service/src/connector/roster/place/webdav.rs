//! A WebDAV server (RFC 4918), through the sender of the HTTP connectors: its limits, credentials, certificates and lease.
//!
//! The `object_store` crate speaks WebDAV as well, without MOVE: a PUT of many servers shows readers half a file.

use std::sync::Arc;

use super::{Answer, Gate, Place, PlaceError, Stored, Version, hash};
use crate::connector::{Completed, Draft, HttpAnswer, Moment, Refusal, http::HttpSender, lease::Lease};

/// See the module.
pub(in super::super) struct WebDav {
    sender: Arc<HttpSender>,
    base: String,
    moves: bool,
}

impl WebDav {
    pub(in super::super) fn new(sender: Arc<HttpSender>, base: &str, moves: bool) -> Self {
        Self {
            sender,
            base: base.trim().trim_end_matches('/').to_owned(),
            moves,
        }
    }

    async fn ask(&self, request: Ask, lease: &Lease) -> Result<Came, PlaceError> {
        let (method, to) = (request.method, request.path.clone());
        match self.sender.ask(Box::new(request), lease).await {
            HttpAnswer::Response { status, headers, body } => match status {
                401 | 403 => Err(PlaceError::failed(
                    "place-forbidden",
                    format!(
                        "{method} {to} was answered with {status}: check connection.auth and the rights of the account"
                    ),
                )),
                409 => Err(PlaceError::failed(
                    "place-missing",
                    format!("{method} {to} was answered with 409: the folder of connection.baseUrl has to exist"),
                )),
                412 => Err(PlaceError::Changed),
                405 | 501 if method == "MOVE" => Err(PlaceError::failed(
                    "no-move",
                    "the server has no MOVE: say place.webdav.move: false, and a reader may see half a file",
                )),
                200..300 | 404 => Ok(Came { status, headers, body }),
                _ => Err(PlaceError::failed(
                    &format!("http-{status}"),
                    format!("{method} {to} was answered with {status}"),
                )),
            },
            HttpAnswer::NotSent(Refusal { code, .. }) if code == "lease-expired" => Err(PlaceError::LeaseOver),
            HttpAnswer::NotSent(refusal) | HttpAnswer::Broken(refusal) => Err(PlaceError::Failed(refusal)),
        }
    }

    /// Reads and staging need no lease; what takes effect is asked with the real one.
    async fn ask_freely(&self, request: Ask) -> Result<Came, PlaceError> {
        self.ask(request, &Lease::unlimited()).await
    }

    fn there(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }
}

struct Came {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Came {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The ETag, else what a server without one tells.
    fn version(&self) -> Option<Version> {
        if let Some(tag) = self.header("etag") {
            return Some(Version(tag.to_owned()));
        }
        let parts = (self.header("last-modified")?, self.header("content-length")?);
        Some(Version(format!("{}/{}", parts.0, parts.1)))
    }

    /// What was asked for has to be there.
    fn found(self, what: &str) -> Result<Self, PlaceError> {
        if self.status == 404 {
            return Err(PlaceError::failed(
                "place-missing",
                format!("{what} was answered with 404: the folder of connection.baseUrl has to exist"),
            ));
        }
        Ok(self)
    }
}

#[derive(Debug)]
struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    write: bool,
}

impl Ask {
    fn new(method: &'static str, name: &str) -> Self {
        Self {
            method,
            path: format!("/{name}"),
            headers: vec![],
            body: None,
            write: false,
        }
    }
    fn to(self, destination: String) -> Self {
        let headers = vec![
            ("destination".to_owned(), destination),
            ("overwrite".to_owned(), "T".to_owned()),
        ];
        Self { headers, ..self }
    }
    fn takes_effect(self) -> Self {
        Self { write: true, ..self }
    }
}

impl Draft for Ask {
    fn is_write(&self) -> bool {
        self.write
    }
    fn complete(&self, _: &Moment) -> Result<Completed, Refusal> {
        Ok(Completed {
            method: self.method.to_owned(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            body: self.body.clone().map(|body| ("application/octet-stream", body)),
        })
    }
}

impl Place for WebDav {
    fn version<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Version>> {
        Box::pin(async move {
            let came = self.ask_freely(Ask::new("HEAD", name)).await?;
            if came.status == 404 {
                return Ok(None);
            }
            match came.version() {
                Some(version) => Ok(Some(version)),
                // A server that tells nothing: the content itself.
                None => Ok(self.read(name).await?.map(|stored| stored.version)),
            }
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Stored>> {
        Box::pin(async move {
            let came = self.ask_freely(Ask::new("GET", name)).await?;
            if came.status == 404 {
                return Ok(None);
            }
            let version = came.version().unwrap_or_else(|| Version(hash(&came.body)));
            Ok(Some(Stored {
                version,
                bytes: came.body,
            }))
        })
    }

    fn replace<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        expected: Option<&'a Version>,
        gate: &'a Gate,
    ) -> Answer<'a, Version> {
        Box::pin(async move {
            let beside = format!("{name}.usher-tmp");
            if self.moves {
                let put = Ask {
                    body: Some(bytes.to_vec()),
                    ..Ask::new("PUT", &beside)
                };
                self.ask_freely(put).await?.found("PUT")?;
            }
            let there = self.version(name).await?;
            let may = if there.as_ref() == expected {
                gate.pass()
            } else {
                Err(PlaceError::Changed)
            };
            if let Err(error) = may {
                if self.moves {
                    let _ = self.remove(&beside).await;
                }
                return Err(error);
            }
            if self.moves {
                let to = Ask::new("MOVE", &beside).to(self.there(name)).takes_effect();
                self.ask(to, &gate.lease).await?.found("MOVE")?;
            } else {
                let put = Ask {
                    body: Some(bytes.to_vec()),
                    ..Ask::new("PUT", name)
                }
                .takes_effect();
                self.ask(put, &gate.lease).await?.found("PUT")?;
            }
            // By its content: the version alone may be that of somebody who has written since.
            match self.read(name).await? {
                Some(stored) if stored.bytes == bytes => Ok(stored.version),
                Some(_) => Err(PlaceError::Changed),
                None => Err(PlaceError::failed("place-lost", "what was written is not there")),
            }
        })
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            // 404: there is nothing to keep.
            let copy = Ask::new("COPY", from).to(self.there(to));
            self.ask_freely(copy).await.map(drop)
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.ask_freely(Ask::new("DELETE", name)).await.map(drop) })
    }

    fn words(&self) -> String {
        let how = if self.moves {
            ""
        } else {
            ", without MOVE: a reader may see half a file"
        };
        format!("WebDAV {}{how}", self.base)
    }
}
