"""aiosmtpd on three free ports of loopback:

    serve_aiosmtpd.py FOLDER

FOLDER holds server.pem and server.key. Prints `ready PLAIN STARTTLS IMPLICIT`, the three ports, when
the server runs, and stops when standard input ends. Needs the package aiosmtpd.

alice@example.test (password `password`) is the only recipient; a message is stored, as its bytes
came and with its dots undone, as FOLDER/mail/SENDER.
"""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

FOLDER = sys.argv[1]


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address != "alice@example.test":
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        path = os.path.join(FOLDER, "mail", envelope.mail_from)
        with open(path, "xb") as file:  # a second message from this sender is an error
            file.write(envelope.original_content)
        return "250 2.0.0 stored"


def check(server, session, envelope, mechanism, data):
    success = (data.login, data.password) == (b"alice", b"password")
    return AuthResult(success=success, handled=False)


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(FOLDER, "server.pem"), os.path.join(FOLDER, "server.key"))
    os.mkdir(os.path.join(FOLDER, "mail"))

    loop = asyncio.get_running_loop()
    common = dict(
        hostname="mx.example.test", data_size_limit=26214400, enable_SMTPUTF8=True, loop=loop
    )
    auth = dict(authenticator=check, auth_required=True)

    async def listen(ssl=None, **options):
        factory = lambda: SMTP(Handler(), **options, **common)
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=ssl)
        return server.sockets[0].getsockname()[1]

    ports = [
        await listen(),
        await listen(tls_context=tls, require_starttls=True, **auth),
        # aiosmtpd does not count TLS from the first byte as TLS when it comes to AUTH.
        await listen(ssl=tls, auth_require_tls=False, **auth),
    ]
    print("ready", *ports, flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


asyncio.run(main())
