"""What is asked in the recorded conversations; `recording.py` writes down how it goes."""

from __future__ import annotations

import json
from typing import Any

from everlog import EventStore
from everlog.connect import connect
from everlog.core.chain import GENESIS
from everlog.core.sequencer import Append, NewEvent
from everlog.ports.seams import Seams
from everlog.testing import FakeClock, deterministic_bytes
from everlog.testing.clock import BEGINNING
from everlog.wire.messages import Offer
from everlog.wire.talks import write_offers
from tests.server.calling import Reply
from tests.wire.recording import Conversation, Setup, Talk

START_MS = int(BEGINNING.timestamp() * 1_000)
SECRET = "5e" * 32
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
OTHER_HUB = "99" * 16
STRANGER = "77" * 16
"""The ledger of an edge of whose records the hub has none."""
WRONG_CHAIN = "00" * 32


def event(stream: str, number: int, type: str = "stock:counted", **more: Any) -> dict[str, Any]:
    """An event of an append, with all that would be chance otherwise."""
    return {
        "id": f"event-{number}",
        "stream": stream,
        "type": type,
        "data": {"pieces": number},
        "nonce": f"{number:064x}",
        **more,
    }


async def appended(talk: Talk, about: str, *events: dict[str, Any], **more: Any) -> Reply:
    options = {name: more.pop(name) for name in ("token",) if name in more}
    return await talk.ask(
        about, "POST", "/v1/append", json={"events": [*events], **more}, **options
    )


def greeting(ledger: str = STRANGER, **more: Any) -> dict[str, Any]:
    return {"protocol": [1], "ledger": ledger, "node": "cd" * 8, "instance": "1", **more}


async def edge_records(seed: str, *events: tuple[str, str], now_ms: int = START_MS) -> list[Offer]:
    """Records of an edge: of streams and types; what they are is the same each time."""
    seams = Seams(FakeClock(now_ms), deterministic_bytes(seed))
    async with EventStore(await connect("memory:", seams=seams, options={}), seams=seams) as edge:
        made = tuple(
            NewEvent(
                f"{seed}-{number}",
                stream,
                type,
                1,
                type,
                json.dumps({"pieces": number}, separators=(",", ":")),
                "null",
                f"{seed}-{number}",
                None,
                number.to_bytes(32, "big"),
            )
            for number, (stream, type) in enumerate(events, 1)
        )
        hub = edge.as_hub()
        appended = await hub.append(hub.ledger.identity.ledger, Append(made))
    return [Offer(record) for record in appended.records]


async def push(
    talk: Talk, about: str, offers: list[Offer], *, ledger: str = "", cursor: str = "0", **more: Any
) -> Reply:
    headers: dict[str, Any] = {
        "Content_Type": NDJSON,
        "Everlog_Ledger": ledger or offers[0].record.origin,
        "Everlog_Cursor": cursor,
    }
    body = b"".join(write_offers(offers)).decode()
    target = more.pop("target", "/v1/push")
    return await talk.ask(about, "POST", target, body=body, **headers, **more)


# --- the stories ----------------------------------------------------------------------------------


async def hello(talk: Talk) -> None:
    await talk.ask(
        "An edge that knows nothing of the hub begins. It is told who the hub is, what time it "
        "has, and how much it takes.",
        "POST",
        "/v1/hello",
        json=greeting(),
    )
    first = await appended(talk, "The log gets two records.", event("a-1", 1), event("a-1", 2))
    chains = [record["chain"] for record in first.json["records"]]
    await talk.ask(
        "An edge names the places that it has passed, oldest first: the newest that the hub has, "
        "too, is where both go on.",
        "POST",
        "/v1/hello",
        json=greeting(checkpoints=[[0, GENESIS.hex()], [1, chains[0]], [2, WRONG_CHAIN]]),
    )
    await talk.ask(
        "Nothing that both have is the beginning.",
        "POST",
        "/v1/hello",
        json=greeting(checkpoints=[[2, WRONG_CHAIN]]),
    )
    await talk.ask(
        "A scope is answered with its id: what cursors of it end with.",
        "POST",
        "/v1/hello",
        json=greeting(scope={"prefix": "a-"}),
    )
    await talk.ask(
        "Who speaks several protocols is answered in the hub's.",
        "POST",
        "/v1/hello",
        json=greeting(protocol=[1, 2]),
    )
    for protocol, which in ((0, "older"), (2, "newer")):
        await talk.ask(
            f"An edge that speaks only an {which} protocol is told so."
            if which == "older"
            else "So is one that speaks only a newer protocol.",
            "POST",
            "/v1/hello",
            json=greeting(protocol=[protocol]),
        )
    await talk.ask(
        "What is no greeting is told where it is wrong.",
        "POST",
        "/v1/hello",
        json={"protocol": [1], "ledger": "me"},
    )


