import numpy as np
import pytest
import torch
from keras import ops

from diffusion import folder
from diffusion.clip import CLIPTextEncoder
from keras_multi import backend
from tests.diffusion.reference import clip, close, computed

IDS = np.random.default_rng(1).integers(0, 50, (2, 9)).astype("int32")


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_equals_transformers(tmp_path, activation):
    expected = clip(hidden_act=activation)
    expected.save_pretrained(tmp_path / "text_encoder")
    model = folder.read(tmp_path, "text_encoder")
    assert model.activation == activation
    with torch.no_grad():
        outputs = expected(torch.tensor(IDS), output_hidden_states=True)
    compiled = backend.inference(lambda ids: model(ids))
    close(compiled(IDS), outputs.last_hidden_state)

    penultimate = folder.read(tmp_path, "text_encoder", skip_layers=1)
    assert penultimate.count_params() < model.count_params()
    norm = getattr(expected, "text_model", expected).final_layer_norm
    close(computed(penultimate, IDS), norm(outputs.hidden_states[-2]))


def test_a_masked_token_is_not_seen():
    model = CLIPTextEncoder(50, 1, 2, 8, 16, max_length=4)
    model.build()
    mask = np.array([[True, True, False, True]])
    ids = np.array([[1, 2, 3, 4]])
    others = np.array([[1, 2, 5, 4]])
    kept, masked, seen = (
        ops.convert_to_numpy(computed(model, *inputs))[mask]
        for inputs in ((ids, mask), (others, mask), (others,))
    )
    assert np.allclose(kept, masked)
    assert not np.allclose(kept, seen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads"),
        ({"skip_layers": 2}, "skip_layers"),
        ({"activation": "relu"}, "activation"),
    ],
)
def test_says_which_argument_is_wrong(changes, message):
    arguments = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8}
    with pytest.raises(ValueError, match=f"`{message}`.* Received: "):
        CLIPTextEncoder(**(arguments | changes))


def test_a_text_that_is_too_long():
    with pytest.raises(ValueError, match="the encoder has 4 positions"):
        CLIPTextEncoder(50, 1, 2, 8, 16, max_length=4)(IDS)


def test_round_trip(tmp_path):
    from transformers import CLIPTextModel

    model = CLIPTextEncoder(50, 2, 2, 8, 16, max_length=9, skip_layers=1)
    folder.write(tmp_path, "text_encoder", model)
    theirs = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").eval()
    with torch.no_grad():
        close(computed(model, IDS), theirs(torch.tensor(IDS)).last_hidden_state)
