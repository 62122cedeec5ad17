"""What requests and answers are made of. Written by generate_types.py from the box's OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:  # at run time annotations are text, and Python 3.10 has neither of these
    from collections.abc import Sequence

    from typing_extensions import NotRequired, TypeAlias

Json: TypeAlias = Any
"""Any JSON."""

Vector: TypeAlias = "Sequence[float] | str | bytes | Any"
"""Numbers, a NumPy array, little-endian float32 bytes, or their base64."""


Access: TypeAlias = Literal["read", "append", "write", "admin"]
"""What a key may do. Each level may do what those before it may."""


class AddMemories(TypedDict):
    """Messages to be remembered."""
    collection: NotRequired[str | None]
    """The collection of messages and memories: the user's own when left out."""
    force: NotRequired[bool]
    """Cut topics and make memories of all that has been said, without waiting for more."""
    messages: NotRequired[list[MemoryMessage]]
    """Up to 1 000; none, with `force`, to finish what is waiting."""
    session: str
    """The conversation that they belong to; it is made if it is not there."""
    time_stamp: NotRequired[str | None]
    """The stamp of messages that have none."""
    user: NotRequired[str | None]
    """Whom it is with."""


class AddedMemories(TypedDict):
    """What has come of messages."""
    explain: NotRequired[list[dict[str, Json]]]
    """What each step did, if asked for."""
    llm: dict[str, Json]
    """What language models have cost."""
    memories: list[MadeMemory]
    """Memories that were made."""
    messages: list[AppendedMessage]
    """Each message with its place. All of them are durable, whatever follows."""
    problem: NotRequired[str]
    """Why no memories were made of what is waiting, where that failed: the next call tries again."""
    topics: list[CutTopic]
    """Topics that were cut."""
    updates: NotRequired[list[MemoryChange]]
    """What was done to older ones, with `update` = `online`."""
    version: int
    """The session's version."""
    waiting: Waiting
    """What waits for more to be said."""


class AgentMemories(TypedDict):
    """Long-term memories to be written."""
    memories: list[AgentMemory]
    """Up to 1 000."""


class AgentMemory(TypedDict):
    """A long-term memory. The box says the times that are not given."""
    created_at: NotRequired[str | None]
    """RFC 3339."""
    entities: NotRequired[list[str] | None]
    """Who or what is named in it."""
    event_date: NotRequired[str | None]
    """When what it says took place: RFC 3339."""
    extracted_from: NotRequired[list[str] | None]
    """Messages that it was made of."""
    id: str
    """The client's id. One that exists is replaced."""
    last_accessed: NotRequired[str | None]
    """RFC 3339; the box says when it was last written."""
    memory_type: NotRequired[str | None]
    """`semantic` (as when left out), `episodic` or `message`."""
    namespace: NotRequired[str | None]
    """Where it belongs."""
    persisted_at: NotRequired[str | None]
    """RFC 3339; the box says since when it is a long-term memory."""
    pinned: NotRequired[bool | None]
    """Whether it is never forgotten."""
    session_id: NotRequired[str | None]
    """The conversation that it is of."""
    text: str
    """What is remembered."""
    topics: NotRequired[list[str] | None]
    """What it is about."""
    updated_at: NotRequired[str | None]
    """RFC 3339; the box says it."""
    user_id: NotRequired[str | None]
    """Whom it is about."""


class AgentMemoryDone(TypedDict):
    """That something was done."""
    status: str
    """`ok`, and perhaps how often."""


class AgentMemoryForget(TypedDict):
    """What is to be forgotten."""
    pinned_ids: NotRequired[list[str] | None]
    """Memories that stay."""
    policy: AgentMemoryPolicy
    """Which memories."""


class AgentMemoryForgotten(TypedDict):
    """What was forgotten."""
    deleted: int
    """Memories that were deleted, or would be."""
    deleted_ids: list[str]
    """Their ids."""
    dry_run: bool
    """Whether nothing was deleted."""
    scanned: int
    """Memories that were looked at."""


class AgentMemoryFound(TypedDict):
    """Long-term memories that were found."""
    memories: list[AgentMemoryHit]
    next_offset: NotRequired[int]
    """The `offset` of the next part; missing on the last."""
    total: int
    """How many were found so far, with those that were passed over."""


class AgentMemoryHealth(TypedDict):
    """That it is alive."""
    now: int
    """Milliseconds since 1970."""


class AgentMemoryHit(TypedDict):
    """A long-term memory that was found."""
    created_at: NotRequired[str | None]
    """RFC 3339."""
    entities: NotRequired[list[str] | None]
    """Who or what is named in it."""
    event_date: NotRequired[str | None]
    """When what it says took place: RFC 3339."""
    extracted_from: NotRequired[list[str] | None]
    """Messages that it was made of."""
    id: str
    """The client's id. One that exists is replaced."""
    last_accessed: NotRequired[str | None]
    """RFC 3339; the box says when it was last written."""
    memory_type: NotRequired[str | None]
    """`semantic` (as when left out), `episodic` or `message`."""
    namespace: NotRequired[str | None]
    """Where it belongs."""
    persisted_at: NotRequired[str | None]
    """RFC 3339; the box says since when it is a long-term memory."""
    pinned: NotRequired[bool | None]
    """Whether it is never forgotten."""
    session_id: NotRequired[str | None]
    """The conversation that it is of."""
    text: str
    """What is remembered."""
    topics: NotRequired[list[str] | None]
    """What it is about."""
    updated_at: NotRequired[str | None]
    """RFC 3339; the box says it."""
    user_id: NotRequired[str | None]
    """Whom it is about."""
    dist: float
    """The smaller, the better: the cosine distance of what was found by meaning, or else what `score` lacks of
    1.
    """
    score: NotRequired[float]
    """How sure it is that it answers the question, 0 to 1: the relevance of a recall."""
    score_type: NotRequired[AgentMemoryMode]
    """How it was found."""


AgentMemoryMode: TypeAlias = Literal["semantic", "keyword", "hybrid"]
"""How memories are found."""


class AgentMemoryPatch(TypedDict):
    """A change of a long-term memory: what is left out stays."""
    entities: NotRequired[list[str] | None]
    """Who or what is named in it."""
    event_date: NotRequired[str | None]
    """When what it says took place: RFC 3339."""
    memory_type: NotRequired[str | None]
    """`semantic`, `episodic` or `message`."""
    namespace: NotRequired[str | None]
    """Where it belongs."""
    pinned: NotRequired[bool | None]
    """Whether it is never forgotten."""
    session_id: NotRequired[str | None]
    """The conversation that it is of."""
    text: NotRequired[str | None]
    """What it says now."""
    topics: NotRequired[list[str] | None]
    """What it is about."""
    user_id: NotRequired[str | None]
    """Whom it is about."""


class AgentMemoryPolicy(TypedDict):
    """Which long-term memories are forgotten."""
    budget: NotRequired[int | None]
    """All of the others but the newest so many."""
    hard_age_multiplier: NotRequired[float | None]
    """How many times, 12 when left out."""
    max_age_days: NotRequired[float | None]
    """Those that are older."""
    max_inactive_days: NotRequired[float | None]
    """Those that were not written for longer. Beside `max_age_days` both must hold, or the first so many times
    over.
    """
    memory_type_allowlist: NotRequired[list[str] | None]
    """Of these types alone."""


class AgentMemoryPrompt(TypedDict):
    """A question to a language model. One of `session` and `long_term_search` must be given."""
    long_term_search: NotRequired[AgentMemorySearch | None]
    query: str
    """The question."""
    session: NotRequired[PromptSession | None]


class AgentMemoryPrompted(TypedDict):
    """A question with what is remembered for it."""
    long_term_memories: NotRequired[list[AgentMemoryHit]]
    """The long-term memories among them."""
    messages: list[PromptMessage]


class AgentMemorySearch(TypedDict):
    """A question to long-term memories."""
    created_at: NotRequired[AgentMemoryTimes | None]
    distance_threshold: NotRequired[float | None]
    """The largest cosine distance, where memories are found by meaning."""
    entities: NotRequired[AgentMemoryTags | None]
    event_date: NotRequired[AgentMemoryTimes | None]
    extraction_strategy: NotRequired[AgentMemoryTags | None]
    last_accessed: NotRequired[AgentMemoryTimes | None]
    limit: NotRequired[int | None]
    """Memories, 10 when left out."""
    memory_type: NotRequired[AgentMemoryTags | None]
    namespace: NotRequired[AgentMemoryTags | None]
    offset: NotRequired[int]
    """Memories that are passed over. Default: `0`."""
    search_mode: NotRequired[AgentMemoryMode]
    """How they are found. Default: `"semantic"`."""
    session_id: NotRequired[AgentMemoryTags | None]
    text: NotRequired[str | None]
    """In words; without it the memories that the filters leave are listed, the newest first."""
    topics: NotRequired[AgentMemoryTags | None]
    user_id: NotRequired[AgentMemoryTags | None]


class AgentMemoryTags(TypedDict):
    """Which values of a field."""
    all: NotRequired[list[str] | None]
    """Each of these."""
    any: NotRequired[list[str] | None]
    """One of these."""
    eq: NotRequired[str | None]
    """This."""
    ne: NotRequired[str | None]
    """Any but this."""
    none: NotRequired[list[str] | None]
    """None of these."""
    startswith: NotRequired[str | None]
    """What begins so."""


class AgentMemoryTimes(TypedDict):
    """Which times."""
    between: NotRequired[list[str] | None]
    """From the first on, and up to the second."""
    eq: NotRequired[str | None]
    """RFC 3339."""
    gt: NotRequired[str | None]
    """RFC 3339."""
    gte: NotRequired[str | None]
    """RFC 3339."""
    lt: NotRequired[str | None]
    """RFC 3339."""
    lte: NotRequired[str | None]
    """RFC 3339."""
    ne: NotRequired[str | None]
    """RFC 3339."""


class ApiKeyList(TypedDict):
    """Keys of a tenant."""
    keys: list[ApiKeyView]
    """Those of the settings, then those of the file, the oldest first."""


class ApiKeyView(TypedDict):
    """A key as it is listed: never the key itself."""
    access: Access
    """What it may do."""
    collections: NotRequired[list[str]]
    """The only collections that it reaches."""
    created_at: NotRequired[str]
    """When it was made, where it is managed. RFC 3339."""
    expired: bool
    """Whether it has ended."""
    expires_at: NotRequired[str]
    """When it ends. RFC 3339."""
    id: str
    """By which it is revoked: the beginning of its hash, as the audit log names it."""
    managed: bool
    """Whether it is in the file of keys, from which it can be revoked; the others are in the box's settings."""
    name: NotRequired[str]
    """What it is for."""
    requests_per_second: NotRequired[float]
    """Requests that it may send a second."""
    sessions: NotRequired[list[str]]
    """The only sessions that it reaches."""
    tenant: str
    """Whose it is."""
    users: NotRequired[list[str]]
    """The only users that it reaches."""


class AppendAnswer(TypedDict):
    """What an append did."""
    conflict: NotRequired[ConflictView]
    """What came between, where `on_conflict` was made use of."""
    evicted: list[str]
    """Ids of the messages that left the session's list."""
    messages: list[AppendedMessage]
    """In the order of the request; empty when the server's messages stand."""
    version: int
    """The session's version now."""


class AppendRequest(TypedDict):
    """Messages to be appended to a session."""
    collection: NotRequired[str | None]
    """Likewise."""
    max_messages: NotRequired[int | None]
    """For a session that is not there yet."""
    messages: list[NewMessage]
    """1 to 1 000 of them: all are kept, in this order and with nothing between them, or none."""
    on_conflict: NotRequired[OnConflict | None]
    user: NotRequired[str | None]
    """For a session that is not there yet; one that is must have the same."""


class AppendedMessage(TypedDict):
    """A message that was appended."""
    id: str
    """Its id."""
    seq: NotRequired[int]
    """Its place in the session; missing where a message of this id, or with `merge` the same message, was there
    already.
    """
    truncated_at: NotRequired[int]
    """Where its text, in characters, is cut off: what comes after that is in no vector, and words alone find it.
    Left out where all of the text is in vectors.
    """
    unknown_percent: NotRequired[int]
    """Percent of its tokens that the collection's model does not know, where that is more than half: its vector
    says little then, and words alone find it.
    """


