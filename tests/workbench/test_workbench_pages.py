"""The pages in a real browser: what each is for, what it shows where there is nothing, and what it says when something is wrong.

One app and one browser for the module; every test leaves them so that the next can begin."""

from __future__ import annotations

import json

import pytest

from support.browser import Page, find_chromium
from support.waiting import wait_for
from workbench.conftest import PAGES, Api, visit

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="needs chromium: apt-get install chromium")


# -- around the pages


def test_the_page_is_at_the_root_and_finds_its_way(page: Page, api: Api) -> None:
    page.open(api.app.url + "/")
    page.see("orders", "h1")
    page.key("k", ctrl=True)
    page.type("[data-test=palette]", "notifycust")
    page.see("NotifyCustomer", ".palette [aria-selected=true]")
    page.key("Enter")
    page.see("Tell the customer how it went", "[data-test=step-panel]")
    assert page.path == f"{PAGES}/flows/orders?step=NotifyCustomer"
    page.js("history.back()")
    page.wait("document.querySelector('[data-test=step-panel]') === null")
    page.key("/")
    assert page.js("document.activeElement.hasAttribute('data-search')")
    page.open(f"{api.app.url}{PAGES}/nowhere")
    page.see("No such page")


def test_dark_and_light(page: Page, api: Api) -> None:
    visit(page, api, "/flows")
    ground = "getComputedStyle(document.body).backgroundColor"
    first = page.js(ground)
    page.press("[data-test=theme]")
    page.wait(f"{ground} !== {json.dumps(first)}")
    visit(page, api, "/flows")
    assert page.js(ground) != first
    page.press("[data-test=theme]")
    assert page.js(ground) == first


def test_the_page_is_there_within_a_second(page: Page, api: Api) -> None:
    visit(page, api, "/flows")
    took = page.js("Math.max(...performance.getEntriesByType('resource').map((e) => e.responseEnd))")
    size = page.js("performance.getEntriesByType('resource').reduce((sum, e) => sum + e.decodedBodySize, 0)")
    assert took < 5_000  # a second on a machine with nothing else to do
    assert size < 600_000


# -- flows


def test_a_flow_is_drawn_and_lives(page: Page, api: Api) -> None:
    visit(page, api, "/flows/orders")
    page.wait("document.querySelectorAll('[data-box]').length === 7")
    assert page.js("getComputedStyle(document.querySelector('.arrow.conditional .line')).strokeDasharray") != "none"
    page.js(
        "globalThis.pulses = 0; new MutationObserver((all) => { for (const each of all) for (const node of each.addedNodes)"
        " if (node.classList?.contains('pulse')) globalThis.pulses += 1; }).observe(document.querySelector('.graph'), { childList: true, subtree: true })"
    )
    api.order(card="tok_flaky")
    page.wait("globalThis.pulses >= 3", "an event that passes along the arrows")
    page.wait(
        "document.querySelector('[data-box=\"step:ChargeCard\"] .counter.failed') !== null", "failures at ChargeCard"
    )
    page.see("/min", '[data-box="step:CreateOrder"]')


def test_boxes_are_dragged_and_stay(page: Page, api: Api) -> None:
    visit(page, api, "/flows/orders")
    page.wait("document.querySelector('[data-box=\"step:GetOrder\"]') !== null")
    page.drag('[data-box="step:GetOrder"]', 60, 160)
    page.see("Positions kept")
    kept = json.loads((api.app.folder / "motia-workbench.json").read_text())
    assert list(kept["orders"]) == ["step:GetOrder"]
    place = page.js("document.querySelector('[data-box=\"step:GetOrder\"]').getAttribute('transform')")
    visit(page, api, "/flows/orders")
    page.wait(
        f"document.querySelector('[data-box=\"step:GetOrder\"]')?.getAttribute('transform') === {json.dumps(place)}"
    )
    page.press("[aria-label='Reset positions']")
    wait_for(lambda: not (api.app.folder / "motia-workbench.json").exists())


