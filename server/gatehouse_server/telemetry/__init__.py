"""What the server tells about itself: metrics for Prometheus and structured logs."""