async def pull(talk: Talk) -> None:
    await talk.ask(
        "Of an empty log there is a piece without records. `up_to_date`: there is no more.",
        "GET",
        "/v1/pull?cursor=0",
    )
    await appended(
        talk,
        "Five records, in two streams. The text of `data` is any JSON, with any characters.",
        event("a-1", 1),
        event("b-1", 2, data={"text": "Grüße, 世界 \U0001f600", "quote": '"\\\n', "n": 0.5}),
        event("a-1", 3, meta={"by": "Jane"}, causation="event-1", correlation="order 7"),
        event("a-1", 4, type="stock:lost", register="stock", schema=2),
        event("b-1", 5, data="null"),
    )
    first = await talk.ask(
        "The first piece, of two records at most. Its last line has the cursor to go on with. With "
        "a secret at the hub, each record has a receipt.",
        "GET",
        "/v1/pull?cursor=0&limit=2",
        Accept=NDJSON,
    )
    second = await talk.ask(
        "The next piece begins where the last one ended.",
        "GET",
        f"/v1/pull?cursor={first.lines[-1]['cursor']}&limit=2",
    )
    last = await talk.ask(
        "And the last: `up_to_date` is true.",
        "GET",
        f"/v1/pull?cursor={second.lines[-1]['cursor']}&limit=2",
    )
    await talk.ask(
        "Who asks again with that cursor is told that there is no more.",
        "GET",
        f"/v1/pull?cursor={last.lines[-1]['cursor']}",
    )
    short = last.lines[-1]["cursor"].rpartition(".")[0]
    await talk.ask(
        "A cursor may be without the scope at its end, of who looks at the scope by itself.",
        "GET",
        f"/v1/pull?cursor={short}",
    )
    await talk.ask(
        "A full piece has an ETag: who has it asks whether it still holds.",
        "GET",
        "/v1/pull?cursor=0&limit=2",
        If_None_Match=first.headers["etag"],
    )
    await talk.ask("What is no cursor is told so.", "GET", "/v1/pull?cursor=2")


async def push_(talk: Talk) -> None:
    offers = await edge_records(
        "edge",
        ("a-1", "stock:counted"),
        ("a-1", "stock:counted"),
        ("b-1", "stock:counted"),
        ("c-1", "stock:counted"),
    )
    one, two, three, four = offers
    await push(talk, "Two records of the edge, a line each: both are stored.", [one, two])
    await push(
        talk,
        "The answer was lost, and the edge offers them again, with another: what is there is a "
        "duplicate, and has its position.",
        [one, two, three],
    )
    bad = four._replace(record=four.record._replace(data='{"pieces":5}'))
    after = bad._replace(record=bad.record._replace(id="edge-5"))
    await push(
        talk,
        "Each record is judged on its own: content that does not fit its hash is tampered with, "
        "and what comes after it in its stream waits.",
        [bad, after, one],
    )
    foreign = (await edge_records("another", ("d-1", "stock:counted")))[0]
    await push(
        talk,
        "A record that was born in another ledger is rejected: nobody writes in another's name.",
        [foreign],
        ledger=one.record.origin,
    )
    ahead = (await edge_records("fast", ("e-1", "stock:counted"), now_ms=START_MS + 3_600_000))[0]
    await push(
        talk,
        "What was stamped more than `max_offset_ms` ahead of the hub's clock is not taken, and the "
        "hub says what time it is: the edge sets its clock right and stamps it anew.",
        [ahead],
    )
    pulled = await talk.ask("What is there now, with receipts.", "GET", "/v1/pull?cursor=0")
    receipt = bytes.fromhex(pulled.lines[1]["receipt"])
    await push(
        talk,
        "By a receipt anybody gives back what the hub has had, should it have lost it. Here it has "
        "not. `hub_version` is the version that it had at the hub.",
        [one._replace(version=1, receipt=receipt)],
        ledger=STRANGER,
        cursor=pulled.lines[-1]["cursor"],
    )
    await push(
        talk,
        "A push of a scope is told what is not of it: it is stored, and will not come with a pull.",
        [four],
        target="/v1/push?prefix=a-",
    )
    await push(
        talk,
        "A cursor of another history is refused, and nothing is stored.",
        [four],
        cursor=f"2.{WRONG_CHAIN}.{pulled.lines[-1]['cursor'].split('.')[2]}",
    )
    await talk.ask(
        "A body without its last newline was cut off.",
        "POST",
        "/v1/push",
        body="{}",
        Content_Type=NDJSON,
        Everlog_Ledger=STRANGER,
        Everlog_Cursor="0",
    )


