//! How the library of the stores reaches them: as every other connection of this service does.
//!
//! Guarantees: each request uses the newest certificates and resolves names by the same rules (`usher_runtime::address`); an answer has a
//! size of head and body; why no answer came is kept as a value, so that a place can say what is missing. Time limits are the
//! caller's: a library that asks for credentials first, or asks again, must not add them up.

use std::{fmt, pin::Pin, sync::Arc};

use futures::StreamExt as _;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
};

use usher_runtime::address::find;

use super::now;
use crate::connector::http::client::{Broken, Clients, HEADER_BYTES_MAX, broken};

/// What is read of an answer that is no success. Stores explain themselves in a few hundred bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// See the module.
#[derive(Clone)]
pub(super) struct Carrier {
    clients: Arc<Clients>,
    /// The largest answer that is read, in bytes.
    max_bytes: usize,
}

impl Carrier {
    /// `max_bytes` is that of the list; small answers, such as those that hold a token, have room in any case.
    pub(super) fn new(clients: Arc<Clients>, max_bytes: usize) -> Self {
        Self {
            clients,
            max_bytes: max_bytes.max(ERROR_BYTES_MAX),
        }
    }

    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.clients.get(now()).call(request).await?;
        let (head, body) = answer.into_parts();
        let size = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        if size.sum::<usize>() > HEADER_BYTES_MAX {
            return Err(too_large(HEADER_BYTES_MAX));
        }
        let is_success = head.status.is_success();
        let most = if is_success { self.max_bytes } else { ERROR_BYTES_MAX };
        let (mut read, mut chunks) = (Vec::new(), body.bytes_stream());
        while let Some(chunk) = chunks.next().await {
            match chunk {
                // The status alone says what happened; the library wants the explanation whole.
                Err(_) if !is_success => break,
                chunk => read.extend_from_slice(&chunk?),
            }
            if read.len() > most {
                if is_success {
                    return Err(too_large(most));
                }
                read.truncate(most);
                break;
            }
        }
        let read = if is_success {
            read
        } else {
            // The library drops the status of an explanation that is no UTF-8.
            String::from_utf8_lossy(&read).into_owned().into_bytes()
        };
        Ok(HttpResponse::from_parts(head, read.into()))
    }
}

impl HttpService for Carrier {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.carry(request))
    }
}

impl HttpConnector for Carrier {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}

/// An answer that is larger than what is read.
#[derive(Debug, thiserror::Error)]
#[error("the answer exceeds {0} bytes")]
struct TooLarge(usize);

fn too_large(most: usize) -> HttpError {
    // Asking again would bring the same answer: a kind that is not repeated.
    HttpError::new(HttpErrorKind::Decode, TooLarge(most))
}

/// Why no answer came: code and words, `None` when the store has answered.
pub(super) fn unanswered(error: &object_store::Error) -> Option<(&'static str, String)> {
    if let Some(TooLarge(most)) = find(error) {
        return Some((
            "answer-too-large",
            format!("the answer exceeds {most} bytes (connection.roster.maxBytes)"),
        ));
    }
    Some(match broken(find::<reqwest::Error>(error)?) {
        Broken::Address(refused) => (
            "address-refused",
            format!("{refused}; list it under connection.allowAddresses if it is meant"),
        ),
        Broken::Tls(why) => (
            "tls",
            format!("no trusted TLS connection: {why}; see connection.caFile"),
        ),
        Broken::Connect(why) => ("connect", format!("cannot connect: {why}")),
        Broken::Lost(why) => (
            "connection-lost",
            format!("the connection broke before the answer was complete: {why}"),
        ),
    })
}
