import pytest

from motia_spec import routes


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("/", "/"),
        ("/orders", "/orders"),
        ("/orders/:id", "/orders/{id}"),
        ("/orders/{id}/items/:item_id", "/orders/{id}/items/{item_id}"),
        ("/files/{rest:path}", "/files/{rest:path}"),
        ("/v1.0/a~b", "/v1.0/a~b"),
    ],
)
def test_canonical(written: str, canonical: str) -> None:
    assert routes.canonical(written) == canonical
    assert routes.canonical(canonical) == canonical


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("orders", "must start with a slash, like /orders"),
        ("/x?y=1", "a query"),
        ("/x#z", "a fragment"),
        ("/a/../b", r"'\.\.'"),
        ("/a/./b", r"'\.'"),
        ("/a//b", "empty segment"),
        ("/a/", "ends with a slash"),
        ("/{id}/{id}", "'id' twice"),
        ("/:id/{id}", "'id' twice"),
        ("/{rest:path}/x", "must be the last segment"),
        ("/{id:int}", "has the type 'int'"),
        ("/x-{id}", "only a part is a parameter"),
        ("/{order-id}", "not a parameter"),
        ("/:", "not a parameter"),
        ("/a/*", "no wildcards"),
        ("/%2e%2e/x", "may hold only"),
        ("/über", "may hold only"),
        ("/a b", "may hold only"),
        ("/" + "a" * 600, "at most 512"),
    ],
)
def test_bad_paths(path: str, words: str) -> None:
    with pytest.raises(routes.BadPath, match=words):
        routes.canonical(path)


@pytest.mark.parametrize(
    "path", ["/__motia", "/__Motia/x", "/__workbench/a", "/healthz", "/readyz", "/schema/openapi.json"]
)
def test_reserved_paths(path: str) -> None:
    with pytest.raises(routes.ReservedPath, match="the runtime serves itself"):
        routes.canonical(path)


def test_shapes_leave_out_the_names_of_parameters() -> None:
    assert routes.shape("/x/{id}/y") == routes.shape("/x/{name}/y") != routes.shape("/x/{name:path}")
