"""One side of the interop tests: pycapnp, that is the C++ implementation.

usage: peer.py SCHEMA call  unix PATH
       peer.py SCHEMA call  tls PORT VAT_ID TRUSTED CERTIFICATE KEY
       peer.py SCHEMA serve unix PATH
       peer.py SCHEMA serve tls PORT - TRUSTED CERTIFICATE KEY

`call` goes through every behaviour, prints one line for each, and leaves in the middle of calls.
With `too-large` as the last argument it sends a message that is too large instead, with `embargo`
it calls a promise before and after that has become an object of its own. `serve` prints a line when
it listens, and serves until it is killed.
"""

import asyncio
import os
import ssl
import sys

import capnp

schema = capnp.load(sys.argv[1])
BATCH = 50
BATCHES = 198
MANY = BATCH * BATCHES


class Thing(schema.Peer.Server):
    def __init__(self, live=None):
        self.live_things = [0]
        self.counted = live
        self.list = []
        self.waiting = []
        self.settled = None
        self.finished_count = 0
        self.kept = []
        if live is not None:
            live[0] += 1

    def __del__(self):
        if self.counted is not None:
            self.counted[0] -= 1

    async def echo(self, number, **_):
        return number + 1

    async def bytes(self, data, **_):
        return data

    async def callBack(self, peer, number, **_):
        return (await peer.echo(number=number)).value

    async def reflect(self, peer, **_):
        return peer

    async def make(self, count, _context, **_):
        value = _context.results.init("value", count)
        for index in range(count):
            value[index] = Thing(self.live_things)

    async def live(self, **_):
        return self.live_things[0]

    async def record(self, number, **_):
        self.list.append(number)

    async def recorded(self, **_):
        return self.list

    async def fail(self, kind, text, **_):
        raise ValueError(text)

    async def later(self, **_):
        return await self.wait()

    async def settle(self, peer, **_):
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            future.set_result(peer)

    async def hang(self, **_):
        await self.wait()
        self.finished_count += 1
        return self.finished_count

    async def wait(self):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    async def finished(self, **_):
        return self.finished_count

    async def keep(self, peers, **_):
        self.kept.extend(peers)

    async def letGo(self, **_):
        kept, self.kept = self.kept, []
        return len(kept)


def tls(side, trusted, certificate, key):
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(trusted)
    # The certificate is pinned as it is; it is no authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def connect(arguments):
    if arguments[0] == "unix":
        return await capnp.AsyncIoStream.create_unix_connection(arguments[1])
    port, vat_id, trusted, certificate, key = arguments[1:6]
    context = tls(ssl.PROTOCOL_TLS_CLIENT, trusted, certificate, key)
    return await capnp.AsyncIoStream.create_connection(
        "127.0.0.1", int(port), ssl=context, server_hostname=vat_id
    )


async def serve(arguments):
    async def serve_one(stream):
        await capnp.TwoPartyServer(stream, bootstrap=Thing()).on_disconnect()

    if arguments[0] == "unix":
        server = await capnp.AsyncIoStream.create_unix_server(serve_one, arguments[1])
        print("listens", flush=True)
    else:
        trusted, certificate, key = arguments[3:6]
        context = tls(ssl.PROTOCOL_TLS_SERVER, trusted, certificate, key)
        server = await capnp.AsyncIoStream.create_server(
            serve_one, "127.0.0.1", int(arguments[1]), ssl=context
        )
        print("listens", flush=True)
    async with server:
        await server.serve_forever()


async def calls(ours):
    answers = [ours.echo(number=number) for number in range(100)]
    for number, answer in enumerate(answers):
        assert (await answer).value == number + 1


async def references(ours):
    assert (await ours.callBack(peer=Thing(), number=10)).value == 11
    chain = ours.reflect(peer=ours).value.reflect(peer=ours).value
    assert (await chain.echo(number=20)).value == 21


async def promises(ours):
    """An answer of an object of its own, not given yet, is a promise for somebody else."""
    thing = Thing()
    own = schema.Peer._new_client(thing)
    for becomes in [Thing(), ours, None]:
        answer = ours.callBack(peer=own.later().value, number=30)
        # It is there by now, and waits.
        await ours.echo(number=0)
        [waiting] = thing.waiting
        thing.waiting = []
        if becomes is not None:
            waiting.set_result(becomes)
            assert (await answer).value == 31
            continue
        waiting.set_exception(ValueError("thought better of it"))
        try:
            await answer
            raise AssertionError("nothing was raised")
        except capnp.KjException as exception:
            assert "better of it" in exception.description, exception.description


