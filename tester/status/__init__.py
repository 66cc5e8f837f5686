"""What a run is doing, over HTTP: ``/status`` as JSON, ``/metrics`` for Prometheus."""
