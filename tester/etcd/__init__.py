"""Talking to etcd: one connection per member, and one per stream; no hidden retries."""