AskedTime = TypedDict(
    "AskedTime",
    {
        "from": "str",
        "text": "str",
        "until": "str",
    },
)
"""A time that the question speaks of."""


class AuditPage(TypedDict):
    """A page of the audit log."""
    entries: list[AuditView]
    next: NotRequired[int]
    """The cursor of the next page; missing on the last."""


class AuditView(TypedDict):
    """An entry of the audit log as it is given out."""
    action: str
    """What was done."""
    actor: str
    """Who did it: the beginning of the hash of a key, or `local` on a box without keys."""
    at: str
    """RFC 3339."""
    count: int
    """To how many."""
    hash: str
    """SHA-256 of it and of the hash before."""
    number: int
    """Its place in the tenant's log."""
    subject: str
    """To what. Users are named by a keyed hash, so that an erased one is not named here."""


class BlobView(TypedDict):
    """The value of a channel at a version."""
    channel: str
    """The channel."""
    data: str
    """The octets in base64."""
    type: str
    """What its octets are."""
    version: str
    """The version of its value."""


class Budget(TypedDict):
    """A budget for the text that is to go into a prompt."""
    compress: NotRequired[bool]
    """Compress the hits that do not fit as they are, instead of leaving them out."""
    encoding: NotRequired[str | None]
    """tiktoken's encoding, or a model's name (o200k_base)."""
    tokens: int
    """Tokens that the context may have."""


class CheckpointList(TypedDict):
    """A page of checkpoints."""
    checkpoints: list[CheckpointView]
    next: NotRequired[str]
    """The cursor of the next page; missing on the last."""


class CheckpointView(TypedDict):
    """A checkpoint as it is given out."""
    blobs: NotRequired[list[BlobView]]
    """These values, where `blobs=true` asks for them."""
    channels: NotRequired[dict[str, str]]
    """The versions of the channels whose values it has as blobs."""
    created_at: str
    """RFC 3339."""
    expires_at: NotRequired[str]
    """RFC 3339."""
    id: str
    """Its id."""
    metadata: dict[str, Json]
    """Its metadata."""
    namespace: str
    """Empty for the thread's own."""
    parent: NotRequired[str]
    """The checkpoint that it follows."""
    state: Json
    """The state."""
    thread: str
    """The thread whose state it is."""
    writes: NotRequired[dict[str, Json]]
    """What tasks have written towards the next one, by task."""


class Chunk(TypedDict):
    """A piece of a text."""
    end: int
    """Where it ends."""
    start: int
    """Where it begins in the text, in bytes."""
    text: str
    """The piece, without white space around it."""


class ChunkAnswer(TypedDict):
    """The pieces of a text."""
    chunks: list[Chunk]


class ChunkRequest(TypedDict):
    """A text to be cut."""
    encoding: NotRequired[str | None]
    """tiktoken's encoding, or a model's name, for tokens (o200k_base)."""
    overlap: NotRequired[int | None]
    """How much of a piece is in the next one too, at most (200, or a fifth of a smaller size)."""
    size: NotRequired[int | None]
    """Length of a piece at most (1000)."""
    text: str
    """The text, at most 16 MiB."""
    unit: NotRequired[ChunkUnit]
    """In what both are counted (characters)."""


ChunkUnit: TypeAlias = Literal["characters", "tokens"]
"""In what lengths are counted."""


CohereDocument: TypeAlias = "str | CohereText"
"""A text, or an object with one."""


class CohereRank(TypedDict):
    """A text and how well it goes with the question."""
    document: NotRequired[CohereText]
    """The text, if that is asked for."""
    index: int
    """Its place in the request."""
    relevance_score: float
    """0 to 1."""


class CohereRanks(TypedDict):
    """Texts in the order of how well they go with the question."""
    results: list[CohereRank]
    """The best first."""


class CohereRerank(TypedDict):
    """The same request as Cohere has it."""
    documents: list[CohereDocument]
    """The texts."""
    max_tokens_per_doc: NotRequired[int | None]
    """Tokens of question and text together; as many as the model reads when left out."""
    model: NotRequired[str | None]
    """A cross-encoder of the setting `models`; the first one when left out."""
    query: str
    """The question."""
    return_documents: NotRequired[bool]
    """Answer with the texts."""
    top_n: NotRequired[int | None]
    """How many of the best are answered; all when left out."""


class CohereText(TypedDict):
    """A text as an object."""
    text: str
    """The text."""


class CollectionList(TypedDict):
    """A list of collections."""
    collections: list[CollectionView]


class CollectionSettings(TypedDict):
    """What a collection is made with. Everything but the policies of index, kinds, redaction, synonyms,
    keywords, memories, late interaction and windows stays as it is.
    """
    dimension: NotRequired[int | None]
    """Numbers in a vector; the model's when left out. Another number makes a collection for given vectors only."""
    index: NotRequired[dict[str, Json]]
    """Which index is kept: `{"kind": "auto" | "flat" | "hnsw" | "ivf", …}`."""
    keywords: NotRequired[bool | None]
    """Whether what is written from now on is given its keywords and names, in its metadata: no when left out, or
    as it was.
    """
    kinds: NotRequired[dict[str, KindDefaults] | None]
    """What records of a kind get that say nothing of it themselves: `{"working": {"ttl_s": 3600}, "profile":
    {"importance": 0.9}}`. It holds for what is written from now on; as it was when left out.
    """
    late_interaction: NotRequired[LateInteraction | None]
    memories: NotRequired[MemoriesPolicy | None]
    metric: NotRequired[Metric | None]
    model: NotRequired[str | None]
    """The model that embeds its texts; the box's own when left out."""
    redaction: NotRequired[Redaction | None]
    synonyms: NotRequired[list[list[str]] | None]
    """Words that mean the same, `[["car", "automobile"], ["kids", "children"]]`: who asks for one finds the
    others by words as well. As they were when left out.
    """
    text_index: NotRequired[bool | None]
    """Whether records are found by the words of their texts: yes when left out, or as it was. Where they are
    not, texts are in no index.
    """
    vector_type: NotRequired[VectorType | None]
    vectors: NotRequired[bool | None]
    """Whether records have vectors: yes when left out, or as it was. Without any, texts are not embedded, and no
    vector finds them; there is no file of vectors, and nothing of them in memory. Words and filters find
    them.
    """
    windows: NotRequired[Windows | None]


class CollectionView(TypedDict):
    """A collection as it is described."""
    created_at: str
    """RFC 3339."""
    index: IndexView
    """The state of the derived indexes."""
    name: str
    """Its name."""
    records: int
    """Records that are current and not expired."""
    rows: int
    """Rows of the vector file, those of older versions among them."""
    settings: CollectionSettings
    """What it was made with."""
    token_vectors: NotRequired[TokenVectorsView]
    """Vectors of tokens; left out where none are kept, and in a list for a collection that is not open."""
    vector_bytes: int
    """Bytes of the vector file."""
    vectors: NotRequired[int]
    """Vectors that they have: more than records where long texts have several. Left out in a list for a
    collection that is not open.
    """


CompressAnswer: TypeAlias = "CompressedText | CompressedDocuments | CompressedConversation | CompressedJson"
"""The answer, in the form of what was asked."""


CompressMode: TypeAlias = Literal["default", "strict", "parity"]
"""How faithfully the package is followed."""


CompressOnWrite: TypeAlias = "bool | CompressOptions"
"""Whether and how texts are compressed when they are written."""


class CompressOptions(TypedDict):
    """What is kept of a text, and how. Names, meanings and defaults are those of `compress_prompt` of the Python
    package, but for `mode`, `encoding`, `threshold` and `structured`, which are ours.
    """
    chunk_end_tokens: NotRequired[list[str]]
    """Where a text that is too long for one pass is best cut. Default: `[".","\\n"]`."""
    context_level_rate: NotRequired[float]
    """Share of the contexts to be kept. Default: `1.0`."""
    context_level_target_token: NotRequired[float]
    """Tokens of the contexts to be kept; negative for no such limit. Default: `-1.0`."""
    drop_consecutive: NotRequired[bool]
    """Of a forced token that would stand twice in a row, keep one. Default: `false`."""
    encoding: NotRequired[str]
    """tiktoken's encoding that tokens are counted by, or a model's name. The package knows only cl100k_base.
    Default: `"cl100k_base"`.
    """
    force_context_ids: NotRequired[list[int]]
    """Contexts that are kept whatever happens, counted from 0. Default: `[]`."""
    force_reserve_digit: NotRequired[bool]
    """Always keep what has a digit in it: numbers with their signs and units, dates, names such as `v1.2.3`.
    Default: `false`.
    """
    force_reserve_negation: NotRequired[bool]
    """Always keep what negates: `not`, `don't`, `nicht`, `不`, `没有`. The package does not know it: mode `parity`
    does not look at it. Default: `true`.
    """
    force_tokens: NotRequired[list[str]]
    """Words and strings that are always kept, with the number, address or name that they are a part of. Default:
    `[]`.
    """
    label_sep: NotRequired[str]
    """What stands between a word and its label. Default: `" "`."""
    mode: NotRequired[CompressMode]
    """How faithfully the package is followed. Default: `"default"`."""
    rate: NotRequired[float]
    """Share of the tokens to be kept, over 0 and up to 1. Default: `0.5`."""
    return_word_label: NotRequired[bool]
    """Whether the answer lists every word with its label. Default: `false`."""
    structured: NotRequired[bool]
    """Whether `<llmlingua, rate=0.5, compress=False>…</llmlingua>` in the text is read as a tag. Default:
    `false`.
    """
    target_context: NotRequired[float]
    """Contexts to be kept at most; negative for no such limit. Default: `-1.0`."""
    target_token: NotRequired[float]
    """Tokens to be kept, instead of a rate; negative for none. Default: `-1.0`."""
    threshold: NotRequired[float | None]
    """Keep only words that are more likely than this, instead of a rate."""
    token_to_word: NotRequired[TokenToWord]
    """How the probabilities of a word's tokens become the word's. Default: `"mean"`."""
    use_context_level_filter: NotRequired[bool | None]
    """Whether the least likely of several contexts are dropped first. Left out: yes in mode `parity` (as the
    package does), no in the others.
    """
    use_token_level_filter: NotRequired[bool]
    """Whether words are dropped. Default: `true`."""
    word_sep: NotRequired[str]
    """What stands between two words of that list. Default: `"\\t\\t|\\t\\t"`."""


