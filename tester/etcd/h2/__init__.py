"""The project's own HTTP/2 channel: unary gRPC calls at a tenth of the CPU of a general client.

::

    channel.py      H2Channel: connects, reconnects, deadlines
    deadlines.py    the deadlines of all calls, kept by one timer
    connection.py   one connection: frames in, what they mean
    outbox.py       one connection: calls out, flow control, one write per turn of the loop
    calls.py        one call: its request, what has arrived of its answer, how it ends
    answers.py      finds an answer that is as usual in one look
    headers.py      HPACK: request blocks encoded once, response blocks decoded in order
    reader.py       bytes to frames
    frames.py       RFC 9113 as constants and pure functions
    status.py       how HTTP/2 and gRPC say that a call failed
    keepalive.py    finds a connection that has gone silent

The control is ``tester.etcd.grpc_channel``: same requests, same answers, same errors.
"""

from tester.etcd.h2.channel import H2Channel

__all__ = ["H2Channel"]
