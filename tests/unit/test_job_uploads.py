"""Forms as other clients send them."""

import pytest

from api_gateway.app import METHODS
from api_gateway.http.job_uploads import Upload, _Form
from api_gateway.http.resumable_uploads import metadata_of
from api_gateway.permissions import ROUTES
from api_gateway.settings import GatewaySettings
from audio_processor.job_worker import FORGOTTEN_S
from parlando.errors import InvalidRequestError, TooBigError
from parlando.store.keys import LONG_TTL_S


def form(*parts: bytes) -> _Form:
    found = _Form("multipart/form-data; boundary=x", ("file",))
    for part in parts:
        found.push(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n")
    found.push(b"--x--\r\n")
    found.finish()
    return found


def test_a_file_name_of_rfc_5987_makes_a_file():
    found = form(b"name=\"file\"; filename*=UTF-8''na%C3%AFve%20talk.wav\r\n\r\nDATA")
    assert (found.filename, found.size) == ("naïve talk.wav", 4)
    both = form(b'name="file"; filename="a.wav"; filename*=UTF-8\'\'b.wav\r\n\r\nDATA')
    assert both.filename == "a.wav"


def test_a_file_without_a_name_is_refused_with_the_reason():
    with pytest.raises(InvalidRequestError, match="its part has no `filename`"):
        form(b'name="file"\r\n\r\n' + b"D" * 70_000)
    with pytest.raises(TooBigError, match="fields of at most 64 KB"):
        form(b'name="other"\r\n\r\n' + b"D" * 70_000)


@pytest.mark.parametrize("name", ["audio", "audio_file", "file[]"])
def test_a_file_in_another_field_is_refused_with_the_fields_name(name):
    with pytest.raises(
        InvalidRequestError, match="Expected the file in the field file, but it is in the field"
    ):
        form(f'name="{name}"; filename="a.wav"\r\n\r\n'.encode() + b"D" * 70_000)


@pytest.mark.parametrize("spelling", ["g", "g[]", "g[0]"])
def test_a_list_may_be_spelt_in_three_ways(spelling):
    found = form(b'name="' + spelling.encode() + b'"\r\n\r\nword', b'name="g[x]"\r\n\r\nnone')
    assert Upload(None, found.fields).many("g") == ["word"]


@pytest.mark.parametrize("value", ["é", "%", "AAA"])
def test_metadata_of_an_upload_that_is_not_base64_is_refused(value):
    with pytest.raises(InvalidRequestError, match="values in base64"):
        metadata_of(f"filename {value}")


def test_a_blob_is_swept_only_after_the_longest_life_of_an_upload_and_its_job():
    limits = GatewaySettings.model_fields["upload_ttl_s"].metadata
    [longest] = [limit.le for limit in limits if hasattr(limit, "le")]
    assert longest + LONG_TTL_S < FORGOTTEN_S


def test_pages_of_other_origins_may_use_every_method():
    assert {route.split()[0] for route in ROUTES} - {"OPTIONS"} <= {*METHODS}