class CompressRequest(TypedDict):
    chunk_end_tokens: NotRequired[list[str]]
    """Where a text that is too long for one pass is best cut. Default: `[".","\\n"]`."""
    context: NotRequired[Texts | None]
    context_level_rate: NotRequired[float]
    """Share of the contexts to be kept. Default: `1.0`."""
    context_level_target_token: NotRequired[float]
    """Tokens of the contexts to be kept; negative for no such limit. Default: `-1.0`."""
    documents: NotRequired[list[str] | None]
    """Independent texts, each with an answer of its own; they share the model's passes."""
    drop_consecutive: NotRequired[bool]
    """Of a forced token that would stand twice in a row, keep one. Default: `false`."""
    encoding: NotRequired[str]
    """tiktoken's encoding that tokens are counted by, or a model's name. The package knows only cl100k_base.
    Default: `"cl100k_base"`.
    """
    force_context_ids: NotRequired[list[int]]
    """Contexts that are kept whatever happens, counted from 0. Default: `[]`."""
    force_reserve_digit: NotRequired[bool]
    """Always keep what has a digit in it: numbers with their signs and units, dates, names such as `v1.2.3`.
    Default: `false`.
    """
    force_reserve_negation: NotRequired[bool]
    """Always keep what negates: `not`, `don't`, `nicht`, `不`, `没有`. The package does not know it: mode `parity`
    does not look at it. Default: `true`.
    """
    force_tokens: NotRequired[list[str]]
    """Words and strings that are always kept, with the number, address or name that they are a part of. Default:
    `[]`.
    """
    instruction: NotRequired[str | None]
    """Taken for the package's sake, whose version 2 does nothing with it either."""
    json_config: NotRequired[dict[str, JsonRule] | None]
    """A rule for each key of `json_data`."""
    json_data: NotRequired[dict[str, Json] | None]
    """An object whose texts are compressed, by the rules in `json_config`."""
    keep_last: NotRequired[int | None]
    """How many messages at the end of a conversation stay whole (2)."""
    label_sep: NotRequired[str]
    """What stands between a word and its label. Default: `" "`."""
    messages: NotRequired[list[Message] | None]
    """A conversation: roles stay, messages of role `system` and the last `keep_last` stay whole."""
    mode: NotRequired[CompressMode]
    """How faithfully the package is followed. Default: `"default"`."""
    model: NotRequired[str | None]
    """The model, by its name or how that begins (`keep-head`, `llmlingua-2`); the box's own choice when left
    out.
    """
    question: NotRequired[str | None]
    """Taken for the package's sake, whose version 2 does nothing with it either."""
    rate: NotRequired[float]
    """Share of the tokens to be kept, over 0 and up to 1. Default: `0.5`."""
    return_word_label: NotRequired[bool]
    """Whether the answer lists every word with its label. Default: `false`."""
    structured: NotRequired[bool]
    """Whether `<llmlingua, rate=0.5, compress=False>…</llmlingua>` in the text is read as a tag. Default:
    `false`.
    """
    target_context: NotRequired[float]
    """Contexts to be kept at most; negative for no such limit. Default: `-1.0`."""
    target_token: NotRequired[float]
    """Tokens to be kept, instead of a rate; negative for none. Default: `-1.0`."""
    threshold: NotRequired[float | None]
    """Keep only words that are more likely than this, instead of a rate."""
    token_to_word: NotRequired[TokenToWord]
    """How the probabilities of a word's tokens become the word's. Default: `"mean"`."""
    use_context_level_filter: NotRequired[bool | None]
    """Whether the least likely of several contexts are dropped first. Left out: yes in mode `parity` (as the
    package does), no in the others.
    """
    use_token_level_filter: NotRequired[bool]
    """Whether words are dropped. Default: `true`."""
    word_sep: NotRequired[str]
    """What stands between two words of that list. Default: `"\\t\\t|\\t\\t"`."""


class CompressedConversation(TypedDict):
    """The answer to a conversation."""
    compressed_tokens: int
    """Tokens after, likewise."""
    dropped: list[int]
    """Which of the messages given were left out because nothing of them fits, counted from 0."""
    messages: list[Message]
    """The messages that are left, in order."""
    mode: str
    """In which mode."""
    model: str
    """Which model did the work."""
    origin_tokens: int
    """Tokens before, with 4 a message and 2 for the whole."""


class CompressedDocuments(TypedDict):
    """The answers to `documents`."""
    compressed_tokens: int
    """Tokens of all after."""
    documents: list[CompressedText]
    """In the order of the request."""
    origin_tokens: int
    """Tokens of all before."""


class CompressedJson(TypedDict):
    """The answer to `json_data`."""
    compressed_prompt: str
    """What is left, contexts joined by an empty line."""
    compressed_prompt_list: list[str]
    """What is left of each context that was kept."""
    compressed_tokens: int
    """Tokens after."""
    fn_labeled_original_prompt: NotRequired[str]
    """Every word with its label, 1 for kept, if asked for."""
    kept: list[list[list[int]]]
    """Byte spans of each context that were kept: `[[start, end], …]`. Empty in mode `parity`, whose answer is
    not cut out of the source.
    """
    mode: str
    """In which mode."""
    model: str
    """Which model did the work."""
    origin_tokens: int
    """Tokens before."""
    rate: str
    """What share is left, such as `30.6%`."""
    ratio: str
    """How many times shorter, such as `3.3x`."""
    saving: str
    """The package's estimate at the price that GPT-4 had in 2023."""
    json_data: dict[str, Json]
    """The object, its texts compressed."""


class CompressedText(TypedDict):
    """The answer to one text, or to several contexts. The fields up to `saving` are the package's."""
    compressed_prompt: str
    """What is left, contexts joined by an empty line."""
    compressed_prompt_list: list[str]
    """What is left of each context that was kept."""
    compressed_tokens: int
    """Tokens after."""
    fn_labeled_original_prompt: NotRequired[str]
    """Every word with its label, 1 for kept, if asked for."""
    kept: list[list[list[int]]]
    """Byte spans of each context that were kept: `[[start, end], …]`. Empty in mode `parity`, whose answer is
    not cut out of the source.
    """
    mode: str
    """In which mode."""
    model: str
    """Which model did the work."""
    origin_tokens: int
    """Tokens before."""
    rate: str
    """What share is left, such as `30.6%`."""
    ratio: str
    """How many times shorter, such as `3.3x`."""
    saving: str
    """The package's estimate at the price that GPT-4 had in 2023."""


class Compression(TypedDict):
    """How much was left by a compression."""
    compressed_tokens: int
    """Tokens after."""
    model: str
    """Which model did it."""
    origin_tokens: int
    """Tokens before."""


class ConflictView(TypedDict):
    """Both sides of a conflict."""
    local: NotRequired[list[str]]
    """With `manual`, ids of the messages of this request, of which none was written."""
    resolution: OnConflict
    """What was done."""
    server: list[MessageView]
    """Messages that others have written since the version that was expected."""


class ConsolidateReport(TypedDict):
    """What was merged."""
    merged: int
    """Records that are another's history now, or would be."""
    pairs: list[MergedPair]
    """The first hundred."""
    records: int
    """Records that were looked at."""
    skipped: int
    """Pairs that were left because somebody wrote to one of them meanwhile, or a history is full."""


class ConsolidateRequest(TypedDict):
    """How near-doubles are merged."""
    dry_run: NotRequired[bool]
    """Only say what would be merged. Default: `false`."""
    threshold: NotRequired[float | None]
    """How alike two texts must be to be held against each other (0.8; 1 is the same, and 0 the cosine that
    unrelated texts have by the collection's model). They become one if they say the same in the same words.
    """
    user: NotRequired[str | None]
    """Only records of this user."""


class ContextAnswer(TypedDict):
    """What goes into the prompt."""
    encoding: str
    """By which encoding."""
    messages: list[ContextMessage]
    """In order."""
    omitted: int
    """Messages of the session's list that are not in it."""
    strategy: Strategy
    """How they were chosen."""
    summary: NotRequired[SummaryView]
    """The summary, with `compress` once there is one."""
    text: NotRequired[str]
    """The same as text, if that was asked for."""
    tokens: int
    """Tokens of the messages, with 4 a message and 2 for the whole; never over what was asked for."""
    version: int
    """The version of the session that this is of."""


class ContextMessage(TypedDict):
    """A message of a context."""
    content: str
    """What is said."""
    created_at: NotRequired[str]
    """RFC 3339."""
    id: NotRequired[str]
    """Its id; missing for a summary and for what is no message."""
    name: NotRequired[str]
    """The name of who says it."""
    role: str
    """Who says it."""
    session: NotRequired[str]
    """The session that it is of, where that is another one."""
    tokens: int
    """Tokens of its content, name and calls."""
    tool_call_id: NotRequired[str]
    """The call that it answers."""
    tool_calls: NotRequired[list[dict[str, Json]]]
    """The calls that it makes."""
    truncated: NotRequired[bool]
    """Whether it was too long, and the end of its content is left out, or its calls are."""


class ContextText(TypedDict):
    """The text of the hits that fit a budget."""
    compression: NotRequired[Compression]
    """How much compression left of the other hits' texts; missing where they fit as they are."""
    dropped: list[str]
    """Ids of the hits of which nothing is in it."""
    text: str
    """The hits' texts in the order of the hits, each on lines of its own."""
    tokens: int
    """Its tokens, never more than the budget."""


class ContextWindow(TypedDict):
    """Neighbours in the session to be given with each hit."""
    after: NotRequired[int]
    """Records after the hit, at most 20. Default: `0`."""
    before: NotRequired[int]
    """Records before the hit, at most 20. Default: `0`."""


class Conversation(TypedDict):
    """A conversation: a session."""
    created_at: int
    """Seconds since 1970."""
    id: str
    """The session's id."""
    metadata: dict[str, Json]
    """The session's metadata."""
    object: str
    """`conversation`."""


class ConversationItems(TypedDict):
    """Items of a conversation."""
    data: list[dict[str, Json]]
    first_id: str | None
    has_more: bool
    """Whether others follow."""
    last_id: str | None
    object: str
    """`list`."""


class ConversationPatch(TypedDict):
    """A change of a conversation."""
    metadata: dict[str, Json]
    """In the place of what is there: any JSON object up to 16 KiB."""


class CopiedCheckpoints(TypedDict):
    """How many checkpoints were copied."""
    copied: int


class CopyThread(TypedDict):
    """Where a thread is copied to."""
    to: str
    """The other thread, 1 to 255 bytes. What it has by the same ids is replaced."""


class CountAnswer(TypedDict):
    """How many records there are."""
    count: int


class CountRequest(TypedDict):
    """Which records are counted."""
    filter: NotRequired[dict[str, Json] | None]
    """All of them when left out."""


class CountedMessage(TypedDict):
    """A message whose tokens are counted, as OpenAI's API has it."""
    annotations: NotRequired[list[dict[str, Json]] | None]
    """Not counted, as no prompt has it."""
    audio: NotRequired[dict[str, Json] | None]
    """Not counted: it is no text."""
    content: NotRequired[str | None]
    """What is said; null where tools are called instead."""
    function_call: NotRequired[dict[str, Json] | None]
    """The call that it makes, as older clients have it, counted likewise."""
    name: NotRequired[str | None]
    """Who says it."""
    refusal: NotRequired[str | None]
    """Why nothing is said."""
    role: NotRequired[str | None]
    """Not counted: it is within the four tokens of a message."""
    tool_call_id: NotRequired[str | None]
    """The call that it answers."""
    tool_calls: NotRequired[list[dict[str, Json]] | None]
    """The calls that it makes, counted as JSON."""


class CreatedApiKey(TypedDict):
    """A key that was made."""
    access: Access
    """What it may do."""
    collections: NotRequired[list[str]]
    """The only collections that it reaches."""
    created_at: NotRequired[str]
    """When it was made, where it is managed. RFC 3339."""
    expired: bool
    """Whether it has ended."""
    expires_at: NotRequired[str]
    """When it ends. RFC 3339."""
    id: str
    """By which it is revoked: the beginning of its hash, as the audit log names it."""
    managed: bool
    """Whether it is in the file of keys, from which it can be revoked; the others are in the box's settings."""
    name: NotRequired[str]
    """What it is for."""
    requests_per_second: NotRequired[float]
    """Requests that it may send a second."""
    sessions: NotRequired[list[str]]
    """The only sessions that it reaches."""
    tenant: str
    """Whose it is."""
    users: NotRequired[list[str]]
    """The only users that it reaches."""
    key: str
    """The key itself. It is shown this once: the box keeps its hash alone."""


class Cut(TypedDict):
    """A place where a topic ends: before turn `at`."""
    at: int
    """The first turn of the next topic."""
    score: float
    """How clearly, by the rule's own measure: the depth of the valley, or 1 less the cosine."""


CutRule: TypeAlias = Literal["depth", "lightmem", "cosine", "time"]
"""By what a conversation is cut into topics."""


CutTopic = TypedDict(
    "CutTopic",
    {
        "from": "int",
        "reason": "str",
        "score": "NotRequired[float]",
        "tokens": "int",
        "topic": "int",
        "until": "int",
    },
)
"""A topic that was cut."""


Decision: TypeAlias = Literal["keep", "update", "delete", "merge"]
"""What becomes of an older memory."""


class DeleteAnswer(TypedDict):
    """How many were deleted."""
    deleted: int


class DeleteRequest(TypedDict):
    """Which records are to be deleted: `ids` or `filter`."""
    filter: NotRequired[dict[str, Json] | None]
    ids: NotRequired[list[str] | None]


