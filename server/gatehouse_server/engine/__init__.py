"""Who computes when: the thread that owns the device, its queues, ticks and slices. Knows no gRPC, no Prometheus."""
