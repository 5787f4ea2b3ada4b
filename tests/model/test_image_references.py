"""References mean what they mean to Docker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.storage.images.auth import RegistryAuth

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "path", "shown"),
    [
        ("busybox", "registry-1.docker.io", "library/busybox", "busybox:latest"),
        ("docker.io/busybox", "registry-1.docker.io", "library/busybox", "busybox:latest"),
        ("index.docker.io/a/b:1", "registry-1.docker.io", "a/b", "a/b:1"),
        ("localhost/x", "localhost", "x", "localhost/x:latest"),
        ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000", "a/b", "127.0.0.1:5000/a/b:v1"),
        ("[::1]:5000/a", "[::1]:5000", "a", "[::1]:5000/a:latest"),
        (f"ghcr.io/x/y@sha256:{HEX}", "ghcr.io", "x/y", f"ghcr.io/x/y@sha256:{HEX}"),
        (f"r:1/x:t@sha256:{HEX}", "r:1", "x", f"r:1/x:t@sha256:{HEX}"),
    ],
)
def test_defaults_are_filled_in(text: str, host: str, path: str, shown: str) -> None:
    reference = Reference.parse(text)
    assert (reference.host, reference.path, str(reference)) == (host, path, shown)


BAD = ["", "Busybox", "a//b", "a/../b", "/a", "a:", "a:b c", "a@sha256:12", "a\nb", "-a", "a b"]
BAD += ["h:99999/x", "a:../../x", "http://a/b", "a@", "r:1/", f"a@md5:{HEX}", HEX, "a" * 300]


@pytest.mark.parametrize("text", BAD)
def test_bad_references_are_refused_with_one_line(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Reference.parse(text)
    assert "invalid image reference" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="aA0.:/@-_~ \n\\sha256", max_size=60))
def test_whatever_is_accepted_is_safe_in_paths_and_stable(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidSpec:
        return
    assert ".." not in reference.path.split("/")
    assert not set(str(reference)) & set(" \n\\~")
    assert Reference.parse(str(reference)) == reference


def test_credentials_come_in_dockers_form_and_never_show() -> None:
    auth = RegistryAuth("me", "p:w", server_address="x")
    assert RegistryAuth.from_base64(auth.to_base64()) == auth
    assert "p:w" not in repr(auth)
    assert RegistryAuth.from_base64("") is None
    assert RegistryAuth.from_base64("e30=") is None
    with pytest.raises(InvalidSpec) as caught:
        RegistryAuth.from_base64("c2VjcmV0!")
    assert "c2Vj" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("busybox", "https://index.docker.io/v1/"),
        ("docker.io/a/b", "https://index.docker.io/v1/"),
        ("index.docker.io/a/b", "https://index.docker.io/v1/"),
        ("MYREG/x", "MYREG"),
        ("myreg/x", "https://index.docker.io/v1/"),
        ("localhost/x", "localhost"),
        ("reg:5000/x:1", "reg:5000"),
        ("ghcr.io/a/b", "ghcr.io"),
    ],
)
def test_a_key_is_looked_up_for_the_host_that_is_asked(image: str, registry: str) -> None:
    from swarmlite.cli.image.naming import HUB, registry_of

    assert registry_of(image) == registry
    host = Reference.parse(image).host
    assert host == ("registry-1.docker.io" if registry == HUB else registry)


@pytest.mark.parametrize(
    ("address", "domain", "goes"),
    [
        ("", "anything", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("https://index.docker.io/v1/", "MYREG", False),
        ("reg:5000", "reg:5000", True),
        ("http://reg:5000/v2/", "reg:5000", True),
        ("reg:5000", "reg:5001", False),
        ("registry-1.docker.io", "docker.io", True),
    ],
)
def test_credentials_go_to_the_registry_that_they_are_of(
    address: str, domain: str, goes: bool
) -> None:
    auth = RegistryAuth("me", "pw", server_address=address)
    assert auth.only_for(domain) == (auth if goes else None)