class DeletedCheckpoints(TypedDict):
    """How many checkpoints were deleted."""
    deleted: int


class DeletedConversation(TypedDict):
    """That a conversation is deleted."""
    deleted: bool
    id: str
    object: str
    """`conversation.deleted`."""


class DeletedMessages(TypedDict):
    """How many messages were deleted."""
    deleted: int


Direction: TypeAlias = Literal["asc", "desc"]
"""Which way values are ordered."""


EmbeddingData: TypeAlias = "list[float] | str"


EmbeddingInput: TypeAlias = "str | list[str] | list[int] | list[list[int]]"
"""What is to be embedded: a text, texts, a token sequence, or token sequences."""


class EmbeddingObject(TypedDict):
    embedding: EmbeddingData
    index: int
    object: str


class EmbeddingsAnswer(TypedDict):
    """OpenAI's answer."""
    data: list[EmbeddingObject]
    model: str
    object: str
    usage: Usage


class EmbeddingsRequest(TypedDict):
    """OpenAI's request. Further fields, which its clients and gateways send, are passed over."""
    dimensions: NotRequired[int | None]
    """Keep only so many numbers, and normalise again."""
    encoding_format: NotRequired[EncodingFormat]
    input: EmbeddingInput
    """What is to be embedded. Token ids are those of cl100k_base, as OpenAI's clients send them, or, between the
    model's own first and last token (`[CLS]` and `[SEP]`), the model's.
    """
    max_tokens: NotRequired[int | None]
    """Tokens kept of each text: as many as the model's folder says, or 256, unless said otherwise; at most as
    many as the model has positions.
    """
    model: NotRequired[str | None]
    """One of `GET /v1/models`; the box's own when left out."""
    user: NotRequired[str | None]
    """Not used."""


EncodingFormat: TypeAlias = Literal["float", "base64"]
"""How vectors are written."""


class EraseTenant(TypedDict):
    """Who is to be erased."""
    tenant: str
    """The tenant of this key, by its name: so that nobody erases one by mistake."""


class ErasureReceipt(TypedDict):
    """What an erasure has done. It names nobody who is gone: of the user and of the user's own collection it
    says what the audit log says.
    """
    audit_hash: str
    """Its hash."""
    audit_number: int
    """The entry of the audit log that says so."""
    begun_at: str
    """RFC 3339."""
    checkpoints: int
    """Checkpoints of threads that are called like them."""
    dropped: list[str]
    """Collections that were the user's own, and are gone."""
    ended_at: str
    """RFC 3339: from then on nothing of it is in any file."""
    queued: int
    """Inputs that waited in their queues."""
    records: int
    """Records that are gone, messages among them."""
    rewritten: list[str]
    """Collections whose files were written anew without the user's records."""
    sessions: int
    """Sessions that are gone."""
    user: str
    """Whose data it was, as the `subject` in the audit log."""


Evict: TypeAlias = Literal["archive", "delete"]
"""What becomes of messages over a session's cap."""


class Exclude(TypedDict):
    """Records that are no hits, whatever they say."""
    ids: NotRequired[list[str]]
    """Ids of records, at most 1 000. Default: `[]`."""
    sessions: NotRequired[list[str]]
    """Sessions, at most 1 000. Default: `[]`."""


class ExplainedTerm(TypedDict):
    """A word that was looked for."""
    found: bool
    """Whether the record has it."""
    rarity: float
    """How rare it is among the texts (BM25's inverse document frequency)."""
    term: str
    """As it is looked for: folded and stemmed."""


class ExplainedToken(TypedDict):
    """A token of the question."""
    similarity: float
    """The cosine of the nearest token of the record."""
    text: str
    """The part of the question that it stands for."""
    weight: float
    """Its share of the tokens' part: the rarer its word, the more."""


class Explanation(TypedDict):
    """Why a hit is one."""
    parts: list[ScorePart]
    """Their scores add up to the hit's."""
    terms: NotRequired[list[ExplainedTerm]]
    """The words that were looked for."""
    tokens: NotRequired[list[ExplainedToken]]
    """The tokens of the question, where they were compared."""


class Facet(TypedDict):
    """The values of a field."""
    distinct: int
    """How many different values there are."""
    field: str
    """The field."""
    missing: int
    """Records that do not have the field, or have null."""
    values: list[ValueCount]
    """Most first; of as many, numbers, then texts, then truth values, each in their order."""


class FacetsAnswer(TypedDict):
    """The values of fields."""
    count: int
    """Records that were looked at."""
    facets: list[Facet]
    """As the fields were asked for."""


class FacetsRequest(TypedDict):
    """Whose values are counted."""
    fields: list[str]
    """1 to 16 fields, as filters name them."""
    filter: NotRequired[dict[str, Json] | None]
    """Of these records; of all when left out."""
    limit: NotRequired[int | None]
    """Values of a field, 10 unless said otherwise."""


class FieldError(TypedDict):
    """A field of the request that is wrong."""
    detail: str
    """What is wrong with it."""
    pointer: str
    """JSON pointer to the field."""


class ForgetAnswer(TypedDict):
    """What was forgotten."""
    counted: int
    """Memories that counted."""
    forgotten: int
    """Memories that are gone, or would be."""
    memories: list[ForgottenMemory]
    """The first hundred of these, the least valuable first."""
    pinned: int
    """Of these, those that are pinned and stay."""


class ForgetRequest(TypedDict):
    """What is to be forgotten."""
    dry_run: NotRequired[bool]
    """Only say what would go."""
    filter: NotRequired[dict[str, Json] | None]
    """Only those that a filter allows count, and go."""
    half_life_s: NotRequired[float | None]
    """Seconds in which a memory's worth halves (2 592 000: thirty days)."""
    keep: int
    """Memories that are left at most."""
    user: NotRequired[str | None]
    """Only those of this user count, and go."""


class ForgottenMemory(TypedDict):
    """A memory that goes, and why this one."""
    created_at: str
    """RFC 3339."""
    expires_at: NotRequired[str]
    """RFC 3339."""
    id: str
    """Its id. That of a message is `session/message`, or a UUID where a record has that."""
    importance: NotRequired[float]
    """0 to 1."""
    kind: NotRequired[str]
    """Episodic, semantic, …"""
    message: NotRequired[str]
    """The id of the message that it is, in its session."""
    metadata: dict[str, Json]
    """Its metadata."""
    payload: NotRequired[Json]
    """Its payload, as it was given; a list has it where `payload=true` asks for it."""
    session: NotRequired[str]
    """The conversation it belongs to."""
    text: str
    """What is remembered."""
    updated_at: NotRequired[str]
    """RFC 3339; when it was last written. Missing where an older version wrote it."""
    user: NotRequired[str]
    """Whom it is about."""
    version: int
    """1 at first, one more with each write."""
    heat: float
    """How often it was recalled, a recall of thirty days ago counting half."""
    worth: float
    """What it was worth."""


Fusion: TypeAlias = "dict[str, Json]"
"""How the vector leg and the text leg of a hybrid recall are joined."""


class GetAnswer(TypedDict):
    """Records by their ids."""
    missing: list[str]
    """Ids of which there is no record."""
    records: list[ListedRecord]
    """In the order that was asked for, without those that are not there. One that is named twice is there twice."""


GetRequest = TypedDict(
    "GetRequest",
    {
        "ids": "list[str | int]",
        "with": "NotRequired[list[With] | None]",
    },
)
"""Records by their ids."""


class GroupBy(TypedDict):
    """Hits by the values of a field."""
    field: str
    """A field, as filters name it. Records that do not have it are in no group, and none of them is left out."""
    size: NotRequired[int | None]
    """Hits of each value, 1 unless said otherwise. `k` is still that of all hits."""


class Health(TypedDict):
    """The state of the box."""
    models: NotRequired[list[str]]
    """Names of the embedding models that are loaded, the box's own first."""
    request_memory: NotRequired[RequestMemory]
    """Memory of the requests under way."""
    status: str
    troubles: NotRequired[list[str]]
    """What is wrong though the box is ready: background work that has failed several times in a row and is tried
    further, a full disk, a lost card.
    """


class Hit(TypedDict):
    """A record that was found."""
    after: NotRequired[list[Neighbour]]
    """Records after it in its session."""
    before: NotRequired[list[Neighbour]]
    """Records before it in its session, oldest first."""
    created_at: NotRequired[str]
    """RFC 3339."""
    doubles: NotRequired[list[str]]
    """Ids of further hits that say nearly the same, best first."""
    explanation: NotRequired[Explanation]
    """Why it is a hit."""
    group: NotRequired[Json]
    """The value of the field by which hits are grouped."""
    id: str
    """Its id. That of a message is `session/message`, or a UUID where a record has that."""
    kind: NotRequired[str]
    """Episodic, semantic, …"""
    matched: NotRequired[MatchedPart]
    """The part of the text that is nearest to the question's vector, where the text has several vectors."""
    message: NotRequired[str]
    """The id of the message that it is, in its session."""
    metadata: NotRequired[dict[str, Json]]
    """Its metadata."""
    modality: NotRequired[str]
    """`image` or `audio`, where it is a message of one."""
    payload: NotRequired[Json]
    """Its payload, as it was given."""
    relevance: NotRequired[float]
    """How sure it is that it answers the question, 0 to 1, in every mode alike: of hits of one relevance, so
    many were evidence for the answers of measured conversations. Missing where nothing says so: a given
    vector of a model that the box does not know.
    """
    score: float
    """How well it matches: higher is better."""
    scores: NotRequired[Scores]
    """The parts of the score."""
    session: NotRequired[str]
    """The conversation it belongs to."""
    text: NotRequired[str]
    """What is remembered."""
    updated_at: NotRequired[str]
    """RFC 3339; when it was last written."""
    user: NotRequired[str]
    """Whom it is about."""
    vector: NotRequired[list[float]]
    """The stored vector."""
    version: int
    """Its version."""


HitOrder: TypeAlias = Literal["score", "time"]
"""In what order hits come."""


Include: TypeAlias = Literal["text", "metadata", "vector", "scores", "payload"]
"""What hits carry beside their id and score."""


class IndexView(TypedDict):
    """The state of a collection's derived indexes."""
    building_rows: int
    """Rows that a build under way has done."""
    covered_rows: int
    """Rows that the vector index covers; those past it are scanned."""
    ef_search: NotRequired[int]
    """HNSW's beam for a recall that names none: measured by an automatic index."""
    kind: str
    """`none`, `hnsw` or `ivf`."""
    nprobe: NotRequired[int]
    """IVF's lists for a recall that names none."""
    text_covered_rows: int
    """Rows that the text index on disk covers; those past it are in memory."""


class Info(TypedDict):
    """What is running, with text-embeddings-inference's field names first."""
    auto_truncate: bool
    compression_models: list[str]
    """The models that compress; the first does it where none is named."""
    dimension: int
    engine: str
    """Which engine computes, on what."""
    max_batch_tokens: int
    """Tokens that the model encodes at a time."""
    max_client_batch_size: int
    max_concurrent_requests: int
    """Connections at the same time, each of which has one request."""
    max_input_length: int
    """Tokens kept of a text where none are asked for."""
    max_tokens: int
    """Tokens of a text at most, where they are asked for."""
    model_dtype: str
    model_id: str
    model_type: dict[str, Json]
    served_model_name: str
    """The name that `model` takes."""
    tokenization_workers: int
    version: str
    why_not_cuda: NotRequired[str]
    """Why no GPU computes, where one was looked for."""


class JobList(TypedDict):
    """A page of jobs."""
    jobs: list[JobView]
    """Newest first."""
    next: NotRequired[str]
    """The cursor of the next page; missing on the last."""


JobResult: TypeAlias = "ErasureReceipt | TenantReceipt | ConsolidateReport | UpdateReport | TokenVectorsReport"
"""What jobs come to, for the API's description; jobs of other kinds have no result."""


