"""Models behind a server that speaks as OpenAI's does: vLLM and many others.

    worker ─▶ 8 threads ─┐
    worker ─▶ 8 threads ─┼─▶ http://host:8000/v1#name ─▶ one model on one GPU, batching by itself
    worker ─▶ 8 threads ─┘

Workers need no GPU, no weights and no torch; they send pictures and get words or numbers. Which
model is meant stands behind a ``#`` in the url; without it the server is asked, and has to serve
exactly one. ``FINECUT_API_KEY`` (or ``OPENAI_API_KEY``) in the environment is the key, if the
server wants one; see :mod:`~.endpoint.address` for what is never shown, and :mod:`~.endpoint.line`
for how often and how long a server is asked.

Frames travel as JPEG pictures, each in a part of its own (``image_url``), in the order of time, and
the words after them. That is what all such servers take. vLLM also takes the frames of a film in
one part (``video_url`` with ``data:video/jpeg``), but what becomes of it depends on its version and
model: Qwen3-VL fails on it in vLLM 0.11, and when the frames were shown is either lost or said in
fields that other servers refuse. The price is that a model is shown pictures, and not told that
they are a film unless the words say so.

A server takes so many pictures a question and refuses more (older vLLM one, unless it is started
with ``--limit-mm-per-prompt '{"image": 64}'``), while a long window may have hundreds of frames. A
captioner is shown 64 at most, spread evenly over the question's, the first and the last among
them::

    frames    0  1  2  3  4  5  6  7  8  9  10       eleven, if four were the most
    shown     ●        ●           ●         ●

What a model thought before it answered is no caption: thoughts in front of the text are left out
(:mod:`~finecut.transforms.models.words`), and the fields in which servers put them
(``reasoning``, ``reasoning_content``, parts of the content that are no text) are not read. A model
that was still thinking when its tokens were used up has said nothing: its answer is ``empty``.

An embedder is asked with a chat as well (``messages``), as vLLM wants it: one chat, one vector,
made of all its pictures, by the chat template of the served model. Servers that only know ``input``
take words there, or make a vector of every picture: they are refused, since how to make one vector
of several is the model's business.

A question that fails is a :class:`~finecut.transforms.caption.asking.Trouble` among the answers of
the others. Each thread asks one question and waits, so an answer belongs to the question it was
given to; the id goes along as ``X-Request-Id``, for the server's log. (The field ``user`` is for
people, and a server need not know it.) Temperature is 0; a server that batches may still answer
otherwise next time, because sums come out in another order.
"""
