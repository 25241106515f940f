"""The served page: loopback only, its own names only, no route that writes."""

import http.client
import json
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from nlft.errors import DataError
from nlft.records import Judged, Scored
from nlft.saliency_map.server import PageServer

TEXT = {"question": "2+3?", "reference": "5", "response": "6", "correct": False, "judgment": "the sum is wrong"}


@pytest.fixture
def server(make_scored) -> Iterator[PageServer]:
    def score(record: Judged) -> Scored:
        if record.question == "too long":
            raise DataError("the row does not fit into the context", remedy="shorten it")
        like = make_scored(5, correct=record.verdict.correct)
        return Scored(**{**like.model_dump(), **record.model_dump()})

    started = PageServer([make_scored(1, correct=True)], source="scored.jsonl", score=score)
    thread = threading.Thread(target=started.serve_forever, daemon=True)
    thread.start()
    yield started
    started.shutdown()
    started.server_close()
    thread.join()


def ask(server, method="GET", path="/", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    answer = (response.status, dict(response.getheaders()), response.read().decode())
    connection.close()
    return answer


def post(server, text, **headers):
    given = {"Content_Type": "application/json", "X_NLFT_Token": server.token}
    status, _, body = ask(server, "POST", "/score", json.dumps(text), **(given | headers))
    return status, json.loads(body)


def test_serves_the_page_under_its_policy(server):
    status, headers, body = ask(server)
    assert status == 200
    assert body == server.page.html
    assert headers["Content-Security-Policy"].startswith(server.page.policy)
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_listens_on_loopback_alone(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", ""])
def test_answers_to_its_own_names_only(server, host):
    assert ask(server, Host=host)[0] == 421
    assert post(server, TEXT, Host=host)[0] == 421


def test_localhost_is_one_of_them(server):
    assert ask(server, Host=f"localhost:{server.server_port}")[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_has_no_method_that_writes(server, method):
    assert ask(server, method)[0] == 501


@pytest.mark.parametrize("path", ["/../etc/passwd", "/page.css", "/score", "/?x=1"])
def test_has_no_other_page(server, path):
    assert ask(server, path=path)[0] == 404


def test_scores_new_text(server):
    status, row = post(server, TEXT)
    assert status == 200
    assert row["question"] == "2+3?"
    assert row["scores"]["logp_judge"]


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_scores_for_the_page_only(server, token):
    """Another site can send a request, but cannot read the token that stands in the page."""
    assert post(server, TEXT, X_NLFT_Token=token.encode())[0] == 403


def test_a_form_of_another_site_is_refused(server):
    assert post(server, TEXT, Content_Type="text/plain")[0] == 415


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "body"),
        ("[]", "body"),
        (json.dumps({"question": "q"}), "reference"),
        (json.dumps({**TEXT, "question": " "}), "is blank"),
        (json.dumps({**TEXT, "file": "/etc/passwd"}), "file"),
        (json.dumps({**TEXT, "question": "too long"}), "context"),
    ],
)
def test_says_what_is_wrong_with_the_text(server, body, words):
    headers = {"Content_Type": "application/json", "X_NLFT_Token": server.token}
    status, _, answer = ask(server, "POST", "/score", body, **headers)
    assert status == 422
    assert words in json.loads(answer)["error"]


def test_a_body_too_large_is_not_read(server):
    headers = {"Content_Type": "application/json", "X_NLFT_Token": server.token, "Content_Length": "99999999"}
    assert ask(server, "POST", "/score", "{}", **headers)[0] == 413


def test_without_a_model_nothing_is_scored(make_scored):
    server = PageServer([make_scored(1, correct=True)], source="s")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        assert post(server, TEXT)[0] == 404
        assert '"live":null' in server.page.html
        assert server.token not in server.page.html
        assert "connect-src" not in server.page.policy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.browser
def test_the_form_of_the_page(server, open_page):
    opened = open_page(server.url)
    page = opened.page
    for name in ("question", "reference", "response", "judgment"):
        page.fill(f"#live [name={name}]", TEXT[name])
    page.click("#live form button")
    page.wait_for_selector("#live [role=status]:text('scored')")
    page.wait_for_selector("#row-name:text('new text')")
    expect(page.locator("#question")).to_have_text("2+3?")
    expect(page.locator("#position")).to_have_text("2 / 2")
    assert opened.errors == []