class JobView(TypedDict):
    """A job, and how far it is."""
    collection: NotRequired[str]
    """The collection that it works on, if it is one."""
    created_at: str
    """When it was asked for. RFC 3339."""
    done: int
    """Records done."""
    ended_at: NotRequired[str]
    """When it ended. RFC 3339."""
    error: NotRequired[str]
    """Why it failed."""
    id: str
    """Its id."""
    kind: str
    """`reembed`, `token-vectors`, `rebuild`, `consolidate`, `update`, `erase` or `seal`."""
    per_second: float
    """Records a second so far."""
    result: NotRequired[JobResult]
    """What it has come to: an erasure's receipt, a consolidation's or an update's report."""
    seconds_left: NotRequired[float]
    """Seconds left at that rate."""
    started_at: NotRequired[str]
    """When it began, for the last time if a stop of the box has ended it before. RFC 3339."""
    state: str
    """`queued`, `running`, `done`, `failed` or `cancelled`."""
    total: int
    """Records in all."""
    user: NotRequired[str]
    """The user that it works on, if it is one. An erasure that is done names nobody."""


class JsonRule(TypedDict):
    """How a key of a JSON object is treated; the package's `json_config`."""
    compress: NotRequired[bool]
    """Whether it is compressed at all. Default: `true`."""
    pair_remove: NotRequired[bool]
    """Whether the context filter may remove the pair. Default: `false`."""
    rate: NotRequired[float | None]
    """Share of its tokens to be kept; the request's rate when left out."""
    value_type: NotRequired[ValueType]
    """What its value is. Default: `"str"`."""


class KindDefaults(TypedDict):
    """What a kind of record gets by default."""
    importance: NotRequired[float | None]
    """0 to 1."""
    ttl_s: NotRequired[int | None]
    """Seconds that it lives."""


LateInteraction: TypeAlias = Literal["off"] | dict[str, Json]


class ListedRecord(TypedDict):
    """A record with what was asked for."""
    created_at: str
    """RFC 3339."""
    expires_at: NotRequired[str]
    """RFC 3339."""
    id: str
    """Its id. That of a message is `session/message`, or a UUID where a record has that."""
    importance: NotRequired[float]
    """0 to 1."""
    kind: NotRequired[str]
    """Episodic, semantic, …"""
    message: NotRequired[str]
    """The id of the message that it is, in its session."""
    metadata: dict[str, Json]
    """Its metadata."""
    payload: NotRequired[Json]
    """Its payload, as it was given; a list has it where `payload=true` asks for it."""
    session: NotRequired[str]
    """The conversation it belongs to."""
    text: str
    """What is remembered."""
    updated_at: NotRequired[str]
    """RFC 3339; when it was last written. Missing where an older version wrote it."""
    user: NotRequired[str]
    """Whom it is about."""
    version: int
    """1 at first, one more with each write."""
    vector: NotRequired[list[float]]
    """The stored vector; that of the first window where a text has several."""


class MadeMemory(TypedDict):
    """A memory that was made."""
    created_at: str
    """When that was said."""
    id: str
    """Its record's id."""
    sources: list[str]
    """Ids of the messages that it is made of."""
    text: str
    """What it says."""
    topic: int
    """The topic that it is of, by its number within the session."""


class MatchedPart(TypedDict):
    """A part of a text: from `start` to before `end`."""
    end: int
    """The character after its last."""
    start: int
    """Its first character."""


class MediaView(TypedDict):
    """An image or a recording of a message."""
    bytes: int
    """Bytes of the file."""
    content_type: str
    """As `image/png`."""
    height: NotRequired[int]
    """Of an image, in pixels."""
    language: NotRequired[str]
    """Of a recording."""
    seconds: NotRequired[float]
    """Of a recording."""
    sha256: str
    """SHA-256 of them, in hexadecimal digits."""
    width: NotRequired[int]
    """Of an image, in pixels."""


class Mem0BatchUpdate(TypedDict):
    """One of several changes."""
    expiration_date: NotRequired[str | None]
    """The last day of the memory: `2026-12-31`, or null for none."""
    metadata: NotRequired[dict[str, Json] | None]
    """Merged into what is there; `null` removes a key."""
    text: NotRequired[str | None]
    """What it says now."""
    timestamp: NotRequired[Json]
    """When it was said is not changed: refused."""
    memory_id: str


class Mem0BatchUpdates(TypedDict):
    """Several changes."""
    memories: list[Mem0BatchUpdate]
    """Up to 1 000."""


class Mem0Change(TypedDict):
    """One text that a memory had."""
    created_at: str
    """RFC 3339."""
    event: str
    """`ADD` or `UPDATE`."""
    memory_id: str
    """The memory's id."""
    new_memory: str
    old_memory: str | None
    updated_at: str
    """RFC 3339."""


class Mem0Done(TypedDict):
    """That something was done."""
    message: str


class Mem0Entities(TypedDict):
    """Who has memories."""
    count: int
    results: list[Mem0Entity]


class Mem0Entity(TypedDict):
    """A user, agent, application or conversation that has memories."""
    id: str
    name: str
    total_memories: int
    type: str
    """`user`, `agent`, `app` or `run`."""


class Mem0Export(TypedDict):
    """An export that can be had."""
    id: str
    """What it is asked for by."""
    message: str


class Mem0Feedback(TypedDict):
    """What is thought of a memory."""
    feedback: NotRequired[str | None]
    """`POSITIVE`, `NEGATIVE` or `VERY_NEGATIVE`."""
    memory_id: str


class Mem0FeedbackAnswer(TypedDict):
    """What came of it."""
    id: str
    importance: NotRequired[float]
    """The memory's importance now; missing where there is no such memory."""
    message: str


class Mem0Found(TypedDict):
    """Memories that were found."""
    results: list[Mem0Memory]


class Mem0GetExport(TypedDict):
    """Which export is wanted."""
    filters: NotRequired[dict[str, Json] | None]
    """Or which memories."""
    memory_export_id: NotRequired[str | None]
    """What its making answered."""


class Mem0Memory(TypedDict):
    """A memory."""
    agent_id: Json
    app_id: Json
    categories: list[Json]
    """`metadata.categories`."""
    created_at: str
    """RFC 3339."""
    expiration_date: str | None
    """RFC 3339."""
    id: str
    memory: str
    """What it says."""
    metadata: dict[str, Json]
    """What was given with it."""
    run_id: Json
    score: NotRequired[float]
    """How sure it is that it answers the question, 0 to 1: the relevance of a recall."""
    updated_at: str
    """RFC 3339."""
    user_id: str | None


class Mem0NewExport(TypedDict):
    """Which memories are exported."""
    filters: NotRequired[dict[str, Json] | None]
    """Which memories: `{"user_id": "alex"}`, `{"AND": [...]}`, and the like."""
    schema: NotRequired[Json]
    """Only an empty one: no language model fills it in here."""


class Mem0Ping(TypedDict):
    """Who asks."""
    org_id: str
    """The tenant."""
    project_id: str
    """The tenant's only project."""
    status: str
    user_email: str | None
    """None: a key has no address."""


class Mem0Reference(TypedDict):
    """A memory by its id."""
    memory_id: str


class Mem0References(TypedDict):
    """Several memories by their ids."""
    memories: list[Mem0Reference]
    """Up to 1 000."""


class Mem0Summary(TypedDict):
    """The newest memories in short."""
    count: int
    """How many memories there are."""
    summary: str
    """A line for each of the newest."""


class Mem0SummaryRequest(TypedDict):
    """Which memories are summed up."""
    filters: NotRequired[dict[str, Json] | None]
    """Which memories: `{"user_id": "alex"}`, `{"AND": [...]}`, and the like."""


class Mem0Update(TypedDict):
    """A change of a memory: what is left out stays."""
    expiration_date: NotRequired[str | None]
    """The last day of the memory: `2026-12-31`, or null for none."""
    metadata: NotRequired[dict[str, Json] | None]
    """Merged into what is there; `null` removes a key."""
    text: NotRequired[str | None]
    """What it says now."""
    timestamp: NotRequired[Json]
    """When it was said is not changed: refused."""


class MemoriesPolicy(TypedDict):
    """How messages become memories."""
    buffer_tokens: NotRequired[int]
    """Tokens of users' messages after which topics are cut. Default: `512`."""
    cut: NotRequired[CutRule]
    """By what topics are cut. Default: `"depth"`."""
    gap_s: NotRequired[int]
    """Seconds without a message that end a topic; 0 for any number. Default: `3600`."""
    llm: NotRequired[bool]
    """Whether a language model extracts facts, where one is set up. Default: `true`."""
    rate: NotRequired[float]
    """Share of a text's tokens that a memory keeps (LightMem: 0.4 to 0.8); 1 for all. The messages stay whole.
    Default: `0.8`.
    """
    roles: NotRequired[list[Role]]
    """Whose messages become memories. Default: `["user","assistant"]`."""
    topic_tokens: NotRequired[int]
    """Tokens of topics after which memories are made of them; no fewer than `buffer_tokens`. Default: `2000`."""
    update: NotRequired[UpdateTime]
    """When older memories are held against new ones. Default: `"offline"`."""


class MemoryChange(TypedDict):
    """What was done to a memory."""
    decision: Decision
    """What was done."""
    id: str
    """Its id."""
    newer: list[list[Json]]
    """The newer memories that it was held against, and how alike they are, most first."""
    text: NotRequired[str]
    """What it says now."""


class MemoryMessage(TypedDict):
    """A message on its way to memories."""
    content: str
    """What is said, as a text or as OpenAI's list of parts of type text."""
    id: NotRequired[str | None]
    """The caller's id, unique in the session, so that a request can be repeated; a UUIDv7 when left out."""
    metadata: NotRequired[dict[str, Json]]
    """Any JSON object up to 16 KiB."""
    name: NotRequired[str | None]
    """The name of who says it."""
    role: NotRequired[Role | None]
    time_stamp: NotRequired[str | None]
    """When the conversation began, as `2023/05/20 (Sat) 00:44` or ISO 8601, in UTC where it names no zone:
    messages of the same stamp follow each other by half a second. The request's when left out, or now.
    """


class MergedPair(TypedDict):
    """A pair that was merged, or would be."""
    absorbed: str
    """The one that is its history now."""
    kept: str
    """The record that stands."""
    score: float
    """Their cosine."""


class Message(TypedDict):
    """A message of a conversation."""
    content: NotRequired[str | None]
    """What was said; null where a tool is called instead."""
    role: str
    """`system`, `user`, `assistant`, …"""


class MessageList(TypedDict):
    """A page of messages."""
    messages: list[MessageView]
    next: NotRequired[int]
    """The cursor of the next page; missing on the last."""


class MessagePatch(TypedDict):
    """Changes to a message."""
    content: NotRequired[str | None]
    """The caption of an image or the transcript of a recording; of a text, what was said stays as it was said."""
    metadata: NotRequired[dict[str, Json]]
    """Merged into the metadata as RFC 7396 says; `null` removes a key."""


MessageType: TypeAlias = Literal["text", "image", "audio"]
"""What a message is made of."""


class MessageView(TypedDict):
    """A message as it is given out."""
    content: str
    """What was said; the caption of an image, the transcript of a recording."""
    created_at: str
    """RFC 3339."""
    id: str
    """Its id."""
    media: NotRequired[MediaView]
    """The image or the recording itself, at `…/messages/{m}/media`."""
    metadata: dict[str, Json]
    """Its metadata."""
    name: NotRequired[str]
    """The name of who said it."""
    payload: NotRequired[Json]
    """Its payload, as it was given."""
    role: str
    """Who said it."""
    seq: int
    """Its place in the session."""
    tokens: int
    """Tokens of its content, name and calls (o200k_base)."""
    tool_call_id: NotRequired[str]
    """The call that it answers."""
    tool_calls: NotRequired[list[dict[str, Json]]]
    """The calls that it makes."""
    type: str
    """`text`, `image` or `audio`."""
    updated_at: NotRequired[str]
    """RFC 3339; when its metadata was last changed."""
    version: int
    """The version of its record: 1 at first, one more with each change."""


Metric: TypeAlias = Literal["cosine", "inner_product", "euclidean"]
"""How two vectors are compared."""


Modality: TypeAlias = Literal["all", "text", "image", "audio"]
"""Texts, images, recordings, or all of them."""


