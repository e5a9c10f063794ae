"""How documents are batched on either device."""

import pytest
from gatehouse_server.app.composition import choose_batching
from gatehouse_server.settings import Settings


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_setting_bounds_the_steps_of_a_batch(device):
    """On either device."""
    assert choose_batching(Settings(batch_tokens=777), device).batch_tokens == 777


def test_a_gpu_takes_more_documents_at_once():
    """Wide steps cost it little."""
    on_cpu, on_gpu = (choose_batching(Settings(), device) for device in ("cpu", "cuda"))
    assert on_gpu.max_batch_documents > 4 * on_cpu.max_batch_documents
