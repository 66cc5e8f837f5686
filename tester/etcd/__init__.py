"""Talking to etcd: one connection per member, no hidden retries."""

import os

# gRPC writes its complaints about lost connections to stderr, across the live view. It reads this when it is first
# imported, which only modules of this package do; what it would say is in the errors of the calls.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