async def strict(talk: Talk) -> None:
    await talk.ask(
        "The hello says to which streams the hub alone appends, by how their names begin.",
        "POST",
        "/v1/hello",
        json=greeting(),
    )
    await appended(
        talk, "An edge has the hub append: the stream is to be new.", event("t-1", 1, expect="new")
    )
    await appended(
        talk,
        "The same ids again are a retry, and get the same answer, whatever has been since.",
        event("t-1", 1, expect="new"),
    )
    await appended(
        talk, "Who expects another version is told which it is.", event("t-1", 2, expect="new")
    )
    onwards = await appended(talk, "And goes on from that.", event("t-1", 2, expect=1))
    [last] = onwards.json["records"]
    at = [last["position"], last["chain"]]
    await appended(
        talk,
        "`at` is a place that the hub must still have in its history; the answer repeats it, and "
        "so shows which question it is the answer to.",
        event("t-1", 2, expect=1),
        at=at,
    )
    await appended(
        talk,
        "Where the hub has another history by now, nothing is appended.",
        event("t-1", 2, expect=1),
        at=[at[0], "0" * 64],
    )
    await appended(talk, "A stream may have to exist.", event("t-2", 3, expect="exists"))
    await appended(
        talk, "Other content under an id that is taken.", event("t-1", 1, data={"pieces": 9})
    )
    await appended(
        talk,
        "A retry of a part, beside what is new, is none.",
        event("t-1", 1),
        event("a-1", 4),
    )
    await appended(
        talk,
        "All or nothing: of two events one has a conflict, and none is stored.",
        event("a-1", 4),
        event("t-1", 5, expect=7),
    )
    await appended(
        talk,
        "`hub` is the ledger to which it is to be appended, for who must not append to another.",
        event("a-1", 4),
        hub=OTHER_HUB,
    )
    offers = await edge_records("edge", ("t-3", "ticket:sold"))
    await push(talk, "What an edge has written there by itself is rejected.", offers)
    await talk.ask("The log.", "GET", "/v1/read")


async def scopes(talk: Talk) -> None:
    await appended(
        talk,
        "Streams of two kinds; one of them is put into a relation.",
        event("a-1", 1),
        event("b-1", 2),
        event("a-2", 3, type="stock:lost"),
        relations=[["mine", "b-1"]],
    )
    prefix = await talk.ask(
        "Only streams whose names begin so. Positions have gaps, and the chain cannot be computed: "
        "`to` and its chain are kept as they are.",
        "GET",
        "/v1/pull?prefix=a-&cursor=0",
    )
    await talk.ask("Only events of these types.", "GET", "/v1/pull?type=stock:lost&cursor=0")
    mine = await talk.ask(
        "Only streams that are in a relation.", "GET", "/v1/pull?relation=mine&cursor=0"
    )
    await talk.ask(
        "A cursor goes on in its own scope alone: what it left out would be missing.",
        "GET",
        f"/v1/pull?cursor={prefix.lines[-1]['cursor']}",
    )
    cursor = mine.lines[-1]["cursor"]
    await talk.ask("In its own it does.", "GET", f"/v1/pull?relation=mine&cursor={cursor}")
    await talk.act(
        "The operator of the hub puts another stream into the relation.", join=["mine", "a-1"]
    )
    await talk.ask(
        "From then on the relation means something else: begin at 0.",
        "GET",
        f"/v1/pull?relation=mine&cursor={cursor}",
    )
    await talk.ask(
        "All of it comes, under the ids that are known.", "GET", "/v1/pull?relation=mine&cursor=0"
    )


