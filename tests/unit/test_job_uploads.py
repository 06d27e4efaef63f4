"""Forms as other clients send them."""

import pytest

from api_gateway.http.job_uploads import Upload, _Form
from parlando.errors import InvalidRequestError, TooBigError


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
