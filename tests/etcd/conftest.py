"""Tests in ``inside`` run only where ``test_real_etcd`` starts them: in a network namespace of their own."""

import os

INSIDE = "ETCD_CHAOS_TEST_INSIDE"

collect_ignore = [] if os.environ.get(INSIDE) else ["inside"]
