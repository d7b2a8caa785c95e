"""Receives notices as others would: mails by aiosmtpd, webhooks verified by standardwebhooks.

Prints one JSON line for each thing that happens, and "ready" once it listens. Recipients that begin with "refused" are refused
for good, those that begin with "later" for now. With --hold FOLDER whoever sent something to a recipient or of a target waits
for the answer as long as a file of that name is in the folder.
"""

import argparse
import asyncio
import email
import email.policy
import json
import pathlib
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, SMTP
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

arguments = argparse.ArgumentParser()
arguments.add_argument("--smtp-port", type=int, required=True)
arguments.add_argument("--http-port", type=int, required=True)
arguments.add_argument("--tls", choices=["starttls", "implicit", "none", "no-starttls"], default="starttls")
arguments.add_argument("--certificate")
arguments.add_argument("--key")
arguments.add_argument("--user")
arguments.add_argument("--password")
arguments.add_argument("--mechanism", choices=["PLAIN", "LOGIN"])
arguments.add_argument("--secret", action="append", default=[])
arguments.add_argument("--hold", type=pathlib.Path)
options = arguments.parse_args()
printing = threading.Lock()


def say(what):
    with printing:
        print(json.dumps(what), flush=True)


def is_held(name):
    return options.hold is not None and (options.hold / name).exists()


class Receiver:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("refused"):
            return f"550 5.1.1 <{address}> nobody of this name"
        if address.startswith("later"):
            return f"451 4.2.0 <{address}> greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        say(
            {
                "mail": str(mail["message-id"]),
                "from": envelope.mail_from,
                "recipients": envelope.rcpt_tos,
                "to": str(mail["to"]),
                "sender": str(mail["from"]),
                "subject": str(mail["subject"]),
                "headers": sorted({name.lower() for name in mail.keys()}),
                "counts": {name.lower(): len(mail.get_all(name)) for name in mail.keys()},
                "auto": str(mail["auto-submitted"]),
                "text": parts.get("text/plain"),
                "html": parts.get("text/html"),
                "encrypted": session.ssl is not None or options.tls == "implicit",
                "user": session.auth_data if isinstance(session.auth_data, str) else None,
            }
        )
        while any(is_held(address.split("@")[0]) for address in envelope.rcpt_tos):
            await asyncio.sleep(0.02)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == options.user.encode() and data.password == options.password.encode()
    say({"login": good, "mechanism": mechanism})
    return AuthResult(success=good, handled=False, auth_data=data.login.decode() if good else None)


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        verified = []
        for secret in options.secret:
            try:
                Webhook(secret).verify(body, dict(self.headers))
                verified.append(True)
            except WebhookVerificationError:
                verified.append(False)
        message = json.loads(body)
        say(
            {
                "webhook": self.headers.get("webhook-id"),
                "path": self.path,
                "type": self.headers.get("content-type"),
                "verified": verified,
                "body": message,
            }
        )
        while is_held(message["data"]["target"]):
            time.sleep(0.02)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


context = None
if options.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)

smtp = {"hostname": "127.0.0.1", "port": options.smtp_port, "enable_SMTPUTF8": True}
if options.user:
    smtp["authenticator"] = authenticate
    smtp["auth_required"] = True
    smtp["auth_require_tls"] = options.tls in ("starttls",)
    if options.mechanism:
        smtp["auth_exclude_mechanism"] = [name for name in ("PLAIN", "LOGIN") if name != options.mechanism]


class Server(Controller):
    def factory(self):
        extra = {}
        if options.tls == "starttls":
            extra = {"tls_context": context, "require_starttls": True}
        return SMTP(self.handler, **{**self.SMTP_kwargs, **extra})


server = Server(Receiver(), ssl_context=context if options.tls == "implicit" else None, **smtp)
server.start()
http = ThreadingHTTPServer(("127.0.0.1", options.http_port), Endpoint)
print("ready", flush=True)
http.serve_forever()