class ModelList(TypedDict):
    """The models that embed texts."""
    data: list[ModelView]
    object: str
    """`list`."""


class ModelView(TypedDict):
    """A model."""
    checksums: NotRequired[str]
    """Who said what the model's files must be when they were loaded: `manifest` (membox has their SHA-256 built
    in), `recorded` (`SHA256SUMS` beside them), or `none`.
    """
    created: int
    """Since when it is served, in seconds since 1970."""
    dimension: NotRequired[int]
    """Numbers of its vectors, where it is loaded."""
    id: str
    """A name that `model` takes."""
    kind: str
    """`embedding`, or `reranker` for a cross-encoder."""
    loaded: bool
    """Whether it is loaded; one that is not is loaded when it is first wanted."""
    object: str
    """`model`."""
    owned_by: str
    """Who serves it."""


class NamespaceList(TypedDict):
    """A page of a thread's namespaces."""
    namespaces: list[NamespaceView]
    next: NotRequired[str]
    """The cursor of the next page; missing on the last."""


class NamespaceView(TypedDict):
    """A namespace of a thread that has checkpoints."""
    checkpoints: int
    """Its checkpoints."""
    namespace: str
    """Empty for the thread's own."""


class Neighbour(TypedDict):
    """A neighbour of a hit."""
    id: str
    """Its id."""
    text: str
    """Its text."""


class NewApiKey(TypedDict):
    """A key to be made."""
    access: NotRequired[Access]
    """What it may do."""
    collections: NotRequired[list[str] | None]
    """The only collections that it reaches, 1 to 100; all of them when left out."""
    expires_at: NotRequired[str | None]
    """When it ends, RFC 3339; never when left out."""
    name: str
    """What it is for, 1 to 100 characters: the list of keys shows it."""
    requests_per_second: NotRequired[float | None]
    """Requests that it may send a second; any number when left out."""
    sessions: NotRequired[list[str] | None]
    """The only sessions that it reaches, 1 to 100; all of them when left out."""
    users: NotRequired[list[str] | None]
    """The only users that it reaches, 1 to 100; all of them when left out."""


class NewBlob(TypedDict):
    """The value of a channel at a version."""
    channel: str
    """The channel, 1 to 255 bytes."""
    data: str
    """The octets in base64, up to 64 MiB of them."""
    type: NotRequired[str]
    """What its octets are, up to 255 bytes, such as `msgpack`."""
    version: str
    """The version of its value, 1 to 255 bytes."""


class NewCheckpoint(TypedDict):
    """A checkpoint to be written."""
    blobs: NotRequired[list[NewBlob]]
    """Values that are kept with it. One of a channel and version that is there is replaced."""
    channels: NotRequired[dict[str, str]]
    """The versions of the channels whose values it has as blobs. Each is there already, or is among `blobs`."""
    metadata: NotRequired[dict[str, Json]]
    """Any JSON object, at most 1 MiB as JSON."""
    parent: NotRequired[str | None]
    """The checkpoint that it follows, up to 255 bytes."""
    state: Json
    """Any JSON, at most 96 MiB as JSON. The setting `max_body_bytes` bounds the request."""
    ttl_s: NotRequired[int | None]
    """Seconds that it lives; for good when left out."""


class NewConversation(TypedDict):
    """A conversation to be made."""
    items: NotRequired[list[dict[str, Json]] | None]
    """What is said in it already, up to 1 000 items."""
    metadata: NotRequired[dict[str, Json] | None]
    """Any JSON object up to 16 KiB."""


class NewConversationItems(TypedDict):
    """Items to be added to a conversation."""
    items: list[dict[str, Json]]
    """Messages, calls, and what else OpenAI's Responses have; up to 1 000. Each is kept as it is."""


class NewMedia(TypedDict):
    """An image or a recording, as a message brings it."""
    data: str
    """The file in base64, or as a data URL; up to 16 MiB."""
    language: NotRequired[str | None]
    """Of a recording: its language, as `en` or `zh-CN`, up to 35 bytes."""
    seconds: NotRequired[float | None]
    """Of a recording: how long it is."""


class NewMessage(TypedDict):
    """A message to be appended."""
    content: NotRequired[str | None]
    """What is said, as a text or as OpenAI's list of parts of type text; null where tools are called instead."""
    created_at: NotRequired[str | None]
    """RFC 3339; now when left out."""
    id: NotRequired[str | None]
    """The caller's id, unique in the session; a UUIDv7 when left out. A message whose id is there already is not
    appended again, so that a request can be repeated; one that says something else by that id is refused.
    """
    media: NotRequired[NewMedia | None]
    metadata: NotRequired[dict[str, Json]]
    """Any JSON object up to 16 KiB."""
    name: NotRequired[str | None]
    """The name of who says it, up to 512 bytes."""
    payload: NotRequired[Json]
    """Any JSON up to 1 MiB, kept word for word and given back so: numbers of any size, the order of keys,
    blanks. It is in no index. What a collection redacts, it redacts here too.
    """
    role: Role
    """Who says it."""
    tool_call_id: NotRequired[str | None]
    """The call that it answers, up to 512 bytes."""
    tool_calls: NotRequired[list[dict[str, Json]] | None]
    """The calls that it makes: objects, up to 1 MiB as JSON in all."""
    type: NotRequired[MessageType]
    """`text` when left out."""


class NewRecord(TypedDict):
    """A record to be remembered."""
    created_at: NotRequired[str | None]
    """RFC 3339. Left out it is now, or that of the record of this id."""
    expires_at: NotRequired[str | None]
    """RFC 3339; from then on the record is gone."""
    id: NotRequired[str | int | None]
    """The caller's id, 1 to 512 bytes; a UUIDv7 when left out. An id that exists is given a new version. An
    integer of 64 bits is the text of its digits.
    """
    importance: NotRequired[float | None]
    """0 to 1."""
    kind: NotRequired[str | None]
    """Episodic, semantic, …"""
    metadata: NotRequired[dict[str, Json]]
    """Any JSON object up to 16 KiB."""
    payload: NotRequired[Json]
    """Any JSON up to 1 MiB, kept word for word and given back so: numbers of any size, the order of keys,
    blanks. It is in no index. What a collection redacts, it redacts here too.
    """
    session: NotRequired[str | None]
    """The conversation it belongs to."""
    text: NotRequired[str]
    """What is to be remembered, at most 1 MiB. May be left out when a vector or a payload is given."""
    user: NotRequired[str | None]
    """Whom it is about."""
    vector: NotRequired[Vector]
    """A vector: numbers, or little-endian f32 in base64."""
    version: NotRequired[int | None]
    """The version that must be there now; 0 when the record must be new."""


OnConflict: TypeAlias = Literal["latest", "merge", "manual"]
"""What is done when a session is not at the version that an append expects."""


class OpenAiError(TypedDict):
    """An error as OpenAI says it."""
    code: str | None
    """What it is, such as `model_not_found`."""
    message: str
    """What happened."""
    param: str | None
    """Which field is wrong, such as `input[3]`."""
    type: str
    """Of what kind it is, such as `invalid_request_error`."""


class OpenAiProblem(TypedDict):
    """A problem, and the same as OpenAI says it."""
    detail: str
    """What happened this time, and what to do about it."""
    errors: NotRequired[list[FieldError]]
    """The fields that are wrong."""
    status: int
    """The HTTP status."""
    title: str
    """The kind in a few words."""
    type: str
    """What kind of error it is, as a URI."""
    error: OpenAiError
    """The same as OpenAI says it."""


class OrderBy(TypedDict):
    """By what records are ordered."""
    direction: NotRequired[Direction]
    """`asc` when left out."""
    field: str
    """A field, as filters name it."""


class Page(TypedDict):
    """A page of records."""
    next: NotRequired[str]
    """The cursor of the next page; missing on the last."""
    records: list[RecordView]


PartName: TypeAlias = Literal[
    "vector",
    "words",
    "neighbours",
    "ranks",
    "name",
    "time",
    "question",
    "tokens",
    "cross_encoder",
    "recency",
    "importance",
]
"""What a part of a score says."""


class PatchManyAnswer(TypedDict):
    """What was changed."""
    missing: list[str]
    """Ids of which there is no record."""
    patched: int
    """Records that were changed."""


class PatchManyRequest(TypedDict):
    """A change of many records."""
    ids: list[str | int]
    """1 to 2 048 ids; an integer of 64 bits is the text of its digits."""
    patch: RecordPatch
    """What is changed of each, as `PATCH` of one record does."""


PersonalDataKind: TypeAlias = Literal["email", "phone", "resident_id", "payment_card", "ip_address", "iban"]
"""A kind of personal data."""


class Problem(TypedDict):
    """The body of every error, `application/problem+json`."""
    detail: str
    """What happened this time, and what to do about it."""
    errors: NotRequired[list[FieldError]]
    """The fields that are wrong."""
    status: int
    """The HTTP status."""
    title: str
    """The kind in a few words."""
    type: str
    """What kind of error it is, as a URI."""


class ProfileView(TypedDict):
    """Who a user is."""
    entities: list[Term]
    """Names in them, likewise."""
    fields: dict[str, Json]
    """What callers have set."""
    keywords: list[Term]
    """Their keywords, most frequent first."""
    last_seen: NotRequired[str]
    """The newest record's time."""
    memories: dict[str, int]
    """Memories, by kind."""
    messages: int
    """Messages that were said."""
    sessions: int
    """Sessions."""
    summary: NotRequired[str]
    """What a language model makes of the user's memories, if one was asked."""
    topics: list[str]
    """What the user's records are about most: the keywords of the most records."""
    updated_at: NotRequired[str]
    """When it was stored last."""
    user: str
    """Whose it is."""
    version: int
    """Version of the stored profile; 0 where none is stored."""


class PromptMessage(TypedDict):
    """A message for a language model."""
    content: PromptText
    role: str
    """`system`, `user` or `assistant`."""


class PromptSession(TypedDict):
    """Of which conversation a prompt is."""
    context_window_max: NotRequired[int | None]
    """Tokens that its messages may have: the oldest are left out."""
    namespace: NotRequired[str | None]
    """Where it belongs."""
    session_id: str
    """Its id."""
    user_id: NotRequired[str | None]
    """Whom it is with."""


class PromptText(TypedDict):
    """What a message says."""
    text: str
    type: str
    """`text`."""


class PruneRequest(TypedDict):
    """Which checkpoints stay."""
    keep: int
    """The latest so many of each namespace, with what tasks have written to them."""
    namespace: NotRequired[str | None]
    """This namespace alone; empty for the thread's own."""


class PushAnswer(TypedDict):
    """What was queued."""
    ids: list[str]
    """In the order of the request."""


class PushRequest(TypedDict):
    """Inputs for a session's queue."""
    items: list[Json]
    """Any JSON each, at most 1 MiB; all are kept, or none."""


class QueueItemView(TypedDict):
    """An input that waits, as it is given out."""
    attempts: int
    """How often it was taken."""
    created_at: str
    """RFC 3339."""
    id: str
    """Its id."""
    leased_until: NotRequired[str]
    """RFC 3339: until then it is its taker's; missing where nobody has taken it."""
    payload: Json
    """What it says."""


class QueueItems(TypedDict):
    """Inputs of a queue."""
    items: list[QueueItemView]


class QuotaSettings(TypedDict):
    """A quota."""
    price_per_1000: NotRequired[float]
    """The price of 1 000 tokens, in your currency, with six decimals at most. Default: `0.0`."""
    tokens_per_day: NotRequired[int]
    """Tokens a day in UTC (10 000); 0 for any number. Default: `10000`."""


class RecallAnswer(TypedDict):
    """The answer to a question."""
    context: NotRequired[ContextText]
    """The text for a prompt, when a budget was given."""
    exact: bool
    """Whether every allowed record was scored, and not only what an index proposed."""
    hits: list[Hit]
    """Best first, unless another order was asked for."""
    time: NotRequired[AskedTime]
    """The time that the question speaks of, if that was looked at."""
    took_ms: float
    """Time from question to answer within the box."""


class RecallBatch(TypedDict):
    """Several recalls."""
    recalls: list[RecallRequest]
    """1 to 32 of them."""


