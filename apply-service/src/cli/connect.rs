//! `connect`: the first consent for a target that authorizes by a refresh token. Somebody allows it in a browser; the
//! token goes into the file that the policy names, and the connection is tried.
//!
//! Works on a machine without a browser as well: with `--paste` the address that the browser ends at is pasted here.

use std::{io, io::Write as _, process::ExitCode, time::Duration};

use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use url::Url;
use usher_contract::TargetName;
use usher_runtime::{secret::Secret, shutdown::chain};

use super::{Files, complain, print};
use crate::{
    Config,
    connector::{
        Failure, Operation,
        http::{
            AuthConfig, HttpSender,
            consent::{Consent, RANDOM_BYTES, Returned, exchange},
        },
        lease::Lease,
    },
    policy,
};

/// How long somebody may take to consent.
const WAIT: Duration = Duration::from_secs(600);
/// How long a browser may take to say what it wants.
const SPEAK_WITHIN: Duration = Duration::from_secs(5);
/// The head of a request; codes are far shorter.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// What to connect, and how.
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The target; its policy says `auth: { refreshToken: … }`.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// The port of this machine that the browser comes back to; http://localhost:PORT/callback has to be registered with
    /// the application.
    #[arg(long, default_value_t = 8765)]
    port: u16,
    /// Another address that is registered with the application, for --paste.
    #[arg(long, value_name = "URL", requires = "paste")]
    redirect_uri: Option<String>,
    /// Listen nowhere: paste the address that the browser ends at, also when it shows an error there.
    #[arg(long)]
    paste: bool,
}

pub(super) async fn connect(asked: Connect, files: &Files) -> ExitCode {
    match try_connect(asked, files).await {
        Ok(said) => print(&said),
        Err(problem) => complain(&problem),
    }
}

