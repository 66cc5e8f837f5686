"""``python -m agent_service`` is ``etcd-chaos-agent``."""

import sys

from agent_service.cli import main

sys.exit(main())