class RecallBatchAnswer(TypedDict):
    """What several recalls found."""
    answers: list[RecallAnswer]
    """In the order of the request."""


RecallMode: TypeAlias = Literal["hybrid", "vector", "text"]
"""By what records are found."""


class RecallOptions(TypedDict):
    """A question to a collection."""
    budget: NotRequired[Budget | None]
    context: NotRequired[ContextWindow | None]
    effort: NotRequired[SearchEffort | None]
    exclude: NotRequired[Exclude]
    """Records that are no hits. Default: `{"ids":[],"sessions":[]}`."""
    explain: NotRequired[bool]
    """Whether each hit says why it is one. Default: `false`."""
    filter: NotRequired[dict[str, Json] | None]
    """Which records may be found: see the documentation of filters."""
    fold_doubles: NotRequired[float | None]
    """Hits whose vectors are at least this near to that of a better one (such as 0.97; 1 is the same, and 0 the
    cosine that unrelated texts have by the collection's model) become part of that: see `doubles` of a hit.
    """
    fusion: NotRequired[Fusion | None]
    group_by: NotRequired[GroupBy | None]
    include: NotRequired[list[Include]]
    """What hits carry. Default: `["text","metadata","scores"]`."""
    k: NotRequired[int]
    """Hits wanted, 1 to 10 000. Default: `10`."""
    late_interaction: NotRequired[bool]
    """Whether the tokens of question and records are compared, in mode `hybrid` of a collection that keeps their
    vectors. Default: `true`.
    """
    min_relevance: NotRequired[float | None]
    """Hits below this relevance are dropped, 0 to 1. 0.04 keeps nearly all that answer a question, and drops
    most of what is found where nothing does.
    """
    min_score: NotRequired[float | None]
    """Hits below this score are dropped. In mode `vector` a score is what the collection's metric says: the
    cosine, the inner product, or the distance below zero (-2 where vectors are 2 apart); in mode `text` BM25.
    In mode `hybrid` it is a share of the best hit's score before late interaction, which adds up to 0.5; it
    says nothing about whether the question is answered: see `min_relevance`.
    """
    modality: NotRequired[Modality]
    """Only texts, images (by their captions) or recordings (by their transcripts). Default: `"all"`."""
    mode: NotRequired[RecallMode | None]
    now: NotRequired[str | None]
    """When the question is asked, for what it says of times: RFC 3339. The time of the box unless it is given."""
    order: NotRequired[HitOrder]
    """In what order hits come. Default: `"score"`."""
    queries: NotRequired[list[str] | None]
    """Several questions; a record's score is its best."""
    rerank: NotRequired[Rerank | None]
    time: NotRequired[TimeUse]
    """What a time does that the question speaks of. Default: `"boost"`."""
    vector: NotRequired[Vector | None]
    """A vector: numbers, or little-endian f32 in base64."""


class RecallRequest(TypedDict):
    """A question to a collection."""
    budget: NotRequired[Budget | None]
    context: NotRequired[ContextWindow | None]
    effort: NotRequired[SearchEffort | None]
    exclude: NotRequired[Exclude]
    """Records that are no hits. Default: `{"ids":[],"sessions":[]}`."""
    explain: NotRequired[bool]
    """Whether each hit says why it is one. Default: `false`."""
    filter: NotRequired[dict[str, Json] | None]
    """Which records may be found: see the documentation of filters."""
    fold_doubles: NotRequired[float | None]
    """Hits whose vectors are at least this near to that of a better one (such as 0.97; 1 is the same, and 0 the
    cosine that unrelated texts have by the collection's model) become part of that: see `doubles` of a hit.
    """
    fusion: NotRequired[Fusion | None]
    group_by: NotRequired[GroupBy | None]
    include: NotRequired[list[Include]]
    """What hits carry. Default: `["text","metadata","scores"]`."""
    k: NotRequired[int]
    """Hits wanted, 1 to 10 000. Default: `10`."""
    late_interaction: NotRequired[bool]
    """Whether the tokens of question and records are compared, in mode `hybrid` of a collection that keeps their
    vectors. Default: `true`.
    """
    min_relevance: NotRequired[float | None]
    """Hits below this relevance are dropped, 0 to 1. 0.04 keeps nearly all that answer a question, and drops
    most of what is found where nothing does.
    """
    min_score: NotRequired[float | None]
    """Hits below this score are dropped. In mode `vector` a score is what the collection's metric says: the
    cosine, the inner product, or the distance below zero (-2 where vectors are 2 apart); in mode `text` BM25.
    In mode `hybrid` it is a share of the best hit's score before late interaction, which adds up to 0.5; it
    says nothing about whether the question is answered: see `min_relevance`.
    """
    modality: NotRequired[Modality]
    """Only texts, images (by their captions) or recordings (by their transcripts). Default: `"all"`."""
    mode: NotRequired[RecallMode | None]
    now: NotRequired[str | None]
    """When the question is asked, for what it says of times: RFC 3339. The time of the box unless it is given."""
    order: NotRequired[HitOrder]
    """In what order hits come. Default: `"score"`."""
    queries: NotRequired[list[str] | None]
    """Several questions; a record's score is its best."""
    query: NotRequired[str | None]
    """The question, in words."""
    rerank: NotRequired[Rerank | None]
    time: NotRequired[TimeUse]
    """What a time does that the question speaks of. Default: `"boost"`."""
    vector: NotRequired[Vector | None]
    """A vector: numbers, or little-endian f32 in base64."""


class RecordPatch(TypedDict):
    """Changes to a record: what is left out stays. `metadata` is merged as RFC 7396 says; `null` takes a field
    away.
    """
    expires_at: NotRequired[str | None]
    """RFC 3339, or null for never."""
    importance: NotRequired[float | None]
    """0 to 1, or null."""
    kind: NotRequired[str | None]
    """Or null."""
    metadata: NotRequired[dict[str, Json] | None]
    """Merged into the metadata; `null` removes a key."""
    payload: NotRequired[Json]
    """In the place of the one that is there; null takes it away."""
    session: NotRequired[str | None]
    """Or null."""
    text: NotRequired[str | None]
    """A new text, embedded anew."""
    user: NotRequired[str | None]
    """Or null."""


class RecordView(TypedDict):
    """A record as it is given out."""
    created_at: str
    """RFC 3339."""
    expires_at: NotRequired[str]
    """RFC 3339."""
    id: str
    """Its id. That of a message is `session/message`, or a UUID where a record has that."""
    importance: NotRequired[float]
    """0 to 1."""
    kind: NotRequired[str]
    """Episodic, semantic, …"""
    message: NotRequired[str]
    """The id of the message that it is, in its session."""
    metadata: dict[str, Json]
    """Its metadata."""
    payload: NotRequired[Json]
    """Its payload, as it was given; a list has it where `payload=true` asks for it."""
    session: NotRequired[str]
    """The conversation it belongs to."""
    text: str
    """What is remembered."""
    updated_at: NotRequired[str]
    """RFC 3339; when it was last written. Missing where an older version wrote it."""
    user: NotRequired[str]
    """Whom it is about."""
    version: int
    """1 at first, one more with each write."""


class Redaction(TypedDict):
    """What is looked for, and what is done with it."""
    kinds: NotRequired[list[PersonalDataKind] | None]
    """Which kinds; all when left out."""
    mode: NotRequired[RedactionMode]
    """What is done. Default: `"off"`."""


RedactionMode: TypeAlias = Literal["off", "mark", "partial", "full"]
"""What is done with personal data."""


class RequestMemory(TypedDict):
    """Memory that requests have together, in bytes: their bodies, what is made of these, and their answers."""
    limit: int
    """What they have at most (`request_memory_mib`); those of one tenant half of it."""
    used: int
    """What they have now."""


class Rerank(TypedDict):
    """Reranking of what was found."""
    importance_weight: NotRequired[float | None]
    """Added: weight · importance."""
    mmr_lambda: NotRequired[float | None]
    """1 ranks by score alone; less passes over near-doubles of what ranks higher (maximal marginal relevance)."""
    model: NotRequired[str | None]
    """A cross-encoder of the setting `models` by which the best hits are ordered; the first one where only `top`
    is given. It reads question and text together, and its number, 0 to 1, is the score.
    """
    recency_half_life_s: NotRequired[float | None]
    """Seconds in which the recency part of a score halves (604 800: a week)."""
    recency_weight: NotRequired[float | None]
    """Added: weight · 0.5^(age / half-life)."""
    top: NotRequired[int | None]
    """How many of the best it reads, 1 to 200; 50 where only `model` is given. The others are no hits."""


Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]
"""Who says a message."""


Scope: TypeAlias = Literal["session", "user", "collection"]
"""Where `recall` looks."""


class ScorePart(TypedDict):
    """A part of a score."""
    part: PartName
    """What it says."""
    score: float
    """What it adds to the score."""
    value: float
    """What was measured, in its own unit."""


class Scores(TypedDict):
    """The parts of a hit's score."""
    importance: NotRequired[float]
    """What importance added."""
    recency: NotRequired[float]
    """What recency added."""
    text: NotRequired[float]
    """BM25, with what the neighbours in the session share."""
    tokens: NotRequired[float]
    """How near the tokens of the question are: see `tokens` of an explanation."""
    vector: NotRequired[float]
    """Cosine or inner product with the question, or the distance below zero, as the collection's metric says."""


class ScrollAnswer(TypedDict):
    """A part of a list of records."""
    count: int
    """How many the filter allows."""
    next_offset: NotRequired[int]
    """The `offset` of the next part; missing on the last."""
    records: list[ListedRecord]


ScrollRequest = TypedDict(
    "ScrollRequest",
    {
        "filter": "NotRequired[dict[str, Json] | None]",
        "limit": "NotRequired[int | None]",
        "offset": "NotRequired[int]",
        "order_by": "NotRequired[OrderBy | None]",
        "with": "NotRequired[list[With]]",
    },
)
"""A part of a list of records."""


class SearchEffort(TypedDict):
    """How hard an index is searched: more finds more of what is nearest, and takes longer."""
    ef_search: NotRequired[int | None]
    """Beam of HNSW, 1 to 4 096."""
    exact: NotRequired[bool]
    """Score every allowed record. Default: `false`."""
    nprobe: NotRequired[int | None]
    """Lists of IVF that are looked into."""


class SessionList(TypedDict):
    """A page of sessions."""
    next: NotRequired[str]
    """The cursor of the next page; missing on the last."""
    sessions: list[SessionView]


class SessionSettings(TypedDict):
    """What a session is made with, and what may be changed of it. What is left out stays as it is."""
    collection: NotRequired[str | None]
    """The collection of its messages: its user's own when left out. Set once."""
    evict: NotRequired[Evict | None]
    max_messages: NotRequired[int | None]
    """Messages that are kept in its list (100); 0 for all."""
    metadata: NotRequired[dict[str, Json] | None]
    """Merged into the session's metadata, as RFC 7396 says; up to 16 KiB in all."""
    ttl_s: NotRequired[int | None]
    """Seconds that a message lives; 0 for good, as when left out. It counts for messages to come."""
    user: NotRequired[str | None]
    """Whom it is with. Set once."""


class SessionView(TypedDict):
    """A session as it is given out."""
    audio_seconds: NotRequired[float]
    """Seconds of its recordings, archived ones too."""
    collection: str
    """The collection of its messages."""
    created_at: str
    """RFC 3339."""
    evict: Evict
    """What becomes of messages over that."""
    id: str
    """Its id."""
    max_messages: int
    """Messages that are kept in its list; 0 for all."""
    messages: int
    """Messages in its list."""
    metadata: dict[str, Json]
    """Its metadata."""
    summary: NotRequired[SummaryView]
    """What its older messages said, once a context has been compressed."""
    ttl_s: NotRequired[int]
    """Seconds that a message lives, if not for good."""
    updated_at: str
    """RFC 3339."""
    user: NotRequired[str]
    """Whom it is with."""
    version: int
    """1 at first, one more with each write to it or its messages."""


Strategy: TypeAlias = Literal["recent", "smart", "window", "compress", "recall"]
"""How messages are chosen."""


