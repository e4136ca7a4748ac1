"""The list of mistakes fits the package as it is; `make test-mutations` tries them."""

import pytest
from mutations import FLIPS, ROOT, Flip


@pytest.mark.parametrize("flip", FLIPS, ids=lambda flip: flip.mistake)
def test_every_mistake_can_be_made_and_has_its_test(flip: Flip) -> None:
    compile(flip.spoilt(ROOT), flip.file, "exec")
    file, _, name = flip.test.partition("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text()


def test_a_text_that_is_not_there_once_is_named() -> None:
    with pytest.raises(ValueError, match=r"core/lags.py holds 0 times, not once: nowhere"):
        Flip("", "core/lags.py", "nowhere", "", "").spoilt(ROOT)