async def late(ours):
    thing = Thing()
    later = ours.later().value
    records = [later.record(number=number) for number in range(5)]
    await ours.echo(number=0)
    assert thing.list == []
    await ours.settle(peer=thing)
    for record in records:
        await record
    assert thing.list == [0, 1, 2, 3, 4], thing.list


async def embargo(ours):
    thing = Thing()
    answer = ours.reflect(peer=thing)
    # The same reference before and after: what the answer carries would be another one, which C++
    # does not hold back behind calls on this one.
    back = answer.value
    records = [back.record(number=number) for number in range(3)]
    await answer
    records += [back.record(number=number) for number in range(3, 6)]
    for record in records:
        await record
    assert thing.list == [0, 1, 2, 3, 4, 5], thing.list


async def embargo_that_waits(ours):
    thing = Thing()
    await ours.keep(peers=[thing])
    later = ours.later()
    hanging = [ours.hang() for _ in range(3)]
    back = later.value
    records = [back.record(number=number) for number in range(3)]
    await hanging[0]
    records += [back.record(number=number) for number in range(3, 6)]
    print("it is ours", flush=True)
    for waiting in records + hanging[1:]:
        await waiting
    assert thing.list == [0, 1, 2, 3, 4, 5], thing.list
    print("in order", flush=True)


async def cancel(ours):
    before = (await ours.finished()).value
    hanging = ours.hang()
    await ours.echo(number=0)
    hanging.cancel()
    await ours.settle(peer=Thing())
    assert (await ours.finished()).value == before + 1


async def exceptions(ours):
    for number, kind in enumerate(["FAILED", "OVERLOADED", "DISCONNECTED", "UNIMPLEMENTED"]):
        try:
            await ours.fail(kind=number, text="no room at the inn")
            raise AssertionError("nothing was raised")
        except capnp.KjException as exception:
            assert exception.type == kind, (exception.type, kind)
            assert "no room at the inn" in exception.description, exception.description


async def large(ours):
    data = os.urandom(1 << 20)
    assert (await ours.bytes(data=data)).value == data


async def made(ours):
    held = []
    for _ in range(BATCHES):
        held.extend((await ours.make(count=BATCH)).value)
    assert (await ours.live()).value == MANY
    assert (await held[4321].echo(number=7)).value == 8
    del held
    while (await ours.live()).value > 0:
        await asyncio.sleep(0.01)


async def kept(ours):
    live = [0]
    for _ in range(BATCHES):
        await ours.keep(peers=[Thing(live) for _ in range(BATCH)])
    assert live[0] == MANY, live
    assert (await ours.letGo()).value == MANY
    while live[0] > 0:
        await asyncio.sleep(0.01)


async def leave(ours):
    """Ten calls are under way, and references are held."""
    held = (await ours.make(count=BATCH)).value
    hanging = [ours.hang() for _ in range(10)]
    await ours.echo(number=0)
    print("leave", flush=True)
    os._exit(0 if len(held) == BATCH and len(hanging) == 10 else 1)


async def main():
    arguments = sys.argv[3:]
    if sys.argv[2] == "serve":
        return await serve(arguments)
    client = capnp.TwoPartyClient(await connect(arguments))
    ours = client.bootstrap().cast_as(schema.Peer)
    if arguments[-1] == "embargo":
        return await asyncio.wait_for(embargo_that_waits(ours), 60)
    if arguments[-1] == "too-large":
        assert (await ours.echo(number=1)).value == 2
        try:
            await ours.bytes(data=bytes(9 << 20))
            raise AssertionError("9 MiB were accepted")
        except capnp.KjException as exception:
            print("too large:", exception.type, flush=True)
        return None
    for step in [
        calls,
        references,
        promises,
        late,
        embargo,
        cancel,
        exceptions,
        large,
        made,
        kept,
        leave,
    ]:
        print(step.__name__, flush=True)
        await asyncio.wait_for(step(ours), 60)


asyncio.run(capnp.run(main()))
