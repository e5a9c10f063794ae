"""The tape: sessions, revisions, positions, suggestions. Knows no gRPC, no protobuf, no Prometheus."""