async def histories(talk: Talk) -> None:
    first = await appended(talk, "A log of two records.", event("a-1", 1), event("a-1", 2))
    chains = [record["chain"] for record in first.json["records"]]
    status = (await talk.ask("Who it is.", "GET", "/v1/status")).json
    ledger = status["ledger"]
    await talk.ask(
        "An edge stands where the hub has another history, such as after a restore.",
        "GET",
        f"/v1/pull?cursor=2.{WRONG_CHAIN}.{ledger}",
    )
    await talk.ask(
        "Or where the hub has nothing any more.",
        "GET",
        f"/v1/pull?cursor=7.{WRONG_CHAIN}.{ledger}",
    )
    hello = await talk.ask(
        "So it says hello with the places that it has passed, and is told where to go on. What it "
        "had confirmed behind that it offers again.",
        "POST",
        "/v1/hello",
        json=greeting(checkpoints=[[1, chains[0]], [2, WRONG_CHAIN]]),
    )
    position, chain = hello.json["resume"]
    resumed = await talk.ask("From there.", "GET", f"/v1/pull?cursor={position}.{chain}.{ledger}")
    await talk.ask(
        "A cursor of another ledger's history is refused.",
        "GET",
        f"/v1/pull?cursor=1.{chains[0]}.{OTHER_HUB}",
    )
    await talk.act(
        "The operator begins another epoch: the hub was restored, or has taken another's place.",
        begin_epoch=True,
    )
    await talk.ask(
        "The hello has the new epoch. An edge that has met a later one than it is told refuses the "
        "hub: it is one of before, that has come back. The first 12 characters are the time.",
        "POST",
        "/v1/hello",
        json=greeting(),
    )
    await talk.ask(
        "So has each piece. The cursor goes on, as the history is the same.",
        "GET",
        f"/v1/pull?cursor={resumed.lines[-1]['cursor']}",
    )
    await appended(
        talk,
        "An append may rely on a place of the log, and on nothing of what was read being later "
        "than the hub's clock allows.",
        event("a-1", 3),
        at=[2, WRONG_CHAIN],
    )
    await appended(
        talk,
        "The stamp of the latest that was read lies an hour ahead.",
        event("a-1", 3),
        observed=f"{START_MS + 3_600_000:012x}{0:04x}{'cd' * 8}",
    )


READER = "evl_0000000000000001_reader-of-the-recorded-conversations"
SHOP = "evl_0000000000000002_shop-of-the-recorded-conversations"
GUEST = "evl_0000000000000003_guest-of-the-recorded-conversations"
FORMER = "evl_0000000000000004_former-of-the-recorded-conversations"


async def tokens(talk: Talk) -> None:
    await talk.ask("Without a token.", "GET", "/v1/status")
    await talk.ask("With one that is none.", "GET", "/v1/status", token="evl_guess_work")
    await talk.ask("By another way than Bearer.", "GET", "/v1/status", Authorization="Basic eDp5")
    await appended(talk, "The shop may write to its own streams.", event("shop-1", 1), token=SHOP)
    await appended(talk, "And to no others.", event("office-1", 2), token=SHOP)
    await talk.ask(
        "It may read a part, and is not given that when it asks for all.",
        "GET",
        "/v1/pull?cursor=0",
        token=SHOP,
    )
    await talk.ask("It asks for the part.", "GET", "/v1/pull?prefix=shop-", token=SHOP)
    await talk.ask(
        "A token belongs to the first ledger that says hello with it.",
        "POST",
        "/v1/hello",
        json=greeting(scope={"prefix": "shop-"}),
        token=SHOP,
    )
    await talk.ask(
        "And to no other.",
        "POST",
        "/v1/hello",
        json=greeting("66" * 16, scope={"prefix": "shop-"}),
        token=SHOP,
    )
    offers = await edge_records("edge", ("office-1", "stock:counted"))
    await push(talk, "Who may only read has each record of a push rejected.", offers, token=READER)
    await appended(talk, "And no append at all.", event("office-1", 2), token=READER)
    await talk.ask("A token that holds.", "GET", "/v1/wait?position=0", token=GUEST)
    await talk.act("An hour goes by.", clock_ms=START_MS + 3_600_000)
    await talk.ask("It has expired.", "GET", "/v1/wait?position=0", token=GUEST)
    await talk.ask("A token that holds.", "GET", "/v1/wait?position=0", token=FORMER)
    await talk.act("The operator revokes it.", revoke="former")
    await talk.ask("It does not any more.", "GET", "/v1/wait?position=0", token=FORMER)
    await talk.ask("Whether the server answers is told to anybody.", "GET", "/healthz")


