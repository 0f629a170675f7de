"""aiosmtplib as a client under examination; see README.md for the arguments."""

import asyncio
import ssl
import sys

import aiosmtplib

(scheme, encryption, host, port, ca, sender, message, user, password, token, mechanisms,
 *recipients) = sys.argv[1:]
# It has neither LMTP nor tokens, and chooses the mechanism itself.
if scheme == "lmtp" or token or mechanisms:
    sys.exit(64)


async def send():
    client = aiosmtplib.SMTP(
        hostname=host,
        port=int(port),
        use_tls=encryption == "tls",
        start_tls={"starttls": True, "opportunistic": None}.get(encryption, False),
        tls_context=ssl.create_default_context(cafile=ca),
        username=user or None,
        password=password or None,
        timeout=15,
    )
    async with client:
        with open(message, "rb") as file:
            content = file.read()
        headers = content.partition(b"\r\n\r\n")[0]
        needs_utf8 = not (headers.isascii() and all(path.isascii() for path in [sender, *recipients]))
        # `sendmail` leaves these to its caller, who has to know what is on offer.
        options = []
        if needs_utf8 or not content.isascii():
            await client.ehlo()
        if not content.isascii() and client.supports_extension("8bitmime"):
            options.append("BODY=8BITMIME")
        if needs_utf8 and client.supports_extension("smtputf8"):
            options.append("SMTPUTF8")
        await client.sendmail(sender, recipients, content, mail_options=options)


try:
    asyncio.run(send())
except (aiosmtplib.SMTPException, ValueError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