class SummaryView(TypedDict):
    """A summary of a session's first messages."""
    messages: int
    """How many messages it covers."""
    model: str
    """What made it."""
    text: str
    """What they said, in short."""
    version: int
    """1 at first, one more with each extension."""


class TakeRequest(TypedDict):
    """How many inputs, and for how long."""
    count: NotRequired[int | None]
    """At most so many (1)."""
    lease_s: NotRequired[int | None]
    """Seconds that they are the taker's (60): those that are not deleted by then can be taken again."""


class TaskWrites(TypedDict):
    """What a task has written towards the next checkpoint."""
    writes: Json
    """Any JSON. All that tasks have written to a checkpoint has at most 16 MiB as JSON."""


class TeiProblem(TypedDict):
    """A problem, and the same as text-embeddings-inference says it."""
    detail: str
    """What happened this time, and what to do about it."""
    errors: NotRequired[list[FieldError]]
    """The fields that are wrong."""
    status: int
    """The HTTP status."""
    title: str
    """The kind in a few words."""
    type: str
    """What kind of error it is, as a URI."""
    error: str
    """What happened."""
    error_type: str
    """`Validation`, `Empty`, `Overloaded`, `Unhealthy` or `Backend`."""


class TenantReceipt(TypedDict):
    """What the erasure of a tenant has done."""
    audit_number: int
    """The entry of the audit log that says so."""
    begun_at: str
    """RFC 3339."""
    collections: int
    """Collections that were dropped."""
    ended_at: str
    """RFC 3339: from then on nothing of it is in any file."""
    keys: int
    """Keys that are gone: what they have sealed cannot be read any more, in older backups neither, unless these
    hold the keys.
    """
    records: int
    """Records that they held."""
    tenant: str
    """Who is gone."""


class TenantView(TypedDict):
    """How a tenant is kept."""
    collections: int
    """Its collections."""
    encrypted: bool
    """Whether what it writes is sealed."""
    key: NotRequired[int]
    """The number of its newest key."""
    settled: NotRequired[bool]
    """Whether all that it has written is sealed with that one."""
    tenant: str
    """Who."""


class Term(TypedDict):
    """A word and how many of a user's records are about it."""
    records: int
    """Records."""
    term: str
    """A keyword or a name."""


Texts: TypeAlias = "str | list[str]"
"""A text, or several."""


class ThreadList(TypedDict):
    """A page of threads."""
    next: NotRequired[str]
    """The cursor of the next page; missing on the last."""
    threads: list[ThreadView]


class ThreadView(TypedDict):
    """A thread that has checkpoints."""
    checkpoints: int
    """Its checkpoints, in all namespaces."""
    namespaces: int
    """Namespaces that have any."""
    thread: str
    """Its id."""


TimeUse: TypeAlias = Literal["boost", "filter", "off"]
"""What a time does that the question speaks of, such as "last week", "in May 2023" or 上周三."""


TokenToWord: TypeAlias = Literal["mean", "first"]
"""How the probabilities of a word's tokens become the word's. In modes `default` and `strict` signs within a
word (`don't`, `a@b.example`) do not count.
"""


class TokenVectorsReport(TypedDict):
    """What a job has done that makes vectors of tokens."""
    records: int
    """Records that got them."""


class TokenVectorsView(TypedDict):
    """What a collection has of vectors of tokens."""
    bytes: int
    """Bytes of their files."""
    missing: int
    """Records that have none: they have no text, or their vectors are still to be made."""
    records: int
    """Records that have them."""


class TokenView(TypedDict):
    """A token of the model."""
    id: int
    special: bool
    start: int | None
    stop: int | None
    text: str


class TokenizeRequest(TypedDict):
    """A request for tokens."""
    add_special_tokens: NotRequired[bool]
    """With the tokens that open and close a text."""
    inputs: Texts
    """The texts."""
    prompt_name: NotRequired[str | None]
    """A prompt of the model's, to be put before each text: one of its `config_sentence_transformers.json`."""


class TokensAnswer(TypedDict):
    """Token counts."""
    counts: list[int]
    """Of each text, or of what each message says: its content, name and calls."""
    encoding: str
    overhead: int
    """What is in the total beside the texts: 4 a message and 2 a conversation; 0 for plain texts."""
    total: int
    """In all, overhead included."""


class TokensRequest(TypedDict):
    """A request for token counts: `input` or `messages`, by `encoding` or `model`."""
    encoding: NotRequired[str | None]
    """tiktoken's name of an encoding; o200k_base when neither is given."""
    input: NotRequired[Texts | None]
    messages: NotRequired[list[CountedMessage] | None]
    model: NotRequired[str | None]
    """A model whose encoding is wanted."""


class TopicsAnswer(TypedDict):
    """The topics of texts."""
    cuts: list[Cut]
    """Where a new topic begins."""


class TopicsRequest(TypedDict):
    """Texts to be cut into topics."""
    cut: NotRequired[CutRule]
    """By what they are cut."""
    texts: list[str]
    """Turns of a conversation, or sentences of a text, in order."""


class UpdateReport(TypedDict):
    """What an update did."""
    changes: list[MemoryChange]
    """The first thousand changes."""
    deleted: int
    """Those that the language model would delete: each is in the history of a newer one."""
    kept: int
    """Those that stayed as they are."""
    llm: dict[str, Json]
    """What language models have cost."""
    memories: int
    """Memories that were looked at."""
    merged: int
    """Those that are the history of newer ones."""
    problem: NotRequired[str]
    """Why some could not be decided, if so: they stay as they are."""
    queued: int
    """Those that had newer ones like them."""
    skipped: int
    """Those that somebody changed meanwhile, or of which the language model has made nothing: they stay for the
    next time.
    """
    updated: int
    """Those that say something else now."""


class UpdateRequest(TypedDict):
    """Which memories are to be held against newer ones."""
    collection: NotRequired[str | None]
    """The collection that they are in: the user's own when left out."""
    dry_run: NotRequired[bool]
    """Only say what would be done. Default: `false`."""
    keep_top_n: NotRequired[int | None]
    """Those of them that it queues up at (10)."""
    score_threshold: NotRequired[float | None]
    """How alike they must be (0.8; 1 is the same, and 0 the cosine that unrelated texts have by the collection's
    model).
    """
    top_k: NotRequired[int | None]
    """Older memories that are found for each (20)."""
    user: NotRequired[str | None]
    """Whose memories."""


UpdateTime: TypeAlias = Literal["offline", "online"]
"""When older memories are held against new ones."""


class UpsertAnswer(TypedDict):
    """What was written."""
    records: list[WrittenRecord]
    """In the order of the request."""


class UpsertRequest(TypedDict):
    """Records to be written."""
    compress: NotRequired[CompressOnWrite]
    """Keep only what compression leaves of the texts: true, or the options of `/v1/compress`. The vectors are
    still those of the whole texts. What was left out is gone; to keep it and to compress at recall instead,
    say nothing here and `compress` in the budget there.
    """
    records: list[NewRecord]
    """1 to 2 048 of them: all are kept, or none."""


class Usage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class UsageList(TypedDict):
    """What users have used."""
    usage: list[UsageView]
    """The latest day first, and on each those who have used most."""


class UsageReport(TypedDict):
    """Tokens that a user is about to use, or has used."""
    tokens: int
    """How many, in and out together. Less than none gives back what was reported too much, as after an estimate."""
    user: str
    """Who."""


class UsageView(TypedDict):
    """What a user has used on a day."""
    cost: float
    """What the tokens cost, by the price of the user's quota."""
    day: str
    """The day in UTC."""
    left: NotRequired[int]
    """Tokens that are left of the quota; missing where there is none."""
    messages: int
    """Messages that were appended to sessions."""
    requests: int
    """Reports."""
    stored_tokens: int
    """Tokens of messages that were appended to sessions."""
    tokens: int
    """Tokens that were reported."""
    user: str
    """Who."""


class ValueCount(TypedDict):
    """How many records have a value."""
    count: int
    """Records that have it. Of a list each element counts."""
    value: Json
    """A text, a number or a truth value; a time is a text."""


ValueType: TypeAlias = Literal["str", "number", "bool", "list", "dict"]
"""The type that a value of a JSON object has."""


VectorType: TypeAlias = Literal["f16", "f32"]
"""How a collection keeps its vectors."""


class Waiting(TypedDict):
    """What of a session waits for more to be said."""
    buffered_messages: int
    """Messages that are in no topic yet."""
    topic_tokens: int
    """Tokens of these."""
    topics: int
    """Topics of which no memory has been made yet."""


Windows: TypeAlias = Literal["off"] | dict[str, Json]


With: TypeAlias = Literal["vector", "payload"]
"""What a list of records has beside texts and metadata."""


class WorkingMemories(TypedDict):
    """Conversations that have a working memory, the newest first."""
    sessions: list[str]
    """Their ids."""
    total: int
    """How many there are."""


class WorkingMemory(TypedDict):
    """What an agent has in mind of a conversation. All of it has 1 MiB at most as JSON."""
    context: NotRequired[str | None]
    """What was said before these messages, in short."""
    data: NotRequired[dict[str, Json] | None]
    """Any JSON object."""
    long_term_memory_strategy: NotRequired[dict[str, Json] | None]
    """How memories would be made of messages: kept, and not heeded."""
    memories: NotRequired[list[AgentMemory]]
    """Long-term memories, which are written as such too. Default: `[]`."""
    messages: NotRequired[list[WorkingMessage]]
    """The conversation. Default: `[]`."""
    namespace: NotRequired[str | None]
    """Where it belongs."""
    tokens: NotRequired[int]
    """Tokens, as the client counts them. Default: `0`."""
    ttl_seconds: NotRequired[int | None]
    """Seconds that it lives; for good when left out."""
    user_id: NotRequired[str | None]
    """Whom it is with."""


class WorkingMemoryView(TypedDict):
    """A working memory as it is given out."""
    context: NotRequired[str | None]
    """What was said before these messages, in short."""
    data: NotRequired[dict[str, Json] | None]
    """Any JSON object."""
    long_term_memory_strategy: NotRequired[dict[str, Json] | None]
    """How memories would be made of messages: kept, and not heeded."""
    memories: NotRequired[list[AgentMemory]]
    """Long-term memories, which are written as such too. Default: `[]`."""
    messages: NotRequired[list[WorkingMessage]]
    """The conversation. Default: `[]`."""
    namespace: NotRequired[str | None]
    """Where it belongs."""
    tokens: NotRequired[int]
    """Tokens, as the client counts them. Default: `0`."""
    ttl_seconds: NotRequired[int | None]
    """Seconds that it lives; for good when left out."""
    user_id: NotRequired[str | None]
    """Whom it is with."""
    context_percentage_total_used: NotRequired[float]
    """How much of `context_window_max` its messages take, in percent."""
    created_at: str
    """RFC 3339."""
    last_accessed: str
    """RFC 3339; when it was last written."""
    session_id: str
    """The conversation's id."""
    updated_at: str
    """RFC 3339."""


class WorkingMessage(TypedDict):
    """A message of a conversation."""
    content: str
    """What is said."""
    created_at: NotRequired[str | None]
    """RFC 3339; now when left out."""
    discrete_memory_extracted: NotRequired[str | None]
    """`t` or `f`."""
    id: NotRequired[str | None]
    """The client's id."""
    persisted_at: NotRequired[str | None]
    """RFC 3339."""
    role: str
    """Who says it: `user`, `assistant`, or another."""


class WrittenRecord(TypedDict):
    """What an upsert did with one record."""
    compression: NotRequired[Compression]
    """What compression left of its text, if that was asked for."""
    id: str
    """Its id."""
    truncated_at: NotRequired[int]
    """Where its text, in characters, is cut off: what comes after that is in no vector, and words alone find it.
    Left out where all of the text is in vectors. Of a text that is compressed, it is a place in the text
    before.
    """
    unknown_percent: NotRequired[int]
    """Percent of its tokens that the collection's model does not know, where that is more than half: its vector
    says little then, and words alone find it.
    """
    version: int
    """Its version now."""