async def live(talk: Talk) -> None:
    await appended(talk, "There is something already.", event("a-1", 1))
    await talk.begin(
        "An edge follows: it accepts server-sent events.",
        "line",
        "GET",
        "/v1/pull?cursor=0",
        Accept=SSE,
    )
    await talk.follow(
        "What there is comes at once. Each line of a piece is the data of an event; the last has "
        "the cursor as its id.",
        "line",
        pieces=1,
    )
    await appended(talk, "More is appended.", event("a-1", 2), event("b-1", 3))
    [cursor] = await talk.follow("It comes as a piece.", "line", pieces=1)
    await talk.hang_up("The line is cut.", "line")
    await appended(talk, "Meanwhile the log grows.", event("b-1", 4))
    await talk.begin(
        "The edge goes on behind the last whole piece: `Last-Event-ID` rules over the cursor of "
        "the URL.",
        "line",
        "GET",
        "/v1/pull?cursor=0",
        Accept=SSE,
        Last_Event_ID=cursor,
    )
    await talk.follow("What it has missed.", "line", pieces=1)
    await talk.ask(
        "This hub lets one follow at a time; who is too many is told when to ask again.",
        "GET",
        "/v1/pull?cursor=0",
        Accept=SSE,
    )
    await talk.hang_up("The edge has gone.", "line")
    await talk.begin(
        "A long poll: an answer once the log is past a position, or after a while.",
        "wait",
        "GET",
        "/v1/wait?position=4&timeout_s=30",
    )
    await appended(talk, "It grows.", event("a-1", 5))
    await talk.answer("The position of its last record.", "wait")
    await talk.ask("When there is none in time.", "GET", "/v1/wait?position=5&timeout_s=0.01")
    await talk.ask("What is there already.", "GET", "/v1/wait?position=2&timeout_s=30")


async def reads(talk: Talk) -> None:
    await appended(
        talk,
        "Five records; a stream is put into a relation.",
        *(event("a-1" if number % 2 else "tenant/1 ü", number) for number in range(1, 6)),
        relations=[["all", "tenant/1 ü"]],
    )
    await talk.ask("The log.", "GET", "/v1/read")
    await talk.ask("A stream, its last two.", "GET", "/v1/read?stream=a-1&backwards=true&limit=2")
    await talk.ask(
        "A relation, of a type, up to a position.",
        "GET",
        "/v1/read?relation=all&type=stock:counted&until=3",
    )
    await talk.ask("In the order of folds.", "GET", "/v1/read?order=created&after=3")
    page = await talk.ask(
        "By pages: the last line has what to ask for the next with.",
        "POST",
        "/v1/read",
        json={"selection": {"streams": ["a-1"]}, "size": 2},
    )
    await talk.ask(
        "The next page. A null cursor says that nothing is left.",
        "POST",
        "/v1/read",
        json={**page.lines[-1]["page"], "size": 2},
    )
    await talk.ask(
        "Records by their ids; null for what is not there.",
        "POST",
        "/v1/find",
        json={"ids": ["event-2", "event-9"]},
    )
    await talk.ask("How far a stream has got.", "GET", "/v1/streams/tenant/1%20%C3%BC")
    await talk.ask("One that is not there.", "GET", "/v1/streams/none")
    await talk.ask("Who is in a relation.", "POST", "/v1/streams", json={"relations": ["all"]})
    await talk.ask(
        "And in which a stream is.", "POST", "/v1/relations", json={"streams": ["tenant/1 ü"]}
    )
    await talk.ask("The hub.", "GET", "/v1/status")