async fn try_connect(asked: Connect, files: &Files) -> Result<String, String> {
    let config = Config::load(files.config.as_deref(), files.policy.as_deref()).map_err(|error| error.to_string())?;
    let policy = policy::load(&config.policy.folder).map_err(|error| error.to_string())?;
    let name = &asked.target;
    let target = policy
        .targets
        .get(name)
        .ok_or_else(|| format!("the policy folder has no target `{name}`"))?;
    let http = &target.connection.http;
    let AuthConfig::RefreshToken {
        client_id, token_file, ..
    } = &http.auth
    else {
        return Err(format!(
            "target {name} does not authorize by a refresh token: {} has no connection.auth.refreshToken",
            target.file.display()
        ));
    };
    let authorize = http.oauth.authorize_url.as_deref().ok_or_else(|| {
        format!(
            "connection.oauth.authorizeUrl is missing in {}: where somebody consents",
            target.file.display()
        )
    })?;
    let authorize = http.provider_url("oauth.authorizeUrl", authorize)?;
    // Where the token cannot be saved nobody is asked to consent; the service would refuse to start as well.
    let sender = HttpSender::new(http.clone()).map_err(|error| chain(&error))?;

    let listeners = if asked.paste {
        Vec::new()
    } else {
        listen(asked.port).await?
    };
    let port = listeners.first().map_or(Ok(asked.port), |listener| {
        listener
            .local_addr()
            .map(|address| address.port())
            .map_err(|error| error.to_string())
    })?;
    let redirect = asked
        .redirect_uri
        .unwrap_or_else(|| format!("http://localhost:{port}/callback"));
    let random: [u8; RANDOM_BYTES] = rand::random();
    let scopes = match http.oauth.consent_scopes.as_slice() {
        [] => &http.oauth.scopes,
        _ => &http.oauth.consent_scopes,
    };
    let consent = Consent::begin(authorize, client_id, &redirect, scopes, &random);
    say(&format!(
        "Open this address in a browser and allow the access:\n\n{}\n",
        consent.url
    ));
    let waiting = async {
        if asked.paste {
            pasted(&consent).await
        } else {
            browsed(&consent, &listeners, &redirect).await
        }
    };
    let code = tokio::time::timeout(WAIT, waiting)
        .await
        .map_err(|_| "nobody consented within ten minutes; call it again".to_owned())??;
    exchange(http, &consent, &code)
        .await
        .map_err(|refusal| refusal.to_string())?;
    let said = format!("the refresh token is in {}", token_file.display());
    let check = target
        .connection
        .connector()
        .map_err(|_| "the connection is described wrongly".to_owned())?
        .begin(Operation::Check);
    match sender.run(check, &Lease::new(Default::default())).await.0 {
        Ok(_) => Ok(format!("{said}; target {name} answers")),
        Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => {
            Err(format!("{said}, but target {name} does not work with it: {refusal}"))
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// `localhost` is either address of this machine, and the browser chooses.
async fn listen(port: u16) -> Result<Vec<TcpListener>, String> {
    let first = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        format!("cannot listen on port {port} of this machine ({error}); choose another --port, or --paste")
    })?;
    let port = first.local_addr().map_err(|error| error.to_string())?.port();
    Ok([Some(first), TcpListener::bind(("::1", port)).await.ok()]
        .into_iter()
        .flatten()
        .collect())
}

async fn browsed(consent: &Consent, listeners: &[TcpListener], redirect: &str) -> Result<Secret, String> {
    let path = Url::parse(redirect)
        .map(|url| url.path().to_owned())
        .unwrap_or_default();
    loop {
        let stream = match listeners {
            [one] => one.accept().await,
            [one, two, ..] => {
                tokio::select! { accepted = one.accept() => accepted, accepted = two.accept() => accepted }
            }
            [] => return Err("nothing is listened to".to_owned()),
        };
        let Ok((mut stream, _)) = stream else { continue };
        let Ok(Some(address)) = tokio::time::timeout(SPEAK_WITHIN, address_of(&mut stream)).await else {
            continue;
        };
        if address.split('?').next() != Some(path.as_str()) {
            answer(&mut stream, "404 Not Found", "There is nothing here.").await;
            continue;
        }
        match consent.returned(&address) {
            Returned::Code(code) => {
                answer(&mut stream, "200 OK", "Allowed. You can close this window.").await;
                return Ok(code);
            }
            Returned::Refused(error) => {
                answer(&mut stream, "200 OK", "Not allowed. You can close this window.").await;
                return Err(format!("the access was not allowed: {error}"));
            }
            Returned::Other(why) => answer(&mut stream, "400 Bad Request", why).await,
        }
    }
}

/// The path and query that a browser asks for.
async fn address_of(stream: &mut TcpStream) -> Option<String> {
    let mut line = String::new();
    let mut head = BufReader::new(stream).take(HEAD_BYTES_MAX);
    head.read_line(&mut line).await.ok()?;
    // The rest is read, so that closing does not cut the answer off.
    let mut rest = String::new();
    while head.read_line(&mut rest).await.ok()? > 2 {
        rest.clear();
    }
    let mut words = line.split(' ');
    (words.next() == Some("GET")).then(|| words.next().map(str::to_owned))?
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\
         referrer-policy: no-referrer\r\n\r\n{text}",
        text.len()
    );
    // The code was read: a browser that has gone does not matter.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn pasted(consent: &Consent) -> Result<Secret, String> {
    say("Then paste the address that the browser ends at, and press return:");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let line = lines
            .next_line()
            .await
            .map_err(|error| format!("nothing can be read: {error}"))?;
        let Some(line) = line else {
            return Err("nothing was pasted".to_owned());
        };
        if line.trim().is_empty() {
            continue;
        }
        match consent.returned(&line) {
            Returned::Code(code) => return Ok(code),
            Returned::Refused(error) => return Err(format!("the access was not allowed: {error}")),
            Returned::Other(why) => say(&format!("That is not it: {why}. Once more:")),
        }
    }
}
