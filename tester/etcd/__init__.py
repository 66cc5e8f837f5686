"""Talking to etcd: one connection per member, no hidden retries."""