async def refusals(talk: Talk) -> None:
    await talk.ask("No such path.", "GET", "/v2/pull")
    await talk.ask("Another method.", "PUT", "/v1/append")
    await talk.ask("A media type that there is not.", "GET", "/v1/pull", Accept="text/html")
    await talk.ask(
        "A body of another media type.",
        "POST",
        "/v1/append",
        body="x=1\n",
        Content_Type="text/plain",
    )
    await talk.ask(
        "A body that is compressed.",
        "POST",
        "/v1/append",
        body="{}\n",
        Content_Type="application/json",
        Content_Encoding="gzip",
    )
    await talk.ask(
        "A body over the limit is refused by its length, before it is sent.",
        "POST",
        "/v1/append",
        Content_Type="application/json",
        Content_Length="5001",
        Expect="100-continue",
    )
    await appended(
        talk,
        "An event over the limit of the hub's body.",
        event("a-1", 1, data={"text": "x" * 5_000}),
    )
    await talk.ask(
        "More lines in a push than the hub takes.",
        "POST",
        "/v1/push",
        body="{}\n" * 4,
        Content_Type=NDJSON,
        Everlog_Ledger=STRANGER,
        Everlog_Cursor="0",
    )
    await talk.ask(
        "What is no JSON.", "POST", "/v1/append", body="{\n", Content_Type="application/json"
    )
    await talk.ask(
        "A key that comes twice.",
        "POST",
        "/v1/append",
        body='{"events":[],"events":[]}\n',
        Content_Type="application/json",
    )
    await talk.ask(
        "A field that is missing.", "POST", "/v1/append", json={"events": [{"stream": "a-1"}]}
    )
    await appended(talk, "A name that cannot be one.", event("a\n1", 1))
    await appended(talk, "A number that other languages would round.", event("a-1", 1, data=2**60))
    await talk.ask("A parameter that there is not.", "GET", "/v1/pull?from=0")
    await talk.ask("A number that is too large.", "GET", "/v1/pull?limit=4")
    await talk.ask("Headers that are too large.", "GET", "/healthz", X_Large="x" * 2_000)
    await talk.ask(
        "Another host than this machine's, at a hub without tokens.",
        "GET",
        "/v1/status",
        Host="hub.example.com",
    )


CONVERSATIONS = [
    Conversation("hello", "An edge introduces itself", Setup("hello"), hello),
    Conversation("pull", "Catching up, piece by piece", Setup("pull", secret=SECRET), pull),
    Conversation("push", "Handing records to the hub", Setup("push", secret=SECRET), push_),
    Conversation(
        "strict",
        "Streams that only the hub appends to",
        Setup("strict", strict=("t-",), secret=SECRET),
        strict,
    ),
    Conversation("scopes", "A part of the log", Setup("scopes"), scopes),
    Conversation(
        "histories", "Another history, another hub, another epoch", Setup("histories"), histories
    ),
    Conversation(
        "tokens",
        "Who may do what",
        Setup(
            "tokens",
            secret=SECRET,
            tokens=(
                {"name": "reader", "token": READER, "pull": ["all"], "push": []},
                {"name": "shop", "token": SHOP, "pull": ["prefix=shop-"], "push": ["prefix=shop-"]},
                {
                    "name": "guest",
                    "token": GUEST,
                    "pull": ["all"],
                    "push": [],
                    "expires_ms": START_MS + 3_600_000,
                },
                {"name": "former", "token": FORMER, "pull": ["all"], "push": []},
            ),
        ),
        tokens,
    ),
    Conversation("live", "Following the log", Setup("live", limits={"streams": 1}), live),
    Conversation("reads", "Reading without a log of one's own", Setup("reads"), reads),
    Conversation(
        "refusals",
        "What is not taken",
        Setup("refusals", limits={"body_bytes": 5_000, "header_bytes": 2_000, "records": 3}),
        refusals,
    ),
]