def test_a_step_tells_all_about_itself(page: Page, api: Api) -> None:
    visit(page, api, "/flows/orders")
    page.press('[data-box="step:ChargeCard"]')
    page.see("Take the money", "[data-test=step-panel]")
    page.see("5 attempts, exponential from 500ms", "[data-test=step-panel]")
    page.see("policy payment, motia.yaml:17", "[data-test=step-panel]")
    page.see("Effects come true once", "[data-test=step-panel]")
    page.press("[data-tab=source]")
    page.see("await charge(order.card, order.total", ".source")
    assert page.path.endswith("?step=ChargeCard&tab=source")
    page.press("[data-tab=schemas]")
    page.see("approved", "[data-test=step-panel] .schema")
    page.press("[data-tab=runs]")
    page.see("ok", "[data-test=step-runs]")
    page.key("Escape")
    page.wait("document.querySelector('[data-test=step-panel]') === null")


def test_every_kind_of_step_runs_now(page: Page, api: Api) -> None:
    visit(page, api, "/flows/orders?step=CreateOrder&tab=run")
    page.press("[data-test=send]")
    page.see("201 Created", "[data-test=answer]")
    order = page.js("JSON.parse(document.querySelector('[data-test=answer] .code').innerText).id")
    visit(page, api, "/flows/orders?step=ChargeCard&tab=run")
    page.type("[data-test=run-data]", json.dumps({"orderId": order, "approved": "yes"}))
    page.see("/approved", "[data-test=faults]")
    page.press("[data-test=run]")
    page.see("1 fault", "[data-test=run-trouble]")
    page.type("[data-test=run-data]", json.dumps({"orderId": order, "approved": False}))
    page.wait("document.querySelector('.editor [data-test=faults]') === null")
    page.press("[data-test=run]")
    page.see("Given to ChargeCard", "[data-test=run-done]")
    visit(page, api, "/flows/orders?step=ApproveOrder&tab=run")
    page.press("[data-test=run]")
    page.see("Emitted order.cleared", "[data-test=run-done]")
    visit(page, api, "/flows/reports?step=DailyReport&tab=run")
    page.press("[data-test=run]")
    page.see("It runs now", "[data-test=run-done]")


def test_the_editor_completes_by_the_schema(page: Page, api: Api) -> None:
    visit(page, api, "/flows/orders?step=CreateOrder&tab=run")
    page.type("[data-test=body]", '{"cust')
    page.see("customerId", ".offered")
    page.key("Enter")
    assert page.js("document.querySelector('[data-test=body]').value") == '{"customerId": '


def test_what_is_not_there_is_said(page: Page, api: Api) -> None:
    visit(page, api, "/flows/nope")
    page.see("No such flow", "[data-test=empty]")
    visit(page, api, "/flows/orders?step=Nope")
    page.see("There is no step 'Nope'", "[data-test=trouble]")


def test_text_from_the_app_is_never_markup(page: Page, api: Api) -> None:
    name = "<img src=x onerror=globalThis.hit=1><script>hit=1</script>"
    api.order(customerId=name)
    visit(page, api, "/flows/orders?step=CreateOrder&tab=run")
    page.type("[data-test=body]", json.dumps({"customerId": name, "items": [{"sku": name, "qty": 1, "price": 1}]}))
    page.press("[data-test=send]")
    page.see("<img src=x onerror=", "[data-test=answer]")
    assert page.js("document.querySelectorAll('main img, main script').length") == 0
    assert page.js("globalThis.hit") is None


def test_a_broken_save_covers_the_page_until_it_is_mended(page: Page, api: Api) -> None:
    spec = api.app.folder / "motia.yaml"
    good = spec.read_text()
    visit(page, api, "/flows/orders")
    try:
        spec.write_text(good.replace("subscribes: [order.cleared]", "subscribes: [order.claered]"))
        page.see("The last save does not run", "[data-test=overlay]")
        page.see("order.claered", "[data-test=finding] mark")
    finally:
        spec.write_text(good)
    page.wait("document.querySelector('[data-test=overlay]') === null", "the overlay goes away")
    page.see("live", "[data-test=connection]")
