"""A guestbook client that knows nothing of vat but its Cap'n Proto interfaces.

usage: guestbook.py SCHEMA unix PATH
       guestbook.py SCHEMA tls HOST PORT VAT_ID CERTIFICATE KEY     (swiss number, hex, on stdin)

Calls, passes a callback in and is called, gets an object back, sees an exception. Prints one line
for each thing that worked; any failure ends it with a traceback.
"""

import asyncio
import base64
import pathlib
import socket
import ssl
import sys
import tempfile

import capnp

SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")


def tls_context(host, port, vat_id, certificate, key):
    """Learns the peer's certificate, checks that its key is the vat id, and trusts exactly it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    with socket.create_connection((host, port)) as raw:
        with context.wrap_socket(raw, server_hostname=vat_id) as stream:
            der = stream.getpeercert(True)
    public = base64.b32decode(vat_id.upper() + "=" * (-len(vat_id) % 8))
    assert der.count(SPKI_PREFIX + public) == 1, "the certificate's key is not the vat id"
    pinned = tempfile.NamedTemporaryFile("w", suffix=".pem")
    pinned.write(ssl.DER_cert_to_PEM_cert(der))
    pinned.flush()
    context.load_verify_locations(pinned.name)
    context.verify_mode = ssl.CERT_REQUIRED
    # The certificate is pinned as it is; it is no authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def connect(arguments):
    if arguments[0] == "unix":
        return await capnp.AsyncIoStream.create_unix_connection(arguments[1])
    host, port, vat_id, certificate, key = arguments[1:6]
    context = tls_context(host, int(port), vat_id, certificate, key)
    return await capnp.AsyncIoStream.create_connection(
        host, int(port), ssl=context, server_hostname=vat_id
    )


async def guestbook_of(schema, client, arguments):
    if arguments[0] == "unix":
        return client.bootstrap().cast_as(schema.Guestbook)
    own = pathlib.Path(__file__).resolve().parents[2] / "schema" / "restorer.capnp"
    restorer = client.bootstrap().cast_as(capnp.load(str(own)).Restorer)
    swiss = bytes.fromhex(sys.stdin.readline().strip())
    try:
        await restorer.restore(swiss=bytes(16))
        raise AssertionError("an invented swiss number was restored")
    except capnp.KjException as exception:
        assert "no such reference" in exception.description, exception
        print("invented: refused")
    restored = await restorer.restore(swiss=swiss)
    return restored.value.as_interface(schema.Guestbook)


def call(target, method, **arguments):
    """A call by request: some parameter names mean something else to pycapnp's own functions."""
    request = getattr(target, method + "_request")()
    for name, value in arguments.items():
        setattr(request, name, value)
    return request.send()


async def main():
    schema = capnp.load(sys.argv[1])
    arguments = sys.argv[2:]

    class Reader(schema.Reader.Server):
        def __init__(self):
            self.heard = []

        async def entry(self, number, entry, **_):
            self.heard.append((number, entry.name, entry.text))

    client = capnp.TwoPartyClient(await connect(arguments))
    book = await guestbook_of(schema, client, arguments)

    first = (await call(book, "sign", name="Pia", text="from python")).value
    print("call:", first > 0)

    reader = Reader()
    watch = (await book.watch(reader=reader)).value
    second = (await call(book, "sign", name="Pia", text="again")).value
    assert second == first + 1, (first, second)
    for _ in range(100):
        if reader.heard:
            break
        await asyncio.sleep(0.02)
    assert reader.heard == [(second, "Pia", "again")], reader.heard
    print("callback: called")

    assert (await watch.sent()).value == 1
    print("object: returned and called")

    # The same in one round trip, through the promised object.
    assert (await book.watch(reader=reader).value.sent()).value == 0
    print("pipelined: answered")

    page = (await call(book, "page", count=1 << 40, **{"from": first - 1})).value
    assert [(e.name, e.text) for e in page] == [("Pia", "from python"), ("Pia", "again")]
    print("page: read")

    try:
        await call(book, "sign", name="", text="nobody")
        raise AssertionError("an empty name was accepted")
    except capnp.KjException as exception:
        assert exception.type == "FAILED", exception.type
        assert "name is empty" in exception.description, exception.description
    print("exception: FAILED")


asyncio.run(capnp.run(main()))
