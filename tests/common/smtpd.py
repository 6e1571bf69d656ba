"""A mail server of aiosmtpd that keeps what it gets, taken apart by Python's own parser.

usage: smtpd.py DIRECTORY OPTIONS

Options, as JSON: tls ("none", "starttls", "implicit") with cert and key; auth: the mechanisms it offers, for the user
"watch" with the password "s3cret:pass"; refuse: for a recipient the answers, one a try; answer: the answers to mails.
Says "ready PORT" on standard error. A mail becomes DIRECTORY/NUMBER.json.
"""

import asyncio
import base64
import email
import email.policy
import hashlib
import hmac
import json
import os
import ssl
import sys

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, LoginPassword

USER, PASSWORD = b"watch", b"s3cret:pass"


def parts(message):
    if message.is_multipart():
        below = [part for child in message.iter_parts() for part in parts(child)]
        return [{"type": message.get_content_type()}] + below
    payload = message.get_payload(decode=True)
    return [
        {
            "type": message.get_content_type(),
            "id": message["Content-ID"],
            "file": message.get_filename(),
            "disposition": message.get_content_disposition(),
            "bytes": base64.b64encode(payload).decode(),
            "text": message.get_content() if message.get_content_maintype() == "text" else None,
        }
    ]


class Handler:
    def __init__(self, directory, options):
        self.directory, self.options, self.count = directory, options, 0
        self.mechanism = None

    async def auth_CRAM__MD5(self, server, args):
        challenge = b"<1.2@host.example>"
        answer = await server.challenge_auth(challenge, encode_to_b64=True)
        if answer is MISSING:
            return AuthResult(success=False)
        user, _, digest = answer.rpartition(b" ")
        good = hmac.new(PASSWORD, challenge, hashlib.md5).hexdigest().encode()
        self.mechanism = "CRAM-MD5"
        return AuthResult(success=(user, digest) == (USER, good), auth_data=LoginPassword(user, b""))

    def authenticate(self, server, session, envelope, mechanism, data):
        self.mechanism = mechanism
        return AuthResult(success=(data.login, data.password) == (USER, PASSWORD), handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        answers = self.options.get("refuse", {}).get(address, [])
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answers = self.options.get("answer", [])
        answer = answers.pop(0) if answers else "250 kept it"
        if not answer.startswith("250"):
            return answer
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        kept = {
            "hello": session.host_name,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "authenticated": session.authenticated,
            "mechanism": self.mechanism,
            "encrypted": server.transport.get_extra_info("sslcontext") is not None,
            "headers": [[name, str(value)] for name, value in message.items()],
            "defects": [str(d) for d in message.defects],
            "parts": parts(message),
            "raw": envelope.content.decode("latin-1"),
        }
        path = os.path.join(self.directory, f"{self.count}.json")
        with open(path + ".new", "w") as out:
            json.dump(kept, out)
        os.rename(path + ".new", path)
        self.count += 1
        return answer


async def main(directory, options):
    handler = Handler(directory, options)
    context = None
    if options.get("tls", "none") != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options["cert"], options["key"])
    offered = options.get("auth", [])

    def server():
        return SMTP(
            handler,
            hostname="mail.example",
            tls_context=context if options["tls"] == "starttls" else None,
            require_starttls=options["tls"] == "starttls",
            auth_required=bool(offered),
            auth_require_tls=False,
            auth_exclude_mechanism=[m for m in ["PLAIN", "LOGIN", "CRAM-MD5"] if m not in offered],
            authenticator=handler.authenticate,
        )

    listening = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", 0, ssl=context if options["tls"] == "implicit" else None
    )
    print("ready", listening.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
    await listening.serve_forever()


asyncio.run(main(sys.argv[1], {"tls": "none", **json.loads(sys.argv[2])}))
