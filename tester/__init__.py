"""What runs on the controller: scenarios in, verdicts out."""

import os

from agent_service import __version__

__all__ = ["__version__"]

# gRPC writes its complaints about lost connections to stderr, across the live view. It reads this when it is first
# imported, and etcd3 imports it; what it would say is in the errors of the calls.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
